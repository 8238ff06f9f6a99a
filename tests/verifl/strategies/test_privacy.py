"""The `[privacy]` table: what it becomes in a policy, what a plan says of it, and what does not go with it."""

from __future__ import annotations

import errno
import json
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditor import Status, audit
from proofs.errors import Misuse
from protocols.noise import account_of, budget_of, delta_of, epsilon_of, rounds_each
from protocols.parameters import require_sound
from protocols.policy import FormerCharge, Policy
from protocols.stores import MemoryStore
from protocols.weights import WeightRule
from tests.protocols.noisy_policies import NOISY, crowd, former, noise
from tests.verifl.planning.test_plan import Names
from verifl.agents import client as agents
from verifl.commands import root as cli
from verifl.commands.demonstration import Demonstration
from verifl.config import Config
from verifl.enrolment.roster import roster_of
from verifl.federation import Federation
from verifl.planning.plan import Plan, make_plan
from verifl.planning.privacy import privacy_plan
from verifl.reports.plan import describe_plan
from verifl.reports.privacy import privacy_lines
from verifl.strategies.privacy import PrivacyConfig, honest_clients, privacy_budget
from verifl.tasks.loading import checked_task, load_task
from verifl.tasks.user_code import ClientFailed
from verifl.training.local_training import LocalTraining
from verifl.training.own_tensors import LocalState
from verifl.training.tensors import TensorFilter
from verifl.training.update import EncodedUpdate

PRIVACY = {"epsilon": 8.0, "delta": 1e-5, "colluding": 2}


class Small(Names):
    """31 coordinates."""

    def __init__(self, count: int = 24) -> None:
        super().__init__([f"site-{number:02}" for number in range(count)])

    def model(self) -> nn.Module:
        return nn.Linear(30, 1)


def planned(count: int = 24, **tables: Any) -> Plan:
    limits = {"min_cohort": count * 5 // 6, "max_rounds": 4}
    config = {"federation": {"rounds": 4}, "limits": limits, "privacy": PRIVACY, **tables}
    return make_plan(Small(count), Config.of(**config))


@pytest.fixture(scope="module")
def plan() -> Plan:
    return planned()


def test_the_policy_keeps_the_budget_for_the_rounds_that_are_wanted(plan: Plan) -> None:
    plan.require()
    policy, noise, budget = plan.policy, plan.policy.noise, plan.policy.privacy_budget
    require_sound(policy)
    assert noise is not None
    assert budget is not None
    assert (epsilon_of(budget), delta_of(budget) * 10**5) == (8, 1)
    assert noise.honest == 20 - 2
    assert rounds_each(policy) == 4
    assert policy.update.norm_bound == 256
    assert policy.lattice.plaintext_scale == 1
    assert policy.lattice.modulus.bit_length() == 24
    account = account_of(policy)
    assert account.sensitivity == 256


def test_a_plan_says_what_it_means(plan: Plan) -> None:
    found = plan.privacy
    assert found is not None
    assert found.ratio == pytest.approx(np.sqrt(24 / 31) * 256 / found.sigma)
    assert found.multiplier == pytest.approx(found.sigma * np.sqrt(18) / 256)
    assert [rounds for rounds, _ in found.epsilons] == [1, 2, 4]
    assert (found.rounds, found.rounds_most, found.colluding) == (4, 4, 2)
    assert found.epsilons[-1][1] == pytest.approx(8, abs=0.05)
    assert found.replaced is not None
    others, delta = found.replaced
    assert others == pytest.approx(19.12, abs=0.05)
    assert delta == pytest.approx(1e-5 + np.exp(others) * float(account_of(plan.policy).deviation), rel=1e-3)
    assert found.poison.one_cell <= found.poison.length
    assert found.poison.flat <= found.poison.length
    assert found.bytes_each == 3
    assert found.proved
    assert not [note for note in plan.notes if note.startswith("privacy")]
    text, document = describe_plan(plan), plan.to_dict()
    assert "Privacy: epsilon 8, delta 1e-05, of a client with all its data (not of a person in it)" in text
    assert f"for any other data in its place: epsilon {others:.4g}, delta {delta:.3g}, in all its rounds" in text
    assert "each client may be in 4 sums (closed cohorts); one that is closed counts, whatever becomes of it" in text
    after = "  ".join(f"{epsilon:.4g} after {rounds}" for rounds, epsilon in found.epsilons)
    assert f"spent       epsilon {after}: what a budget of so many would promise" in text
    assumed = text.partition("  assumed ")[2].partition("  poison ")[0]
    assert "of the whole roster at most 2 clients tell the server their noise, or choose it" in assumed
    assert "(privacy.colluding), so that 18 of any 20 in a sum are honest;" in assumed
    assert "at most 2 of the 5 trustees are corrupt (trustees.corrupt)" in assumed
    assert "of an estimate of 727 bits the proof takes 39 off" in assumed
    assert "Nobody can check these: docs/privacy.md" in assumed
    assert "moves a sum by more with probability 2^-40" in text
    assert "What remains without noise" not in text
    assert max(map(len, privacy_lines(found, plan.policy.update.fraction_bits))) <= 120
    assert json.loads(json.dumps(document))["privacy"]["rounds"] == 4
    assert document["without_noise"] is None
    assert [option["encryption_proof"] for option in document["options"]] == [True, True]


def test_the_page_for_users_has_the_plan_of_its_configuration() -> None:
    """docs/privacy.md: the same numbers, of the task that the demonstration runs."""
    text = (Path(__file__).parents[3] / "docs/privacy.md").read_text(encoding="utf-8")
    tables = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])
    found = make_plan(Small(24), Config.of(update={"clip_norm": 1.2}, **tables))
    assert "\n".join(privacy_lines(found.privacy, found.policy.update.fraction_bits)) in text


