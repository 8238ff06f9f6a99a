"""What a client is shown before it encrypts, and what it verifies (spec 8.4).

A server could show one client its own round keys, its own model or its own parameters. So a client believes a
RoundOpen only from inside a log that t trustees cosigned, of which it checks everything that it will rely on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from proofs.errors import Malformed, Rejected
from protocols.contexts import round_seed
from protocols.encoding import CHANGES_LIMIT, decode, encode
from protocols.envelopes import Envelope, check_signature, entry_hash, open_envelope
from protocols.hashes import sha256
from protocols.log.checkpoint import Checkpoint, check_note, parse_note
from protocols.log.merkle import leaf_hash, verify_consistency, verify_inclusion
from protocols.log.proofs import PublishedTree, consistency_with, inclusion_of
from protocols.membership import ENROLLED, Membership, changed_by
from protocols.messages import (
    AtMost,
    FederationClosed,
    Hash32,
    KeyRotation,
    Revocation,
    RoundAborted,
    RoundClosed,
    RoundKey,
    RoundOpen,
)
from protocols.participation import draw_seed, draw_value
from protocols.pinned import PinnedPolicy

INVITATION_LIMIT = CHANGES_LIMIT  # bytes: most of it for changes, to a client that knows none of them
Path = Annotated[tuple[Hash32, ...], AtMost(64)]
Changes = tuple[Annotated[bytes, AtMost(65535)], ...]  # entries; their root in RoundOpen says that they are in the log


@dataclass(frozen=True)
class LoggedEntry:
    """An entry, its index, and its inclusion proof in the invitation's checkpoint."""

    index: int
    entry: Annotated[bytes, AtMost(65535)]
    inclusion: Path


@dataclass(frozen=True)
class Invitation:
    """From the coordinator to one client; everything in it is public. `since` is the size of the checkpoint that the
    client said it saw last, 0 for none."""

    note: Annotated[bytes, AtMost(65536)]
    round_open: LoggedEntry
    round_keys: Annotated[tuple[LoggedEntry, ...], AtMost(64)]
    seed_consistency: Path  # from RoundOpen's checkpoint to the note's
    since: int
    since_consistency: Path  # from the client's last checkpoint to the note's
    changes: Changes = ()  # every KeyRotation and Revocation before RoundOpen, but the `known` first, in log order
    known: int = 0  # how many changes the client said that it knew, 0 for all to be sent


@dataclass(frozen=True)
class VerifiedRound:
    """A RoundOpen that a client may answer, with the trustees' round keys in RoundOpen's order."""

    message: RoundOpen
    entry_hash: bytes
    index: int
    round_keys: tuple[RoundKey, ...]
    checkpoint: Checkpoint
    membership: Membership = ENROLLED


def encode_invitation(invitation: Invitation) -> bytes:
    """Canonical bytes; raises Misuse for values outside their fields."""
    return encode(invitation, INVITATION_LIMIT)


def decode_invitation(data: bytes) -> Invitation:
    """Inverse of `encode_invitation`; raises Malformed."""
    return decode(Invitation, data, INVITATION_LIMIT)


def make_invitation(tree: PublishedTree, since: int = 0, known: int = 0) -> Invitation:
    """To the open round of a published log, as its coordinator makes it: for whoever reads the log without asking.

    tree: as of the log's latest checkpoint. Every entry is read once, and none is kept but what the invitation has;
    nothing of them is believed here. since: size of the checkpoint that the client saw last; known: how many changes it
    knows. Raises as `tree` does, Malformed for what is no log, Rejected("order") where no round is open, ("since") for
    a checkpoint beyond this one.
    """
    size = tree.size
    if not 0 <= since <= size:
        raise Rejected("since", f"a checkpoint of at most {size} entries", str(since))
    index, message, changes = _open_round(tree.stream(0, size), known)
    if not all(each < index for each in (*message.round_keys, message.checkpoint_size - 1)):
        raise Malformed("RoundOpen", "keys and a checkpoint before it", "later ones")
    return Invitation(
        tree.latest(),
        logged_entry(tree, index),
        tuple(logged_entry(tree, each) for each in message.round_keys),
        tuple(consistency_with(tree, message.checkpoint_size)),
        since,
        tuple(consistency_with(tree, since)),
        changes,
        known,
    )


def logged_entry(tree: PublishedTree, index: int) -> LoggedEntry:
    """An entry of a published log, with its inclusion proof; raises as `tree` does."""
    [entry] = tree.stream(index, index + 1)
    return LoggedEntry(index, entry, tuple(inclusion_of(tree, index)))


