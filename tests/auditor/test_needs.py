"""Checks hang together by what they declare alone: each is handed what it needs, and nobody changes what another has
left (spec 9.2)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Annotated, Any, get_args, get_origin

import pytest

from auditor import Report, Status, audit, checks
from auditor.blobs import Blobs, Roles
from auditor.case import Case
from auditor.checks import CHECKS
from auditor.checks.proofs import Proofs
from auditor.checks.submissions import Submissions
from auditor.checks.sums import ReplayedSum
from auditor.checks.verdicts import NO_CHOICE, Verdicts
from auditor.findings import Findings, Result
from auditor.index import Heading, Index, Record, Round, SubmissionRecord
from auditor.memory import Memory
from auditor.outcomes import Check, CheckRun, in_order
from auditor.reports.results import CheckpointSummary, ModelSummary
from auditor.signed_log import SignedLog
from proofs.errors import Misuse
from protocols.audit_checks import AUDIT_CHECKS
from protocols.blobs import message_blobs
from protocols.cohorts import Choice
from protocols.envelopes import open_envelope
from protocols.log.checkpoint import SignedNote
from protocols.log.tiles import blob_path
from protocols.messages import Aggregate, Submission
from protocols.policy import Policy
from tests.auditor.attacks import abort_instead
from tests.auditor.conftest import case_of
from tests.auditor.forge import Forge
from tests.simulator import Setting, Simulation

Simulations = Callable[[str], Simulation]
VALUES = (
    str,
    bytes,
    int,
    type(None),
    Index,
    Policy,
    CheckpointSummary,
    ModelSummary,
    Choice,
    SignedNote,
)  # nobody changes these

IDLE = ("I13", "I14", "P5")  # what these policies do not ask for


def content(report: Report) -> dict[str, Any]:
    return {name: value for name, value in report.to_dict().items() if name != "seconds"}


def left_in(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Check[Any, Any], Any, Any, str]]:
    """Of an audit, for each check: what it was handed, what it left, and what that was then, in words."""
    seen = []

    def watched(check: Check[Any, Any]) -> Check[Any, Any]:
        def run(given: Any, findings: Findings) -> Any:
            left = check(given, findings)
            seen.append((check, given, left, told(left)))
            return left

        return replace(check, run=run)

    monkeypatch.setattr(checks, "CHECKS", {number: watched(check) for number, check in CHECKS.items()})
    assert audit(simulation.path, simulation.policy_data).accepted
    return seen


def told(left: Any) -> str:
    """All that a check left, in words; the index by what is filed in it."""
    index = vars(left.filed) if isinstance(left, SignedLog) else {}
    return repr([*(getattr(left, each.name) for each in fields(left)), {k: index[k] for k in index if k[0] != "_"}])


def reached(value: Any, seen: set[int]) -> Iterator[Any]:
    """Everything that can be got at from a value."""
    if id(value) in seen or isinstance(value, str | bytes | int | type):
        return
    seen.add(id(value))
    yield value
    if isinstance(value, Mapping):
        parts = [*value, *value.values()]
    elif isinstance(value, tuple | list | set | frozenset):
        parts = list(value)
    else:
        parts = list(getattr(value, "__dict__", {}).values())
        parts += [getattr(value, each.name) for each in fields(value)] if is_dataclass(value) else []
    for part in parts:
        yield from reached(part, seen)


def test_a_case_is_what_was_given_and_stays_so(simulations: Simulations) -> None:
    simulation = simulations("quiet")
    case = case_of(simulation.path, simulation.policy_data)
    for each in fields(Case):
        with pytest.raises(FrozenInstanceError):
            setattr(case, each.name, None)
    assert not [each for each in reached(case, set()) if isinstance(each, Result)]


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_a_check_declares_all_that_it_is_handed(check: Check[Any, Any]) -> None:
    for kind in (check.needs, check.leaves):
        assert is_dataclass(kind)
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # how dataclasses keep it
    leaving = {each.leaves for each in CHECKS.values()}
    for asked in check.asks.values():
        kind, *part = get_args(asked) or (asked,)
        assert kind in {Case, Memory} | leaving or (kind is Blobs and isinstance(*part, Roles))
    assert len(leaving) == len(CHECKS)


def test_nothing_undeclared_can_be_got_at(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what a check is handed, through whatever it is handed: no results but those that it declares."""
    seen = left_in(simulations("eventful"), monkeypatch)
    assert [check.number for check, *_ in seen] == [name for name in AUDIT_CHECKS.names if name not in IDLE]
    for check, given, *_ in seen:
        found = {type(each) for each in reached(given, set()) if isinstance(each, Result)}
        allowed = check.before | ({type(given.cohorts)} if "cohorts" in check.asks else set())
        assert found <= allowed, check.number