def test_too_much_noise_is_said_with_what_would_help() -> None:
    found = planned(count=6, privacy={**PRIVACY, "epsilon": 1.0})
    [note] = [note for note in found.notes if note.startswith("privacy")]
    assert "training will hardly learn" in note
    assert "four times as many clients, 24 in a cohort" in note
    assert "a tenth of the coordinates, 3" in note
    assert "a quarter of the rounds, 1" in note
    assert found.privacy is not None
    assert all(each.ratio > found.privacy.ratio for each in found.privacy.alternatives)


def test_a_plan_that_goes_on_counts_what_was_spent() -> None:
    """Least and most that a client has left; epsilon of who spent most, within the budget."""
    going_on = former(sensitivity=2**8, charges=(FormerCharge("client0", 2), FormerCharge("client3", 3)))
    assert budget_of(going_on) is not None
    found = privacy_plan(going_on, rounds=9)
    assert found is not None
    account = budget_of(going_on)
    assert account is not None
    left = {account.rounds(member.id) for member in going_on.roster}
    assert (found.rounds, found.rounds_most) == (min(left), max(left)) == (2, 5)
    spent = [account.spent("client3", rounds).epsilon for rounds in (1, 2)]
    assert found.epsilons == tuple((rounds, float(each)) for rounds, each in zip((1, 2), spent, strict=True) if each)
    assert found.epsilons[-1][1] is not None
    assert found.epsilons[-1][1] <= 8
    text = "\n".join(privacy_lines(found, 8))
    assert "each client may be in 2 to 5 more sums (closed cohorts), after what it spent" in text
    assert "after 1  " in text
    assert "after 2 by who spent most: what a budget of so many would promise" in text
    gone = former(sensitivity=2**8, charges=(FormerCharge("client0", 9),))
    over = privacy_plan(gone)
    assert over is not None
    assert (over.rounds, [rounds for rounds, _ in over.epsilons]) == (0, [0])
    assert any("who spent most before has nothing left" in note for note in over.notes())


def test_nobody_who_may_collude_is_said_to_be_an_assumption() -> None:
    found = privacy_plan(noise(honest=4))
    assert found is not None
    [note] = found.advice()
    assert note.startswith("privacy: privacy.colluding is 0: the noise is enough only if no client of the whole roster")
    some = privacy_plan(NOISY)
    assert some is not None
    assert (some.colluding, some.advice()) == (1, [])


