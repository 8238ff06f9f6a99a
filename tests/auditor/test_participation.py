"""Draws of clients, judged by both auditors: an honest transcript, and servers and trustees who lie together."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Outcome, Report, audit
from protocols.participation import draw_seed
from protocols.rounds.ledger import asked_clients, expected_draw
from tests.auditor.test_gaps import types_of, without
from tests.independent.audit import audit as second_audit
from tests.simulator import Setting, Simulation

RESTS_ON = ("round-closed", "round-open", "round-aborted", "revocation", "key-rotation")
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


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_what_a_copy_lacks_around_draws(tmp_path: Path, every: bool) -> None:
    """Both auditors find faults by the same checks, and accuse nobody, whichever entry a draw rests on is damaged; not
    every one: the first end of a round, the first rotation, and an opening between two repetitions."""
    simulation = begin(tmp_path, replace(SETTING, clients=6, per_round=4, dimension=4))
    simulation.play_round()
    simulation.change(simulation.revocation("client-00"))
    simulation.change(simulation.rotation("trustee-1"))
    for _ in range(3):
        simulation.give_up_round()
    simulation.play_round()
    simulation.change(simulation.rotation("trustee-2"))
    simulation.play_round()
    simulation.writer.close()
    pinned = tmp_path / "pinned.cbor"
    pinned.write_bytes(simulation.policy_data)
    kinds = types_of(simulation.path)
    places = {kind: [index for index, each in enumerate(kinds) if each == kind] for kind in RESTS_ON}
    few = [places["round-closed"][0], places["key-rotation"][0], places["round-open"][2]]
    for index in sorted(each for found in places.values() for each in found) if every else few:
        path = without(Path(shutil.copytree(simulation.path, tmp_path / str(index))), index)
        report, second = audit(path, pinned), second_audit(path, pinned)
        failing = {number for number, findings in second.findings.items() if findings}
        assert {each.id for each in report.checks if each.findings} == failing, (index, kinds[index])
        assert (report.outcome, report.broken) == (Outcome.DAMAGED, ()), (index, kinds[index])


def test_the_story_of_who_is_not_asked(tmp_path: Path) -> None:
    """It must not read as if it had sent nothing, or as if the server had left it out."""
    simulation = begin(tmp_path, replace(SETTING, clients=5, per_round=4))
    simulation.open_round()
    drawn = asked_clients(simulation.pinned, simulation.coordinator.ledger)
    (outside,) = set(simulation.clients) - set(drawn)
    for name in drawn[:2]:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release(())
    simulation.finish()
    simulation.change(simulation.revocation(drawn[3]))
    simulation.play_round()
    simulation.writer.close()
    stories = {
        outside: ["it was not drawn, so nobody asked it", "it was not in the cohort that this round repeats"],
        drawn[2]: ["it sent none, or the server did not log it", "it was not in the cohort that this round repeats"],
        drawn[3]: ["it sent none, or the server did not log it", "it was revoked before"],
    }
    for name, said in stories.items():
        story = audit(simulation.path, simulation.policy_data, explain=name).story
        assert story is not None
        found = [event.text for event in story.events if event.text.startswith("no submission in the log")]
        assert found == [f"no submission in the log: {each}" for each in said]


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
    """And values for it, of all trustees: none of them is due."""

    def anew(pinned: object, ledger: object) -> bytes | None:
        values = {key.trustee: key.draw for key in ledger.keys}  # type: ignore[attr-defined]  # a Ledger
        return draw_seed(pinned, ledger.next_round, values)  # type: ignore[arg-type, attr-defined]  # the same

    simulation = begin(tmp_path)
    simulation.give_up_round()
    for module in ("rules", "coordinator"):
        monkeypatch.setattr(f"protocols.rounds.{module}.expected_draw", anew)
    for module in ("rules", "trustee"):
        monkeypatch.setattr(f"protocols.rounds.{module}.draw_key", lambda pinned, _, name: pinned.trustee_key(name))
    monkeypatch.setattr("protocols.invitation._check_draw", lambda *_: None)
    simulation.play_round()
    report, failing = judged(simulation)
    assert failing == {"I4"}
    places = [finding.where for finding in report.check("I4").findings]
    assert all("round 2" in place and place.endswith("draw") for place in places)
    assert ["round-open" in place for place in sorted(places)] == [False, False, False, True]


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
