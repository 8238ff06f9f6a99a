"""An answer as one file, for those who put files where a coordinator finds them (spec 8.13).

The file is named by its SHA-256, so whoever puts the same answer there twice puts it there once.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from proofs.errors import Malformed, Rejected
from protocols.blob_sizes import size_of
from protocols.blobs import BLOB_LIMIT, blob_fields, blob_hash
from protocols.encoding import ENTRY_LIMIT, decode, encode
from protocols.log.checkpoint import cosigner_of
from protocols.membership import Membership
from protocols.messages import AtMost, Submission
from protocols.pinned import PinnedPolicy
from protocols.rounds.exchange import (
    Acknowledgement,
    Answer,
    Cosignature,
    ReleasePackage,
    RoundKeyOffer,
    SubmissionPackage,
)
from protocols.rounds.rules import check_author
from protocols.rounds.versions import EXCHANGE_VERSION, SOFTWARE, Software, check_version

BLOBS_LIMIT = 128  # in one answer
_FRAMING = 4096  # bytes: of the record, and of the heads of at most BLOBS_LIMIT blobs
_COSIGNATURE, _ROUND_KEY, _SUBMISSION, _ACK, _RELEASE = (
    "cosignature",
    "round-key",
    "submission",
    "share-ack",
    "release",
)
_ENTRIES = (_ROUND_KEY, _SUBMISSION, _ACK, _RELEASE)


@dataclass(frozen=True)
class AnswerFile:
    """kind: "cosignature", or the type of the entry. said: the signature line, or the entry. blobs: those that the
    entry names, each once, ascending by hash. software: what its party runs, for people."""

    version: int
    kind: Annotated[str, AtMost(32)]
    said: Annotated[bytes, AtMost(ENTRY_LIMIT)]
    blobs: Annotated[tuple[Annotated[bytes, AtMost(BLOB_LIMIT)], ...], AtMost(BLOBS_LIMIT)]
    software: Software = SOFTWARE


@dataclass(frozen=True)
class Received:
    """A decoded answer, of which nothing is verified. party: who says that it signed. round: None for a cosignature.
    software: what the party says that it runs."""

    answer: Answer
    party: str
    round: int | None
    software: str


def answer_limit(pinned: PinnedPolicy, party: str) -> int:
    """The most bytes that an answer of this client or trustee can have under the policy."""
    blobs = pinned.share_size
    if any(member.id == party for member in pinned.policy.roster):
        trustees = len(pinned.policy.trustees)
        sizes = {each: size_of(pinned, each.role) for each in blob_fields(Submission)}
        blobs = sum(size if each.item is None else trustees * size for each, size in sizes.items())
    return ENTRY_LIMIT + blobs + _FRAMING


def encode_answer(answer: Answer) -> bytes:
    """Canonical bytes; raises Misuse for values outside their fields."""
    kind, said, blobs = _parts(answer)
    ordered = tuple(sorted(blobs, key=blob_hash))
    limit = ENTRY_LIMIT + sum(map(len, ordered)) + _FRAMING
    return encode(AnswerFile(EXCHANGE_VERSION, kind, said, ordered), limit)


def answer_kind(answer: Answer) -> tuple[str, int]:
    """Its `AnswerFile.kind`, and the bytes of what is said and of the blobs."""
    kind, said, blobs = _parts(answer)
    return kind, len(said) + sum(map(len, blobs))


def decode_answer(data: bytes, limit: int) -> Received:
    """Inverse of `encode_answer`, for at most `limit` bytes; total on hostile bytes. Raises Malformed, or
    Rejected("exchange-version")."""
    file = decode(AnswerFile, data, limit)
    check_version(file.version)
    names = [blob_hash(blob) for blob in file.blobs]
    if any(later <= earlier for earlier, later in pairwise(names)):
        raise Malformed("AnswerFile.blobs", "each once, ascending by hash", "another order")
    if file.kind == _COSIGNATURE:
        _expect_blobs(file, 0)
        return Received(Cosignature(file.said), cosigner_of(file.said), None, file.software)
    if file.kind not in _ENTRIES:
        raise Malformed("AnswerFile.kind", f"{_COSIGNATURE} or {' or '.join(_ENTRIES)}", ascii(file.kind))
    answer = _answer(file, dict(zip(names, file.blobs, strict=True)))
    envelope = answer.opened.envelope
    if envelope.type != file.kind:
        raise Malformed("AnswerFile.said", f"a {file.kind!a}", envelope.type)
    return Received(answer, envelope.signer, getattr(envelope.message, "round", None), file.software)


def check_submission_of(
    pinned: PinnedPolicy, membership: Membership, asked: Set[str], number: int, received: Received
) -> None:
    """That this is a submission to round `number` by one of `asked`, whom it names and who signed it.

    Raises Rejected("answer"), ("foreign"), ("round"), and what `check_author` raises.
    """
    if not isinstance(received.answer, SubmissionPackage):
        raise Rejected("answer", "a submission", type(received.answer).__name__)
    if received.party not in asked:
        raise Rejected("foreign", "an answer of a client of the policy", f"one of {received.party}")
    if received.round != number:
        raise Rejected("round", str(number), str(received.round))
    check_author(pinned, membership, received.answer.opened.envelope)


def _parts(answer: Answer) -> tuple[str, bytes, tuple[bytes, ...]]:
    match answer:
        case Cosignature(line):
            return _COSIGNATURE, line, ()
        case RoundKeyOffer(entry):
            return _ROUND_KEY, entry, ()
        case SubmissionPackage(entry, blobs):
            return _SUBMISSION, entry, tuple(blobs.values())
        case Acknowledgement(entry):
            return _ACK, entry, ()
        case ReleasePackage(entry, blob):
            return _RELEASE, entry, (blob,)


def _answer(
    file: AnswerFile, blobs: dict[bytes, bytes]
) -> RoundKeyOffer | SubmissionPackage | Acknowledgement | ReleasePackage:
    if file.kind == _SUBMISSION:
        return SubmissionPackage(file.said, blobs)
    if file.kind == _RELEASE:
        _expect_blobs(file, 1)
        return ReleasePackage(file.said, file.blobs[0])
    _expect_blobs(file, 0)
    return RoundKeyOffer(file.said) if file.kind == _ROUND_KEY else Acknowledgement(file.said)


def _expect_blobs(file: AnswerFile, count: int) -> None:
    if len(file.blobs) != count:
        raise Malformed("AnswerFile.blobs", f"{count} for a {file.kind}", str(len(file.blobs)))
