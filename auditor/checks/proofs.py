"""I6: the validity proof of every submission, verified in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from auditor.blobs import Blobs, Roles
from auditor.case import Case
from auditor.checks.derived import Sources
from auditor.checks.naming import answers
from auditor.checks.numbered import numbered
from auditor.checks.releases import Cohorts
from auditor.checks.submissions import Submissions, submission_label
from auditor.checks.sums import CohortSums, ReplayedSum
from auditor.findings import Findings, Result, counted
from auditor.index import SubmissionRecord
from auditor.memory import Memory
from auditor.reports.results import Place
from auditor.signed_log import SignedLog
from proofs.errors import Malformed, Rejected
from proofs.verifier import Claim, verify_batch
from protocols.blob_sizes import ROW_FIELDS
from protocols.envelopes import entry_hash, open_envelope
from protocols.lattice.encryption import unpack
from protocols.log.files import Damaged
from protocols.messages import ISSUER, Submission
from protocols.reasons import DUPLICATE, INVALID_PROOF, MALFORMED, REPLAYED
from protocols.submissions import claim_of

BATCH = 32  # submissions in memory at once, without their ciphertexts
# What blobs that cannot be had might show: content, proof, an earlier submission's that this one copies.
OF_CONTENT = frozenset({MALFORMED, INVALID_PROOF})
OF_PROOF = frozenset({INVALID_PROOF})
OF_COPIES = frozenset({REPLAYED, MALFORMED, INVALID_PROOF})


@dataclass(frozen=True)
class Needs:
    """What I6 is handed."""

    case: Case
    log: SignedLog
    blobs: Annotated[
        Blobs,
        Roles("model", "ciphertext", "share_commitments", "proof", "key", *ROW_FIELDS.values()),
    ]
    memory: Memory
    submissions: Submissions


@dataclass(frozen=True)
class Proofs(Result):
    """What I6 leaves, by log index but for the sums.

    faults: why a submission is at fault by itself, in the words of `protocols.cohorts`, I5's too. failed: for each with
    an invalid proof, the verifier's check that it fails. sums: by round, of cohorts all of whose ciphertexts were read.
    unread: submissions of which nobody can tell whether they are malformed, copied or have an invalid proof, as the log
    says or may have meant, since blobs are damaged. copies: those that may be replays: they name a blob of one that
    cannot be judged where only their own belongs.
    """

    faults: Mapping[int, str] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    sums: Mapping[int, ReplayedSum] = field(default_factory=dict)
    unread: frozenset[int] = frozenset()
    copies: frozenset[int] = frozenset()


@dataclass
class _Made:
    """What `Proofs` says, so far."""

    faults: dict[int, str]
    failed: dict[int, str] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)
    copies: set[int] = field(default_factory=set)

    def left(self, checked: str, sums: Mapping[int, ReplayedSum]) -> Proofs:
        """All of it."""
        faults, failed = MappingProxyType(self.faults), MappingProxyType(self.failed)
        return Proofs(checked, faults, failed, MappingProxyType(sums), frozenset(self.unread), frozenset(self.copies))


@numbered("I6")
def check_proofs(given: Needs, findings: Findings) -> Proofs:
    """I6. For every submission that is no duplicate, in log order: 1. it is replayed if it names a blob of an earlier
    valid one where only its own belongs (spec 8.6); else 2. its ciphertext (where not pruned) and share commitments
    decode; 3. its proof verifies for its commitments, in the context of this very submission, under the policy's
    parameters, with every byte of the proof consumed; without its ciphertext, all of it but that this is the encryption
    of the update. An accepted submission that fails 3 is a finding; I7 judges the verdicts on the others. No proof of a
    submission is judged that answers another RoundOpen than the round's; if accepted, that is a finding.
    """
    findings.sure = True  # a proof rests on its own submission and the round's RoundOpen
    of_rounds = (record for found in given.log.index.rounds.values() for record in found.submissions.values())
    made = _Made(dict.fromkeys(given.submissions.duplicates, DUPLICATE))
    candidates = sorted((each for each in of_rounds if each.index not in made.faults), key=lambda each: each.index)
    _leave_behind_gaps(given, candidates, made)
    if any(_without_ciphertext(given, record) for record in candidates):
        # Ring elements are as many as coordinates, which the ciphertexts would have to show to be there.
        try:
            given.blobs.read("model", given.case.policy.initial_model)
        except Rejected as error:
            findings.reject(Place("initial model"), error, by=ISSUER)
            _leave_all_unread(given, candidates, made)
            return made.left("no proof", {})
    judge = _Judge(given, findings, made)
    for batch in _batches(given, candidates):
        given.case.step(judge.verified, len(candidates))
        judge.batch(batch)
    if pruned := sum(_without_ciphertext(given, record) for record in candidates):
        findings.note(f"{counted(pruned, 'ciphertext')} pruned: that they encrypt the committed updates is not checked")
    told = f"{counted(judge.verified, 'proof')}, {judge.verified - judge.invalid} valid, {judge.invalid} invalid"
    return made.left(told, judge.sums.made)


class _Judge:
    """I6 in progress: what was verified so far, and which blobs the valid submissions named."""

    def __init__(self, given: Needs, findings: Findings, made: _Made) -> None:
        self.verified = self.invalid = 0
        self._given, self._findings, self._made = given, findings, made
        self._accepted = {record.index for found in given.log.index.rounds.values() for record in found.accepted()}
        # without releases, which I8 judges
        self.sums = CohortSums(Sources(given.case, given.log, given.blobs, Cohorts()), given.memory)
        self._taken: set[bytes] = set()
        self._doubtful: set[bytes] = set()  # of submissions that cannot be judged: who copies them cannot be, either

    def batch(self, records: Sequence[SubmissionRecord]) -> None:
        """Judge the next submissions of the log, of which no two could be copies of each other."""
        given, made, claims = self._given, self._made, list[tuple[SubmissionRecord, Claim]]()
        for record in records:
            if not self._doubtful.isdisjoint(_exclusive(given, record)):
                made.copies.add(record.index)
                _leave_unread(given, record, OF_COPIES, made)
            if not self._taken.isdisjoint(_exclusive(given, record)):
                made.faults[record.index] = REPLAYED
            elif _is_answer(given, record) and given.memory.knows(*_fact(given, record)):
                self._valid(record)
            else:
                claim = self._claim(record)
                claims += [] if claim is None else [(record, claim)]
                if claim is None and record.index not in made.faults and _is_answer(given, record):
                    self._doubtful.update(_exclusive(given, record))
        only = [claim for _, claim in claims]
        for (record, _), verdict in zip(
            claims, verify_batch(given.case.engine, given.case.pinned.argument, only), strict=True
        ):
            if verdict is None:
                self._valid(record)
                _remember(given, record)
            else:
                self._invalid(record, verdict)

    def _valid(self, record: SubmissionRecord) -> None:
        self.verified += 1
        self._taken.update(_exclusive(self._given, record))

    def _invalid(self, record: SubmissionRecord, verdict: Malformed | Rejected) -> None:
        self.verified, self.invalid = self.verified + 1, self.invalid + 1
        self._made.faults[record.index] = INVALID_PROOF
        self._made.failed[record.index] = verdict.check if isinstance(verdict, Rejected) else verdict.where
        if record.index in self._accepted:
            self._findings.reject(submission_label(record).at("proof"), verdict)

    def _claim(self, record: SubmissionRecord) -> Claim | None:
        """What is to be verified, or None for a submission that is malformed, whose blobs are not there, or that
        answers another RoundOpen: the proof may be about another seed. Its ciphertext, which is read for this, goes to
        the sums."""
        given, findings = self._given, self._findings
        try:
            residues = _content(given, record)
        except Malformed:
            self._made.faults[record.index] = MALFORMED
            return None
        except Rejected as error:
            self._cannot_judge(record, error, OF_CONTENT)
            return None
        if residues is not None:
            self.sums.add(record, residues)
        opened = given.log.index.rounds[record.round].open
        if opened is None or not _is_answer(given, record):
            if record.index in self._accepted:
                with findings.whether(given.log.is_whole(record.round)):
                    findings.add(
                        submission_label(record).at("proof"), "one for the round's RoundOpen", "one for another"
                    )
            return None
        try:
            # without the ciphertext, not to read it again: it was found to be the one of this name
            message = _message(given, record)
            claim = claim_of(given.case.pinned, message, opened.message.seed, given.blobs.of(message), pruned=True)
        except Rejected as error:
            self._cannot_judge(record, error, OF_PROOF)
            return None
        statement = claim.encryption
        return claim if statement is None else replace(claim, encryption=replace(statement, ciphertext=residues))

    def _cannot_judge(self, record: SubmissionRecord, error: Rejected, shown: AbstractSet[str]) -> None:
        """A blob cannot be had: that is no fault of the submission's."""
        self._findings.reject(submission_label(record), error)
        if isinstance(error, Damaged):
            _leave_unread(self._given, record, shown, self._made)


