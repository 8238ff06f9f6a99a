"""From releases to the opened sum, and why it is the right one (spec 8.9).

The coordinator opens with these functions; an auditor calls the same checks on inputs that it derives itself from raw
entries and blobs. Nothing here draws randomness or signs.

A cohort, Q releasing trustees, K = sum of keys, U = sum of updates, rho_r = sum of the blindings of data row r,
D_{i,r} row commitments of client i, E_{i,l} its share commitments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from proofs import domains
from proofs.arrays import Integers
from proofs.challenger import Challenger
from proofs.curve import ORDER, POINT_SIZE, SCALAR_SIZE
from proofs.engine import Engine
from proofs.errors import Malformed, Rejected
from protocols import sharing
from protocols.hashes import sha256
from protocols.lattice import encryption, public
from protocols.parameters import sum_bound
from protocols.pinned import PinnedPolicy
from protocols.weights import Summands


@dataclass(frozen=True)
class OpenedSum:
    """What an Aggregate publishes: K int64 (N,), U int64 (d,), with hidden weights their sum behind it, with noise the
    padding's cells, and rho, one scalar for each data row."""

    key: Integers
    plaintext: Integers
    blindings: tuple[int, ...]


def check_release(
    engine: Engine, pinned: PinnedPolicy, trustee: str, share: bytes, share_commitments: Sequence[bytes]
) -> sharing.Share:
    """A released share that opens the sum of the cohort's share commitments at the trustee's point.

    share: the blob of Release.share. share_commitments: one blob for each client of A.
    Raises Malformed, or Rejected("summed-share").
    """
    decoded = sharing.Share.decode(share, pinned.secret_length)
    point = pinned.share_point(trustee)
    sharing.verify_summed_share(engine, point, decoded, share_commitments, pinned.policy.threshold)
    return decoded


def open_sum(
    pinned: PinnedPolicy, seed: bytes, releases: Mapping[str, sharing.Share], ciphertext: Integers, summands: Summands
) -> OpenedSum:
    """Reconstruct K and the blindings from exactly t checked releases, and decrypt.

    seed: RoundOpen.seed. releases: by trustee id. ciphertext: int64 residues, the sum over A. summands: of A.
    Raises Rejected: "releases" for another number; "key-sum" where K leaves its bounds; "decryption-noise" and
    "decryption-message" where the decrypted sum does; "padding" for a value outside the d coordinates.
    """
    if len(releases) != pinned.policy.threshold:
        raise Rejected("releases", f"{pinned.policy.threshold} releases", str(len(releases)))
    points = {pinned.share_point(trustee): share for trustee, share in releases.items()}
    scalars = sharing.reconstruct(points)
    packed = len(scalars) - pinned.argument.shape.data_rows
    key = sharing.unpack_key_sum(scalars[:packed], pinned.lattice.degree, summands.count * pinned.lattice.noise_bound)
    plaintext = decrypt(pinned, seed, key, ciphertext, summands)
    return OpenedSum(key, plaintext, tuple(scalars[packed:]))


def decrypt(pinned: PinnedPolicy, seed: bytes, key: Integers, ciphertext: Integers, summands: Summands) -> Integers:
    """U, int64 (d,), with hidden weights their sum behind it, with noise all cells, from K and the summed ciphertext;
    raises Rejected as `open_sum` does."""
    elements = public.expand(pinned.lattice, seed, pinned.cells)
    bound = sum_bound(pinned.policy, summands.count, summands.heaviest(pinned.policy.weights))
    cells = encryption.decrypt_sum(pinned.lattice, elements, key, ciphertext, summands.count, bound)
    if cells[pinned.published :].any():
        raise Rejected("padding", "zero in every cell beyond the coordinates", "another value")
    return cells[: pinned.published]


