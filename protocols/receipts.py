"""A client's receipt: proof that its submission is in the cosigned log, and what became of it (spec 8.12).

It stands by itself: with the policy, and nothing else, anybody can check it at any later time. A receipt is made of
public entries only, so anyone who holds the log can make one; the client verifies it, and keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from proofs.errors import Malformed, Misuse, Rejected
from protocols.encoding import CHANGES_LIMIT, decode, encode
from protocols.envelopes import Envelope, check_signature, entry_hash, open_envelope
from protocols.invitation import Changes, LoggedEntry, logged_entry
from protocols.log.checkpoint import Checkpoint, check_note, parse_note
from protocols.log.merkle import inclusion_proofs, leaf_hash, verify_inclusion
from protocols.log.proofs import PublishedTree
from protocols.membership import ENROLLED, Membership, changed_by
from protocols.messages import (
    AtMost,
    CohortClosed,
    KeyRotation,
    Message,
    Revocation,
    RoundAborted,
    RoundClosed,
    RoundOpen,
    Submission,
)
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy

RECEIPT_VERSION = 1
RECEIPT_LIMIT = CHANGES_LIMIT  # bytes: most of it for the changes
CLOSED = "closed"


@dataclass(frozen=True)
class Receipt:
    """Entries of one log, each with its inclusion proof in the checkpoint that `note` signs.

    changes: every KeyRotation and Revocation before RoundOpen, in log order; RoundOpen's root stands for their proofs.
    later_changes: those of trustees after it, under the checkpoint. cohort: the CohortClosed that says
    whether the submission was accepted, None if there is none. end: the RoundClosed or RoundAborted, None if the round
    is not over at the checkpoint.
    """

    version: int
    note: Annotated[bytes, AtMost(65536)]
    changes: Changes
    later_changes: tuple[LoggedEntry, ...]
    round_open: LoggedEntry
    submission: LoggedEntry
    cohort: LoggedEntry | None
    end: LoggedEntry | None


@dataclass(frozen=True)
class VerifiedReceipt:
    """What a receipt proves. cosigners: who cosigned the checkpoint. verdict: ACCEPTED, the reason of the exclusion, or
    None where no cohort was closed. outcome: CLOSED, the reason of the abort, or None where the round is not over."""

    federation: str
    client: str
    round: int
    checkpoint: Checkpoint
    cosigners: tuple[str, ...]
    index: int
    entry: bytes
    entry_hash: bytes
    verdict: str | None
    outcome: str | None


def encode_receipt(receipt: Receipt) -> bytes:
    """Canonical bytes, what a receipt file holds; raises Misuse for values outside their fields."""
    return encode(receipt, RECEIPT_LIMIT)


def decode_receipt(data: bytes) -> Receipt:
    """Inverse of `encode_receipt`; raises Malformed."""
    return decode(Receipt, data, RECEIPT_LIMIT)


@dataclass(frozen=True)
class ReceiptPlaces:
    """Log indices of what a receipt is made of, as of `Receipt`."""

    round_open: int
    submission: int
    cohort: int | None
    end: int | None


def make_receipt(
    pinned: PinnedPolicy, tree: PublishedTree, places: ReceiptPlaces, changes: Iterable[tuple[int, str]]
) -> Receipt:
    """The receipt of one submission, read from a published log where its parts are.

    changes: index and party of every KeyRotation and Revocation in the log. Raises as `tree` does.
    """

    def entry(index: int) -> bytes:
        [found] = tree.stream(index, index + 1)
        return found

    before, later = _split(pinned, changes, places.round_open)
    return _assemble(tree.latest(), places, map(entry, before), later, lambda index: logged_entry(tree, index))


def make_receipts(pinned: PinnedPolicy, note: bytes, entries: Sequence[bytes], number: int) -> dict[str, Receipt]:
    """The receipt of every client with a submission in round `number`, by client.

    entries: the log from its first entry on, at least up to the size of `note`. A client that submitted twice gets one
    for its first submission, the only one that can be accepted. Empty if the log has no such round. Raises Malformed
    for what is no note or entry.
    """
    size = parse_note(note).checkpoint.size
    if len(entries) < size:
        raise Misuse(f"entries: expected {size}, found {len(entries)}")
    changes: dict[int, str] = {}
    single: dict[type, int] = {}
    submissions: dict[str, int] = {}
    for index, entry in enumerate(entries[:size]):
        message = open_envelope(entry).message
        if isinstance(message, KeyRotation | Revocation):
            changes[index] = message.party
        elif getattr(message, "round", None) != number:
            continue
        elif isinstance(message, Submission):
            submissions.setdefault(message.client, index)
        else:
            single.setdefault(type(message), index)
    if RoundOpen not in single:
        return {}
    cohort, end = single.get(CohortClosed), single.get(RoundClosed, single.get(RoundAborted))
    opened = single[RoundOpen]
    before, later = _split(pinned, changes.items(), opened)
    wanted = [*later, *submissions.values(), opened, *(each for each in (cohort, end) if each is not None)]
    proofs = inclusion_proofs([leaf_hash(entry) for entry in entries[:size]], wanted)

    def logged(index: int) -> LoggedEntry:
        return LoggedEntry(index, entries[index], tuple(proofs[index]))

    return {
        client: _assemble(
            note, ReceiptPlaces(opened, index, cohort, end), (entries[each] for each in before), later, logged
        )
        for client, index in submissions.items()
    }


def _split(pinned: PinnedPolicy, changes: Iterable[tuple[int, str]], opened: int) -> tuple[list[int], list[int]]:
    """The changes before RoundOpen, and those of trustees after it."""
    trustees, known = {member.id for member in pinned.policy.trustees}, list(changes)
    before = [index for index, _ in known if index < opened]
    return before, [index for index, party in known if index > opened and party in trustees]


def _assemble(
    note: bytes,
    places: ReceiptPlaces,
    before: Iterable[bytes],
    later: Iterable[int],
    logged: Callable[[int], LoggedEntry],
) -> Receipt:
    return Receipt(
        RECEIPT_VERSION,
        note,
        tuple(before),
        tuple(map(logged, later)),
        logged(places.round_open),
        logged(places.submission),
        None if places.cohort is None else logged(places.cohort),
        None if places.end is None else logged(places.end),
    )


def verify_receipt(pinned: PinnedPolicy, receipt: Receipt) -> VerifiedReceipt:
    """Check a receipt against a policy alone.

    1. It is of a version that this function knows: Malformed.
    2. The changes are rightful, in this order: the names of `protocols.membership.changed_by`. Those before RoundOpen
       are all there are, by the root that RoundOpen carries: "changes". The later ones are of trustees, ascending,
       behind RoundOpen, and in the log: "changes", "inclusion-proof".
    3. The note is the policy's log, signed by its key and cosigned by t trustees in force at its size:
       "checkpoint-...".
    4. RoundOpen, the submission, and cohort and end where they are given are in the log, in this order:
       "inclusion-proof", "order".
    5. All are of this federation and one round; RoundOpen is of this policy, the others of this RoundOpen:
       "federation", "policy-hash", "round", "round-open".
    6. The submission is signed by a client with its key in force, the others by the coordinator: "unknown-client",
       "revoked", "signature".
    7. The cohort says of the submission that it is accepted, or why not: "cohort". A round that was closed had a
       cohort: "cohort".
    Raises Malformed, or Rejected with these names.
    """
    if receipt.version != RECEIPT_VERSION:
        raise Malformed("Receipt.version", str(RECEIPT_VERSION), str(receipt.version))
    policy, note = pinned.policy, parse_note(receipt.note)
    head = note.checkpoint
    opened = _included(receipt.round_open, head)
    at_open, at_note = _follow_changes(pinned, receipt, head)
    cosigners = check_note(note, policy.log_key, at_note.trustees(policy), policy.threshold, origin=policy.origin)
    message = _check_round_open(pinned, at_open, opened)
    parts = [receipt.round_open, receipt.submission, *filter(None, (receipt.cohort, receipt.end))]
    if [part.index for part in parts] != sorted({part.index for part in parts}):
        found = ", ".join(str(part.index) for part in parts)
        raise Rejected("order", "round-open, submission, cohort and end, ascending", found)
    submission = _check_submission(pinned, at_open, message, receipt, head)
    verdict = _check_cohort(policy, message, receipt, head)
    outcome = _check_end(policy, message, receipt, head)
    return VerifiedReceipt(
        policy.federation,
        submission.client,
        submission.round,
        head,
        tuple(cosigners),
        receipt.submission.index,
        receipt.submission.entry,
        entry_hash(receipt.submission.entry),
        verdict,
        outcome,
    )


def _included(logged: LoggedEntry, head: Checkpoint) -> Envelope:
    verify_inclusion(leaf_hash(logged.entry), logged.index, head.size, logged.inclusion, head.root)
    return open_envelope(logged.entry)


def _follow_changes(pinned: PinnedPolicy, receipt: Receipt, head: Checkpoint) -> tuple[Membership, Membership]:
    """The membership at RoundOpen, and at the checkpoint."""
    at_open = ENROLLED
    for entry in receipt.changes:
        at_open = changed_by(pinned, at_open, at_open.count, entry, open_envelope(entry))
    membership, before, trustees = at_open, receipt.round_open.index, {member.id for member in pinned.policy.trustees}
    for change in receipt.later_changes:
        if change.index <= before:
            raise Rejected("changes", "entries ascending, after RoundOpen", f"entry {change.index} after {before}")
        envelope = _included(change, head)
        membership, before = changed_by(pinned, membership, change.index, change.entry, envelope), change.index
        if getattr(envelope.message, "party", None) not in trustees:
            raise Rejected("changes", "those of trustees", f"entry {change.index} of another party")
    return at_open, membership


def _check_federation(policy: Policy, message: Message | Policy) -> None:
    if message.federation != policy.federation:
        raise Rejected("federation", policy.federation, message.federation)


def _check_round_open(pinned: PinnedPolicy, membership: Membership, envelope: Envelope) -> RoundOpen:
    message = envelope.message
    if not isinstance(message, RoundOpen):
        raise Malformed("Receipt.round_open", "a round-open entry", envelope.type)
    check_signature(envelope, pinned.policy.log_key)
    pinned.require_own(message.federation, message.policy)
    if message.changes != membership.root():
        raise Rejected(
            "changes", message.changes.hex(), f"{membership.root().hex()}, of {membership.count} changes shown"
        )
    return message


def _check_submission(
    pinned: PinnedPolicy, membership: Membership, opened: RoundOpen, receipt: Receipt, head: Checkpoint
) -> Submission:
    envelope = _included(receipt.submission, head)
    message = envelope.message
    if not isinstance(message, Submission):
        raise Malformed("Receipt.submission", "a submission entry", envelope.type)
    check_signature(envelope, membership.key(message.client, pinned.client_key(message.client)))
    _check_round(pinned.policy, opened, message)
    _check_opened_by(receipt, message.round_open)
    return message


def _check_cohort(policy: Policy, opened: RoundOpen, receipt: Receipt, head: Checkpoint) -> str | None:
    """What the cohort says of the submission."""
    if receipt.cohort is None:
        return None
    envelope = _included(receipt.cohort, head)
    message = envelope.message
    if not isinstance(message, CohortClosed):
        raise Malformed("Receipt.cohort", "a cohort-closed entry", envelope.type)
    check_signature(envelope, policy.log_key)
    _check_round(policy, opened, message)
    _check_opened_by(receipt, message.round_open)
    if message.first != receipt.round_open.index + 1:
        raise Rejected("cohort", f"verdicts from entry {receipt.round_open.index + 1} on", f"from {message.first}")
    verdict = message.verdict(receipt.submission.index)
    if verdict is None:
        raise Rejected("cohort", f"a verdict on entry {receipt.submission.index}", "none")
    return verdict


def _check_end(policy: Policy, opened: RoundOpen, receipt: Receipt, head: Checkpoint) -> str | None:
    """How the round ended."""
    if receipt.end is None:
        return None
    envelope = _included(receipt.end, head)
    message = envelope.message
    if not isinstance(message, RoundClosed | RoundAborted):
        raise Malformed("Receipt.end", "a round-closed or round-aborted entry", envelope.type)
    check_signature(envelope, policy.log_key)
    _check_round(policy, opened, message)
    cohort = None if receipt.cohort is None else entry_hash(receipt.cohort.entry)
    if isinstance(message, RoundClosed):
        if cohort is None:
            raise Rejected("cohort", "the cohort of a round that was closed", "none")
        return CLOSED
    if message.cohort != cohort:
        raise Rejected("cohort", _hex(message.cohort), _hex(cohort))
    return message.reason


def _check_round(
    policy: Policy, opened: RoundOpen, message: Submission | CohortClosed | RoundClosed | RoundAborted
) -> None:
    _check_federation(policy, message)
    if message.round != opened.round:
        raise Rejected("round", str(opened.round), str(message.round))


def _check_opened_by(receipt: Receipt, round_open: bytes) -> None:
    expected = entry_hash(receipt.round_open.entry)
    if round_open != expected:
        raise Rejected("round-open", expected.hex(), round_open.hex())


def _hex(value: bytes | None) -> str:
    return "none" if value is None else value.hex()
