"""Signed envelopes: what a log entry and the policy file are (spec 2.3).

An envelope is a canonical CBOR map {type, version, signer, body, signature}. `body` is the encoding of a message of
that type; the signature is over

    ENVELOPE tag || canonical CBOR map {type, version, signer, body}

Who must sign is fixed by the type: the party a body names (`client`, `trustee`, `party` of a rotation), "issuer" for
the policy and for revocations, "coordinator" otherwise. No party may have either of these two names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from proofs.domains import ENVELOPE
from proofs.errors import Malformed, Misuse, Rejected
from protocols.blobs import message_blobs
from protocols.encoding import ENTRY_LIMIT, POLICY_LIMIT, decode, encode
from protocols.hashes import sha256
from protocols.identities import SigningKey, verify
from protocols.messages import (
    COORDINATOR,
    ISSUER,
    MESSAGE_TYPES,
    RESERVED_TYPES,
    AtMost,
    Hash32,
    KeyRotation,
    Message,
    PartyId,
    PublicKey,
    Signature,
    type_of,
)
from protocols.policy import Policy

Expected = TypeVar("Expected", bound=Message)
Stated = TypeVar("Stated")
VERSION = 1
STATEMENT_LIMIT = 4096  # bytes of what is signed outside the log
RESERVED_NAMES = frozenset({COORDINATOR, ISSUER})
POLICY_TYPE = "policy"
POSSESSION_TYPE = "key-possession"  # signed inside a rotation; never an entry


@dataclass(frozen=True)
class _Signed:
    """What the signature covers."""

    type: Annotated[str, AtMost(32)]
    version: int
    signer: PartyId
    body: Annotated[bytes, AtMost(POLICY_LIMIT)]


@dataclass(frozen=True)
class _Wire:
    """The envelope itself."""

    type: Annotated[str, AtMost(32)]
    version: int
    signer: PartyId
    body: Annotated[bytes, AtMost(POLICY_LIMIT)]
    signature: Signature


@dataclass(frozen=True)
class KeyPossession:
    """What the new key of a KeyRotation signs, as an envelope of type `key-possession` by the party (spec 2.5)."""

    federation: PartyId
    policy: Hash32
    party: PartyId
    previous: PublicKey
    public_key: PublicKey


@dataclass(frozen=True)
class Envelope:
    """A decoded envelope whose signature has not been checked. `message` is the value that `body` encodes."""

    type: str
    signer: str
    body: bytes
    signature: bytes
    message: Message | Policy


@dataclass(frozen=True)
class Entry:
    """A log entry: its bytes, their hash, by which messages name it, and what they say. Made by `open` alone."""

    data: bytes
    hash: bytes
    envelope: Envelope
    message: Message

    @classmethod
    def open(cls, data: bytes) -> Entry:
        """Decode once what somebody sent, as `open_envelope`; the signature is not checked."""
        envelope = open_envelope(data)
        if isinstance(envelope.message, Policy):  # open_envelope refuses it; the type does not say so
            raise Malformed("envelope.type", "a message type", POLICY_TYPE)
        return cls(data, entry_hash(data), envelope, envelope.message)

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """Hashes of the blobs that it names."""
        return tuple(name for _, name in message_blobs(self.message))


def entry_blobs(data: bytes) -> tuple[bytes, ...]:
    """Hashes of the blobs that a log entry names. Raises Malformed where it is not an envelope of version 1."""
    return Entry.open(data).blobs


def expected_message(cls: type[Expected], entry: Entry) -> Expected:
    """What an entry says, which has to be of this type; raises Malformed for any other."""
    if not isinstance(entry.message, cls):
        name = next(each.name for each in MESSAGE_TYPES if each.cls is cls)
        raise Malformed("entry", f"a {name}", entry.envelope.type)
    return entry.message


def seal(message: Message, signer: str, key: SigningKey) -> bytes:
    """Return the signed envelope of a message, at most ENTRY_LIMIT bytes.

    Raises Misuse where a field is outside its annotation, the entry is too long, or another party must sign.
    """
    return _seal(message, signer, key, ENTRY_LIMIT)


def open_envelope(data: bytes) -> Envelope:
    """Decode a log entry and its body (spec 2.3); the signature is not checked.

    Raises Malformed, naming type and field, for anything but the canonical bytes of a known type and version, by the
    signer that the type demands.
    """
    envelope = _open(data, ENTRY_LIMIT)
    if envelope.type == POLICY_TYPE:
        raise Malformed("envelope.type", "a message type", "policy, which is never a log entry")
    return envelope


def check_signature(envelope: Envelope, public_key: bytes) -> None:
    """Accept if `public_key` signed this envelope, or raise Rejected("signature")."""
    covered = _Signed(envelope.type, VERSION, envelope.signer, envelope.body)
    verify(public_key, envelope.signature, ENVELOPE + encode(covered, 2 * POLICY_LIMIT))


def entry_hash(data: bytes) -> bytes:
    """SHA-256 of an envelope's bytes: how messages name log entries."""
    return sha256(data)


