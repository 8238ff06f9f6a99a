"""The privacy budget, judged by both auditors: what honest logs have spent, and servers and trustees who ignore it.

But for one test, what a cohort costs is not looked at: the budget is one of so many cohorts, and updates have no noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from auditor import Kind, Outcome, Report, Status, audit
from auditor.case import Case
from auditor.findings import Unavailable
from auditor.reports.text import events
from proofs.errors import Rejected
from protocols.noise_derivation import with_noise
from protocols.parameters import check_policy
from protocols.pinned import PinnedPolicy
from protocols.policy import FormerFederation, Policy, PrivacyBudget
from protocols.privacy.accounting import NoiseRule
from protocols.privacy.budgets import Budget, FormerRounds
from protocols.reasons import BUDGET_SPENT, CONTINUED
from tests.adversaries import with_bad_proof
from tests.auditor.test_gaps import types_of, without
from tests.independent.audit import audit as second_audit
from tests.independent.case import Case as SecondCase
from tests.protocols.noisy_policies import CELLS, EDGES, MEAN, NOISY, noise
from tests.simulator import Setting, Simulation

RULE = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(0))
ALONE = replace(RULE, adders=1)
SETTING = Setting(clients=4, dimension=8, trustees=3, threshold=3, corrupt=1)
Begin = Callable[..., Simulation]


def budget_of(rounds: int, *former: FormerRounds) -> Budget:
    epsilon = RULE.epsilon(rounds)
    assert epsilon is not None
    return Budget(RULE, epsilon, 50, former)


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Federations whose budget is so many cohorts, for the parties and both auditors."""

    def make(rounds: int, *former: FormerRounds, **setting: object) -> Simulation:
        budget = budget_of(rounds, *former)
        monkeypatch.setattr("protocols.pinned.budget_of", lambda _: budget)
        monkeypatch.setattr(Case, "budget", budget)
        monkeypatch.setattr("auditor.checks.epsilons.guesses_of", lambda _: 26)
        allowed = {name: budget.rounds(name) for name in (f"client-{i:02}" for i in range(9))}
        monkeypatch.setattr(SecondCase, "allowed", allowed)
        simulation = Simulation(tmp_path / "run", replace(SETTING, **setting))
        simulation.start()
        return simulation

    return make


@pytest.fixture
def ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Server and trustees who do not count."""
    monkeypatch.setattr("protocols.rounds.rules.check_budget", lambda *_: None)
    monkeypatch.setattr("protocols.rounds.ledger._unspent", lambda pinned, ledger, clients: tuple(clients))


def policy_file(simulation: Simulation) -> Path:
    pinned = simulation.path.with_name("pinned.cbor")
    pinned.write_bytes(simulation.policy_data)
    return pinned


def judged(simulation: Simulation) -> tuple[Report, set[str]]:
    """The report, and which checks both auditors fail."""
    simulation.writer.close()
    pinned = policy_file(simulation)
    report, second = audit(simulation.path, pinned), second_audit(simulation.path, pinned)
    failing = {result.id for result in report.checks if result.findings}
    assert failing == {number for number, findings in second.findings.items() if findings}
    assert report.accepted == (not failing)
    return report, failing


def play(simulation: Simulation, silent: tuple[str, ...] = ()) -> str | None:
    """A round of all whom it is open to; why it was aborted."""
    simulation.open_round()
    for name in simulation.conductor.due.parties:
        simulation.submit(name)
    simulation.acknowledge()
    if (aborted := simulation.close_cohort()) is not None:
        return aborted
    simulation.release([name for name in simulation.asked() if name not in silent])
    return simulation.finish().aborted


def test_a_cohort_beyond_the_budget_of_a_policy_with_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is put in the place of anything: noise, budget and both auditors are those of the policy. The budget is
    for one round; server and trustees hear everybody in another."""
    setting = replace(SETTING, clients=2, max_rounds=4, encryption_proof=True, private_rounds=1)
    simulation = Simulation(tmp_path / "run", replace(setting, budget=PrivacyBudget(8_000_000, 10_000_000)))
    simulation.start()
    assert simulation.pinned.budget is not None
    assert simulation.pinned.budget.rounds("client-00") == 1
    assert play(simulation) is None
    assert simulation.coordinator.endings() == (BUDGET_SPENT, CONTINUED)
    simulation.open_round()
    with pytest.raises(Rejected) as refused:
        simulation.submit("client-00")
    assert (refused.value.check, refused.value.found) == ("budget", "client-00, who is in 1")
    simulation.store(simulation.coordinator.abort())
    simulation.checkpoint()
    monkeypatch.setattr("protocols.rounds.rules.check_budget", lambda *_: None)
    monkeypatch.setattr("protocols.rounds.ledger._unspent", lambda pinned, ledger, clients: tuple(clients))
    assert play(simulation) is None
    report, failing = judged(simulation)
    assert failing == {"I5", "P5"}
    assert report.check("P4").status is report.check("I6").status is Status.PASS
    assert [each.found for each in report.check("P5").findings] == ["client-00, who is in 1", "client-01, who is in 1"]
    account = report.account
    assert account is not None
    assert account.budget == 8
    assert account.largest.epsilon == simulation.pinned.budget.spent("client-00", 2).epsilon
    assert account.largest.epsilon is not None
    assert 8 < account.largest.epsilon < 16


