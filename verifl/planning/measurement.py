"""A few rounds of training in the clear, on this machine: how long updates are, by round, client and tensor.

Nothing is clipped, rounded, encrypted or signed. Whoever calls this has the data of the clients that it measures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from proofs.errors import Misuse
from protocols.policy import Policy, WeightRule
from protocols.steps.doubles import Doubles
from protocols.steps.step import encode_model, initial_state, step_by
from protocols.weights import weight_of
from verifl.config import Config, UpdateConfig
from verifl.enrolment.policies import enrol
from verifl.planning.measured import Measurement
from verifl.planning.measured_turns import Turns
from verifl.progress import Progress
from verifl.strategies.weights import WeightsConfig, mapped, weighs, weight_rule
from verifl.tasks.base import StatefulTask, Task
from verifl.tasks.loading import checked_task, client_names
from verifl.tasks.user_code import ClientFailed, whole_turn
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import check_finite, tensor_filter


def measure(
    task: Task[Any] | StatefulTask[Any],
    config: Config,
    rounds: int,
    device: str,
    progress: Progress,
    clients: Sequence[str] = (),
) -> Measurement:
    """Train `rounds` rounds of these clients (of all, where none is named) by the configuration's server rule and its
    weights. Raises Misuse where the task fails or does not say what data weigh, a client is none of the task's, or no
    training changed anything."""
    checked = checked_task(task, "task")
    everybody = client_names(checked)
    for name in clients:
        if name not in everybody:
            raise Misuse(f"--client: the task has no client {name!r}; it has {', '.join(everybody)}")
    training = LocalTraining(checked, tensor_filter(config), device, config.federation.seed, weighs(config.weights))
    policy, rule = _policy(config, training, everybody), weight_rule(config.weights)
    state = initial_state(policy, training.initial())
    turns, data = Turns(training.layout), dict[str, float]()
    before = training.evaluate(state.model)
    for number in range(1, rounds + 1):
        asked = tuple(clients) or everybody
        deltas = [_turn(training, rule, name, number, state.model, turns, data, progress) for name in asked]
        made = [delta for delta in deltas if delta is not None]
        if not made:
            raise Misuse(f"round {number}: the turns of all clients failed, so there is nothing to measure")
        weights = [weight_of(weight) for weight in turns.weights[-len(made) :]]
        state = step_by(policy, state, np.average(made, axis=0, weights=weights), number)
    measured = turns.measurement(before, training.evaluate(state.model, rounds))
    if not measured.norms.any():
        raise Misuse(
            f"{rounds} rounds: training changed nothing that is sent, so there is nothing to measure; train() changes "
            "the model that it is given, in place, and that is another object in every turn: make the optimiser in "
            "train()"
        )
    return replace(measured, data=data)


def _policy(config: Config, training: LocalTraining, clients: Sequence[str]) -> Policy:
    """By which the rounds step; its bounds bound nothing here, so they are the simplest."""
    plain = config.model_copy(update={"update": UpdateConfig(clip_norm=1.0), "weights": WeightsConfig()})
    layout = training.layout
    initial = encode_model(training.initial())
    return enrol(plain, layout.specs, layout.dimension, clients, initial, os.urandom).policy


def _turn(
    training: LocalTraining,
    rule: WeightRule,
    client: str,
    number: int,
    model: Doubles,
    turns: Turns,
    data: dict[str, float],
    progress: Progress,
) -> Doubles | None:
    """The client's update; None, after a note, where its turn fails, as it would drop out of a round. data: the most
    that each client's weighed."""
    progress.stage(f"round {number}: {client} trains")
    try:
        before, after = training.train(client, model, number)
        with whole_turn(client):
            check_finite(after, training.layout, f"client {client}")
    except ClientFailed as error:
        progress.note(f"round {number}: {client} is left out: {error}")
        return None
    delta = after - before
    measured = training.measured(client)
    if measured is not None:
        data[client] = max(measured, data.get(client, 0.0))
    turns.add(number, client, delta, None if measured is None else mapped(measured, rule))
    return delta
