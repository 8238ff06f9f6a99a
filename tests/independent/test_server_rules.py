"""A rule of the server step that is registered is computed as itself, one that is not is refused by name: by parties,
by the auditor, and by the second one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor import Report, audit
from proofs.errors import Rejected
from protocols.envelopes import open_policy
from protocols.pinned import PinnedPolicy
from protocols.policy import SCALE_BIAS, STATISTIC, ScaleRule, TensorSpec
from protocols.registry import one_of
from protocols.steps.registry import SERVER_RULES
from protocols.steps.rule import spelled
from protocols.steps.step import (
    StepState,
    apply_step,
    decode_optimizer,
    encode_model,
    encode_optimizer,
    initial_state,
    mean_update,
    step_ceiling,
    step_floor,
)
from tests.independent import steps as second
from tests.independent.audit import audit as second_audit
from tests.independent.case import Report as SecondReport
from tests.independent.encoding import Unreadable
from tests.server_rules import SECOND_ADAMAX, FedAdaMax, NamedAdaMax, registered
from tests.simulator import RoundResult, Setting, Simulation, make_policy

BASE, _ = open_policy(make_policy(Setting())[0])


@dataclass(frozen=True)
class Federation:
    """Two rounds of parties who know the rule: the sums that they published, and the state that they reached."""

    simulation: Simulation
    sums: tuple[RoundResult, ...]
    reached: StepState

    def audits(self) -> tuple[Report, SecondReport]:
        pinned = self.simulation.path.with_name("pinned.cbor")
        return audit(self.simulation.path, pinned), second_audit(self.simulation.path, pinned)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    with registered(FedAdaMax(), SECOND_ADAMAX):
        simulation = Simulation(tmp_path_factory.mktemp("adamax"), Setting(clients=3, step=spelled(FedAdaMax())))
        simulation.start()
        sums = (simulation.play_round(), simulation.play_round())
        reached = simulation.coordinator.step_state()
    simulation.writer.close()
    simulation.path.with_name("pinned.cbor").write_bytes(simulation.policy_data)
    return Federation(simulation, sums, reached)


def replayed(federation: Federation) -> StepState:
    """The two steps, by whatever is registered now."""
    policy = federation.simulation.pinned.policy
    state = initial_state(policy, federation.simulation.model)
    for number, result in enumerate(federation.sums, start=1):
        assert result.plaintext is not None
        state = apply_step(policy, state, result.plaintext, len(result.accepted), number)
    return state


def failing(report: Report) -> set[str]:
    return {result.id for result in report.checks if result.findings}


def failing_second(report: SecondReport) -> set[str]:
    return {number for number, findings in report.findings.items() if findings}


def test_a_registered_rule_is_computed_as_itself(federation: Federation) -> None:
    """By everybody; and its model is not that of the rule which it resembles."""
    with registered(FedAdaMax(), SECOND_ADAMAX):
        report, other = federation.audits()
        assert report.accepted
        assert other.accepted
        assert report.check("I11").checked.startswith("2 server steps (fedadamax) to model")
        assert np.array_equal(replayed(federation).model, federation.reached.model)
    with registered(NamedAdaMax(), second.FEDADAM):
        assert not np.array_equal(replayed(federation).model, federation.reached.model)


def test_one_rule_taken_for_another_fails_the_lineage(federation: Federation) -> None:
    with registered(NamedAdaMax(), second.FEDADAM):
        report, other = federation.audits()
    assert failing(report) == failing_second(other) == {"I11"}


def test_a_rule_that_is_not_registered_is_refused_by_both_auditors(federation: Federation) -> None:
    report, other = federation.audits()
    assert failing(report) == failing_second(other) == {"I2"}
    (finding,) = report.check("I2").findings
    assert (finding.where, finding.by) == ("policy, step", "issuer")
    assert f"expected the server rule {one_of(SERVER_RULES.names)}, found 'fedadamax'" in finding.expected
    assert other.findings["I2"] == ["policy-step, no rule fedadamax"]


def test_a_rule_that_is_not_registered_is_refused_wherever_one_is_asked_for(federation: Federation) -> None:
    pinned, model = federation.simulation.pinned, federation.simulation.model
    policy, sums = pinned.policy, np.zeros(pinned.policy.dimension, dtype=np.int64)
    for ask in (
        lambda: PinnedPolicy.open(federation.simulation.policy_data),
        lambda: initial_state(policy, model),
        lambda: apply_step(policy, federation.reached, sums, 3, 1),
        lambda: decode_optimizer(policy, bytes(16 * policy.dimension)),
        lambda: step_floor(policy),
        lambda: step_ceiling(policy),
        lambda: pinned.optimizer_size,
    ):
        with pytest.raises(
            Rejected, match=f"the server rule {one_of(SERVER_RULES.names)}, found 'fedadamax'"
        ) as excinfo:
            ask()
        assert excinfo.value.check == "policy-step"


def test_the_second_auditor_refuses_it_wherever_it_asks_for_one() -> None:
    policy = {"step": {"rule": "fedadamax", "learning_rates": ["3ff0000000000000"]}, "dimension": 1}
    assert second.step_fault(policy) == "no rule fedadamax"
    for ask in (
        lambda: second.step_bounds(policy),
        lambda: second.kept_size(policy),
        lambda: second.initial_state(policy, [0.0]),
        lambda: second.server_step(policy, second.State([0.0], [()]), [1], 1, 1),
    ):
        with pytest.raises(Unreadable, match="no rule fedadamax"):
            ask()


def test_both_have_the_same_rules() -> None:
    assert tuple(second.RULES) == SERVER_RULES.names


@pytest.mark.parametrize("name", SERVER_RULES.names)
@given(sums=st.lists(st.lists(st.integers(-(2**30), 2**30), min_size=3, max_size=3), min_size=1, max_size=4))
def test_every_rule_gives_the_same_bits(name: str, sums: list[list[int]]) -> None:
    """Models, what is kept, and the size of its blob; at a learning rate of each round."""
    step = spelled(SERVER_RULES.find(name), rates=(0.3, 0.7, 0.01))
    policy = replace(BASE, step=step, dimension=3, tensors=(TensorSpec("a", (3,), "float32", nonnegative=False),))
    body = asdict(policy)
    assert second.step_fault(body) is None
    state, other = initial_state(policy, np.array([0.1, -2.0, 0.0])), second.initial_state(body, [0.1, -2.0, 0.0])
    for number, total in enumerate(sums, start=1):
        state = apply_step(policy, state, np.array(total, dtype=np.int64), 3, number)
        other = second.server_step(body, other, total, 3, number)
        assert (encode_model(state.model), encode_optimizer(state)) == (second.packed(other.model), other.optimizer)
    assert (
        len(encode_optimizer(state) or b"") == second.kept_size(body) == PinnedPolicy(policy, b"", b"").optimizer_size
    )
    assert second.step_bounds(body) == (step_floor(policy), step_ceiling(policy))


TENSORS = (TensorSpec("a", (3,), "float32", False), TensorSpec("b", (2,), "float32", True, STATISTIC))


@given(
    total=st.one_of(st.sampled_from((1, 2, 3, 2**53 - 1)), st.integers(1, 2**53 - 1)),
    sums=st.lists(st.integers(-(2**62), 2**62), min_size=5, max_size=5),
    bits=st.sampled_from((0, 12, 52, 128)),
    exponents=st.lists(st.integers(0, 128), min_size=5, max_size=5),
)
def test_sums_of_weights_divide_exactly(total: int, sums: list[int], bits: int, exponents: list[int]) -> None:
    """With scales and statistics: the mean is the double nearest to the quotient; both make the same model of it."""
    scales = tuple(ScaleRule(i, i + 1, each) for i, each in enumerate(exponents) if each != SCALE_BIAS)
    policy = replace(BASE, dimension=5, tensors=TENSORS, update=replace(BASE.update, fraction_bits=bits, scales=scales))
    body, start, summed = asdict(policy), [0.0, -0.0, 0.1, -2.0, 5e-324], np.array(sums, dtype=np.int64)
    for found, units, exponent in zip(mean_update(summed, total, policy.update), sums, exponents, strict=True):
        exact = Fraction(float(units)) * Fraction(2) ** (exponent - SCALE_BIAS) / (total << bits)
        assert found == float(exact)
    first = apply_step(policy, initial_state(policy, np.array(start)), summed, total, 1).model
    other = second.server_step(body, second.initial_state(body, start), sums, total, 1).model
    assert encode_model(first) == second.packed(other)


@pytest.mark.parametrize("total", [0, -1, 2**53, 2**63 - 1])
def test_no_lawful_sum_of_weights_is_refused_by_both(total: int) -> None:
    policy = replace(BASE, dimension=5, tensors=TENSORS)
    with pytest.raises(Rejected, match="server-step"):
        apply_step(policy, initial_state(policy, np.zeros(5)), np.zeros(5, dtype=np.int64), total, 1)
    body = asdict(policy)
    with pytest.raises(Unreadable, match="server-step"):
        second.server_step(body, second.initial_state(body, [0.0] * 5), [0] * 5, total, 1)
