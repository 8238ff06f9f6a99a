"""The order of a log: one table for everybody who follows it, others for the two auditors, and all say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from auditor.checks.rounds import ENDS, _check_order
from auditor.findings import Findings
from auditor.index import MISSING, Heading
from proofs.errors import Rejected
from protocols.envelopes import Entry
from protocols.messages import MESSAGE_TYPES
from protocols.rounds.follower import Follower
from protocols.rounds.phases import TRANSITIONS, Phase, phase_of
from tests.independent import rounds as second_auditor
from tests.simulator import Simulation

LENGTH = 7  # entries behind genesis
WITH_A_GAP = 5
TYPES = [each.name for each in MESSAGE_TYPES]
WITHOUT_ROUND = {"genesis", "key-rotation", "revocation", "federation-closed"}


def test_the_table_knows_every_type_and_every_phase() -> None:
    assert set(TRANSITIONS) == set(Phase)
    assert {name for after in TRANSITIONS.values() for name in after} == set(TYPES)
    reached = {Phase.EMPTY} | {phase for after in TRANSITIONS.values() for phase in after.values()}
    assert reached == set(Phase)


def numbered(types: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each type with the number of its round, 0 for what belongs to none."""
    number = 1
    for name in types:
        yield name, 0 if name in WITHOUT_ROUND else number
        number += name in ENDS


def auditor_accepts(types: tuple[str, ...], gaps: frozenset[int] = frozenset()) -> bool:
    """The order of these entries, by I4; those at `gaps` are not here."""
    headings = [
        Heading(MISSING, 0) if index in gaps else Heading(name, number)
        for index, (name, number) in enumerate(numbered(types))
    ]
    findings = Findings("I4", "rounds")
    given: Any = SimpleNamespace(case=SimpleNamespace(policy=SimpleNamespace(max_rounds=99)))
    _check_order(given, findings, headings)
    return findings.empty


def second_auditor_accepts(types: tuple[str, ...], gaps: frozenset[int] = frozenset()) -> bool:
    """The same by the auditor that was written from the specification alone."""
    found: list[str] = []
    entries = [
        SimpleNamespace(index=index, type=name, body={"round": number} if number else {})
        for index, (name, number) in enumerate(numbered(types))
        if index not in gaps
    ]
    case: Any = SimpleNamespace(
        entries=entries, gaps=gaps, policy={"max_rounds": 99}, fail=lambda check, words: found.append(words)
    )
    second_auditor.check_order(case)
    return not found


def walk(length: int) -> Iterator[tuple[tuple[str, ...], Phase | None]]:
    """Every sequence of so many entries behind genesis of which all but the last are in order, with the phase after it;
    None where the last one is out of order."""
    reached: list[tuple[tuple[str, ...], Phase]] = [(("genesis",), Phase.BETWEEN)]
    for _ in range(length):
        made = [((*types, name), TRANSITIONS[phase].get(name)) for types, phase in reached for name in TYPES]
        yield from made
        reached = [(types, phase) for types, phase in made if phase is not None]


@pytest.mark.parametrize("accepts", [auditor_accepts, second_auditor_accepts])
def test_auditors_accept_the_same_orders(accepts: Callable[[tuple[str, ...]], bool]) -> None:
    count = 0
    for types, phase in walk(LENGTH):
        assert accepts(types) == (phase is not None), types
        count += phase is not None
    assert count > 1000


def test_auditors_agree_where_an_entry_is_missing() -> None:
    """Whatever it was: what is out of order with it in its place may be in order without it, and never the reverse."""
    accepted = refused = 0
    for types, phase in walk(WITH_A_GAP):
        for gap in range(1, len(types) - 1):
            gaps = frozenset({gap})
            first = auditor_accepts(types, gaps)
            assert first == second_auditor_accepts(types, gaps), (types, gap)
            assert first or phase is None, (types, gap)
            accepted, refused = accepted + first, refused + (not first)
    assert accepted > 1000
    assert refused > 100


@pytest.fixture
def entries(simulate: Callable[..., Simulation]) -> tuple[Simulation, list[Entry]]:
    """A log with an entry of every type: changes, a round that closes, one without a cohort, one without releases."""
    simulation = simulate(max_aborts=0)
    simulation.change(simulation.rotation("client-02"))
    simulation.change(simulation.revocation("client-03"))
    assert simulation.play_round().aborted is None
    assert simulation.play_round(clients=[]).aborted == "too-few-submissions"
    assert simulation.play_round(silent=["trustee-0", "trustee-1"]).aborted == "missing-releases"
    simulation.store(simulation.conductor.end("aborts-spent"))
    simulation.settle()
    return simulation, [Entry.open(each) for each in simulation.coordinator.entries(0, simulation.coordinator.size)]


def test_whoever_follows_a_log_goes_by_the_table(entries: tuple[Simulation, list[Entry]]) -> None:
    """Before each entry every type is tried: what the table does not have is out of order, and nothing else is."""
    simulation, log = entries
    examples = {entry.envelope.type: entry for entry in reversed(log)}
    assert set(examples) == set(TYPES)
    follower, tried = Follower.start(), set[tuple[Phase, str]]()
    for entry in log:
        phase = phase_of(follower.ledger)
        for name, example in examples.items():
            tried.add((phase, name))
            assert (refusal(simulation, follower, example) == "order") == (name not in TRANSITIONS[phase]), (
                phase,
                name,
            )
        follower = follower.after(simulation.pinned, [entry])
        assert phase_of(follower.ledger) is TRANSITIONS[phase][entry.envelope.type]
    assert {phase for phase, _ in tried} == set(Phase) - {Phase.OVER}
    assert all(refusal(simulation, follower, each) == "order" for each in examples.values())


def refusal(simulation: Simulation, follower: Follower, entry: Entry) -> str | None:
    try:
        follower.after(simulation.pinned, [entry])
    except Rejected as error:
        return error.check
    return None
