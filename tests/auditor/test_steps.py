"""A server that steps otherwise than the policy says, where all that matters to a step is there: hidden weights, an
adaptive rule, another learning rate in each round, statistics with a scale, clients that are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from protocols.messages import Aggregate, RoundClosed, RoundKey, RoundOpen
from protocols.policy import PARAMETER, Policy, WeightRule
from protocols.steps.doubles import format_double
from protocols.steps.registry import SERVER_RULES
from protocols.steps.rule import spelled
from protocols.steps.step import StepState, apply_step, encode_model, encode_optimizer, initial_state
from tests.auditor.forge import Forge
from tests.protocols.rounds.test_weights import both
from tests.simulator import RoundResult, Setting, Simulation, identity_of

exhaustive = pytest.mark.exhaustive
SETTING = Setting(
    clients=5,
    trustees=3,
    threshold=2,
    corrupt=0,
    dimension=12,
    per_round=3,
    step=spelled(SERVER_RULES.find("fedyogi"), (0.5, 0.1, 0.9)),
    weights=WeightRule("private", 9, format_double(1.0)),
    statistics=4,
    exponent=70,
)
ROUNDS = 3


@dataclass(frozen=True)
class Played:
    """Rounds that closed, and the states of the model: before the first, and after each."""

    simulation: Simulation
    rounds: tuple[RoundResult, ...]
    states: tuple[StepState, ...]

    @property
    def policy(self) -> Policy:
        return self.simulation.pinned.policy

    def stepped(
        self, policy: Policy | None = None, before: StepState | None = None, weight: int = 0, number: int = ROUNDS
    ) -> StepState:
        """The last step, or another one."""
        summed = self.rounds[-1].plaintext
        assert summed is not None
        total = weight or int(summed[-1])
        return apply_step(policy or self.policy, before or self.states[-2], summed[:-1], total, number)

    def forged(self) -> Forge:
        return Forge.load(self.simulation.path, self.policy, self.simulation.policy_data, identity_of)

    def failing(self, forged: Forge, directory: Path) -> set[str]:
        return both(forged.write(directory / "forged"), self.simulation.policy_data)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    simulation = Simulation(tmp_path_factory.mktemp("stepped"), SETTING)
    simulation.start()
    rounds, policy = [], simulation.pinned.policy
    states = [initial_state(policy, simulation.model)]
    for number in range(1, ROUNDS + 1):
        result = simulation.play_round()
        assert result.plaintext is not None
        rounds.append(result)
        states.append(apply_step(policy, states[-1], result.plaintext[:-1], int(result.plaintext[-1]), number))
    simulation.writer.close()
    assert np.array_equal(states[-1].model, simulation.coordinator.step_state().model)
    return Played(simulation, tuple(rounds), tuple(states))


def parameters_alone(policy: Policy) -> Policy:
    return replace(policy, tensors=tuple(replace(each, role=PARAMETER) for each in policy.tensors))


def without_scales(policy: Policy) -> Policy:
    return replace(policy, update=replace(policy.update, scales=()))


def unclamped(policy: Policy) -> Policy:
    return replace(policy, tensors=tuple(replace(each, nonnegative=False) for each in policy.tensors))


def anew(played: Played) -> StepState:
    return StepState(played.states[-2].model, played.states[0].moments)


def nudged(played: Played, at: int) -> StepState:
    """One coordinate of the model or of a moment next to what it is."""
    last = played.states[-1]
    vectors = [each.copy() for each in (last.model, *last.moments)]
    vectors[at][0] = np.nextafter(vectors[at][0], np.inf)
    return StepState(vectors[0], tuple(vectors[1:]))


LIES: dict[str, Callable[[Played], StepState]] = {
    "the learning rate of the round before": lambda played: played.stepped(number=ROUNDS - 1),
    "that of the first round": lambda played: played.stepped(number=1),
    "the number of clients": lambda played: played.stepped(weight=len(played.rounds[-1].accepted)),
    "one weight more": lambda played: played.stepped(weight=int(played.rounds[-1].plaintext[-1]) + 1),
    "moments from the start": lambda played: played.stepped(before=anew(played)),
    "the model of a round before": lambda played: played.stepped(
        before=StepState(played.states[-3].model, played.states[-2].moments)
    ),
    "statistics as parameters": lambda played: played.stepped(parameters_alone(played.policy)),
    "no scales": lambda played: played.stepped(without_scales(played.policy)),
    "variances below zero": lambda played: played.stepped(unclamped(played.policy)),
    "moments exchanged": lambda played: StepState(played.states[-1].model, played.states[-1].moments[::-1]),
    "the next double": lambda played: nudged(played, 0),
    "the next double in a first moment": lambda played: nudged(played, 1),
    "the next double in a second moment": lambda played: nudged(played, 2),
}
QUICK = ("the learning rate of the round before", "statistics as parameters")


def marked(names: dict[str, object]) -> list[object]:
    return [pytest.param(each, marks=() if each in QUICK else exhaustive) for each in names]


@pytest.mark.parametrize("name", marked({**LIES}))
def test_another_step_is_found_by_both_auditors(name: str, played: Played, tmp_path: Path) -> None:
    forged, state = played.forged(), LIES[name](played)
    optimizer = encode_optimizer(state)
    assert optimizer is not None
    named = {"model": forged.put(encode_model(state.model)), "optimizer": forged.put(optimizer)}
    forged.edit(forged.find(RoundClosed, nth=ROUNDS - 1), **named)
    assert played.failing(forged, tmp_path) == {"I11"}


@pytest.mark.parametrize("cell", [-1, pytest.param(0, marks=exhaustive)], ids=["the weights", "a coordinate"])
def test_another_sum_is_found_though_the_step_follows_from_it(cell: int, played: Played, tmp_path: Path) -> None:
    forged = played.forged()
    at = forged.find(Aggregate, nth=ROUNDS - 1)
    plaintext = np.frombuffer(forged.blob(forged.message(at).plaintext), dtype="<i8").astype(np.int64)
    plaintext[cell] += 1
    forged.edit(at, plaintext=forged.put(plaintext.astype("<i8").tobytes()))
    state = apply_step(played.policy, played.states[-2], plaintext[:-1], int(plaintext[-1]), ROUNDS)
    optimizer = encode_optimizer(state)
    assert optimizer is not None
    named = {"model": forged.put(encode_model(state.model)), "optimizer": forged.put(optimizer)}
    forged.edit(forged.find(RoundClosed, nth=ROUNDS - 1), **named)
    assert played.failing(forged, tmp_path) == {"I9", "I10"}


DRAWS: dict[str, tuple[type, str]] = {
    "the draw of the round before": (RoundOpen, "draw"),
    "a value of the round before": (RoundKey, "draw"),
}


@exhaustive
@pytest.mark.parametrize("name", DRAWS)
def test_an_old_draw_is_found_by_both_auditors(name: str, played: Played, tmp_path: Path) -> None:
    kind, field = DRAWS[name]
    forged = played.forged()
    late, early = (forged.find(kind, number=number) for number in (ROUNDS, ROUNDS - 1))
    forged.edit(late, **{field: getattr(forged.message(early), field)})
    assert "I4" in played.failing(forged, tmp_path)
