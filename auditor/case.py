"""What the checks of one audit share: the transcript, the policy, and what earlier checks derived (spec 9.3)."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.arguments import no_policy, read_policy
from auditor.authenticity import foreign_policy, is_log_signed
from auditor.findings import Unavailable
from auditor.gaps import Torn, unknown_before
from auditor.memory import Memory
from auditor.reports.results import CheckpointSummary
from proofs.errors import Malformed, Misuse, Rejected
from protocols.cohorts import MOST_TRUSTEES, Choice
from protocols.envelopes import open_policy
from protocols.hashes import sha256
from protocols.lattice.parameters import LatticeParameters
from protocols.log.files import Damaged, Missized
from protocols.log.reader import TranscriptReader
from protocols.log.remote import Remote
from protocols.log.snapshot import SnapshotReader
from protocols.log.tiles import bundle_of
from protocols.parameters import Inequality, argument_parameters, check_policy
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from protocols.steps.registry import step_constants

if TYPE_CHECKING:
    from auditor.findings import Findings
    from auditor.index import Index, Round
    from proofs.engine import Engine
    from protocols.log.checkpoint import SignedNote

Advance = Callable[[int, int], None]

# Conditions of spec 4.5 that may fail without making sizes and arithmetic undefined: the other checks still run.
HARMLESS = frozenset(
    {
        "quorum-intersection",
        "min-cohort",
        "cohort-range",
        "roster-size",
        "max-rounds",
        "max-rounds-limit",
        "cohort-entry",
        "roster-changes",
        "required-checks",
        "tensor-names",
        "tensor-types",
        "lattice-security",
        "decryption",
    }
)
# Conditions on who the parties are; I3 reports these.
IDENTITY = frozenset(
    {
        "trustee-ids",
        "trustee-keys",
        "client-ids",
        "client-keys",
        "roster-order",
        "one-key-per-id",
        "one-id-per-key",
        "role-names",
        "log-key",
        "issuer-key",
    }
)


OTHERS = "because I2 failed: this is the log of another policy"


@dataclass(frozen=True)
class ReplayedSum:
    """SHA-256 of a cohort's packed ciphertext sum, and of the plaintext that it decrypts to, or why it does not."""

    ciphertext: bytes
    plaintext: bytes | Malformed | Rejected


