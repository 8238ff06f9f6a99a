"""Servers whose lies pass every rule that a trustee can check, since what shows them is in blobs, or comes too late.

The log takes these entries, so the round goes on; that is what the audit is for. Lies that no honest trustee would
cosign are in `forgeries`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.errors import Misuse
from proofs.randomness import Randomness
from protocols.envelopes import open_envelope
from protocols.identities import SigningKey
from protocols.lattice import encryption, public
from protocols.messages import Submission
from protocols.opening import OpenedSum
from protocols.pinned import PinnedPolicy
from protocols.reasons import INVALID_PROOF
from protocols.rounds.aggregation import OpenedAggregate, Summation
from protocols.rounds.coordinator import Coordinator, SubmissionVerdict
from protocols.rounds.exchange import NOTHING, Publication, ReleasePackage, SubmissionPackage
from protocols.rounds.ledger import CurrentRound, is_in
from protocols.rounds.submitting import Secrets
from protocols.steps.step import StepState, apply_step
from protocols.stores import Store
from protocols.submissions import BlobSource, Fault, read_blob
from protocols.summation import Residues
from verifl.agents.clock import ONE_PROCESS


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
        self.part = part

    def current(self) -> CurrentRound:
        """The open round; Misuse for none."""
        if self.ledger.current is None:
            raise Misuse("inject: no round is open")
        return self.ledger.current


class FalseSum(LyingCoordinator):
    """Opens the true sum, and publishes another one with ciphertext, key and blindings to match it."""

    def aggregate(self) -> Publication:
        """See `Coordinator.aggregate`; raises Misuse where the true sum does not open."""
        if not self.part.active():
            return super().aggregate()
        true, pinned = self.open_sum(), self.part.pinned
        if true is None:
            raise Misuse("inject: the true sum does not open")
        residues = encryption.unpack(pinned.lattice, true.ciphertext, pinned.cells)
        residues, total = self.falsify(residues, true.total)
        return self.publish_sum(
            OpenedAggregate(encryption.pack(pinned.lattice, residues % pinned.lattice.modulus), total)
        )

    def falsify(self, ciphertext: Residues, total: OpenedSum) -> tuple[Residues, OpenedSum]:
        """The sum to publish, from the true one."""
        raise NotImplementedError


def _encrypted(
    pinned: PinnedPolicy, elements: public.PublicElements, key: NDArray[np.int32], term: Residues, rand: Randomness
) -> Residues:
    """As a client encrypts: with errors, or without any where noise for privacy takes their place."""
    if pinned.lattice.has_errors:
        return encryption.encrypt(pinned.lattice, elements, key, term, rand)
    return encryption.encrypt_noisy(pinned.lattice, elements, key, term)


class AddsTerm(FalseSum):
    """A quarter of the bound on every coordinate, as one more client would have sent it."""

    def falsify(self, ciphertext: Residues, total: OpenedSum) -> tuple[Residues, OpenedSum]:
        """See `FalseSum.falsify`."""
        pinned, rand = self.part.pinned, self.part.rand
        bound = pinned.policy.update.norm_bound
        term = np.zeros(pinned.cells, dtype=np.int64)
        term[: pinned.policy.dimension] = max(1, bound // 4)
        key = encryption.generate_key(pinned.lattice, rand)
        elements = public.expand(pinned.lattice, self.current().message.seed, pinned.cells)
        own = _encrypted(pinned, elements, key, term, rand)
        plaintext = total.plaintext + term[: len(total.plaintext)]
        return ciphertext + own, replace(total, key=total.key + key, plaintext=plaintext)


class MiscountsClient(FalseSum):
    """Counts a client that confided its secrets `weight` times too often: in the plaintext, in the ciphertext, in the
    key and in the blindings, so that what is published agrees with itself."""

    weight = 1

    def falsify(self, ciphertext: Residues, total: OpenedSum) -> tuple[Residues, OpenedSum]:
        """See `FalseSum.falsify`; raises Misuse where the victim is not in the cohort."""
        part, secrets, weight = self.part, self.part.secrets(), self.weight
        victims = [each.message for each in self.current().accepted_submissions() if each.message.client == part.victim]
        if secrets is None or not victims:
            raise Misuse(f"inject: {part.victim} is not in the cohort")
        pinned, size = part.pinned, part.pinned.ciphertext_size
        own = encryption.unpack(pinned.lattice, read_blob(part.blobs, victims[0].ciphertext, size), pinned.cells)
        update = secrets.committed.message[: len(total.plaintext)]
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

    def verdicts(self) -> list[SubmissionVerdict]:
        """See `Coordinator.verdicts`."""
        honest = super().verdicts()
        if not self.part.active():
            return honest
        fault = Fault(INVALID_PROOF, "linear-relation")
        return [replace(each, fault=fault) if each.client == self.part.victim else each for each in honest]


class SkipsStep(LyingCoordinator):
    """Publishes the true sum, and the model that the round was opened on as the next one."""

    def next_state(self) -> StepState:
        """See `Coordinator.next_state`."""
        return self.step_state() if self.part.active() else super().next_state()


class IgnoresWeights(LyingCoordinator):
    """Publishes the true sum of weighed updates, and divides it by how many they are."""

    def next_state(self) -> StepState:
        """See `Coordinator.next_state`."""
        if not self.part.active():
            return super().next_state()
        current, policy = self.current(), self.part.pinned.policy
        return apply_step(policy, self.step_state(), self._plaintext(current), current.summands.count, current.number)


class IgnoresClient(LyingCoordinator):
    """Loses what one client sends."""

    def receive(self, package: SubmissionPackage) -> Publication:
        """See `Coordinator.receive`."""
        message = open_envelope(package.entry).message
        if isinstance(message, Submission) and message.client == self.unwelcome():
            return NOTHING
        return super().receive(package)

    def unwelcome(self) -> str:
        """The client whose submission is lost, empty for none."""
        return self.part.victim if self.part.active() else ""


class AsksUndrawn(LyingCoordinator):
    """Asks everybody. outsiders: what clients sent who were not drawn."""

    def __init__(self, part: ServerPart) -> None:
        super().__init__(part)
        self.outsiders: list[SubmissionPackage] = []

    def receive(self, package: SubmissionPackage) -> Publication:
        """See `Coordinator.receive`."""
        message = open_envelope(package.entry).message
        if not self.part.active() or not isinstance(message, Submission):
            return super().receive(package)
        if is_in(self.part.pinned, self.current().drawn, message.client):
            return super().receive(package)
        self.outsiders.append(package)
        return NOTHING


class WithholdsReleases(IgnoresClient):
    """Keeps to itself all releases but t - 1. The round is aborted, and names trustees that did release; the server
    can open the sum all the same."""

    def receive_release(self, release: ReleasePackage) -> Publication:
        """See `Coordinator.receive_release`."""
        if self.withholds() and len(self.current().releases) >= self.part.pinned.policy.threshold - 1:
            return NOTHING
        return super().receive_release(release)

    def withholds(self) -> bool:
        """Whether it does so in this round."""
        return self.part.active()

    def unwelcome(self) -> str:
        """Nobody."""
        return ""


class AbortsAndRetries(WithholdsReleases):
    """In the repetition of such a round it calls the victim's proof invalid: who is at fault may be missing."""

    _aborted = 0  # the round that was aborted

    def verdicts(self) -> list[SubmissionVerdict]:
        """See `Coordinator.verdicts`."""
        honest, number = super().verdicts(), self.current().number
        if self.part.active():
            self._aborted = number
        if not self._aborted or number != self._aborted + 1:
            return honest
        fault = Fault(INVALID_PROOF, "linear-relation")
        return [replace(each, fault=fault) if each.client == self.part.victim else each for each in honest]


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
        """See `Coordinator.receive`."""
        current, message = self.current(), open_envelope(package.entry).message
        if self.part.active():
            self.first = current.number
        if not self.first or not isinstance(message, Submission):
            return super().receive(package)
        if not self.heard(current.number - self.first, message.client):
            return NOTHING
        if current.earlier is None or is_in(self.part.pinned, current.earlier.clients, message.client):
            return super().receive(package)
        self.outsiders.append(package)
        return NOTHING


