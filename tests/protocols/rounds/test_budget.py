"""The privacy budget in the log: who is charged for what, who is heard no more, and how a federation ends for it.

What a cohort costs is not looked at here: the budget is one of so many cohorts. The updates have no noise.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from proofs.errors import Rejected
from protocols.envelopes import open_envelope
from protocols.messages import CohortClosed
from protocols.privacy.accounting import NoiseRule
from protocols.privacy.budgets import Budget, FormerRounds
from protocols.reasons import BUDGET_SPENT, CONTINUED, NO_COHORT, TOO_FEW_CLIENTS
from protocols.rounds.exchange import Acknowledgement
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import asked_clients, cohorts_with
from tests.protocols.rounds.test_forgetting import copy_of
from tests.simulator import RoundResult, Simulation

RULE = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(0))
Simulate = Callable[..., Simulation]


@pytest.fixture
def allowing(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> Simulate:
    """Federations whose budget is so many cohorts for each client: `allowing(2, clients=5)`. former: what clients were
    in before, by the same rule."""

    def make(rounds: int, former: dict[str, int] | None = None, **setting: object) -> Simulation:
        epsilon = RULE.epsilon(rounds)
        assert epsilon is not None
        budget = Budget(RULE, epsilon, 50, [FormerRounds(RULE, former)] if former else ())
        monkeypatch.setattr("protocols.pinned.budget_of", lambda _: budget)
        return simulate(**{"dimension": 8, "trustees": 3, "threshold": 3, "corrupt": 1, **setting})

    return make


def charges(simulation: Simulation) -> list[int]:
    """Of each client, as every trustee counts them, too."""
    ledgers = [simulation.coordinator.ledger, *(each.ledger for each in simulation.trustees.values())]
    (found,) = {tuple(cohorts_with(simulation.pinned, each, name) for name in simulation.clients) for each in ledgers}
    return list(found)


def asked(simulation: Simulation) -> list[int]:
    """Positions of those whom a round is open to."""
    names, who = list(simulation.clients), asked_clients(simulation.pinned, simulation.coordinator.ledger)
    return [names.index(name) for name in who]


def endings(simulation: Simulation) -> tuple[str, ...]:
    """The reasons for which it may be closed, but for the one that is a coordinator's choice behind a closed round."""
    return tuple(each for each in simulation.coordinator.endings() if each != CONTINUED)


def play(simulation: Simulation, silent: tuple[str, ...] = ()) -> RoundResult:
    """A round of all whom it is open to."""
    simulation.open_round()
    for name in simulation.conductor.due.parties:
        simulation.submit(name)
    simulation.acknowledge()
    if (aborted := simulation.close_cohort()) is not None:
        return RoundResult(simulation.coordinator.ledger.rounds, aborted, (), None)
    simulation.release([name for name in simulation.asked() if name not in silent])
    return simulation.finish()


def some(simulation: Simulation, *positions: int) -> list[str]:
    names = list(simulation.clients)
    return [names[position] for position in positions]


def test_a_spent_client_is_not_asked_and_refused_by_name(allowing: Simulate) -> None:
    simulation = allowing(2)
    simulation.play_round()
    simulation.play_round(clients=some(simulation, 0, 1))
    assert charges(simulation) == [2, 2, 1, 1]
    simulation.open_round()
    assert asked(simulation) == [2, 3]
    assert simulation.conductor.due.parties == tuple(some(simulation, 2, 3))
    with pytest.raises(Rejected) as excinfo:
        simulation.submit("client-00")
    assert excinfo.value.check == "budget"
    assert excinfo.value.found == "client-00, who is in 2"
    assert excinfo.value.expected.startswith("clients in fewer than 2 closed cohorts, the budget of epsilon 1.")
    for name in some(simulation, 2, 3):
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().accepted == ("client-02", "client-03")
    assert endings(simulation) == (BUDGET_SPENT,)


