"""I6: the validity proof of every submission, verified in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from auditor.case import Case
from auditor.checks.naming import answers
from auditor.checks.replay import CohortSums
from auditor.checks.submissions import submission_label
from auditor.findings import Findings, counted
from auditor.index import SubmissionRecord
from proofs.errors import Malformed, Rejected
from proofs.verifier import Claim, verify_batch
from protocols.cohorts import INVALID_PROOF, MALFORMED
from protocols.envelopes import entry_hash, open_envelope
from protocols.lattice.encryption import unpack
from protocols.log.files import Damaged
from protocols.messages import Submission
from protocols.submissions import claim_of

BATCH = 32  # submissions in memory at once, without their ciphertexts


def check_proofs(case: Case, findings: Findings) -> str:
    """I6. For every submission that is no duplicate and no replay: 1. its ciphertext (where not pruned) and share
    commitments decode; 2. its proof verifies for its commitments, in the context of this very submission, under the
    policy's parameters, with every byte of the proof consumed; without its ciphertext, all of it but that this is the
    encryption of the update. An accepted submission that fails 2 is a finding; I7 judges the verdicts on the others. No
    proof of a submission is judged that answers another RoundOpen than the round's; if accepted, that is a finding.

    Adds malformed and invalid-proof to `own_faults`, and leaves `failed_proofs`.
    """
    accepted = {record.index for found in case.index.rounds.values() for record in found.accepted()}
    candidates = [
        record
        for found in case.index.in_order()
        for record in found.submissions.values()
        if case.own_faults.get(record.index) is None
    ]
    if any(_without_ciphertext(case, record) for record in candidates):
        # Ring elements are as many as coordinates, which the ciphertexts would have to show to be there.
        try:
            case.blob(case.policy.initial_model, case.pinned.model_size)
        except Rejected as error:
            findings.reject("initial model", error)
            for record in candidates:
                _leave_unread(case, record)
            return "no proof"
    known = {
        record.index for record in candidates if _is_answer(case, record) and case.memory.knows(*_fact(case, record))
    }
    verified, invalid = len(known), 0
    sums = CohortSums(case)
    for record in candidates:
        if record.ciphertext in case.pruned:
            _leave_unread(case, record)
    for batch in _batches([record for record in candidates if record.index not in known]):
        case.step(verified, len(candidates))
        claims = {}
        for record in batch:
            claim = _claim(case, findings, record, sums, accepted=record.index in accepted)
            if claim is not None:
                claims[record.index] = claim
        verdicts = verify_batch(case.engine, case.pinned.argument, list(claims.values())) if claims else []
        verified += len(verdicts)
        for index, verdict in zip(claims, verdicts, strict=True):
            record = next(each for each in batch if each.index == index)
            if verdict is None:
                _remember(case, record)
                continue
            invalid += 1
            case.own_faults[index] = INVALID_PROOF
            case.failed_proofs[index] = verdict.check if isinstance(verdict, Rejected) else verdict.where
            if index in accepted:
                findings.reject(f"{submission_label(record)}, proof", verdict)
    checked = f"{counted(verified, 'proof')}, {verified - invalid} valid, {invalid} invalid"
    if pruned := sum(_without_ciphertext(case, record) for record in candidates):
        findings.note(f"{counted(pruned, 'ciphertext')} pruned: that they encrypt the committed updates is not checked")
    return checked


def _fact(case: Case, record: SubmissionRecord) -> tuple[str, bytes, bytes]:
    """That the content of a submission decodes and its proof verifies, by what both depend on: the policy, and the
    entry, which names the blobs. That the blobs are the ones it names, I1 says."""
    return "I6", case.pinned.hash, record.entry_hash


def _remember(case: Case, record: SubmissionRecord) -> None:
    """What is valid but for a ciphertext that is not there may yet turn out malformed."""
    if record.ciphertext not in case.pruned:
        case.memory.learn(*_fact(case, record))


def _batches(records: Sequence[SubmissionRecord]) -> Iterator[list[SubmissionRecord]]:
    remaining = iter(records)
    while batch := list(islice(remaining, BATCH)):
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
        _reject(case, findings, record, error)
        return None
    if residues is not None:
        sums.add(record, residues)
    opened = case.index.rounds[record.round].open
    if opened is None or not _is_answer(case, record):
        if accepted:
            findings.add(f"{submission_label(record)}, proof", "one for the round's RoundOpen", "one for another")
        return None
    try:
        # without the ciphertext, not to read it again: it was found to be the one of this name
        claim = claim_of(case.pinned, _message(case, record), opened.message.seed, case.blob, pruned=True)
    except Rejected as error:
        _reject(case, findings, record, error)
        return None
    statement = claim.encryption
    return claim if statement is None else replace(claim, encryption=replace(statement, ciphertext=residues))


def _reject(case: Case, findings: Findings, record: SubmissionRecord, error: Rejected) -> None:
    findings.reject(submission_label(record), error)
    if isinstance(error, Damaged):
        _leave_unread(case, record)


def _leave_unread(case: Case, record: SubmissionRecord) -> None:
    """Its evidence is not there. It may be at fault if the log says so, or ended before it said anything."""
    found = case.index.rounds[record.round]
    excluded = [] if found.cohort is None else found.cohort.message.excluded
    at_fault = any(each.index == record.index and each.reason in (MALFORMED, INVALID_PROOF) for each in excluded)
    if at_fault or found.cohort is None:
        case.unread.add(record.index)


def _message(case: Case, record: SubmissionRecord) -> Submission:
    """The submission, read again. Raises Malformed if the log has another entry there by now."""
    data = case.reader.entries(record.index, record.index + 1)[0]
    message = open_envelope(data).message
    if entry_hash(data) != record.entry_hash or not isinstance(message, Submission):
        raise Malformed(submission_label(record), "the submission that was there before", "another entry")
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
