"""I6: the validity proof of every submission, verified in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditor.case import Case
from auditor.checks.naming import answers
from auditor.checks.numbered import numbered
from auditor.checks.replay import CohortSums
from auditor.checks.submissions import submission_label
from auditor.findings import Findings, counted
from auditor.index import SubmissionRecord
from auditor.reports.results import Place
from proofs.errors import Malformed, Rejected
from proofs.verifier import Claim, verify_batch
from protocols.envelopes import entry_hash, open_envelope
from protocols.lattice.encryption import unpack
from protocols.log.files import Damaged
from protocols.messages import ISSUER, Submission
from protocols.reasons import INVALID_PROOF, MALFORMED, REPLAYED
from protocols.submissions import claim_of

BATCH = 32  # submissions in memory at once, without their ciphertexts
# What blobs that cannot be had might show: content, proof, an earlier submission's that this one copies.
OF_CONTENT = frozenset({MALFORMED, INVALID_PROOF})
OF_PROOF = frozenset({INVALID_PROOF})
OF_COPIES = frozenset({REPLAYED, MALFORMED, INVALID_PROOF})


@numbered("I6")
def check_proofs(case: Case, findings: Findings) -> str:
    """I6. For every submission that is no duplicate, in log order: 1. it is replayed if it names a blob of an earlier
    valid one where only its own belongs (spec 8.6); else 2. its ciphertext (where not pruned) and share commitments
    decode; 3. its proof verifies for its commitments, in the context of this very submission, under the policy's
    parameters, with every byte of the proof consumed; without its ciphertext, all of it but that this is the encryption
    of the update. An accepted submission that fails 3 is a finding; I7 judges the verdicts on the others. No proof of a
    submission is judged that answers another RoundOpen than the round's; if accepted, that is a finding.

    Adds replayed, malformed and invalid-proof to `own_faults`, and leaves `failed_proofs` and `unread`.
    """
    findings.sure = True  # a proof rests on its own submission and the round's RoundOpen
    of_rounds = (record for found in case.index.rounds.values() for record in found.submissions.values())
    candidates = sorted(
        (record for record in of_rounds if case.own_faults.get(record.index) is None), key=lambda record: record.index
    )
    _leave_behind_gaps(case, candidates)
    if any(_without_ciphertext(case, record) for record in candidates):
        # Ring elements are as many as coordinates, which the ciphertexts would have to show to be there.
        try:
            case.blob(case.policy.initial_model, case.pinned.model_size)
        except Rejected as error:
            findings.reject(Place("initial model"), error, by=ISSUER)
            _leave_all_unread(case, candidates)
            return "no proof"
    judge = _Judge(case, findings)
    for batch in _batches(case, candidates):
        case.step(judge.verified, len(candidates))
        judge.batch(batch)
    if pruned := sum(_without_ciphertext(case, record) for record in candidates):
        findings.note(f"{counted(pruned, 'ciphertext')} pruned: that they encrypt the committed updates is not checked")
    return f"{counted(judge.verified, 'proof')}, {judge.verified - judge.invalid} valid, {judge.invalid} invalid"


class _Judge:
    """I6 in progress: what was verified so far, and which blobs the valid submissions named."""

    def __init__(self, case: Case, findings: Findings) -> None:
        self.verified = self.invalid = 0
        self._case, self._findings = case, findings
        self._accepted = {record.index for found in case.index.rounds.values() for record in found.accepted()}
        self._sums = CohortSums(case)
        self._taken: set[bytes] = set()
        self._doubtful: set[bytes] = set()  # of submissions that cannot be judged: who copies them cannot be, either

    def batch(self, records: Sequence[SubmissionRecord]) -> None:
        """Judge the next submissions of the log, of which no two could be copies of each other."""
        case, claims = self._case, list[tuple[SubmissionRecord, Claim]]()
        for record in records:
            if not self._doubtful.isdisjoint(_exclusive(case, record)):
                case.copies.add(record.index)
                _leave_unread(case, record, OF_COPIES)
            if not self._taken.isdisjoint(_exclusive(case, record)):
                case.own_faults[record.index] = REPLAYED
            elif _is_answer(case, record) and case.memory.knows(*_fact(case, record)):
                self._valid(record)
            else:
                claim = _claim(case, self._findings, record, self._sums, accepted=record.index in self._accepted)
                claims += [] if claim is None else [(record, claim)]
                if claim is None and case.own_faults[record.index] is None and _is_answer(case, record):
                    self._doubtful.update(_exclusive(case, record))
        only = [claim for _, claim in claims]
        for (record, _), verdict in zip(claims, verify_batch(case.engine, case.pinned.argument, only), strict=True):
            if verdict is None:
                self._valid(record)
                _remember(case, record)
            else:
                self._invalid(record, verdict)

    def _valid(self, record: SubmissionRecord) -> None:
        self.verified += 1
        self._taken.update(_exclusive(self._case, record))

    def _invalid(self, record: SubmissionRecord, verdict: Malformed | Rejected) -> None:
        self.verified, self.invalid = self.verified + 1, self.invalid + 1
        self._case.own_faults[record.index] = INVALID_PROOF
        self._case.failed_proofs[record.index] = verdict.check if isinstance(verdict, Rejected) else verdict.where
        if record.index in self._accepted:
            self._findings.reject(submission_label(record).at("proof"), verdict)


def _exclusive(case: Case, record: SubmissionRecord) -> tuple[bytes, ...]:
    """The blobs that no other submission may name once this one is valid (spec 8.6)."""
    proved = (record.ciphertext,) if case.pinned.argument.encryption is not None else ()
    return record.commitments, record.proof, *proved, *(blob for _, blob in record.extras)


def _fact(case: Case, record: SubmissionRecord) -> tuple[str, bytes, bytes]:
    """That the content of a submission decodes and its proof verifies, by what both depend on: the policy, and the
    entry, which names the blobs. That the blobs are the ones it names, I1 says."""
    return "I6", case.pinned.hash, record.entry_hash


def _remember(case: Case, record: SubmissionRecord) -> None:
    """What is valid but for a ciphertext that is not there may yet turn out malformed."""
    if record.ciphertext not in case.pruned:
        case.memory.learn(*_fact(case, record))


def _batches(case: Case, records: Sequence[SubmissionRecord]) -> Iterator[list[SubmissionRecord]]:
    """In log order. What might be a copy of another comes in a later batch, when it is known whether that is valid."""
    batch, named = list[SubmissionRecord](), set[bytes]()
    for record in records:
        own = _exclusive(case, record)
        if len(batch) == BATCH or not named.isdisjoint(own):
            yield batch
            batch, named = [], set()
        batch.append(record)
        named.update(own)
    yield batch


def _is_answer(case: Case, record: SubmissionRecord) -> bool:
    return answers(case.index.rounds[record.round], record.round_open)


def _claim(
    case: Case, findings: Findings, record: SubmissionRecord, sums: CohortSums, *, accepted: bool
) -> Claim | None:
    """What is to be verified, or None for a submission that is malformed, whose blobs are not there, or that answers
    another RoundOpen: the proof may be about another seed. Its ciphertext, which is read for this, goes to the sums."""
    try:
        residues = _content(case, record)
    except Malformed:
        case.own_faults[record.index] = MALFORMED
        return None
    except Rejected as error:
        _cannot_judge(case, findings, record, error, OF_CONTENT)
        return None
    if residues is not None:
        sums.add(record, residues)
    opened = case.index.rounds[record.round].open
    if opened is None or not _is_answer(case, record):
        if accepted:
            with findings.whether(case.is_whole(record.round)):
                findings.add(submission_label(record).at("proof"), "one for the round's RoundOpen", "one for another")
        return None
    try:
        # without the ciphertext, not to read it again: it was found to be the one of this name
        claim = claim_of(case.pinned, _message(case, record), opened.message.seed, case.blob, pruned=True)
    except Rejected as error:
        _cannot_judge(case, findings, record, error, OF_PROOF)
        return None
    statement = claim.encryption
    return claim if statement is None else replace(claim, encryption=replace(statement, ciphertext=residues))


def _cannot_judge(
    case: Case, findings: Findings, record: SubmissionRecord, error: Rejected, shown: AbstractSet[str]
) -> None:
    """A blob cannot be had: that is no fault of the submission's."""
    findings.reject(submission_label(record), error)
    if isinstance(error, Damaged):
        _leave_unread(case, record, shown)


