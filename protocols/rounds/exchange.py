"""What parties hand to each other and to whoever stores and carries it (spec 8.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proofs.errors import Rejected, VeriflError
from protocols.submissions import check_blob


@dataclass(frozen=True)
class SubmissionPackage:
    """From a client: the signed Submission, and every blob that it names, by hash."""

    entry: bytes
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
class Release:
    """From a trustee: the signed KeyShare, and the blob that it names."""

    entry: bytes
    blob: bytes


@dataclass(frozen=True)
class Refusal:
    """Something a coordinator was sent and did not log."""

    entry: bytes
    error: VeriflError


@dataclass(frozen=True)
class Publication:
    """From the coordinator, to be stored: first the blobs (by hash), then the entries, in order, at the log's end.

    aborted: the reason, if the entries end the round without an aggregate. refused: what was left out, and why.
    """

    entries: tuple[bytes, ...]
    blobs: Mapping[bytes, bytes] = field(default_factory=dict)
    aborted: str | None = None
    refused: tuple[Refusal, ...] = ()


NOTHING = Publication(())
