"""What each client may spend, and what it has spent: every closed cohort counts, at the price of its federation."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from proofs.errors import Misuse, Rejected
from protocols.noise import budget_of
from protocols.policy import FormerCharge
from protocols.privacy.accounting import EPSILON_STEP, NoiseRule
from protocols.privacy.budgets import Budget, FormerRounds
from tests.protocols.noisy_policies import NOISY, former

RULE = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(1, 2**60))


def epsilon(rounds: int, rule: NoiseRule = RULE, before: Fraction = Fraction(0)) -> Fraction:
    found = rule.epsilon(rounds, before)
    assert found is not None
    return found


def test_what_is_left_of_a_client_by_itself_is_its_own_noise() -> None:
    former = FormerRounds(RULE, {"a": 1}, Fraction(100))
    budget = Budget(RULE, epsilon(9), 50, [former], Fraction(64))
    alone = replace(RULE, adders=1)
    assert budget.by_itself.rule == replace(alone, variance=Fraction(64))
    assert budget.by_itself.former[0].rule == replace(alone, variance=Fraction(100))
    assert Budget(RULE, epsilon(9), 50).by_itself.rule == alone


def test_what_a_budget_allows_is_what_it_guarantees() -> None:
    for rounds in (1, 2, 9):
        budget = Budget(RULE, epsilon(rounds), 2**16)
        assert budget.rounds("a") == rounds
        assert budget.spent("a", rounds).epsilon == budget.epsilon
        assert Budget(RULE, budget.epsilon - EPSILON_STEP, 2**16).rounds("a") == rounds - 1
    assert Budget(RULE, epsilon(9), 7).rounds("a") == 7
    assert budget.spent("a", 0).epsilon == 0


def test_who_may_be_in_another_cohort() -> None:
    budget, roster = Budget(RULE, epsilon(2), 50), ("a", "b", "c", "d")
    assert budget.exhausted({"a": 3, "b": 2, "c": 1}, roster) == {"a", "b"}
    budget.check("c", 1)
    budget.check("d", 0)
    for client, rounds in (("a", 3), ("b", 2)):
        with pytest.raises(Rejected) as excinfo:
            budget.check(client, rounds)
        assert excinfo.value.check == "budget"
        assert excinfo.value.found == f"{client}, who is in {rounds}"
        allowed = f"the budget of epsilon {float(budget.epsilon):g} at delta 1e-05"
        assert excinfo.value.expected == f"clients in fewer than 2 closed cohorts, {allowed}"


def test_a_budget_that_no_round_fits_exhausts_everybody() -> None:
    budget = Budget(RULE, epsilon(1) - EPSILON_STEP, 50)
    assert budget.exhausted({}, {"a", "b"}) == {"a", "b"}


def test_former_rounds_cost_what_their_own_rule_says() -> None:
    """mu^2 and deviations add up, whatever the later rule would charge."""
    former = NoiseRule(256, Fraction(281**2), 3, RULE.delta, Fraction(1, 2**50))
    budget = Budget(RULE, Fraction(1024), 50, [FormerRounds(former, {"a": 10, "c": 10})])
    found = {client: budget.spent(client, rounds) for client, rounds in (("a", 1), ("b", 1), ("c", 0))}
    assert {client: (each.rounds, each.former) for client, each in found.items()} == {
        "a": (1, 10),
        "b": (1, 0),
        "c": (0, 10),
    }
    whole = replace(RULE, deviation=RULE.deviation + former.deviation)
    assert found["b"].epsilon == epsilon(1, whole)
    assert found["c"].epsilon == epsilon(10, replace(former, deviation=whole.deviation))
    assert found["a"].epsilon == epsilon(1, whole, former.mu_squared(10))
    assert found["a"].epsilon > epsilon(10, former) > epsilon(11)


def test_a_client_that_spent_elsewhere_may_be_in_fewer_cohorts() -> None:
    former = FormerRounds(RULE, {"a": 3, "c": 9})
    budget = Budget(RULE, epsilon(9) + Fraction(1, 1000), 50, [former])
    assert [budget.rounds(client) for client in ("a", "b", "c")] == [6, 9, 0]
    assert budget.exhausted({"a": 5, "b": 8}, ("a", "b", "c")) == {"c"}
    assert budget.exhausted({"a": 6, "b": 9}, ("a", "b")) == {"a", "b"}
    twice = Budget(RULE, budget.epsilon, 50, [former, FormerRounds(RULE, {"a": 4})])
    assert twice.rounds("a") == 2
    assert twice.spent("a", 2).former == 7


def test_by_itself_a_client_has_spent_no_less() -> None:
    """With h = 1, here and in former federations; None is beyond all."""
    formers = [
        FormerRounds(replace(RULE, variance=RULE.variance * n, adders=n), {"a": 2 * n, "b": 1}) for n in (1, 2, 3)
    ]
    for count in range(len(formers) + 1):
        budget = Budget(RULE, epsilon(9), 50, formers[:count])
        for client in ("a", "b", "c"):
            for rounds in (0, 1, 9):
                spent, alone = budget.spent(client, rounds), budget.by_itself.spent(client, rounds)
                assert spent.epsilon is not None
                assert alone.former == spent.former
                assert alone.epsilon is None or alone.epsilon >= spent.epsilon
    rule = replace(RULE, adders=1, deviation=RULE.deviation * 4)
    before = sum(replace(each.rule, adders=1).mu_squared(each.rounds["a"]) for each in formers)
    assert budget.by_itself.spent("a", 9).epsilon == epsilon(9, rule, Fraction(before))


def test_a_policy_with_former_charges_by_itself() -> None:
    """Four cohorts in a former federation are in what a client has spent by itself, and may leave nothing proved."""
    charged, clean = budget_of(former(charges=(FormerCharge("client0", 4),))), budget_of(NOISY)
    assert charged is not None
    assert clean is not None
    spent, alone = charged.spent("client0", 0).epsilon, charged.by_itself.spent("client0", 0).epsilon
    least = clean.by_itself.spent("client0", 1).epsilon
    assert spent is not None
    assert alone is not None
    assert least is not None
    assert least < spent < alone
    assert charged.by_itself.spent("client0", 1).epsilon is None  # at e^epsilon eta
    assert charged.by_itself.spent("client1", 1).epsilon is not None


def test_what_many_clients_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work grows with what was spent before in different amounts, not with the roster."""
    budget, computed = Budget(RULE, epsilon(9), 50, [FormerRounds(RULE, {"a": 1, "b": 1})]), list[object]()
    for name in ("rounds_within", "epsilon", "replaced"):
        real = getattr(NoiseRule, name)
        monkeypatch.setattr(NoiseRule, name, lambda *given, real=real: computed.append(given) or real(*given))

    def ask(*clients: str) -> int:
        for client in clients:
            budget.spent(client, budget.rounds(client))
            assert budget.replaced(client) is not None
        return len(computed)

    once = ask("a", "c")
    assert ask("a", "b", "c", "d", *map(str, range(100))) == once


