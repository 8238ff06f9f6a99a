"""The coordinator: it runs rounds and writes the log, and no one has to believe it (spec 8.4 to 8.10).

Each step returns a `Publication`: entries for the end of the transcript, after the blobs that they name have been
stored. `checkpoint` then gives a note for the trustees to cosign, and `cosigned` the note to publish. Everything a
coordinator knows follows from log and blobs; its store holds what trustees may have seen before the transcript had it.

A step out of order is Misuse. What a party sent wrongly is Malformed or Rejected: it is not logged, nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Engine
from proofs.errors import Malformed, Misuse, Rejected
from protocols.approvals import check_approvals
from protocols.blob_sizes import sized_blobs
from protocols.blobs import blob_hash
from protocols.envelopes import Entry, expected_message
from protocols.identities import SigningKey
from protocols.invitation import Invitation
from protocols.log.checkpoint import add_cosignatures, check_note, parse_note, sign_checkpoint
from protocols.messages import Genesis, KeyRotation, Revocation, RoundKey, ShareAck, Submission
from protocols.pinned import PinnedPolicy
from protocols.policy import Member
from protocols.reasons import MISSING_RELEASES, NO_QUORUM, TOO_FEW_SUBMISSIONS
from protocols.rounds.aggregation import Summation
from protocols.rounds.closing import ending_reasons, enough_submitted, is_cohort, unacknowledged, why_too_few
from protocols.rounds.drafts import draft_cohort, draft_end, draft_open
from protocols.rounds.exchange import NOTHING, Acknowledgement, Publication, Refusal, SubmissionPackage
from protocols.rounds.ledger import CurrentRound, Ledger, expected_draw
from protocols.rounds.proposals import Proposal, seal_proposal
from protocols.rounds.record import LogRecord, Published
from protocols.rounds.summing import SummingCoordinator
from protocols.rounds.waits import ShownSince, Waits
from protocols.steps import step as server_steps
from protocols.stores import Store
from protocols.submissions import BlobSource, Fault, judge


@dataclass(frozen=True)
class SubmissionVerdict:
    """What the coordinator found of a logged submission: `fault` None if it is valid."""

    index: int
    client: str
    fault: Fault | None


class Coordinator(SummingCoordinator):
    """The coordinator of one federation.

    blobs reads back what earlier publications stored. summation adds ciphertexts. published is what the transcript has
    when an earlier coordinator over the same store is resumed. waits: how long it waits for acknowledgements; no less
    than any trustee does before it cosigns an abort for want of them.
    """

    def __init__(
        self,
        pinned: PinnedPolicy,
        identity: SigningKey,
        store: Store,
        engine: Engine,
        summation: Summation,
        blobs: BlobSource,
        waits: Waits,
        published: Published | None = None,
    ) -> None:
        if identity.public_key != pinned.policy.log_key:
            raise Misuse("identity: the policy has another log key")
        super().__init__(pinned, identity, LogRecord(pinned, store, published), engine, summation, blobs)
        self._waits, self._shown = waits, ShownSince(waits.clock)

    @property
    def size(self) -> int:
        """Entries in the log, published or not."""
        return self._record.size

    @property
    def published(self) -> int:
        """Entries under the last checkpoint that has its quorum."""
        return self._record.published

    @property
    def note(self) -> bytes:
        """The last checkpoint that has its quorum, for those who answer what it covers; empty for none."""
        return self._record.note

    def entries(self, start: int, stop: int) -> list[bytes]:
        """Entries start .. stop - 1: what a trustee that has seen `start` needs to observe a checkpoint of `stop`."""
        return self._record.entries(start, stop)

    def unpublished(self) -> Sequence[Entry]:
        """The entries behind the last checkpoint that has its quorum: what a transcript opened anew lacks."""
        return self._record.unpublished

    def checkpoint(self) -> bytes:
        """The log as it stands, signed, for the trustees to observe; durable before it is returned.

        Every blob of earlier publications must have been stored.
        """
        head = self._record.propose()
        return sign_checkpoint(head, head.origin, self._identity)

    def signed(self, proposal: Proposal) -> bytes:
        """The file that asks the parties of a proposal."""
        return seal_proposal(proposal, self._identity)

    def cosigned(self, note: bytes, lines: Iterable[bytes]) -> bytes:
        """The note of `checkpoint` with those of the trustees' lines that are valid, to be published before the next
        checkpoint is asked for; raises Rejected("checkpoint-quorum") if they are fewer than t."""
        policy = self._pinned.policy
        valid = {}
        for line in lines:
            trustee = self.cosigner(note, line)
            if trustee is not None:
                valid[trustee] = line
        complete = add_cosignatures(note, valid.values())
        check_note(parse_note(complete), policy.log_key, self._trustees(), policy.threshold, origin=policy.origin)
        self._record.settle(complete)
        self._waited()
        return complete

    def cosigner(self, note: bytes, line: bytes) -> str | None:
        """Whose valid cosignature of `note` this line is; None if it is nobody's."""
        policy = self._pinned.policy
        try:
            names = check_note(parse_note(add_cosignatures(note, [line])), policy.log_key, self._trustees(), 1)
        except (Malformed, Rejected):
            return None
        return names[0]

    def genesis(self, model: NDArray[np.float64], approvals: bytes = b"") -> Publication:
        """Entry 0. Raises Rejected("model") unless `model`, float64 (d,), is the policy's initial one; Malformed or
        Rejected("approvals") unless `approvals` are those that the policy demands, as `protocols.approvals.collect`
        gives them; what it does not demand is left out.
        """
        data, pinned = server_steps.encode_model(model), self._pinned
        blobs = {pinned.hash: pinned.data, blob_hash(data): data}
        named = None
        if pinned.approvals_size:
            check_approvals(pinned, approvals)
            named = blob_hash(approvals)
            blobs[named] = approvals
        message = Genesis(pinned.policy.federation, pinned.hash, blob_hash(data), named, receipts=None)
        return self._log([self._seal(message)], blobs)

    def open_round(self, round_keys: Sequence[bytes]) -> Publication:
        """Open the next round with these RoundKey entries; keys that are not admitted are refused, the others used.

        Raises Rejected("round-keys") if fewer than t are left, Misuse unless a checkpoint covers the last round's end
        and everything that trustees may have seen: RoundOpen names the last published checkpoint, and one that was
        signed, but missed its quorum, can be published by whoever collects the cosignatures later.
        """
        used: list[Entry] = []
        refused: list[Refusal] = []
        for data in round_keys:
            try:
                used.append(self.admitted_key(used, Entry.open(data)))
            except (Malformed, Rejected) as error:
                refused.append(Refusal(data, error))
        return replace(self.open_with(used), refused=tuple(refused))

    def admitted_key(self, others: Sequence[Entry], entry: Entry) -> Entry:
        """A RoundKey that the next round may be opened with, behind these others; raises Malformed or Rejected."""
        expected_message(RoundKey, entry)
        self._record.trial([*others, entry])
        return entry

    def open_with(self, keys: Sequence[Entry]) -> Publication:
        """`open_round` with keys that were admitted together; raises Rejected("draw") where those who draw clients are
        too few."""
        ledger = self._between_rounds()
        if self._record.published < max(ledger.ended, self._record.proposed):
            raise Misuse("open_round: publish a cosigned checkpoint of everything that was shown to trustees first")
        head, hashes = self._record.published_head(), [entry.hash for entry in keys]
        message = draft_open(self._pinned, ledger, head, hashes, expected_draw(self._pinned, self._record.trial(keys)))
        opened = self._log([*keys, self._seal(message)])
        self._opened = None
        return opened

    def logged(self, entry: bytes) -> bool:
        """Whether these very bytes are an entry of the log."""
        return self._record.position(entry, 0) is not None

    def invitation(self, since: int = 0, known: int = 0) -> Invitation:
        """For a client whose `last_seen` is `since` and whose `known_changes` is `known`. The model blob goes with it.

        With `known` 0 it carries every change of the membership since genesis.
        """
        return self._record.invitation(self._current(), since, known)

    def receive_change(self, entry: bytes) -> Publication:
        """Log a party's KeyRotation or the issuer's Revocation, between rounds; empty for bytes that are in the log.

        Raises Malformed or Rejected, with the names of `protocols.membership.changed_by`, for one that may not be.
        """
        if self._record.position(entry, 0) is not None:
            return NOTHING
        opened = Entry.open(entry)
        if not isinstance(opened.message, KeyRotation | Revocation):
            raise Malformed("entry", "a key-rotation or revocation", opened.envelope.type)
        return self._log([opened])

    def receive(self, package: SubmissionPackage) -> Publication:
        """Log a submission, valid or not, if it is a roster client's for this round with all its blobs.

        Empty for bytes that are in the log. Refused, by Malformed or Rejected: no submission of a roster client to
        this RoundOpen ("signature", "round", "order", ...); blobs missing or of another size than the policy fixes
        ("blob-missing", "blob-size", "blob-hash"); a third submission of one client ("duplicate"); a client that is not
        in the cohort opened last on this model ("retry-member").
        """
        current = self._current()
        self._check_published(current.index)
        if self._record.position(package.entry, current.index) is not None:
            return NOTHING
        entry = package.opened
        message = expected_message(Submission, entry)
        self._record.trial([entry])
        sizes = sized_blobs(self._pinned, message)
        package.check(sizes)
        return self._log([entry], {name: package.blobs[name] for name, _ in sizes})

    def receive_ack(self, ack: Acknowledgement) -> Publication:
        """Log a trustee's acknowledgement; empty for bytes that are in the log."""
        current = self._current()
        self._check_published(current.index)
        if self._record.position(ack.entry, current.index) is not None:
            return NOTHING
        expected_message(ShareAck, ack.opened)
        return self._log([ack.opened])

    def verdicts(self) -> list[SubmissionVerdict]:
        """A verdict on every submission of the round, ascending by index; new ones are judged in one batch."""
        return self.judged(self._current())

    def judged(self, of_round: CurrentRound) -> list[SubmissionVerdict]:
        """The same of any round of this log, as it was just before its end."""
        submissions = of_round.submissions
        faults = self._record.faults.of((each.index for each in submissions), self._judge)
        return [SubmissionVerdict(each.index, each.message.client, faults[each.index]) for each in submissions]

    def quorum_wait(self) -> int:
        """For how many seconds more acknowledgements have to be waited for: none once there are t, or where the round
        is given up for want of clients."""
        current = self._current()
        if len(current.acks) >= self._pinned.policy.threshold or not enough_submitted(self._pinned, current):
            return 0
        return max(0, self._waits.quorum - self._waited())

    def close_cohort(self) -> Publication:
        """Close the cohort by the rule of spec 8.7, or abort the round if there is none: see `Publication.aborted`.

        Misuse where fewer than t trustees have acknowledged the submissions of enough clients, and were not waited for.
        """
        current = self._collecting()
        faults = self._faults()
        if len(current.acks) < self._pinned.policy.threshold:
            return self._abort_uncertain(current)
        message = draft_cohort(self._pinned, current, faults)
        if not is_cohort(self._pinned, current, message):
            return self._abort(current, why_too_few(message))
        return self._log([self._seal(message)])

    def abort(self) -> Publication:
        """Give up the round for want of submissions, acknowledgements or releases; Misuse where there are enough to
        go on."""
        current = self._current()
        policy = self._pinned.policy
        if current.cohort is None:
            faults = self._faults()
            message = draft_cohort(self._pinned, current, faults)
            if is_cohort(self._pinned, current, message):
                raise Misuse("abort: the cohort can be closed")
            if len(current.acks) < policy.threshold:
                return self._abort_uncertain(current)
            return self._abort(current, why_too_few(message))
        if len(self.valid_releases()) >= policy.threshold:
            raise Misuse("abort: with t valid releases a round must close")
        return self._abort(current, MISSING_RELEASES, self._missing(current))

    def endings(self) -> tuple[str, ...]:
        """The reasons for which the federation may be closed now, none inside a round; see `ending_reasons`."""
        ledger = self.ledger
        between = ledger.model is not None and ledger.current is None and ledger.closed is None
        return ending_reasons(self._pinned, ledger) if between else ()

    def close_federation(self, reason: str) -> Publication:
        """End the log for good, between rounds, for one of `endings`: the last closed model is final.

        Raises Rejected("ending") for a reason that does not hold, Rejected("order") inside a round.
        """
        return self._log([self._seal(draft_end(self._pinned, self.ledger, reason))])

    def _faults(self) -> dict[int, Fault]:
        return {each.index: each.fault for each in self.verdicts() if each.fault is not None}

    def _judge(self, messages: Sequence[Submission], seed: bytes) -> list[Fault | None]:
        return judge(self._engine, self._pinned, messages, seed, self._blobs)

    def _trustees(self) -> tuple[Member, ...]:
        """Those who are in force, with their keys, as of the log's end."""
        return self.ledger.membership.trustees(self._pinned.policy)

    def _abort_uncertain(self, current: CurrentRound) -> Publication:
        """With fewer than t acknowledgements: for want of clients, or of trustees, who then have had their time."""
        if not enough_submitted(self._pinned, current):
            return self._abort(current, TOO_FEW_SUBMISSIONS)
        self._check_published(current.submissions[-1].index)  # nobody can acknowledge what nobody was shown
        wait = self.quorum_wait()
        if wait:
            missing = self._pinned.policy.threshold - len(current.acks)
            raise Misuse(
                f"round {current.number}: {missing} acknowledgements are missing; wait {wait} seconds before the round "
                "is given up for them"
            )
        return self._abort(current, NO_QUORUM, unacknowledged(current))

    def _waited(self) -> int:
        """Seconds since the newest submissions of the open round were published, as far as this process knows."""
        current = self.ledger.current
        if current is None or (current.submissions and current.submissions[-1].index >= self._record.published):
            return 0
        return self._shown.seconds(current.number, len(current.submissions))

    def _between_rounds(self) -> Ledger:
        ledger = self.ledger
        if ledger.model is None or ledger.current is not None:
            raise Misuse("open_round: genesis first, and the end of the round before")
        return ledger

    def _collecting(self) -> CurrentRound:
        current = self._current()
        if current.cohort is not None:
            raise Misuse(f"round {current.number}: the cohort is closed already")
        return current