class SwapsSybil(SwapsCohorts):
    """A client of the server's own stays out of the first round and takes the victim's place in the second."""

    def heard(self, repetition: int, client: str) -> bool:
        """See `SwapsCohorts.heard`."""
        return client != (self.part.victim if repetition else self.part.sybil)


class AbortsTwice(SwapsCohorts):
    """All, then half of the others, then the other half: the first sum less the two is the victim's update, and every
    two of the cohorts differ by min_cohort clients or more."""

    def withholds(self) -> bool:
        """In the injected round and the one after."""
        return 0 < self.first <= self.current().number <= self.first + 1

    def heard(self, repetition: int, client: str) -> bool:
        """See `SwapsCohorts.heard`."""
        others = [member.id for member in self.part.pinned.policy.roster if member.id != self.part.victim]
        half = len(others) // 2
        return not repetition or client in (others[:half] if repetition == 1 else others[half:])


LIARS: dict[str, type[LyingCoordinator]] = {
    "server-adds-term": AddsTerm,
    "server-drops-client": DropsClient,
    "server-duplicates-client": MiscountsClient,
    "server-rejects-valid": RejectsValid,
    "server-skips-step": SkipsStep,
    "server-ignores-weights": IgnoresWeights,
    "server-ignores-client": IgnoresClient,
    "server-asks-undrawn": AsksUndrawn,
    "server-withholds-releases": WithholdsReleases,
    "abort-and-retry": AbortsAndRetries,
    "sybil-swap": SwapsSybil,
    "two-aborts": AbortsTwice,
}