def _exclusive(given: Needs, record: SubmissionRecord) -> tuple[bytes, ...]:
    """The blobs that no other submission may name once this one is valid (spec 8.6)."""
    proved = (record.ciphertext,) if given.case.pinned.argument.encryption is not None else ()
    return record.commitments, record.proof, *proved, *(blob for _, blob in record.extras)


def _fact(given: Needs, record: SubmissionRecord) -> tuple[str, bytes, bytes]:
    """That the content of a submission decodes and its proof verifies, by what both depend on: the policy, and the
    entry, which names the blobs. That the blobs are the ones it names, I1 says."""
    return "I6", given.case.pinned.hash, record.entry_hash


def _remember(given: Needs, record: SubmissionRecord) -> None:
    """What is valid but for a ciphertext that is not there may yet turn out malformed."""
    if record.ciphertext not in given.log.pruned:
        given.memory.learn(*_fact(given, record))


def _batches(given: Needs, records: Sequence[SubmissionRecord]) -> Iterator[list[SubmissionRecord]]:
    """In log order. What might be a copy of another comes in a later batch, when it is known whether that is valid."""
    batch, named = list[SubmissionRecord](), set[bytes]()
    for record in records:
        own = _exclusive(given, record)
        if len(batch) == BATCH or not named.isdisjoint(own):
            yield batch
            batch, named = [], set()
        batch.append(record)
        named.update(own)
    yield batch


