"""Private weights: the weighted mean of what honest clients sent; of the weights only their sum is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from auditor import audit
from proofs.errors import Misuse, Rejected
from proofs.squares import four_squares
from proofs.witness import Noise
from protocols.messages import Submission
from protocols.opening import check_opening
from protocols.parameters import argument_parameters
from protocols.policy import WeightRule
from protocols.rounds.submitting import HONEST, ClientRound, Update, encode
from protocols.steps.doubles import format_double
from protocols.steps.fedopt import fedadam
from protocols.steps.step import apply_step, initial_state
from protocols.weights import Summands, WeighedSum, check_own_weight, check_weight, stated_of, vector_of
from tests.adversaries import become, submission_of
from tests.protocols.rounds.test_weights import both
from tests.simulator import Setting, Simulation
from verifl.adversaries.provers import ANYTHING, committing_to

Simulate = Callable[..., Simulation]
LARGEST = 50
WEIGHTS = WeightRule("private", LARGEST, format_double(1.0))
SMALL = {"weights": WEIGHTS, "clients": 4, "trustees": 2, "threshold": 2, "corrupt": 1, "dimension": 8}
LIAR = "client-02"


@pytest.fixture
def weighed(simulate: Simulate) -> Simulation:
    return simulate(**SMALL)


# ---- honest ----


def test_the_model_moves_by_the_weighted_mean(simulate: Simulate) -> None:
    simulation = simulate(**{**SMALL, "clients": 3}, step=fedadam(), coordinate_clip=0.25, encryption_proof=True)
    first = simulation.play_round()
    second = simulation.play_round(clients=list(simulation.clients)[:2])
    simulation.writer.close()
    policy = simulation.pinned.policy
    state = initial_state(policy, simulation.model)
    for number, result in enumerate((first, second), 1):
        assert result.plaintext is not None
        assert np.array_equal(result.plaintext, simulation.expected_sum(result))
        total = sum(simulation.weights[name] for name in result.accepted)
        assert len(result.accepted) < total == result.plaintext[-1]
        state = apply_step(policy, state, result.plaintext[:-1], total, number)
    assert np.array_equal(state.model, simulation.coordinator.step_state().model)
    assert both(simulation.path, simulation.policy_data) == set()
    assert simulation.pinned.plaintext_size == 8 * 9
    assert simulation.pinned.model_size == 8 * 8


def test_both_engines_accept(weighed: Simulation) -> None:
    weighed.play_round(clients=list(weighed.clients)[:2])
    weighed.writer.close()
    assert audit(weighed.path, weighed.policy_data, engine="reference").accepted


def test_nothing_states_a_weight(weighed: Simulation) -> None:
    """The same bytes but for what is random: no field, and no length, depends on it."""
    weighed.open_round()
    names = list(weighed.clients)
    weighed.weights |= dict(zip(names, (1, 2, 49, LARGEST), strict=True))
    packages = [weighed.package(name) for name in names]
    for package in packages:
        message = submission_of(package)
        assert message.weight is None
        assert message.weight_commitments is not None
    assert len({len(package.entry) for package in packages}) == 1
    sizes = [sorted(len(blob) for blob in package.blobs.values()) for package in packages]
    assert all(each == sizes[0] for each in sizes)


@pytest.mark.parametrize("weight", [None, 0, -1, LARGEST + 1])
def test_an_honest_client_hides_no_other_weight(weighed: Simulation, weight: int | None) -> None:
    weighed.open_round()
    opened = weighed.accept("client-00")
    update = np.zeros(weighed.setting.dimension, dtype=np.int64)
    with pytest.raises(Misuse, match=rf"weight: expected 1 to {LARGEST}, found"):
        weighed.clients["client-00"].submit(opened, update, weight)


# ---- liars ----


def hiding(weight: int, *, bound: int | None = None):
    """What a client of another weight commits to: all in order but that, or but the weight that its bounds are of."""

    def tables(at: ClientRound, update: Update, noise: Noise, rand):
        largest = at.argument.hidden_weight
        assert largest is not None
        vector = np.zeros_like(update)
        of_bounds = min(max(1, weight), largest) if bound is None else bound
        vector[-1] = of_bounds
        table, private, *others = encode(at, vector, noise, rand)
        table.reshape(-1)[at.argument.dimension - 1] = weight
        roots, squares = others[0], others[1]
        if bound is None:
            roots[0, 0], squares[0, 0] = weight, weight**2
        left = (at.norm_bound**2 + 1) * int(squares[0, 0]) - weight**2
        private[0, :4] = four_squares(left, rand)
        return [table, private, *others]

    return replace(ANYTHING, commit=committing_to(tables))


@pytest.mark.parametrize(
    ("weight", "bound"), [(0, None), (-1, None), (LARGEST + 1, None), (1, LARGEST), (LARGEST, 1)],
    ids=["zero", "negative", "above", "heavier bound", "heavier message"],
)  # fmt: skip
def test_another_weight_is_excluded_by_name(weighed: Simulation, weight: int, bound: int | None) -> None:
    become(weighed, LIAR, hiding(weight, bound=bound))
    result = weighed.play_round()
    weighed.writer.close()
    assert result.aborted is None
    assert LIAR not in result.accepted
    assert len(result.accepted) == 3
    report = audit(weighed.path, weighed.policy_data)
    assert report.accepted
    assert any(LIAR in note and "linear-relation" in note for check in report.checks for note in check.notes)
    assert both(weighed.path, weighed.policy_data) == set()


def test_a_true_weight_by_the_same_road(weighed: Simulation) -> None:
    become(weighed, LIAR, hiding(5))
    result = weighed.play_round()
    assert LIAR in result.accepted


def test_a_stated_weight_is_not_admitted(weighed: Simulation) -> None:
    weighed.open_round()
    package = weighed.package(LIAR)
    message = submission_of(package)
    for stated in (1, 7):
        with pytest.raises(Rejected, match="weight: expected none with private weights"):
            check_weight(WEIGHTS, replace(message, weight=stated).weight)


def test_commitments_of_a_weight_belong_to_private_weights(weighed: Simulation, simulate: Simulate) -> None:
    plain = simulate(**{**SMALL, "weights": Setting().weights}, federation="plain")
    weighed.open_round(), plain.open_round()
    package, other = weighed.package("client-00"), plain.package("client-00")
    for message, there in ((submission_of(package), True), (submission_of(other), False)):
        assert isinstance(message, Submission)
        assert (message.weight_commitments is not None) is there
    assert weighed.pinned.argument.commitments_size("weight-commitments") == 66
    assert plain.pinned.argument.commitments_size("weight-commitments") == 0


# ---- sums ----


@pytest.mark.parametrize(
    ("total", "there"), [(3, False), (4, True), (200, True), (201, False), (0, False), (-4, False)]
)
def test_the_sum_of_weights_is_one_to_w_for_each(weighed: Simulation, total: int, there: bool) -> None:
    policy, summands = weighed.pinned.policy, Summands(4, 4)
    plaintext = np.append(np.arange(policy.dimension), total)
    assert summands.heaviest(WEIGHTS) == 200
    if there:
        found = WeighedSum.of(policy, plaintext, summands)
        assert (found.update.tolist(), found.weight) == ([*range(policy.dimension)], total)
    else:
        with pytest.raises(Rejected, match=rf"weight-sum: expected 4 to 200, found {total}"):
            WeighedSum.of(policy, plaintext, summands)


def test_sums_of_other_kinds_have_no_weight_in_them(weighed: Simulation) -> None:
    declared = WeightRule("declared", 50, format_double(1.0))
    policy = replace(weighed.pinned.policy, weights=declared)
    found = WeighedSum.of(policy, np.arange(policy.dimension), Summands(4, 77))
    assert (found.update.tolist(), found.weight) == ([*range(policy.dimension)], 77)
    assert Summands(4, 77).heaviest(declared) == 77


def test_a_sum_with_another_weight_does_not_open(weighed: Simulation) -> None:
    """The commitments hold its last value as they hold all others."""
    weighed.play_round()
    step = weighed.coordinator.ledger.step
    assert step is not None
    opened = np.frombuffer(weighed.blob(step.plaintext, weighed.pinned.plaintext_size), dtype="<i8").astype(np.int64)
    raw = weighed.blob(step.blindings, weighed.pinned.blindings_size)
    blindings = [int.from_bytes(raw[i : i + 32], "big") for i in range(0, len(raw), 32)]
    commitments = [weighed.blob(each.commitments, weighed.pinned.commitments_size) for each in step.submissions]
    check_opening(weighed.engine, weighed.pinned, opened, blindings, commitments)
    opened[-1] += 1
    with pytest.raises(Rejected, match="opening"):
        check_opening(weighed.engine, weighed.pinned, opened, blindings, commitments)


def test_what_a_client_commits_to(weighed: Simulation) -> None:
    update = np.array([1, -2])
    assert vector_of(WEIGHTS, update, 7).tolist() == [1, -2, 7]
    assert stated_of(WEIGHTS, 7) is None
    declared = WeightRule("declared", 50, format_double(1.0))
    assert vector_of(declared, update, 7).tolist() == [1, -2]
    assert stated_of(declared, 7) == 7
    for rule in (WEIGHTS, declared):
        check_own_weight(rule, LARGEST)
        with pytest.raises(Rejected, match="weight"):
            check_own_weight(rule, LARGEST + 1)
    argument = argument_parameters(weighed.pinned.policy)
    assert (argument.dimension, argument.hidden_weight, argument.largest_weight) == (9, LARGEST, 1)
    assert HONEST is not ANYTHING
