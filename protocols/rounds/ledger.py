"""What a log says so far: the state that everybody who follows it derives alike (spec 8.2).

A ledger is a value. `protocols.rounds.rules.apply` makes the next one from one more entry, or refuses the entry. It
holds what rules and parties need of the past, in types that `protocols.encoding` can store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

from protocols.encoding import ENTRY_LIMIT, decode, encode
from protocols.membership import ENROLLED, Membership
from protocols.messages import (
    AtMost,
    CohortClosed,
    Exactly,
    Hash32,
    PartyId,
    Release,
    RoundOpen,
    ShareAck,
    Submission,
)
from protocols.participation import Ranked, asked, draw_seed
from protocols.pinned import PinnedPolicy
from protocols.privacy.differencing import Cohort
from protocols.weights import Summands

LEDGER_LIMIT = 1 << 30  # bytes of its encoding
WEIGHT_BYTES = 3  # of a weight: at most 2^20
CHARGE_BYTES = 3  # of a number of cohorts: at most 2^16
LEDGER_ITEMS = 1 << 21  # of CBOR: a party's own memory holds more of them than a message may
Body = Annotated[bytes, AtMost(ENTRY_LIMIT)]


@dataclass(frozen=True)
class LoggedKey:
    """A round key in the log, for the round that is open or comes next; `entry` is its entry hash."""

    index: int
    entry: Hash32
    trustee: PartyId
    public_key: Annotated[bytes, Exactly(1216)]
    draw: Annotated[bytes, Exactly(64)] | None  # its value, of which the log has the proof


@dataclass(frozen=True)
class LoggedSubmission:
    """A submission of the current round; `entry` is its entry hash, `body` the encoded Submission: one item of what is
    stored, and not a hundred."""

    index: int
    entry: Hash32
    body: Body

    @classmethod
    def of(cls, index: int, entry: bytes, message: Submission) -> LoggedSubmission:
        """The submission at this log index."""
        logged = cls(index, entry, encode(message))
        logged.__dict__["message"] = message
        return logged

    @cached_property
    def message(self) -> Submission:
        """What was submitted."""
        return decode(Submission, self.body)


@dataclass(frozen=True)
class LoggedRelease:
    """A key share of the current round."""

    index: int
    message: Release


@dataclass(frozen=True)
class LoggedCohort:
    """The current round's CohortClosed."""

    index: int
    entry: Hash32
    message: CohortClosed


@dataclass(frozen=True)
class ExcusedSubmission:
    """A submission that the coordinator calls faulty, of a round with this seed; only if it is may its client be
    missing from the cohort there. body: the encoded Submission."""

    client: PartyId
    round: int
    seed: Hash32
    body: Body


@dataclass(frozen=True)
class OpenedCohort:
    """Who was in the cohort of a round that reached CohortClosed, whether it was released or not.

    clients: one bit for each client of the roster, least significant bit of the first byte first. excused: what this
    cohort rests on, and every one before it on its model; a log does not show whether it is true. weights: what these
    clients stated, in the order of the roster, 3 bytes little-endian each; nothing where nothing is stated, or once a
    round on the model has closed.
    """

    round: int
    model: Hash32
    clients: Annotated[bytes, AtMost(1 << 17)]
    excused: tuple[ExcusedSubmission, ...]
    weights: Annotated[bytes, AtMost(WEIGHT_BYTES << 20)] = b""


