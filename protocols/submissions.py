"""When a logged submission is at fault (spec 8.6): the definition that coordinator, trustees and auditors share.

A submission is judged against the policy and the log before it, never against what it says of itself. The faults that
its blobs show by themselves (malformed, invalid-proof) come from `judge`; those that it takes the log before it to see
(duplicate, replayed) from `protocols.rounds.faults`, and from the auditor's own pass in log order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proofs.curve import POINT_SIZE
from proofs.encryption import EncryptionStatement
from proofs.engine import Engine
from proofs.errors import Malformed, Rejected
from proofs.verifier import Claim, verify_batch
from protocols.blob_sizes import ROW_FIELDS, size_of
from protocols.blobs import blob_fields, blob_hash
from protocols.contexts import sign_context, submission_context
from protocols.lattice.encryption import unpack
from protocols.lattice.public import expand
from protocols.messages import Submission
from protocols.pinned import PinnedPolicy
from protocols.reasons import INVALID_PROOF, MALFORMED
from protocols.sharing import decode_commitments
from protocols.weights import check_weight, weight_of

# (hash, largest size) -> bytes; raises Rejected("blob-missing"), ("blob-hash") or ("blob-size")
BlobSource = Callable[[bytes, int], bytes]

EXTRAS = tuple(each.role for each in blob_fields(Submission) if each.optional)


@dataclass(frozen=True)
class Fault:
    """Why a submission is excluded: `reason` of `protocols.cohorts`, `detail` for people: the name of the check that it
    fails, which is the same in every engine."""

    reason: str
    detail: str


def exclusive_blobs(pinned: PinnedPolicy, submission: Submission) -> tuple[tuple[str, bytes], ...]:
    """(field, blob) of what no other submission may name once this one is valid (spec 8.6): what its proof is about,
    and the proof. So not a ciphertext that nothing is proved about."""
    ciphertext = (("ciphertext", submission.ciphertext),) if pinned.argument.encryption is not None else ()
    own = (("commitments", submission.commitments), ("proof", submission.proof))
    return (*own, *ciphertext, *named_extras(submission))


def named_extras(submission: Submission) -> tuple[tuple[str, bytes], ...]:
    """(field, blob) of the commitments that only some policies ask for, where the submission has them."""
    return tuple((name, blob) for name in EXTRAS if (blob := getattr(submission, name)) is not None)


def check_extras(pinned: PinnedPolicy, submission: Submission) -> None:
    """Raise Rejected("relations") unless the submission has exactly the commitments that the policy asks for."""
    sizes = extra_sizes(pinned)
    expected = [name for name, size in sizes.items() if size]
    found = [name for name, _ in named_extras(submission)]
    if found != expected:
        raise Rejected("relations", ", ".join(expected) or "none", ", ".join(found) or "none")


def extra_sizes(pinned: PinnedPolicy) -> dict[str, int]:
    """Bytes of the blobs that only some policies ask for, by field; 0 where there must be none."""
    return {name: size_of(pinned, name) for name in EXTRAS}


def without_blobs(name: bytes, size: int) -> bytes:  # noqa: ARG001  as a `BlobSource`
    """A source that has none: raises Rejected("blob-missing")."""
    raise Rejected("blob-missing", name.hex(), "no blobs at all")


def read_blob(blobs: BlobSource, name: bytes, size: int) -> bytes:
    """A blob of exactly `size` bytes that has this hash, whatever the source says.

    Raises Rejected("blob-size"), Rejected("blob-hash"), or as the source does.
    """
    data = blobs(name, size)
    check_blob(name, size, data)
    return data


def check_blob(name: bytes, size: int, data: bytes) -> None:
    """Raise Rejected("blob-size") or ("blob-hash") unless `data` has this size and hash."""
    if len(data) != size:
        raise Rejected("blob-size", f"{size} bytes", f"{len(data)} bytes in {name.hex()}")
    if blob_hash(data) != name:
        raise Rejected("blob-hash", name.hex(), blob_hash(data).hex())


def check_ciphertext(pinned: PinnedPolicy, ciphertext: bytes) -> None:
    """Raise Malformed("ciphertext") unless these are packed canonical residues, as many as the data rows have cells."""
    unpack(pinned.lattice, ciphertext, pinned.cells)


def check_share_commitments(engine: Engine, pinned: PinnedPolicy, commitments: bytes) -> None:
    """Raise Malformed("share-commitments") unless these are exactly t encoded points: as a trustee names it, too."""
    try:
        decode_commitments(engine, commitments, pinned.policy.threshold)
    except Rejected as error:
        raise Malformed(error.check, error.expected, error.found) from None


def check_stated(pinned: PinnedPolicy, submission: Submission) -> None:
    """Raise Rejected("weight") unless its client may state the weight that it states."""
    alone = submission.client in pinned.noise_trustees
    check_weight(pinned.policy.weights, submission.weight, noise_alone=alone)


def claim_of(
    pinned: PinnedPolicy, submission: Submission, seed: bytes, blobs: BlobSource, *, pruned: bool = False
) -> Claim:
    """What the submission's proof is to be verified against; `seed` is that of its round.

    pruned: the ciphertext cannot be had any more; that it encrypts the update is then not verified (spec 9, I6).
    Raises Malformed where the ciphertext does not decode, Rejected("weight"), ("relations") or ("blob-...").
    """
    check_stated(pinned, submission)
    check_extras(pinned, submission)
    named = {label: (getattr(submission, field), size_of(pinned, field)) for label, field in ROW_FIELDS.items()}
    rows = {label: read_blob(blobs, blob, size) for label, (blob, size) in named.items() if blob is not None}
    statement = None
    if pinned.argument.encryption is not None:
        residues = None
        if not pruned:
            ciphertext = read_blob(blobs, submission.ciphertext, pinned.ciphertext_size)
            residues = unpack(pinned.lattice, ciphertext, pinned.cells)
        shared = read_blob(blobs, submission.share_commitments, pinned.share_commitments_size)
        elements = expand(pinned.lattice, seed, pinned.cells).elements
        statement = EncryptionStatement(elements, residues, submission.ciphertext, shared[:POINT_SIZE])
    proof = read_blob(blobs, submission.proof, pinned.proof_size)
    context, weight = submission_context(submission), weight_of(submission.weight)
    return Claim(rows, proof, context, statement, weight, signs_of(pinned, submission))


def signs_of(pinned: PinnedPolicy, submission: Submission) -> bytes | None:
    """What the signs of its noise depend on beside its commitments; None where the policy has no noise."""
    if pinned.policy.noise is None:
        return None
    place = submission.round, submission.round_open, submission.client
    return sign_context(pinned.hash, pinned.policy.federation, *place)


def judge(
    engine: Engine, pinned: PinnedPolicy, submissions: Sequence[Submission], seed: bytes, blobs: BlobSource
) -> list[Fault | None]:
    """The fault that its blobs show of each submission of one round, or None; proofs are verified in one batch.

    seed: RoundOpen.seed of the round.

    1. Ciphertext and share commitments decode, else MALFORMED.
    2. The validity proof verifies for the row commitments in the submission's context, else INVALID_PROOF.
    Raises Rejected("blob-...") where a blob cannot be had: that is the fault of whoever serves it, not the client's.
    """
    faults: list[Fault | None] = [_content_fault(engine, pinned, each, blobs) for each in submissions]
    open_positions = [position for position, fault in enumerate(faults) if fault is None]
    claims = [claim_of(pinned, submissions[position], seed, blobs) for position in open_positions]
    verdicts = verify_batch(engine, pinned.argument, claims) if claims else []
    for position, verdict in zip(open_positions, verdicts, strict=True):
        if verdict is not None:
            faults[position] = Fault(INVALID_PROOF, _name(verdict))
    return faults


def _content_fault(engine: Engine, pinned: PinnedPolicy, submission: Submission, blobs: BlobSource) -> Fault | None:
    ciphertext = read_blob(blobs, submission.ciphertext, pinned.ciphertext_size)
    commitments = read_blob(blobs, submission.share_commitments, pinned.share_commitments_size)
    try:
        check_ciphertext(pinned, ciphertext)
        check_share_commitments(engine, pinned, commitments)
    except Malformed as error:
        return Fault(MALFORMED, _name(error))
    return None


def _name(error: Malformed | Rejected) -> str:
    """At most 256 characters without control characters: what Exclusion.detail carries."""
    text = error.check if isinstance(error, Rejected) else error.where
    return "".join(character if character.isprintable() else "?" for character in text)[:256]
