"""Approvals of a policy as files: what each party signs, and what they are for the coordinator, all together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected
from protocols.approvals import Given, approve, check_approvals, collect, read_approval
from protocols.identities import SigningKey
from protocols.pinned import PinnedPolicy
from protocols.policy import approvers
from verifl.enrolment.requests import read_statement


def approval_by(pinned: PinnedPolicy, key: SigningKey) -> bytes:
    """The approval of the party whose key this is; raises Misuse where the policy demands none of it."""
    try:
        return approve(pinned, key)
    except Rejected as error:
        raise Misuse(f"key: {error.expected}: found {error.found}") from None


def gathered(pinned: PinnedPolicy, files: Sequence[Path]) -> bytes:
    """All approvals that the policy demands, as the log has them. Raises Misuse, naming the file or who is missing."""
    try:
        return collect(pinned, [_read(pinned, path) for path in files])
    except Rejected as error:
        raise Misuse(str(error)) from None


def _read(pinned: PinnedPolicy, path: Path) -> Given:
    try:
        return read_approval(pinned, read_statement(path))
    except (Malformed, Rejected) as error:
        raise Misuse(f"{path}: {error}") from None


def read_approvals(pinned: PinnedPolicy, path: Path | None) -> bytes:
    """What `verifl policy collect` wrote; nothing for no file. Raises Misuse for anything else."""
    if path is None:
        return b""
    with path.open("rb") as file:
        data = file.read(pinned.approvals_size + 1)
    try:
        check_approvals(pinned, data)
    except (Malformed, Rejected) as error:
        raise Misuse(f"{path}: {error}") from None
    return data


def require_approvals(pinned: PinnedPolicy, approvals: bytes) -> None:
    """Raise Misuse where a federation is to begin without the approvals that its policy demands."""
    if pinned.approvals_size and not approvals:
        raise Misuse(
            f"approvals: the policy demands those of {len(approvers(pinned.policy))} parties before the first round; "
            "`verifl policy collect` gathers them, --approvals gives them"
        )
