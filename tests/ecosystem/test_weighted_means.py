"""The comparison of means: every arm trains the same clients, and weighing makes the verified mean the plain one."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

COMPARE = Path(__file__).parent.parent.parent / "examples" / "weighted-means" / "compare.py"


@pytest.mark.ecosystem
def test_weighed_rounds_are_near_the_plain_weighted_mean(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("compare", COMPARE)
    assert spec is not None
    assert spec.loader is not None
    compare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compare)
    compare.main(["--dataset", "digits", "--clients", "4", "--rounds", "1", "--seeds", "1", "--unequal"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    losses = {line["arm"]: line["rounds"][0]["loss"] for line in lines}
    assert list(losses) == [
        "plain-weighted", "plain-unweighted", "verified-equal", "verified-declared", "verified-private"
    ]  # fmt: skip
    assert losses["verified-declared"] == losses["verified-private"]  # the same integers, summed
    assert losses["verified-declared"] == pytest.approx(losses["plain-weighted"], rel=1e-2)
    assert losses["verified-equal"] == pytest.approx(losses["plain-unweighted"], rel=1e-2)
    assert abs(losses["plain-weighted"] - losses["plain-unweighted"]) > 0.1
