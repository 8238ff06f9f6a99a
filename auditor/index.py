"""The log, filed by rounds: what every check reads, and none changes (spec 9.3).

What stays in memory is small: decoded messages for the few entries a round has of its own, and for a submission its
hashes. Bulk data stays on disk.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Generic, TypeVar

from auditor.findings import Findings
from auditor.reports.results import Place
from auditor.standing import in_force
from protocols import messages
from protocols.membership import Membership
from protocols.noise_trustees import noise_trustees, training_clients
from protocols.policy import Member, Policy
from protocols.privacy.differencing import Cohort
from protocols.weights import Summands

MISSING = "missing"  # the type of an entry that is not here
CIPHERTEXT = "ciphertext"  # the one role whose blobs may be missing: those that an Aggregate sums, and the sums

Body = TypeVar("Body", bound=messages.Message)


@dataclass(frozen=True, slots=True)
class Record(Generic[Body]):
    """One decoded entry: its position, the hash of its envelope, its message."""

    index: int
    hash: bytes
    message: Body


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """What is kept of a submission: 32-byte hashes, and whose it is. `entry_hash` is the envelope's."""

    index: int
    entry_hash: bytes
    client: str
    round: int
    round_open: bytes
    commitments: bytes
    ciphertext: bytes
    share_commitments: bytes
    proof: bytes
    share_trustees: tuple[str, ...]
    share_blobs: tuple[bytes, ...]
    extras: tuple[tuple[str, bytes], ...]  # commitments that only some policies ask for, by field
    weight: int | None  # what it states
    noise: bool = False  # it is by a trustee, whose submissions are noise alone


@dataclass(frozen=True)
class Round:
    """The entries of one round number, by type, in log order. More than one of what must be single is a finding."""

    number: int
    keys: tuple[Record[messages.RoundKey], ...] = ()
    opens: tuple[Record[messages.RoundOpen], ...] = ()
    submissions: Mapping[int, SubmissionRecord] = field(default_factory=lambda: MappingProxyType({}))
    acks: tuple[Record[messages.ShareAck], ...] = ()
    cohorts: tuple[Record[messages.CohortClosed], ...] = ()
    releases: tuple[Record[messages.Release], ...] = ()
    aggregates: tuple[Record[messages.Aggregate], ...] = ()
    closes: tuple[Record[messages.RoundClosed], ...] = ()
    aborts: tuple[Record[messages.RoundAborted], ...] = ()

    @property
    def open(self) -> Record[messages.RoundOpen] | None:
        """The first RoundOpen: the one that counts."""
        return self.opens[0] if self.opens else None

    @property
    def cohort(self) -> Record[messages.CohortClosed] | None:
        """The first CohortClosed: the one that counts."""
        return self.cohorts[0] if self.cohorts else None

    @property
    def aggregate(self) -> Record[messages.Aggregate] | None:
        """The first Aggregate: the one that counts."""
        return self.aggregates[0] if self.aggregates else None

    @property
    def closed(self) -> Record[messages.RoundClosed] | None:
        """The first RoundClosed: the one that counts."""
        return self.closes[0] if self.closes else None

    @property
    def aborted(self) -> Record[messages.RoundAborted] | None:
        """The first RoundAborted: the one that counts."""
        return self.aborts[0] if self.aborts else None

    @property
    def finished(self) -> bool:
        """Whether the log says how the round ended."""
        return bool(self.closes or self.aborts)

    def accepted(self) -> list[SubmissionRecord]:
        """The cohort's submissions that exist in this round; what does not exist is a finding of I7."""
        if self.cohort is None:
            return []
        chosen = dict.fromkeys(self.cohort.message.accepted)
        return [self.submissions[index] for index in chosen if index in self.submissions]

    @property
    def clients(self) -> set[str]:
        """Whose updates are in the cohort."""
        return {record.client for record in self.accepted() if not record.noise}

    def charged(self) -> Iterator[tuple[Record[messages.CohortClosed], AbstractSet[str]]]:
        """Each CohortClosed, with the clients that it charges: whose submissions of this round it accepts."""
        for entry in self.cohorts:
            records = [self.submissions[index] for index in entry.message.accepted if index in self.submissions]
            yield entry, {record.client for record in records if not record.noise}

    @property
    def summands(self) -> Summands:
        """How many are in the cohort, and how heavy they are by what they state."""
        return Summands.of(each.weight for each in self.accepted())


