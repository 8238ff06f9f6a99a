"""I12: the evidence as a graph. Whatever is in the log or among the blobs leads somewhere, and to one place only.

One graph a round, so that its size is that of a round: nodes are the round's entries and the blobs they name, an edge
goes from what is referred to, to what refers to it. Rounds hang together by the models, which I4 and I11 check; an edge
to an entry of another round is a finding here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from auditor.case import Case
from auditor.checks.log import LEFTOVER, is_blob_path
from auditor.findings import Findings, counted
from auditor.index import Round
from protocols.log.tiles import blob_path

if TYPE_CHECKING:
    import networkx

Node = Hashable
VALUE = "value"  # what an edge carries: the sum flows along these
WORD = "word"  # and along these only somebody's statement about it


def check_graph(case: Case, findings: Findings) -> str:
    """I12. 1. Every reference resolves to an entry of the same round that comes before. 2. Each round's graph is
    acyclic. 3. Along the edges that carry value, an Aggregate is reached from one CohortClosed and from exactly its
    accepted submissions, and a submission reaches at most one Aggregate. 4. Every entry of a finished round reaches the
    entry that ends it, or hangs below the CohortClosed. 5. Every blob in the directory is named by an entry.
    """
    nodes = edges = 0
    for found in case.index.in_order():
        graph = _build(case, findings, found)
        nodes, edges = nodes + graph.number_of_nodes(), edges + graph.number_of_edges()
        _check_shape(findings, found, graph)
        _check_reach(findings, found, graph)
    unnamed = unreferenced(case)
    for path in unnamed:
        findings.add(path, "a blob that an entry names", f"one that nothing names; {LEFTOVER}")
    return f"{counted(len(case.index.rounds), 'graph')}, {counted(nodes, 'node')}, {counted(edges, 'edge')}"


def unreferenced(case: Case) -> list[str]:
    """Paths of blobs that no entry names, ascending."""
    named = {blob_path(name) for name in case.index.blobs}
    return sorted(path for path in case.reader.files() if is_blob_path(path) and path not in named)


def _build(case: Case, findings: Findings, found: Round) -> networkx.DiGraph[Node]:
    import networkx

    graph: networkx.DiGraph[Node] = networkx.DiGraph()
    for index, source, kind in _edges(found, case.index.by_hash):
        graph.add_node(index)
        if source is None:
            continue
        graph.add_edge(source, index, kind=kind)
    own = set(_own_entries(found))
    for source, target in list(graph.edges):
        if source not in own:
            findings.add(f"entry {target}", f"references to entries of round {found.number}", f"entry {source}")
        elif isinstance(source, int) and isinstance(target, int) and source >= target:
            findings.add(f"entry {target}", "references to entries before it", f"entry {source}")
    return graph


def _own_entries(found: Round) -> Iterator[int]:
    yield from (entry.index for entry in found.keys)
    yield from (entry.index for entry in found.opens)
    yield from found.submissions
    yield from (entry.index for entry in found.acks)
    yield from (entry.index for entry in found.cohorts)
    yield from (entry.index for entry in found.releases)
    yield from (entry.index for entry in found.aggregates)
    yield from (entry.index for entry in found.closes)
    yield from (entry.index for entry in found.aborts)


def _edges(found: Round, by_hash: dict[bytes, int]) -> Iterator[tuple[int, int | None, str]]:
    """(entry, an entry it refers to or None, kind) for every reference of the round's entries."""
    for key in found.keys:
        yield key.index, None, WORD
    for opened in found.opens:
        yield opened.index, None, WORD
        yield from ((opened.index, index, WORD) for index in opened.message.round_keys)
    for record in found.submissions.values():
        yield record.index, by_hash.get(record.round_open, -1), WORD
    for ack in found.acks:
        yield ack.index, by_hash.get(ack.message.round_open, -1), WORD
        yield from ((ack.index, index, WORD) for index in ack.message.acknowledged)
        yield from ((ack.index, dispute.index, WORD) for dispute in ack.message.disputed)
    for cohort in found.cohorts:
        yield cohort.index, by_hash.get(cohort.message.round_open, -1), WORD
        yield from ((cohort.index, index, VALUE) for index in cohort.message.accepted)
        yield from ((cohort.index, exclusion.index, WORD) for exclusion in cohort.message.excluded)
        yield from ((cohort.index, ack.index, WORD) for ack in found.acks)
    for release in found.releases:
        yield release.index, by_hash.get(release.message.cohort, -1), VALUE
    for aggregate in found.aggregates:
        yield aggregate.index, by_hash.get(aggregate.message.cohort, -1), VALUE
        yield from ((aggregate.index, index, VALUE) for index in aggregate.message.releases)
    for closed in found.closes:
        yield closed.index, by_hash.get(closed.message.aggregate, -1), VALUE
    for aborted in found.aborts:
        yield aborted.index, by_hash.get(aborted.message.round_open, -1), WORD
        if aborted.message.cohort is not None:
            yield aborted.index, by_hash.get(aborted.message.cohort, -1), WORD


def _check_shape(findings: Findings, found: Round, graph: networkx.DiGraph[Node]) -> None:
    """Rules 2 and 3."""
    import networkx

    if not networkx.is_directed_acyclic_graph(graph):
        cycle = " -> ".join(str(source) for source, _ in networkx.find_cycle(graph))
        findings.add(f"round {found.number}", "references that form no cycle", cycle)
        return
    flow = graph.edge_subgraph([edge for edge in graph.edges if graph.edges[edge]["kind"] == VALUE])
    cohorts = {entry.index: entry.message.accepted for entry in found.cohorts}
    reached: dict[int, int] = {}
    for entry in found.aggregates:
        above = networkx.ancestors(flow, entry.index) if entry.index in flow else set()
        sources = sorted(index for index in cohorts if index in above)
        name = f"entry {entry.index} (aggregate, round {found.number})"
        if len(sources) != 1:
            findings.add(name, "one cohort behind it", f"{len(sources)}")
        summed = sorted(index for index in found.submissions if index in above)
        findings.expect(f"{name}, submissions that reach it", sorted(cohorts[sources[0]]) if sources else [], summed)
        for index in summed:
            other = reached.setdefault(index, entry.index)
            if other != entry.index:
                findings.add(f"entry {index}", "a submission in one aggregate", f"in entries {other} and {entry.index}")


def _check_reach(findings: Findings, found: Round, graph: networkx.DiGraph[Node]) -> None:
    """Rule 4."""
    import networkx

    ends = [entry.index for entry in found.closes] + [entry.index for entry in found.aborts]
    if not ends:
        return
    live: set[Node] = set(ends)
    for end in ends:
        live |= networkx.ancestors(graph, end) if end in graph else set()
    for cohort in found.cohorts:
        live |= networkx.descendants(graph, cohort.index)
    if not found.cohorts:  # an abort before it: what answered the RoundOpen hangs below that
        for opened in found.opens:
            live |= networkx.descendants(graph, opened.index)
    for index in sorted(set(_own_entries(found)) - live):
        findings.add(f"entry {index}", f"an entry that the end of round {found.number} rests on", "a loose one")
