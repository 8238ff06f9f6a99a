"""What may be pruned and what is evidence: a ciphertext may be missing where a sum was made of it, and nowhere else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from auditor import Report, audit
from auditor.following import follow
from protocols.envelopes import Entry, open_envelope, seal
from protocols.log.tiles import blob_path
from protocols.messages import Aggregate, Submission
from protocols.rounds.drafts import draft_cohort
from protocols.rounds.exchange import Acknowledgement, SubmissionPackage
from tests.adversaries import false_ack, resigned, submission_of, with_bad_ciphertext, with_bad_proof
from tests.auditor.conftest import failed, second_submission, unreadable_shares
from tests.independent.audit import audit as second_audit
from tests.simulator import Setting, Simulation, identity_of
from verifl.agents.pruning import prunable

EXHAUSTIVE = pytest.mark.exhaustive
SILENT = ("trustee-0", "trustee-1")


def agreed(simulation: Simulation, path: Path) -> Report:
    """The report of the first auditor, with whose statuses the second agrees."""
    first = audit(path, simulation.policy_data)
    pinned = path.parent / "pinned.cbor"
    pinned.write_bytes(simulation.policy_data)
    second = second_audit(path, pinned)
    assert second.checks == {result.id: result.status.value for result in first.checks}, second.findings
    assert second.accepted == first.accepted
    return first


def pruned(path: Path, names: Iterable[bytes]) -> Path:
    for name in names:
        (path / blob_path(name)).unlink()
    return path


def submissions(simulation: Simulation) -> dict[tuple[int, str], list[Submission]]:
    """By round and client, in log order."""
    found: dict[tuple[int, str], list[Submission]] = {}
    for entry in simulation.coordinator.entries(0, simulation.coordinator.size):
        message = open_envelope(entry).message
        if isinstance(message, Submission):
            found.setdefault((message.round, message.client), []).append(message)
    return found


@pytest.fixture(scope="module", params=[True, pytest.param(False, marks=pytest.mark.exhaustive)])
def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """1: a cohort of two, and one submission for each other verdict. 2: a cohort whose releases are missing. 3: aborted
    before there is a cohort. 4: not over."""
    setting = Setting(clients=8, dimension=8, max_cohort=2, encryption_proof=request.param)
    simulation = Simulation(tmp_path_factory.mktemp("history"), setting)
    simulation.start()
    simulation.open_round()
    copied = simulation.package("client-00")
    made = [
        copied,
        resigned(simulation, copied, {}, client="client-07"),
        unreadable_shares(simulation, "client-01", 3),
        with_bad_proof(simulation, simulation.package("client-02")),
        with_bad_ciphertext(simulation, simulation.package("client-03")),
        simulation.package("client-04"),
        simulation.package("client-05"),
        second_submission(simulation, "client-00"),
    ]
    for package in made:
        simulation.store(simulation.coordinator.receive(package))
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().accepted == ("client-00", "client-04")
    simulation.play_round(silent=SILENT, clients=["client-00", "client-04"])
    simulation.open_round()
    simulation.submit("client-00")
    simulation.store(simulation.coordinator.abort())
    simulation.checkpoint()
    simulation.open_round()
    simulation.submit("client-00")
    simulation.checkpoint()
    yield simulation
    simulation.writer.close()


def test_the_history_as_it_is(history: Simulation) -> None:
    report = agreed(history, history.path)
    assert report.accepted
    named = {note.partition(" in round")[0] for note in report.check("I7").notes}
    assert named == {
        "client-00 is named: duplicate",
        "client-01 is named: disputed",
        "client-02 is named: invalid-proof",
        "client-03 is named: malformed",
        "client-07 is named: replayed",
    }


def test_what_was_summed_may_be_missing(history: Simulation, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(history.path, tmp_path / "t"))
    named = [open_envelope(entry).message for entry in history.coordinator.entries(0, history.coordinator.size)]
    (total,) = [message.ciphertext for message in named if isinstance(message, Aggregate)]
    summed = submissions(history)[1, "client-04"][0].ciphertext
    report = agreed(history, pruned(copy, [total, summed]))
    assert report.accepted
    assert report.check("I9").status == "skipped"
    assert "2 ciphertexts pruned" in report.check("I1").notes
    assert failed(audit(copy, history.policy_data, required=["I9"])) == {"I9"}
    assert set(prunable(history.pinned, history.path).files) == {total, summed}  # the command takes these, and no other


VERDICTS = {
    "duplicate": (1, "client-00", 1),
    "disputed": (1, "client-01", 0),
    "invalid-proof": (1, "client-02", 0),
    "malformed": (1, "client-03", 0),
    "cohort-full": (1, "client-05", 0),
    "accepted, and the releases missing": (2, "client-04", 0),
    "accepted, and copied": (1, "client-00", 0),
    "of a round without a cohort": (3, "client-00", 0),
    "of a round that is not over": (4, "client-00", 0),
}


EVERY_RUN = ("invalid-proof", "accepted, and the releases missing", "accepted, and copied")


@pytest.mark.parametrize("name", [n if n in EVERY_RUN else pytest.param(n, marks=EXHAUSTIVE) for n in VERDICTS])
def test_what_was_not_summed_is_evidence(history: Simulation, tmp_path: Path, name: str) -> None:
    number, client, nth = VERDICTS[name]
    copy = Path(shutil.copytree(history.path, tmp_path / "t"))
    report = agreed(history, pruned(copy, [submissions(history)[number, client][nth].ciphertext]))
    expected = {"I1", "I6"}
    if name == "duplicate":
        expected = {"I1"}  # I6 does not look at it
    if name in ("invalid-proof", "malformed"):
        expected |= {"I7", "I8"}  # what nobody can judge is no reason to leave somebody out
    if name == "accepted, and copied":
        expected |= {"I7", "I9"}  # nor is its copy known to be one: it is disputed
    assert failed(report) == expected
    assert any("evidence" in finding.where for finding in report.check("I1").findings)


# ---- a false verdict, and what would show it gone ----


def close_as_if_valid(simulation: Simulation) -> None:
    """The coordinator closes the cohort as the rule has it where no submission is at fault; it signs what it likes."""
    current = simulation.coordinator.ledger.current
    assert current is not None
    message = draft_cohort(simulation.pinned, current, {})
    simulation.store(
        simulation.coordinator._log([Entry.open(seal(message, "coordinator", identity_of("coordinator")))])
    )
    simulation.checkpoint()


def accepted_and_aborted(simulation: Simulation) -> None:
    """In the cohort, whose releases then are withheld."""
    simulation.acknowledge()
    close_as_if_valid(simulation)
    simulation.release([name for name in simulation.asked() if name not in SILENT])
    assert simulation.finish().aborted == "missing-releases"


def unacknowledged(simulation: Simulation) -> None:
    """f trustees say that its share is bad, so that it is left out: for no fault of its own."""
    simulation.acknowledge(["trustee-2", "trustee-3", "trustee-4"])
    for name in SILENT:
        simulation.acknowledgement(name)  # and not sent
        simulation.store(
            simulation.coordinator.receive_ack(Acknowledgement(false_ack(simulation, name, ["client-03"])))
        )
    close_as_if_valid(simulation)
    simulation.release()
    assert simulation.finish().aborted is None


@pytest.mark.parametrize(
    ("lie", "proved"),
    [
        (accepted_and_aborted, True),
        (unacknowledged, False),
        pytest.param(accepted_and_aborted, False, marks=EXHAUSTIVE),
        pytest.param(unacknowledged, True, marks=EXHAUSTIVE),
    ],
)
def test_a_false_verdict_cannot_be_hidden(lie: Callable[[Simulation], None], proved: bool, tmp_path: Path) -> None:
    """By an auditor that requires I9, or one that followed until then, as little as by any other."""
    simulation = Simulation(tmp_path, Setting(dimension=8, encryption_proof=proved))
    simulation.start()
    simulation.play_round()
    state = follow(simulation.path, simulation.pinned, None).state
    assert state is not None
    simulation.open_round()
    for name in ("client-00", "client-01", "client-02"):
        simulation.submit(name)
    package = simulation.package("client-03")
    wrong = with_bad_ciphertext(simulation, package) if not proved else other_ciphertext(simulation, package)
    simulation.store(simulation.coordinator.receive(wrong))
    lie(simulation)
    assert "I7" in failed(audit(simulation.path, simulation.policy_data))
    pruned(simulation.path, [submission_of(wrong).ciphertext])
    assert failed(agreed(simulation, simulation.path)) == {"I1", "I6"}
    assert failed(audit(simulation.path, simulation.policy_data, required=["I9"])) == {"I1", "I6"}
    followed = follow(simulation.path, simulation.pinned, state)
    assert followed.report is not None
    assert not followed.accepted
    assert failed(followed.report) == {"I1", "I6"}
    simulation.writer.close()


def other_ciphertext(simulation: Simulation, package: SubmissionPackage) -> SubmissionPackage:
    blob = bytearray(package.blobs[submission_of(package).ciphertext])
    blob[0] ^= 1
    return resigned(simulation, package, {"ciphertext": bytes(blob)})


def test_facts_do_not_cover_for_evidence(tmp_path: Path) -> None:
    """A submission that was valid when it was looked at, in a cohort that was never summed."""
    simulation = Simulation(tmp_path, Setting(dimension=8))
    simulation.start()
    simulation.play_round(silent=SILENT)
    state = follow(simulation.path, simulation.pinned, None).state
    assert state is not None
    pruned(simulation.path, [submissions(simulation)[1, "client-00"][0].ciphertext])
    followed = follow(simulation.path, simulation.pinned, state)
    assert followed.report is not None
    assert failed(followed.report) == {"I1"}
    simulation.writer.close()
