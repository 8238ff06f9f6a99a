"""What print() and a notebook show of a configuration, a run and a report."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Report, audit
from verifl import Config
from verifl.config import parse_config
from verifl.federation import FederationResult
from verifl.progress import RoundSummary
from verifl.reports.console import round_label

GOLDEN = Path(__file__).parents[1] / "golden"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def report() -> Report:
    return audit(GOLDEN / "honest" / "transcript", GOLDEN / "honest" / "policy.cbor")


def test_a_report(report: Report) -> None:
    shown = str(report)
    assert shown.splitlines()[0].startswith("verifl-audit ")
    assert "ACCEPTED" in shown.splitlines()[-1]
    assert repr(report) == f"<audit of {report.transcript}: accepted>"
    rejected = replace(report, checks=report.checks[:-1])
    assert repr(rejected) == f"<audit of {report.transcript}: rejected: not every check ran>"


def test_what_a_transcript_says_is_text_in_a_notebook(report: Report) -> None:
    shown = replace(report, federation=EVIL)._repr_html_()
    assert shown.startswith("<pre>verifl-audit ")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert EVIL not in shown


def test_a_configuration_is_shown_as_toml_that_reads_back() -> None:
    config = Config.of(
        federation={"rounds": 5},
        task={"file": 'with "quotes" & <tags>.py'},
        update={"clip_norm": 0.5, "groups": [{"tensors": ["a*", "b"], "coordinate_bound": 0.25}]},
        tensors={"exclude": ["*.mask"]},
    )
    assert str(config).startswith('[federation]\nname = "federation"\nrounds = 5\n')
    assert "[[" not in str(config)
    assert parse_config(tomllib.loads(str(config)), "shown") == config
    assert "&lt;tags&gt;" in config._repr_html_()


def result(*rounds: RoundSummary) -> FederationResult:
    out = Path("out")
    names = ("policy.cbor", "transcript", "model.safetensors", "metrics.jsonl", "state")
    return FederationResult(out, *(out / name for name in names), rounds=rounds, initial_metrics={"loss": 0.75})


def summary(number: int, closed: int, aborted: str | None = None, failed: tuple[str, ...] = ()) -> RoundSummary:
    return RoundSummary(
        number, ("a", "b"), ("a", "b"), {}, ("t",), {"loss": 0.5}, 1.0, 10, aborted, failed=failed, closed=closed
    )


def test_a_run() -> None:
    run = result(summary(1, 1), summary(2, 1, "no-quorum"), summary(3, 2, failed=("c",)))
    assert str(run).splitlines()[:5] == [
        "round 0: the initial model: loss 0.75",
        "round 1: a, b: loss 0.5",
        "round 2: aborted: no-quorum",
        "round 3: a, b: loss 0.5; c failed",
        "",
    ]
    assert str(run).endswith("--policy out/policy.cbor")
    assert repr(run) == "<federation in out: 2 rounds closed, 1 aborted>"
    assert replace(run, directory=Path(EVIL), policy=Path(EVIL))._repr_html_().count("<") == 2
    many = result(*(summary(number, number) for number in range(1, 1001)))
    assert [line.partition(":")[0] for line in str(many).splitlines()[:3]] == [
        "round 0",
        "... 980 rounds more",
        "round 981",
    ]


def test_rounds_are_counted_by_those_that_closed() -> None:
    assert round_label(summary(1, 1), 2) == "round 1 of 2"
    assert round_label(summary(2, 1, "no-quorum"), 2) == "round 2 (1 of 2 closed)"
    assert round_label(summary(3, 2), 2) == "round 3 (2 of 2 closed)"
