"""Servers whose lies pass every rule that a trustee can check, since what shows them is in blobs, or comes too late.

The log takes these entries, so the round goes on; that is what the audit is for. Lies that no honest trustee would
cosign are in `forgeries`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.errors import Misuse
from proofs.randomness import Randomness
from protocols.cohorts import INVALID_PROOF
from protocols.envelopes import open_envelope
from protocols.identities import SigningKey
from protocols.lattice import encryption, public
from protocols.messages import RoundClosed, Submission
from protocols.opening import OpenedSum
from protocols.pinned import PinnedPolicy
from protocols.rounds.aggregation import (
    OpenedAggregate,
    Summation,
    named,
    open_cohort,
    row_commitments,
    sum_ciphertexts,
)
from protocols.rounds.coordinator import Coordinator, Verdict
from protocols.rounds.drafts import draft_aggregate
from protocols.rounds.exchange import NOTHING, Publication, Release, SubmissionPackage
from protocols.rounds.ledger import CurrentRound, LoggedSubmission, is_in
from protocols.rounds.submitting import Secrets
from protocols.steps import step as server_steps
from protocols.stores import Store
from protocols.submissions import BlobSource, Fault, read_blob
from verifl.agents.clock import ONE_PROCESS

Residues = NDArray[np.int64]


@dataclass(frozen=True)
class ServerPart:
    """Who plays a lying server: what `Coordinator` takes, when it lies, and about whom.

    secrets: what the victim confided, for those who need it. sybil: the client that is the server's own.
    """

    pinned: PinnedPolicy
    identity: SigningKey
    store: Store
    engine: Engine
    summation: Summation
    blobs: BlobSource
    rand: Randomness
    active: Callable[[], bool]
    victim: str = ""
    sybil: str = ""
    secrets: Callable[[], Secrets | None] = lambda: None


class LyingCoordinator(Coordinator):
    """An honest coordinator but while it is active."""

    def __init__(self, part: ServerPart) -> None:
        super().__init__(part.pinned, part.identity, part.store, part.engine, part.summation, part.blobs, ONE_PROCESS)
        self._part = part

    def _victims(self, submissions: Iterable[LoggedSubmission]) -> list[LoggedSubmission]:
        return [each for each in submissions if each.message.client == self._part.victim]


class FalseSum(LyingCoordinator):
    """Opens the true sum, and publishes another one with ciphertext, key and blindings to match it."""

    def falsify(self, current: CurrentRound, ciphertext: Residues, total: OpenedSum) -> tuple[Residues, OpenedSum]:
        """The sum to publish, from the true one."""
        raise NotImplementedError

    def aggregate(self) -> Publication:
        if not self._part.active():
            return super().aggregate()
        current, pinned, part = self._current(), self._pinned, self._part
        valid = [(name, share) for name, share in self._releases().items() if share is not None]
        used = dict(valid[: pinned.policy.threshold])
        ciphertext = sum_ciphertexts(pinned, current, part.summation, part.blobs)
        commitments = row_commitments(pinned, current, part.blobs)
        true = open_cohort(part.engine, pinned, current, used, ciphertext, commitments)
        residues, total = self.falsify(current, ciphertext, true.total)
        self._opened = false = OpenedAggregate(
            encryption.pack(pinned.lattice, residues % pinned.lattice.modulus), total
        )
        message = draft_aggregate(pinned, current, frozenset(used), false.blobs())
        return self._log([self._seal(message)], named(false.blobs()))


class AddsTerm(FalseSum):
    """A quarter of the bound on every coordinate, as one more client would have sent it."""

    def falsify(self, current: CurrentRound, ciphertext: Residues, total: OpenedSum) -> tuple[Residues, OpenedSum]:
        pinned, rand = self._pinned, self._part.rand
        bound = pinned.policy.update.norm_bound
        term = np.zeros(pinned.cells, dtype=np.int64)
        term[: pinned.policy.dimension] = max(1, bound // 4)
        key = encryption.generate_key(pinned.lattice, rand)
        elements = public.expand(pinned.lattice, current.message.seed, pinned.cells)
        own = encryption.encrypt(pinned.lattice, elements, key, term, rand)
        plaintext = total.plaintext + term[: pinned.policy.dimension]
        return ciphertext + own, replace(total, key=total.key + key, plaintext=plaintext)


class MiscountsClient(FalseSum):
    """Counts a client that confided its secrets `weight` times too often: in the plaintext, in the ciphertext, in the
    key and in the blindings, so that what is published agrees with itself."""

    weight = 1

    def falsify(self, current: CurrentRound, ciphertext: Residues, total: OpenedSum) -> tuple[Residues, OpenedSum]:
        secrets, weight = self._part.secrets(), self.weight
        members = self._victims(current.members())
        if secrets is None or not members:
            raise Misuse(f"inject: {self._part.victim} is not in the cohort")
        pinned, size = self._pinned, self._pinned.ciphertext_size
        own = encryption.unpack(
            pinned.lattice, read_blob(self._part.blobs, members[0].message.ciphertext, size), pinned.cells
        )
        update = secrets.committed.message[: pinned.policy.dimension]
        rows = zip(total.blindings, secrets.committed.blindings, strict=True)
        return ciphertext + weight * own, OpenedSum(
            total.key + weight * secrets.noise.key,
            total.plaintext + weight * update,
            tuple((rho + weight * mine) % ORDER for rho, mine in rows),
        )


class DropsClient(MiscountsClient):
    """Leaves the client out."""

    weight = -1


class RejectsValid(LyingCoordinator):
    """Calls the victim's proof invalid. Trustees see that the log says so; only those who verify proofs know better."""

    def verdicts(self) -> list[Verdict]:
        honest = super().verdicts()
        if not self._part.active():
            return honest
        fault = Fault(INVALID_PROOF, "linear-relation")
        return [replace(each, fault=fault) if each.client == self._part.victim else each for each in honest]