def check_opening(
    engine: Engine,
    pinned: PinnedPolicy,
    plaintext: Integers,
    blindings: Sequence[int],
    commitments: Sequence[bytes],
) -> None:
    """U and rho open the sum of the cohort's row commitments: sum_i D_{i,r} = Com(U_r; rho_r) for every data row r.

    All rows at once, with weights w_r of 128 bits hashed from everything that is compared:
    sum_r w_r sum_i D_{i,r} = Com(sum_r w_r U_r; sum_r w_r rho_r). commitments: one blob for each client of A.
    Raises Malformed for points that do not decode, Rejected("opening").
    """
    shape = pinned.argument.shape
    size = shape.data_rows * POINT_SIZE  # the private row is last and is not summed
    if any(len(each) != pinned.commitments_size for each in commitments):
        raise Malformed("commitments", f"{pinned.commitments_size} bytes", "another length")
    if plaintext.shape != (pinned.published,) or len(blindings) != shape.data_rows or not commitments:
        raise Malformed("opening", "all values, a blinding a data row, a commitment", "others")
    rows = [each[:size] for each in commitments]
    weights = _weights(plaintext, blindings, rows)
    table = np.zeros((shape.data_rows, shape.columns), dtype=np.int64)
    table.reshape(-1)[: pinned.published] = plaintext
    points = engine.concatenate([engine.decode_points(each) for each in rows])
    columns = [-value % ORDER for value in engine.weighted_columns(table, weights)]
    blinding = -sum(weight * rho for weight, rho in zip(weights, blindings, strict=True)) % ORDER
    if not engine.combination_is_zero(points, weights * len(rows), columns, blinding):
        raise Rejected("opening", "the sum of the cohort's commitments", "commitments to something else")


def _weights(plaintext: Integers, blindings: Sequence[int], rows: Sequence[bytes]) -> list[int]:
    challenger = Challenger(domains.OPENING)
    challenger.absorb("plaintext", sha256(encode_plaintext(plaintext)))
    challenger.absorb("blindings", sha256(encode_blindings(blindings)))
    for each in rows:
        challenger.absorb("commitments", sha256(each))
    return challenger.weights("weights", len(blindings))


def encode_key(key: Integers) -> bytes:
    """The blob Aggregate.key: N int32, little-endian."""
    return key.astype("<i4").tobytes()


def decode_key(pinned: PinnedPolicy, data: bytes) -> Integers:
    """int64 (N,); raises Malformed for another length."""
    return _decode("key", data, "<i4", pinned.lattice.degree)


def encode_plaintext(plaintext: Integers) -> bytes:
    """The blob Aggregate.plaintext: d int64, little-endian, d + 1 with the sum of hidden weights, all cells with
    noise."""
    return plaintext.astype("<i8").tobytes()


def decode_plaintext(pinned: PinnedPolicy, data: bytes) -> Integers:
    """int64 (d,), (d + 1,) with the sum of hidden weights, (cells,) with noise; raises Malformed for another length."""
    return _decode("plaintext", data, "<i8", pinned.published)


def encode_blindings(blindings: Sequence[int]) -> bytes:
    """The blob Aggregate.blindings: one scalar a data row, 32 bytes big-endian each."""
    return b"".join(value.to_bytes(SCALAR_SIZE, "big") for value in blindings)


def decode_blindings(pinned: PinnedPolicy, data: bytes) -> tuple[int, ...]:
    """One scalar a data row; raises Malformed for another length or a value that is not below the group order."""
    size = pinned.blindings_size
    if len(data) != size:
        raise Malformed("blindings", f"{size} bytes", f"{len(data)}")
    scalars = tuple(int.from_bytes(data[start : start + SCALAR_SIZE], "big") for start in range(0, size, SCALAR_SIZE))
    if any(value >= ORDER for value in scalars):
        raise Malformed("blindings", "scalars below the group order", "one above")
    return scalars


def _decode(where: str, data: bytes, dtype: str, count: int) -> Integers:
    size = count * np.dtype(dtype).itemsize
    if len(data) != size:
        raise Malformed(where, f"{size} bytes", f"{len(data)}")
    return np.frombuffer(data, dtype=dtype).astype(np.int64)