@dataclass
class Case:
    """One audit in progress. Checks read what earlier ones filled in; `Unavailable` where that could not be done.

    policy_fault: why the policy does not open. roots: root of the log at each published size (I1). own_faults: for
    each submission, why it is at fault by itself, in the words of `protocols.cohorts`, or None (I5, I6).
    failed_proofs: for each submission with an invalid proof, the verifier's check that it fails (I6). replayed: sums
    of cohorts all of whose ciphertexts I6 read, by round, for I9. choices: the cohort that the rule gives a round
    (I7). releases: log index of the valid release of each trustee, by round (I8). wrong_releases: log indices of those
    that prove their trustee at fault (I8). memory: what this auditor verified in earlier audits, too. pruned:
    ciphertexts that are not there (I1). foreign: federation and policy of the log, if these are others than the
    audit's. cut: None, or how many entries are judged of a log that is not to its end what a checkpoint signs (I1).
    gaps: indices of entries that are judged to be missing, as others are there or none (I1). notes: the checkpoints
    that decode (I1). unread: submissions of which nobody can tell whether they are malformed,
    copied or have an invalid proof, as the log says or may have meant, since blobs are damaged (I6). copies: those
    that may be replays: they name a blob of one that cannot be judged where only their own belongs (I6). doubted:
    releases that cannot be judged for that (I8). likely: the cohorts of `choices` if the log is right about what is
    unread (I7). failed: numbers of the checks that failed so far.
    """

    path: Path | Remote
    reader: TranscriptReader
    engine_name: str
    step: Advance
    unpinned: bool
    pinned_policy: PinnedPolicy | None = None
    policy_fault: Malformed | Rejected | None = None
    conditions: tuple[Inequality, ...] = ()
    foreign: tuple[str, bytes] | None = None
    checkpoint: CheckpointSummary | None = None
    filed: Index | None = None
    cut: int | None = None
    gaps: frozenset[int] = frozenset()
    notes: list[SignedNote] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    pruned: set[bytes] = field(default_factory=set)
    own_faults: dict[int, str | None] = field(default_factory=dict)
    failed_proofs: dict[int, str] = field(default_factory=dict)
    replayed: dict[int, ReplayedSum] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)
    copies: set[int] = field(default_factory=set)
    doubted: set[int] = field(default_factory=set)
    choices: dict[int, Choice] = field(default_factory=dict)
    likely: dict[int, Choice] = field(default_factory=dict)
    releases: dict[int, dict[str, int]] = field(default_factory=dict)
    wrong_releases: set[int] = field(default_factory=set)
    memory: Memory = field(default_factory=Memory)
    failed: set[str] = field(default_factory=set)

    @classmethod
    def open(
        cls,
        path: Path | Remote,
        policy: Path | bytes | None,
        engine: str,
        step: Advance,
        reader: TranscriptReader | None = None,
        memory: Memory | None = None,
    ) -> Case:
        """Open the directory and the policy. Raises OSError where either cannot be read at all, Misuse for a policy
        that was given and is none."""
        if isinstance(path, Path):
            next(path.iterdir(), None)  # raises what the system says, if there is no such directory
        reader = reader or (TranscriptReader(path) if isinstance(path, Path) else SnapshotReader(path))
        case = cls(path, reader, engine, step, policy is None)
        case.memory = case.memory if memory is None else memory
        try:
            case._open_policy(_policy_bytes(case.reader, policy))
        except (Malformed, Rejected) as error:
            if policy is not None:
                raise no_policy(policy, error) from None
            case.policy_fault = error
        other = None if case.pinned_policy is None else foreign_policy(case.reader, case.pinned_policy)
        if policy is not None:
            case.foreign = other
        elif other is not None:
            case._close_policy(other[1])
        return case

    def _close_policy(self, named: bytes) -> None:
        """The transcript's own policy is not the one that its Genesis names: nothing is judged by it."""
        self.policy_fault = Damaged(
            "policy.cbor", f"the policy {named.hex()}, which Genesis names", str(self.policy_hash)
        )
        self.pinned_policy, self.conditions = None, ()

    def _open_policy(self, data: bytes) -> None:
        policy, _ = open_policy(data)
        self.pinned_policy = PinnedPolicy(policy, data, sha256(data))
        self.conditions = tuple(check_policy(policy))

    @property
    def policy(self) -> Policy:
        """The policy that is audited against."""
        if self.pinned_policy is None:
            raise Unavailable("because I2 failed: the policy does not open")
        return self.pinned_policy.policy

    @cached_property
    def pinned(self) -> PinnedPolicy:
        """The policy with the sizes and parameters that follow from it, which are known to be computable."""
        policy = self.policy
        failing = [each.name for each in self.conditions if not each.holds and each.name not in HARMLESS | IDENTITY]
        if self.pinned_policy is None or failing or len(policy.trustees) > MOST_TRUSTEES:
            raise Unavailable("because I2 failed: the policy's parameters cannot be used")
        try:
            step_constants(policy.step)
            LatticeParameters.from_rule(policy.lattice)
            argument_parameters(policy)
        except (Misuse, Rejected):
            raise Unavailable("because I2 failed: the policy's parameters cannot be used") from None
        return self.pinned_policy

    def choice(self, found: Round) -> Choice:
        """The cohort that the rule gives a round, nobody in one that was not opened."""
        if found.open is None:
            return Choice((), (), {})
        if found.number not in self.choices:
            raise Unavailable("because I7 could not choose the cohort")
        return self.choices[found.number]

    @property
    def index(self) -> Index:
        """The log, filed, as far as a checkpoint signs what is there."""
        if self.foreign is not None:
            raise Unavailable(OTHERS)
        if self.filed is None:
            raise Unavailable("because I1 failed: no checkpoint signs the entries that are here")
        return self.filed

    def is_of(self, note: SignedNote, roots: Mapping[int, bytes] | None = None) -> bool:
        """Whether the log's key signed this checkpoint, and the entries that are here have its root. roots: others."""
        head, policy = note.checkpoint, self.pinned_policy
        known = self.roots if roots is None else roots
        return policy is not None and known.get(head.size) == head.root and is_log_signed(policy.policy, note)

    def signed_size(self, roots: Mapping[int, bytes] | None = None) -> int:
        """The largest size of which this is so; 0 for none."""
        longest = sorted(self.notes, key=lambda note: note.checkpoint.size, reverse=True)
        return next((note.checkpoint.size for note in longest if self.is_of(note, roots)), 0)

    @cached_property
    def torn(self) -> Torn:
        """The rounds that a missing entry may be of; once I1 has filed the log."""
        return Torn() if self.filed is None else Torn.of(self.filed.headings, sorted(self.gaps))

    def is_whole(self, number: int) -> bool:
        """Whether all entries of a round are here."""
        return not self.torn.touches(number, number)

    def rounds(self, findings: Findings) -> Iterator[Round]:
        """The rounds, ascending. What is found in one that may be torn is unjudged, unless the check says otherwise."""
        for found in self.index.in_order():
            with findings.whether(self.is_whole(found.number)):
                yield found

    @cached_property
    def _unknown_before(self) -> tuple[set[int], set[int]]:
        return unknown_before(self.index, self.torn)

    def knows_before(self, found: Round) -> bool:
        """Whether P of a round, and what `strict_consecutive` looks at, is what it is, whatever entries are missing."""
        same, recent = self._unknown_before
        return found.number not in (same | recent if self.policy.strict_consecutive else same)

    def has_summed(self, found: Round) -> bool:
        """Whether all that a sum and its opening rest on is here: the cohort, its submissions, the releases."""
        if self.is_whole(found.number):
            return True
        if found.open is None or found.cohort is None or found.aggregate is None:
            return False
        members = all(index in found.submissions for index in found.cohort.message.accepted)
        return members and self.gaps.isdisjoint(found.aggregate.message.releases)

    def entry(self, index: int) -> bytes | None:
        """The entry at `index`, as it is in the directory now; None if it cannot be had."""
        bundle = bundle_of(index, self.reader.size)
        return self.reader.some_entries(bundle)[index - bundle.start]

    def is_signed(self, size: int) -> bool:
        """Whether one of the checkpoints of this size is."""
        return any(self.is_of(note) for note in self.notes if note.checkpoint.size == size)

    @property
    def federation(self) -> str | None:
        """The federation's name, if the policy opens."""
        return None if self.pinned_policy is None else self.pinned_policy.policy.federation

    @property
    def policy_hash(self) -> str | None:
        """SHA-256 of the policy file in hexadecimal, if it opens."""
        return None if self.pinned_policy is None else self.pinned_policy.hash.hex()

    @property
    def required(self) -> frozenset[str]:
        """Numbers of the checks that the policy does not allow to be skipped."""
        return frozenset() if self.pinned_policy is None else frozenset(self.pinned_policy.policy.required_checks)

    @cached_property
    def engine(self) -> Engine:
        """The arithmetic, loaded when a check first needs it."""
        from proofs.engines import get_engine

        return get_engine(self.engine_name)

    def blob(self, name: bytes, size: int) -> bytes:
        """A blob of exactly `size` bytes with SHA-256 `name`; raises Damaged, Missized, each as "blob-..."."""
        data = self.reader.blob(name, size)
        if len(data) != size:
            raise Missized("blob-size", f"{size} bytes", f"{len(data)} bytes")
        return data

    @cached_property
    def published(self) -> list[int]:
        """The sizes in `roots`, ascending; once I1 has filled it."""
        return sorted(self.roots)

    def last_published(self, size: int) -> int | None:
        """The largest published size that is at most `size`."""
        before = bisect.bisect_right(self.published, size)
        return self.published[before - 1] if before else None

    def is_covered(self, index: int, answered: int) -> bool:
        """Whether a published checkpoint covers entry `index`, and not yet the entries from `answered` on."""
        last = self.last_published(answered)
        return last is not None and last > index

    @property
    def trusted(self) -> tuple[str, ...]:
        """What an unpinned audit takes on the transcript's word."""
        if not self.unpinned:
            return ()
        if self.pinned_policy is None:
            return ("nothing: the transcript's own policy does not open, or is another than its Genesis names",)
        policy = self.policy
        return (
            f"the policy file itself, {self.pinned_policy.hash.hex()}",
            f"its issuer's key, {policy.issuer_key.hex()}",
            f"the log's and coordinator's key, {policy.log_key.hex()}",
            *(f"the key of trustee {member.id}, {member.public_key.hex()}" for member in policy.trustees),
            f"the roster of {len(policy.roster)} clients and their keys",
            f"t = {policy.threshold} of m = {len(policy.trustees)} trustees, at most f = {policy.corrupt} corrupt",
            f"cohorts of {policy.min_cohort} to {policy.max_cohort} clients",
            f"the norm bound, {policy.update.norm_bound} units of 2^-{policy.update.fraction_bits}",
            f"the initial model, {policy.initial_model.hex()}",
        )


def _policy_bytes(reader: TranscriptReader, policy: Path | bytes | None) -> bytes:
    """The pinned file's bytes, or the transcript's own; at most one byte more than a policy can have."""
    if policy is None:
        return reader.policy()
    if isinstance(policy, bytes):
        return policy
    return read_policy(policy)
