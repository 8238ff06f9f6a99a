"""I12: the evidence as a graph. Whatever is in the log or among the blobs leads somewhere, and to one place only.

One graph a round, so that its size is that of a round: nodes are the round's entries, an edge goes from what is
referred to, to what refers to it. Of entries that must be single the first has edges, and what the round does not have
is a finding, no node: however often a log repeats itself, a round of E entries has fewer than (16 + 4) E edges. Rounds
hang together by the models, which I4 and I11 check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.case import Case
from auditor.checks.log import LEFTOVER, is_blob_path
from auditor.checks.numbered import numbered
from auditor.findings import Findings, Result, counted
from auditor.index import Record, Round, label
from auditor.reports.results import Kind, Place
from auditor.signed_log import SignedLog
from protocols.cohorts import MOST_TRUSTEES
from protocols.log.tiles import blob_path
from protocols.messages import ShareAck

if TYPE_CHECKING:
    import networkx


UNNAMED = f"one that nothing names; {LEFTOVER}"


@dataclass(frozen=True)
class RoundGraph:
    """A round's references: all of them, and those along which the sum flows. All else is somebody's statement."""

    references: networkx.DiGraph[int]
    flow: networkx.DiGraph[int]


@dataclass(frozen=True)
class Needs:
    """What I12 is handed."""

    case: Case
    log: SignedLog


@dataclass(frozen=True)
class Graphs(Result):
    """What I12 leaves."""


@numbered("I12")
def check_graph(given: Needs, findings: Findings) -> Graphs:
    """I12. 1. Every reference resolves to an entry of the same round that comes before. 2. Each round's graph is
    acyclic. 3. Along the edges that carry value, the Aggregate is reached from one CohortClosed and from exactly its
    accepted submissions. 4. Every entry of a finished round reaches the entry that ends it, or hangs below the
    CohortClosed. 5. Every blob in the directory is named by an entry. Entries that a round has twice are for I4, I8
    and P2: here the first of each counts.
    """
    nodes = edges = 0
    for found in given.log.rounds(findings):
        graph = build(given.log, findings, found)
        nodes += graph.references.number_of_nodes()
        edges += graph.references.number_of_edges()
        _check_shape(findings, found, graph)
        _check_reach(findings, found, graph.references)
    unnamed = unreferenced(given.case, given.log)
    for path in unnamed:
        findings.add(Place(file=path), "a blob that an entry names", UNNAMED, Kind.DAMAGED)
    graphs = counted(len(given.log.index.rounds), "graph")
    return Graphs(f"{graphs}, {counted(nodes, 'node')}, {counted(edges, 'edge')}")


def unreferenced(case: Case, log: SignedLog) -> list[str]:
    """Paths of blobs that no entry names, ascending; none where entries are missing that might."""
    if log.cut is not None or log.gaps:
        return []
    named = {blob_path(name) for name in log.index.blobs}
    return sorted(path for path in case.reader.files() if is_blob_path(path) and path not in named)


def build(log: SignedLog, findings: Findings, found: Round) -> RoundGraph:
    """The graphs of one round; rule 1 on the way."""
    graph = RoundGraph(_empty(), _empty())
    acks = _acks(found)
    graph.references.add_nodes_from(_entries(found, acks))
    for source, target, value in _edges(found, acks, log.index.by_hash):
        if source not in graph.references:
            expected = f"references to entries of round {found.number}"
            findings.add(Place(entry=target), expected, "a hash of none" if source < 0 else f"entry {source}")
            continue
        if source >= target:
            findings.add(Place(entry=target), "references to entries before it", f"entry {source}")
        graph.references.add_edge(source, target)
        if value:
            graph.flow.add_edge(source, target)
    return graph


def _empty() -> networkx.DiGraph[int]:
    import networkx

    attributes: dict[str, Any] = {}  # no edge has any: one dict for all of them, as there may be many

    class Bare(networkx.DiGraph):  # type: ignore[type-arg]  # generic for type checkers only
        edge_attr_dict_factory = staticmethod(lambda: attributes)

    return Bare()


def _acks(found: Round) -> list[Record[ShareAck]]:
    """The first acknowledgement of each trustee, before CohortClosed; of no more trustees than a policy may have."""
    first: dict[str, Record[ShareAck]] = {}
    for ack in found.acks:
        if len(first) < MOST_TRUSTEES and (found.cohort is None or ack.index < found.cohort.index):
            first.setdefault(ack.message.trustee, ack)
    return list(first.values())


def _entries(found: Round, acks: list[Record[ShareAck]]) -> Iterator[int]:
    """Every entry that counts."""
    yield from (entry.index for entry in found.keys)
    yield from found.submissions
    yield from (ack.index for ack in acks)
    yield from (release.index for release in found.releases)
    for single in (found.open, found.cohort, found.aggregate, found.closed, found.aborted):
        if single is not None:
            yield single.index


def _edges(found: Round, acks: list[Record[ShareAck]], by_hash: Mapping[bytes, int]) -> Iterator[tuple[int, int, bool]]:
    """(what is referred to, what refers to it, whether value flows) for every reference of the entries that count; -1
    for a hash that no entry has."""
    if found.open is not None:
        yield from ((index, found.open.index, False) for index in found.open.message.round_keys)
    for record in found.submissions.values():
        yield by_hash.get(record.round_open, -1), record.index, False
    for ack in acks:
        yield by_hash.get(ack.message.round_open, -1), ack.index, False
        yield from ((index, ack.index, False) for index in ack.message.acknowledged)
        yield from ((dispute.index, ack.index, False) for dispute in ack.message.disputed)
    if found.cohort is not None:
        cohort, closing = found.cohort.index, found.cohort.message
        yield by_hash.get(closing.round_open, -1), cohort, False
        yield from ((index, cohort, True) for index in closing.accepted)
        yield from ((exclusion.index, cohort, False) for exclusion in closing.excluded)
        yield from ((ack.index, cohort, False) for ack in acks)
    for release in found.releases:
        yield by_hash.get(release.message.cohort, -1), release.index, True
    if found.aggregate is not None:
        yield by_hash.get(found.aggregate.message.cohort, -1), found.aggregate.index, True
        yield from ((index, found.aggregate.index, True) for index in found.aggregate.message.releases)
    if found.closed is not None:
        yield by_hash.get(found.closed.message.aggregate, -1), found.closed.index, True
    if found.aborted is not None:
        yield by_hash.get(found.aborted.message.round_open, -1), found.aborted.index, False
        if found.aborted.message.cohort is not None:
            yield by_hash.get(found.aborted.message.cohort, -1), found.aborted.index, False


def _check_shape(findings: Findings, found: Round, graph: RoundGraph) -> None:
    """Rules 2 and 3."""
    import networkx

    if not networkx.is_directed_acyclic_graph(graph.references):
        cycle = " -> ".join(str(source) for source, _ in networkx.find_cycle(graph.references))
        findings.add(Place(f"round {found.number}", round=found.number), "references that form no cycle", cycle)
        return
    if found.aggregate is None:
        return
    end = found.aggregate.index
    above = networkx.ancestors(graph.flow, end) if end in graph.flow else set()
    name = label(end, found.aggregate.message)
    accepted: set[int] = set()
    if found.cohort is not None and found.cohort.index in above:
        accepted.update(found.cohort.message.accepted)
    else:
        findings.add(name, "one cohort behind it", "0")
    summed = [index for index in found.submissions if index in above]
    findings.expect(name.at("submissions that reach it"), sorted(accepted), sorted(summed))


def _check_reach(findings: Findings, found: Round, graph: networkx.DiGraph[int]) -> None:
    """Rule 4, in at most three walks."""
    import networkx

    ends = [entry.index for entry in (found.closed, found.aborted) if entry is not None]
    if not ends:
        return
    live = set(ends)
    for end in ends:
        live |= networkx.ancestors(graph, end)
    root = found.cohort or found.open  # an abort before the cohort: what answered the RoundOpen hangs below that
    if root is not None:
        live |= networkx.descendants(graph, root.index)
    for index in sorted(set(graph) - live):
        findings.add(Place(entry=index), f"an entry that the end of round {found.number} rests on", "a loose one")
