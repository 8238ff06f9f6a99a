"""I9: the summation and the decryption, done again.

I6 reads the same ciphertexts before. What it reads it adds, in `CohortSums`, and what a whole cohort gives is only
compared here. So a ciphertext is read, hashed and unpacked once for both checks, and still one at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.case import Case, ReplayedSum
from auditor.checks.derived import key_of, opened_by, published_sum, reconstruct, summed
from auditor.checks.numbered import numbered
from auditor.findings import Findings, Unavailable, counted
from auditor.index import Entry, Round, SubmissionRecord, label
from proofs.errors import Malformed, Rejected
from protocols.hashes import sha256
from protocols.lattice.encryption import pack
from protocols.log.files import Damaged, Missized
from protocols.messages import Aggregate
from protocols.opening import check_opening, decrypt, encode_plaintext
from protocols.reasons import OPENING_FAILED
from protocols.summation import RunningSum

Integers = NDArray[np.int64]


@numbered("I9")
def check_replay(case: Case, findings: Findings) -> str:
    """I9. For each Aggregate: 1. the cohort's ciphertexts sum to `ciphertext`; 2. `ciphertext` decrypts under `key` to
    `plaintext`, with every error and every value within the bound for so many clients, and zeros beyond the
    coordinates. 3. Where a round was aborted because its opening failed, it does fail: that needs its ciphertexts.

    Skipped for an aggregate whose summands were pruned; 2 is still done if the sum is there.
    """
    case.index.report(findings)
    replays = decrypted = 0
    pruned: list[str] = []
    for found in case.rounds(findings):
        findings.sure = case.has_summed(found)
        if _is_known(case, found):
            replays, decrypted = replays + 1, decrypted + 1
            continue
        if found.aggregate is not None and found.open is not None:
            replayed = case.replayed.get(found.number) or _replay(case, findings, found, found.aggregate)
            if replayed is not None:
                _check_sum(findings, found.aggregate, replayed.ciphertext)
                plaintext: bytes | Malformed | Rejected | None = replayed.plaintext
            else:
                plaintext = _published(case, findings, found, found.aggregate)
            if plaintext is not None:
                _check_plaintext(findings, found.aggregate, plaintext)
            replays, decrypted = replays + (replayed is not None), decrypted + (plaintext is not None)
        elif found.aborted is not None and found.aborted.message.reason == OPENING_FAILED:
            _check_failure(case, findings, found)
        if _is_pruned(case, found):
            pruned.append(f"{found.number} ({_missing(case, found)})")
        elif found.aggregate is not None and found.open is not None and findings.empty:
            case.memory.learn("I9", *_inputs(case, found))
    checked = f"{counted(replays, 'sum')} and {counted(decrypted, 'decryption')} replayed"
    if pruned:
        raise Unavailable(f"ciphertexts are pruned in rounds {', '.join(pruned)}", checked)
    return checked


def _inputs(case: Case, found: Round) -> tuple[bytes, ...]:
    """What the replay of a round depends on: the policy, the seed, the sum and the summands, by the entries that name
    them. That the blobs are the ones that are named, I1 says."""
    entries = (found.open, found.aggregate)
    own = (b"" if entry is None else entry.hash for entry in entries)
    return (case.pinned.hash, *own, *(record.entry_hash for record in found.accepted()))


def _is_known(case: Case, found: Round) -> bool:
    """Whether this very sum was replayed before. One whose ciphertexts were pruned since has to say so."""
    return (
        found.aggregate is not None and not _is_pruned(case, found) and case.memory.knows("I9", *_inputs(case, found))
    )


def _is_pruned(case: Case, found: Round) -> bool:
    """Whether the sum of a round cannot be replayed."""
    return found.aggregate is not None and any(record.ciphertext in case.pruned for record in found.accepted())


def _missing(case: Case, found: Round) -> str:
    """The first submission whose ciphertext is not there, and how many more."""
    first, *others = [record.index for record in found.accepted() if record.ciphertext in case.pruned]
    return f"entry {first} and {len(others)} more" if others else f"entry {first}"


class CohortSums:
    """The sums of the cohorts with an Aggregate, made while somebody else reads their ciphertexts, round by round.

    One sum is in memory at a time: of a round it is made only if all of its cohort comes before the next round's.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._round: Round | None = None
        self._missing: set[int] = set()
        self._sum = RunningSum(case.pinned.lattice.modulus)

    def add(self, record: SubmissionRecord, residues: Integers) -> None:
        """A ciphertext was read. Leaves `replayed` for its round if the cohort is complete with it."""
        found = self._case.index.rounds[record.round]
        if found is not self._round:
            self._start(found)
        if record.index not in self._missing:
            return
        self._sum.add(residues)
        self._missing.remove(record.index)
        if not self._missing and found.aggregate is not None:
            made = _replayed(self._case, found, found.aggregate, self._sum.total())
            if not isinstance(made.plaintext, Damaged):  # else the key may follow from the releases, which I8 judges
                self._case.replayed[found.number] = made

    def _start(self, found: Round) -> None:
        case = self._case
        self._round, self._sum = found, RunningSum(case.pinned.lattice.modulus)
        wanted = found.aggregate is not None and not _is_pruned(case, found) and not _is_known(case, found)
        self._missing = {record.index for record in found.accepted()} if wanted and found.open is not None else set()


