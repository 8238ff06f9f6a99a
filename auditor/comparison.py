"""Two copies of one federation's log: the same history, or a fork with its evidence (spec 9.10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.copies import Copy, OtherPolicy, SignedHead, describe, read_copy, refused_as, signed_at
from auditor.filing import Filing
from auditor.findings import counted
from auditor.index import prunable_blobs
from auditor.reports.results import Outcome, printable
from proofs.errors import Malformed, Rejected
from protocols.log.connection import Remote
from protocols.log.merkle import consistency_proof
from protocols.log.reader import TranscriptReader
from protocols.log.snapshot import SnapshotReader
from protocols.log.tiles import blob_path
from protocols.messages import COORDINATOR
from protocols.pinned import PinnedPolicy

FORK, ROLLBACK, REFUSED = "fork", "rollback", "refused"
CONTRADICTIONS = {
    Outcome.BROKEN: "a rule was broken, as whoever holds the log's key signed both",
    Outcome.OTHER: "it is another federation's, or another policy's",
    Outcome.DAMAGED: "it is damaged, incomplete or too old; fetch it again",
}
REFUSALS = {
    Outcome.OTHER: "one is of another federation or policy; give the policy and the copies of one",
    Outcome.DAMAGED: "one is damaged or incomplete; fetch it again",
}


@dataclass(frozen=True)
class Contradiction:
    """Why a transcript does not continue a checkpoint that is known. kind: FORK, ROLLBACK (it ends before), or REFUSED
    (it is no signed history). heads: the known checkpoint and, if there is one, the transcript's. outcome: the kind of
    no; a fork is a broken rule, anything else may be the copy's fault."""

    kind: str
    what: str
    heads: tuple[SignedHead, ...] = ()
    outcome: Outcome = Outcome.DAMAGED

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `checkpoints` as `SignedHead.to_dict` gives them."""
        return {
            "kind": self.kind,
            "outcome": self.outcome.value,
            "what": self.what,
            "checkpoints": [head.to_dict() for head in self.heads],
        }


def contradicted(
    path: Path | Remote,
    pinned: PinnedPolicy,
    known: SignedHead,
    against: Callable[[Copy, SignedHead], Contradiction | None],
    reader: TranscriptReader | None = None,
) -> Contradiction | None:
    """What of the transcript at `path` contradicts a checkpoint that is known, as `against` finds it. A fork comes
    first, also in a copy that is refused: to spoil it hides nothing that is signed. Raises OSError."""
    reader = reader or SnapshotReader(path)
    try:
        copy = read_copy(path, pinned, reader)
        found, fault = against(copy, known), copy.fault
    except OtherPolicy as error:
        return Contradiction(REFUSED, printable(str(error)), (known,), refused_as(error))
    except (Malformed, Rejected) as error:
        found, fault = _another_of_its_size(pinned, known, reader), error
    if fault is None or (found is not None and found.kind == FORK):
        return found
    return Contradiction(REFUSED, printable(str(fault)), (known,), refused_as(fault))


def _another_of_its_size(pinned: PinnedPolicy, known: SignedHead, reader: TranscriptReader) -> Contradiction | None:
    """Two checkpoints of one size with two roots convict whoever signed them, without any entry."""
    size = known.head.size
    other = signed_at(pinned.policy, reader, size)
    if other is None or other.head.root == known.head.root:
        return None
    what = f"the log's key signed another root over {size} entries"
    return Contradiction(FORK, what, (known, other), Outcome.BROKEN)


@dataclass(frozen=True)
class ForkEvidence:
    """Two checkpoints that the log's key signed, the first in copy A, of which neither extends the other.

    trustees: who cosigned both with one key. rotated: who cosigned each with another key of theirs.
    root, proof: the longer one's log has this root at the shorter one's size, and a consistency proof shows it. So the
    two notes, root and proof convict without the copies. Of one size, `proof` is empty and `root` the second's.
    """

    heads: tuple[SignedHead, SignedHead]
    root: bytes
    proof: tuple[bytes, ...]

    @property
    def trustees(self) -> tuple[str, ...]:
        """Names of those who cosigned both with one key."""
        return tuple(name for name, one_key in self._both() if one_key)

    @property
    def rotated(self) -> tuple[str, ...]:
        """Names of those who cosigned both, each with another key."""
        return tuple(name for name, one_key in self._both() if not one_key)

    def _both(self) -> Iterator[tuple[str, bool]]:
        first, second = (dict(zip(head.cosigners, head.keys, strict=True)) for head in self.heads)
        for name, key in first.items():
            if name in second:
                yield name, second[name] == key

    def to_dict(self) -> dict[str, Any]:
        """Plain values; hashes and roots in hexadecimal."""
        return {
            "checkpoints": [head.to_dict() for head in self.heads],
            "cosigned_both": list(self.trustees),
            "cosigned_both_with_two_keys": list(self.rotated),
            "root_of_longer_at_shorter": self.root.hex(),
            "consistency_proof": [each.hex() for each in self.proof],
        }


@dataclass(frozen=True)
class Fork:
    """Two histories that the log's key signed, of which neither is a prefix of the other.

    index: the first entry in which they differ; all checkpoints in the evidence cover it. entries: what it is in each,
    as `copies.describe` says it. evidence: first that against the holder of the log's key, and whoever cosigned the
    same two checkpoints; then what there is against further trustees.
    """

    index: int
    log_key: bytes
    entries: tuple[str, str]
    evidence: tuple[ForkEvidence, ...]

    @property
    def heads(self) -> tuple[SignedHead, SignedHead]:
        """Of the first evidence: the checkpoint in copy A, then the one in copy B."""
        return self.evidence[0].heads

    @property
    def liars(self) -> tuple[str, ...]:
        """Trustees who cosigned both histories beyond where they part."""
        return tuple(sorted({name for each in self.evidence for name in each.trustees}))

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the first evidence stands at the top, others under `further`."""
        first, *further = (each.to_dict() for each in self.evidence)
        return {
            "index": self.index,
            "entries": list(self.entries),
            "signed_both": {"party": COORDINATOR, "log_key": self.log_key.hex()},
            **first,
            "further": further,
        }


