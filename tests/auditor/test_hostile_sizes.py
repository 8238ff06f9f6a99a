"""Logs made to be expensive: what the auditor builds from one stays within a small multiple of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from auditor import Status, audit
from auditor.case import Case
from auditor.checks.graph import RoundGraph, build, check_graph
from auditor.checks.log import check_log
from auditor.findings import Findings
from auditor.standing import FORMER_KEYS, Standing
from protocols.cohorts import MAX_TRUSTEES
from protocols.envelopes import open_envelope, seal, seal_rotation
from protocols.messages import (
    Aggregate,
    CohortClosed,
    KeyRotation,
    KeyShare,
    RoundAborted,
    RoundClosed,
    RoundOpen,
    ShareAck,
)
from tests.auditor.forge import Forge
from tests.simulator import identity_of

Stuff = Callable[[Forge], None]


def repeat(forge: Forge, position: int, kind: type, count: int, **changes: Any) -> None:
    """Insert `count` copies of one entry, signed by its party."""
    message = replace(forge.message(forge.find(kind)), **changes)
    signer = message.trustee if isinstance(message, ShareAck | KeyShare) else "coordinator"
    raw = seal(message, signer, identity_of(signer))
    for _ in range(count):
        forge.insert_raw(position, raw)


def cohorts_and_acks(count: int) -> Stuff:
    """Every one of many cohorts would rest on every one of many acknowledgements."""

    def stuff(forge: Forge) -> None:
        repeat(forge, len(forge.slots), ShareAck, count, acknowledged=(), disputed=())
        repeat(forge, len(forge.slots), CohortClosed, count, accepted=(), excluded=())

    return stuff


def strangers(count: int) -> Stuff:
    """Before the cohort, acknowledgements of as many trustees as there are entries, of every index there is."""

    def stuff(forge: Forge) -> None:
        message = forge.message(forge.find(ShareAck))
        position = forge.find(CohortClosed)
        for number in range(count):
            name = f"stranger-{number}"
            signed = replace(message, trustee=name, acknowledged=tuple(range(position + count)), disputed=())
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
        repeat(forge, len(forge.slots), ShareAck, count, acknowledged=tuple(range(256, 21756)), disputed=())

    return stuff


def prepared(forge: Forge, path: Path) -> Case:
    """The forged transcript, as I12 finds it."""
    case = Case.open(forge.write(path), forge.policy_data, "native", lambda done, total: None)
    check_log(case, Findings("I1", "log"))
    return case


def graph_of(case: Case) -> RoundGraph:
    return build(case, Findings("I12", "evidence graph"), case.index.rounds[1])


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
    case = prepared(forged, tmp_path / "t")
    graph = graph_of(case)
    added = graph.references.number_of_nodes() - honest.references.number_of_nodes()
    assert added <= MAX_TRUSTEES
    assert graph.references.number_of_edges() <= (MAX_TRUSTEES + 4) * graph.references.number_of_nodes()
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
    case = prepared(forged, tmp_path / "t")
    size = sum(map(len, forged.entries()))
    tracemalloc.start()
    check_graph(case, Findings("I12", "evidence graph"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * size + (1 << 20)


def test_what_a_round_does_not_have_is_a_finding(forge, tmp_path: Path) -> None:
    """Of another round, of no entry, of an entry that does not count, of a later one."""
    forged = forge("aborted")
    position = forged.find(ShareAck, 2)
    other = forged.find(ShareAck, 1)
    later = forged.find(RoundAborted)
    forged.edit(position, acknowledged=(other, later, 10**6))
    forged.edit(later, round_open=bytes(32))
    findings = Findings("I12", "evidence graph")
    check_graph(prepared(forged, tmp_path / "t"), findings)
    told = [(each.where, each.expected, each.found) for each in findings.result("").findings]
    inside = "references to entries of round 2"
    assert (f"entry {position}", inside, f"entry {other}") in told
    assert (f"entry {position}", inside, f"entry {10**6}") in told
    assert (f"entry {position}", "references to entries before it", f"entry {later}") in told
    assert (f"entry {later}", inside, "a hash of none") in told


def test_wrong_signatures_are_tried_with_the_last_former_keys(simulations) -> None:
    """What a key signed that many others replaced since is a wrong signature like any other."""
    policy = simulations("quiet").pinned.policy
    standing = Standing(policy)
    keys = [identity_of("client-00"), *(identity_of(f"client-00 rotated {i}") for i in range(FORMER_KEYS + 1))]
    for index, (old, new) in enumerate(pairwise(keys)):
        data = seal_rotation(policy.federation, "client-00", old, new)
        standing.change(index, data, open_envelope(data))
    message = KeyRotation(policy.federation, "client-00", bytes(32), bytes(32), bytes(64))
    replaced = [standing.replaced_at(open_envelope(seal(message, "client-00", key))) for key in keys]
    assert replaced == [None, *range(1, FORMER_KEYS + 1), None]