def test_a_plan_says_that_nothing_is_proved_and_what_would_help() -> None:
    found = privacy_plan(crowd(72))
    assert found is not None
    assert not found.proved
    [note] = found.notes()
    assert "nothing is proved: 2^91 guesses are too many for an estimate of 218 bits" in note
    assert "lower or raise limits.min_cohort, or ask fewer by limits.per_round" in note
    fewer = privacy_plan(crowd(90, asked=71))
    assert fewer is not None
    assert (fewer.proved, fewer.notes()) == (True, [])


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"weights": {"kind": "private"}}, 'found "private": the sum of the weights would be published without noise'),
        ({"weights": {"kind": "declared"}}, "no weight that follows from private data may be published"),
        ({"update": {"encryption_proof": False}}, "expected update.encryption_proof with"),
        ({"privacy": {"epsilon": 0.0, "delta": 1e-5}}, "epsilon"),
        ({"privacy": {"epsilon": 2000.0, "delta": 1e-5}}, "epsilon"),
        ({"privacy": {"epsilon": 1e-7, "delta": 1e-5}}, "expected a multiple of 1e-06, found 1e-07"),
        ({"privacy": {"epsilon": 1.0, "delta": 1e-13}}, "expected a multiple of 1e-12, found 1e-13"),
        ({"privacy": {"epsilon": 1.0, "delta": 1.0}}, "delta"),
        ({"privacy": {"epsilon": 1.0}}, "delta"),
        ({"privacy": {**PRIVACY, "by": "everybody"}}, "by"),
        ({"privacy": {**PRIVACY, "by": "trustees"}}, 'expected privacy.colluding = 0 with by = "trustees", found 2'),
    ],
)
def test_what_does_not_go_together_is_refused(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        Config.of(**{"privacy": PRIVACY, **tables})
    assert message in str(excinfo.value)


TRUSTED = {"epsilon": 8.0, "delta": 1e-5, "by": "trustees"}


def test_a_plan_with_noise_of_trustees() -> None:
    """h = t - f, whoever the clients are; clients have what hides their keys, and poison no more than that."""
    plan, other = planned(privacy=TRUSTED), planned()
    plan.require()
    policy, noise, found = plan.policy, plan.policy.noise, plan.privacy
    assert noise is not None
    assert noise.error is not None
    assert found is not None
    assert other.privacy is not None
    own = noise.error.variance
    assert 64 <= own < noise.variance / 50
    assert [member.id for member in policy.roster[-5:]] == [f"trustee-{number}" for number in range(1, 6)]
    assert (noise.by, noise.honest, policy.max_cohort) == ("trustees", 2, 29)
    assert roster_of(policy).limits.max_cohort == 24
    assert len(roster_of(policy).clients) == 24
    assert found.ratio == pytest.approx(24 * 256 / np.sqrt(31 * (5 * found.sigma**2 + 24 * own)))
    assert found.poison.one_cell == 256 + noise.error.group_bound < other.privacy.poison.one_cell
    assert other.privacy.trustee is None
    assert found.trustee is not None
    assert (found.trustee.one_cell, found.trustee.bound) == (noise.group_bound, 0)
    assert found.trustee.flat <= found.trustee.length == pytest.approx(np.sqrt(noise.ceiling))
    text = "\n".join(privacy_lines(found, policy.update.fraction_bits))
    assert "at most 2 of the 5 trustees are corrupt (trustees.corrupt), so that 2 are honest of" in text
    assert "any 4 whose noise is in a sum, whoever the clients are;" in text
    assert found.colluding is None
    assert "a corrupt trustee, by its noise:" in text
    assert "by each trustee" in text
    assert max(map(len, text.splitlines())) <= 120
    with pytest.raises(Misuse, match=r"limits\.max_cohort: expected all 24 clients of a round"):
        planned(privacy=TRUSTED, limits={"min_cohort": 20, "max_rounds": 4, "max_cohort": 23})


def test_a_run_with_noise_of_trustees_is_accepted(tmp_path: Path) -> None:
    """And goes on; what is trained is the clients' alone."""
    tables = {"trustees": {"count": 2, "threshold": 2, "corrupt": 1}, "limits": {"min_cohort": 2, "max_rounds": 2}}
    out = tmp_path / "run"
    config = Config.of(federation={"rounds": 1}, privacy=TRUSTED, **tables)
    Federation(Small(2), config, out).run()
    report = audit(out / "transcript", out / "policy.cbor")
    assert report.accepted
    assert report.account is not None
    assert [each.client for each in report.account.clients] == ["site-00", "site-01"]
    assert any(
        "noise of 2 trustees in every cohort, of whom at most 1 are corrupt" in said
        for said in report.account.assumptions
    )
    resumed = Federation(Small(2), config, out).run(resume=True)
    assert [each.aborted for each in resumed.rounds] == [None]


def test_weights_of_public_data_may_be_stated() -> None:
    weights = {"kind": "declared", "largest": 9}
    assert Config.of(task={"name": "digits"}, privacy=PRIVACY, weights=weights).weights.kind == "declared"


def test_numbers_are_those_that_were_written() -> None:
    for epsilon, delta in ((0.1, 1e-5), (8.0, 0.3), (1e-6, 1e-12), (2.000001, 7e-11)):
        budget = privacy_budget(PrivacyConfig(epsilon=epsilon, delta=delta))
        assert budget.epsilon_millionths == round(epsilon * 10**6)
        assert budget.delta_trillionths == round(delta * 10**12)


def test_somebody_has_to_be_honest() -> None:
    assert honest_clients(PrivacyConfig(epsilon=1.0, delta=1e-5, colluding=2), 5, 2) == 1
    with pytest.raises(Misuse, match=r"^privacy\.colluding: .*; lower it, or raise limits\.min_cohort$"):
        honest_clients(PrivacyConfig(epsilon=1.0, delta=1e-5, colluding=3), 5, 2)


def test_the_demonstration_learns_through_its_noise() -> None:
    """By its own plan; of the usual sites and network it says that training hardly would."""
    config = Demonstration.of(None, 4, 1, None, None, "equal", 8.0).config()
    assert config.task is not None
    assert (config.task.name, config.task.clients) == ("breast-cancer-logistic", 24)
    assert config.limits.min_cohort == 20
    assert config.privacy == PrivacyConfig(epsilon=8.0, delta=1e-5, colluding=2)
    assert Demonstration().config().privacy is None
    for seed in (1, 2):
        config = Demonstration.of(None, 4, seed, None, None, "equal", 8.0).config()
        found = make_plan(load_task(config, Path()), config)
        found.require()
        assert found.privacy is not None
        assert found.privacy.ratio > 1
        assert not [note for note in found.notes if note.startswith("privacy")]


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [1, 2])
def test_the_demonstration_with_noise_is_accepted(seed: int, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    assert cli.invoke(["demo", "--epsilon", "8", "--rounds", "2", "--seed", str(seed), "--out", str(out)]) == 0
    report = audit(out / "transcript", out / "policy.cbor")
    assert report.accepted
    assert {each.id: each.status for each in report.checks}["P5"] is Status.PASS


class Failing:
    """Training that comes to nothing."""

    def restore(self, client: str, kept: object) -> None:
        """Nothing."""

    def train(self, client: str, model: object, round_number: int) -> object:
        raise ClientFailed(client, "abstains: no data this month", abstained=True)

    def forget(self, client: str) -> None:
        """Nothing."""


class Nowhere:
    """Keeps nothing."""

    def before(self, number: int) -> dict[str, object]:
        return {}


class Opened:
    number, model = 1, np.zeros(31)


def test_a_client_that_comes_to_nothing_sends_zeros(
    plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That it is missing would be published without noise; without noise in the policy it may be."""
    training: Any = Failing()
    given: tuple[Any, ...] = (Nowhere(), "site-03", Opened(), agents.UNWATCHED)
    update = agents.train_turn(training, plan.policy, *given)
    assert update.units.shape == (31,)
    assert not update.units.any()
    assert update.weight is None
    assert "site-03 sends the update zero" in caplog.text
    exact = replace(plan.policy, noise=None, privacy_budget=None)
    with pytest.raises(ClientFailed):
        agents.train_turn(training, exact, *given)


class Panic(BaseException):
    """As bindings of other languages raise it: no Exception."""


class Ends(Small):
    """A task of one client whose turns end in some way."""

    def __init__(self, how: Callable[[nn.Module, dict[str, Any]], object]) -> None:
        super().__init__(1)
        self.how = how

    def data(self, client: str) -> None:
        """None."""

    def train(self, model: nn.Module, client: str, data: None, state: dict[str, Any]) -> None:
        state["turns"] = state.get("turns", 0) + 1
        self.how(model, state)


def panics(*_: object) -> None:
    raise Panic("index out of bounds")


def interrupts(*_: object) -> None:
    raise KeyboardInterrupt


def no_memory(*_: object) -> None:
    raise MemoryError


def with_noise_or_not(how: Callable[..., object], policy: Policy, local: LocalState) -> EncodedUpdate:
    training = LocalTraining(checked_task(Ends(how), "here"), TensorFilter(), "cpu", seed=3)
    opened: Any = Opened()
    return agents.train_turn(training, policy, local, "site-00", opened, agents.UNWATCHED)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (lambda *_: sys.exit("no rows with a label"), "train() failed: SystemExit: no rows with a label"),
        (panics, "its turn ended: Panic: index out of bounds"),
        (no_memory, "train() failed: MemoryError"),
        (
            lambda model, _: model.register_buffer("more", torch.zeros(1)),
            "changed the architecture of the model: 'more'",
        ),
        (lambda model, _: delattr(model, "bias"), "changed the architecture of the model: 'bias'"),
        (lambda model, _: model.half(), "changed the architecture of the model: 'weight'"),
        (lambda _, state: state.update(labels={1, 2}), "found a builtins.set, which cannot be stored"),
        (lambda _, state: state.update(all=bytes(65 << 20)), "expected at most"),
        (lambda model, _: model.bias.data.fill_(torch.nan), "NaN or infinite values after training"),
    ],
)
def test_whatever_ends_a_turn_the_update_zero_is_sent(
    plan: Plan, caplog: pytest.LogCaptureFixture, how: Callable[..., object], why: str
) -> None:
    """Each of these can depend on data. What the client kept is as before; without noise it is missing, or all stop."""
    local = LocalState(MemoryStore())
    assert with_noise_or_not(lambda *_: None, plan.policy, local).norm == 0
    kept = local.before(9)
    update = with_noise_or_not(how, plan.policy, local)
    assert not update.units.any()
    (record,) = caplog.records
    assert record.fields == {"event": "update-zero", "client": "site-00"}
    assert why in caplog.text
    assert local.before(9) == kept
    exact = replace(plan.policy, noise=None, privacy_budget=None)
    with pytest.raises((Misuse, Panic)):
        with_noise_or_not(how, exact, local)


@pytest.mark.parametrize("error", [Misuse("no such tensor"), ValueError("no array"), SystemExit(1), Panic("lost")])
@pytest.mark.parametrize("step", ["restore", "train", "measured", "changed_buffers", "kept"])
def test_whatever_step_of_a_turn_fails(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    """Also outside of the user's own functions, as where arrays of an application are read, or what it keeps."""

    weighed = replace(plan.policy, weights=WeightRule("declared", 9, "3ff0000000000000"))
    monkeypatch.setattr(LocalTraining, "measured", lambda *_: 5.0)
    assert with_noise_or_not(lambda *_: None, weighed, LocalState(MemoryStore())).weight == 5

    def fails(*_: object) -> object:
        raise error

    monkeypatch.setattr(LocalTraining, step, fails)
    update = with_noise_or_not(lambda *_: None, weighed, LocalState(MemoryStore()))
    assert not update.units.any()
    assert update.weight == (1 if step == "measured" else 5)


class Weighed(Ends):
    """The same, with data that weigh 7 if there are any."""

    def __init__(self, there: bool) -> None:
        super().__init__(panics)
        self.there = there

    def data(self, client: str) -> None:
        if not self.there:
            raise FileNotFoundError("labels.csv")

    def weight(self, client: str, data: None) -> int:
        return 7


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("again", [None, 3])
def test_the_weight_of_an_update_zero_is_that_of_the_data(plan: Plan, there: bool, again: int | None) -> None:
    """A weight is in the clear: another than in all other rounds would tell that this training failed. Where nothing
    was weighed it is the lightest, where a repetition asks for the former one, that."""
    weighed = replace(plan.policy, weights=WeightRule("declared", 9, "3ff0000000000000"))
    training = LocalTraining(checked_task(Weighed(there), "here"), TensorFilter(), "cpu", seed=3, weighed=True)
    opened: Any = Opened()
    given = (training, weighed, LocalState(MemoryStore()), "site-00", opened, agents.UNWATCHED, again)
    update = agents.train_turn(*given)
    assert not update.units.any()
    assert update.weight == (again or (7 if there else 1))
    assert training.measured("site-00") is None


def test_the_person_at_the_machine_ends_a_turn(plan: Plan) -> None:
    """And so does a disk that keeps nothing: neither is of the data."""
    with pytest.raises(KeyboardInterrupt):
        with_noise_or_not(interrupts, plan.policy, LocalState(MemoryStore()))

    class Full(MemoryStore):
        def put(self, key: str, value: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        with_noise_or_not(lambda *_: None, plan.policy, LocalState(Full()))
