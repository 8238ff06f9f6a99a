"""Histories in which a round is opened on a model on which one was opened before: who is summed, and what ends them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from auditor import audit
from proofs.errors import Rejected
from protocols.cohorts import suppression_order
from protocols.encoding import decode
from protocols.envelopes import Entry, open_envelope, seal
from protocols.messages import CohortClosed, FederationClosed, Submission
from protocols.reasons import ABORTS_SPENT, CONTINUED, NO_COHORT, ROUNDS_SPENT, TOO_FEW_CLIENTS
from protocols.rounds.drafts import draft_cohort
from protocols.rounds.ledger import asked_clients
from protocols.submissions import Fault
from tests import retries
from tests.adversaries import with_bad_proof
from tests.simulator import Simulation, identity_of

CORRUPT = retries.CORRUPT
Simulate = Callable[..., Simulation]


def refused(check: str) -> pytest.RaisesExc[Rejected]:
    return pytest.RaisesExc(Rejected, check=lambda error: error.check == check)


def cohorts(simulation: Simulation) -> list[set[str]]:
    """The cohorts that were closed, in log order, by what the entries say."""
    entries = simulation.coordinator.entries(0, simulation.coordinator.size)
    messages = [open_envelope(entry).message for entry in entries]
    found = []
    for message in messages:
        if isinstance(message, CohortClosed):
            found.append({messages[index].client for index in message.accepted})
    return found


def blocks(simulation: Simulation) -> list[set[str]]:
    """What any number of sums on one model can be told apart by: those who left together, and the last cohort."""
    chain = cohorts(simulation)
    assert all(later <= earlier for earlier, later in pairwise(chain))
    return [earlier - later for earlier, later in pairwise(chain) if earlier != later] + chain[-1:]


def closed_over(simulation: Simulation, clients: Sequence[str], cheating: str | None = None) -> None:
    """These submit to the open round, one of them with a proof that does not hold, and its cohort is closed."""
    for name in clients:
        package = simulation.package(name)
        sent = with_bad_proof(simulation, package) if name == cheating else package
        simulation.store(simulation.coordinator.receive(sent))
    simulation.acknowledge()
    assert simulation.close_cohort() is None


def aborted(simulation: Simulation, clients: list[str] | None = None) -> None:
    assert simulation.play_round(clients=clients, silent=CORRUPT).aborted == "missing-releases"


def check_accepted(simulation: Simulation) -> None:
    report = audit(simulation.path, simulation.policy_data)
    assert report.accepted, [check.findings for check in report.checks if check.findings]


def close(simulation: Simulation, reason: str) -> None:
    simulation.store(simulation.coordinator.close_federation(reason))
    simulation.checkpoint()


# ---- somebody is gone before the repetition ----


@pytest.mark.parametrize("missing", [1, pytest.param(2, marks=pytest.mark.exhaustive), 3, 4])
def test_further_clients_leave_with_those_who_are_gone(simulate: Simulate, missing: int) -> None:
    """7 clients, min_cohort 3: as many leave as make the difference three, in the order of the policy."""
    simulation = simulate(clients=7, min_cohort=3)
    names = list(simulation.clients)
    aborted(simulation)
    here = names[missing:]
    result = simulation.play_round(clients=here)
    leaving = max(0, 3 - missing)
    order = suppression_order(simulation.pinned.hash, here)
    assert set(result.accepted) == set(order[leaving:])
    assert np.array_equal(result.plaintext, simulation.expected_sum(result))
    assert [len(block) for block in blocks(simulation)] == [max(3, missing), 7 - max(3, missing)]
    check_accepted(simulation)


def test_who_leaves_is_told_why(simulate: Simulate) -> None:
    simulation = simulate(clients=7, min_cohort=3)
    aborted(simulation)
    simulation.open_round()
    for name in list(simulation.clients)[1:]:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    current = simulation.coordinator.ledger.current
    assert current is not None
    assert current.cohort is not None
    assert [each.reason for each in current.cohort.message.excluded] == ["suppressed"] * 2


def test_where_too_few_would_remain_the_round_is_aborted_and_the_federation_can_be_closed(simulate: Simulate) -> None:
    simulation = simulate(clients=5, min_cohort=3)
    aborted(simulation)
    assert simulation.coordinator.endings() == ()
    with refused("ending"):
        simulation.coordinator.close_federation(NO_COHORT)
    assert simulation.play_round(clients=list(simulation.clients)[:4]).aborted == "differencing"
    assert simulation.coordinator.endings() == (NO_COHORT,)
    check_accepted(simulation)
    close(simulation, NO_COHORT)
    check_accepted(simulation)


def test_where_too_few_came_at_all_the_reason_is_another(simulate: Simulate) -> None:
    simulation = simulate(clients=7, min_cohort=3)
    aborted(simulation)
    assert simulation.play_round(clients=list(simulation.clients)[:2]).aborted == "too-few-submissions"
    check_accepted(simulation)


def test_a_round_without_a_cohort_forbids_nothing(simulate: Simulate) -> None:
    """Aborted before its cohort was closed, it shows no sum: the next may have all of those that were opened before."""
    simulation = simulate(clients=5, min_cohort=3)
    aborted(simulation)
    assert simulation.play_round(clients=list(simulation.clients)[:4]).aborted == "differencing"
    assert set(simulation.play_round().accepted) == set(simulation.clients)
    check_accepted(simulation)


def test_whoever_was_suppressed_waits_for_the_next_model(simulate: Simulate) -> None:
    simulation = simulate(clients=7, min_cohort=3)
    names = list(simulation.clients)
    aborted(simulation)
    aborted(simulation, names[1:])
    out = blocks(simulation)[0]
    simulation.open_round()
    for name in sorted(out):
        with refused("retry-member"):
            simulation.submit(name)
    for name in sorted(set(names) - out):
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert set(simulation.finish().accepted) == set(names) - out
    assert set(simulation.play_round().accepted) == set(names)
    check_accepted(simulation)


def test_a_chain_of_repetitions_nests(simulate: Simulate) -> None:
    """Nine clients, one more gone each time: every block has min_cohort clients."""
    simulation = simulate(clients=9, min_cohort=2, max_aborts=5)
    for _ in range(3):
        here = sorted(cohorts(simulation)[-1])[1:] if cohorts(simulation) else list(simulation.clients)
        aborted(simulation, here)
    assert [len(block) for block in blocks(simulation)] == [2, 2, 5]
    last = sorted(cohorts(simulation)[-1])
    assert set(simulation.play_round(clients=last).accepted) == set(last)
    check_accepted(simulation)


# ---- a model that comes back after a closed round ----


def test_a_model_that_a_sum_of_zeros_leaves_as_it_was(simulate: Simulate) -> None:
    """It repeats nothing by its number, but its cohort is opened on the same model."""
    simulation = simulate(clients=5, min_cohort=2)
    names = list(simulation.clients)
    nothing = dict.fromkeys(names, np.zeros(simulation.setting.dimension, dtype=np.int64))
    first = simulation.play_round(nothing, clients=names[:4])
    assert first.aborted is None
    simulation.open_round()
    current = simulation.coordinator.ledger.current
    assert current is not None
    assert (current.message.retry_of, current.earlier is not None) == (None, True)
    assert set(asked_clients(simulation.pinned, simulation.coordinator.ledger)) == set(names[:4])
    with refused("retry-member"):
        simulation.submit(names[4])
    closed_over(simulation, names[:3])
    simulation.release()
    assert len(simulation.finish().accepted) == 2
    check_accepted(simulation)


# ---- changes of the membership between repetitions ----


def test_a_revoked_member_is_gone_and_others_leave_with_it(simulate: Simulate) -> None:
    simulation = simulate(clients=7, min_cohort=3)
    names = list(simulation.clients)
    aborted(simulation)
    simulation.change(simulation.revocation(names[0]))
    simulation.change(simulation.rotation(names[1]))
    assert simulation.coordinator.endings() == ()
    assert len(simulation.play_round().accepted) == 4
    check_accepted(simulation)


def test_too_few_in_force_end_a_federation(simulate: Simulate) -> None:
    """Of five with min_cohort 3 none may be missing from a repetition, nor may two from a first round."""
    for clients, before in ((5, True), (3, False)):
        simulation = simulate(clients=clients, min_cohort=3)
        if before:
            aborted(simulation)
        choice = () if before else (CONTINUED,)
        assert simulation.coordinator.endings() == choice
        simulation.change(simulation.revocation("client-00"))
        assert simulation.coordinator.endings() == (TOO_FEW_CLIENTS, *choice)
        close(simulation, TOO_FEW_CLIENTS)
        check_accepted(simulation)


# ---- exempt clients ----


def test_one_at_fault_in_a_repetition_and_absent_from_the_next(simulate: Simulate) -> None:
    """It is given up once, and then blocks nothing."""
    simulation = simulate(clients=5, min_cohort=3)
    aborted(simulation)
    simulation.open_round()
    closed_over(simulation, list(simulation.clients), cheating="client-04")
    simulation.release([name for name in simulation.asked() if name not in CORRUPT])
    assert simulation.finish().aborted == "missing-releases"
    assert len(simulation.coordinator.ledger.opened[-1].excused) == 1
    assert len(simulation.play_round(clients=list(simulation.clients)[:4]).accepted) == 4
    assert [each.excused for each in simulation.coordinator.ledger.opened] == [()]  # t trustees have released on it
    check_accepted(simulation)


def test_an_absent_client_is_not_hidden_behind_one_at_fault(simulate: Simulate) -> None:
    """Two are missing and one of them is exempt: a third leaves."""
    simulation = simulate(clients=7, min_cohort=3)
    aborted(simulation)
    simulation.open_round()
    closed_over(simulation, list(simulation.clients)[1:], cheating="client-06")
    simulation.release()
    assert len(simulation.finish().accepted) == 4
    check_accepted(simulation)


# ---- what a cohort rests on ----


def falsely_closed(simulation: Simulation, victim: str) -> None:
    """The open round's cohort is closed; the valid proof of this client is called invalid."""
    current = simulation.coordinator.ledger.current
    assert current is not None
    index = next(each.index for each in current.submissions if each.message.client == victim)
    message = draft_cohort(simulation.pinned, current, {index: Fault("invalid-proof", "linear-relation")})
    simulation.store(simulation.coordinator._log([simulation.coordinator._seal(message)]))
    simulation.checkpoint()


