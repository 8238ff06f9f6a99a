"""Who is named: clients and trustees whose fault the log proves, for what they signed (spec 9.6, I7 and I8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from auditor.checks.naming import excuse, is_own, is_own_ack, statements
from auditor.checks.submissions import first_submissions
from auditor.index import Round, SubmissionRecord
from auditor.reports.course import Blob, Offence, OpenDispute
from auditor.stories import CLIENT, TRUSTEE, Told, right_verdict
from protocols.reasons import INVALID_PROOF, MALFORMED, OFFENCES, REPLAYED, WRONG_RELEASE


def offences(told: Told, rounds: Iterable[Round]) -> tuple[Offence, ...]:
    """All of them, in the order of the log's rounds: those that notes of I7 and I8 are about."""
    return tuple(each for found in rounds for each in (*_of_clients(told, found), *_of_trustees(told, found)))


def _of_clients(told: Told, found: Round) -> Iterator[Offence]:
    known = None
    for record in found.submissions.values():
        verdict = right_verdict(told, found, record)
        if verdict not in OFFENCES:
            continue
        known = known or statements(told.case.policy, told.log, found)
        if excuse(told.log, found, record, verdict, known) is None:
            detail = told.proofs.failed.get(record.index, "") if verdict == INVALID_PROOF else ""
            blobs = tuple(_blobs(record, verdict))
            role = TRUSTEE if record.noise else CLIENT
            yield Offence(record.client, role, found.number, record.index, verdict, detail, blobs)


def _blobs(record: SubmissionRecord, offence: str) -> Iterator[Blob]:
    """What of a submission shows its offence."""
    if offence in (INVALID_PROOF, MALFORMED, REPLAYED):
        yield Blob("ciphertext", record.ciphertext.hex())
        yield Blob("share commitments", record.share_commitments.hex())
    if offence in (INVALID_PROOF, REPLAYED):
        yield Blob("commitments", record.commitments.hex())
        yield Blob("proof", record.proof.hex())


def _of_trustees(told: Told, found: Round) -> Iterator[Offence]:
    for entry in found.releases:
        if entry.index in told.cohorts.wrong:
            blobs = (Blob("released share", entry.message.share.hex()),)
            yield Offence(entry.message.trustee, TRUSTEE, found.number, entry.index, WRONG_RELEASE, blobs=blobs)


def disputes(told: Told, rounds: Iterable[Round]) -> tuple[OpenDispute, ...]:
    """Of trustees' own acknowledgements, about clients' own first submissions, that no verdict settles."""
    return tuple(each for found in rounds if found.acks for each in _disputes(told, found))


def _disputes(told: Told, found: Round) -> Iterator[OpenDispute]:
    own = [entry for entry in found.acks if entry.message.disputed and is_own_ack(told.log, found, entry)]
    firsts = first_submissions(found) if own else set[int]()
    settled = statements(told.case.policy, told.log, found).disputed if own else frozenset()
    for entry in own:
        for each in entry.message.disputed:
            record = found.submissions.get(each.index)
            if record is None or each.index not in firsts or each.index in settled:
                continue
            if is_own(told.log, found, record):
                yield OpenDispute(entry.message.trustee, record.client, found.number, each.index, each.reason)