class SkipsStep(LyingCoordinator):
    """Publishes the true sum, and the model that the round was opened on as the next one."""

    def close_round(self) -> Publication:
        if not self._part.active():
            return super().close_round()
        current, state = self._current(), self.step_state()
        model, optimizer = server_steps.encode_model(state.model), server_steps.encode_optimizer(state)
        blobs = named({"model": model} if optimizer is None else {"model": model, "optimizer": optimizer})
        hashes = list(blobs)
        message = RoundClosed(
            self._pinned.policy.federation,
            current.number,
            current.aggregate or b"",
            hashes[0],
            hashes[1] if optimizer is not None else None,
        )
        return self._log([self._seal(message)], blobs)


class IgnoresClient(LyingCoordinator):
    """Loses what one client sends."""

    def receive(self, package: SubmissionPackage) -> Publication:
        message = open_envelope(package.entry).message
        if isinstance(message, Submission) and message.client == self.unwelcome():
            return NOTHING
        return super().receive(package)

    def unwelcome(self) -> str:
        """The client whose submission is lost, empty for none."""
        return self._part.victim if self._part.active() else ""


class WithholdsReleases(IgnoresClient):
    """Keeps to itself all releases but t - 1. The round is aborted, and names trustees that did release; the server
    can open the sum all the same."""

    def receive_release(self, release: Release) -> Publication:
        if self.withholds() and len(self._current().releases) >= self._pinned.policy.threshold - 1:
            return NOTHING
        return super().receive_release(release)

    def withholds(self) -> bool:
        """Whether it does so in this round."""
        return self._part.active()

    def unwelcome(self) -> str:
        return ""


class AbortsAndRetries(WithholdsReleases):
    """In the repetition of such a round it calls the victim's proof invalid: who is at fault may be missing."""

    _aborted = 0  # the round that was aborted

    def verdicts(self) -> list[Verdict]:
        honest, number = super().verdicts(), self._current().number
        if self._part.active():
            self._aborted = number
        if not self._aborted or number != self._aborted + 1:
            return honest
        fault = Fault(INVALID_PROOF, "linear-relation")
        return [replace(each, fault=fault) if each.client == self._part.victim else each for each in honest]


class SwapsCohorts(WithholdsReleases):
    """Hears others in a repetition than in the round before. outsiders: what clients sent whom the log does not admit
    there."""

    first = 0  # the injected round

    def __init__(self, part: ServerPart) -> None:
        super().__init__(part)
        self.outsiders: list[SubmissionPackage] = []

    def heard(self, repetition: int, client: str) -> bool:
        """Whether what a client sends is logged, in the injected round (0) and those that repeat it (1, 2, ...)."""
        raise NotImplementedError

    def receive(self, package: SubmissionPackage) -> Publication:
        current, message = self._current(), open_envelope(package.entry).message
        if self._part.active():
            self.first = current.number
        if not self.first or not isinstance(message, Submission):
            return super().receive(package)
        if not self.heard(current.number - self.first, message.client):
            return NOTHING
        if current.earlier is None or is_in(self._pinned, current.earlier, message.client):
            return super().receive(package)
        self.outsiders.append(package)
        return NOTHING


class SwapsSybil(SwapsCohorts):
    """A client of the server's own stays out of the first round and takes the victim's place in the second."""

    def heard(self, repetition: int, client: str) -> bool:
        return client != (self._part.victim if repetition else self._part.sybil)


class AbortsTwice(SwapsCohorts):
    """All, then half of the others, then the other half: the first sum less the two is the victim's update, and every
    two of the cohorts differ by min_cohort clients or more."""

    def withholds(self) -> bool:
        return 0 < self.first <= self._current().number <= self.first + 1

    def heard(self, repetition: int, client: str) -> bool:
        others = [member.id for member in self._pinned.policy.roster if member.id != self._part.victim]
        half = len(others) // 2
        return not repetition or client in (others[:half] if repetition == 1 else others[half:])


LIARS: dict[str, type[LyingCoordinator]] = {
    "server-adds-term": AddsTerm,
    "server-drops-client": DropsClient,
    "server-duplicates-client": MiscountsClient,
    "server-rejects-valid": RejectsValid,
    "server-skips-step": SkipsStep,
    "server-ignores-client": IgnoresClient,
    "server-withholds-releases": WithholdsReleases,
    "abort-and-retry": AbortsAndRetries,
    "sybil-swap": SwapsSybil,
    "two-aborts": AbortsTwice,
}