def _open_round(entries: Iterator[bytes], known: int) -> tuple[int, RoundOpen, tuple[bytes, ...]]:
    """The open round's index and message, and the changes but the first `known`."""
    opened: tuple[int, RoundOpen] | None = None
    changes, count, size = list[bytes](), 0, 0
    for index, entry in enumerate(entries):
        message = open_envelope(entry).message
        if isinstance(message, RoundOpen):
            opened = index, message
        elif isinstance(message, RoundClosed | RoundAborted | FederationClosed):
            opened = None
        elif isinstance(message, KeyRotation | Revocation):
            count += 1
            if count > known:
                changes.append(entry)
                size += len(entry)
        if size > CHANGES_LIMIT:
            raise Malformed("Invitation.changes", f"at most {CHANGES_LIMIT} bytes", "more")
    if opened is None:
        raise Rejected("order", "an open round", "none")
    return (*opened, tuple(changes))


def verify_invitation(
    pinned: PinnedPolicy, invitation: Invitation, seen: tuple[int, bytes] | None, known: Membership = ENROLLED
) -> VerifiedRound:
    """Everything in spec 8.4 that the invitation itself can show.

    `seen`: (size, root) the client saw last; `known`: the membership as of then.
    0. The changes are rightful, in this order, and go on from what the client knows: the names of
       `protocols.membership.changed_by`, "changes", "federation".
    1. The note is the policy's log, signed by its key and cosigned by t trustees with keys in force: "checkpoint-...".
    2. It extends what this client saw before: "since", "consistency-proof".
    3. RoundOpen and every round key are in it: "inclusion-proof".
    4. RoundOpen is the coordinator's, of this federation and policy: "signature", "federation", "policy-hash", "round";
       a first round is on the policy's initial model: "model". Its root is of exactly these changes: "changes".
    5. The round keys are those that RoundOpen lists, by index and entry hash, from t or more distinct pinned trustees,
       signed by them for this round with keys in force: "round-keys", "signature", "unknown-trustee", "revoked".
    6. RoundOpen's seed follows from them and a checkpoint of this same log, before it: "seed", "consistency-proof".
    7. Where the policy draws clients, RoundOpen's draw follows from them, unless it repeats another round; else it has
       none: "draw".
    Raises Malformed, or Rejected with these names.
    """
    note = parse_note(invitation.note)
    policy = pinned.policy
    membership = _follow_changes(pinned, invitation, known)
    check_note(note, policy.log_key, membership.trustees(policy), policy.threshold, origin=policy.origin)
    checkpoint = note.checkpoint
    _check_extends(checkpoint, invitation, seen)
    envelope = _included(invitation.round_open, checkpoint)
    message = _check_round_open(pinned, envelope)
    if message.changes != membership.root():
        raise Rejected(
            "changes", message.changes.hex(), f"{membership.root().hex()}, of {membership.count} changes shown"
        )
    keys = _check_round_keys(pinned, membership, message, invitation, checkpoint)
    _check_seed(message, invitation, checkpoint)
    _check_draw(pinned, membership, message, keys)
    return VerifiedRound(
        message, entry_hash(invitation.round_open.entry), invitation.round_open.index, keys, checkpoint, membership
    )


def _follow_changes(pinned: PinnedPolicy, invitation: Invitation, known: Membership) -> Membership:
    """The membership at RoundOpen. Shown from genesis on, the changes must pass through what the client knows."""
    if invitation.known not in (0, known.count):
        raise Rejected("changes", f"changes after the first 0 or {known.count}", f"after {invitation.known}")
    membership = ENROLLED if invitation.known == 0 else known
    agrees = membership.tree == known.tree
    for entry in invitation.changes:
        membership = changed_by(pinned, membership, membership.count, entry, open_envelope(entry))
        agrees = agrees or membership.tree == known.tree
    if not agrees:
        raise Rejected("changes", f"the {known.count} changes that this client knows, and later ones", "others")
    return membership


def _check_extends(checkpoint: Checkpoint, invitation: Invitation, seen: tuple[int, bytes] | None) -> None:
    if seen is None:
        return
    size, root = seen
    if invitation.since != size:
        raise Rejected("since", f"a proof from the last checkpoint seen, of size {size}", str(invitation.since))
    verify_consistency(size, root, checkpoint.size, checkpoint.root, invitation.since_consistency)


def _included(logged: LoggedEntry, checkpoint: Checkpoint) -> Envelope:
    verify_inclusion(leaf_hash(logged.entry), logged.index, checkpoint.size, logged.inclusion, checkpoint.root)
    return open_envelope(logged.entry)


