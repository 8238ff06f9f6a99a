"""The evidence graph of a round, as it is drawn: what I12 walks, with entries that stand together taken as one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from auditor.checks.graph import RoundGraph, build
from auditor.course.parties import submission_parts
from auditor.findings import Findings, counted
from auditor.index import Round
from auditor.reports.course import Node, Part, RoundEvidence
from auditor.reports.results import CheckResult
from auditor.stories import Told

MOST_GRAPHS = 12  # that are drawn unasked
MOST_NODES = 24  # of one type in a layer; more of them stand together
KEYS, OPENED, SENT, HEARD, CHOSEN, LET, SUM, END = range(8)


def drawable(rounds: Iterable[Round]) -> tuple[int, ...]:
    """Numbers of the rounds that have an aggregate."""
    return tuple(found.number for found in rounds if found.aggregate is not None)


def evidence_of(told: Told, results: Sequence[CheckResult], wanted: Collection[int]) -> tuple[RoundEvidence, ...]:
    """The graphs of the rounds that are wanted, and of a few others: those that findings are about, the first and the
    last with an aggregate, then the first ones."""
    faulty = {each.place.entry for result in results for each in result.findings if each.place.entry is not None}
    chosen = _chosen(told, results, wanted)
    return tuple(_drawn(told, told.log.index.rounds[number], faulty) for number in sorted(chosen))


def _chosen(told: Told, results: Sequence[CheckResult], wanted: Collection[int]) -> set[int]:
    """Numbers of rounds."""
    rounds = told.log.index.rounds
    whole = drawable(told.log.index.in_order())
    chosen = {number for number in wanted if number in rounds}
    about = [each.place.round for result in results for each in result.findings if each.place.round in rounds]
    for number in (*about, *whole[:1], *whole[-1:], *whole):
        if number is not None and (len(chosen) < MOST_GRAPHS or number in chosen):
            chosen.add(number)
    return chosen


def _drawn(told: Told, found: Round, faulty: AbstractSet[int]) -> RoundEvidence:
    graph = build(told.log, Findings("I12", ""), found)
    groups = list(_groups(told, found, graph, faulty))
    of = {index: node.id for node, indices in groups for index in indices}
    edges = {(of[a], of[b]): graph.flow.has_edge(a, b) for a, b in sorted(graph.references.edges)}
    whole = graph.references.number_of_nodes(), graph.references.number_of_edges()
    kept = tuple((source, target, flows) for (source, target), flows in edges.items() if source != target)
    return RoundEvidence(found.number, tuple(node for node, _ in groups), kept, whole)


def _groups(
    told: Told, found: Round, graph: RoundGraph, faulty: AbstractSet[int]
) -> Iterator[tuple[Node, Sequence[int]]]:
    """The nodes that are drawn, each with the entries that it stands for."""
    here = set(graph.references)
    parts = submission_parts(told, found)
    yield from _layer(KEYS, "round-key", {e.index: e.message.trustee for e in found.keys}, here, {}, faulty)
    yield from _layer(SENT, "submission", {i: r.client for i, r in found.submissions.items()}, here, parts, faulty)
    yield from _layer(HEARD, "share-ack", {e.index: e.message.trustee for e in found.acks}, here, {}, faulty)
    yield from _layer(LET, "release", {e.index: e.message.trustee for e in found.releases}, here, {}, faulty)
    for layer, kind, single in (
        (OPENED, "round-open", found.open),
        (CHOSEN, "cohort-closed", found.cohort),
        (SUM, "aggregate", found.aggregate),
        (END, "round-closed", found.closed),
        (END, "round-aborted", found.aborted),
    ):
        if single is not None:
            yield from _layer(layer, kind, {single.index: ""}, here, {}, faulty)


def _layer(
    layer: int,
    kind: str,
    parties: Mapping[int, str],
    here: AbstractSet[int],
    parts: Mapping[int, Part],
    faulty: AbstractSet[int],
) -> Iterator[tuple[Node, Sequence[int]]]:
    """The entries of one type; where they are many, one node for all that have the same part."""
    indices = [index for index in parties if index in here]
    if len(indices) <= MOST_NODES:
        for index in indices:
            yield Node(index, layer, kind, parties[index], 1, parts.get(index), index in faulty), [index]
        return
    alike: dict[tuple[Part | None, bool], list[int]] = {}
    for index in indices:
        alike.setdefault((parts.get(index), index in faulty), []).append(index)
    for (part, fault), members in alike.items():
        yield Node(members[0], layer, kind, counted(len(members), kind), len(members), part, fault), members