@dataclass(frozen=True, slots=True)
class DeferredFinding:
    """A finding kept for the check that will report it."""

    where: Place
    expected: str
    found: str
    sure: bool = True  # whatever the entries are that are missing before it


@dataclass(frozen=True, slots=True)
class Heading:
    """The type and round of one entry, in log order.

    Round 0: what belongs to no round. Empty type: an entry that does not decode; MISSING: one that is not here.
    """

    type: str
    round: int


@dataclass(frozen=True, eq=False)
class Index:
    """The log, filed.

    headings: one item an entry. blobs: for each blob that an entry names, the roles it is named for (one word;
    joined by plus signs where there are more) and the first entry that names it. by_hash: entry hash to index, for
    every type that others refer to by hash. faults: what this pass found, under the number of the check that
    reports it. changes: rotations and revocations, in log order. memberships: for each RoundOpen, by its index, the
    root over the changes before it. ending: the first FederationClosed, with who was in force there. disowned:
    indices of entries that the party they name did not sign for this federation, with its key in force: it is not
    to blame for what is wrong with them. doubtful: indices of entries of which that cannot be told, since an entry
    that is missing before may have changed who is in force. unsettled: of these, each RoundOpen that does not show
    that none has. trustees: those in force from each size of the log on, ascending; none without a policy. left:
    clients that were revoked, and the size of the log from which on.
    """

    rounds: Mapping[int, Round] = field(default_factory=lambda: MappingProxyType({}))
    genesis: tuple[Record[messages.Genesis], ...] = ()
    headings: tuple[Heading, ...] = ()
    blobs: Mapping[bytes, tuple[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    faults: Mapping[str, tuple[DeferredFinding, ...]] = field(default_factory=lambda: MappingProxyType({}))
    by_hash: Mapping[bytes, int] = field(default_factory=lambda: MappingProxyType({}))
    changes: tuple[Record[messages.KeyRotation | messages.Revocation], ...] = ()
    memberships: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))
    ending: tuple[Record[messages.FederationClosed], Membership] | None = None
    disowned: frozenset[int] = frozenset()
    doubtful: frozenset[int] = frozenset()
    unsettled: frozenset[int] = frozenset()
    trustees: tuple[tuple[int, tuple[Member, ...]], ...] = ()
    left: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def report(self, findings: Findings) -> None:
        """Hand the faults of one check to it."""
        for fault in self.faults.get(findings.number, ()):
            with findings.whether(fault.sure):
                findings.add(fault.where, fault.expected, fault.found)

    def in_order(self) -> Iterator[Round]:
        """The rounds, ascending by number."""
        for number in sorted(self.rounds):
            yield self.rounds[number]

    def trustees_at(self, policy: Policy, size: int) -> tuple[Member, ...]:
        """The trustees in force after the first `size` entries, with their keys: those of the policy, if it was not
        known when the log was filed."""
        return in_force(self.trustees, size) if self.trustees else policy.trustees

    def clients_at(self, policy: Policy, size: int) -> tuple[str, ...]:
        """Ids of the clients that train, and are in force after the first `size` entries, likewise."""
        return tuple(each.id for each in training_clients(policy) if self.left.get(each.id, size + 1) > size)

    def noise_at(self, policy: Policy, size: int) -> frozenset[str]:
        """Ids of the trustees who add noise, and are in force then."""
        return frozenset(each for each in noise_trustees(policy) if self.left.get(each, size + 1) > size)

    def charges_before(self, size: int) -> Counter[str]:
        """In how many cohorts each client is that were closed in the first `size` entries; only those in any."""
        counts = ((client, bisect.bisect_left(entries, size)) for client, entries in self._charges.items())
        return Counter({client: count for client, count in counts if count})

    @cached_property
    def _charges(self) -> Mapping[str, list[int]]:
        """The CohortClosed entries that charge each client, ascending."""
        charged = [cohort for found in self.rounds.values() for cohort in found.charged()]
        entries: dict[str, list[int]] = {}
        for entry, clients in sorted(charged, key=lambda each: each[0].index):
            for client in clients:
                entries.setdefault(client, []).append(entry.index)
        return entries

    def settled_before(self, index: int) -> int:
        """Size of the log when the last round that closed before entry `index` did; 1, of a Genesis, for none. What
        counts for a draw counts as it was then."""
        before = bisect.bisect_left(self._closings, index)
        return self._closings[before - 1] + 1 if before else 1

    @cached_property
    def _closings(self) -> list[int]:
        return sorted(entry.index for found in self.rounds.values() for entry in found.closes)

    def opened_before(self, number: int, model: bytes) -> AbstractSet[str] | None:
        """The latest cohort, as client ids, of the rounds before `number` on one model that reached CohortClosed; None
        for none."""
        numbers, cohorts = self._opened.get(model, ([], []))
        before = bisect.bisect_left(numbers, number)
        return cohorts[before - 1] if before else None

    def unclosed_before(self, number: int, model: bytes) -> Round | None:
        """The round of that cohort, if it did not close: what is opened on the model then is a repetition."""
        numbers, _ = self._opened.get(model, ([], []))
        before = bisect.bisect_left(numbers, number)
        found = self.rounds[numbers[before - 1]] if before else None
        return found if found is not None and found.closed is None else None

    def recent_before(self, number: int) -> list[Cohort]:
        """The one or two cohorts that were opened last, on any model, in the rounds before `number`, in this order."""
        numbers, cohorts = self._consecutive
        before = bisect.bisect_left(numbers, number)
        return cohorts[max(before - 2, 0) : before]

    @cached_property
    def _consecutive(self) -> tuple[list[int], list[Cohort]]:
        numbers: list[int] = []
        cohorts: list[Cohort] = []
        for found in self.in_order():
            if found.cohort is not None and found.open is not None:
                numbers.append(found.number)
                cohorts.append(Cohort(found.open.message.model, found.clients))
        return numbers, cohorts

    def model_before(self, index: int, initial: bytes) -> bytes:
        """The model of the last RoundClosed before entry `index`, `initial` if there is none."""
        closed = (found.closed for found in reversed(list(self.in_order())) if found.closed is not None)
        return next((entry.message.model for entry in closed if entry.index < index), initial)

    @cached_property
    def _opened(self) -> dict[bytes, tuple[list[int], list[AbstractSet[str]]]]:
        """Of each model, the numbers of the rounds on it that reached CohortClosed, ascending, and their cohorts."""
        opened: dict[bytes, tuple[list[int], list[AbstractSet[str]]]] = {}
        for found in self.in_order():
            if found.cohort is not None and found.open is not None:
                numbers, cohorts = opened.setdefault(found.open.message.model, ([], []))
                numbers.append(found.number)
                cohorts.append(found.clients)
        return opened


def prunable_blobs(index: Index) -> set[bytes]:
    """The blobs that may be missing (spec 9.4): ciphertexts of Aggregates, and of submissions that are accepted in a
    round with one, unless another submission, or another field, names them too. What is behind any other verdict can be
    judged only with it."""
    summed, needed = set[bytes](), set[bytes]()
    for found in index.rounds.values():
        accepted = {record.index for record in found.accepted()} if found.aggregate is not None else set[int]()
        for record in found.submissions.values():
            (summed if record.index in accepted else needed).add(record.ciphertext)
        summed.update(entry.message.ciphertext for entry in found.aggregates)
    return {name for name in summed - needed if index.blobs[name][0] == CIPHERTEXT}


def number_of(message: messages.Message) -> int:
    """The round an entry belongs to; 0 for what belongs to none."""
    number: int = getattr(message, "round", 0)
    return number


def label(index: int, message: messages.Message) -> Place:
    """How findings name an entry, e.g. `entry 17 (submission by clinic-3, round 2)`."""
    kind = messages.type_of(message)
    party = kind.signer_of(message) if kind.signer in ("client", "trustee") else getattr(message, "party", None)
    return Place(entry=index, type=kind.name, party=party, round=number_of(message) if kind.in_round else None)
