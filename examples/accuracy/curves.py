"""`python curves.py results.jsonl --svg accuracy.svg`: the table of means over seeds, in Markdown, and curves by round.

`--entry-bits` is the other table: means in the last round, by bits of an entry.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from compare import lines_of
from panels import Curve, Panel, drawing

SHOWN = (1, 5, 10, 20)  # rounds of the table
STYLES = {
    "plain-weighted": ("#0072b2", ""),
    "plain-unweighted": ("#e69f00", ""),
    "verified-equal": ("#000000", "2 3"),
    "verified-declared": ("#d55e00", "7 4"),
    "verified-private": ("#d55e00", "7 4"),
}
Lines = Sequence[Mapping[str, Any]]


def main(given: Sequence[str] | None = None) -> None:
    """Print the table, and write the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--entry-bits", action="store_true")
    arguments = parser.parse_args(given)
    lines = lines_of(arguments.results)
    print("\n".join(resolutions(lines) if arguments.entry_bits else table(_usual(lines))))
    if arguments.svg is not None:
        arguments.svg.write_text(drawing(curves(_usual(lines))))


def table(lines: Lines) -> list[str]:
    """Data sets, and arms below each."""
    rounds = " | ".join(map(str, SHOWN))
    made = [f"| mean of seeds in round | {rounds} | from plain weighted, at most, in 10 and 20 |", "|---|" + "---|" * 5]
    for name, arms in _grouped(lines).items():
        made.append(f"| **{name}**, {_seeds(arms)} seeds | | | | | |")
        weighted = _means(arms["plain-weighted"])
        for arm, same in arms.items():
            means = _means(same)
            shown = " | ".join(f"{means[number - 1]:.3f}" for number in SHOWN)
            apart = max(abs(means[number - 1] - weighted[number - 1]) for number in SHOWN if number >= 10)
            made.append(f"| {arm.replace('-', ', ', 1)} | {shown} | {apart:.3f} |")
    return made


def resolutions(lines: Lines) -> list[str]:
    """Arms of data sets by bits of an entry, means over seeds in the last round."""
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line["entry_bits"] is not None:
            found[line["dataset"], line["arm"]][line["entry_bits"]].append(line["rounds"][-1])
    bits = sorted({each for values in found.values() for each in values})
    made = [f"| data, arm | plain | {' | '.join(map(str, bits))} |", "|---|---|" + "---|" * len(bits)]
    for (name, arm), values in found.items():
        partner = "plain-unweighted" if arm == "verified-equal" else "plain-weighted"
        rounds = {line["of"] for line in lines if line["entry_bits"] is not None and line["dataset"] == name}
        plain = [line["rounds"][-1] for line in lines
                 if (line["dataset"], line["arm"]) == (name, partner) and line["of"] in rounds]  # fmt: skip
        cells = " | ".join(f"{mean(values[each]):.3f}" if each in values else "" for each in bits)
        made.append(f"| {name}, {arm.replace('-', ', ', 1)} | {mean(plain):.3f} | {cells} |")
    return made


def curves(lines: Lines) -> list[Panel]:
    """A panel for each data set; declared and private weights give the same models, and have one curve."""
    return [
        Panel(
            name,
            arms["plain-weighted"][0]["metric"],
            tuple(
                Curve(_named(arm), *STYLES[arm], tuple(_means(same)), _ranges(same))
                for arm, same in arms.items()
                if arm != "verified-private"
            ),
        )
        for name, arms in _grouped(lines).items()
    ]


def _named(arm: str) -> str:
    return "verified, declared or private" if arm == "verified-declared" else arm.replace("-", ", ", 1)


def _usual(lines: Lines) -> Lines:
    """At the default resolution, of so many rounds as the table has."""
    return [line for line in lines if line["entry_bits"] is None and line["of"] == SHOWN[-1]]


def _grouped(lines: Lines) -> Mapping[str, Mapping[str, Lines]]:
    """By data set and arm, in the order of `STYLES`."""
    names = dict.fromkeys(line["dataset"] for line in lines)
    found = {
        name: {arm: [line for line in lines if (line["dataset"], line["arm"]) == (name, arm)] for arm in STYLES}
        for name in names
    }
    return {name: {arm: same for arm, same in arms.items() if same} for name, arms in found.items()}


def _seeds(arms: Mapping[str, Lines]) -> int:
    return min(len(same) for same in arms.values())


def _means(same: Lines) -> list[float]:
    return [mean(values) for values in _by_round(same)]


def _ranges(same: Lines) -> tuple[tuple[float, float], ...]:
    return tuple((min(values), max(values)) for values in map(tuple, _by_round(same)))


def _by_round(same: Lines) -> Iterable[tuple[float, ...]]:
    return zip(*(line["rounds"] for line in same), strict=True)


if __name__ == "__main__":
    main()