def _check_round_open(pinned: PinnedPolicy, envelope: Envelope) -> RoundOpen:
    message = envelope.message
    if not isinstance(message, RoundOpen):
        raise Malformed("invitation.round_open", "a round-open entry", envelope.type)
    check_signature(envelope, pinned.policy.log_key)
    pinned.require_own(message.federation, message.policy)
    if not 1 <= message.round <= pinned.policy.max_rounds:
        raise Rejected("round", f"1 to {pinned.policy.max_rounds}", str(message.round))
    if message.round == 1 and message.model != pinned.policy.initial_model:
        raise Rejected("model", pinned.policy.initial_model.hex(), message.model.hex())
    return message


def _check_seed(message: RoundOpen, invitation: Invitation, checkpoint: Checkpoint) -> None:
    if not 1 <= message.checkpoint_size <= invitation.round_open.index:
        raise Rejected("seed", "a checkpoint before RoundOpen", f"size {message.checkpoint_size}")
    verify_consistency(
        message.checkpoint_size,
        message.checkpoint_root,
        checkpoint.size,
        checkpoint.root,
        invitation.seed_consistency,
    )
    expected = round_seed(message.checkpoint_root, message.round, message.round_key_hashes)
    if message.seed != expected:
        raise Rejected("seed", expected.hex(), message.seed.hex())


def _check_round_keys(
    pinned: PinnedPolicy, membership: Membership, message: RoundOpen, invitation: Invitation, checkpoint: Checkpoint
) -> tuple[RoundKey, ...]:
    listed = tuple(logged.index for logged in invitation.round_keys)
    if listed != message.round_keys:
        raise Rejected("round-keys", f"the entries {message.round_keys}", str(listed))
    included = [_included(each, checkpoint) for each in invitation.round_keys]
    if tuple(entry_hash(logged.entry) for logged in invitation.round_keys) != message.round_key_hashes:
        raise Rejected("round-keys", "the entries of RoundOpen's hashes, in this order", "others")
    keys = tuple(_check_round_key(pinned, membership, message, each) for each in included)
    check_trustee_set(pinned, (key.trustee for key in keys))
    return keys


def _check_draw(pinned: PinnedPolicy, membership: Membership, message: RoundOpen, keys: Iterable[RoundKey]) -> None:
    """Of a repetition only the trustees know what it has to be: the draw of the round before. Nor is a client shown
    when a trustee rotated its key: a value is by the key in force or the one before."""
    values = dict[str, bytes]()
    for key in keys:
        rightful = () if message.retry_of is not None else _last_keys(pinned, membership, key.trustee)
        value = draw_value(pinned, key, rightful)
        if value is not None:
            values[key.trustee] = value
    if message.retry_of is None:
        expected = draw_seed(pinned, message.round, values)
    else:
        expected = None if pinned.policy.per_round is None else message.draw or bytes(32)
    if message.draw != expected:
        raise Rejected("draw", "none" if expected is None else expected.hex(), str(message.draw and message.draw.hex()))


def _last_keys(pinned: PinnedPolicy, membership: Membership, trustee: str) -> tuple[bytes, ...]:
    """A trustee's key in force, and the one that this replaced."""
    standing = membership.standing(trustee)
    if standing is None or standing.public_key is None:
        return (pinned.trustee_key(trustee),)
    return standing.public_key, standing.former


def _check_round_key(pinned: PinnedPolicy, membership: Membership, message: RoundOpen, envelope: Envelope) -> RoundKey:
    key = envelope.message
    if not isinstance(key, RoundKey):
        raise Malformed("invitation.round_keys", "round-key entries", envelope.type)
    check_signature(envelope, membership.key(key.trustee, pinned.trustee_key(key.trustee)))
    if (key.federation, key.policy, key.round) != (message.federation, message.policy, message.round):
        found = f"{key.federation} round {key.round}, policy {key.policy.hex()}"
        expected = f"a key for {message.federation} round {message.round}, policy {message.policy.hex()}"
        raise Rejected("round-keys", expected, found)
    return key


def check_trustee_set(pinned: PinnedPolicy, trustees: Iterable[str]) -> None:
    """At least t distinct trustees of the policy; raises Rejected("round-keys"), Rejected("unknown-trustee")."""
    names = list(trustees)
    for name in names:
        pinned.trustee_position(name)
    if len(set(names)) != len(names) or len(names) < pinned.policy.threshold:
        raise Rejected("round-keys", f"at least {pinned.policy.threshold} distinct trustees", ", ".join(names))


def check_model(pinned: PinnedPolicy, message: RoundOpen, model: bytes) -> None:
    """The model blob is the one that RoundOpen names; raises Rejected("model")."""
    if len(model) != pinned.model_size:
        raise Rejected("model", f"{pinned.model_size} bytes", f"{len(model)}")
    found = sha256(model)
    if found != message.model:
        raise Rejected("model", message.model.hex(), found.hex())
