"""How a federation stands, by what is published alone: its log, and what its coordinator asks now.

Everything is checked as a party would check it: the tree, the rules, the cosignatures, the proposal's signature. Times
are somebody's clock: those of a proposal the coordinator's, that of a checkpoint its trustees'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Malformed, Misuse
from protocols.blob_sizes import sized_blobs
from protocols.envelopes import Entry
from protocols.log.checkpoint import check_note, parse_note, timestamp_of
from protocols.log.files import Damaged
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import CHECKPOINT
from protocols.messages import Genesis, RoundOpen
from protocols.noise_trustees import noise_needed
from protocols.pinned import PinnedPolicy
from protocols.rounds.conductor import Stage
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import Ledger, asked_clients, cohorts_with
from protocols.rounds.proposals import OBSERVE, Proposal, bundled_entries, open_proposal
from verifl.agents.published import newest, steadily, whole_log
from verifl.carriers.exchange.public import PROPOSAL, PublicView
from verifl.storage.history import EndedRound, RoundsWalk

STAGES = {
    OBSERVE: Stage.COSIGN,
    "round-key": Stage.KEYS,
    "submission": Stage.SUBMISSIONS,
    "share-ack": Stage.ACKNOWLEDGEMENTS,
    "release": Stage.RELEASES,
}
RECENT = 8  # rounds, whose mean a forecast is


@dataclass(frozen=True)
class Asking:
    """What is asked now. stage: of the conductor, in words. needed: how many answers the round needs to go on, of all
    that were asked. since, until: POSIX seconds by the coordinator's clock."""

    stage: str
    awaited: tuple[str, ...]
    answered: tuple[str, ...]
    needed: int
    since: int
    until: int


@dataclass(frozen=True)
class Head:
    """The published checkpoint. cosigned_at: the latest time that a cosignature carries, POSIX seconds by that
    trustee's clock; cosigners: in the policy's order."""

    size: int
    cosigners: tuple[str, ...]
    cosigned_at: int


@dataclass(frozen=True)
class Abort:
    """A round that was aborted, and why."""

    round: int
    reason: str


@dataclass(frozen=True)
class Standing:
    """round: the one that is open, or comes next; is_open: which of the two. log_bytes: entries and the blobs that came
    with them. round_bytes: the mean of the last rounds that ended, at most RECENT; None before the first. left: in how
    many more cohorts each client in force may be by its privacy budget; None without one. drawn: where the policy draws
    clients, those that the open round is open to, ascending; None otherwise, and between rounds."""

    federation: str
    policy_hash: str
    round: int
    is_open: bool
    opened: int
    closed: int
    aborted: int
    max_rounds: int
    head: Head | None
    asking: Asking | None
    last_abort: Abort | None
    ended: str | None
    log_bytes: int
    round_bytes: int | None
    left: Mapping[str, int] | None = None
    drawn: tuple[str, ...] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether no further round can come: the federation was closed, or all rounds of its policy were opened."""
        return self.ended is not None or (self.opened >= self.max_rounds and not self.is_open)


def published_policy(public: PublicView, where: str) -> PinnedPolicy:
    """The policy beside the log: what the federation says of itself, which pins nothing. where: for messages.

    Raises Misuse where none is published yet, Malformed or Rejected for what is no policy.
    """
    try:
        return PinnedPolicy.open(public.policy())
    except (Damaged, FileNotFoundError) as error:
        if isinstance(error, Damaged) and error.check != "file-missing":
            raise
        raise Misuse(f"{where}: holds no federation yet: {_instead(Path(where))}") from None


def _instead(path: Path) -> str:
    if (path / CHECKPOINT).exists():
        return f"it is a transcript; did you mean {path.parent}?"
    return "no transcript/policy.cbor; give the directory in which the parties meet, or that of `verifl run --out`"


def standing_of(public: PublicView, pinned: PinnedPolicy) -> Standing:
    """How it stands now. Raises Malformed or Rejected, by the name of the check, for what is published and is not this
    policy's, or not whole; OSError as the directory does."""
    return steadily(lambda: _look(public, pinned), lambda: _marks(public))


def _marks(public: PublicView) -> tuple[bytes | None, bytes | None]:
    """What changes whenever the coordinator goes on."""
    return public.proposal(), newest(public.reader())


def _look(public: PublicView, pinned: PinnedPolicy) -> Standing:
    data = public.proposal()  # first: the log has at least what it names as published
    reader = public.reader()
    read = _Read(pinned) if reader is None else _read(pinned, reader)
    follower = read.follower
    asking = None if data is None else _asking(public, pinned, _opened(pinned, data), follower)
    ledger = follower.ledger
    return Standing(
        federation=pinned.policy.federation,
        policy_hash=pinned.hash.hex(),
        round=ledger.next_round,
        is_open=ledger.current is not None,
        opened=ledger.rounds,
        closed=read.closed,
        aborted=read.aborted,
        max_rounds=pinned.policy.max_rounds,
        head=None if reader is None else _head(pinned, reader, ledger),
        asking=asking,
        last_abort=read.last_abort,
        ended=ledger.closed,
        log_bytes=read.log_bytes,
        round_bytes=read.round_bytes,
        left=_left(pinned, ledger),
        drawn=_drawn(pinned, ledger),
    )


