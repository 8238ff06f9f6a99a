"""One pass over the log: every entry decoded, its signature checked, filed under its round (spec 9.3).

Nothing is judged here but encoding and signature; each fault is kept under the number of the check that reports it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from auditor.index import MISSING, DeferredFinding, Heading, Index, Record, Round, SubmissionRecord, label, number_of
from auditor.reports.results import Place
from auditor.standing import Standing
from proofs.errors import Malformed, Rejected
from protocols import messages
from protocols.blobs import message_blobs
from protocols.envelopes import Envelope, check_signature, entry_hash, open_envelope
from protocols.membership import ENROLLED, Membership
from protocols.noise_trustees import noise_trustees
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from protocols.submissions import named_extras

_FILED_IN: dict[type[messages.RoundMessage], str] = {
    messages.RoundKey: "keys",
    messages.RoundOpen: "opens",
    messages.ShareAck: "acks",
    messages.CohortClosed: "cohorts",
    messages.Release: "releases",
    messages.Aggregate: "aggregates",
    messages.RoundClosed: "closes",
    messages.RoundAborted: "aborts",
}  # the field of a `Round`
_OF_A_POLICY = (messages.RoundKey, messages.FederationClosed)  # what else names one has a check that looks at it


class Filing:
    """An `Index` in the making. pinned: the policy of the audit, None to check no signatures."""

    def __init__(self, pinned: PinnedPolicy | None) -> None:
        self._pinned = pinned
        self._adding = frozenset[str]() if pinned is None else noise_trustees(pinned.policy)
        self._standing = None if pinned is None else Standing(pinned)
        self._rounds: dict[int, _Drawer] = {}
        self._genesis: list[Record[messages.Genesis]] = []
        self._headings: list[Heading] = []
        self._blobs: dict[bytes, tuple[str, int]] = {}
        self._faults: dict[str, list[DeferredFinding]] = {}
        self._by_hash: dict[bytes, int] = {}
        self._changes: list[Record[messages.KeyRotation | messages.Revocation]] = []
        self._memberships: dict[int, bytes] = {}
        self._ending: tuple[Record[messages.FederationClosed], Membership] | None = None
        self._disowned: set[int] = set()
        self._doubtful: set[int] = set()
        self._unsettled: set[int] = set()
        self._in_doubt = False

    def index(self) -> Index:
        """All that was filed so far."""
        return Index(
            rounds=MappingProxyType({number: drawer.round(number) for number, drawer in self._rounds.items()}),
            genesis=tuple(self._genesis),
            headings=tuple(self._headings),
            blobs=MappingProxyType(dict(self._blobs)),
            faults=MappingProxyType({check: tuple(found) for check, found in self._faults.items()}),
            by_hash=MappingProxyType(dict(self._by_hash)),
            changes=tuple(self._changes),
            memberships=MappingProxyType(dict(self._memberships)),
            ending=self._ending,
            disowned=frozenset(self._disowned),
            doubtful=frozenset(self._doubtful),
            unsettled=frozenset(self._unsettled),
            trustees=() if self._standing is None else tuple(self._standing.trustees),
            left=MappingProxyType({} if self._standing is None else dict(self._standing.left)),
        )

    def add_missing(self) -> None:
        """The next entry is not here. It may be a rotation or revocation, until a RoundOpen shows that it is none; the
        first is the Genesis."""
        self._in_doubt = bool(self._headings)
        self._headings.append(Heading(MISSING, 0))

    def add(self, data: bytes) -> None:
        """File the next entry. Total on any bytes: what is wrong becomes a fault."""
        index = len(self._headings)
        try:
            envelope = open_envelope(data)
        except Malformed as error:
            self._headings.append(Heading("", 0))
            self._fault("I1", Place(entry=index).at(error.where), error.expected, error.found)
            return
        message = envelope.message
        if isinstance(message, Policy):  # open_envelope refuses it; the type does not say so
            raise Malformed(f"entry {index}", "a message", "a policy")
        name = label(index, message)
        self._headings.append(Heading(envelope.type, number_of(message)))
        check = messages.type_of(message).check
        is_change = isinstance(message, messages.KeyRotation | messages.Revocation)
        if self._pinned is not None:
            if message.federation != self._pinned.policy.federation:
                self._disowned.add(index)
                self._fault(check, name.at("federation"), self._pinned.policy.federation, message.federation)
            elif is_change:
                self._change(index, name, data, envelope)
            elif isinstance(message, _OF_A_POLICY) and message.policy != self._pinned.hash:
                self._disowned.add(index)
                self._fault(check, name.at("policy"), self._pinned.hash.hex(), message.policy.hex())
        if self._standing is not None and isinstance(message, messages.RoundClosed | messages.RoundAborted):
            self._standing.end_round(index)
        if not is_change and not self._is_signed(check, name, envelope):
            self._disowned.add(index)
        if self._in_doubt:
            self._doubtful.add(index)
        self._file(index, entry_hash(data), message)

    def _name_blob(self, blob: bytes, role: str, index: int) -> None:
        roles, first = self._blobs.get(blob, (role, index))
        known = set(roles.split("+"))
        self._blobs[blob] = (roles if role in known else "+".join(sorted(known | {role})), first)

    def _fault(self, check: str, where: Place, expected: str, found: str, *, sure: bool = True) -> None:
        self._faults.setdefault(check, []).append(DeferredFinding(where, expected, found, sure))

    def _change(self, index: int, name: Place, data: bytes, envelope: Envelope) -> None:
        if self._standing is None:
            return
        try:
            self._standing.change(index, data, envelope)
        except Rejected as error:
            self._fault("I3", name.at(error.check), error.expected, error.found, sure=not self._in_doubt)

    def _is_signed(self, check: str, name: Place, envelope: Envelope) -> bool:
        """Whether the party that its type demands signed it, with its key in force. Whoever is out of force is I3's."""
        if self._standing is None:
            return False
        try:
            key = self._standing.key(envelope.type, envelope.signer)
        except Rejected as error:
            out_of_force = error.check == "revoked"
            self._fault("I3" if out_of_force else check, name.at("signer"), error.expected, error.found)
            return False
        try:
            check_signature(envelope, key)
        except Rejected as error:
            replaced = self._standing.replaced_at(envelope)
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
            self._genesis.append(Record(index, hashed, message))
            self._by_hash.setdefault(hashed, index)
            return
        if isinstance(message, messages.KeyRotation | messages.Revocation):
            self._changes.append(Record(index, hashed, message))
            return
        if isinstance(message, messages.FederationClosed):
            membership = ENROLLED if self._standing is None else self._standing.membership
            self._ending = self._ending or (Record(index, hashed, message), membership)
            return
        drawer = self._rounds.setdefault(message.round, _Drawer())
        if isinstance(message, messages.Submission):
            drawer.submissions[index] = _record(index, hashed, message, message.client in self._adding)
            return
        self._by_hash.setdefault(hashed, index)
        if isinstance(message, messages.RoundOpen) and self._standing is not None:
            self._memberships[index] = self._standing.membership.root()
            self._in_doubt = self._in_doubt and message.changes != self._memberships[index]
            self._unsettled.update({index} if self._in_doubt else ())
        drawer.entries[_FILED_IN[type(message)]].append(Record(index, hashed, message))


class _Drawer:
    """The entries of one round, by the field of `Round` that they go to."""

    def __init__(self) -> None:
        self.submissions: dict[int, SubmissionRecord] = {}
        self.entries: dict[str, list[Record[Any]]] = {name: [] for name in _FILED_IN.values()}

    def round(self, number: int) -> Round:
        """As it is now."""
        entries: dict[str, Any] = {name: tuple(found) for name, found in self.entries.items()}
        return Round(number, submissions=MappingProxyType(dict(self.submissions)), **entries)


def _record(index: int, hashed: bytes, message: messages.Submission, noise: bool) -> SubmissionRecord:
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
        message.weight,
        noise,
    )