# Noise that breaks a bound every other time: of no rule with eta of 1 or more an epsilon is defined.
BREAKING = noise(ceiling=MEAN + 1)


@pytest.mark.parametrize("policy", [NOISY, BREAKING, *(failing for _, failing, _ in EDGES)])
def test_a_policy_whose_budget_is_not_defined_is_no_mistake_of_the_auditor(policy: Policy) -> None:
    """What cannot be counted is not counted, because I2 failed."""
    case = Case(Path(), None, "", lambda *_: None, False, PinnedPolicy(policy, b"", bytes(32)))  # type: ignore[arg-type]  # nothing is read
    case = replace(case, conditions=tuple(check_policy(policy)))
    assert failing_of(NOISY) == set()
    assert failing_of(BREAKING) == {"noise-deviation", "budget-rounds"}
    if policy.privacy_budget is None:
        assert case.budget is None
    elif failing_of(policy) <= {"decryption", "noise-hiding"}:  # of what is undefined there nothing is
        assert case.budget is not None
        assert case.budget.rounds("client0") >= 5
    else:
        with pytest.raises(Unavailable, match="because I2 failed"):
            _ = case.budget


def failing_of(policy: Policy) -> set[str]:
    return {each.name for each in check_policy(policy) if not each.holds}


def test_the_audit_of_a_log_under_such_a_policy_rejects_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = replace(SETTING, clients=2, dimension=650, encryption_proof=True, max_rounds=4)
    budget = PrivacyBudget(8_000_000, 10_000_000)

    def breaking(policy: Policy, *given: Any) -> Policy:
        found = with_noise(policy, *given)
        assert found.noise is not None
        return replace(found, noise=replace(found.noise, ceiling=CELLS * found.noise.variance + 1))

    monkeypatch.setattr("tests.settings.with_noise", breaking)
    monkeypatch.setattr("protocols.pinned.require_sound", lambda _: None)
    simulation = Simulation(tmp_path / "run", replace(setting, budget=budget))
    simulation.start()
    simulation.writer.close()
    report = audit(simulation.path, policy_file(simulation))
    assert [each.place.field for each in report.check("I2").findings] == ["noise-deviation", "budget-rounds"]
    assert (report.check("P5").status, report.check("P5").reason) == (
        Status.SKIPPED,
        "because I2 failed: the policy's parameters cannot be used",
    )
    assert {each.id for each in report.checks if each.findings} == {"I2"}


