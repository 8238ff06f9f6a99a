"""The coordinator by itself: its key, its directory, and the transcript that it writes and anybody may read.

    with open_server(pinned, party, transcript, initial, device, waits) as server:
        server.begin()
        while (due := server.due).stage is not Stage.IDLE:
            for party in due.parties:
                server.take(party, <what that party answers to due.question, by server.log>)
            server.proceed()

It knows of no other party but what that says, and of nobody who carries it: how long to wait is for those to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from proofs.engines import get_engine
from proofs.errors import Misuse, VeriflError
from protocols.log.reader import TranscriptReader
from protocols.log.writer import DiskWatch, TranscriptWriter
from protocols.pinned import PinnedPolicy
from protocols.receipts import Receipt, make_receipts
from protocols.rounds.conductor import Conductor, Due, Stage
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.evidence import Evidence, said_in
from protocols.rounds.exchange import Answer, Observe
from protocols.rounds.ledger import Ledger
from protocols.rounds.proposals import draft_proposal
from protocols.rounds.record import HOLDINGS, Published, pending_entries
from protocols.rounds.waits import Waits
from protocols.steps.doubles import Doubles
from protocols.steps.step import decode_model
from verifl.agents.party import Party, check_store, newest_state
from verifl.agents.summation import summation_on
from verifl.progress import RoundSummary
from verifl.storage.history import EndedRound, MetricsFile, exclusions, past_rounds, published_bytes, summarize
from verifl.storage.stores import DirectoryStore, unobserved


class ServerAgent:
    """The coordinator of one federation, on its own machine or not. It stores what it makes before it goes on."""

    def __init__(
        self,
        pinned: PinnedPolicy,
        coordinator: Coordinator,
        writer: TranscriptWriter,
        transcript: Path,
        initial: Doubles,
        approvals: bytes = b"",
    ) -> None:
        """transcript: where `writer` writes. initial: the policy's initial model, float64 (d,). approvals: those that
        the policy demands; needed where there is no log yet."""
        self._pinned, self._coordinator, self._writer = pinned, coordinator, writer
        self._transcript, self._reader = transcript, TranscriptReader(transcript)
        self._conductor = Conductor(pinned, coordinator, initial, approvals)
        self.log = _Log(coordinator, self._reader)

    # ---- rounds ----

    def begin(self) -> bool:
        """Publish the policy, and take up what trustees may have seen; whether there was a log already."""
        self._writer.put_policy(self._pinned.data)
        self._writer.append(self._coordinator.unpublished())
        return self._coordinator.size > 0

    @property
    def pinned(self) -> PinnedPolicy:
        """The policy of its federation."""
        return self._pinned

    @property
    def due(self) -> Due:
        """Whom to ask what, as `Conductor.due`."""
        return self._conductor.due

    @property
    def enough(self) -> bool:
        """Whether the round goes on without those who have not answered, as `Conductor.enough`."""
        return self._conductor.enough

    def take(self, party: str, answer: Answer) -> None:
        """What a party answered; durable with the next checkpoint. Raises as `Conductor.take`, and then nothing has
        changed."""
        self._conductor.take(party, answer).write(self._writer)

    def proceed(self) -> None:
        """Do what is due, without those who have not answered; raises as `Conductor.proceed`."""
        if self.due.stage is Stage.SIGN:  # blobs are durable before entries that name them may be seen
            self._writer.sync()
        self._conductor.proceed().write(self._writer)

    def proposal(self, since: int, until: int) -> tuple[bytes, dict[bytes, bytes]]:
        """What is due as a signed file, and the files that it names, by hash; see `protocols.rounds.proposals`.

        since, until: POSIX seconds. Raises Misuse where nobody is asked anything.
        """
        due = self.due
        if due.question is None:
            raise Misuse("proposal: nobody is asked anything now")
        entries: list[bytes] = []
        if isinstance(due.question, Observe):
            entries = self._coordinator.entries(self._coordinator.published, due.question.size)
        proposal, bundles = draft_proposal(self._pinned, due.question, due.parties, entries, since, until)
        return self._coordinator.signed(proposal), bundles

    def open_round(self) -> None:
        """Between rounds: the next one is due."""
        self._conductor.open_round()

    def change(self, entry: bytes) -> None:
        """Between rounds, or while round keys are collected, as `Conductor.change`: log a rotation or revocation."""
        self._conductor.change(entry).write(self._writer)

    def logged(self, entry: bytes) -> bool:
        """Whether these very bytes are an entry of the log."""
        return self._coordinator.logged(entry)

    def end(self, reason: str) -> None:
        """Between rounds: close the federation."""
        self._conductor.end(reason).write(self._writer)

    def endings(self) -> tuple[str, ...]:
        """The reasons for which it may be closed now."""
        return self._coordinator.endings()

    # ---- what it has ----

    @property
    def ledger(self) -> Ledger:
        """What the log says so far."""
        return self._coordinator.ledger

    @property
    def size(self) -> int:
        """Entries in the log, published or not."""
        return self._coordinator.size

    @property
    def note(self) -> bytes:
        """The last checkpoint that has its quorum; empty for none."""
        return self._coordinator.note

    def said(self) -> dict[str, Evidence]:
        """What each trustee and client has said in this log: for those that start."""
        policy, found = self._pinned.policy, said_in(self.note, self.log.entries(0, self.size))
        return {each.id: found.get(each.id, Evidence(self.note)) for each in (*policy.trustees, *policy.roster)}

    def model(self) -> Doubles:
        """The model that rounds open on now, float64 (d,)."""
        return self._coordinator.step_state().model

    def model_of(self, name: bytes) -> Doubles:
        """The published model of this hash, float64 (d,)."""
        return decode_model(self.log.blob(name, self._pinned.model_size), self._pinned.policy.dimension)

    def receipts(self, number: int) -> dict[str, Receipt]:
        """Those of a published round that has ended, by client."""
        entries = self._reader.entries(0, self._reader.size)
        return make_receipts(self._pinned, self._reader.latest(), entries, number)

    def past(self, metrics: MetricsFile, evaluate: Callable[[int, bytes], dict[str, float]]) -> list[RoundSummary]:
        """The rounds that have ended; see `past_rounds`."""
        return past_rounds(self._pinned, self._coordinator, self._transcript, metrics, evaluate)

    def summary(self, first: int, closed: int, metrics: Mapping[str, float], seconds: float) -> RoundSummary:
        """Of the round that ended last. first: the log's size before it; closed: how many rounds had closed by then."""
        end, size = self._conductor.ended, self.size
        closed += end.aborted is None
        ended = EndedRound(end.last, end.aborted, self.ledger.model or b"", first, size, end.asked, closed)
        excluded = exclusions(self._coordinator, self._pinned, end.last)
        count = published_bytes(self._transcript, self.log.entries(first, size))
        return summarize(ended, excluded, metrics, seconds, count)