@dataclass(frozen=True)
class CurrentRound:
    """A round between RoundOpen and its end."""

    index: int
    entry: Hash32
    message: RoundOpen
    keys: tuple[LoggedKey, ...]
    submissions: tuple[LoggedSubmission, ...]
    counts: Annotated[bytes, AtMost(1 << 20)]  # of the submissions of each client of the roster
    acks: tuple[ShareAck, ...]
    cohort: LoggedCohort | None
    releases: tuple[LoggedRelease, ...]
    aggregate: Hash32 | None  # entry hash
    opened: tuple[Hash32, ...]  # the aggregate's blobs: plaintext, blindings; none without it
    drawn: Annotated[bytes, AtMost(1 << 17)]  # who may submit, one bit a client as in OpenedCohort
    earlier: OpenedCohort | None  # the latest that was opened on the round's model before it
    recent: tuple[OpenedCohort, ...]  # the last one or two that were opened before it, on any model

    @property
    def number(self) -> int:
        """The round's number, from 1."""
        return self.message.round

    def submission(self, index: int) -> LoggedSubmission | None:
        """The submission at this log index, if it is one of the round."""
        return next((each for each in self.submissions if each.index == index), None)

    def first_submissions(self) -> Iterator[LoggedSubmission]:
        """Each client's earliest submission, ascending by index; later ones are duplicates."""
        clients: set[str] = set()
        for each in self.submissions:
            if each.message.client not in clients:
                clients.add(each.message.client)
                yield each

    def accepted_submissions(self) -> list[LoggedSubmission]:
        """The submissions of the cohort, ascending; none before CohortClosed."""
        accepted = frozenset(self.cohort.message.accepted) if self.cohort else frozenset()
        return [each for each in self.submissions if each.index in accepted]

    def cohort_clients(self, pinned: PinnedPolicy) -> frozenset[str]:
        """Whose updates are in the cohort; not those of whom noise alone is."""
        return frozenset(each.message.client for each in self.accepted_submissions()) - pinned.noise_trustees

    @property
    def summands(self) -> Summands:
        """How many are in the cohort, and how heavy they are."""
        return Summands.of(each.message.weight for each in self.accepted_submissions())


@dataclass(frozen=True)
class LoggedStep:
    """The last RoundClosed: what the model and the optimizer state were, what they are, and of which sum they come."""

    number: int  # of its round
    seed: Hash32
    before: tuple[Hash32, ...]  # model, and the optimizer state if there was one
    after: tuple[Hash32, ...]
    bodies: tuple[Body, ...]  # the encoded Submissions of the cohort
    plaintext: Hash32
    blindings: Hash32

    @cached_property
    def submissions(self) -> tuple[Submission, ...]:
        """The submissions that were summed."""
        return tuple(decode(Submission, each) for each in self.bodies)

    @property
    def summands(self) -> Summands:
        """How many, and how heavy."""
        return Summands.of(each.weight for each in self.submissions)


@dataclass(frozen=True)
class Ledger:
    """The log of `size` entries, read under one policy."""

    size: int
    model: Hash32 | None  # that the next round opens on; None before genesis
    rounds: int  # how many were opened: the number of the last RoundOpen
    retry_of: int | None  # the aborted round that the next one repeats
    barred: tuple[PartyId, ...]  # trustees that failed to release in this chain of retries
    opened: tuple[OpenedCohort, ...]  # the latest on each model, ascending by round
    aborts: int  # rounds aborted after CohortClosed
    ended: int  # size of the log when the last round ended, or after genesis
    settled: int  # ... and when the last one closed: since then nothing counts for the next draw
    roots: tuple[Hash32, ...]  # of the log at sizes ended, ended + 1, ... while no round is open
    keys: tuple[LoggedKey, ...]  # for the next round
    used_keys: Annotated[bytes, AtMost(1 << 28)]  # 16 bytes of the hash of every round key so far
    current: CurrentRound | None
    membership: Membership
    step: LoggedStep | None  # that made the model; None for the initial one
    closed: Annotated[str, AtMost(64)] | None  # why the federation is over; None while it is not
    failed: bool  # the last round was aborted before its cohort was closed
    draw: Hash32 | None  # RoundOpen.draw of the last round
    recent: tuple[OpenedCohort, ...]  # the last one or two cohorts, without what they rest on
    charges: Annotated[bytes, AtMost(CHARGE_BYTES << 20)]  # how many closed cohorts each client of the roster is in

    @property
    def next_round(self) -> int:
        """Number of the round that RoundOpen may open next, or of the one that is open."""
        return self.rounds if self.current else self.rounds + 1


