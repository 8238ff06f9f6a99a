"""Who breaks a rule is named whatever becomes of the round: aborted for any reason, or not over yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from auditor import Report, audit
from auditor.reports.results import Story
from protocols.envelopes import open_envelope
from protocols.messages import RoundAborted
from protocols.rounds.exchange import SubmissionPackage
from tests.adversaries import with_bad_ciphertext, with_bad_proof
from tests.auditor.conftest import failed, second_submission, unreadable_shares
from tests.auditor.forge import Forge
from tests.auditor.test_explain import said
from tests.auditor.test_naming import accusations, submission_of
from tests.simulator import Setting, Simulation, identity_of
from verifl.storage.history import ended_rounds, exclusions

CLIENTS = 5
MADE: dict[str, Callable[[Simulation, str], SubmissionPackage]] = {
    "bad proof": lambda simulation, name: with_bad_proof(simulation, simulation.package(name)),
    "no residues": lambda simulation, name: with_bad_ciphertext(simulation, simulation.package(name)),
    "bad shares": lambda simulation, name: unreadable_shares(simulation, name, simulation.setting.corrupt + 1),
    "a bad share": lambda simulation, name: unreadable_shares(simulation, name, 1),
}


def collect(simulation: Simulation, faults: dict[str, str], acks: Iterable[str] | None = None) -> int:
    """A round with one submission of each client, some of them at fault."""
    number = simulation.open_round()
    for name in simulation.clients:
        package = MADE[faults[name]](simulation, name) if name in faults else simulation.package(name)
        simulation.store(simulation.coordinator.receive(package))
    simulation.acknowledge(acks)
    return number


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """Where everybody is needed: three rounds aborted for want of submissions, one for want of acknowledgements, a
    good one, one aborted after its cohort, and one that is not over."""
    simulation = Simulation(tmp_path_factory.mktemp("aborted"), Setting(clients=CLIENTS, min_cohort=CLIENTS))
    simulation.start()
    collect(simulation, {"client-01": "bad proof"})
    assert simulation.close_cohort() == "too-few-submissions"
    collect(simulation, {"client-01": "no residues", "client-02": "bad proof"})
    simulation.store(simulation.coordinator.receive(second_submission(simulation, "client-03")))
    simulation.checkpoint()
    assert simulation.close_cohort() == "too-few-submissions"
    collect(simulation, {"client-02": "bad shares", "client-04": "a bad share"})
    assert simulation.close_cohort() == "too-few-submissions"
    collect(simulation, {"client-00": "bad proof"}, ["trustee-0", "trustee-1"])
    assert simulation.close_cohort() == "no-quorum"
    simulation.play_round()
    simulation.play_round(silent=["trustee-0", "trustee-1"])
    collect(simulation, {"client-04": "bad proof"})
    simulation.checkpoint()
    yield simulation
    simulation.writer.close()


@pytest.fixture(scope="module")
def report(history: Simulation) -> Report:
    return audit(history.path, history.policy_data)


def told(simulation: Simulation, party: str) -> Story:
    story = audit(simulation.path, simulation.policy_data, explain=party).story
    assert story is not None
    return story


def test_everybody_at_fault_is_named(report: Report) -> None:
    assert report.accepted
    assert [each.partition(" (")[0] for each in accusations(report)] == sorted(
        [
            "client-01 is named: invalid-proof in round 1",
            "client-01 is named: malformed in round 2",
            "client-02 is named: invalid-proof in round 2",
            "client-03 is named: duplicate in round 2",
            "client-02 is named: disputed in round 3",
            *(f"client-02 and trustee-{number} are in dispute: share-decryption" for number in range(3)),
            "client-04 and trustee-0 are in dispute: share-decryption",
            "client-00 is named: invalid-proof in round 4",
            "client-04 is named: invalid-proof in round 7",
        ]
    )


def test_the_check_that_a_proof_fails_is_told(report: Report) -> None:
    invalid = [each for each in report.check("I7").notes if "invalid-proof" in each]
    assert len(invalid) == 4
    assert all(each.endswith(("(linear-relation)", "(point-encoding)")) for each in invalid)


@pytest.mark.parametrize(
    ("party", "number", "expected"),
    [
        ("client-01", 1, "too-few-submissions (entry {}). The audit finds: invalid-proof ("),
        ("client-01", 2, "too-few-submissions (entry {}). The audit finds: malformed"),
        ("client-03", 2, "too-few-submissions (entry {}). The audit finds: duplicate"),
        ("client-02", 3, "too-few-submissions (entry {}). The audit finds: disputed"),
        ("client-04", 3, "too-few-submissions (entry {}). The audit finds no fault in it"),
        ("client-00", 4, "no-quorum (entry {}). The audit finds: invalid-proof ("),
        ("client-01", 4, "no-quorum (entry {}). The audit finds no fault in it"),
    ],
)
def test_stories_of_aborted_rounds(history: Simulation, party: str, number: int, expected: str) -> None:
    entries = history.coordinator.entries(0, history.coordinator.size)
    (end,) = [index for index, entry in enumerate(entries) if _aborts(entry, number)]
    (*_, last) = said(told(history, party), number)
    assert last.startswith(f"no verdict: the round was aborted, {expected.format(end)}")


def test_the_story_of_an_unfinished_round(history: Simulation) -> None:
    (*_, last) = said(told(history, "client-04"), 7)
    assert last.startswith("no verdict: the round has not ended in this log. The audit finds: invalid-proof (")


def test_a_coordinator_tells_the_same_of_rounds_that_have_ended(history: Simulation) -> None:
    """Also one that was started after them, and so has judged nothing of them."""
    entries = history.coordinator.entries(0, history.coordinator.size)
    told = []
    for restarted in (False, True):
        if restarted:
            history.restart_coordinator()
        found = {
            (each.last.number, exclusion.index): (exclusion.reason, exclusion.detail)
            for each in ended_rounds(history.pinned, entries)
            for exclusion in exclusions(history.coordinator, history.pinned, each.last)
        }
        told.append(found)
    assert told[0] == told[1]
    assert sorted((number, reason) for (number, _), (reason, _) in told[0].items()) == [
        (1, "invalid-proof"),
        (2, "duplicate"),
        (2, "invalid-proof"),
        (2, "malformed"),
        (3, "disputed"),
        (4, "invalid-proof"),
    ]


def _aborts(entry: bytes, number: int) -> bool:
    message = open_envelope(entry).message
    return isinstance(message, RoundAborted) and message.round == number


def test_what_a_server_forges_into_an_aborted_round(history: Simulation, tmp_path: Path) -> None:
    """Nobody is named for a submission in its name that it did not sign."""
    forged = Forge.load(history.path, history.pinned.policy, history.policy_data, identity_of)
    position = submission_of(forged, "client-01", 1)
    forged.cut(forged.find(RoundAborted, 1) + 1)
    forged.edit(position, signer="coordinator")
    found = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert failed(found) == {"I5"}
    assert accusations(found) == []
