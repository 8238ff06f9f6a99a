"""Draws of clients, judged by both auditors: an honest transcript, and servers and trustees who lie together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Report, audit
from protocols.participation import draw_seed
from protocols.rounds.ledger import asked_clients, expected_draw
from tests.independent.audit import audit as second_audit
from tests.simulator import Setting, Simulation

SETTING = Setting(clients=4, per_round=2, dimension=8, trustees=3, threshold=3, corrupt=1)


def begin(tmp_path: Path, setting: Setting = SETTING) -> Simulation:
    simulation = Simulation(tmp_path / "run", setting)
    simulation.start()
    return simulation


def judged(simulation: Simulation) -> tuple[Report, set[str]]:
    """The report, and which checks both auditors fail."""
    simulation.writer.close()
    pinned = simulation.path.with_name("pinned.cbor")
    pinned.write_bytes(simulation.policy_data)
    report, second = audit(simulation.path, pinned), second_audit(simulation.path, pinned)
    failing = {result.id for result in report.checks if result.findings}
    assert failing == {number for number, findings in second.findings.items() if findings}
    assert report.accepted == second.accepted == (not failing)
    return report, failing


def test_an_honest_transcript_with_repetitions_and_a_revocation(tmp_path: Path) -> None:
    simulation = begin(tmp_path)
    simulation.play_round()
    simulation.give_up_round()
    simulation.open_round()
    who = asked_clients(simulation.pinned, simulation.coordinator.ledger)
    simulation.store(simulation.coordinator.abort())
    simulation.checkpoint()
    simulation.change(simulation.revocation(who[0]))
    assert simulation.play_round(silent=["trustee-1"]).aborted == "missing-releases"
    assert simulation.play_round().aborted is None
    assert judged(simulation)[1] == set()


def test_a_submission_of_a_client_that_was_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = begin(tmp_path)
    simulation.open_round()
    who = asked_clients(simulation.pinned, simulation.coordinator.ledger)
    outside = min(set(simulation.clients) - set(who))
    monkeypatch.setattr("protocols.rounds.rules.is_in", lambda *_: True)
    for name in (who[0], outside):
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert outside in simulation.finish().accepted
    report, failing = judged(simulation)
    assert failing == {"I5"}
    (finding,) = report.check("I5").findings
    assert f"submission by {outside}, round 1" in finding.where
    assert finding.where.endswith("client")
    assert (finding.expected, finding.found) == ("a client that is drawn", outside)


@pytest.mark.parametrize("lie", [bytes(32), None])
def test_a_draw_that_follows_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: bytes | None) -> None:
    """Ground by the server, or left out."""
    for module in ("rules", "coordinator"):
        monkeypatch.setattr(f"protocols.rounds.{module}.expected_draw", lambda *_: lie)
    monkeypatch.setattr("protocols.invitation._check_draw", lambda *_: None)
    simulation = begin(tmp_path)
    simulation.play_round()
    report, failing = judged(simulation)
    assert failing == {"I4"}
    (finding,) = report.check("I4").findings
    assert finding.where.endswith("draw")
    assert finding.by == "coordinator"


def test_a_repetition_with_a_new_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def anew(pinned: object, ledger: object) -> bytes | None:
        values = {key.trustee: key.draw for key in ledger.keys}  # type: ignore[attr-defined]  # a Ledger
        return draw_seed(pinned, ledger.next_round, values)  # type: ignore[arg-type, attr-defined]  # the same

    simulation = begin(tmp_path)
    simulation.give_up_round()
    for module in ("rules", "coordinator"):
        monkeypatch.setattr(f"protocols.rounds.{module}.expected_draw", anew)
    simulation.play_round()
    report, failing = judged(simulation)
    assert failing == {"I4"}
    (finding,) = report.check("I4").findings
    assert "round 2" in finding.where


def test_values_that_are_not_those_of_the_trustees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All trustees and the server: of each value the proof fails, and none is left to draw with."""
    monkeypatch.setattr("protocols.rounds.trustee.draw_proof", lambda *_: bytes(80))
    for module in ("rounds.rules", "invitation"):
        monkeypatch.setattr(f"protocols.{module}.draw_value", lambda *_: bytes(64))
    simulation = begin(tmp_path)
    simulation.play_round()
    report, failing = judged(simulation)
    assert failing == {"I4"}
    places = [finding.where for finding in report.check("I4").findings]
    assert sum("round-key by trustee-" in place and place.endswith("draw") for place in places) == 3
    assert len(places) == 4


def test_values_under_a_policy_that_draws_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.rounds.trustee.draw_proof", lambda *_: bytes(80))
    for module in ("rounds.rules", "invitation"):
        monkeypatch.setattr(f"protocols.{module}.draw_value", lambda *_: None)
    simulation = begin(tmp_path, replace(SETTING, clients=3, per_round=None))
    simulation.play_round()
    assert judged(simulation)[1] == {"I4"}


def test_what_is_kept_is_the_draw_of_the_round_before(tmp_path: Path) -> None:
    """Of the ledger, by which trustees and coordinator judge."""
    simulation = begin(tmp_path)
    simulation.give_up_round()
    ledger = simulation.coordinator.ledger
    assert expected_draw(simulation.pinned, ledger) == ledger.draw
    simulation.writer.close()
