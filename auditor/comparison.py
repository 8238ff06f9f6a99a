"""Two copies of one federation's log: the same history, or a fork with its evidence (spec 9.10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.copies import Copy, SignedHead, describe, open_copy
from auditor.report import printable
from proofs.errors import Malformed, Rejected
from protocols.pinned import PinnedPolicy

FORK, ROLLBACK, REFUSED = "fork", "rollback", "refused"


@dataclass(frozen=True)
class Contradiction:
    """Why a transcript does not continue a checkpoint that is known. kind: FORK, ROLLBACK (it ends before), or REFUSED
    (it is no signed history). heads: the known checkpoint and, if there is one, the transcript's."""

    kind: str
    what: str
    heads: tuple[SignedHead, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "what": self.what, "checkpoints": [head.to_dict() for head in self.heads]}


@dataclass(frozen=True)
class Fork:
    """Two signed checkpoints of one log, of which neither extends the other.

    index: the first entry in which the histories differ; both checkpoints cover it. entries: what it is in each, as
    `copies.describe` says it. liars: trustees who cosigned both.
    """

    index: int
    heads: tuple[SignedHead, SignedHead]
    entries: tuple[str, str]

    @property
    def liars(self) -> tuple[str, ...]:
        first, second = self.heads
        return tuple(name for name in first.cosigners if name in second.cosigners)

    def to_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "entries": list(self.entries),
            "checkpoints": [head.to_dict() for head in self.heads],
            "cosigned_both": list(self.liars),
        }


@dataclass(frozen=True)
class Comparison:
    """sizes: number of entries in each, None for a copy that could not be read. refused: what is wrong with copies that
    are none. pinned: None, or the hash of the policy that copy A was believed about."""

    where: tuple[str, str]
    sizes: tuple[int | None, int | None]
    refused: tuple[tuple[str, str], ...]
    fork: Fork | None
    believed: str | None

    @property
    def consistent(self) -> bool:
        """Both copies are rightly signed, and one is a prefix of the other."""
        return not self.refused and self.fork is None

    def to_dict(self) -> dict[str, Any]:
        return {
            "consistent": self.consistent,
            "copies": [{"transcript": where, "size": size} for where, size in zip(self.where, self.sizes, strict=True)],
            "refused": [{"transcript": where, "why": why} for where, why in self.refused],
            "fork": None if self.fork is None else self.fork.to_dict(),
            "policy_believed": self.believed,
        }


def compare(first: Path, second: Path, pinned: PinnedPolicy, believed: str | None = None) -> Comparison:
    """Compare two transcript directories; raises OSError where one cannot be read at all."""
    copies: list[Copy | None] = []
    refused = []
    for path in (first, second):
        try:
            copies.append(open_copy(path, pinned))
        except (Malformed, Rejected) as error:
            copies.append(None)
            refused.append((str(path), printable(str(error))))
    a, b = copies
    sizes = (None if a is None else a.size, None if b is None else b.size)
    fork = None if a is None or b is None else find_fork(a, b)
    return Comparison((str(first), str(second)), sizes, tuple(refused), fork, believed)


def find_fork(a: Copy, b: Copy) -> Fork | None:
    """Where two copies part, with the smallest checkpoints that show it, of one size if there are such."""
    index = next((i for i, (x, y) in enumerate(zip(a.hashes, b.hashes, strict=False)) if x != y), None)
    if index is None:
        return None
    common = sorted(size for size in set(a.heads) & set(b.heads) if size > index)
    heads = (a.heads[common[0]], b.heads[common[0]]) if common else (a.covering(index), b.covering(index))
    return Fork(index, heads, (describe(index, a.entry(index)), describe(index, b.entry(index))))


def text(comparison: Comparison) -> Iterator[str]:
    """The comparison, line by line."""
    for name, where, size in zip("AB", comparison.where, comparison.sizes, strict=True):
        yield f"  {name}  {where}{'' if size is None else f', {size} entries'}"
    if comparison.believed is not None:
        yield f"  UNPINNED: policy {comparison.believed} and the keys in it were taken from A"
    for where, why in comparison.refused:
        yield f"  {where} is no transcript of this federation: {why}"
    if comparison.fork is not None:
        yield from fork_text(comparison.fork, ("A", "B"))
    yield ""
    if comparison.refused:
        yield "REJECTED: no two signed histories to compare"
    elif comparison.fork is not None:
        yield f"FORK: the histories differ from entry {comparison.fork.index} on"
    else:
        yield f"CONSISTENT: {_relation(comparison)}"


def fork_text(fork: Fork, names: tuple[str, str]) -> Iterator[str]:
    """The evidence of a fork, line by line; notes stand as they are, to be copied and verified."""
    yield ""
    yield f"the first {fork.index} entries are the same; then"
    for name, entry in zip(names, fork.entries, strict=True):
        yield f"  in {name}: {entry}"
    for name, head in zip(names, fork.heads, strict=True):
        yield from head_text(name, head)
    yield ""
    both = ", ".join(fork.liars) or "no trustee"
    yield f"the log's key signed both; of the trustees, {both} cosigned both"


def head_text(name: str, head: SignedHead) -> Iterator[str]:
    """A signed checkpoint as evidence."""
    yield ""
    yield f"signed in {name}: {head.head.size} entries, cosigned by {', '.join(head.cosigners)}"
    yield from head.note.decode().splitlines()


def _relation(comparison: Comparison) -> str:
    a, b = comparison.sizes
    if a == b:
        return f"both are the same history of {a} entries"
    shorter, longer = ("A", "B") if (a or 0) < (b or 0) else ("B", "A")
    return f"{shorter} is {longer} as of its first {min(a or 0, b or 0)} entries"