def seal_policy(policy: Policy, key: SigningKey) -> bytes:
    """Return the policy file: at most POLICY_LIMIT bytes, signed by its issuer.

    Raises Misuse where `key` is not the policy's issuer_key, or as `seal`.
    """
    if key.public_key != policy.issuer_key:
        raise Misuse("key: the policy names another issuer_key")
    return _seal(policy, ISSUER, key, POLICY_LIMIT)


def open_policy(data: bytes) -> tuple[Policy, Envelope]:
    """Decode a policy file and verify the issuer's signature by the key that the policy names.

    That this issuer is the right one is for the caller to know: by pinning the file or its hash. Raises Malformed, or
    Rejected("signature").
    """
    envelope = _open(data, POLICY_LIMIT)
    policy = envelope.message
    if not isinstance(policy, Policy):
        raise Malformed("envelope.type", POLICY_TYPE, envelope.type)
    check_signature(envelope, policy.issuer_key)
    return policy, envelope


def seal_rotation(federation: str, policy: bytes, party: str, old: SigningKey, new: SigningKey) -> bytes:
    """The entry by which `new` takes the place of `old` as the key of `party`, under the policy of this hash; the same
    bytes for the same keys."""
    possession = KeyPossession(federation, policy, party, old.public_key, new.public_key)
    signature = new.sign(_possessed(possession))
    return seal(KeyRotation(federation, policy, party, old.public_key, new.public_key, signature), party, old)


def check_possession(message: KeyRotation) -> None:
    """The new key of a rotation signed for it, so nobody takes another's key; raises Rejected("possession")."""
    possession = KeyPossession(message.federation, message.policy, message.party, message.previous, message.public_key)
    try:
        verify(message.public_key, message.possession, _possessed(possession))
    except Rejected as error:
        raise Rejected("possession", error.expected, error.found) from None


@dataclass(frozen=True)
class Statement:
    """What somebody signed in an envelope that is never an entry; the signature has not been checked."""

    kind: str
    signer: str
    body: bytes
    signature: bytes


def seal_statement(kind: str, signer: str, value: object, key: SigningKey) -> bytes:
    """The envelope of a value whose type is no message's, at most STATEMENT_LIMIT bytes; raises Misuse as `seal`."""
    body = encode(value, STATEMENT_LIMIT)
    signature = key.sign(_stated(kind, signer, body))
    return encode(_Wire(kind, VERSION, signer, body, signature), STATEMENT_LIMIT)


def open_statement(kind: str, cls: type[Stated], data: bytes) -> tuple[Stated, Statement]:
    """Inverse of `seal_statement`, of just this kind; raises Malformed. The signature is not checked."""
    wire = _decode_wire(data, STATEMENT_LIMIT)
    if wire.version != VERSION:
        raise Malformed("envelope.version", str(VERSION), str(wire.version))
    if wire.type != kind:
        raise Malformed("envelope.type", kind, ascii(wire.type))
    return decode(cls, wire.body, STATEMENT_LIMIT), Statement(kind, wire.signer, wire.body, wire.signature)


def check_statement(statement: Statement, public_key: bytes) -> None:
    """Accept if `public_key` signed this, or raise Rejected("signature")."""
    verify(public_key, statement.signature, _stated(statement.kind, statement.signer, statement.body))


def _stated(kind: str, signer: str, body: bytes) -> bytes:
    return ENVELOPE + encode(_Signed(kind, VERSION, signer, body))


def required_signer(message: Message | Policy) -> str:
    """The name that must be the envelope's signer."""
    return ISSUER if isinstance(message, Policy) else type_of(message).signer_of(message)


def _possessed(possession: KeyPossession) -> bytes:
    return _stated(POSSESSION_TYPE, possession.party, encode(possession))


def _seal(message: Message | Policy, signer: str, key: SigningKey, limit: int) -> bytes:
    name = POLICY_TYPE if isinstance(message, Policy) else type_of(message).name
    if signer != required_signer(message):
        raise Misuse(f"signer: expected {required_signer(message)} for this {name}, found {signer}")
    body = encode(message, limit)
    signature = key.sign(ENVELOPE + encode(_Signed(name, VERSION, signer, body), 2 * limit))
    return encode(_Wire(name, VERSION, signer, body, signature), limit)


def _open(data: bytes, limit: int) -> Envelope:
    wire = _decode_wire(data, limit)
    if wire.version != VERSION:
        raise Malformed("envelope.version", str(VERSION), str(wire.version))
    message: Message | Policy = decode(_class_of(wire.type), wire.body, limit)
    if wire.signer != required_signer(message):
        raise Malformed("envelope.signer", f"{required_signer(message)} for this {wire.type}", wire.signer)
    return Envelope(wire.type, wire.signer, wire.body, wire.signature, message)


def _class_of(name: str) -> type[Any]:
    if name == POLICY_TYPE:
        return Policy
    if name not in MESSAGE_TYPES:
        reserved = ", reserved for a later version" if name in RESERVED_TYPES else ""
        raise Malformed("envelope.type", "a type of version 1", ascii(name) + reserved)
    return MESSAGE_TYPES.find(name).cls


def _decode_wire(data: bytes, limit: int) -> _Wire:
    try:
        return decode(_Wire, data, limit)
    except Malformed as error:
        raise Malformed(error.where.replace("_Wire", "envelope", 1), error.expected, error.found) from None