@dataclass(frozen=True)
class _Blobs:
    """Of one copy: paths of blobs that are not those that its log names, and how many it does not have: those that may
    be pruned (spec 9.4), and those without which an audit rejects."""

    spoilt: tuple[str, ...] = ()
    pruned: int = 0
    needed: int = 0

    @property
    def lacking(self) -> int:
        return self.pruned + self.needed


@dataclass(frozen=True)
class Comparison:
    """sizes: number of entries in each, None for a copy that could not be read. refused: what is wrong with copies that
    are none. fork: also where a copy is refused for its cosignatures alone. believed: None, or the hash of the policy
    that copy A was believed about. blobs: of each copy. refusals: of each in `refused`, which kind of no it is."""

    where: tuple[str, str]
    sizes: tuple[int | None, int | None]
    refused: tuple[tuple[str, str], ...]
    fork: Fork | None
    believed: str | None
    blobs: tuple[_Blobs, _Blobs] = (_Blobs(), _Blobs())
    refusals: tuple[Outcome, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Whether one copy continues the other and no blob in either is another than the log names; else which no."""
        if self.fork is not None:
            return Outcome.BROKEN
        if Outcome.OTHER in self.refusals:
            return Outcome.OTHER
        spoilt = any(each.spoilt for each in self.blobs)
        return Outcome.DAMAGED if self.refused or spoilt else Outcome.ACCEPTED

    @property
    def consistent(self) -> bool:
        """Both copies are rightly signed and cosigned, and one is a prefix of the other."""
        return not self.refused and self.fork is None

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what `compare --format json` prints."""
        return {
            "consistent": self.consistent,
            "outcome": self.outcome.value,
            "copies": [
                {
                    "transcript": where,
                    "size": size,
                    "spoilt_blobs": list(blobs.spoilt),
                    "missing_blobs": blobs.lacking,
                    "missing_prunable": blobs.pruned,
                }
                for where, size, blobs in zip(self.where, self.sizes, self.blobs, strict=True)
            ],
            "refused": [{"transcript": where, "why": why} for where, why in self.refused],
            "fork": None if self.fork is None else self.fork.to_dict(),
            "policy_believed": self.believed,
        }

    def events(self) -> list[dict[str, Any]]:
        """The same as JSON lines: one for each copy, one for a fork if there is one, then one with the rest."""
        whole = self.to_dict()
        copies, fork = whole.pop("copies"), whole.pop("fork")
        lines = [{"event": "copy", **copy} for copy in copies]
        lines += [] if fork is None else [{"event": "fork", **fork}]
        return [*lines, {"event": "compare", **whole}]


def compare(
    first: Path | Remote, second: Path | Remote, pinned: PinnedPolicy, believed: str | None = None
) -> Comparison:
    """Compare two transcript directories; raises OSError where one cannot be read at all."""
    copies: list[Copy | None] = []
    refused, refusals = [], []
    for path in (first, second):
        fault: Malformed | Rejected | None
        try:
            copies.append(copy := read_copy(path, pinned))
            fault = copy.fault
        except (Malformed, Rejected) as error:
            copies.append(None)
            fault = error
        if fault is not None:
            refused.append((str(path), printable(str(fault))))
            refusals.append(refused_as(fault))
    a, b = copies
    sizes = (None if a is None else a.size, None if b is None else b.size)
    fork = None if a is None or b is None else find_fork(a, b, pinned.policy.log_key)
    blobs = (_blobs(a), _blobs(b))
    return Comparison((str(first), str(second)), sizes, tuple(refused), fork, believed, blobs, tuple(refusals))


def _blobs(copy: Copy | None) -> _Blobs:
    """What of the blobs that a copy's log names is not there, or another than it names."""
    if copy is None:
        return _Blobs()
    filing = Filing(None)
    for position in range(copy.size):
        filing.add(copy.entry(position))
    index = filing.index()
    prunable, held = prunable_blobs(index), {name: copy.reader.holds(name) for name in index.blobs}
    missing = {name for name, whether in held.items() if whether is None}
    spoilt = tuple(blob_path(name) for name, whether in held.items() if whether is False)
    return _Blobs(spoilt, len(missing & prunable), len(missing - prunable))


def find_fork(a: Copy, b: Copy, log_key: bytes) -> Fork | None:
    """Where two copies part, with the smallest checkpoints that show it, of one size if there are such."""
    index = next((i for i, (x, y) in enumerate(zip(a.hashes, b.hashes, strict=False)) if x != y), None)
    if index is None:
        return None
    common = sorted(size for size in set(a.heads) & set(b.heads) if size > index)
    first = (a.heads[common[0]], b.heads[common[0]]) if common else (a.covering(index), b.covering(index))
    evidence = [_evidence(a, b, first)]
    named = {*evidence[0].trustees}
    for name in sorted(_cosigners(a, index) & _cosigners(b, index)):
        further = _evidence(a, b, (_cosigned_by(name, a, index), _cosigned_by(name, b, index)))
        if name not in named and name in further.trustees:
            evidence.append(further)
            named |= {*further.trustees}
    entries = (describe(index, a.entry(index)), describe(index, b.entry(index)))
    return Fork(index, log_key, entries, tuple(evidence))


def _evidence(a: Copy, b: Copy, heads: tuple[SignedHead, SignedHead]) -> ForkEvidence:
    first, second = (head.head.size for head in heads)
    shorter, longer = min(first, second), max(first, second)
    copy = a if first > second else b
    return ForkEvidence(heads, copy.root(shorter), tuple(consistency_proof(copy.hashes[:longer], shorter)))


def _cosigners(copy: Copy, index: int) -> set[str]:
    """Who cosigned anything of a copy that covers entry `index`."""
    return {name for size, head in copy.heads.items() if size > index for name in head.cosigners}


def _cosigned_by(name: str, copy: Copy, index: int) -> SignedHead:
    """The smallest checkpoint of a copy that covers entry `index` and that this trustee cosigned."""
    return copy.heads[min(size for size, head in copy.heads.items() if size > index and name in head.cosigners)]


def text(comparison: Comparison) -> Iterator[str]:
    """The comparison, line by line."""
    for name, where, size in zip("AB", comparison.where, comparison.sizes, strict=True):
        yield f"  {name}  {where}{'' if size is None else f', {size} entries'}"
    for name, blobs in zip("AB", comparison.blobs, strict=True):
        if blobs.spoilt:
            others = counted(len(blobs.spoilt), "blob")
            yield f"  {name} is damaged: {others} with other bytes than its log names, {blobs.spoilt[0]} first"
        if blobs.lacking:
            yield f"  {name} lacks {_lacking(blobs)}"
    if comparison.believed is not None:
        yield f"  UNPINNED: policy {comparison.believed} and the keys in it were taken from A"
    for where, why in comparison.refused:
        yield f"  {where} is no copy of this federation's log: {why}"
    if comparison.fork is not None:
        yield from fork_text(comparison.fork, ("A", "B"))
    yield ""
    yield _verdict(comparison)


def _lacking(blobs: _Blobs) -> str:
    """What is not there, and what becomes of an audit."""
    pruned = f"{counted(blobs.pruned, 'ciphertext')} that may be pruned"
    if not blobs.needed:
        return pruned
    needed = (
        f"{counted(blobs.needed, 'blob')} without which an audit rejects; fetch {'them' if blobs.needed > 1 else 'it'}"
    )
    return f"{pruned}, and {needed}" if blobs.pruned else needed


def _verdict(comparison: Comparison) -> str:
    if comparison.fork is not None:
        return f"FORK: the histories differ from entry {comparison.fork.index} on, and the log's key signed both"
    if comparison.refused:
        kind = REFUSALS[comparison.outcome]
        return f"REJECTED: no two signed histories to compare: {kind}"
    if comparison.outcome is Outcome.DAMAGED:
        return f"DAMAGED: {_relation(comparison)}, but not its blobs; fetch these again, or audit the other copy"
    return f"CONSISTENT: {_relation(comparison)}"


def fork_text(fork: Fork, names: tuple[str, str]) -> Iterator[str]:
    """The evidence of a fork, line by line; notes stand as they are, to be copied and verified."""
    yield ""
    yield f"the first {fork.index} entries are the same; then"
    for name, entry in zip(names, fork.entries, strict=True):
        yield f"  in {name}: {entry}"
    for position, evidence in enumerate(fork.evidence):
        for name, head in zip(names, evidence.heads, strict=True):
            yield from head_text(name, head)
        yield ""
        if position == 0:
            yield "evidence against the coordinator, whoever holds the log's key: it signed both"
            yield f"  log key {fork.log_key.hex()}"
        yield f"evidence against trustees: {', '.join(evidence.trustees) or 'none, no trustee'} cosigned both"
        for name in evidence.rotated:
            yield f"  {name} cosigned each with another key; one of them may have been a thief's"
        first, second = (head.head.size for head in evidence.heads)
        if first != second:
            yield f"  the longer has the root {evidence.root.hex()} at size {min(first, second)}; with"
            yield "  --format json, a consistency proof shows that"


def head_text(name: str, head: SignedHead) -> Iterator[str]:
    """A signed checkpoint as evidence."""
    yield ""
    yield f"signed in {name}: {head.head.size} entries, cosigned by {', '.join(head.cosigners) or 'nobody'}"
    yield from head.note.decode().splitlines()


def _relation(comparison: Comparison) -> str:
    a, b = comparison.sizes
    if a == b:
        return f"both are the same history of {a} entries"
    shorter, longer = ("A", "B") if (a or 0) < (b or 0) else ("B", "A")
    return f"{shorter} is {longer} as of its first {min(a or 0, b or 0)} entries"
