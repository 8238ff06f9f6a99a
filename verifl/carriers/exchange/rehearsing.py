"""A party of a rehearsal (spec 8.14): it says by its own key that it is there, then plays a round on made-up data.

What it needs for that it makes anew, in a directory for this rehearsal alone, and it removes it at the end: no key, no
state and no data of the federation are touched, but that its own key signs that it is there.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proofs.engines import get_engine
from proofs.errors import Malformed, Misuse, Rejected
from protocols.identities import SigningKey
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from protocols.rehearsals import REHEARSED_LIMIT, StandIn, check_rehearsal_policy, open_stand_in, seal_stand_in
from protocols.rounds.client import Client
from protocols.rounds.exchange import Question, SubmissionPackage, Submit
from protocols.rounds.proposals import OF_CLIENTS, OF_TRUSTEES
from protocols.rounds.versions import SOFTWARE
from protocols.rounds.waits import Waits
from protocols.weights import lightest
from verifl.agents.accepting import accept_round
from verifl.agents.clock import CosignatureClock, MachineClock, seconds
from verifl.agents.party import Party, PublicLog
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.exchange.participant import Participant
from verifl.carriers.exchange.public import PublicView
from verifl.carriers.exchange.stopping import Stop
from verifl.storage.history import ended_rounds
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import DirectoryStore, make_private_directory

_LOGGER = logging.getLogger(__name__)
TOO_LATE = "the key that this party made for it"


def made_up_model(policy: Policy) -> bytes:
    """The initial model of a rehearsal: d zeros."""
    return bytes(8 * policy.dimension)


def made_up_update(policy: Policy) -> NDArray[np.int64]:
    """An update, int64 (d,), within all bounds: one unit up and down in turn, in as many coordinates as may move."""
    rule = policy.update
    units = np.ones(policy.dimension, dtype=np.int64)
    units[1::2] = -1
    if rule.coordinate_bound == 0:
        units[:] = 0
    for group in rule.groups:
        units[group.start : group.stop] = np.sign(group.bound)
    moving = np.flatnonzero(units)[rule.norm_bound**2 :]
    units[moving] = 0
    return units


class _MadeUpClient:
    """A client that has no data: it proves, encrypts and shares what was made up."""

    def __init__(self, pinned: PinnedPolicy, party: Party) -> None:
        store, (key, *_) = DirectoryStore(party.directory.store), party.keys
        self._pinned = pinned
        self._client = Client(pinned, key, party.name, store, get_engine("native"), os.urandom)

    def answer(self, question: Question, log: PublicLog) -> SubmissionPackage:
        """Its submission; raises Malformed or Rejected for what it is shown."""
        if not isinstance(question, Submit):
            raise Misuse(f"{self._client.name}: a client answers no {type(question).__name__}")
        opened = accept_round(self._pinned, self._client, log)
        package = self._client.answered(opened)
        policy = self._pinned.policy
        return package or self._client.submit(opened, made_up_update(policy), lightest(policy.weights))

    def tend(self) -> None:
        """Nothing is kept that has to go."""


class Rehearsing:
    """One trustee or client, at the rehearsals that its coordinator calls. call: where they are called; round_at: where
    the round is played, for a party with this directory. key: the party's own, which signs that it is there."""

    def __init__(
        self,
        pinned: PinnedPolicy,
        name: str,
        key: SigningKey,
        state: Path,
        call: PublicView,
        round_at: Callable[[Path], PublicView],
        told: Callable[[str], None],
    ) -> None:
        self._pinned, self._name, self._key, self._state = pinned, name, key, state
        self._board, self._round_at, self._told = call, round_at, told
        self._rehearsal = b""  # the one that it takes part in
        self._stand_in = SigningKey.generate(os.urandom)
        self._round: tuple[PinnedPolicy, PublicView] | None = None
        self._participant: Participant | None = None
        self._refused = ""

    def run(self, stop: Stop, poll: float, patience: float) -> str:
        """Take part in one rehearsal; how its round ended: "closed", or the reason of an abort.

        Raises Malformed or Rejected for what it refuses, Rejected("rehearsal") where it is not let in, or `patience`
        seconds after the start; Stopped.
        """
        clock = MachineClock()
        until = clock.monotonic() + patience
        try:
            while (ended := self._look()) is None:
                if clock.monotonic() > until:
                    at = self._refused or ("it has not ended" if self._rehearsal else "nobody called one")
                    raise Rejected("rehearsal", f"a rehearsal within {patience:.0f} s", at)
                stop.pause(poll)
        finally:
            shutil.rmtree(self._state, ignore_errors=True)
        return ended

    def look(self) -> str | None:
        """Do what is due; how the round ended, or None as long as it has not."""
        if self._participant is not None:
            self._participant.look()
            ended = self._ended()
            if ended is not None:
                return ended
        data = self._board.proposal()
        if data is None:
            return None
        call = self._opened(data)
        if call.rehearsal != self._rehearsal:
            self._enter(call.rehearsal)
        elif call.rehearsed is not None and self._participant is None:
            self._participant = self._sit(call)
        return None

    def _look(self) -> str | None:
        """As `look`; what is refused once it has a seat, or not to be had, may be another thing at the next look."""
        try:
            return self.look()
        except OSError as error:  # nobody has called one yet, or it is not to be reached
            self._refused = "" if isinstance(error, FileNotFoundError) else str(error)
            return None
        except (Malformed, Rejected) as error:
            if self._participant is None:
                raise
            if str(error) != self._refused:
                self._refused = str(error)
                check = error.check if isinstance(error, Rejected) else "malformed"
                fields = {"event": "refuses", "check": check}
                _LOGGER.warning("%s refuses: %s", self._name, error, extra={"fields": fields})
            return None

    def _opened(self, data: bytes) -> StandIn:
        """The coordinator's call. One under another policy is answered all the same: so that it hears of it."""
        try:
            return open_stand_in(self._pinned, data)
        except Rejected as error:
            if error.check in ("federation", "policy-hash"):
                self._say(bytes(32))
            raise

    def _enter(self, rehearsal: bytes) -> None:
        self._stand_in, self._participant = SigningKey.generate(os.urandom), None
        shutil.rmtree(self._state, ignore_errors=True)
        make_private_directory(self._state)
        self._say(rehearsal)
        self._rehearsal = rehearsal
        self._told(f"{self._name} is at the rehearsal {rehearsal.hex()[:16]}")

    def _say(self, rehearsal: bytes) -> None:
        pinned, policy = self._pinned, self._pinned.policy
        own = StandIn(policy.federation, pinned.hash, self._name, self._stand_in.public_key, rehearsal, None, SOFTWARE)
        self._board.put(self._name, seal_stand_in(own, self._key))

    def _sit(self, call: StandIn) -> Participant:
        """Take a seat under the rehearsal's policy."""
        model, name = made_up_model(self._pinned.policy), call.rehearsed or b""
        rehearsed = PinnedPolicy.open(self._board.bundle(name, REHEARSED_LIMIT))
        check_rehearsal_policy(self._pinned, rehearsed, call, model)
        policy, own = rehearsed.policy, self._stand_in.public_key
        is_trustee = own in {member.public_key for member in policy.trustees}
        if not is_trustee and own not in {member.public_key for member in policy.roster}:
            raise Rejected("rehearsal", TOO_LATE, "a policy without it: it came too late, or was refused")
        played = self._round_at(self._state)
        self._round = rehearsed, played
        party = Party(self._name, (self._stand_in,), PartyDirectory(self._state))
        clock = MachineClock()
        if not is_trustee:
            client = _MadeUpClient(rehearsed, party)
            return Participant(played, rehearsed, self._name, OF_CLIENTS, client.answer, client.tend, clock)
        agent = TrusteeAgent.open(rehearsed, party, Waits(seconds, quorum=0), CosignatureClock())
        return Participant(played, rehearsed, self._name, OF_TRUSTEES, agent.answer, agent.expire, clock)

    def _ended(self) -> str | None:
        if self._round is None:
            return None
        rehearsed, played = self._round
        reader = played.reader()
        ended = [] if reader is None else ended_rounds(rehearsed, reader.stream(0, reader.size))
        return (ended[0].aborted or "closed") if ended else None
