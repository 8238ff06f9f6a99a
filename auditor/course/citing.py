"""The entries that a page speaks of: where each one is in the transcript, and its hash, so that anybody finds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from auditor.index import Record, SubmissionRecord
from auditor.reports.course import CitedEntry, Offence, RoundEvidence
from auditor.reports.results import CheckResult
from auditor.stories import Told
from protocols.log.tiles import bundle_of
from protocols.messages import type_of


def cited(
    told: Told, results: Sequence[CheckResult], named: Iterable[Offence], drawn: Iterable[RoundEvidence]
) -> tuple[CitedEntry, ...]:
    """The entries of findings, offences and graphs, ascending."""
    wanted = {each.place.entry for result in results for each in result.findings if each.place.entry is not None}
    wanted.update(each.entry for each in named)
    wanted.update(node.id for graph in drawn for node in graph.nodes if node.count == 1)
    index = told.log.index
    size = len(index.headings) if told.log.checkpoint is None else told.log.checkpoint.size
    known = {each.index: each for each in _records(told) if each.index in wanted}
    return tuple(_entry(told, place, size, known.get(place)) for place in sorted(wanted) if _is_here(told, place))


def _is_here(told: Told, place: int) -> bool:
    """Whether the log has a place of this number."""
    return 0 <= place < len(told.log.index.headings)


def _records(told: Told) -> Iterator[Record[Any] | SubmissionRecord]:
    """Every entry that was decoded and filed."""
    index = told.log.index
    yield from index.genesis
    yield from index.changes
    yield from () if index.ending is None else (index.ending[0],)
    for found in index.rounds.values():
        yield from found.submissions.values()
        for several in (found.keys, found.opens, found.acks, found.cohorts, found.releases):
            yield from several
        for single in (found.aggregates, found.closes, found.aborts):
            yield from single


def _entry(told: Told, place: int, size: int, record: Record[Any] | SubmissionRecord | None) -> CitedEntry:
    heading = told.log.index.headings[place]
    bundle = bundle_of(place, max(size, place + 1))
    party, digest = _of_record(record)
    return CitedEntry(place, heading.type, party, heading.round, digest, bundle.path, place - bundle.start)


def _of_record(record: Record[Any] | SubmissionRecord | None) -> tuple[str, str]:
    """Whose entry it is, or whom it is about, and its hash; nothing of what is not here."""
    if record is None:
        return "", ""
    if isinstance(record, SubmissionRecord):
        return record.client, record.entry_hash.hex()
    kind = type_of(record.message)
    party = kind.signer_of(record.message) if kind.name != "revocation" else record.message.party
    return party, record.hash.hex()
