"""What was spent of a former budget: in the policy of the next federation, as it was charged, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace

import pytest

from proofs.errors import Rejected
from protocols.continuation import Ancestor, LogEnd, check_budgets, check_clients, check_line
from protocols.noise import account_of, budget_of, carried_budgets
from protocols.parameters import check_policy
from protocols.policy import FormerCharge, Member, Policy
from tests.independent import account, policies
from tests.protocols.noisy_policies import BUDGET, LINK, NOISY, UNITS, budget, former

SPENT = {"client3": 1, "client0": 3, "client9": 2}


def after(policy: Policy, charges: Mapping[str, int] = SPENT, epsilon: int = 12_000_000) -> Policy:
    """The next federation."""
    carried = carried_budgets(policy, charges)
    said = replace(BUDGET, epsilon_millionths=epsilon, former=carried)
    return replace(NOISY, federation=f"after-{policy.federation}", previous=LINK, privacy_budget=said)


def end(charges: Mapping[str, int]) -> LogEnd:
    return LogEnd(9, bytes(32), bytes(32), True, (), charges)


def refused(policy: Policy, before: Policy = NOISY, charges: Mapping[str, int] = SPENT) -> tuple[str, str]:
    with pytest.raises(Rejected) as excinfo:
        check_budgets(policy, before, end(charges))
    assert excinfo.value.check == "previous-budget"
    return excinfo.value.expected, excinfo.value.found


def test_what_is_carried_is_the_account_and_all_charges() -> None:
    (found,) = carried_budgets(NOISY, {**SPENT, "client5": 0})
    rule = account_of(NOISY)
    assert (found.federation, found.sensitivity, found.honest) == ("test", rule.sensitivity, rule.adders)
    assert found.variance == rule.variance * found.variance_divisor
    assert rule.deviation * 2**found.deviation_bits <= 1 < rule.deviation * 2 ** (found.deviation_bits + 1)
    assert found.charges == tuple(FormerCharge(*each) for each in sorted(SPENT.items()))
    assert carried_budgets(UNITS, SPENT) == ()


def test_the_second_auditor_carries_the_same() -> None:
    for policy in (NOISY, former(), UNITS):
        found = [asdict(each) for each in carried_budgets(policy, SPENT)]
        second = account.carried(asdict(policy), Counter(SPENT))
        assert [{**each, "charges": list(each["charges"])} for each in found] == [
            {**each, "charges": list(each["charges"])} for each in second
        ]


def test_each_client_has_what_is_left() -> None:
    """By both accounts; also a client that was in no roster in between."""
    first = after(NOISY)
    second = after(first, {"client1": 2})
    assert second.privacy_budget is not None
    assert [each.federation for each in second.privacy_budget.former] == ["test", "after-test"]
    left = []
    for policy in (first, second):
        allowed = budget_of(policy)
        assert allowed is not None
        left.append(allowed.rounds("client1"))
        clients = ("client0", "client1", "client2", "client9")
        assert [allowed.rounds(each) for each in clients] == [
            account.rounds_each(asdict(policy), each) for each in clients
        ]
        assert allowed.rounds("client0") < allowed.rounds("client9") < allowed.rounds("client2")
    assert left[1] < left[0]


def test_a_budget_is_gone_on_with_as_it_was_spent() -> None:
    first = after(NOISY)
    check_budgets(first, NOISY, end(SPENT))
    check_budgets(after(first, {}), first, end({}))
    check_budgets(NOISY, UNITS, end(SPENT))  # of one without a budget nothing is charged
    check_budgets(UNITS, UNITS, end(SPENT))


def test_whoever_goes_on_says_so() -> None:
    expected, found = refused(UNITS)
    assert expected == "a budget that goes on with that of test"
    assert found == "no privacy budget"
    assert refused(NOISY) == ("1 former budgets", "0")
    assert refused(after(NOISY), UNITS) == ("0 former budgets", "1")
    assert refused(former(), after(NOISY))[1].startswith("before ")


@pytest.mark.parametrize("charges", [{}, {**SPENT, "client0": 2}, {**SPENT, "client1": 1}, {"client0": 3}])
def test_charges_that_are_not_those_of_the_log(charges: dict[str, int]) -> None:
    expected, found = refused(after(NOISY, charges))
    assert expected.endswith("which charged client0 for 3, client3 for 1, client9 for 2")
    assert found != expected


def test_a_rule_that_is_not_the_former_one() -> None:
    said = after(NOISY)
    assert said.privacy_budget is not None
    (carried,) = said.privacy_budget.former
    for changes in ({"variance": carried.variance + 1}, {"honest": 4}, {"sensitivity": 1}, {"deviation_bits": 99}):
        lie = replace(said.privacy_budget, former=(replace(carried, **changes),))
        refused(replace(said, privacy_budget=lie))


def test_a_former_policy_of_which_nothing_can_be_counted() -> None:
    assert refused(NOISY, budget(delta_trillionths=0))[0] == "a former budget that can be counted"


def enrolling(*members: Member) -> Policy:
    """The next federation, of these clients."""
    return replace(after(NOISY), roster=tuple(sorted(members, key=lambda each: each.id)))


def test_a_client_keeps_the_id_that_its_keys_had() -> None:
    """By the former policy, or by a rotation there; in another roster than these its id is free."""
    first, second, *_ = NOISY.roster
    trustee, key = NOISY.trustees[0], b"rotated".ljust(32)
    rotated = {key: first.id, b"trustee's".ljust(32): trustee.id}
    there = Ancestor(NOISY, rotated)
    same = [first, Member(first.id, key), Member(first.id, b"new".ljust(32)), Member("else", b"new".ljust(32))]
    not_clients = [Member("else", trustee.public_key), Member("else", b"trustee's".ljust(32))]
    for member in (*same, *not_clients):
        check_clients(enrolling(second, member), there)
    for member in (Member("else", first.public_key), Member("else", key), Member(second.id, key)):
        with pytest.raises(Rejected) as excinfo:
            check_clients(enrolling(member), there)
        assert excinfo.value.check == "previous-client"
        assert (excinfo.value.expected, excinfo.value.found) == ("client0, whose key in test it is", member.id)
        check_clients(enrolling(member), Ancestor(UNITS, rotated))  # nobody was charged there


def test_a_third_federation_is_told_from_the_first() -> None:
    """By its name, its origin and its clients' keys; the policy itself says so of the names that its budget carries."""
    second = replace(after(NOISY), origin="test.example/second")
    third = replace(after(second), federation="third", origin="test.example/third")
    line = (Ancestor(second, {}), Ancestor(NOISY, {b"rotated".ljust(32): NOISY.roster[0].id}))
    check_line(third, line)
    enrolled = (*third.roster, Member("z", b"rotated".ljust(32)))
    for wrong, check in (
        (replace(third, federation=NOISY.federation), "previous-name"),
        (replace(third, origin=NOISY.origin), "previous-origin"),
        (replace(third, roster=enrolled), "previous-client"),
    ):
        check_line(wrong, line[:1])
        with pytest.raises(Rejected) as excinfo:
            check_line(wrong, line)
        assert excinfo.value.check == check
    link = replace(LINK, federation=second.federation)
    named = [replace(third, previous=link, federation=each) for each in ("third", second.federation, NOISY.federation)]
    assert [[each.name for each in check_policy(policy) if not each.holds] for policy in named] == [
        [],
        ["previous-name"],
        ["previous-name"],
    ]
    for policy in named:
        conditions = dict(policies.federation_conditions(asdict(policy)))
        assert conditions["previous-name"] == (policy.federation == "third")
