"""The coordinator's part from a closed cohort to the next model: releases, the sum, the server step (spec 8.9).

What `protocols.rounds.coordinator` says of its steps holds for these, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Engine
from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import Entry, expected_message, open_envelope, seal
from protocols.identities import SigningKey
from protocols.messages import COORDINATOR, Aggregate, Message, MissingParty, Release
from protocols.opening import decode_plaintext
from protocols.pinned import PinnedPolicy
from protocols.reasons import MISSING_RELEASES, OPENING_FAILED
from protocols.rounds.aggregation import (
    JudgedReleases,
    OpenedAggregate,
    Summation,
    named,
    open_cohort,
    row_commitments,
    sum_ciphertexts,
)
from protocols.rounds.closing import unreleased
from protocols.rounds.drafts import draft_abort, draft_aggregate, draft_close
from protocols.rounds.exchange import NOTHING, Publication, ReleasePackage
from protocols.rounds.ledger import CurrentRound, Ledger, LoggedCohort
from protocols.rounds.record import LogRecord
from protocols.sharing import Share
from protocols.steps import step as server_steps
from protocols.steps.step import StepState
from protocols.submissions import BlobSource, check_blob, read_blob
from protocols.weights import WeighedSum


class SummingCoordinator:
    """A coordinator that sums, and steps; a `Coordinator` is one that runs whole rounds."""

    def __init__(
        self,
        pinned: PinnedPolicy,
        identity: SigningKey,
        record: LogRecord,
        engine: Engine,
        summation: Summation,
        blobs: BlobSource,
    ) -> None:
        self._pinned, self._identity, self._record = pinned, identity, record
        self._engine, self._summation, self._blobs = engine, summation, blobs
        self._released = JudgedReleases(engine, pinned, blobs)
        self._opened: OpenedAggregate | None = None

    @property
    def ledger(self) -> Ledger:
        """What the log says so far."""
        return self._record.ledger

    def receive_release(self, release: ReleasePackage) -> Publication:
        """Log a trustee's release, right or wrong: a wrong one is evidence. Empty for bytes that are in the log."""
        current = self._releasing()
        self._check_published(_cohort(current).index)
        entry = release.opened
        message = expected_message(Release, entry)
        check_blob(message.share, self._pinned.share_size, release.blob)
        if self._record.position(release.entry, current.index) is not None:
            return NOTHING
        return self._log([entry], {message.share: release.blob})

    def valid_releases(self) -> list[str]:
        """Trustees whose release is logged and opens the cohort's commitments, in log order; t of them suffice."""
        return [trustee for trustee, share in self._releases().items() if share is not None]

    def aggregate(self) -> Publication:
        """Open the sum with the first t valid releases, or abort: too few of them, or a sum that does not open."""
        current = self._releasing()
        if len(self.valid_releases()) < self._pinned.policy.threshold:
            return self._abort(current, MISSING_RELEASES, self._missing(current))
        opened = self.open_sum()
        return self._abort(current, OPENING_FAILED) if opened is None else self.publish_sum(opened)

    def open_sum(self) -> OpenedAggregate | None:
        """The sum over the closed cohort, opened with the first t valid releases; None for one that does not open.

        Nothing is logged. Raises Misuse for fewer releases, Rejected("blob-...") where a blob cannot be had.
        """
        current, used = self._releasing(), self._used_releases()
        ciphertext = sum_ciphertexts(self._pinned, current, self._summation, self._blobs)
        commitments = row_commitments(self._pinned, current, self._blobs)
        try:
            return open_cohort(self._engine, self._pinned, current, used, ciphertext, commitments)
        except (Malformed, Rejected):
            return None

    def publish_sum(self, opened: OpenedAggregate) -> Publication:
        """The Aggregate of a sum that the first t valid releases opened."""
        current, blobs = self._releasing(), opened.blobs()
        message = draft_aggregate(self._pinned, current, frozenset(self._used_releases()), blobs)
        self._opened = opened
        return self._log([self._seal(message)], named(blobs))

    def close_round(self) -> Publication:
        """The server step on the opened sum, and the next model."""
        return self.publish_step(self.next_state())

    def next_state(self) -> StepState:
        """What the server step makes of the opened sum; nothing is logged."""
        current = self._current()
        if current.aggregate is None or current.cohort is None:
            raise Misuse("close_round: aggregate first")
        policy = self._pinned.policy
        total = WeighedSum.of(policy, self._plaintext(current), current.summands)
        return server_steps.apply_step(policy, self.step_state(), total.update, total.weight, current.number)

    def publish_step(self, state: StepState) -> Publication:
        """The RoundClosed of an aggregated round: `state` is what rounds open on next."""
        current = self._current()
        if current.aggregate is None:
            raise Misuse("close_round: aggregate first")
        message, blobs = draft_close(self._pinned, current.number, current.aggregate, state)
        return self._log([self._seal(message)], blobs)

    def step_state(self) -> StepState:
        """The model that rounds open on now, and what the server step remembers."""
        policy = self._pinned.policy
        if self.ledger.model is None:
            raise Misuse("step_state: genesis first")
        data = read_blob(self._blobs, self.ledger.model, self._pinned.model_size)
        model = server_steps.decode_model(data, policy.dimension)
        closed = self._record.last_closed
        if closed is None:
            return server_steps.initial_state(policy, model)
        if closed.optimizer is None:
            return StepState(model, ())
        data = read_blob(self._blobs, closed.optimizer, self._pinned.optimizer_size)
        return StepState(model, server_steps.decode_optimizer(policy, data))

    def _check_published(self, index: int) -> None:
        """Whoever answers an entry must have seen it under t cosignatures."""
        if self._record.published <= index:
            raise Misuse(f"publish a cosigned checkpoint that covers entry {index} first")

    def _seal(self, message: Message) -> Entry:
        return Entry.open(seal(message, COORDINATOR, self._identity))

    def _log(
        self, entries: Sequence[Entry], blobs: dict[bytes, bytes] | None = None, aborted: str | None = None
    ) -> Publication:
        self._record.append(entries)
        return Publication(tuple(entries), blobs or {}, aborted)

    def _abort(self, current: CurrentRound, reason: str, missing: Sequence[MissingParty] = ()) -> Publication:
        return self._log([self._seal(draft_abort(self._pinned, current, reason, missing))], aborted=reason)

    def _releases(self) -> dict[str, Share | None]:
        return self._released.of(self._current())

    def _used_releases(self) -> dict[str, Share]:
        """The first t valid ones, by trustee."""
        threshold = self._pinned.policy.threshold
        valid = [(name, share) for name, share in self._releases().items() if share is not None]
        if len(valid) < threshold:
            raise Misuse(f"expected {threshold} valid releases, found {len(valid)}")
        return dict(valid[:threshold])

    def _missing(self, current: CurrentRound) -> tuple[MissingParty, ...]:
        wrong = frozenset(trustee for trustee, share in self._releases().items() if share is None)
        return unreleased(current, wrong)

    def _plaintext(self, current: CurrentRound) -> NDArray[np.int64]:
        """The opened sum: at hand, or read back after a resumption."""
        if self._opened is not None:
            return self._opened.total.plaintext
        entry = self._record.entry_with_hash(current.aggregate, current.index)
        message = open_envelope(entry).message
        if not isinstance(message, Aggregate):
            raise Misuse("close_round: the log has no aggregate")
        size = self._pinned.plaintext_size
        return decode_plaintext(self._pinned, read_blob(self._blobs, message.plaintext, size))

    def _current(self) -> CurrentRound:
        current = self.ledger.current
        if current is None:
            raise Misuse("no round is open")
        return current

    def _releasing(self) -> CurrentRound:
        current = self._current()
        if current.cohort is None or current.aggregate is not None:
            raise Misuse(f"round {current.number}: expected a closed cohort without an aggregate")
        return current


def _cohort(current: CurrentRound) -> LoggedCohort:
    if current.cohort is None:
        raise Misuse(f"round {current.number}: the cohort is not closed")
    return current.cohort