EMPTY = Ledger(0, None, 0, None, (), (), 0, 1, 1, (), (), b"", None, ENROLLED, None, None, False, None, (), b"")


def client_bitmap(pinned: PinnedPolicy, clients: frozenset[str]) -> bytes:
    """OpenedCohort.clients for a set of clients of the roster."""
    bits = sum(1 << position for position, member in enumerate(pinned.policy.roster) if member.id in clients)
    return bits.to_bytes(-(-len(pinned.policy.roster) // 8), "little")


def opened_on(ledger: Ledger, model: bytes) -> OpenedCohort | None:
    """The latest cohort opened on `model`, in the round that is running or before it."""
    return next((each for each in reversed(ledger.opened) if each.model == model), None)


def with_opened(ledger: Ledger, opened: OpenedCohort) -> tuple[OpenedCohort, ...]:
    """`Ledger.opened` after one more: it takes the place of the one on its model, of which it is a part."""
    return (*(each for each in ledger.opened if each.model != opened.model), opened)


def without_excuses(ledger: Ledger, model: bytes) -> tuple[OpenedCohort, ...]:
    """`Ledger.opened` once a round on `model` has closed: of the t trustees who released its cohort one is honest, and
    has found that all it rested on is true. So what is kept does not grow with the rounds. Weights are repeated
    in repetitions alone."""
    return tuple(replace(each, excused=(), weights=b"") if each.model == model else each for each in ledger.opened)


def packed_weights(pinned: PinnedPolicy, stated: Mapping[str, int | None]) -> bytes:
    """OpenedCohort.weights of the clients of a cohort."""
    found = (stated.get(member.id) for member in pinned.policy.roster)
    return b"".join(weight.to_bytes(WEIGHT_BYTES, "little") for weight in found if weight is not None)


def weight_in(pinned: PinnedPolicy, opened: OpenedCohort, client: str) -> int | None:
    """What a client stated in an opened cohort that it is in; None for nothing, and once that is forgotten."""
    if not opened.weights:
        return None
    below = (1 << pinned.client_position(client)) - 1
    start = WEIGHT_BYTES * (int.from_bytes(opened.clients, "little") & below).bit_count()
    return int.from_bytes(opened.weights[start : start + WEIGHT_BYTES], "little")


def clients_of(pinned: PinnedPolicy, opened: OpenedCohort | None) -> frozenset[str] | None:
    """The clients of an opened cohort; None for none."""
    if opened is None:
        return None
    return _clients(pinned, opened.clients)


def _clients(pinned: PinnedPolicy, bitmap: bytes) -> frozenset[str]:
    members = enumerate(pinned.policy.roster)
    return frozenset(member.id for position, member in members if bitmap[position >> 3] >> (position & 7) & 1)


def recent_cohorts(pinned: PinnedPolicy, current: CurrentRound) -> list[Cohort]:
    """The one or two cohorts that were opened last before this round."""
    return [Cohort(each.model, clients_of(pinned, each) or frozenset()) for each in current.recent]


def cohorts_with(pinned: PinnedPolicy, ledger: Ledger, client: str) -> int:
    """In how many closed cohorts a client of the roster is, whatever became of them; raises
    Rejected("unknown-client")."""
    start = CHARGE_BYTES * pinned.client_position(client)
    return int.from_bytes(ledger.charges[start : start + CHARGE_BYTES], "little")


def charged(pinned: PinnedPolicy, ledger: Ledger, clients: Set[str]) -> bytes:
    """`Ledger.charges` after one more cohort, of these clients."""
    counts = ((each.id in clients) + cohorts_with(pinned, ledger, each.id) for each in pinned.policy.roster)
    return b"".join(count.to_bytes(CHARGE_BYTES, "little") for count in counts)


def check_budget(pinned: PinnedPolicy, ledger: Ledger, client: str) -> None:
    """Raise Rejected("budget") for a client that is in as many closed cohorts as the policy allows it."""
    if pinned.budget is not None:
        pinned.budget.check(client, cohorts_with(pinned, ledger, client))


def able_clients(pinned: PinnedPolicy, ledger: Ledger) -> tuple[str, ...]:
    """The clients in force that train, ascending, and may be in another cohort by what they have spent."""
    return _unspent(pinned, ledger, clients_in_force(pinned, ledger))


def clients_in_force(pinned: PinnedPolicy, ledger: Ledger) -> tuple[str, ...]:
    """Those that train, ascending."""
    members = ledger.membership.clients(pinned.policy)
    return tuple(member.id for member in members if member.id not in pinned.noise_trustees)


def noise_in_force(pinned: PinnedPolicy, ledger: Ledger) -> frozenset[str]:
    """The trustees in force whose noise every round is open to."""
    return pinned.noise_trustees & {member.id for member in ledger.membership.clients(pinned.policy)}


def _unspent(pinned: PinnedPolicy, ledger: Ledger, clients: Iterable[str]) -> tuple[str, ...]:
    """Those of `clients` with something left of their budget."""
    known, budget = tuple(clients), pinned.budget
    if budget is None:
        return known
    spent = budget.exhausted({client: cohorts_with(pinned, ledger, client) for client in known}, known)
    return tuple(client for client in known if client not in spent)


def asked_clients(pinned: PinnedPolicy, ledger: Ledger) -> tuple[str, ...]:
    """Those that the open round is open to, ascending; where none is, those whom one could be open to."""
    if ledger.current is None:
        return tuple(sorted({*able_clients(pinned, ledger), *noise_in_force(pinned, ledger)}))
    drawn = _clients(pinned, ledger.current.drawn)
    return tuple(member.id for member in pinned.policy.roster if member.id in drawn)


def open_to(pinned: PinnedPolicy, ledger: Ledger, draw: bytes | None, earlier: OpenedCohort | None) -> bytes:
    """CurrentRound.drawn of the next round: of the clients in force with something left of their budget, where a cohort
    was opened on its model before all of the last one, else those whom RoundOpen.draw says; and always of the trustees
    who add the noise."""
    cohort, policy, left = clients_of(pinned, earlier), pinned.policy, frozenset(able_clients(pinned, ledger))
    noise = noise_in_force(pinned, ledger)
    if cohort is not None:
        return client_bitmap(pinned, (cohort & left) | noise)
    known = frozenset(ledger.membership.clients_at(policy, ledger.settled)) - pinned.noise_trustees
    before = frozenset(_unspent(pinned, ledger, known))
    return client_bitmap(pinned, asked(policy, draw, Ranked(before, left)) | noise)


def draw_key(pinned: PinnedPolicy, ledger: Ledger, trustee: str) -> bytes | None:
    """The public key by which a trustee draws for the next round, or the one that is open: the one in force when the
    last round closed, as then nobody had seen a value of the next. None where it draws nobody, or is revoked."""
    enrolled, standing = pinned.trustee_key(trustee), ledger.membership.standing(trustee)
    revoked = standing is not None and standing.public_key is None
    if pinned.policy.per_round is None or ledger.retry_of is not None or revoked:
        return None
    return ledger.membership.key_at(trustee, enrolled, ledger.settled)


def expected_draw(pinned: PinnedPolicy, ledger: Ledger) -> bytes | None:
    """RoundOpen.draw of the next round, from the round keys that are there; of a repetition that of the round before.

    Raises Rejected("draw") for values of too few trustees.
    """
    if ledger.retry_of is not None:
        return ledger.draw
    return draw_seed(pinned, ledger.next_round, {key.trustee: key.draw for key in ledger.keys if key.draw is not None})


def is_in(pinned: PinnedPolicy, clients: bytes, client: str) -> bool:
    """Whether a client of the roster has its bit in such a text; raises Rejected("unknown-client")."""
    position = pinned.client_position(client)
    return bool(clients[position >> 3] >> (position & 7) & 1)
