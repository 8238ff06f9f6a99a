"""The sums of ciphertexts that I9 compares, made by whoever reads the ciphertexts.

I6 reads them before I9 does. What it reads it adds, in `CohortSums`, and what a whole cohort gives is only compared by
I9. So a ciphertext is read, hashed and unpacked once for both checks, and still one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditor.checks.derived import Sources, key_of
from auditor.index import Record, Round, SubmissionRecord
from auditor.memory import Memory
from proofs.arrays import Integers
from proofs.errors import Malformed, Rejected
from protocols.hashes import sha256
from protocols.lattice.encryption import pack
from protocols.log.files import Damaged
from protocols.messages import Aggregate
from protocols.opening import decrypt, encode_plaintext
from protocols.summation import RunningSum


@dataclass(frozen=True)
class ReplayedSum:
    """SHA-256 of a cohort's packed ciphertext sum, and of the plaintext that it decrypts to, or why it does not."""

    ciphertext: bytes
    plaintext: bytes | Malformed | Rejected


class CohortSums:
    """The sums of the cohorts with an Aggregate, made while somebody else reads their ciphertexts, round by round.

    made: by round.

    One sum is in memory at a time: of a round it is made only if all of its cohort comes before the next round's.
    """

    def __init__(self, given: Sources, memory: Memory) -> None:
        self._given, self._memory = given, memory
        self.made: dict[int, ReplayedSum] = {}
        self._round: Round | None = None
        self._missing: set[int] = set()
        self._sum = RunningSum(given.case.pinned.lattice.modulus)

    def add(self, record: SubmissionRecord, residues: Integers) -> None:
        """A ciphertext was read. It is in `made` if the cohort of its round is complete with it."""
        found = self._given.log.index.rounds[record.round]
        if found is not self._round:
            self._start(found)
        if record.index not in self._missing:
            return
        self._sum.add(residues)
        self._missing.remove(record.index)
        if not self._missing and found.aggregate is not None:
            made = sum_of(self._given, found, found.aggregate, self._sum.total())
            if not isinstance(made.plaintext, Damaged):  # else the key may follow from the releases, which I8 judges
                self.made[found.number] = made

    def _start(self, found: Round) -> None:
        given = self._given
        self._round, self._sum = found, RunningSum(given.case.pinned.lattice.modulus)
        wanted = (
            found.aggregate is not None and not is_pruned(given, found) and not is_known(given, self._memory, found)
        )
        self._missing = {record.index for record in found.accepted()} if wanted and found.open is not None else set()


def sum_inputs(given: Sources, found: Round) -> tuple[bytes, ...]:
    """What the replay of a round depends on: the policy, the seed, the sum and the summands, by the entries that name
    them. That the blobs are the ones that are named, I1 says."""
    entries = (found.open, found.aggregate)
    own = (b"" if entry is None else entry.hash for entry in entries)
    return (given.case.pinned.hash, *own, *(record.entry_hash for record in found.accepted()))


def is_known(given: Sources, memory: Memory, found: Round) -> bool:
    """Whether this very sum was replayed before. One whose ciphertexts were pruned since has to say so."""
    whole = found.aggregate is not None and not is_pruned(given, found)
    return whole and memory.knows("I9", *sum_inputs(given, found))


def is_pruned(given: Sources, found: Round) -> bool:
    """Whether the sum of a round cannot be replayed."""
    return found.aggregate is not None and any(record.ciphertext in given.log.pruned for record in found.accepted())


def sum_of(given: Sources, found: Round, entry: Record[Aggregate], total: Integers) -> ReplayedSum:
    """What I9 compares of a sum, int64 residues of the ring."""
    digest = sha256(pack(given.case.pinned.lattice, total))
    return ReplayedSum(digest, digest_of(given, found, entry, total))


def digest_of(given: Sources, found: Round, entry: Record[Aggregate], total: Integers) -> bytes | Malformed | Rejected:
    """SHA-256 of the plaintext that a sum decrypts to under the published key, or why it does not."""
    pinned = given.case.pinned
    seed = found.open.message.seed if found.open else b""
    try:
        plaintext = decrypt(pinned, seed, key_of(given, found, entry), total, found.summands)
    except (Malformed, Rejected) as error:
        return error
    return sha256(encode_plaintext(plaintext))
