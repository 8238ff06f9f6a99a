"""Every message of the protocol, as values (spec 8; encoding in spec 2).

A message body is one of the frozen dataclasses below; `protocols.encoding` derives its strict canonical CBOR from
the annotations. A log entry is a signed envelope around an encoded body (`protocols.envelopes`). Fields annotated
`Reserved` belong to later protocol features: in version 1 they must be null.

Hashes are SHA-256. `entry hash` means the hash of a whole envelope's bytes. `index` means a position in the log.
Bulk data is never inline: a field of type `BlobHash` names content-addressed bytes, whose size `protocols.blob_sizes`
has by the field's name. What is a fact of a type of message is said above its class, and collected in MESSAGE_TYPES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, TypeAlias, TypeVar

from proofs.errors import Misuse
from protocols.registry import Registry
from protocols.verdicts import ACCEPTED, ANSWERS, HELD, VERDICTS, read

COORDINATOR = "coordinator"
ISSUER = "issuer"


@dataclass(frozen=True)
class Exactly:
    """A byte string of exactly this many bytes, or an array of exactly this many items."""

    count: int


@dataclass(frozen=True)
class AtMost:
    """A byte string, text or array of at most this many bytes, characters or items."""

    count: int


@dataclass(frozen=True)
class Matches:
    """Text that this regular expression matches from end to end."""

    pattern: str


@dataclass(frozen=True)
class NamesBlob:
    """The hash of bulk data: a blob, in the role that the field's name says."""


Hash32 = Annotated[bytes, Exactly(32)]
BlobHash = Annotated[bytes, Exactly(32), NamesBlob()]
PublicKey = Annotated[bytes, Exactly(32)]
Signature = Annotated[bytes, Exactly(64)]
PartyId = Annotated[str, AtMost(64), Matches("[a-z0-9][a-z0-9._-]{0,63}")]
Text = Annotated[str, AtMost(256)]
Reserved: TypeAlias = None

_ANSWERS, _VERDICTS = "".join(ANSWERS), "".join(VERDICTS)
_SAID = f"([-{_ANSWERS}]*[{_ANSWERS}])?"
_JUDGED = f"[-{_VERDICTS}]*"
DETAILS = 100  # of the exclusions of a cohort, at most

Class = TypeVar("Class", bound=type)


@dataclass(frozen=True)
class MessageType:
    """The facts of a type of message.

    name: `type` of its envelopes. signer: the field that names who must sign, or COORDINATOR or ISSUER. check: the
    audit check that reports an entry which this signer did not sign, or which is of another federation (spec 9.3).
    """

    name: str
    cls: type
    signer: str
    check: str

    def signer_of(self, message: object) -> str:
        """The name that must be the signer of this message."""
        return self.signer if self.signer in (COORDINATOR, ISSUER) else getattr(message, self.signer)

    @property
    def in_round(self) -> bool:
        """Whether such an entry belongs to a round."""
        return any(field.name == "round" for field in fields(self.cls))


_declared: list[MessageType] = []


def _message(name: str, *, signer: str, check: str) -> Callable[[Class], Class]:
    """Registers the class below as a type of message."""

    def declare(cls: Class) -> Class:
        _declared.append(MessageType(name, cls, signer, check))
        return cls

    return declare


@_message("genesis", signer=COORDINATOR, check="I2")
@dataclass(frozen=True)
class Genesis:
    """Entry 0, by the log's key: what federation this log is about."""

    federation: PartyId
    policy: BlobHash  # the signed policy file, byte for byte
    model: BlobHash  # d float64 little-endian, the initial model
    approvals: BlobHash | None  # of the parties that the policy demands them of; null where it demands none
    receipts: Reserved


@_message("round-key", signer="trustee", check="I4")
@dataclass(frozen=True)
class RoundKey:
    """By a trustee: its HPKE public key for one round."""

    federation: PartyId
    policy: Hash32  # SHA-256 of the policy file: a key that was made under another one opens no round of this
    round: int
    trustee: PartyId
    public_key: Annotated[bytes, Exactly(1216)]  # X-Wing: ML-KEM-768 encapsulation key, then X25519
    draw: Annotated[bytes, Exactly(80)] | None  # what it gives to the draw of clients, see protocols.participation
    rotation: Reserved


