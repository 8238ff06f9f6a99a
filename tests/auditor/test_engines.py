"""The reference engine audits whole transcripts and finds, check by check and word by word, what the native one finds.

The audit of the demonstration's transcript is in tests/verifl/test_federation.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auditor import audit
from protocols.messages import Aggregate, Submission
from tests.auditor.attacks import ATTACKS
from tests.auditor.forge import Forge
from tests.auditor.test_manifest import CASES, PARTS

SOME_ATTACKS = ("the server's own term", "a wrong release used")
SOME_LIES: tuple[tuple[type, str], ...] = ((Submission, "proof"), (Aggregate, "blindings"))


def both(path: Path, policy: bytes) -> list[dict[str, Any]]:
    """The checks, on which both engines agree."""
    reports = [audit(path, policy, engine=engine) for engine in ("native", "reference")]
    assert [report.engine for report in reports] == ["native", "reference"]
    native, reference = ([check.to_dict() for check in report.checks] for report in reports)
    assert native == reference
    assert reports[0].accepted == reports[1].accepted
    return native


def agree_on_attack(forged: Forge, path: Path) -> None:
    checks = both(forged.write(path), forged.policy_data)
    assert any(check["status"] == "fail" for check in checks)


def lie(forge: Any, kind: type, field: str) -> Forge:
    case = CASES[kind, field]
    entry_kind, entry_field = PARTS.get(kind, (kind, field))
    forged: Forge = forge(case.name)
    position = forged.find(entry_kind, case.round)
    forged.edit(position, **{entry_field: case.lie(forged, forged.message(position))})
    return forged


def test_an_eventful_transcript(simulations) -> None:
    """Invalid proofs, disputes, an abort and FedAdam."""
    simulation = simulations("eventful")
    checks = both(simulation.path, simulation.policy_data)
    assert {check["status"] for check in checks} == {"pass", "not-applicable"}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["quiet", "aborted"])
def test_other_transcripts(simulations, name: str) -> None:
    simulation = simulations(name)
    both(simulation.path, simulation.policy_data)


@pytest.mark.parametrize("name", SOME_ATTACKS)
def test_attack(name: str, forge, tmp_path: Path) -> None:
    attack, _, transcript = ATTACKS[name]
    forged = forge(transcript)
    attack(forged)
    agree_on_attack(forged, tmp_path / "t")


@pytest.mark.parametrize(("kind", "field"), SOME_LIES)
def test_lie(kind: type, field: str, forge, tmp_path: Path) -> None:
    agree_on_attack(lie(forge, kind, field), tmp_path / "t")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(ATTACKS.keys() - set(SOME_ATTACKS)))
def test_every_attack(name: str, forge, tmp_path: Path) -> None:
    attack, _, transcript = ATTACKS[name]
    forged = forge(transcript)
    attack(forged)
    agree_on_attack(forged, tmp_path / "t")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "field"), [case for case in CASES if case not in SOME_LIES])
def test_every_lie(kind: type, field: str, forge, tmp_path: Path) -> None:
    agree_on_attack(lie(forge, kind, field), tmp_path / "t")
