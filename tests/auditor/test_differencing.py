"""P6 on whole transcripts: whom a repeated round may leave out, and what the log must prove for that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from auditor import audit
from auditor.checks import differences
from auditor.findings import Findings
from protocols.reasons import DIFFERENCING
from protocols.rounds import closing, releasing
from tests import retries
from tests.auditor.conftest import failed
from tests.independent.audit import audit as second_audit
from tests.simulator import Setting, Simulation


def sampled(names: Iterable[str], *first: str) -> list[object]:
    """These in every run, the others in the exhaustive one."""
    return [pytest.param(name, marks=() if name in first else pytest.mark.exhaustive) for name in names]


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    made = Simulation(tmp_path)
    made.start()
    yield made
    made.writer.close()


# Every history is in every run, before one of the two ends that it may have: a release, or none.
@pytest.mark.parametrize(
    "name", sampled(retries.UNJUST, "a duplicate in the opened round", "an invalid proof long ago")
)
def test_a_sum_released_against_the_rule_is_found(
    name: str, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every trustee is corrupt and releases; otherwise nothing is wrong with the log."""
    retries.UNJUST[name](simulation)
    retries.admit_anybody(monkeypatch)
    release_anyway(simulation)
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == {"I7", "I8", "P6"}
    assert {finding.found for finding in report.check("P6").findings} == {f"a difference of {retries.VICTIM}"}


@pytest.mark.parametrize("name", list(retries.NEW))
def test_a_client_that_joins_a_repetition_is_found(
    name: str, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    retries.admit_anybody(monkeypatch)
    retries.NEW[name](simulation)
    release_anyway(simulation)
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == {"I5", "P6"}
    assert {finding.found for finding in report.check("P6").findings} == {f"new are {retries.VICTIM}"}


def test_two_aborts_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All, half of the others, the other half: every trustee is corrupt and releases."""
    simulation = Simulation(tmp_path, Setting(clients=7, min_cohort=3))
    simulation.start()
    names = list(simulation.clients)
    retries.admit_anybody(monkeypatch)
    for clients in (names, names[:3]):
        assert simulation.play_round(clients=clients, silent=retries.CORRUPT).aborted == "missing-releases"
    assert simulation.play_round(clients=names[3:6]).aborted is None
    simulation.writer.close()
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == {"I5", "P6"}
    (finding,) = report.check("P6").findings
    assert (finding.where, finding.found) == ("rounds 2 and 3", "new are client-03, client-04, client-05")


def release_anyway(simulation: Simulation) -> None:
    """The cohort without regard to the one before, released and summed."""
    message = retries.cohort_of(simulation)
    simulation.store(simulation.coordinator._log([simulation.coordinator._seal(message)]))
    simulation.checkpoint()
    simulation.release()
    assert simulation.finish().aborted is None


@pytest.mark.parametrize("name", sampled(retries.UNJUST, "a duplicate in the repetition", "disputed long ago"))
def test_a_repetition_by_the_rule_is_accepted(name: str, simulation: Simulation) -> None:
    retries.UNJUST[name](simulation)
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().aborted is None
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == set()
    assert report.accepted


@pytest.mark.parametrize("name", sampled(retries.JUST, "malformed", "an invalid proof in between"))
def test_a_repetition_without_one_at_fault_is_accepted(name: str, simulation: Simulation) -> None:
    retries.JUST[name](simulation)
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().accepted == tuple(retries.others(simulation))
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == set()
    assert report.accepted


@pytest.mark.parametrize("name", sampled(retries.JUST, "an invalid proof", "disputed"))
def test_a_fault_that_exempts_is_no_reason_to_abort(name: str, simulation: Simulation) -> None:
    retries.JUST[name](simulation)
    current = simulation.coordinator.ledger.current
    assert current is not None
    simulation.store(simulation.coordinator._abort(current, DIFFERENCING))
    simulation.checkpoint()
    assert failed(audit(simulation.path, simulation.policy_data)) == {"I8"}


# ---- alike models ----


def notes_after(simulation: Simulation, *cohorts: Sequence[int]) -> tuple[str, ...]:
    """P6's notes on rounds over these clients, all accepted."""
    names = list(simulation.clients)
    for members in cohorts:
        assert simulation.play_round(clients=[names[each] for each in members]).aborted is None
    report = audit(simulation.path, simulation.policy_data)
    assert report.accepted
    return report.check("P6").notes


@pytest.mark.parametrize(
    ("cohorts", "exposed"),
    [
        pytest.param([range(7), range(7)], [], marks=pytest.mark.exhaustive),
        pytest.param([range(7), range(6)], ["rounds 1 and 2 expose client-06"], marks=pytest.mark.exhaustive),
        ([range(6), range(7)], ["rounds 1 and 2 expose client-06"]),
        pytest.param(
            [range(7), range(3), range(3, 6)],
            ["rounds 1, 2 and 3 together expose client-06"],
            marks=pytest.mark.exhaustive,
        ),
        ([range(3), range(3, 6), range(7)], ["rounds 1, 2 and 3 together expose client-06"]),
        ([range(7), range(4), range(6)], ["rounds 2 and 3 expose client-04, client-05", "rounds 1, 2 and 3 together"]),
        ([range(7), range(6), range(6)], ["rounds 1 and 2 expose client-06"]),
    ],
)
def test_whom_consecutive_rounds_expose(cohorts: list[range], exposed: list[str], tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, Setting(clients=7, min_cohort=3))
    simulation.start()
    notes = notes_after(simulation, *cohorts)
    simulation.writer.close()
    assert len(notes) == len(exposed)
    for note, start in zip(notes, exposed, strict=True):
        assert note.startswith(start)


@pytest.mark.parametrize("hidden", [False, True])
def test_notes_say_what_sums_of_private_weights_show(hidden: bool) -> None:
    cohorts = [differences._Opened(n, bytes([n]), set(clients), {}) for n, clients in enumerate(("abcd", "abc"), 1)]
    (exposed,) = differences._exposed(cohorts, 2, hidden)
    assert exposed.clients == {"d"}
    assert ("the sums of private weights show theirs exactly" in exposed.said) is hidden


def test_notes_are_few_and_short(tmp_path: Path) -> None:
    """Of many exposed clients and many rounds a report has a few, and counts the rest."""
    findings = Findings("P6", "")
    clients = {f"c{each:03}" for each in range(500)}
    many = [differences._Exposed(f"rounds {n} and {n + 1}", clients, "why") for n in range(1000)]
    differences._note_exposed(findings, many)
    notes = findings.result("").notes
    assert len(notes) == 21
    assert "c007 and 492 more" in notes[0]
    assert notes[-1] == "980 more such differences between consecutive rounds"


@pytest.mark.parametrize(("strict", "found"), [(False, set()), (True, {"P6"})])
def test_strict_policies_make_it_a_finding(
    strict: bool, found: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every party is corrupt and sums seven, then six of them."""
    simulation = Simulation(tmp_path, Setting(clients=7, min_cohort=3, strict_consecutive=strict))
    simulation.start()
    monkeypatch.setattr(closing, "recent_cohorts", lambda *_: [])
    monkeypatch.setattr(releasing, "check_cohort_difference", lambda *_: None)
    for count in (7, 6):
        assert simulation.play_round(clients=list(simulation.clients)[:count]).aborted is None
    simulation.writer.close()
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) >= found
    assert ("P6" in failed(report)) is strict
    (tmp_path / "pinned.cbor").write_bytes(simulation.policy_data)
    second = second_audit(simulation.path, tmp_path / "pinned.cbor")
    assert {name for name, status in second.checks.items() if status == "fail"} == failed(report)