def test_a_check_cannot_use_what_it_does_not_declare(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    """I4 declares no proofs. Type checking says so before."""

    def uses(given: Any, _: Findings) -> Result:
        return CHECKS["I4"].leaves(str(given.proofs.faults))

    monkeypatch.setattr(checks, "CHECKS", {**CHECKS, "I4": replace(CHECKS["I4"], run=uses)})
    simulation = simulations("quiet")
    with pytest.raises(AttributeError, match="'Needs' object has no attribute 'proofs'"):
        audit(simulation.path, simulation.policy_data)


def without(simulation: Simulation, path: Path, *roles: str) -> Path:
    """A copy that lacks every blob of an Aggregate or a Submission in these roles."""
    shutil.copytree(simulation.path, path)
    for entry in simulation.coordinator.entries(0, simulation.coordinator.size):
        message = open_envelope(entry).message
        if isinstance(message, Aggregate | Submission):
            for role, blob in message_blobs(message):
                if role in roles:
                    (path / blob_path(blob)).unlink(missing_ok=True)
    return path


def test_a_check_declares_the_blobs_that_it_reads_and_no_others(
    simulations: Simulations, forge: Callable[[str], Forge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a copy lacks something, too, and what else is there stands in for it."""
    read: dict[frozenset[str], set[str]] = {}
    reads = Blobs.read

    def recorded(blobs: Blobs, role: str, name: bytes) -> bytes:
        read.setdefault(blobs.roles, set()).add(role)
        return reads(blobs, role, name)

    monkeypatch.setattr(Blobs, "read", recorded)
    eventful, proved, hidden, noisy = (simulations(name) for name in ("eventful", "proved", "private", "noisy"))
    for each in (proved, hidden, noisy):
        assert audit(each.path, each.policy_data).accepted
    approved = Simulation(tmp_path / "approved", Setting(approvals=("client", "trustee")))
    approved.start()
    assert audit(approved.path, approved.policy_data).accepted
    unopened = forge("quiet")
    abort_instead("opening-failed")(unopened)
    for path, policy in (
        (without(eventful, tmp_path / "derived", "plaintext", "key", "blindings"), eventful.policy_data),
        (without(eventful, tmp_path / "signed", "plaintext", "ciphertext"), eventful.policy_data),
        (without(proved, tmp_path / "pruned", "ciphertext"), proved.policy_data),
        (unopened.write(tmp_path / "unopened"), unopened.policy_data),
    ):
        audit(path, policy)
    declared = {}
    for check in CHECKS.values():
        for kind, part in (get_args(asked) for asked in check.asks.values() if get_origin(asked) is Annotated):
            assert kind is Blobs
            declared[part.names] = check.number
    assert sorted(declared.values()) == ["I1", "I10", "I11", "I13", "I2", "I6", "I8", "I9"]
    assert {declared[roles]: found for roles, found in read.items()} == {n: {*roles} for roles, n in declared.items()}


def test_what_a_check_left_stays_as_it_was(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    for check, _, left, then in left_in(simulations("eventful"), monkeypatch):
        assert told(left) == then, check.number
        for each in fields(left):
            value = getattr(left, each.name)
            inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
            for part in (value, *inside):
                assert isinstance(part, (*VALUES, tuple, frozenset, MappingProxyType, ReplayedSum)), each.name


def test_the_log_as_filed_is_read_only(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries, rounds and all: no check could change what the next one reads."""
    logs = [left.filed for *_, left, _ in left_in(simulations("eventful"), monkeypatch) if isinstance(left, SignedLog)]
    assert len(logs) == 1
    assert len(logs[0].rounds) == 3
    kinds = {type(value) for each in fields(logs[0]) for value in reached(getattr(logs[0], each.name), set())}
    for kind in kinds - {tuple, frozenset, MappingProxyType, NoneType}:
        assert is_dataclass(kind), kind
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]  # how dataclasses keep it
    assert {Round, SubmissionRecord, Record, Aggregate, Heading} <= kinds


def test_checks_run_in_the_order_of_their_needs(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are listed; the report lists them as ever."""
    simulation = simulations("eventful")
    expected = audit(simulation.path, simulation.policy_data)
    backwards = dict(reversed(CHECKS.items()))
    numbers = [check.number for check in in_order(backwards)]
    assert numbers[0] == "I1"
    for check in CHECKS.values():
        before = {each.number for each in CHECKS.values() if each.leaves in check.before}
        assert before <= set(numbers[: numbers.index(check.number)])
    monkeypatch.setattr(checks, "CHECKS", backwards)
    assert content(audit(simulation.path, simulation.policy_data)) == content(expected)


@dataclass(frozen=True)
class NeedsVerdicts:
    verdicts: Verdicts


def test_checks_that_need_each_other_or_what_nobody_leaves_are_refused() -> None:
    circle = {**CHECKS, "I5": replace(CHECKS["I5"], needs=NeedsVerdicts)}
    with pytest.raises(Misuse, match="I5 needs I7 needs I6 needs I5"):
        in_order(circle)
    with pytest.raises(Misuse, match="needs Verdicts, which no check leaves"):
        in_order({number: check for number, check in CHECKS.items() if number != "I7"})


def test_what_lacks_a_need_is_not_judged(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all else is: I11 has its plaintexts, so it asks for no release; P6 has no two cohorts on one model."""

    def fails(*_: object) -> Proofs:
        raise Misuse("a mistake of ours")

    monkeypatch.setattr(checks, "CHECKS", {**CHECKS, "I6": replace(CHECKS["I6"], run=fails)})
    simulation = simulations("quiet")
    report = audit(simulation.path, simulation.policy_data)
    reasons = {check.id: check.reason for check in report.checks if check.reason and check.id not in IDLE}
    unfinished = "because I6 failed: it could not be finished"
    assert reasons == {
        "I7": unfinished,
        "I8": NO_CHOICE,
        "I9": unfinished,
        "I10": NO_CHOICE,
        "P4": "because I6 failed: the bound is not proved",
    }
    passed = {check.id for check in report.checks if check.status is Status.PASS}
    assert passed == set(AUDIT_CHECKS.names) - reasons.keys() - {"I6", *IDLE}


def test_who_asks_how_a_check_ended_is_told_though_it_left_nothing(simulations: Simulations) -> None:
    check = CHECKS["P4"]
    assert get_origin(check.asks["proofs"]) is CheckRun
    failed = Findings("I6", "validity proofs").result("")
    ended: Any = {each: CheckRun(failed, None) for each in check.before}
    simulation = simulations("quiet")
    given = check.given({Case: case_of(simulation.path, simulation.policy_data)}, ended)
    assert given.proofs == CheckRun(failed, None)
    assert Submissions not in check.before
