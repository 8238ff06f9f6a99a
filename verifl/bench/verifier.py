"""The server's verification, and one trustee's work, for the submissions that `client` left in a directory.

verify          one proof, in one batch of all clients
verify alone    one proof by itself
trustee         one client's share: opened, decoded, verified in one batch of all clients
release         the sum of the shares of all clients
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.errors import Malformed, Rejected
from proofs.verifier import Claim, verify, verify_batch
from protocols import hpke, sharing
from protocols.blobs import blob_hash
from protocols.encoding import decode
from protocols.envelopes import open_envelope
from protocols.messages import Submission
from protocols.pinned import PinnedPolicy
from protocols.submissions import claim_of
from verifl.bench.client import PACKAGE_LIMIT, TRUSTEE, Submitted
from verifl.bench.stopwatch import Stopwatch


def measure_verifier(directory: str, repeat: int) -> dict[str, Any]:
    """Phases over `repeat` runs, after a warm-up. Raises Malformed or Rejected if a submission does not hold."""
    folder, watch = Path(directory), Stopwatch()
    pinned = PinnedPolicy.open((folder / "policy.cbor").read_bytes())
    private = (folder / "round-key").read_bytes()
    files = sorted(folder.glob("submission-*"))
    submitted = [decode(Submitted, file.read_bytes(), PACKAGE_LIMIT) for file in files]
    for run in range(repeat + 1):
        _verify(watch, pinned, submitted)
        _act_as_trustee(watch, pinned, private, submitted)
        if run == 0:
            watch.clear()
    return {"phases": watch.phases()}


def _verify(watch: Stopwatch, pinned: PinnedPolicy, submitted: Sequence[Submitted]) -> None:
    engine = get_engine("native")
    claims = [_claim(pinned, each) for each in submitted]
    with watch.phase("verify", among=len(claims)):
        verdicts = verify_batch(engine, pinned.argument, claims)
    _require(verdicts)
    with watch.phase("verify alone"):
        verify(engine, pinned.argument, claims[0])


def _claim(pinned: PinnedPolicy, submitted: Submitted) -> Claim:
    message = open_envelope(submitted.entry).message
    if not isinstance(message, Submission):
        raise Malformed("submission", "a submission", type(message).__name__)
    named = {blob_hash(blob): blob for blob in submitted.blobs}
    return claim_of(pinned, message, submitted.seed, lambda name, _: named[name])


def _act_as_trustee(watch: Stopwatch, pinned: PinnedPolicy, private: bytes, submitted: Sequence[Submitted]) -> None:
    engine = get_engine("native")
    with watch.phase("trustee", among=len(submitted)):
        shares, verdicts = _receive(engine, pinned, private, submitted)
    _require(verdicts)
    with watch.phase("release"):
        sharing.sum_shares(shares)


def _receive(
    engine: Engine, pinned: PinnedPolicy, private: bytes, submitted: Sequence[Submitted]
) -> tuple[list[sharing.Share], list[Rejected | None]]:
    clear = [hpke.open_sealed(private, each.info, each.sealed) for each in submitted]
    shares = [sharing.Share.decode(data, pinned.secret_length) for data in clear]
    commitments = [each.share_commitments for each in submitted]
    return shares, sharing.verify_shares(engine, TRUSTEE + 1, shares, commitments, pinned.policy.threshold)


def _require(verdicts: Sequence[Malformed | Rejected | None]) -> None:
    for verdict in verdicts:
        if verdict is not None:
            raise verdict
