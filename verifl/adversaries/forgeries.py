"""Servers that rewrite, hide or double history: lies that honest parties refuse to their face.

Each is played at one moment of the injected round. It shows the lie to those whom it needs, and then publishes by
itself what it could not get cosigned: a transcript under the log's signature and those of f corrupt trustees. That one
is for the audit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from proofs.errors import Malformed, Misuse, Rejected
from proofs.randomness import Randomness
from protocols import hpke
from protocols.cohorts import cohort_digest
from protocols.contexts import round_seed
from protocols.envelopes import entry_hash, open_envelope, seal
from protocols.identities import SigningKey
from protocols.messages import CohortClosed, MissingParty, Release, RoundAborted, RoundKey, RoundOpen
from protocols.pinned import PinnedPolicy
from protocols.reasons import INVALID_PROOF, NO_ACKNOWLEDGEMENT, NO_QUORUM
from protocols.rounds.client import Client
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.drafts import draft_cohort
from protocols.rounds.exchange import ReleasePackage
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.trustee import Trustee
from protocols.steps import step as server_steps
from protocols.submissions import BlobSource, Fault
from protocols.verdicts import ACCEPTED, VERDICTS, spell
from verifl.adversaries.coordinators import AsksUndrawn, SwapsCohorts
from verifl.adversaries.forged_log import ForgedLog
from verifl.adversaries.trustees import Colluding

Answer = TypeVar("Answer")
FORGED = "forged"  # beside the transcript: what the server publishes alone


@dataclass(frozen=True)
class Declined:
    """An honest party did not do what it was asked."""

    party: str
    asked: str
    error: Malformed | Rejected

    @property
    def check(self) -> str:
        """The name of the check."""
        return self.error.check if isinstance(self.error, Rejected) else "malformed"

    def __str__(self) -> str:
        return f"{self.party} refuses {self.asked}: {self.error}"


class Caught(Rejected):
    """Honest parties refuse, and the run cannot go on without them. check: of the first refusal."""

    def __init__(self, refusals: Sequence[Declined], left: str) -> None:
        first = refusals[0]
        super().__init__(first.check, first.error.expected, first.error.found)
        self.refusals = tuple(refusals)
        self._left = left

    def __str__(self) -> str:
        first = self.refusals[0]
        names = ", ".join(dict.fromkeys(each.party for each in self.refusals if each.check == first.check))
        left = f"; {self._left}" if self._left else ""
        return f"{names} refused {first.asked}: {first.error}{left}"


@dataclass
class Scene:
    """The parties of a run as a malicious server sees them. colluders: the f corrupt trustees. refusals: what honest
    parties refused so far; `tell` says it to whoever watches. identities: the colluders' keys."""

    pinned: PinnedPolicy
    key: SigningKey
    coordinator: Coordinator
    clients: Sequence[Client]
    colluders: Sequence[Colluding]
    honest: Sequence[Trustee]
    identities: Mapping[str, SigningKey]
    blobs: BlobSource
    rand: Randomness
    transcript: Path
    forged: Path
    refusals: list[Declined]
    tell: Callable[[str], None]

    def fork(self, size: int) -> ForgedLog:
        """A log that agrees with the true one on its first `size` entries."""
        return ForgedLog(self.pinned, self.key, self.coordinator.entries(0, size))

    def current(self, log: ForgedLog) -> CurrentRound:
        """The round that a log has open; Misuse for none."""
        current = Follower.start().extended(self.pinned, log.entries).ledger.current
        if current is None:
            raise Misuse("inject: no round is open")
        return current

    def ask(self, party: str, asked: str, question: Callable[[], Answer]) -> Answer | None:
        """The answer, or None and the refusal noted; told only once for each party and reason."""
        try:
            return question()
        except (Malformed, Rejected) as error:
            known = {(each.party, each.check) for each in self.refusals}
            self.refusals.append(refusal := Declined(party, asked, error))
            if (party, refusal.check) not in known:
                self.tell(str(refusal))
            return None

    def show(self, log: ForgedLog, trustees: Sequence[Trustee]) -> list[bytes]:
        """The cosignatures that these trustees give to a forged log."""
        lines = [self._cosignature(log, each, int(time.time())) for each in trustees]
        return [line for line in lines if line is not None]

    def _cosignature(self, log: ForgedLog, trustee: Trustee, now: int) -> bytes | None:
        return self.ask(trustee.name, "to cosign", lambda: log.show(trustee, now))

    def publish(self, log: ForgedLog, lines: Sequence[bytes] = ()) -> None:
        """A checkpoint of the whole log, with whatever cosignatures there are, and the transcript."""
        log.cosigned(self.colluders, int(time.time()), lines)
        log.publish(self.transcript, self.forged)

    def stop(self) -> None:
        """End the run if somebody refused."""
        if self.refusals:
            raise Caught(self.refusals, f"what the server publishes alone is in {self.forged}")