@_message("round-open", signer=COORDINATOR, check="I4")
@dataclass(frozen=True)
class RoundOpen:
    """By the coordinator: the round's model, seed and keys."""

    federation: PartyId
    round: int
    policy: BlobHash
    model: BlobHash  # the global model that clients train from
    checkpoint_size: int  # the last cosigned checkpoint before this entry ...
    checkpoint_root: Hash32  # ... and its root
    seed: Hash32  # of checkpoint_root, round and round_key_hashes: expands to the a_j
    changes: Hash32  # root of the tree over the KeyRotations and Revocations so far, see protocols.membership
    round_keys: Annotated[tuple[int, ...], AtMost(64)]  # log indices of the RoundKey entries, ascending
    round_key_hashes: Annotated[tuple[Hash32, ...], AtMost(64)]  # their entry hashes, in the same order
    retry_of: int | None  # the aborted round that this one repeats on the same model
    draw: Hash32 | None  # by which clients are drawn; of a repetition that of the round it repeats; null for all
    noise: Reserved


@dataclass(frozen=True)
class EncryptedShare:
    """One trustee's share of a submission, sealed for the key that the trustee has in this round."""

    trustee: PartyId
    blob: BlobHash  # HPKE encapsulation then ciphertext


@_message("submission", signer="client", check="I5")
@dataclass(frozen=True)
class Submission:
    """By a client: its one message of the round."""

    federation: PartyId
    round: int
    round_open: Hash32  # entry hash
    client: PartyId
    commitments: BlobHash  # rows * 33 bytes, private row last
    ciphertext: BlobHash  # packed residues of the data rows
    share_commitments: BlobHash  # E_0 .. E_{t-1}, t * 33 bytes
    shares: Annotated[tuple[EncryptedShare, ...], AtMost(64)]  # one per round key, in RoundOpen's order
    proof: BlobHash  # the validity proof
    range_commitments: BlobHash | None  # commitments of the range tables, null without a coordinate bound
    weight_commitments: BlobHash | None  # commitments of the tables of a hidden weight, null without private weights
    noise_commitments: BlobHash | None  # commitments of the noise tables, null without the proof of encryption
    privacy_noise_commitments: BlobHash | None  # of the tables of noise for privacy, null without it
    weight: int | None  # w, by which the update and its bounds are multiplied; null where the policy has none stated


@dataclass(frozen=True)
class Dispute:
    """What a trustee says against a submission: its log index, and the check that failed (see protocols.reasons)."""

    index: int
    reason: str


@_message("share-ack", signer="trustee", check="I8")
@dataclass(frozen=True)
class ShareAck:
    """By a trustee: whose shares it holds and has verified, and whose it disputes."""

    federation: PartyId
    round: int
    round_open: Hash32
    trustee: PartyId
    first: int  # log index of the entry after RoundOpen
    answers: Annotated[str, AtMost(65535), Matches(_SAID)]  # of the entries from `first` on, one each
    digest: Hash32  # of (client, submission entry hash) pairs of `acknowledged`, see protocols.cohorts

    @property
    def acknowledged(self) -> tuple[int, ...]:
        """Log indices of the submissions whose shares it holds, ascending."""
        return tuple(index for index, said in self.said().items() if said == HELD)

    @property
    def disputed(self) -> tuple[Dispute, ...]:
        """What it disputes, ascending by log index."""
        return tuple(Dispute(index, said) for index, said in self.said().items() if said != HELD)

    def said(self) -> dict[int, str]:
        """What it says of each submission that it speaks of, by log index, ascending: a word of ANSWERS."""
        return read(self.first, self.answers, ANSWERS)


@dataclass(frozen=True)
class Detail:
    """For people: what is behind the exclusion of a submission, such as the check that failed."""

    index: int  # of the Submission
    text: Text


@dataclass(frozen=True)
class Exclusion:
    """A submission that a cohort leaves out: its log index, the reason (see protocols.reasons), and the detail that
    comes with it, empty for none."""

    index: int
    reason: str
    detail: str


@_message("cohort-closed", signer=COORDINATOR, check="I7")
@dataclass(frozen=True)
class CohortClosed:
    """By the coordinator: who is summed and which trustees are asked to release."""

    federation: PartyId
    round: int
    round_open: Hash32
    first: int  # log index of the entry after RoundOpen
    verdicts: Annotated[str, AtMost(65535), Matches(_JUDGED)]  # on the entries from `first` to this, one each
    details: Annotated[tuple[Detail, ...], AtMost(DETAILS)]  # on the exclusions, ascending; re-derived by nobody
    trustees: Annotated[tuple[PartyId, ...], AtMost(64)]  # Q, in the policy's order
    digest: Hash32  # binds round_open, the (client, submission entry hash) pairs of accepted, and trustees

    @property
    def accepted(self) -> tuple[int, ...]:
        """A: log indices of Submissions, ascending."""
        return tuple(index for index, said in self.judged().items() if said == ACCEPTED)

    @property
    def excluded(self) -> tuple[Exclusion, ...]:
        """The other Submissions that it judges, ascending by log index."""
        details = {each.index: each.text for each in self.details}
        left_out = ((index, said) for index, said in self.judged().items() if said != ACCEPTED)
        return tuple(Exclusion(index, reason, details.get(index, "")) for index, reason in left_out)

    def verdict(self, index: int) -> str | None:
        """Its verdict on the entry at this log index; None for none."""
        place = index - self.first
        return VERDICTS.get(self.verdicts[place]) if 0 <= place < len(self.verdicts) else None

    def judged(self) -> dict[int, str]:
        """Its verdict on each submission, by log index, ascending: a word of VERDICTS."""
        return read(self.first, self.verdicts, VERDICTS)


