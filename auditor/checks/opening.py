"""I10: what was published opens the sum of what the cohort committed to. It needs no ciphertext."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.case import Case
from auditor.findings import Findings, counted
from auditor.index import Entry, Round, label
from auditor.reports.results import Kind
from proofs.errors import Malformed, Rejected
from protocols import sharing
from protocols.messages import Aggregate, KeyShare
from protocols.opening import check_opening, decode_blindings, decode_plaintext, encode_blindings, encode_key
from protocols.parameters import message_bound


@dataclass(frozen=True)
class Reconstructed:
    """What t releases give: K int64 (N,) and the summed blinding of each data row."""

    key: NDArray[np.int64]
    blindings: tuple[int, ...]


def check_openings(case: Case, findings: Findings) -> str:
    """I10. For each Aggregate: 1. `key` and `blindings` are what its releases reconstruct. 2. Every |U_x| is at most
    |A| B. 3. U and the summed blindings open, row by row, the sum of the accepted clients' commitments.
    """
    rows = clients = rounds = 0
    for found in case.index.in_order():
        if found.aggregate is None:
            continue
        inputs = _inputs(case, found, found.aggregate)
        if not case.memory.knows("I10", *inputs):
            _check_reconstruction(case, findings, found, found.aggregate)
            _check_plaintext(case, findings, found, found.aggregate)
            if findings.empty:
                case.memory.learn("I10", *inputs)
        rounds += 1
        clients += len(found.accepted())
        rows += case.pinned.argument.shape.data_rows
    over = f"{counted(rows, 'row')} over the commitments of {counted(clients, 'submission')}"
    return f"{counted(rounds, 'aggregate')}: {over}"


def _inputs(case: Case, found: Round, entry: Entry[Aggregate]) -> tuple[bytes, ...]:
    """What an opening depends on: the policy, the aggregate, the valid releases that it uses, the cohort. That blobs
    are the ones that the entries name, I1 says."""
    used = [each.hash for each in _used(case, found, entry.message.releases)]
    accepted = [record.entry_hash for record in found.accepted()]
    return (case.pinned.hash, entry.hash, len(used).to_bytes(8, "big"), *used, *accepted)


def _used(case: Case, found: Round, indices: Sequence[int]) -> list[Entry[KeyShare]]:
    """The release entries of these indices, of those that I8 found valid."""
    used = set(case.releases.get(found.number, {}).values()).intersection(indices)
    return [entry for entry in found.releases if entry.index in used]


def opened_by(case: Case, found: Round, indices: Sequence[int]) -> dict[int, sharing.Share]:
    """The shares of these release entries by share point, of those that I8 found valid."""
    pinned = case.pinned
    shares = {}
    for entry in _used(case, found, indices):
        data = case.blob(entry.message.share, pinned.share_size)
        shares[pinned.share_point(entry.message.trustee)] = sharing.Share.decode(data, pinned.secret_length)
    return shares


def reconstruct(case: Case, shares: Mapping[int, sharing.Share], count: int) -> Reconstructed:
    """K and the blindings of `count` clients from exactly t valid shares.

    Raises Rejected("releases") for another number, Rejected("key-sum") where a digit is beyond `count` times the tail.
    """
    pinned = case.pinned
    if len(shares) != pinned.policy.threshold:
        raise Rejected("releases", f"{pinned.policy.threshold} valid releases", str(len(shares)))
    scalars = sharing.reconstruct(shares)
    packed = len(scalars) - pinned.argument.shape.data_rows
    bound = count * pinned.lattice.noise_bound
    key = sharing.unpack_key_sum(scalars[:packed], pinned.lattice.degree, bound)
    return Reconstructed(key, tuple(scalars[packed:]))


def _check_reconstruction(case: Case, findings: Findings, found: Round, entry: Entry[Aggregate]) -> None:
    """Rule 1."""
    name, message = label(entry.index, entry.message), entry.message
    try:
        opened = reconstruct(case, opened_by(case, found, message.releases), len(found.accepted()))
    except (Malformed, Rejected) as error:
        doubted = case.doubted.intersection(message.releases)
        findings.reject(f"{name}, releases", error, Kind.UNJUDGED if doubted else None)
        return
    findings.expect(f"{name}, key", hashlib.sha256(encode_key(opened.key)).digest(), message.key)
    blindings = hashlib.sha256(encode_blindings(opened.blindings)).digest()
    findings.expect(f"{name}, blindings", blindings, message.blindings)


def _check_plaintext(case: Case, findings: Findings, found: Round, entry: Entry[Aggregate]) -> None:
    """Rules 2 and 3."""
    name, message, pinned = label(entry.index, entry.message), entry.message, case.pinned
    records = found.accepted()
    try:
        plaintext = decode_plaintext(pinned, case.blob(message.plaintext, pinned.policy.dimension * 8))
        size = pinned.argument.shape.data_rows * 32
        blindings = decode_blindings(pinned, case.blob(message.blindings, size))
        commitments = [case.blob(record.commitments, pinned.commitments_size) for record in records]
        bound = len(records) * message_bound(pinned.policy.update)
        largest = max(int(plaintext.max()), -int(plaintext.min()))
        if largest > bound:
            findings.add(f"{name}, plaintext", f"values of at most |A| B = {bound}", str(largest))
        check_opening(case.engine, pinned, plaintext, blindings, commitments)
    except (Malformed, Rejected) as error:
        findings.reject(f"{name}, plaintext and blindings", error)
