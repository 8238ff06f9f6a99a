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
from collections.abc import Sequence
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
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.exchange import Publication
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
        played = _Round(setting, folder, writer)
        played.collect()
        played.acknowledge()
        played.release()
        played.open_sum(repeat)
        return played.result()


class _Round:
    def __init__(self, setting: Setting, folder: Path, writer: TranscriptWriter) -> None:
        self._setting = setting
        self._pinned, self._engine = self._setting.pinned, get_engine("native")
        self._update = in_units(self._pinned, random_delta(setting.pinned.policy.dimension))
        self._writer, self._watch = writer, Stopwatch()
        self._blobs = TranscriptReader(folder / TRANSCRIPT).blob
        self._entry_size = 0
        enrolled, common = self._setting.enrolment, (self._engine, os.urandom)
        self._coordinator = Coordinator(
            self._pinned, enrolled.coordinator, MemoryStore(), self._engine, add_residues, self._blobs, ONE_PROCESS
        )
        self._trustees = [
            Trustee(self._pinned, key, name, MemoryStore(), *common, ONE_PROCESS)
            for name, key in enrolled.trustees.items()
        ]
        (folder / POLICY).write_bytes(self._pinned.data)
        writer.put_policy(self._pinned.data)

    def collect(self) -> None:
        """Genesis, the round opened, every client's submission logged and judged."""
        self._publish(self._coordinator.genesis(self._setting.model))
        self._checkpoint()
        self._publish(self._coordinator.open_round([trustee.round_key(1) for trustee in self._trustees]))
        self._checkpoint()
        for name in self._setting.enrolment.clients:
            self._submit(name)
        with self._watch.phase("verify", among=len(self._setting.enrolment.clients)):
            verdicts = self._coordinator.verdicts()
        for verdict in verdicts:
            if verdict.fault is not None:
                raise Rejected(verdict.fault.reason, "a valid submission", verdict.fault.detail)
        self._checkpoint()

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
            publication = self._coordinator.receive(package)
        with watch.phase("store"):
            self._publish(publication)
        self._entry_size = len(package.entry)

    def acknowledge(self) -> None:
        """Every trustee's acknowledgement, then the cohort."""
        for trustee in self._trustees:
            with self._watch.phase("trustee", among=len(self._setting.enrolment.clients)):
                entry = trustee.acknowledge(1, self._coordinator.note, self._blobs)
            self._publish(self._coordinator.receive_ack(entry))
        self._publish(self._coordinator.close_cohort())
        self._checkpoint()

    def release(self) -> None:
        """The releases of all trustees that are asked."""
        cohort = self._current().cohort
        asked = cohort.message.trustees if cohort else ()
        for trustee in self._trustees:
            if trustee.name in asked:
                with self._watch.phase("release"):
                    release = trustee.release(1, self._coordinator.note, self._blobs)
                self._publish(self._coordinator.receive_release(release))

    def open_sum(self, repeat: int) -> None:
        """The parts of the aggregate, `repeat` times; then the coordinator's own, and the end of the round."""
        shares = self._released()
        for _ in range(repeat):
            self._open_once(shares)
        public.expand.cache_clear()
        with self._watch.phase("aggregate"):
            aggregated = self._coordinator.aggregate()
        self._publish(aggregated)
        with self._watch.phase("step"):
            closed = self._coordinator.close_round()
        self._publish(closed)
        self._checkpoint()

    def _open_once(self, shares: dict[str, sharing.Share]) -> None:
        pinned, current, watch = self._pinned, self._current(), self._watch
        with watch.phase("sum"):
            total = sum_ciphertexts(pinned, current, add_residues, self._blobs)
        public.expand.cache_clear()
        with watch.phase("decrypt"):
            opened = open_sum(pinned, current.message.seed, shares, total, len(current.members()))
        with watch.phase("opening"):
            commitments = row_commitments(pinned, current, self._blobs)
            check_opening(self._engine, pinned, opened.plaintext, opened.blindings, commitments)

    def _released(self) -> dict[str, sharing.Share]:
        """t verified shares of the sum, by trustee."""
        pinned, current = self._pinned, self._current()
        commitments = [
            self._blobs(each.message.share_commitments, pinned.share_commitments_size) for each in current.members()
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

    def _publish(self, publication: Publication) -> None:
        if publication.aborted is not None:
            raise Rejected("round", "a round that closes", publication.aborted)
        for blob in publication.blobs.values():
            self._writer.put_blob(blob)
        if publication.entries:
            self._writer.append(publication.entries)

    def _checkpoint(self) -> None:
        coordinator = self._coordinator
        with self._watch.phase("checkpoint"):
            note, now = coordinator.checkpoint(), int(time.time())
            lines = [each.observe(note, self._entries_after(each.size), now) for each in self._trustees]
            self._writer.publish(coordinator.cosigned(note, lines))

    def _entries_after(self, size: int) -> Sequence[bytes]:
        return self._coordinator.entries(size, self._coordinator.size)

    def _current(self) -> CurrentRound:
        current = self._coordinator.ledger.current
        if current is None:
            raise Rejected("order", "an open round", "none")
        return current
