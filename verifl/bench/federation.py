"""A whole round with every party, a real transcript on disk, and the parties' private stores in memory.

accept        a client verifies the invitation and reads the model
client        a client's submission, from the fixed-point update: see `verifl.bench.client`
receive       the coordinator checks a package's hashes and sizes and logs it
store         its blobs are written to the transcript, durably
verify        the coordinator judges one submission, in one batch of all: ciphertext, share commitments, proof
checkpoint    a checkpoint observed and cosigned by every trustee, and published
trustee       one trustee's acknowledgement, a client: its share opened and verified
release       one trustee's release, in all
sum           the cohort's ciphertexts read, unpacked and added
decrypt       the key's sum reconstructed, the sum of the updates decrypted
opening       that it opens the sum of the cohort's row commitments
aggregate     the coordinator's step in all: releases verified, then the last three
step          the server step, and the next model
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from proofs.engines import get_engine
from proofs.errors import Rejected
from proofs.machine.workers import worker_count
from protocols import sharing
from protocols.lattice import public
from protocols.log.reader import TranscriptReader
from protocols.log.writer import TranscriptWriter
from protocols.opening import check_opening, check_release, open_sum
from protocols.rounds.aggregation import row_commitments, sum_ciphertexts
from protocols.rounds.client import Client
from protocols.rounds.conductor import Conductor, Due, Stage
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.exchange import (
    Acknowledge,
    Acknowledgement,
    Answer,
    Cosignature,
    Observe,
    OfferKey,
    ReleaseShare,
    RoundKeyOffer,
    Submit,
)
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.trustee import Trustee
from protocols.stores import MemoryStore
from protocols.summation import add_residues
from verifl.agents.clock import ONE_PROCESS
from verifl.bench.processes import POLICY, TRANSCRIPT
from verifl.bench.setting import Setting, describe_setting, describe_sizes, in_units, make_setting, random_delta
from verifl.bench.stopwatch import Stopwatch


def measure_round(
    dimension: int,
    clients: int,
    repeat: int,
    directory: str,
    encryption_proof: bool = False,
    coordinate_bound: float | None = None,
) -> dict[str, Any]:
    """Play one round of `clients` clients into `directory`/transcript and measure it; its policy is policy.cbor there.

    Every client submits the same update, with keys, noise, blindings and masks of its own. The sum, its decryption and
    the opening are measured `repeat` times, everything else once for each time that it occurs.
    """
    folder = Path(directory)
    setting = make_setting(dimension, clients, encryption_proof=encryption_proof, coordinate_bound=coordinate_bound)
    with TranscriptWriter(folder / TRANSCRIPT) as writer:
        played = _Round(setting, folder, writer, repeat)
        played.play()
        return played.result()


# What the coordinator does when it goes on from a stage.
_OWN_PHASES = {Stage.SUBMISSIONS: "verify", Stage.RELEASES: "aggregate", Stage.MODEL: "step"}


class _Round:
    def __init__(self, setting: Setting, folder: Path, writer: TranscriptWriter, repeat: int) -> None:
        self._setting, self._repeat = setting, repeat
        self._pinned, self._engine = self._setting.pinned, get_engine("native")
        self._update = in_units(self._pinned, random_delta(setting.pinned.policy.dimension))
        self._writer, self._watch = writer, Stopwatch()
        self._blobs = TranscriptReader(folder / TRANSCRIPT).blob
        self._entry_size = 0
        enrolled, common = self._setting.enrolment, (self._engine, os.urandom)
        self._coordinator = Coordinator(
            self._pinned, enrolled.coordinator, MemoryStore(), self._engine, add_residues, self._blobs, ONE_PROCESS
        )
        self._conductor = Conductor(self._pinned, self._coordinator, setting.model)
        self._trustees = {
            name: Trustee(self._pinned, key, name, MemoryStore(), *common, ONE_PROCESS)
            for name, key in enrolled.trustees.items()
        }
        (folder / POLICY).write_bytes(self._pinned.data)
        writer.put_policy(self._pinned.data)

    def play(self) -> None:
        """Genesis and one round, which closes."""
        self._carry_all()
        self._conductor.open_round()
        self._carry_all()
        if self._conductor.ended.aborted is not None:
            raise Rejected("round", "a round that closes", self._conductor.ended.aborted)

    def _carry_all(self) -> None:
        while (due := self._conductor.due).stage is not Stage.IDLE:
            if due.stage is Stage.SIGN:
                with self._watch.phase("checkpoint"):
                    self._checkpoint()
            else:
                self._ask(due)
                self._go_on(due.stage)

    def _checkpoint(self) -> None:
        self._writer.sync()
        self._conductor.proceed().write(self._writer)
        self._ask(self._conductor.due)
        self._conductor.proceed().write(self._writer)

    def _ask(self, due: Due) -> None:
        now = int(time.time())
        for name in due.parties:
            match due.question:
                case Observe(note, size):
                    entries = self._coordinator.entries(self._trustees[name].size, size)
                    self._take(name, Cosignature(self._trustees[name].observe(note, entries, now)))
                case OfferKey(number, _):
                    self._take(name, RoundKeyOffer(self._trustees[name].round_key(number)))
                case Submit():
                    self._submit(name)
                case Acknowledge(number, note):
                    with self._watch.phase("trustee", among=len(self._setting.enrolment.clients)):
                        entry = self._trustees[name].acknowledge(number, note, self._blobs)
                    self._take(name, Acknowledgement(entry))
                case ReleaseShare(number, note):
                    with self._watch.phase("release"):
                        release = self._trustees[name].release(number, note, self._blobs)
                    self._take(name, release)

    def _go_on(self, stage: Stage) -> None:
        if stage is Stage.RELEASES:
            self._open_parts()
        phase, among = _OWN_PHASES.get(stage), len(self._setting.enrolment.clients)
        with self._watch.phase(phase, among if phase == "verify" else 1) if phase else nullcontext():
            publication = self._conductor.proceed()
        publication.write(self._writer)
        if stage is Stage.SUBMISSIONS:
            self._check_verdicts()

    def _check_verdicts(self) -> None:
        for verdict in self._coordinator.verdicts():
            if verdict.fault is not None:
                raise Rejected(verdict.fault.reason, "a valid submission", verdict.fault.detail)

    def _submit(self, name: str) -> None:
        """One client, which exists only for this: its store holds a whole submission."""
        identity, watch = self._setting.enrolment.clients[name], self._watch
        client = Client(self._pinned, identity, name, MemoryStore(), self._engine, os.urandom)
        public.expand.cache_clear()  # another client expanded them, on another machine
        with watch.phase("accept"):
            model = self._blobs(self._current().message.model, self._pinned.model_size)
            opened = client.accept(self._coordinator.invitation(client.last_seen), model)
        with watch.phase("client"):
            package = client.submit(opened, self._update)
        with watch.phase("receive"):
            publication = self._conductor.take(name, package)
        with watch.phase("store"):
            publication.write(self._writer)
        self._entry_size = len(package.entry)

    def _open_parts(self) -> None:
        """The parts of the aggregate, `repeat` times, before the coordinator's own."""
        shares = self._released()
        for _ in range(self._repeat):
            self._open_once(shares)
        public.expand.cache_clear()

    def _open_once(self, shares: dict[str, sharing.Share]) -> None:
        pinned, current, watch = self._pinned, self._current(), self._watch
        with watch.phase("sum"):
            total = sum_ciphertexts(pinned, current, add_residues, self._blobs)
        public.expand.cache_clear()
        with watch.phase("decrypt"):
            opened = open_sum(pinned, current.message.seed, shares, total, current.summands)
        with watch.phase("opening"):
            commitments = row_commitments(pinned, current, self._blobs)
            check_opening(self._engine, pinned, opened.plaintext, opened.blindings, commitments)

    def _released(self) -> dict[str, sharing.Share]:
        """t verified shares of the sum, by trustee."""
        pinned, current = self._pinned, self._current()
        commitments = [
            self._blobs(each.message.share_commitments, pinned.share_commitments_size)
            for each in current.accepted_submissions()
        ]
        return {
            release.message.trustee: check_release(
                self._engine,
                pinned,
                release.message.trustee,
                self._blobs(release.message.share, pinned.share_size),
                commitments,
            )
            for release in current.releases[: pinned.policy.threshold]
        }

    def result(self) -> dict[str, Any]:
        """Phases, parameters and sizes."""
        return {
            "setting": describe_setting(self._pinned),
            "phases": self._watch.phases(),
            "bytes": describe_sizes(self._pinned, self._entry_size),
            "threads": worker_count(),
        }

    def _take(self, party: str, answer: Answer) -> None:
        self._conductor.take(party, answer).write(self._writer)

    def _current(self) -> CurrentRound:
        current = self._coordinator.ledger.current
        if current is None:
            raise Rejected("order", "an open round", "none")
        return current