def test_what_an_honest_log_has_spent(begin: Begin) -> None:
    """Of aborts, repetitions, a rotation and a revocation; the last cohort is still open."""
    simulation = begin(4, max_aborts=9)
    simulation.give_up_round()
    assert play(simulation, silent=("trustee-0",)) == "missing-releases"
    assert play(simulation) is None
    simulation.change(simulation.rotation("client-00"))
    simulation.change(simulation.revocation("client-03"))
    assert play(simulation) is None
    simulation.open_round()
    for name in ("client-00", "client-01"):
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    report, failing = judged(simulation)
    assert failing == set()
    assert report.check("P5").status is Status.PASS
    assert "at most epsilon 1.79321 of 1.79321 is spent, by client-00 in 4 cohorts" in report.check("P5").checked
    account = report.account
    assert account is not None
    assert {each.client: (each.cohorts, each.submissions) for each in account.clients} == {
        "client-00": (4, 4),
        "client-01": (4, 4),
        "client-02": (3, 3),
        "client-03": (2, 2),
    }
    assert {each.allowed for each in account.clients} == {4}
    assert [each.epsilon for each in account.clients] == [RULE.epsilon(count) for count in (4, 4, 3, 2)]
    assert [each.sent for each in account.clients] == [5, 5, 5, 3]
    assert [each.alone for each in account.clients] == [ALONE.epsilon(count) for count in (5, 5, 5, 3)]
    assert account.largest.epsilon == account.budget


def test_with_more_corrupt_trustees_what_was_sent_counts_and_what_was_spent_before(begin: Begin) -> None:
    """A server need not log what it was sent: each client that a RoundOpen asked may have answered it."""
    spent_before = FormerRounds(replace(RULE, sensitivity=512), {"client-00": 4})
    simulation = begin(40, spent_before, max_aborts=9)
    assert play(simulation) is None
    for _ in range(2):  # asked, and given up: nobody's submission is in the log
        simulation.open_round()
        simulation.store(simulation.coordinator.abort())
        simulation.checkpoint()
    report, failing = judged(simulation)
    assert failing == set()
    account = report.account
    assert account is not None
    assert {(each.cohorts, each.submissions, each.sent) for each in account.clients} == {(1, 1, 3)}
    before = replace(spent_before.rule, adders=1).mu_squared(4)
    assert [each.alone for each in account.clients] == [ALONE.epsilon(3, before)] + [ALONE.epsilon(3)] * 3
    assert all(each.epsilon < each.alone for each in account.clients if each.epsilon and each.alone)
    told = account.to_dict()["clients"][0]
    assert (told["submissions"], told["submissions_sent_at_most"], told["former_cohorts"]) == (1, 3, 4)
    assert "that it sent no other (" in account.meaning[5]


def test_who_was_asked_is_who_was_drawn(begin: Begin) -> None:
    """Who is not drawn sends nothing; and everybody may have, where it cannot be told whom a RoundOpen asks."""
    simulation = begin(4, clients=5, per_round=2)
    assert play(simulation) is None
    assert play(simulation) is None
    report, failing = judged(simulation)
    assert failing == set()
    assert report.account is not None
    assert sorted(each.sent for each in report.account.clients) == sorted(
        each.cohorts for each in report.account.clients
    )
    assert sum(each.sent for each in report.account.clients) == 4
    pinned, ack = policy_file(simulation), types_of(simulation.path).index("share-ack")
    torn = audit(without(simulation.path, ack), pinned).account
    assert torn is not None
    assert sum(each.sent for each in torn.clients) == 7  # of the second round all five