def test_many_who_spent_differently_take_few_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each K is what it would be by itself."""
    before = FormerRounds(replace(RULE, sensitivity=7), {f"{i}": i for i in range(1, 20_000, 20)})
    budget, evaluated, real = Budget(RULE, epsilon(30), 50, [before]), list[object](), NoiseRule.holds
    monkeypatch.setattr(NoiseRule, "holds", lambda *given: evaluated.append(given) or real(*given))
    found = {client: budget.rounds(client) for client in before.rounds}
    assert len(evaluated) < 100
    assert sorted(set(found.values())) == list(range(15, 30))  # with the deviations of both
    total = replace(RULE, deviation=2 * RULE.deviation)
    for client in ("1", "1341", "10001", "19981"):
        spent = before.rule.mu_squared(before.rounds[client])
        assert found[client] == total.rounds_within(budget.epsilon, 50, spent)


def test_who_spent_most_and_who_will_have() -> None:
    """Who spent more before has fewer cohorts left, and may end with more or less."""
    before = FormerRounds(replace(RULE, sensitivity=200), {"b": 1, "c": 3})
    budget = Budget(RULE, epsilon(5), 50, [before])
    assert budget.ranked(["c", "d", "b", "a"]) == ["a", "d", "b", "c"]
    assert [budget.rounds(client) for client in "abc"] == [5, 4, 3]
    spent = {client: budget.spent(client, budget.rounds(client)).epsilon for client in "abc"}
    assert sorted(spent, key=lambda client: spent[client] or 0) == ["b", "c", "a"]
    assert (budget.furthest("cba"), budget.furthest("cb")) == ("a", "c")


def test_more_rounds_than_are_bounded_have_no_epsilon() -> None:
    assert Budget(RULE, epsilon(1), 50).spent("a", 2**16 + 1).epsilon is None


def test_more_federations_than_are_bounded_are_refused() -> None:
    with pytest.raises(Misuse, match="former federations: expected less than 1024"):
        Budget(RULE, Fraction(1), 50, [FormerRounds(RULE, {})] * 2**10)