def _left(pinned: PinnedPolicy, ledger: Ledger) -> dict[str, int] | None:
    if pinned.budget is None:
        return None
    clients = [member.id for member in ledger.membership.clients(pinned.policy)]
    return {name: max(0, pinned.budget.rounds(name) - cohorts_with(pinned, ledger, name)) for name in clients}


def _drawn(pinned: PinnedPolicy, ledger: Ledger) -> tuple[str, ...] | None:
    if pinned.policy.per_round is None or ledger.current is None:
        return None
    return asked_clients(pinned, ledger)


def _read(pinned: PinnedPolicy, reader: TranscriptReader) -> _Read:
    read = _Read(pinned)
    for entry, ended in whole_log(pinned, reader, read.walk):
        read.add(entry, ended)
    return read


class _Read:
    """What is told of a log, which is read once and not held. recent: bytes of the last rounds that ended."""

    def __init__(self, pinned: PinnedPolicy) -> None:
        self._pinned, self.walk = pinned, RoundsWalk(pinned)
        self.aborted, self.log_bytes = 0, 0
        self.last_abort: Abort | None = None
        self._recent, self._before = deque[int](maxlen=RECENT), 0

    @property
    def follower(self) -> Follower:
        """The log so far."""
        return self.walk.follower

    @property
    def closed(self) -> int:
        """Rounds that closed."""
        return self.walk.closed

    @property
    def round_bytes(self) -> int | None:
        """See `Standing`."""
        return sum(self._recent) // len(self._recent) if self._recent else None

    def add(self, entry: Entry, ended: EndedRound | None) -> None:
        """The next one, which the walk has been through, and the round that it ended."""
        self.log_bytes += _size(self._pinned, entry)
        if self.walk.follower.size == 1:
            self._before = self.log_bytes  # genesis is of no round
        if ended is not None:
            self._end(ended)

    def _end(self, ended: EndedRound) -> None:
        self._recent.append(self.log_bytes - self._before)
        self._before = self.log_bytes
        if ended.aborted is not None:
            self.aborted += 1
            self.last_abort = Abort(ended.last.number, ended.aborted)


def _head(pinned: PinnedPolicy, reader: TranscriptReader, ledger: Ledger) -> Head:
    note, policy = parse_note(reader.latest()), pinned.policy
    trustees = ledger.membership.trustees(policy)
    cosigners = check_note(note, policy.log_key, trustees, policy.threshold, origin=policy.origin)
    return Head(note.checkpoint.size, tuple(cosigners), max(map(timestamp_of, note.signatures[1:])))


def _opened(pinned: PinnedPolicy, data: bytes) -> Proposal:
    try:
        return open_proposal(pinned, data)
    except Malformed as error:
        raise Malformed(PROPOSAL, f"a proposal, of which {error.where} is {error.expected}", error.found) from None


def _asking(public: PublicView, pinned: PinnedPolicy, proposal: Proposal, published: Follower) -> Asking | None:
    """What a proposal says, by the log that it is about; None where the log has gone on since."""
    size = parse_note(proposal.note).checkpoint.size
    if size < published.size or (proposal.question == OBSERVE and size == published.size):
        return None
    follower = published.extended(pinned, bundled_entries(proposal, public.bundle))
    head = parse_note(proposal.note).checkpoint
    if (head.size, head.root) != (follower.size, follower.root()):
        raise Damaged("proposal", f"a checkpoint of the {follower.size} entries that are shown", f"one of {size}")
    asked, needed = _asked(pinned, follower.ledger, proposal.question)
    awaited = proposal.parties
    return Asking(
        stage=STAGES[proposal.question].value,
        awaited=awaited,
        answered=tuple(each for each in asked if each not in set(awaited)),
        needed=needed,
        since=proposal.since,
        until=proposal.until,
    )


def _asked(pinned: PinnedPolicy, ledger: Ledger, question: str) -> tuple[Sequence[str], int]:
    """Who is asked such a question, and how many have to answer it."""
    policy, current = pinned.policy, ledger.current
    trustees = [member.id for member in ledger.membership.trustees(policy)]
    if question == "submission":
        return asked_clients(pinned, ledger), policy.min_cohort + noise_needed(policy)
    if question == "round-key":
        trustees = [each for each in trustees if each not in ledger.barred]
    elif question == "share-ack" and current is not None:
        trustees = [key.trustee for key in current.keys]
    elif question == "release" and current is not None and current.cohort is not None:
        trustees = list(current.cohort.message.trustees)
    return trustees, policy.threshold


def _size(pinned: PinnedPolicy, entry: Entry) -> int:
    """Bytes of an entry and of the blobs that come with it; policy and model, which many name, count where they were
    made."""
    if isinstance(entry.message, Genesis | RoundOpen):
        return len(entry.data)
    return len(entry.data) + sum(size for _, size in sized_blobs(pinned, entry.message))