def test_the_account_is_in_the_report(begin: Begin) -> None:
    simulation = begin(2)
    play(simulation)
    report, _ = judged(simulation)
    told = json.loads(json.dumps(report.to_dict()))["account"]
    assert (told["unit"], told["adjacency"], told["budget"]["delta"]) == ("client", "zero-out", 1e-05)
    assert told["clients"][0]["client"] == "client-00"
    assert told["clients"][0]["cohorts"] == 1
    assert told["clients"][0]["cohorts_allowed"] == 2
    assert told["epsilon"] == told["clients"][0]["epsilon"] < told["clients"][0]["epsilon_alone"]
    others = replace(RULE, sensitivity=2 * RULE.sensitivity).epsilon(2)  # no deviation here
    assert others is not None
    assert others > 2 * RULE.epsilon(2)
    assert told["replaced"] == {"epsilon": float(others), "delta": 1e-05}
    said = f"at twice the sensitivity, all cohorts that the budget allows have epsilon {float(others):g} at delta 1e-05"
    assert told["meaning"][1].endswith(said)
    alone = max(each["epsilon_alone"] for each in told["clients"])
    assert f"logged or not: epsilon {alone:g} at most" in told["meaning"][4]
    assert told["assumptions"][0] == (
        "of the whole roster at most 0 clients tell the server their noise, or choose it, so that 3 clients or more of "
        "every cohort are honest, whomever the server hears"
    )
    assert told["assumptions"][5].endswith("of the estimate for the lattice, 388 bits, the proof takes 26 off")
    means = [f"means: {each}" for each in told["meaning"]]
    assert [*means, *(f"assumed: {each}" for each in told["assumptions"])] == list(report.check("P5").notes)
    assert [line for line in events(report) if line["event"] == "account"] == [{"event": "account", **told}]
    story = audit(simulation.path, policy_file(simulation), explain="client-01").story
    assert story is not None
    (spent,) = (event for event in story.events if "closed cohort" in event.text)
    assert spent.text.startswith("is in 1 closed cohort of the 2 that its budget allows: epsilon 0.8")
    assert spent.holds


def test_what_was_spent_before_is_somebodys_word_where_nobody_recounted_it(begin: Begin) -> None:
    """The audit accepts, as the log that was continued was not given to it; who reads the epsilon is told."""
    simulation = begin(2, previous=FormerFederation("first", bytes(32), 9, bytes(32)))
    report, failing = judged(simulation)
    assert failing == set()
    assert report.check("I14").status is Status.SKIPPED
    assert report.check("P5").status is Status.PASS
    assert report.account is not None
    assert report.account.assumptions[-1] == (
        "what each client spent in former federations is, in whole or in part, as the issuers of the policies wrote: "
        "it was not recounted (I14); audit with --previous for each of them"
    )


def test_a_budget_that_server_and_trustees_ignore(begin: Begin, ignored: None) -> None:
    """Each cohort beyond it is a finding of each client, whether it was released or not, and whatever is missing."""
    simulation = begin(1, clients=3)
    simulation.play_round(clients=["client-00", "client-01"])
    simulation.play_round(clients=["client-01", "client-02"], silent=["trustee-0"])
    simulation.play_round(clients=["client-01", "client-02"])
    report, failing = judged(simulation)
    assert failing == {"I5", "P5"}
    assert report.outcome is Outcome.BROKEN
    found = [(each.place.type, each.place.round, each.place.field, each.found) for each in report.check("P5").findings]
    assert found == [
        ("cohort-closed", 2, "accepted", "client-01, who is in 1"),
        ("cohort-closed", 3, "accepted", "client-01, who is in 2"),
        ("cohort-closed", 3, "accepted", "client-02, who is in 1"),
    ]
    expected = f"budget: clients in fewer than 1 closed cohorts, {budget_of(1)}"
    assert {(each.expected, each.by) for each in report.check("P5").findings} == {(expected, "coordinator")}
    named = [(each.place.party, each.place.round) for each in report.check("I5").findings]
    assert named == [("client-01", 2), ("client-01", 3), ("client-02", 3)]
    assert report.account is not None
    assert report.account.largest.client == "client-01"
    assert report.account.largest.epsilon == RULE.epsilon(3)
    pinned, release = policy_file(simulation), types_of(simulation.path).index("release")
    path = without(simulation.path, release)
    torn = audit(path, pinned)
    assert [each.kind for each in torn.check("P5").findings] == [Kind.BROKEN] * 3
    assert torn.outcome is Outcome.BROKEN


