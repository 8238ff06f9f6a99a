"""A client's receipts, on disk: `receipts/round-<N>.cbor` in its own directory."""

from __future__ import annotations

from pathlib import Path

from proofs.errors import Rejected
from protocols.pinned import PinnedPolicy
from protocols.receipts import Receipt, decode_receipt, encode_receipt, verify_receipt
from protocols.verdicts import ACCEPTED
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import make_private_directory, write_private


def receipt_file(directory: PartyDirectory, number: int) -> Path:
    """Where a client's receipt for a round is."""
    return directory.receipts / f"round-{number}.cbor"


def keep_receipt(directory: PartyDirectory, pinned: PinnedPolicy, client: str, number: int, receipt: Receipt) -> None:
    """Verify a client's receipt for round `number`, and keep it, unless there is one from before.

    Raises Malformed or Rejected, as `verify_receipt` does; Rejected("client"), ("round") for somebody else's, or that
    of another round.
    """
    file = receipt_file(directory, number)
    if file.exists():
        return
    found = verify_receipt(pinned, receipt)
    if found.client != client:
        raise Rejected("client", client, found.client)
    if found.round != number:
        raise Rejected("round", str(number), str(found.round))
    make_private_directory(file.parent)
    write_private(file, encode_receipt(receipt))


def kept_receipts(directory: PartyDirectory) -> list[Path]:
    """The files of all receipts that a client keeps."""
    return list(directory.receipts.glob("round-*.cbor")) if directory.receipts.is_dir() else []


def accepted_rounds(directory: PartyDirectory, pinned: PinnedPolicy) -> int:
    """In how many closed cohorts a client is, by the receipts that it keeps; raises as `verify_receipt` for one that
    was changed since."""
    receipts = (decode_receipt(file.read_bytes()) for file in kept_receipts(directory))
    return sum(verify_receipt(pinned, receipt).verdict == ACCEPTED for receipt in receipts)