class _Log:
    """What a coordinator shows of its log to those whom it asks."""

    def __init__(self, coordinator: Coordinator, reader: TranscriptReader) -> None:
        self.entries, self.invitation, self.blob = coordinator.entries, coordinator.invitation, reader.blob


@contextmanager
def open_server(
    pinned: PinnedPolicy,
    party: Party,
    transcript: Path,
    initial: Doubles,
    device: str,
    waits: Waits,
    watch: DiskWatch = unobserved,
    approvals: bytes = b"",
) -> Iterator[ServerAgent]:
    """A coordinator on the state in its directory, which writes the transcript at this path or goes on with it.

    device: for summation. approvals: as of `ServerAgent`. However the block ends, the transcript is left as of its
    last checkpoint, without the blobs of what came after, except for entries that trustees may have seen. Raises Misuse
    where state and transcript do not belong together.
    """
    check_store(party.directory.store, HOLDINGS)
    store, (key, *_) = DirectoryStore(party.directory.store, watch), party.keys
    try:
        with TranscriptWriter(transcript, watch=watch, keep=pending_entries(store)) as writer:
            blobs, published = TranscriptReader(transcript).blob, _published(transcript, writer.published_size)
            parts = (store, get_engine("native"), summation_on(device), blobs, waits, published)
            with newest_state(party.directory):
                coordinator = Coordinator(pinned, key, *parts)
            yield ServerAgent(pinned, coordinator, writer, transcript, initial, approvals)
    except BaseException as error:
        with unmasked(error):
            TranscriptWriter(transcript, keep=pending_entries(store)).close()  # opening a directory recovers it
        raise


def _published(transcript: Path, size: int) -> Published | None:
    """What the transcript already has."""
    if size == 0:
        return None
    reader = TranscriptReader(transcript)
    return Published(reader.latest(), reader.entries(0, size))


@contextmanager
def unmasked(error: BaseException) -> Iterator[None]:
    """What goes wrong in the block, which clears up after `error`, does not take its place."""
    try:
        yield
    except OSError:
        pass  # the disk that failed may fail again
    except VeriflError as another:
        if str(another) != str(error):
            error.add_note(f"the transcript was left as it was: {another}")