def _is_answer(given: Needs, record: SubmissionRecord) -> bool:
    return answers(given.log.index.rounds[record.round], record.round_open)


def _leave_unread(given: Needs, record: SubmissionRecord, shown: AbstractSet[str], made: _Made) -> None:
    """Its evidence is not there, which might show this. It may be at fault if the log says so, or ended before it said
    anything."""
    found = given.log.index.rounds[record.round]
    if found.cohort is None or found.cohort.message.verdict(record.index) in shown:
        made.unread.add(record.index)


def _leave_behind_gaps(given: Needs, records: Sequence[SubmissionRecord], made: _Made) -> None:
    """What comes after a missing entry may be a copy of it."""
    first = min(given.log.gaps, default=len(given.log.index.headings))
    for record in records:
        if record.index > first:
            made.copies.add(record.index)
            _leave_unread(given, record, {REPLAYED}, made)


def _leave_all_unread(given: Needs, records: Sequence[SubmissionRecord], made: _Made) -> None:
    named = set[bytes]()
    for record in records:
        _leave_unread(given, record, OF_COPIES, made)
        made.copies.update(() if named.isdisjoint(_exclusive(given, record)) else {record.index})
        named.update(_exclusive(given, record))


def _message(given: Needs, record: SubmissionRecord) -> Submission:
    """The submission, read again. Raises Damaged if the log has another entry there by now."""
    data = given.case.entry(record.index)
    message = None if data is None or entry_hash(data) != record.entry_hash else open_envelope(data).message
    if not isinstance(message, Submission):
        raise Damaged("entry", "the submission that was there before", "another entry")
    return message


def _without_ciphertext(given: Needs, record: SubmissionRecord) -> bool:
    """Whether the proof is also about a ciphertext that is not there."""
    return given.case.pinned.argument.encryption is not None and record.ciphertext in given.log.pruned


def _content(given: Needs, record: SubmissionRecord) -> NDArray[np.int64] | None:
    """The residues of a ciphertext, None if it was pruned.

    Raises Malformed where ciphertext or share commitments do not decode, Rejected where a blob cannot be had.
    """
    pinned = given.case.pinned
    given.case.engine.decode_points(given.blobs.read("share_commitments", record.share_commitments))
    if record.ciphertext in given.log.pruned:
        return None
    return unpack(pinned.lattice, given.blobs.read("ciphertext", record.ciphertext), pinned.cells)
