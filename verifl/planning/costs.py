"""What one client's submission costs under a policy: bytes, and work that is counted rather than timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from proofs.curve import POINT_SIZE
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy


@dataclass(frozen=True)
class SubmissionSize:
    """Bytes of the parts of one client's submission (the signed entry, about one kilobyte, comes on top)."""

    commitments: int
    proof: int
    ciphertext: int
    share_commitments: int
    shares: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return self.commitments + self.proof + self.ciphertext + self.share_commitments + self.shares

    def to_dict(self) -> dict[str, int]:
        """The parts, and their total."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True)
class Work:
    """Operations for one submission; `verifl bench` measures their time.

    committed_values: short integers that the client commits to, each one multiplication of a generator by a few bits.
    client_multiplications: of a generator by a whole scalar, to prove and to share. verified_points: of the client's
    commitments and proof; every verifier decodes each and multiplies it by a whole scalar. residue_products: of a
    residue modulo q and a weight, by the client and by every verifier; 0 without the proof of encryption.
    """

    committed_values: int
    client_multiplications: int
    verified_points: int
    residue_products: int


@dataclass(frozen=True)
class PeakMemory:
    """Bytes that a process has at its peak, about. run: all parties in one, besides the task's data, its training and
    its tensors that do not travel. audit: `verifl-audit`."""

    run: int
    audit: int

    def to_dict(self) -> dict[str, int]:
        """Both."""
        return asdict(self)


# Measured with CPython 3.11 and torch 2.13 for CPUs at 10^6 and 3*10^6 coordinates with 3, 8 and 16 clients: bytes of
# the process itself, and a coordinate. Proofs are verified in batches of at most 32, whose ciphertexts are in memory.
_BATCH = 32
_RUN, _RUN_WITH_RANGE, _AUDIT = 400_000_000, 450_000_000, 180_000_000
_CLIENT = {(False, False): 140, (True, False): 180, (False, True): 216, (True, True): 231}  # (encryption proof, range)
_VERIFIER = {False: 58, True: 72}  # by encryption proof; and of each proof in a batch:
_PROOF = 8
_COORDINATOR = 50  # more than a verifier


def peak_memory(policy: Policy) -> PeakMemory:
    """Linear in the coordinates: what the largest array of each phase takes, as measured."""
    encrypted, ranged = policy.lattice.encryption_proof, policy.update.coordinate_bound is not None
    verifier = _VERIFIER[encrypted] + _PROOF * min(len(policy.roster), _BATCH)
    party = max(_CLIENT[encrypted, ranged], verifier + _COORDINATOR)
    process = _RUN_WITH_RANGE if ranged else _RUN
    return PeakMemory(process + party * policy.dimension, _AUDIT + verifier * policy.dimension)


def submission_size(pinned: PinnedPolicy) -> SubmissionSize:
    """The sizes are exact, whatever the update."""
    return SubmissionSize(
        commitments=POINT_SIZE * pinned.argument.layout.total_rows,
        proof=pinned.proof_size,
        ciphertext=pinned.ciphertext_size,
        share_commitments=pinned.share_commitments_size,
        shares=len(pinned.policy.trustees) * pinned.sealed_share_size,
    )


def submission_work(pinned: PinnedPolicy) -> Work:
    """From the shapes of spec 5.1, the openings of 5.6, their folds and the sharing of 7.2."""
    argument = pinned.argument
    columns, encrypted = argument.shape.columns, argument.encryption is not None
    openings = 2 * (argument.auxiliary_length + 1) + (columns + 1)  # A and its announcement, that of the tables
    points = argument.layout.total_rows + 3  # D, A, the two announcements
    if encrypted:  # the announcements of the update and of E_0, and E_0 itself
        openings += (columns + 1) + (argument.share_length + 1)
        points += 3
    openings += _folding_work(max(argument.opened), argument.folded.folds)
    points += 2 * argument.folded.folds
    return Work(
        committed_values=argument.layout.total_cells,
        client_multiplications=openings + pinned.policy.threshold * (pinned.secret_length + 1),
        verified_points=points,
        residue_products=argument.combinations * argument.shape.data_cells,
    )


def _folding_work(length: int, folds: int) -> int:
    """For each fold every first place once, but for those that end in one without a partner."""
    total, left = 0, length
    for fold in range(folds):
        total += min(length, left // 2 << fold + 1)
        left = (left + 1) // 2
    return total
