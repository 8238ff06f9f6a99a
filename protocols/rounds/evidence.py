"""What a party has said, shown to it from outside its own directory when it starts (spec 8.10).

A directory that was set back to an old copy looks like any other from inside. So whoever starts a party gives it the
newest checkpoint that was published, and the entries that it signed: what it does not remember, it would say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from proofs.errors import Rejected
from protocols.envelopes import Envelope, check_signature, open_envelope
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, check_note, check_own, parse_note
from protocols.messages import Release, ShareAck, Submission
from protocols.pinned import PinnedPolicy
from protocols.policy import Member

OUTDATED = "outdated-state"  # the check
Said = Submission | ShareAck | Release


@dataclass(frozen=True)
class Evidence:
    """note: a checkpoint with its cosignatures, empty for none. entries: those that the party signed, in log order; of
    each kind the newest suffice."""

    note: bytes = b""
    entries: tuple[bytes, ...] = ()


NO_EVIDENCE = Evidence()


def said_in(note: bytes, entries: Iterable[bytes]) -> dict[str, Evidence]:
    """What each signer has said in a log whose newest published checkpoint is `note`; raises Malformed."""
    said: dict[str, list[bytes]] = {}
    for entry in entries:
        said.setdefault(open_envelope(entry).signer, []).append(entry)
    return {signer: Evidence(note, tuple(signed)) for signer, signed in said.items()}


def newest_said(
    pinned: PinnedPolicy, name: str, keys: Sequence[SigningKey], entries: Iterable[bytes]
) -> tuple[bytes, ...]:
    """Of each kind of message, the entries of the newest round that a party signed with one of its keys, each once:
    a state that knows them knows all that was said before them. Raises Malformed."""
    newest: dict[type[Said], tuple[int, dict[bytes, None]]] = {}
    for entry, message in own_messages(pinned, name, keys, entries, 1):
        number, found = newest.get(type(message), (0, {}))
        if message.round > number:
            number, found = message.round, {}
        if message.round == number:
            newest[type(message)] = number, {**found, entry: None}
    return tuple(entry for _, found in newest.values() for entry in found)


def outdated(name: str, said: str, known: str) -> Rejected:
    """The refusal of a party that remembers less than it said."""
    return Rejected(OUTDATED, f"what {name} has said: {said}", f"a state that knows {known}")


def own_checkpoint(
    pinned: PinnedPolicy, name: str, keys: Sequence[SigningKey], evidence: Evidence
) -> Checkpoint | None:
    """The checkpoint of the evidence, if it has a cosignature by one of a trustee's own keys.

    Raises Malformed, Rejected("checkpoint-...") for a note that is not the log's.
    """
    if not evidence.note:
        return None
    note, policy = parse_note(evidence.note), pinned.policy
    ours, *others = note.signatures
    check_own(note, policy.log_key, policy.origin)
    lines = tuple(each for each in others if each.name == name)
    signed = replace(note, signatures=(ours, *lines))
    for key in keys:
        try:
            check_note(signed, policy.log_key, (Member(name, key.public_key),), 1)
        except Rejected:
            continue
        return note.checkpoint
    return None


def own_messages(
    pinned: PinnedPolicy, name: str, keys: Sequence[SigningKey], entries: Iterable[bytes], first: int
) -> Iterator[tuple[bytes, Said]]:
    """Those of some entries, of rounds from `first` on, that a party signed with one of its keys, with their messages;
    raises Malformed."""
    for entry in entries:
        envelope = open_envelope(entry)
        message = envelope.message
        if not isinstance(message, Submission | ShareAck | Release) or message.round < first:
            continue
        if (envelope.signer, message.federation) != (name, pinned.policy.federation):
            continue
        if any(_signed(envelope, key) for key in keys):
            yield entry, message


def _signed(envelope: Envelope, key: SigningKey) -> bool:
    try:
        check_signature(envelope, key.public_key)
    except Rejected:
        return False
    return True
