"""The arms of the comparison: plain federated averaging, and verified rounds without their cryptography.

What a verified round does to accuracy is clipping, rounding, weighing and the server step. `verified` does exactly
these, by the code that parties and auditors run, on clients' updates in the clear: no commitment, proof or encryption
is made, so that a round costs its training. The models are those of a whole run, bit for bit (`proved` is one;
tests/ecosystem/test_accuracy.py compares the two).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from protocols.blobs import blob_hash
from protocols.policy import Policy
from protocols.steps.doubles import Doubles
from protocols.steps.step import apply_step, encode_model, initial_state
from protocols.stores import MemoryStore
from protocols.weights import Summands, WeighedSum, stated_of, vector_of
from verifl import Config, Federation
from verifl.agents.client import UNWATCHED, train_turn
from verifl.enrolment.policies import enrol
from verifl.strategies.weights import weighs
from verifl.tasks.base import Task
from verifl.tasks.loading import client_names
from verifl.training.local_training import LocalTraining
from verifl.training.own_tensors import LocalState
from verifl.training.tensors import tensor_filter


@dataclass(frozen=True)
class Round:
    """After a round: metrics of the model, and SHA-256 of it. clipped: the share of the clients' updates that the clip
    norm shortened; none of plain averaging."""

    number: int
    metrics: Mapping[str, float]
    model: bytes
    clipped: float = 0.0


@dataclass(frozen=True)
class _Opened:
    """Of a round that is open, what a client trains by."""

    number: int
    model: Doubles


def plain(task: Task[Any], config: Config, weighted: bool) -> Iterator[Round]:
    """Averaging in double precision, nothing clipped or rounded: by the numbers of samples, or all alike."""
    training = LocalTraining(task, tensor_filter(config), "cpu", config.federation.seed, weighed=weighted)
    model = training.initial()
    for number in range(1, config.federation.rounds + 1):
        total, weight = np.zeros_like(model), 0.0
        for client in sorted(client_names(task)):
            before, after = training.train(client, model, number)
            own = (training.measured(client) or 0.0) if weighted else 1.0
            total, weight = total + own * (after - before), weight + own
        model = model + total / weight
        yield Round(number, training.evaluate(model, number), blob_hash(encode_model(model)))


def verified(task: Task[Any], config: Config) -> Iterator[Round]:
    """What the rounds of `proved` do to the model, and nothing else of them; all clients take part in each."""
    training = LocalTraining(
        task,
        tensor_filter(config),
        "cpu",
        config.federation.seed,
        weighed=weighs(config.weights),
        rounds=config.federation.rounds,
    )
    initial, layout, clients = training.initial(), training.layout, sorted(client_names(task))
    encoded = encode_model(initial)
    policy = enrol(config, layout.specs, layout.dimension, clients, encoded, os.urandom).policy
    state, kept = initial_state(policy, initial), {client: LocalState(MemoryStore()) for client in clients}
    for number in range(1, config.federation.rounds + 1):
        total, clipped = _summed(training, policy, kept, _Opened(number, state.model))
        state = apply_step(policy, state, total.update, total.weight, number)
        yield Round(number, training.evaluate(state.model, number), blob_hash(encode_model(state.model)), clipped)


def _summed(
    training: LocalTraining, policy: Policy, kept: Mapping[str, LocalState], opened: _Opened
) -> tuple[WeighedSum, float]:
    """The sum that would be opened, and which share of the updates was clipped."""
    updates = [
        train_turn(training, policy, own, client, opened, UNWATCHED)  # type: ignore[arg-type]  # it reads no more
        for client, own in kept.items()
    ]
    plaintext = np.sum([vector_of(policy.weights, each.units, each.weight) for each in updates], axis=0)
    summands = Summands.of(stated_of(policy.weights, each.weight) for each in updates)
    return WeighedSum.of(policy, plaintext, summands), sum(each.clipped for each in updates) / len(updates)


def proved(task: Task[Any], config: Config) -> Iterator[Round]:
    """A whole run: commitments, proofs, encryption, trustees, transcript."""
    with tempfile.TemporaryDirectory() as place:
        result = Federation(task, config, Path(place) / "out").run()
        models = _models(result.transcript)
        for summary in result.rounds:
            if summary.aborted is None:
                yield Round(summary.round, summary.metrics, models[summary.round])


def _models(transcript: Path) -> dict[int, bytes]:
    """By round, the hash of the model that it closed with, as the log has it."""
    from protocols.envelopes import open_envelope
    from protocols.log.reader import TranscriptReader
    from protocols.messages import RoundClosed

    reader = TranscriptReader(transcript)
    messages = (open_envelope(entry).message for entry in reader.entries(0, reader.size))
    return {each.round: each.model for each in messages if isinstance(each, RoundClosed)}
