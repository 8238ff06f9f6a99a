"""The one size that a blob has in each role, as the policy gives it (spec 8.1, 9.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proofs.relations.client_weight import WEIGHT_COMMITMENTS
from proofs.relations.noise import NOISE_COMMITMENTS
from proofs.relations.norm import NORM_COMMITMENTS
from proofs.relations.privacy_noise import PRIVACY_COMMITMENTS
from proofs.relations.range import RANGE_COMMITMENTS
from protocols.blobs import message_blobs
from protocols.messages import Message
from protocols.pinned import PinnedPolicy
from protocols.registry import Registry


@dataclass(frozen=True)
class BlobRole:
    """name: the field that names such blobs, in whatever message. size: bytes, 0 where there is none. label: of the
    rows of the argument that they commit to (5.5), for commitments to such rows."""

    name: str
    size: Callable[[PinnedPolicy], int]
    label: str = ""


def _rows(name: str, label: str) -> BlobRole:
    return BlobRole(name, lambda pinned: pinned.argument.commitments_size(label), label)


BLOB_ROLES: Registry[BlobRole] = Registry(
    "role of blobs",
    "blob-role",
    (
        BlobRole("policy", lambda pinned: len(pinned.data)),
        BlobRole("model", lambda pinned: pinned.model_size),
        BlobRole("approvals", lambda pinned: pinned.approvals_size),
        BlobRole("optimizer", lambda pinned: pinned.optimizer_size),
        _rows("commitments", NORM_COMMITMENTS),
        BlobRole("ciphertext", lambda pinned: pinned.ciphertext_size),
        BlobRole("share_commitments", lambda pinned: pinned.share_commitments_size),
        BlobRole("shares", lambda pinned: pinned.sealed_share_size),
        BlobRole("proof", lambda pinned: pinned.proof_size),
        _rows("range_commitments", RANGE_COMMITMENTS),
        _rows("weight_commitments", WEIGHT_COMMITMENTS),
        _rows("noise_commitments", NOISE_COMMITMENTS),
        _rows("privacy_noise_commitments", PRIVACY_COMMITMENTS),
        BlobRole("share", lambda pinned: pinned.share_size),
        BlobRole("key", lambda pinned: pinned.key_size),
        BlobRole("plaintext", lambda pinned: pinned.plaintext_size),
        BlobRole("blindings", lambda pinned: pinned.blindings_size),
    ),
    lambda role: role.name,
)


ROW_FIELDS = {role.label: role.name for role in BLOB_ROLES if role.label}  # of a submission, by the rows' label


def size_of(pinned: PinnedPolicy, role: str) -> int:
    """Bytes of the blobs in this role; raises Rejected("blob-role") where there is none of that name."""
    return BLOB_ROLES.find(role).size(pinned)


def sized_blobs(pinned: PinnedPolicy, message: Message) -> list[tuple[bytes, int]]:
    """The blobs that a message names, each with the one size that it must have in its role.

    A submission that names others is not admitted to the log (spec 8.5), so that nothing of a size the policy does
    not fix is ever stored. A blob named in two roles is listed twice.
    """
    return [(blob, size_of(pinned, role)) for role, blob in message_blobs(message)]