@_message("release", signer="trustee", check="I8")
@dataclass(frozen=True)
class Release:
    """By a trustee in Q: the sum over the cohort of its shares."""

    federation: PartyId
    round: int
    cohort: Hash32  # entry hash of CohortClosed
    digest: Hash32  # CohortClosed.digest
    trustee: PartyId
    share: BlobHash  # summed share values then summed blinding, 32 bytes each, big-endian


@_message("aggregate", signer=COORDINATOR, check="I9")
@dataclass(frozen=True)
class Aggregate:
    """By the coordinator: the opened sum."""

    federation: PartyId
    round: int
    cohort: Hash32
    releases: Annotated[tuple[int, ...], AtMost(64)]  # log indices of the t Releases used, ascending
    ciphertext: BlobHash  # packed sum of ciphertexts
    key: BlobHash  # N int32 little-endian, K
    plaintext: BlobHash  # d int64 little-endian, U
    blindings: BlobHash  # data_rows * 32 bytes, summed row blindings
    noise: Reserved
    weight: Reserved


@_message("round-closed", signer=COORDINATOR, check="I11")
@dataclass(frozen=True)
class RoundClosed:
    """By the coordinator: the server step's result."""

    federation: PartyId
    round: int
    aggregate: Hash32  # entry hash
    model: BlobHash  # next global model
    optimizer: BlobHash | None  # optimizer state after the step (float64), null where the rule has none


@dataclass(frozen=True)
class MissingParty:
    """A party whose part an aborted round lacks, and why: a reason of `protocols.rounds.closing`."""

    party: PartyId
    reason: Annotated[str, AtMost(64)]


@_message("round-aborted", signer=COORDINATOR, check="I8")
@dataclass(frozen=True)
class RoundAborted:
    """By the coordinator: the round ends without an aggregate."""

    federation: PartyId
    round: int
    round_open: Hash32
    cohort: Hash32 | None  # entry hash of CohortClosed if the round had opened
    reason: Annotated[str, AtMost(64)]  # one of protocols.reasons.ABORTS
    missing: Annotated[tuple[MissingParty, ...], AtMost(64)]


@_message("federation-closed", signer=COORDINATOR, check="I4")
@dataclass(frozen=True)
class FederationClosed:
    """By the coordinator, between rounds: the log ends here, and nothing may follow."""

    federation: PartyId
    policy: Hash32  # of the policy file
    model: BlobHash  # the model of the last RoundClosed, or the initial one: it is final
    rounds: int  # how many were opened
    reason: Annotated[str, AtMost(64)]  # one of protocols.reasons.ENDINGS


@_message("key-rotation", signer="party", check="I3")
@dataclass(frozen=True)
class KeyRotation:
    """By a client or trustee, with the key that it replaces: from this entry on another key is in force."""

    federation: PartyId
    policy: Hash32  # of the policy file
    party: PartyId
    previous: PublicKey  # in force before this entry, which it signs
    public_key: PublicKey  # in force from this entry on
    possession: Signature  # by `public_key`, see protocols.envelopes.KeyPossession


@_message("revocation", signer=ISSUER, check="I3")
@dataclass(frozen=True)
class Revocation:
    """By the issuer: from this entry on, a client or trustee takes no part."""

    federation: PartyId
    policy: Hash32  # of the policy file
    party: PartyId
    reason: Annotated[str, AtMost(64)]  # one of protocols.reasons.REVOCATIONS


RoundMessage = (
    RoundKey | RoundOpen | Submission | ShareAck | CohortClosed | Release | Aggregate | RoundClosed | RoundAborted
)
Message = Genesis | RoundMessage | KeyRotation | Revocation | FederationClosed

MESSAGE_TYPES: Registry[MessageType] = Registry("message type", "message-type", _declared, lambda each: each.name)
_BY_CLASS = {each.cls: each for each in MESSAGE_TYPES}


def type_of(message: object) -> MessageType:
    """The facts of a message's type; raises Misuse for what is no message."""
    found = _BY_CLASS.get(type(message))
    if found is None:
        raise Misuse(f"expected a message, found {type(message).__name__}")
    return found


RESERVED_TYPES = frozenset({"receipt", "noise-claim"})
