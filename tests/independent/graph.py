"""The evidence graph, I12 (spec 9.6)."""

from __future__ import annotations

from collections.abc import Mapping

from tests.independent.case import Case, Entry, Round, references
from tests.independent.cohorts import places

TRUSTEES = 16
SINGLE = ("round-open", "cohort-closed", "aggregate", "round-closed", "round-aborted")
EVERY = ("round-key", "submission", "release")
Edges = set[tuple[int, int]]


def check(case: Case) -> None:
    for this in case.rounds:
        check_round(case, this)
    named = {digest for entry in case.entries for _, digest in references(entry)}
    for digest in case.transcript.blob_hashes() - named if case.whole else ():
        case.fail("I12", f"blob {digest.hex()}: named by no entry")


def counted(this: Round) -> dict[int, Entry]:
    """The entries that count, by index."""
    found = [entry for kind in SINGLE if (entry := this.first(kind)) is not None]
    found += [entry for kind in EVERY for entry in this.all(kind)]
    found += list(this.acks.values())[:TRUSTEES]
    return {entry.index: entry for entry in sorted(found, key=lambda entry: entry.index)}


def referred(entry: Entry) -> list[int | bytes]:
    """What an entry refers to: log indices and entry hashes."""
    body = entry.body
    found: list[int | bytes] = []
    for name in ("round_open", "cohort", "aggregate"):
        if body.get(name) is not None:
            found.append(body[name])
    for name in ("round_keys", "releases"):
        found += body.get(name, [])
    if entry.type in ("share-ack", "cohort-closed"):
        found += places(body, "adehcofimrsu2")
    return found


def check_round(case: Case, this: Round) -> None:
    nodes = counted(this)
    named = [(index, entry) for index, entry in nodes.items() if entry.type != "submission"]  # no field names these
    by_hash: dict[int | bytes, int] = {entry.hash: index for index, entry in reversed(named)}
    edges: Edges = set()
    for index, entry in nodes.items():
        for reference in referred(entry):
            source = by_hash.get(reference) if isinstance(reference, bytes) else reference
            if source is None or source not in nodes or source >= index:
                case.fail("I12", f"entry {index}: refers to nothing in its round before it")
            else:
                edges.add((source, index))
    closed = this.closed
    if closed is not None:
        edges |= {(ack.index, closed.index) for ack in nodes.values() if ack.type == "share-ack"}
    check_value(case, this, nodes, edges)
    check_end(case, this, nodes, edges)


def reachable(edges: Edges, start: int) -> set[int]:
    found, open_ends = {start}, [start]
    while open_ends:
        node = open_ends.pop()
        for source, target in edges:
            if source == node and target not in found:
                found.add(target)
                open_ends.append(target)
    return found


def backwards(edges: Edges) -> Edges:
    return {(target, source) for source, target in edges}


def check_value(case: Case, this: Round, nodes: Mapping[int, Entry], edges: Edges) -> None:
    """I12.3: the aggregate is reached from exactly the accepted submissions."""
    aggregate = this.first("aggregate")
    if aggregate is None:
        return
    carries = {
        ("submission", "cohort-closed"),
        ("cohort-closed", "release"),
        ("release", "aggregate"),
        ("cohort-closed", "aggregate"),
        ("aggregate", "round-closed"),
    }
    accepted = set(places(this.closed.body, "a")) if this.closed is not None else set()
    value = {
        (source, target)
        for source, target in edges
        if (nodes[source].type, nodes[target].type) in carries
        and (nodes[source].type != "submission" or source in accepted)
    }
    origins = reachable(backwards(value), aggregate.index)
    if this.closed is None or this.closed.index not in origins:
        case.fail("I12", f"entry {aggregate.index}: not reached from CohortClosed")
    if {index for index in origins if nodes[index].type == "submission"} != accepted:
        case.fail("I12", f"entry {aggregate.index}: not reached from exactly the accepted submissions")


def check_end(case: Case, this: Round, nodes: Mapping[int, Entry], edges: Edges) -> None:
    """I12.4."""
    ends, anchor = [this.first("round-closed"), this.first("round-aborted")], this.closed or this.opened
    if ends == [None, None]:
        return
    covered: set[int] = set()
    for end in ends:
        if end is not None:
            covered |= reachable(backwards(edges), end.index)
    if anchor is not None:
        covered |= reachable(edges, anchor.index)
    for index in nodes.keys() - covered:
        case.fail("I12", f"entry {index}: does not lead to the end of its round")