def test_who_is_spent_and_not_in_the_cohort_that_is_repeated(
    begin: Begin, ignored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are said: the budget is certain whatever is missing, the cohort before may be in what is missing."""
    simulation = begin(1)
    simulation.play_round(clients=["client-00", "client-01"])
    assert simulation.play_round(clients=["client-02", "client-03"], silent=["trustee-0"]).aborted
    monkeypatch.setattr("protocols.rounds.rules.is_in", lambda *_: True)
    simulation.open_round()
    simulation.submit("client-00")
    simulation.checkpoint()
    report, failing = judged(simulation)
    assert failing == {"I5"}
    found = [(str(each.expected).partition(":")[0], each.found) for each in report.check("I5").findings]
    assert found == [
        ("budget", "client-00, who is in 1"),
        ("one of the last cohort opened on this model", "client-00"),
    ]
    opened = [place for place, kind in enumerate(types_of(simulation.path)) if kind == "cohort-closed"][1]
    torn = audit(without(simulation.path, opened), policy_file(simulation))
    broken = [each.found for each in torn.check("I5").findings if each.kind is Kind.BROKEN]
    assert broken == ["client-00, who is in 1"]


def test_an_end_for_a_budget_that_is_not_spent(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = begin(2)
    play(simulation)
    with monkeypatch.context() as lying:
        lying.setattr("protocols.rounds.rules.ending_reasons", lambda *_: (BUDGET_SPENT,))
        simulation.store(simulation.conductor.end(BUDGET_SPENT))
        simulation.settle()
    report, failing = judged(simulation)
    assert failing == {"I4"}
    (finding,) = report.check("I4").findings
    assert finding.found == BUDGET_SPENT


def test_draws_among_those_who_are_not_spent_until_too_few_are_left(begin: Begin) -> None:
    simulation = begin(1, clients=5, per_round=2)
    play(simulation)
    play(simulation)
    simulation.store(simulation.conductor.end(BUDGET_SPENT))
    simulation.settle()
    report, failing = judged(simulation)
    assert failing == set()
    assert report.account is not None
    assert sorted(each.cohorts for each in report.account.clients) == [0, 1, 1, 1, 1]


def test_a_server_that_spends_the_others_first_is_left_with_whom_it_is_after(begin: Begin) -> None:
    """Of those drawn it hears only whom it wants gone. That is lawful, so the noise of the others of the roster, not of
    a cohort, has to be enough; and P5 says of which round few were left."""
    simulation = begin(1, clients=6, per_round=3, seed=2)
    wanted = {"client-00", "client-05"}
    for _ in range(2):
        simulation.open_round()
        for name in sorted(set(simulation.conductor.due.parties) - wanted):
            simulation.submit(name)
        simulation.acknowledge()
        assert simulation.close_cohort() is None
        simulation.release()
        assert simulation.finish().aborted is None
    assert play(simulation) is None
    report, failing = judged(simulation)
    assert failing == set()
    assert report.account is not None
    assert {each.cohorts for each in report.account.clients} == {1}
    assert (
        "means: round 3 could have a cohort of 2 only of the 6 clients in force, as the others had spent their "
        "budgets; a server that hears some and not others decides who these are, drawn or not"
    ) in report.check("P5").notes


@pytest.mark.exhaustive
def test_a_draw_that_has_somebody_who_is_spent(begin: Begin, ignored: None) -> None:
    simulation = begin(1, clients=3, per_round=2)
    play(simulation)
    play(simulation)
    assert judged(simulation)[1] == {"I5", "P5"}


def test_nothing_is_claimed_where_proofs_are_not_verified(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = begin(2)
    monkeypatch.setattr("protocols.rounds.coordinator.Coordinator._faults", lambda _: {})
    simulation.open_round()
    for name in ("client-00", "client-01"):
        simulation.submit(name)
    bad = with_bad_proof(simulation, simulation.package("client-02"))
    simulation.store(simulation.coordinator.receive(bad))
    simulation.acknowledge()
    simulation.close_cohort()
    report, failing = judged(simulation)
    assert failing == {"I6", "I7", "I8"}
    assert report.check("P5").status is Status.SKIPPED
    assert report.check("P5").reason == "because I6 failed: bound and noise are not proved"
    assert report.account is None