class Forgery:
    """One lie; each moment is of the injected round, if nothing else is said. victim: the client that it is about, if
    any."""

    def __init__(self, victim: str) -> None:
        self.victim = victim
        self._split: list[bytes] = []

    def opened(self, scene: Scene) -> None:
        """RoundOpen is cosigned and published; nobody has answered."""

    def collected(self, scene: Scene) -> None:
        """All clients have had their turn; nobody has seen what was logged. Of this and every later round."""

    def closing(self, scene: Scene) -> None:
        """The coordinator has logged CohortClosed; nobody has seen it."""

    def closed(self, scene: Scene) -> None:
        """CohortClosed is cosigned and published; nobody has released."""

    def ended(self, scene: Scene) -> None:
        """The round's end is cosigned and published."""

    def other_cohort(self, scene: Scene, log: ForgedLog, current: CurrentRound) -> CohortClosed:
        """The cohort without the victim, whose proof is called invalid."""
        true = {each.index: each.fault for each in scene.coordinator.verdicts() if each.fault is not None}
        lies = {
            each.index: Fault(INVALID_PROOF, "linear-relation")
            for each in current.submissions
            if each.message.client == self.victim
        }
        message = draft_cohort(scene.pinned, replace(current, cohort=None), dict(sorted((lies | true).items())))
        if not lies or len(message.accepted) < scene.pinned.policy.min_cohort:
            raise Misuse(f"inject: without {self.victim} there is no cohort of {scene.pinned.policy.min_cohort}")
        log.append(message)
        return message


class TwoCohorts(Forgery):
    """A second CohortClosed in the same log."""

    def closed(self, scene: Scene) -> None:
        """See `Forgery.closed`."""
        log = scene.fork(scene.coordinator.size)
        self.other_cohort(scene, log, scene.current(log))
        scene.publish(log, scene.show(log, scene.honest))
        scene.stop()


class PrivateOpen(Forgery):
    """For one client: a model of the server's choice (all ones), and round keys that the server made for the corrupt
    trustees. The other trustees' keys are theirs."""

    def opened(self, scene: Scene) -> None:
        """See `Forgery.opened`."""
        current = scene.current(scene.fork(scene.coordinator.size))
        true = current.message
        log = scene.fork(true.round_keys[0])
        for key, index in zip(current.keys, true.round_keys, strict=True):
            corrupt = next((each for each in scene.colluders if each.name == key.trustee), None)
            log.entries.append(
                self._own_key(scene, true, key.trustee) if corrupt else scene.coordinator.entries(index, index + 1)[0]
            )
        ones = server_steps.encode_model(np.ones(scene.pinned.policy.dimension))
        keys = tuple(map(entry_hash, log.entries[true.round_keys[0] :]))
        seed = round_seed(true.checkpoint_root, true.round, keys)
        index = log.append(replace(true, model=log.put(ones), round_key_hashes=keys, seed=seed))
        scene.publish(log)
        client = next(each for each in scene.clients if each.name == self.victim)
        note = log.notes[log.size]
        invitation = log.invitation(note, index, true.round_keys, true.checkpoint_size, client.last_seen)
        scene.ask(client.name, "to answer", lambda: client.accept(invitation, ones))
        scene.show(log, scene.honest)
        scene.stop()

    def _own_key(self, scene: Scene, true: RoundOpen, trustee: str) -> bytes:
        _, public = hpke.generate_round_key(scene.rand)
        message = RoundKey(true.federation, true.policy, true.round, trustee, public, draw=None, rotation=None)
        return seal(message, trustee, scene.identities[trustee])


class ForksLog(Forgery):
    """The round as it was, with its first two releases in the other order: valid in itself, and another history."""

    def ended(self, scene: Scene) -> None:
        """See `Forgery.ended`."""
        log = scene.fork(scene.coordinator.size)
        first, second, *_ = _of_round(log, Release, scene.coordinator.ledger.rounds)
        log.entries[first], log.entries[second] = log.entries[second], log.entries[first]
        scene.publish(log, scene.show(log, scene.honest))
        scene.stop()


class RollsBack(Forgery):
    """Back to where the round was opened, and on from there as if nobody had answered it."""

    def ended(self, scene: Scene) -> None:
        """See `Forgery.ended`."""
        number = scene.coordinator.ledger.rounds
        (opened,) = _of_round(scene.fork(scene.coordinator.size), RoundOpen, number)
        log = scene.fork(opened + 1)
        current = scene.current(log)
        missing = tuple(MissingParty(key.trustee, NO_ACKNOWLEDGEMENT) for key in current.keys)
        log.append(RoundAborted(scene.pinned.policy.federation, number, current.entry, None, NO_QUORUM, missing))
        scene.publish(log, scene.show(log, scene.honest))
        scene.stop()