def _replay(case: Case, findings: Findings, found: Round, entry: Entry[Aggregate]) -> ReplayedSum | None:
    """Rules 1 and 2 where I6 did not read the whole cohort; None where the sum cannot be made."""
    name = label(entry.index, entry.message)
    if not found.accepted():
        findings.add(name, "a cohort to sum", "nobody")
        return None
    try:
        total = summed(case, found)
    except (Malformed, Rejected) as error:
        findings.reject(name.at("ciphertext"), error)
        return None
    return None if total is None else _replayed(case, found, entry, total)


def _replayed(case: Case, found: Round, entry: Entry[Aggregate], total: Integers) -> ReplayedSum:
    digest = sha256(pack(case.pinned.lattice, total))
    return ReplayedSum(digest, _decrypted(case, found, entry, total))


def _published(
    case: Case, findings: Findings, found: Round, entry: Entry[Aggregate]
) -> bytes | Malformed | Rejected | None:
    """What the sum decrypts to that was published, if it is there."""
    if entry.message.ciphertext in case.pruned:
        return None
    try:
        total = published_sum(case, entry)
    except (Malformed, Rejected) as error:
        findings.reject(label(entry.index, entry.message).at("ciphertext"), error)
        return None
    return _decrypted(case, found, entry, total)


def _decrypted(case: Case, found: Round, entry: Entry[Aggregate], total: Integers) -> bytes | Malformed | Rejected:
    """SHA-256 of the plaintext that a sum decrypts to under the published key, or why it does not."""
    pinned = case.pinned
    seed = found.open.message.seed if found.open else b""
    try:
        plaintext = decrypt(pinned, seed, key_of(case, found, entry), total, len(found.accepted()))
    except (Malformed, Rejected) as error:
        return error
    return sha256(encode_plaintext(plaintext))


def _check_sum(findings: Findings, entry: Entry[Aggregate], digest: bytes) -> None:
    """Rule 1."""
    findings.expect(label(entry.index, entry.message).at("ciphertext"), digest, entry.message.ciphertext)


def _check_plaintext(findings: Findings, entry: Entry[Aggregate], found: bytes | Malformed | Rejected) -> None:
    """Rule 2."""
    name = label(entry.index, entry.message)
    if isinstance(found, bytes):
        findings.expect(name.at("plaintext"), found, entry.message.plaintext)
    else:
        findings.reject(name.at("decryption"), found)


def _check_failure(case: Case, findings: Findings, found: Round) -> None:
    """Rule 3: with t valid releases in the log, a round may end without an aggregate only if it cannot be opened."""
    if found.aborted is None or found.open is None:
        return
    name, pinned = label(found.aborted.index, found.aborted.message), case.pinned
    valid = sorted(case.releases.get(found.number, {}).values())[: case.policy.threshold]
    if len(valid) < case.policy.threshold:
        return  # I8's: there is nothing to open with
    try:
        total = summed(case, found)
        if total is None:
            return
        opened = reconstruct(case, opened_by(case, found, valid), len(found.accepted()))
        plaintext = decrypt(pinned, found.open.message.seed, opened.key, total, len(found.accepted()))
        commitments = [case.blob(each.commitments, pinned.commitments_size) for each in found.accepted()]
        check_opening(case.engine, pinned, plaintext, opened.blindings, commitments)
    except (Damaged, Missized) as error:
        findings.reject(name.at("reason"), error)
        return
    except (Malformed, Rejected) as error:
        findings.note(f"round {found.number} could not be opened: {error}")
        return
    findings.add(name.at("reason"), "a round that does not open", "one that opens with the releases in the log")