def falsely_excused(simulation: Simulation) -> None:
    """A round over all, aborted; a repetition without client-03, whose valid proof is called invalid; nobody releases
    there. A second repetition of the same three, up to its cohort: it differs from the last one by nobody."""
    aborted(simulation)
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    falsely_closed(simulation, "client-03")
    for name in list(simulation.trustees)[3:]:
        with refused("differencing"):
            simulation.release([name])
    assert simulation.finish().aborted == "missing-releases"
    simulation.open_round()
    for name in list(simulation.clients)[:3]:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None


def test_a_false_excuse_is_not_forgotten(simulate: Simulate) -> None:
    """Also by a trustee that had nothing to do with the round in which it was claimed."""
    simulation = simulate(clients=4, min_cohort=2)
    falsely_excused(simulation)
    assert cohorts(simulation)[-1] == cohorts(simulation)[-2]
    simulation.restart_trustee("trustee-2")
    for name in simulation.trustees:
        with refused("differencing") as excinfo:
            simulation.release([name])
        assert excinfo.value.found == "a difference of client-03"
    assert simulation.finish().aborted == "missing-releases"
    assert not audit(simulation.path, simulation.policy_data).accepted


def test_an_excuse_of_an_earlier_round_needs_its_evidence(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = simulate(clients=4, min_cohort=2)
    falsely_excused(simulation)
    current = simulation.coordinator.ledger.current
    assert current is not None
    assert current.earlier is not None
    (excused,) = current.earlier.excused
    missing = decode(Submission, excused.body).proof
    honest = simulation.blob

    def blobs(name: bytes, limit: int) -> bytes:
        if name == missing:
            raise Rejected("blob-missing", name.hex(), "none")
        return honest(name, limit)

    monkeypatch.setattr(simulation, "blob", blobs)
    with refused("blob-missing"):
        simulation.release(["trustee-2"])


# ---- the end ----


def test_when_aborts_are_spent_the_last_closed_model_is_final(simulate: Simulate) -> None:
    simulation = simulate(max_aborts=1)
    assert simulation.play_round().aborted is None
    for _ in range(2):
        aborted(simulation)
    assert simulation.coordinator.endings() == (ABORTS_SPENT,)
    check_accepted(simulation)
    close(simulation, ABORTS_SPENT)
    ledger = simulation.coordinator.ledger
    assert (ledger.closed, ledger.rounds) == (ABORTS_SPENT, 3)
    check_accepted(simulation)


def test_when_rounds_are_spent(simulate: Simulate) -> None:
    simulation = simulate(max_rounds=1)
    simulation.play_round()
    close(simulation, ROUNDS_SPENT)
    check_accepted(simulation)


def test_nothing_follows_the_end(simulate: Simulate) -> None:
    simulation = simulate(max_rounds=2)
    simulation.open_round()
    simulation.acknowledge()
    assert simulation.close_cohort() == "too-few-submissions"
    key = simulation.trustees["trustee-0"].round_key(2)
    rotation = simulation.rotation("client-00")
    close(simulation, NO_COHORT)
    model = simulation.coordinator.ledger.model or b""
    again = seal(
        FederationClosed("simulated", simulation.pinned.hash, model, 1, NO_COHORT),
        "coordinator",
        identity_of("coordinator"),
    )
    for entry in (key, rotation, again):
        with refused("order"):
            simulation.coordinator._log([Entry.open(entry)])
    assert simulation.coordinator.endings() == ()
    for name, trustee in simulation.trustees.items():
        kept = simulation.stores[name].keys()
        assert not [each for each in kept if each.startswith(("round-key", "share"))]
        with refused("erased"):
            trustee.round_key(2)


def test_an_end_says_what_the_log_shows(simulate: Simulate) -> None:
    simulation = simulate(max_rounds=1)
    simulation.play_round()
    model = simulation.coordinator.ledger.model or b""
    true = FederationClosed("simulated", simulation.pinned.hash, model, 1, ROUNDS_SPENT)
    for wrong, check in (
        (replace(true, policy=bytes(32)), "policy-hash"),
        (replace(true, model=bytes(32)), "model"),
        (replace(true, rounds=0), "rounds"),
        (replace(true, reason=ABORTS_SPENT), "ending"),
        (replace(true, reason="enough"), "ending"),
        (replace(true, federation="another"), "federation"),
    ):
        with refused(check):
            simulation.coordinator._log([Entry.open(seal(wrong, "coordinator", identity_of("coordinator")))])


def test_a_federation_ends_between_rounds_only(simulate: Simulate) -> None:
    simulation = simulate(max_rounds=1)
    simulation.open_round()
    with refused("order"):
        simulation.coordinator.close_federation(ROUNDS_SPENT)


# ---- strict_consecutive: the same for rounds one after the other ----


@pytest.mark.parametrize(
    ("cohorts", "sizes"),
    [
        pytest.param([range(7), range(7)], [7, 7], marks=pytest.mark.exhaustive),
        ([range(7), range(6)], [7, 4]),
        pytest.param([range(6), range(7)], [6, 6], marks=pytest.mark.exhaustive),
        pytest.param([range(4), range(7)], [4, 7], marks=pytest.mark.exhaustive),
        ([range(7), range(3), range(3, 6)], [7, 3, 0]),
        pytest.param([range(7), range(4), range(6)], [7, 4, 4], marks=pytest.mark.exhaustive),
        ([range(1, 7), range(1, 4), range(7)], [6, 3, 6]),
    ],
)
def test_strict_rounds_expose_nobody(simulate: Simulate, cohorts: list[range], sizes: list[int]) -> None:
    """Missing clients take others with them, a few new ones wait, and where somebody would be exposed all the same
    there is no cohort."""
    simulation = simulate(clients=7, min_cohort=3, strict_consecutive=True)
    names = list(simulation.clients)
    results = [simulation.play_round(clients=[names[each] for each in members]) for members in cohorts]
    assert [len(result.accepted) for result in results] == sizes
    assert [result.aborted for result in results] == [None if size else "differencing" for size in sizes]
    check_accepted(simulation)


def test_strict_trustees_refuse_to_release(simulate: Simulate) -> None:
    """A client is called faulty falsely, so that it may be absent; otherwise only cohorts on one model are compared."""
    for strict in (True, False):
        simulation = simulate(clients=4, min_cohort=2, strict_consecutive=strict)
        simulation.play_round()
        simulation.open_round()
        for name in simulation.clients:
            simulation.submit(name)
        simulation.acknowledge()
        falsely_closed(simulation, "client-03")
        if strict:
            with refused("differencing"):
                simulation.release(["trustee-2"])
        else:
            simulation.release(["trustee-2"])


def test_whoever_is_exempt_towards_the_last_but_one_cohort_blocks_nobody(simulate: Simulate) -> None:
    """Three sums of seven, three and six would show client-06, which was absent once and then sends a bad proof: it is
    given up, and trustees, who verify that, release."""
    simulation = simulate(clients=7, min_cohort=3, strict_consecutive=True)
    names = list(simulation.clients)
    simulation.play_round()
    simulation.play_round(clients=names[:3])
    simulation.open_round()
    closed_over(simulation, names, cheating="client-06")
    current = simulation.coordinator.ledger.current
    assert current is not None
    assert [each.client for each in simulation.coordinator.ledger.opened[-1].excused] == ["client-06"]
    assert len(current.accepted_submissions()) == 6
    simulation.release()
    assert simulation.finish().aborted is None
    check_accepted(simulation)


def test_a_false_excuse_towards_the_last_but_one_cohort_is_refused(simulate: Simulate) -> None:
    simulation = simulate(clients=7, min_cohort=3, strict_consecutive=True)
    names = list(simulation.clients)
    simulation.play_round()
    simulation.play_round(clients=names[:3])
    simulation.open_round()
    for name in names:
        simulation.submit(name)
    simulation.acknowledge()
    falsely_closed(simulation, "client-06")
    with refused("differencing") as excinfo:
        simulation.release(["trustee-2"])
    assert excinfo.value.found == "a difference of client-06"
