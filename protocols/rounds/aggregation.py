"""Opening a cohort's sum from ciphertexts and releases (spec 8.9): the coordinator's side of `protocols.opening`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from proofs.engine import Engine
from proofs.errors import Malformed, Rejected
from protocols.blobs import blob_hash
from protocols.lattice.encryption import pack, unpack
from protocols.opening import (
    OpenedSum,
    check_opening,
    check_release,
    encode_blindings,
    encode_key,
    encode_plaintext,
    open_sum,
)
from protocols.pinned import PinnedPolicy
from protocols.rounds.ledger import CurrentRound
from protocols.sharing import Share
from protocols.submissions import BlobSource, read_blob
from protocols.summation import Residues
from protocols.weights import WeighedSum

# (arrays of residues, modulus) -> their sum modulo it: `protocols.summation.add_residues` or its twin on a device
Summation = Callable[[Iterable[Residues], int], Residues]


@dataclass(frozen=True)
class OpenedAggregate:
    """A sum that passed the opening check, and the packed ciphertext sum that it came from."""

    ciphertext: bytes
    total: OpenedSum

    def blobs(self) -> dict[str, bytes]:
        """The blobs of an Aggregate, by field."""
        return {
            "ciphertext": self.ciphertext,
            "key": encode_key(self.total.key),
            "plaintext": encode_plaintext(self.total.plaintext),
            "blindings": encode_blindings(self.total.blindings),
        }


def sum_ciphertexts(pinned: PinnedPolicy, current: CurrentRound, summation: Summation, blobs: BlobSource) -> Residues:
    """The sum of the cohort's ciphertexts modulo q, int64 (cells,), one ciphertext in memory at a time."""
    arrays = (
        unpack(pinned.lattice, read_blob(blobs, each.message.ciphertext, pinned.ciphertext_size), pinned.cells)
        for each in current.accepted_submissions()
    )
    return summation(arrays, pinned.lattice.modulus)


def row_commitments(pinned: PinnedPolicy, current: CurrentRound, blobs: BlobSource) -> list[bytes]:
    """The cohort's commitments blobs."""
    return [
        read_blob(blobs, each.message.commitments, pinned.commitments_size) for each in current.accepted_submissions()
    ]


def judge_release(
    engine: Engine, pinned: PinnedPolicy, current: CurrentRound, trustee: str, share: bytes, blobs: BlobSource
) -> Share | None:
    """The released share if it opens the cohort's summed share commitments, or None. Raises Rejected("blob-...")."""
    size = pinned.share_commitments_size
    commitments = [read_blob(blobs, each.message.share_commitments, size) for each in current.accepted_submissions()]
    try:
        return check_release(engine, pinned, trustee, share, commitments)
    except (Malformed, Rejected):
        return None


def open_cohort(
    engine: Engine,
    pinned: PinnedPolicy,
    current: CurrentRound,
    releases: Mapping[str, Share],
    ciphertext: Residues,
    commitments: list[bytes],
) -> OpenedAggregate:
    """Reconstruct, decrypt, check the opening; raises Rejected or Malformed as `open_sum`, `check_opening` and
    `WeighedSum.of` do."""
    total = open_sum(pinned, current.message.seed, releases, ciphertext, current.summands)
    check_opening(engine, pinned, total.plaintext, total.blindings, commitments)
    WeighedSum.of(pinned.policy, total.plaintext, current.summands)
    return OpenedAggregate(pack(pinned.lattice, ciphertext), total)


def named(blobs: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """Blobs by hash."""
    return {blob_hash(blob): blob for blob in blobs.values()}


class JudgedReleases:
    """The releases of one round after another, each judged once."""

    def __init__(self, engine: Engine, pinned: PinnedPolicy, blobs: BlobSource) -> None:
        self._engine, self._pinned, self._blobs = engine, pinned, blobs
        self._round = 0
        self._shares: dict[str, Share | None] = {}

    def of(self, current: CurrentRound) -> dict[str, Share | None]:
        """The logged shares by trustee, in log order; None for a wrong one."""
        if current.number != self._round:
            self._round, self._shares = current.number, {}
        for release in current.releases:
            trustee = release.message.trustee
            if trustee not in self._shares:
                data = read_blob(self._blobs, release.message.share, self._pinned.share_size)
                self._shares[trustee] = judge_release(self._engine, self._pinned, current, trustee, data, self._blobs)
        return self._shares
