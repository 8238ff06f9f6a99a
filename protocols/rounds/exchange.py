"""What parties hand to each other and to whoever stores and carries it (spec 8.4).

A coordinator's question, and what answers it:

    Observe       of a trustee   Cosignature
    OfferKey      of a trustee   RoundKeyOffer
    Submit        of a client    SubmissionPackage
    Acknowledge   of a trustee   Acknowledgement
    ReleaseShare  of a trustee   ReleasePackage

Every question has a checkpoint. A trustee that has seen less of the log follows it there first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from proofs.errors import Rejected, VeriflError
from protocols.envelopes import Entry
from protocols.log.writer import TranscriptWriter
from protocols.submissions import check_blob


@dataclass(frozen=True)
class Observe:
    """Follow the log to this checkpoint, of `size` entries, and cosign it."""

    note: bytes
    size: int


@dataclass(frozen=True)
class OfferKey:
    """Make a key for this round, the next one by the published checkpoint `note`."""

    round: int
    note: bytes


@dataclass(frozen=True)
class Submit:
    """Take part in this round, which is open under the published checkpoint `note`."""

    round: int
    note: bytes


@dataclass(frozen=True)
class Acknowledge:
    """Say whose shares of this round are good, of all that the published checkpoint `note` covers."""

    round: int
    note: bytes


@dataclass(frozen=True)
class ReleaseShare:
    """Release the share of the sum over this round's cohort, which the published checkpoint `note` covers."""

    round: int
    note: bytes


Question = Observe | OfferKey | Submit | Acknowledge | ReleaseShare


@dataclass(frozen=True)
class Cosignature:
    """From a trustee: its line under a checkpoint."""

    line: bytes


@dataclass(frozen=True)
class SignedAnswer:
    """One that is to be an entry of the log: its bytes, as they were sent."""

    entry: bytes

    @cached_property
    def opened(self) -> Entry:
        """What they say, decoded once, whoever asks; the signature is not checked. Raises Malformed."""
        return Entry.open(self.entry)


@dataclass(frozen=True)
class RoundKeyOffer(SignedAnswer):
    """From a trustee: the signed RoundKey."""


@dataclass(frozen=True)
class Acknowledgement(SignedAnswer):
    """From a trustee: the signed ShareAck."""


@dataclass(frozen=True)
class SubmissionPackage(SignedAnswer):
    """From a client: the signed Submission, and every blob that it names, by hash."""

    blobs: Mapping[bytes, bytes]

    def check(self, sizes: Iterable[tuple[bytes, int]]) -> None:
        """Every blob of `sizes`, (hash, size) in each of its roles, is there and has both.

        Raises Rejected("blob-missing"), ("blob-size"), ("blob-hash").
        """
        for name, size in sizes:
            blob = self.blobs.get(name)
            if blob is None:
                raise Rejected("blob-missing", f"the blob {name.hex()}", "none")
            check_blob(name, size, blob)


@dataclass(frozen=True)
class ReleasePackage(SignedAnswer):
    """From a trustee: the signed Release, and the blob that it names."""

    blob: bytes


Answer = Cosignature | RoundKeyOffer | SubmissionPackage | Acknowledgement | ReleasePackage


@dataclass(frozen=True)
class Refusal:
    """Something a coordinator was sent and did not log."""

    entry: bytes
    error: VeriflError


@dataclass(frozen=True)
class Publication:
    """From the coordinator, to be stored: first the blobs (by hash), then the entries, in order, at the log's end.

    aborted: the reason, if the entries end the round without an aggregate. refused: what was left out, and why. note: a
    checkpoint that has its quorum, to be published after all that; empty for none.
    """

    entries: tuple[Entry, ...]
    blobs: Mapping[bytes, bytes] = field(default_factory=dict)
    aborted: str | None = None
    refused: tuple[Refusal, ...] = ()
    note: bytes = b""

    def write(self, writer: TranscriptWriter) -> None:
        """Store it, in this order."""
        for blob in self.blobs.values():
            writer.put_blob(blob)
        if self.entries:
            writer.append(self.entries)
        if self.note:
            writer.publish(self.note)


NOTHING = Publication(())
