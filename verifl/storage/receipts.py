"""Each client's receipts, on disk: `clients/<id>/receipts/round-<N>.cbor` in the run's state directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from proofs.errors import Malformed, Rejected
from protocols.log.reader import TranscriptReader
from protocols.pinned import PinnedPolicy
from protocols.receipts import encode_receipt, make_receipts, verify_receipt
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.run_directory import RunDirectory
from verifl.storage.stores import make_private_directory, write_private


def receipt_file(state: Path, client: str, number: int) -> Path:
    """Where the receipt of a client for a round is."""
    return PartyDirectory(state / "clients" / client).receipts / f"round-{number}.cbor"


def keep_receipts(directory: RunDirectory, pinned: PinnedPolicy, number: int, note: Callable[[str], None]) -> None:
    """`write_receipts` for a round of the published transcript that has ended; `note` is told who refuses, and why."""
    reader = TranscriptReader(directory.transcript)
    entries = reader.entries(0, reader.size)
    for client, error in write_receipts(directory.state, pinned, reader.latest(), entries, number).items():
        note(f"round {number}: {client} refuses its receipt: {error}")


def write_receipts(
    state: Path, pinned: PinnedPolicy, note: bytes, entries: Sequence[bytes], number: int
) -> dict[str, Malformed | Rejected]:
    """Every client of round `number` verifies its receipt and keeps it, unless it has one from before.

    entries: the log under the checkpoint `note`. Returns why, for each client whose receipt does not hold.
    """
    refused: dict[str, Malformed | Rejected] = {}
    for client, receipt in make_receipts(pinned, note, entries, number).items():
        file = receipt_file(state, client, number)
        if file.exists():
            continue
        try:
            verify_receipt(pinned, receipt)
        except (Malformed, Rejected) as error:
            refused[client] = error
            continue
        make_private_directory(file.parent)
        write_private(file, encode_receipt(receipt))
    return refused