class SplitCohort(Forgery):
    """f corrupt trustees help: m - t honest ones are shown a second cohort, the others the true one. The corrupt ones
    cosign and release for both."""

    def closing(self, scene: Scene) -> None:
        """See `Forgery.closing`."""
        deceived, log = self._deceived(scene), scene.fork(scene.coordinator.size - 1)
        self.other_cohort(scene, log, scene.current(log))
        self._split = list(log.entries)
        note = log.cosigned(scene.colluders, int(time.time()), scene.show(log, deceived))
        scene.show(scene.fork(scene.coordinator.size), deceived)
        self._release(scene, log, note, deceived)
        scene.publish(log, scene.show(log, deceived))

    def closed(self, scene: Scene) -> None:
        """See `Forgery.closed`."""
        log = ForgedLog(scene.pinned, scene.key, self._split)
        scene.show(log, [each for each in scene.honest if each not in self._deceived(scene)])

    def _deceived(self, scene: Scene) -> Sequence[Trustee]:
        """The honest trustees that the true cohort can do without."""
        return scene.honest[scene.pinned.policy.threshold - len(scene.colluders) :]

    def _release(self, scene: Scene, log: ForgedLog, note: bytes, deceived: Sequence[Trustee]) -> None:
        """Every share of the second sum that the server can get: `note` is short of its quorum, which they see."""
        current = scene.current(log)
        if current.cohort is None:
            raise Misuse("inject: the second cohort is not closed")
        cohort, number = current.cohort, current.number
        given: list[ReleasePackage | None] = [each.release_anything(number, cohort) for each in scene.colluders]
        given += [scene.ask(each.name, "to release", _release(each, number, note, scene.blobs)) for each in deceived]
        for release in filter(None, given):
            log.entries.append(release.entry)
            log.put(release.blob)


def _release(trustee: Trustee, number: int, note: bytes, blobs: BlobSource) -> Callable[[], ReleasePackage]:
    return lambda: trustee.release(number, note, blobs)


class ForeignCohort(Forgery):
    """A repetition with clients who were not in the cohort that it repeats."""

    def collected(self, scene: Scene) -> None:
        """See `Forgery.collected`."""
        server, current = scene.coordinator, scene.coordinator.ledger.current
        if not isinstance(server, SwapsCohorts) or not server.outsiders or current is None:
            return
        log = scene.fork(server.size)
        pairs = [(each.message.client, each.entry) for each in current.submissions]
        accepted = [each.index for each in current.submissions]
        for package in server.outsiders:
            accepted.append(log.size)
            pairs.append((open_envelope(package.entry).signer, entry_hash(package.entry)))
            log.entries.append(package.entry)
            log.blobs.update(package.blobs)
        scene.show(log, scene.honest)
        asked = tuple(key.trustee for key in current.keys)
        digest = cohort_digest(current.entry, pairs, asked)
        federation, number = scene.pinned.policy.federation, current.number
        first = current.index + 1
        verdicts = spell(first, dict.fromkeys(accepted, ACCEPTED), VERDICTS, stop=log.size)
        log.append(CohortClosed(federation, number, current.entry, first, verdicts, (), asked, digest))
        scene.publish(log)
        scene.stop()


class LogsUndrawn(Forgery):
    """Submissions of clients who were not drawn, behind those of the others."""

    def collected(self, scene: Scene) -> None:
        """See `Forgery.collected`."""
        server = scene.coordinator
        if not isinstance(server, AsksUndrawn) or not server.outsiders:
            return
        log = scene.fork(server.size)
        for package in server.outsiders:
            log.entries.append(package.entry)
            log.blobs.update(package.blobs)
        scene.publish(log, scene.show(log, scene.honest))
        scene.stop()


def _of_round(log: ForgedLog, kind: type[Release | RoundOpen], number: int) -> list[int]:
    """Indices of the entries of one type in one round."""
    messages = [open_envelope(entry).message for entry in log.entries]
    return [index for index, each in enumerate(messages) if isinstance(each, kind) and each.round == number]


FORGERIES: dict[str, type[Forgery]] = {
    "server-two-cohorts": TwoCohorts,
    "server-private-open": PrivateOpen,
    "server-forks-log": ForksLog,
    "server-rolls-back": RollsBack,
    "server-asks-undrawn": LogsUndrawn,
    "colluding-trustees": SplitCohort,
    "sybil-swap": ForeignCohort,
    "two-aborts": ForeignCohort,
}
