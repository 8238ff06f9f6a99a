"""A proposal put into a configuration's file: comments and everything else stay as they are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from glob import escape
from pathlib import Path

from proofs.errors import Misuse
from verifl.config import Config, parse_config
from verifl.planning.measured import Scales
from verifl.planning.proposals import ProposedBounds

BEGIN, END = "# measured scales: `verifl measure --write` writes these lines anew", "# end of measured scales"
_HEADER = re.compile(r"^\s*\[")
_BLOCK = re.compile(rf"\n*^{re.escape(BEGIN)}$.*?^{re.escape(END)}$\n*", re.MULTILINE | re.DOTALL)


def with_proposal(text: str, proposal: ProposedBounds, where: str) -> str:
    """The text of a configuration with a proposal in it: `clip_norm`, the scales, the `unit` of weights, and in the
    place of those that the configuration has, `coordinate_bound` and `fraction_bits`.

    Raises Misuse where scales would take tensors out of groups that the configuration has, or it is written in a way
    that this does not understand; the lines to write by hand are then in the message.
    """
    values = _values(text, proposal, where)
    text = _BLOCK.sub("\n\n", text)
    if proposal.scales and tomllib.loads(text).get("update", {}).get("groups"):
        raise Misuse(
            f"{where}: update.groups: the measurement proposes scales, and there are groups already; put `scale` into "
            f"these, or the following before them: {' '.join(scale_lines(proposal.scales))}"
        )
    for key, value in values.items():
        text = _with_key(text, "update", key, value)
    if proposal.unit is not None:
        text = _with_key(text, "weights", "unit", proposal.unit)
    if proposal.scales:
        text = _with_block(text, [BEGIN, *scale_lines(proposal.scales), END])
    _check(text, values, proposal, where)
    return text


def scale_lines(scales: Mapping[str, Scales]) -> list[str]:
    """As tables of TOML, a group for each scale, and one for each tensor with several."""
    groups: dict[float, list[str]] = {}
    for name, scale in scales.items():
        if isinstance(scale, float):
            groups.setdefault(scale, []).append(name)
    lines = []
    for scale, names in sorted(groups.items()):
        patterns = ", ".join(f"'{escape(name)}'" for name in names)
        lines += ["[[update.groups]]", f"tensors = [{patterns}]", f"scale = {scale!r}"]
    for name, each in scales.items():
        if isinstance(each, tuple):
            lines += ["[[update.groups]]", f"tensors = ['{escape(name)}']", f"scales = {list(each)!r}"]
    return lines


def _values(text: str, proposal: ProposedBounds, where: str) -> dict[str, float | int]:
    before = parse_config(tomllib.loads(text), where).update
    values: dict[str, float | int] = {"clip_norm": proposal.clip_norm}
    if before.fraction_bits is not None or proposal.finer:
        values["fraction_bits"] = proposal.fraction_bits
    if before.coordinate_bound is not None:
        values["coordinate_bound"] = min(proposal.coordinate_bound or proposal.clip_norm, proposal.clip_norm)
    return values


def _with_key(text: str, table: str, key: str, value: float) -> str:
    """With the key of a table set: its line, or a new one below the header, or a new table at the end."""
    lines = text.split("\n")
    start = next((number for number, line in enumerate(lines) if re.match(rf"^\s*\[{table}\]", line)), None)
    if start is None:
        return f"{text.rstrip()}\n\n[{table}]\n{key} = {value!r}\n"
    stop = next((number for number in range(start + 1, len(lines)) if _HEADER.match(lines[number])), len(lines))
    for number in range(start + 1, stop):
        found = re.match(rf"^(\s*{key}\s*=\s*)([^#\s]+)(.*)$", lines[number])
        if found:
            lines[number] = f"{found[1]}{value!r}{found[3]}"
            return "\n".join(lines)
    lines.insert(start + 1, f"{key} = {value!r}")
    return "\n".join(lines)


def _with_block(text: str, block: list[str]) -> str:
    """Behind the keys of [update]."""
    lines = text.split("\n")
    start = next(number for number, line in enumerate(lines) if re.match(r"^\s*\[update\]", line))
    stop = next((number for number in range(start + 1, len(lines)) if _HEADER.match(lines[number])), len(lines))
    return "\n".join([*lines[:stop], *([] if lines[stop - 1] == "" else [""]), *block, "", *lines[stop:]])


def _check(text: str, values: Mapping[str, float], proposal: ProposedBounds, where: str) -> None:
    """That the text says what it was to say."""
    scales = proposal.scales
    try:
        made: Config | None = parse_config(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError:
        made = None
    if made is not None:
        said = {key: getattr(made.update, key) for key in values}
        grouped = {pattern: group.scales or group.scale for group in made.update.groups for pattern in group.tensors}
        weighed = proposal.unit is None or made.weights.unit == proposal.unit
        if (
            said == dict(values)
            and weighed
            and {escape(name): scale for name, scale in scales.items()}.items() <= grouped.items()
        ):
            return
    by_hand = [f"{key} = {value!r}" for key, value in values.items()]
    by_hand += [] if proposal.unit is None else [f"weights.unit = {proposal.unit!r}"]
    raise Misuse(
        f"{where}: update: not written in a way that can be changed here; write it by hand: "
        f"{'; '.join([*by_hand, *scale_lines(scales)])}"
    )


def written_config(path: Path) -> str:
    """The text of a configuration's file, as it is on disk."""
    return path.read_bytes().decode("utf-8-sig")
