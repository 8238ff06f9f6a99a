"""Logs made to be expensive: what the auditor builds from one stays within a small multiple of it."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from auditor import Status, audit, copies
from auditor.checks.graph import Needs, RoundGraph, build, check_graph
from auditor.checks.log import check_log
from auditor.comparison import compare
from auditor.copies import read_copy
from auditor.findings import Findings
from auditor.following import FollowState, follow
from auditor.standing import FORMER_KEYS, Standing
from proofs.errors import Rejected
from protocols.cohorts import MOST_TRUSTEES
from protocols.envelopes import open_envelope, seal, seal_rotation
from protocols.log import reader, snapshot, tiles
from protocols.log.checkpoint import Checkpoint, sign_checkpoint
from protocols.log.files import LocalDirectory
from protocols.log.reader import TranscriptReader
from protocols.membership import MOST_ROTATIONS
from protocols.messages import (
    Aggregate,
    CohortClosed,
    KeyRotation,
    Release,
    RoundAborted,
    RoundClosed,
    RoundOpen,
    ShareAck,
)
from protocols.policy import Policy
from tests.auditor.conftest import case_of, hands_of
from tests.auditor.forge import Forge
from tests.simulator import Simulation, identity_of
from tests.work import lines_run

Stuff = Callable[[Forge], None]


def repeat(forge: Forge, position: int, kind: type, count: int, **changes: Any) -> None:
    """Insert `count` copies of one entry, signed by its party."""
    message = replace(forge.message(forge.find(kind)), **changes)
    signer = message.trustee if isinstance(message, ShareAck | Release) else "coordinator"
    raw = seal(message, signer, identity_of(signer))
    for _ in range(count):
        forge.insert_raw(position, raw)


def cohorts_and_acks(count: int) -> Stuff:
    """Every one of many cohorts would rest on every one of many acknowledgements."""

    def stuff(forge: Forge) -> None:
        repeat(forge, len(forge.slots), ShareAck, count, answers="")
        repeat(forge, len(forge.slots), CohortClosed, count, verdicts="", details=())

    return stuff


def strangers(count: int) -> Stuff:
    """Before the cohort, acknowledgements of as many trustees as there are entries, of every index there is."""

    def stuff(forge: Forge) -> None:
        message = forge.message(forge.find(ShareAck))
        position = forge.find(CohortClosed)
        for number in range(count):
            name = f"stranger-{number}"
            signed = replace(message, trustee=name, first=0, answers="h" * (position + count))
            forge.insert_raw(position, seal(signed, name, identity_of(name)))

    return stuff


def everything_again(count: int) -> Stuff:
    """Each role that must be single, many times, with all that it refers to."""

    def stuff(forge: Forge) -> None:
        for kind in (RoundOpen, CohortClosed, Aggregate, RoundClosed):
            repeat(forge, len(forge.slots), kind, count)

    return stuff


def far_references(count: int) -> Stuff:
    """Acknowledgements of tens of thousands of entries that do not exist."""

    def stuff(forge: Forge) -> None:
        repeat(forge, len(forge.slots), ShareAck, count, first=256, answers="h" * 65000)

    return stuff


def prepared(forge: Forge, path: Path) -> Needs:
    """The forged transcript, as I12 finds it."""
    case = case_of(forge.write(path), forge.policy_data)
    return Needs(case, check_log(check_log.given(hands_of(case), {}), Findings("I1", "log")))


def graph_of(given: Needs) -> RoundGraph:
    return build(given.log, Findings("I12", "evidence graph"), given.log.index.rounds[1])


@pytest.mark.parametrize(
    ("stuff", "checks"),
    [
        (cohorts_and_acks(60), {"I4", "I8", "P2"}),
        (strangers(40), {"I8"}),
        (everything_again(20), {"I4", "P2"}),
        (far_references(3), {"I4", "I8"}),
    ],
)
def test_a_stuffed_log_is_rejected_and_its_graph_stays_small(
    stuff: Stuff, checks: set[str], forge, tmp_path: Path
) -> None:
    honest = graph_of(prepared(forge("quiet"), tmp_path / "honest"))
    forged = forge("quiet")
    stuff(forged)
    graph = graph_of(prepared(forged, tmp_path / "t"))
    added = graph.references.number_of_nodes() - honest.references.number_of_nodes()
    assert added <= MOST_TRUSTEES
    assert graph.references.number_of_edges() <= (MOST_TRUSTEES + 4) * graph.references.number_of_nodes()
    assert set(graph.references) <= set(range(len(forged.slots)))
    report = audit(tmp_path / "t", forged.policy_data)
    assert not report.accepted
    assert checks <= {result.id for result in report.checks if result.status is Status.FAIL}


def test_first_entries_have_all_the_edges(forge, tmp_path: Path) -> None:
    """What the log repeats after the end of a round changes nothing in its graph."""
    honest = graph_of(prepared(forge("quiet"), tmp_path / "honest"))
    forged = forge("quiet")
    everything_again(5)(forged)
    cohorts_and_acks(5)(forged)
    graph = graph_of(prepared(forged, tmp_path / "t"))
    assert list(graph.references.edges) == list(honest.references.edges)
    assert list(graph.flow.edges) == list(honest.flow.edges)


def test_memory_is_a_small_multiple_of_the_log(forge, tmp_path: Path) -> None:
    """600 cohorts and 600 acknowledgements, and two acknowledgements of 21500 entries each: 360 kB of log."""
    forged = forge("quiet")
    cohorts_and_acks(600)(forged)
    far_references(2)(forged)
    given = prepared(forged, tmp_path / "t")
    size = sum(map(len, forged.entries()))
    tracemalloc.start()
    check_graph(given, Findings("I12", "evidence graph"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * size + (1 << 20)


def test_what_a_round_does_not_have_is_a_finding(forge, tmp_path: Path) -> None:
    """Of another round, of no entry, of an entry that does not count, of a later one."""
    forged = forge("aborted")
    position = forged.find(ShareAck, 2)
    other = forged.find(ShareAck, 1)
    later = forged.find(RoundAborted)
    nowhere = later + 10**4
    answers = "".join("h" if index in (other, later, nowhere) else "-" for index in range(other, nowhere + 1))
    forged.edit(position, first=other, answers=answers)
    forged.edit(later, round_open=bytes(32))
    findings = Findings("I12", "evidence graph")
    check_graph(prepared(forged, tmp_path / "t"), findings)
    told = [(each.where, each.expected, each.found) for each in findings.result("").findings]
    inside = "references to entries of round 2"
    assert (f"entry {position}", inside, f"entry {other}") in told
    assert (f"entry {position}", inside, f"entry {nowhere}") in told
    assert (f"entry {position}", "references to entries before it", f"entry {later}") in told
    assert (f"entry {later}", inside, "a hash of none") in told


def test_wrong_signatures_are_tried_with_the_last_former_keys(simulations) -> None:
    """All of them, as nobody has more: who signed is told to the last rotation that a party may have."""
    assert FORMER_KEYS == MOST_ROTATIONS
    pinned = simulations("quiet").pinned
    policy, standing = pinned.policy, Standing(pinned)
    keys = [identity_of("client-00"), *(identity_of(f"client-00 rotated {i}") for i in range(FORMER_KEYS))]
    for index, (old, new) in enumerate(pairwise(keys)):
        data = seal_rotation(policy.federation, pinned.hash, "client-00", old, new)
        standing.change(2 * index, data, open_envelope(data))
        standing.end_round(2 * index + 1)
    message = KeyRotation(policy.federation, pinned.hash, "client-00", bytes(32), bytes(32), bytes(64))
    replaced = [standing.replaced_at(open_envelope(seal(message, "client-00", key))) for key in keys]
    assert replaced == [*range(0, 2 * FORMER_KEYS, 2), None]


# ---- a size that nobody signed ----

CLAIMS = [(1 << 32) - 1, (1 << 62) + 77]


def claimed(policy: Policy, size: int, signer: str = "stranger") -> bytes:
    """A checkpoint of so many entries: the log's name, somebody's signature."""
    return sign_checkpoint(Checkpoint(policy.origin, size, bytes(32)), policy.origin, identity_of(signer))


@pytest.mark.parametrize("size", CLAIMS)
@pytest.mark.parametrize("whole", [True, False])
def test_an_unsigned_size_costs_nothing(simulations, copied, size: int, whole: bool) -> None:
    """In a directory of its own, and instead of the signed checkpoint of an honest one."""
    simulation, path = simulations("quiet"), copied("quiet")
    if not whole:
        shutil.rmtree(path)
        path.mkdir()
    (path / "checkpoint").write_bytes(claimed(simulation.pinned.policy, size))
    state = accepted_state(simulation)
    found: list[Any] = []
    work = {
        "compare": lambda: found.append(compare(simulation.path, path, simulation.pinned)),
        "follow": lambda: found.append(follow(path, simulation.pinned, None)),
        "follow on": lambda: found.append(follow(path, simulation.pinned, state)),
        "audit": lambda: found.append(audit(path, simulation.policy_data)),
    }
    for name, act in work.items():
        assert lines_run(act, tiles, snapshot, reader, copies) < 5000, name
    comparison, first, again, report = found
    ((_, why),) = comparison.refused
    assert why.startswith("checkpoint-signature: ")
    assert not first.accepted
    assert again.contradiction.what.startswith("checkpoint-signature: ")
    assert any(each.expected.startswith("checkpoint-signature") for each in report.check("I1").findings) or not whole


def test_what_is_not_signed_is_not_read(simulations, copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the checkpoint, and the first bundle, which may tell that the log is of another policy."""
    simulation, path = simulations("quiet"), copied("quiet")
    size = TranscriptReader(path).size
    (path / "checkpoint").write_bytes(claimed(simulation.pinned.policy, size))
    asked: list[str] = []
    honest = LocalDirectory.read
    monkeypatch.setattr(
        LocalDirectory, "read", lambda self, name, limit: asked.append(name) or honest(self, name, limit)
    )
    with pytest.raises(Rejected) as excinfo:
        read_copy(path, simulation.pinned, TranscriptReader(path))
    assert excinfo.value.check == "checkpoint-signature"
    assert list(dict.fromkeys(asked)) == ["checkpoint", f"tile/entries/000.p/{size}"]


def accepted_state(simulation: Simulation) -> FollowState:
    state = follow(simulation.path, simulation.pinned, None).state
    assert state is not None
    return state