def test_a_cohort_beyond_the_budget_gets_no_cosignature(allowing: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a coordinator that asks everybody again, whatever they have spent."""
    simulation = allowing(1)
    simulation.play_round()
    seen = {name: trustee.size for name, trustee in simulation.trustees.items()}
    with monkeypatch.context() as blind:
        blind.setattr("protocols.rounds.rules.check_budget", lambda *_: None)
        blind.setattr("protocols.rounds.ledger._unspent", lambda pinned, ledger, clients: tuple(clients))
        simulation.open_round()
        for name in simulation.clients:
            simulation.submit(name)
        note = simulation.coordinator.checkpoint()
    for name, trustee in simulation.trustees.items():
        with pytest.raises(Rejected) as excinfo:
            simulation.observe(name, note)
        assert excinfo.value.check == "budget"
        assert excinfo.value.found == "client-00, who is in 1"
        assert trustee.size > seen[name]  # the opening, which asks nobody, it has cosigned


def test_aborts_after_the_cohort_count_and_each_repetition(allowing: Simulate) -> None:
    """What was aborted before it does not."""
    simulation = allowing(3, clients=3, max_aborts=10)
    simulation.give_up_round()
    assert charges(simulation) == [0] * 3
    for count in (1, 2):
        assert simulation.play_round(silent=["trustee-0"]).aborted == "missing-releases"
        assert charges(simulation) == [count] * 3
    assert simulation.play_round().aborted is None
    assert charges(simulation) == [3] * 3
    assert endings(simulation) == (BUDGET_SPENT,)


def test_the_repetition_of_a_cohort_that_spent_everything(allowing: Simulate) -> None:
    """No round can repeat it: the federation ends, and with the last closed model."""
    simulation = allowing(1)
    model = simulation.coordinator.ledger.model
    assert simulation.play_round(silent=["trustee-0"]).aborted == "missing-releases"
    assert endings(simulation) == (BUDGET_SPENT,)
    simulation.store(simulation.conductor.end(BUDGET_SPENT))
    simulation.settle()
    ledger = simulation.coordinator.ledger
    assert (ledger.closed, ledger.model) == (BUDGET_SPENT, model)


def test_who_is_spent_is_missing_from_a_repetition_as_anybody_is(allowing: Simulate) -> None:
    """Others leave with it, so that the difference of the two sums is of as many as ever."""
    simulation = allowing(2, clients=4)
    simulation.play_round(clients=some(simulation, 0, 3))
    assert simulation.play_round(clients=some(simulation, 0, 1, 2, 3), silent=["trustee-0"]).aborted
    assert charges(simulation) == [2, 1, 1, 2]
    assert play(simulation).accepted == tuple(some(simulation, 1, 2))
    simulation = allowing(2, clients=4, max_rounds=9)
    simulation.play_round(clients=some(simulation, 0, 1))
    simulation.play_round(clients=some(simulation, 0, 2))
    assert simulation.play_round(clients=some(simulation, 1, 2, 3), silent=["trustee-0"]).aborted
    assert charges(simulation) == [2, 2, 2, 1]
    assert endings(simulation) == (BUDGET_SPENT,)  # one is left of three


def test_an_open_cohort_counts(allowing: Simulate) -> None:
    simulation = allowing(1)
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    assert charges(simulation) == [1] * 4


def test_excluded_submissions_cost_nothing(allowing: Simulate) -> None:
    simulation = allowing(2)
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    names = list(simulation.trustees)
    simulation.settle()
    simulation.proceed()
    simulation.settle()
    withheld = simulation.coordinator.ledger.current
    assert withheld is not None
    hidden = withheld.submissions[3].message.share_commitments

    def without_one(name: bytes, limit: int) -> bytes:
        if name == hidden:
            raise Rejected("blob-missing", "a blob", "none")
        return simulation.blob(name, limit)

    for name in names:
        ack = simulation.trustees[name].acknowledge(1, simulation.coordinator.note, without_one)
        simulation.store(simulation.conductor.take(name, Acknowledgement(ack)))
    assert simulation.close_cohort() is None
    assert charges(simulation) == [1, 1, 1, 0]


def test_a_client_keeps_its_count_under_another_key(allowing: Simulate) -> None:
    simulation = allowing(2)
    simulation.play_round()
    simulation.change(simulation.rotation("client-00"))
    simulation.change(simulation.revocation("client-01"))
    simulation.play_round()
    assert charges(simulation) == [2, 1, 2, 2]
    simulation.open_round()
    assert asked(simulation) == []
    with pytest.raises(Rejected) as excinfo:
        simulation.submit("client-00")
    assert excinfo.value.check == "budget"


def test_too_few_clients_is_said_where_that_is_why(allowing: Simulate) -> None:
    simulation = allowing(1, clients=3)
    simulation.play_round()
    assert endings(simulation) == (BUDGET_SPENT,)
    for name in some(simulation, 0, 1):
        simulation.change(simulation.revocation(name))
    assert endings(simulation) == (TOO_FEW_CLIENTS,)


def test_a_budget_that_leaves_a_cohort_is_no_end(allowing: Simulate) -> None:
    """Though nobody has to come: then the last way out is there."""
    simulation = allowing(1, clients=5)
    simulation.play_round(clients=some(simulation, 0, 1, 2))
    assert endings(simulation) == ()
    assert simulation.play_round(clients=()).aborted == "too-few-submissions"
    assert endings(simulation) == (NO_COHORT,)


def test_among_those_with_something_left_a_draw_finds_as_many_as_ever(allowing: Simulate) -> None:
    """Whoever is spent is drawn no more, so that the next in the order takes its place."""
    simulation = allowing(2, clients=6, per_round=3)
    rounds = 0
    while not endings(simulation):
        spent = {i for i, count in enumerate(charges(simulation)) if count == 2}
        simulation.open_round()
        assert len(asked(simulation)) == min(3, 6 - len(spent))
        assert spent.isdisjoint(asked(simulation))
        simulation.store(simulation.coordinator.abort())
        simulation.checkpoint()
        play(simulation)
        rounds += 1
    assert rounds >= 3
    assert max(charges(simulation)) == 2
    assert sum(count < 2 for count in charges(simulation)) < 2


def test_a_draw_of_a_spent_client_is_refused_by_that_name(allowing: Simulate) -> None:
    simulation = allowing(1, clients=6, per_round=3)
    first = simulation.play_round().accepted
    simulation.open_round()
    with pytest.raises(Rejected) as excinfo:
        simulation.submit(first[0])
    assert excinfo.value.check == "budget"


def test_former_federations_count(allowing: Simulate) -> None:
    simulation = allowing(3, former={"client-00": 2, "client-01": 3, "client-99": 3})
    assert asked(simulation) == [0, 2, 3]
    simulation.play_round(clients=some(simulation, 0, 2, 3))
    simulation.open_round()
    assert asked(simulation) == [2, 3]


@pytest.mark.parametrize("told", [True, False])
def test_restarted_and_restored_trustees_count_the_same(allowing: Simulate, told: bool) -> None:
    """From the log, whatever copy of its state it starts with."""
    simulation = allowing(2)
    simulation.play_round()
    old = copy_of(simulation, "trustee-0")
    simulation.play_round()
    simulation.restart_coordinator()
    simulation.restart_trustee("trustee-1")
    if not told:  # what nobody shows it, it cannot know; it follows the log again
        simulation.stores["trustee-0"] = old
        simulation.restart_trustee("trustee-0", told)
        assert simulation.trustees["trustee-0"].size < simulation.coordinator.size
        simulation.observe("trustee-0", simulation.coordinator.note)
    assert charges(simulation) == [2] * 4
    assert endings(simulation) == (BUDGET_SPENT,)


def test_charges_are_kept_and_read_again(allowing: Simulate) -> None:
    simulation = allowing(3)
    simulation.play_round()
    simulation.play_round(clients=some(simulation, 1, 2))
    entries = simulation.coordinator.entries(0, simulation.coordinator.size)
    follower = Follower.start().extended(simulation.pinned, entries)
    assert Follower.decode(follower.encode()).ledger == follower.ledger == simulation.coordinator.ledger
    assert [cohorts_with(simulation.pinned, follower.ledger, name) for name in simulation.clients] == [1, 2, 2, 1]
    closed = [open_envelope(entry).message for entry in entries]
    assert sum(isinstance(each, CohortClosed) for each in closed) == 2
