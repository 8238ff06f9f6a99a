"""One pass over the log: every entry decoded, its signature checked, filed under its round (spec 9.3).

What stays in memory is small: decoded messages for the few entries a round has of its own, and for a submission its
hashes. Bulk data stays on disk. Nothing is judged here but encoding and signature; each fault is kept under the number
of the check that reports it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from auditor.findings import Findings
from auditor.reports.results import Place
from auditor.standing import Standing
from proofs.errors import Malformed, Rejected
from protocols import messages
from protocols.blobs import message_blobs
from protocols.envelopes import Envelope, check_signature, entry_hash, open_envelope
from protocols.membership import ENROLLED, Membership
from protocols.policy import Policy
from protocols.privacy.differencing import Cohort
from protocols.submissions import named_extras

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


@dataclass
class Round:
    """The entries of one round number, by type, in log order. More than one of what must be single is a finding."""

    number: int
    keys: list[Record[messages.RoundKey]] = field(default_factory=list)
    opens: list[Record[messages.RoundOpen]] = field(default_factory=list)
    submissions: dict[int, SubmissionRecord] = field(default_factory=dict)
    acks: list[Record[messages.ShareAck]] = field(default_factory=list)
    cohorts: list[Record[messages.CohortClosed]] = field(default_factory=list)
    releases: list[Record[messages.Release]] = field(default_factory=list)
    aggregates: list[Record[messages.Aggregate]] = field(default_factory=list)
    closes: list[Record[messages.RoundClosed]] = field(default_factory=list)
    aborts: list[Record[messages.RoundAborted]] = field(default_factory=list)

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


class Index:
    """The log, filed.

    headings: one item an entry. blobs: for each blob that an entry names, the roles it is named for (one word;
    joined by plus signs where there are more) and the first entry that names it. by_hash: entry hash to index, for
    every type that others refer to by hash. faults: what this pass found, under the number of the check that
    reports it. changes: rotations and revocations, in log order. memberships: for each RoundOpen, by its index, the
    root over the changes before it. ending: the first FederationClosed, with who was in force there. standing: who
    is in force, None without a policy. disowned: indices of entries that the party they name did not sign for this
    federation, with its key in force: it is not to blame for what is wrong with them. doubtful: indices of entries
    of which that cannot be told, since an entry that is missing before may have changed who is in force. unsettled:
    of these, each RoundOpen that does not show that none has.
    """

    def __init__(self, policy: Policy | None) -> None:
        self.rounds: dict[int, Round] = {}
        self.genesis: list[Record[messages.Genesis]] = []
        self.headings: list[Heading] = []
        self.blobs: dict[bytes, tuple[str, int]] = {}
        self.faults: dict[str, list[DeferredFinding]] = {}
        self.by_hash: dict[bytes, int] = {}
        self.changes: list[Record[messages.KeyRotation | messages.Revocation]] = []
        self.memberships: dict[int, bytes] = {}
        self.ending: tuple[Record[messages.FederationClosed], Membership] | None = None
        self.disowned: set[int] = set()
        self.standing = None if policy is None else Standing(policy)
        self.doubtful: set[int] = set()
        self.unsettled: set[int] = set()
        self._in_doubt = False
        self._policy = policy

    def add_missing(self) -> None:
        """The next entry is not here. It may be a rotation or revocation, until a RoundOpen shows that it is none; the
        first is the Genesis."""
        self._in_doubt = bool(self.headings)
        self.headings.append(Heading(MISSING, 0))

    def add(self, data: bytes) -> None:
        """File the next entry. Total on any bytes: what is wrong becomes a fault."""
        index = len(self.headings)
        try:
            envelope = open_envelope(data)
        except Malformed as error:
            self.headings.append(Heading("", 0))
            self._fault("I1", Place(entry=index).at(error.where), error.expected, error.found)
            return
        message = envelope.message
        if isinstance(message, Policy):  # open_envelope refuses it; the type does not say so
            raise Malformed(f"entry {index}", "a message", "a policy")
        name = label(index, message)
        self.headings.append(Heading(envelope.type, number_of(message)))
        check = messages.type_of(message).check
        is_change = isinstance(message, messages.KeyRotation | messages.Revocation)
        if self._policy is not None:
            if message.federation != self._policy.federation:
                self.disowned.add(index)
                self._fault(check, name.at("federation"), self._policy.federation, message.federation)
            elif is_change:
                self._change(index, name, data, envelope)
        if self.standing is not None and isinstance(message, messages.RoundClosed | messages.RoundAborted):
            self.standing.end_round(index)
        if not is_change and not self._is_signed(check, name, envelope):
            self.disowned.add(index)
        if self._in_doubt:
            self.doubtful.add(index)
        self._file(index, entry_hash(data), message)

    def report(self, findings: Findings) -> None:
        """Hand the faults of one check to it."""
        for fault in self.faults.get(findings.number, []):
            with findings.whether(fault.sure):
                findings.add(fault.where, fault.expected, fault.found)

    def in_order(self) -> Iterator[Round]:
        """The rounds, ascending by number."""
        for number in sorted(self.rounds):
            yield self.rounds[number]

    def opened_before(self, number: int, model: bytes) -> AbstractSet[str] | None:
        """The latest cohort, as client ids, of the rounds before `number` on one model that reached CohortClosed; None
        for none. To be asked once the log is filed."""
        numbers, cohorts = self._opened.get(model, ([], []))
        before = bisect.bisect_left(numbers, number)
        return cohorts[before - 1] if before else None

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
                cohorts.append(Cohort(found.open.message.model, {each.client for each in found.accepted()}))
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
                cohorts.append({record.client for record in found.accepted()})
        return opened

    def _name_blob(self, blob: bytes, role: str, index: int) -> None:
        roles, first = self.blobs.get(blob, (role, index))
        known = set(roles.split("+"))
        self.blobs[blob] = (roles if role in known else "+".join(sorted(known | {role})), first)

    def _fault(self, check: str, where: Place, expected: str, found: str, *, sure: bool = True) -> None:
        self.faults.setdefault(check, []).append(DeferredFinding(where, expected, found, sure))

    def _change(self, index: int, name: Place, data: bytes, envelope: Envelope) -> None:
        if self.standing is None:
            return
        try:
            self.standing.change(index, data, envelope)
        except Rejected as error:
            self._fault("I3", name.at(error.check), error.expected, error.found, sure=not self._in_doubt)

    def _is_signed(self, check: str, name: Place, envelope: Envelope) -> bool:
        """Whether the party that its type demands signed it, with its key in force. Whoever is out of force is I3's."""
        if self.standing is None:
            return False
        try:
            key = self.standing.key(envelope.type, envelope.signer)
        except Rejected as error:
            out_of_force = error.check == "revoked"
            self._fault("I3" if out_of_force else check, name.at("signer"), error.expected, error.found)
            return False
        try:
            check_signature(envelope, key)
        except Rejected as error:
            replaced = self.standing.replaced_at(envelope)
            sure = not self._in_doubt or envelope.signer == messages.COORDINATOR
            if replaced is None:
                self._fault(check, name.at("signature"), error.expected, error.found, sure=sure)
            else:
                found = f"one by the key that entry {replaced} replaced"
                self._fault("I3", name.at("signature"), error.expected, found)
            return False
        return True

    def _file(self, index: int, hashed: bytes, message: messages.Message) -> None:
        for role, blob in message_blobs(message):
            self._name_blob(blob, role, index)
        if isinstance(message, messages.Genesis):
            self.genesis.append(Record(index, hashed, message))
            self.by_hash.setdefault(hashed, index)
            return
        if isinstance(message, messages.KeyRotation | messages.Revocation):
            self.changes.append(Record(index, hashed, message))
            return
        if isinstance(message, messages.FederationClosed):
            membership = ENROLLED if self.standing is None else self.standing.membership
            self.ending = self.ending or (Record(index, hashed, message), membership)
            return
        found = self.rounds.setdefault(message.round, Round(message.round))
        if isinstance(message, messages.Submission):
            found.submissions[index] = _record(index, hashed, message)
            return
        self.by_hash.setdefault(hashed, index)
        match message:
            case messages.RoundKey():
                found.keys.append(Record(index, hashed, message))
            case messages.RoundOpen():
                if self.standing is not None:
                    self.memberships[index] = self.standing.membership.root()
                    self._in_doubt = self._in_doubt and message.changes != self.memberships[index]
                    self.unsettled.update({index} if self._in_doubt else ())
                found.opens.append(Record(index, hashed, message))
            case messages.ShareAck():
                found.acks.append(Record(index, hashed, message))
            case messages.CohortClosed():
                found.cohorts.append(Record(index, hashed, message))
            case messages.Release():
                found.releases.append(Record(index, hashed, message))
            case messages.Aggregate():
                found.aggregates.append(Record(index, hashed, message))
            case messages.RoundClosed():
                found.closes.append(Record(index, hashed, message))
            case messages.RoundAborted():
                found.aborts.append(Record(index, hashed, message))


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


def _record(index: int, hashed: bytes, message: messages.Submission) -> SubmissionRecord:
    return SubmissionRecord(
        index,
        hashed,
        message.client,
        message.round,
        message.round_open,
        message.commitments,
        message.ciphertext,
        message.share_commitments,
        message.proof,
        tuple(share.trustee for share in message.shares),
        tuple(share.blob for share in message.shares),
        named_extras(message),
    )