def _leave_unread(case: Case, record: SubmissionRecord, shown: AbstractSet[str]) -> None:
    """Its evidence is not there, which might show this. It may be at fault if the log says so, or ended before it said
    anything."""
    found = case.index.rounds[record.round]
    if found.cohort is None or found.cohort.message.verdict(record.index) in shown:
        case.unread.add(record.index)


def _leave_behind_gaps(case: Case, records: Sequence[SubmissionRecord]) -> None:
    """What comes after a missing entry may be a copy of it."""
    first = min(case.gaps, default=len(case.index.headings))
    for record in records:
        if record.index > first:
            case.copies.add(record.index)
            _leave_unread(case, record, {REPLAYED})


def _leave_all_unread(case: Case, records: Sequence[SubmissionRecord]) -> None:
    named = set[bytes]()
    for record in records:
        _leave_unread(case, record, OF_COPIES)
        case.copies.update(() if named.isdisjoint(_exclusive(case, record)) else {record.index})
        named.update(_exclusive(case, record))


def _message(case: Case, record: SubmissionRecord) -> Submission:
    """The submission, read again. Raises Damaged if the log has another entry there by now."""
    data = case.entry(record.index)
    message = None if data is None or entry_hash(data) != record.entry_hash else open_envelope(data).message
    if not isinstance(message, Submission):
        raise Damaged("entry", "the submission that was there before", "another entry")
    return message


def _without_ciphertext(case: Case, record: SubmissionRecord) -> bool:
    """Whether the proof is also about a ciphertext that is not there."""
    return case.pinned.argument.encryption is not None and record.ciphertext in case.pruned


def _content(case: Case, record: SubmissionRecord) -> NDArray[np.int64] | None:
    """The residues of a ciphertext, None if it was pruned.

    Raises Malformed where ciphertext or share commitments do not decode, Rejected where a blob cannot be had.
    """
    pinned = case.pinned
    case.engine.decode_points(case.blob(record.share_commitments, pinned.share_commitments_size))
    if record.ciphertext in case.pruned:
        return None
    return unpack(pinned.lattice, case.blob(record.ciphertext, pinned.ciphertext_size), pinned.cells)
