"""What an Aggregate publishes, and what the log's other evidence gives in its place where a copy lacks it (spec 9.3).

Plaintext, key and blindings follow from the releases and the sum. What is derived here counts only if it has the hash
that the Aggregate names: so it is the very blob that is missing, whoever derives it from whatever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from auditor.blobs import Blobs
from auditor.case import Case
from auditor.checks.releases import Cohorts
from auditor.index import Record, Round
from auditor.signed_log import SignedLog
from proofs.arrays import Integers
from proofs.errors import Malformed, Rejected
from protocols import sharing
from protocols.hashes import sha256
from protocols.lattice.encryption import unpack
from protocols.log.files import Damaged
from protocols.messages import Aggregate, Release
from protocols.opening import (
    decode_blindings,
    decode_key,
    decode_plaintext,
    decrypt,
    encode_blindings,
    encode_key,
    encode_plaintext,
)
from protocols.summation import RunningSum

Value = TypeVar("Value")


@dataclass(frozen=True)
class Sources:
    """What it is derived from. It is what a check needs that derives it, which says of which roles it reads blobs."""

    case: Case
    log: SignedLog
    blobs: Blobs
    cohorts: Cohorts


@dataclass(frozen=True)
class Reconstructed:
    """What t releases give: K int64 (N,) and the summed blinding of each data row."""

    key: Integers
    blindings: tuple[int, ...]


def plaintext_of(given: Sources, found: Round, entry: Record[Aggregate]) -> Integers:
    """U, int64 (d,). Raises Malformed, Rejected; Damaged where it is not here and does not follow from what is."""
    return _blob_or(
        lambda: decode_plaintext(given.case.pinned, given.blobs.read("plaintext", entry.message.plaintext)),
        lambda: _decrypted(given, found, entry),
        encode_plaintext,
        entry.message.plaintext,
    )


def key_of(given: Sources, found: Round, entry: Record[Aggregate]) -> Integers:
    """K, int64 (N,); raises as `plaintext_of`."""
    return _blob_or(
        lambda: decode_key(given.case.pinned, given.blobs.read("key", entry.message.key)),
        lambda: released(given, found, entry).key,
        encode_key,
        entry.message.key,
    )


def blindings_of(given: Sources, found: Round, entry: Record[Aggregate]) -> Sequence[int]:
    """The summed blinding of each data row; raises as `plaintext_of`."""
    return _blob_or(
        lambda: decode_blindings(given.case.pinned, given.blobs.read("blindings", entry.message.blindings)),
        lambda: released(given, found, entry).blindings,
        encode_blindings,
        entry.message.blindings,
    )


def used_releases(given: Sources, found: Round, indices: Sequence[int]) -> list[Record[Release]]:
    """The release entries of these indices, of those that I8 found valid."""
    used = set(given.cohorts.releases.get(found.number, {}).values()).intersection(indices)
    return [entry for entry in found.releases if entry.index in used]


def opened_by(given: Sources, found: Round, indices: Sequence[int]) -> dict[int, sharing.Share]:
    """The shares of these release entries by share point, of those that I8 found valid."""
    pinned = given.case.pinned
    shares = {}
    for entry in used_releases(given, found, indices):
        data = given.blobs.read("share", entry.message.share)
        shares[pinned.share_point(entry.message.trustee)] = sharing.Share.decode(data, pinned.secret_length)
    return shares


def released(given: Sources, found: Round, entry: Record[Aggregate]) -> Reconstructed:
    """What the valid releases give that an Aggregate names; raises as `reconstruct`."""
    return reconstruct(given, opened_by(given, found, entry.message.releases), len(found.accepted()))


def reconstruct(given: Sources, shares: Mapping[int, sharing.Share], count: int) -> Reconstructed:
    """K and the blindings of `count` clients from exactly t valid shares.

    Raises Rejected("releases") for another number, Rejected("key-sum") where a digit is beyond `count` times the tail.
    """
    pinned = given.case.pinned
    if len(shares) != pinned.policy.threshold:
        raise Rejected("releases", f"{pinned.policy.threshold} valid releases", str(len(shares)))
    scalars = sharing.reconstruct(shares)
    packed = len(scalars) - pinned.argument.shape.data_rows
    bound = count * pinned.lattice.noise_bound
    key = sharing.unpack_key_sum(scalars[:packed], pinned.lattice.degree, bound)
    return Reconstructed(key, tuple(scalars[packed:]))


def summed(given: Sources, found: Round) -> Integers | None:
    """The sum of the cohort's ciphertexts; None where some are pruned or there is no cohort."""
    pinned, records = given.case.pinned, found.accepted()
    if not records or any(record.ciphertext in given.log.pruned for record in records):
        return None
    total = RunningSum(pinned.lattice.modulus)
    for record in records:
        data = given.blobs.read("ciphertext", record.ciphertext)
        try:
            total.add(unpack(pinned.lattice, data, pinned.cells))
        except Malformed as error:
            raise Malformed(f"entry {record.index}, {error.where}", error.expected, error.found) from None
    return total.total()


def published_sum(given: Sources, entry: Record[Aggregate]) -> Integers:
    """The sum that an Aggregate names; raises Malformed, Rejected."""
    pinned = given.case.pinned
    return unpack(pinned.lattice, given.blobs.read("ciphertext", entry.message.ciphertext), pinned.cells)


def _decrypted(given: Sources, found: Round, entry: Record[Aggregate]) -> Integers:
    if found.open is None:
        raise Rejected("round-open", "a round that was opened", "none")
    try:
        total: Integers | None = published_sum(given, entry)
    except Damaged:
        total = summed(given, found)
    if total is None:
        raise Rejected("ciphertext", "a sum, or all that was summed", "pruned")
    key = key_of(given, found, entry)
    return decrypt(given.case.pinned, found.open.message.seed, key, total, found.summands)


def _blob_or(
    read: Callable[[], Value], derive: Callable[[], Value], encode: Callable[[Value], bytes], name: bytes
) -> Value:
    """A blob's value, or if it cannot be had what is derived, where this has the hash that names the blob."""
    try:
        return read()
    except Damaged as missing:
        try:
            value = derive()
        except (Malformed, Rejected):
            raise missing from None
        if sha256(encode(value)) != name:
            raise
        return value
