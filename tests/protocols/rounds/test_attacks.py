"""One test for each attack on rounds that the protocol is made to withstand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from proofs.errors import Misuse, Rejected
from protocols import hpke
from protocols.cohorts import cohort_digest
from protocols.contexts import round_seed
from protocols.envelopes import Entry, entry_hash
from protocols.messages import CohortClosed, Exclusion, RoundAborted, RoundClosed, RoundKey, RoundOpen
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import CurrentRound, asked_clients, clients_of
from protocols.rounds.trustee import Trustee
from protocols.stores import MemoryStore
from tests import retries
from tests.adversaries import (
    ForgedLog,
    fork,
    with_bad_proof,
)
from tests.protocols.rounds.test_forgetting import copy_of
from tests.seeded import seeded
from tests.simulator import Simulation
from tests.spelling import judging

NAMES = [f"trustee-{i}" for i in range(5)]
CORRUPT, HONEST = NAMES[:2], NAMES[2:]


def refused(check: str) -> pytest.RaisesExc[Rejected]:
    return pytest.RaisesExc(Rejected, check=lambda error: error.check == check)


def current_of(simulation: Simulation) -> CurrentRound:
    current = simulation.coordinator.ledger.current
    assert current is not None
    return current


def submit_all(simulation: Simulation) -> int:
    number = simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    return number


def check_sum(simulation: Simulation, result: object) -> None:
    assert result.aborted is None
    assert np.array_equal(result.plaintext, simulation.expected_sum(result))


# ---- a private RoundOpen for one client ----


def other_model(message: RoundOpen) -> RoundOpen:
    return replace(message, model=bytes(32))


def other_seed(message: RoundOpen) -> RoundOpen:
    return replace(message, seed=bytes(32))


def other_root(message: RoundOpen) -> RoundOpen:
    seed = round_seed(bytes(32), message.round, message.round_key_hashes)
    return replace(message, checkpoint_root=bytes(32), seed=seed)


def other_policy(message: RoundOpen) -> RoundOpen:
    return replace(message, policy=bytes(32))


def test_what_was_signed_under_another_policy_of_this_name_is_nothing(
    simulate: Callable[..., Simulation],
) -> None:
    """One that was corrupt and known before: a seed of such keys would be known, too. Neither server, nor trustees, nor
    clients take it; and a revocation of a former federation, or of a draft of this one, expels nobody here."""
    former, simulation = simulate(dimension=39), simulate()
    assert former.pinned.policy.federation == simulation.pinned.policy.federation
    old = [former.trustees[name].round_key(1) for name in NAMES]
    with refused("policy-hash"):
        simulation.coordinator.admitted_key([], Entry.open(old[0]))
    for entry in (old[0], former.revocation("client-00"), former.rotation("client-00")):
        private = fork(simulation, simulation.coordinator.size)
        private.entries.append(entry)
        for name in HONEST:
            with refused("policy-hash"):
                private.shown_to(simulation.trustees[name])
    private = fork(simulation, simulation.coordinator.size)
    private.entries.extend(old)
    simulation.open_round()
    true = current_of(simulation).message
    hashes = tuple(entry_hash(each) for each in old)
    seed = round_seed(true.checkpoint_root, 1, hashes)
    index = private.append(replace(true, round_key_hashes=hashes, seed=seed))
    note = private.cosigned_by(NAMES)
    invitation = private.invitation(note, index, true.round_keys, true.checkpoint_size)
    with refused("round-keys"):
        simulation.clients["client-00"].accept(invitation, simulation.blob(true.model, 320))


@pytest.mark.parametrize(
    ("change", "check"),
    [(other_model, "model"), (other_seed, "seed"), (other_root, "seed"), (other_policy, "policy-hash")],
)
def test_private_round_open(simulation: Simulation, change: Callable[[RoundOpen], RoundOpen], check: str) -> None:
    """Shown to the trustees before the true one, it is refused for what it says; without them, for its quorum."""
    private = fork(simulation, 1)
    private.entries.extend(simulation.trustees[name].round_key(1) for name in NAMES)
    simulation.open_round()
    true = current_of(simulation).message
    index = private.append(change(true))
    late = simulation.trustee_on(MemoryStore(), "trustee-2")
    with refused(check):
        private.shown_to(late)
    for name in HONEST:
        with pytest.raises(Rejected):
            private.shown_to(simulation.trustees[name])
    invitation = private.invitation(private.cosigned_by(CORRUPT), index, true.round_keys, true.checkpoint_size)
    with refused("checkpoint-quorum"):
        simulation.clients["client-00"].accept(invitation, simulation.blob(true.model, 320))


def test_private_round_keys(simulation: Simulation) -> None:
    """Corrupt trustees sign other keys for one client: honest trustees have cosigned a log with the true ones."""
    simulation.open_round()
    true = current_of(simulation).message
    private = fork(simulation, 1)
    for name in CORRUPT:
        _, public = hpke.generate_round_key(seeded(f"private {name}"))
        private.append(RoundKey("simulated", simulation.pinned.hash, 1, name, public, None, None), name)
    private.entries.extend(simulation.trustees[name].round_key(1) for name in HONEST)
    index = private.append(true)
    for name in HONEST:
        with refused("fork"):
            private.shown_to(simulation.trustees[name])
    invitation = private.invitation(private.cosigned_by(CORRUPT), index, true.round_keys, 1)
    with refused("checkpoint-quorum"):
        simulation.clients["client-00"].accept(invitation, simulation.blob(true.model, 320))


# ---- two cohorts in one round ----


def closed_over(simulation: Simulation, log: ForgedLog, accepted: tuple[int, ...], reason: str) -> CohortClosed:
    """CohortClosed over `accepted` with everything else called at fault, as a malicious coordinator writes it."""
    ledger = Follower.start().extended(simulation.pinned, log.entries).ledger
    current = ledger.current
    assert current is not None
    pairs = [(each.message.client, each.entry) for each in current.submissions if each.index in accepted]
    excluded = [Exclusion(each.index, reason, "") for each in current.submissions if each.index not in accepted]
    judged = judging(current.index + 1, accepted, excluded, stop=ledger.size)
    trustees = tuple(ack.trustee for ack in current.acks)
    digest = cohort_digest(current.entry, pairs, trustees)
    return CohortClosed("simulated", current.number, current.entry, *judged, trustees, digest)


def copied(simulation: Simulation, name: str) -> Trustee:
    """A trustee in the state that this one is in: a corrupt trustee can be in several."""
    return simulation.trustee_on(copy_of(simulation, name), name)


def released(simulation: Simulation, trustee: Trustee, log: ForgedLog) -> bool:
    try:
        log.shown_to(trustee)
        trustee.release(1, log.cosigned_by(NAMES), simulation.blob)  # as if t had cosigned
    except Rejected:
        return False
    return True


def test_split_cohorts_cannot_both_be_released(simulation: Simulation) -> None:
    submit_all(simulation)
    simulation.acknowledge()
    simulation.checkpoint()
    base = simulation.coordinator.size
    indices = tuple(each.index for each in current_of(simulation).submissions)
    logs = [fork(simulation, base), fork(simulation, base)]
    for log, accepted in zip(logs, (indices, indices[:3]), strict=True):
        log.append(closed_over(simulation, log, accepted, "invalid-proof"))
    reached = 0
    for order in product((0, 1), repeat=len(HONEST)):
        honest = {name: copied(simulation, name) for name in HONEST}
        counts = [len(CORRUPT), len(CORRUPT)]
        for name, first in zip(HONEST, order, strict=True):
            for choice in (first, 1 - first):  # the server asks each honest trustee for both
                counts[choice] += released(simulation, honest[name], logs[choice])
        assert min(counts) < simulation.pinned.policy.threshold
        reached += max(counts) >= simulation.pinned.policy.threshold
    assert reached == 2**3  # one cohort of the two can always be opened


# ---- abort and retry ----


def test_abort_and_retry_cannot_isolate_a_victim(simulation: Simulation) -> None:
    simulation.play_round(silent=CORRUPT)
    simulation.open_round()
    for name in list(simulation.clients)[:3]:
        simulation.submit(name)
    simulation.acknowledge()
    forged = fork(simulation, simulation.coordinator.size)
    indices = tuple(each.index for each in current_of(simulation).submissions)
    forged.append(closed_over(simulation, forged, indices, ""))
    for name in HONEST:
        with refused("cohort"):
            forged.shown_to(simulation.trustees[name])
    assert simulation.close_cohort() is None
    simulation.release()
    result = simulation.finish()
    assert len(result.accepted) == 2
    check_sum(simulation, result)


def retry_with(simulation: Simulation, spoil: bool, reason: str = "invalid-proof") -> bytes:
    """Round 1 opened over all and aborted; in its retry client-03 is excluded for `reason`, rightly if `spoil`. Returns
    a note of it as t corrupt trustees would cosign it."""
    simulation.play_round(silent=CORRUPT)
    simulation.open_round()
    for name in simulation.clients:
        package = simulation.package(name)
        if name == "client-03" and spoil:
            package = with_bad_proof(simulation, package)
        simulation.store(simulation.coordinator.receive(package))
    simulation.acknowledge()
    log = fork(simulation, simulation.coordinator.size)
    indices = tuple(each.index for each in current_of(simulation).submissions)
    log.append(closed_over(simulation, log, indices[:3], reason))
    for name in HONEST:
        log.shown_to(simulation.trustees[name])
    return log.cosigned_by(NAMES)


@pytest.mark.parametrize("reason", ["invalid-proof", "malformed"])
def test_a_victim_called_an_offender_falsely_is_not_isolated(simulation: Simulation, reason: str) -> None:
    note = retry_with(simulation, spoil=False, reason=reason)
    for name in HONEST:
        with refused("differencing"):
            simulation.trustees[name].release(2, note, simulation.blob)


def test_a_victim_called_a_copyist_falsely_is_not_isolated(simulation: Simulation) -> None:
    """A replay exempts nobody, so that the rule of the cohort gives another one: nobody cosigns this."""
    with refused("cohort"):
        retry_with(simulation, spoil=False, reason="replayed")


def test_a_victim_whose_evidence_is_withheld_is_not_isolated(simulation: Simulation) -> None:
    note = retry_with(simulation, spoil=False)

    def blobs(name: bytes, limit: int) -> bytes:
        raise Rejected("blob-missing", name.hex(), "none")

    with refused("blob-missing"):
        simulation.trustees["trustee-2"].release(2, note, blobs)


def test_a_victim_is_not_isolated_by_evidence_that_is_not_its_own(simulation: Simulation) -> None:
    """A server that answers with other bytes than it was asked for."""
    note = retry_with(simulation, spoil=False)

    def blobs(name: bytes, limit: int) -> bytes:
        return bytes(limit)

    with refused("blob-hash"):
        simulation.trustees["trustee-2"].release(2, note, blobs)


def test_a_real_offender_does_not_block_the_retry(simulation: Simulation) -> None:
    note = retry_with(simulation, spoil=True)
    for name in HONEST:
        simulation.trustees[name].release(2, note, simulation.blob)


@pytest.mark.parametrize("name", list(retries.UNJUST))
def test_a_client_without_a_fault_in_the_retry_is_not_isolated(simulation: Simulation, name: str) -> None:
    """The server withholds releases and repeats the round without a client that lost its store and submitted twice,
    or that was at fault in another round: the difference of the two sums would be its update."""
    retries.UNJUST[name](simulation)
    earlier = current_of(simulation).earlier
    log = fork(simulation, simulation.coordinator.size)
    log.append(retries.cohort_of(simulation))
    for trustee in HONEST:
        with refused("cohort"):
            log.shown_to(simulation.trustees[trustee])
    assert simulation.close_cohort() is None
    simulation.release()
    accepted = simulation.finish().accepted
    assert retries.VICTIM not in accepted
    assert len((clients_of(simulation.pinned, earlier) or set()) - set(accepted)) == 2 == len(accepted)


@pytest.mark.parametrize("name", list(retries.NEW))
def test_a_client_that_was_not_in_the_opened_cohort_waits(simulation: Simulation, name: str) -> None:
    """Its update would be the difference."""
    with refused("retry-member"):
        retries.NEW[name](simulation)


@pytest.mark.parametrize("name", list(retries.JUST))
def test_a_client_at_fault_in_the_retry_does_not_block_it(simulation: Simulation, name: str) -> None:
    retries.JUST[name](simulation)
    assert simulation.close_cohort() is None
    simulation.release()
    result = simulation.finish()
    assert result.accepted == tuple(retries.others(simulation))
    check_sum(simulation, result)


def test_going_back_to_an_earlier_model_cannot_isolate_a_victim(simulation: Simulation) -> None:
    """The server closes round 1 with the model that it opened on, and opens round 2 without one client: it repeats
    nothing by what it says, and the rule looks at the model."""
    submit_all(simulation)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release()
    simulation.store(simulation.coordinator.aggregate())
    current = current_of(simulation)
    assert current.aggregate is not None
    message = RoundClosed("simulated", 1, current.aggregate, simulation.pinned.policy.initial_model, None)
    simulation.store(simulation.coordinator._log([simulation.coordinator._seal(message)]))
    simulation.checkpoint()
    simulation.open_round()
    for name in list(simulation.clients)[:3]:
        simulation.submit(name)
    simulation.acknowledge()
    log = fork(simulation, simulation.coordinator.size)
    log.append(closed_over(simulation, log, tuple(each.index for each in current_of(simulation).submissions), ""))
    with refused("cohort"):
        log.shown_to(simulation.trustees["trustee-2"])


def test_sybil_swap_between_cohorts(simulate: Callable[..., Simulation]) -> None:
    """A retry with the victim exchanged for another client: both one-sided differences are one client."""
    simulation = simulate(clients=5)
    simulation.play_round(clients=list(simulation.clients)[:4], silent=CORRUPT)
    simulation.open_round()
    log = fork(simulation, simulation.coordinator.size)
    log.entries.append(simulation.package("client-04").entry)
    with refused("retry-member"):
        log.shown_to(simulation.trustees["trustee-2"])


@pytest.mark.parametrize("first", [0, 1])
def test_two_aborts_cannot_isolate_a_victim(simulate: Callable[..., Simulation], first: int) -> None:
    """S1 of all, S2 of half of the others, S3 of the other half: S1 - S2 - S3 would be the victim's update, though any
    two of them differ by min_cohort clients or more."""
    simulation = simulate(clients=7, min_cohort=3)
    names = list(simulation.clients)
    halves = [names[:3], names[3:6]]
    assert simulation.play_round(silent=CORRUPT).aborted == "missing-releases"
    again = simulation.play_round(clients=halves[first], silent=CORRUPT)
    assert again.aborted == "missing-releases"
    simulation.open_round()
    log = fork(simulation, simulation.coordinator.size)
    package = simulation.package(halves[1 - first][0])
    log.entries.append(package.entry)
    for name in HONEST:
        with refused("retry-member") as excinfo:
            log.shown_to(simulation.trustees[name])
        assert excinfo.value.expected == "a client of round 2, the last cohort opened on this model"
    with refused("retry-member"):
        simulation.coordinator.receive(package)
    assert set(asked_clients(simulation.pinned, simulation.coordinator.ledger)) == set(halves[first])


def test_retry_until_the_aggregate_pleases(simulation: Simulation) -> None:
    """With t valid releases a round cannot be aborted for want of them, and opened rounds are few."""
    submit_all(simulation)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release()
    with pytest.raises(Misuse, match="must close"):
        simulation.coordinator.abort()
    current = current_of(simulation)
    assert current.cohort is not None
    message = RoundAborted("simulated", 1, current.entry, current.cohort.entry, "missing-releases", ())
    log = fork(simulation, simulation.coordinator.size)
    log.append(message)
    with refused("abort"):
        log.shown_to(simulation.trustees["trustee-2"])


def test_opened_rounds_are_aborted_at_most_so_often(simulate: Callable[..., Simulation]) -> None:
    """One abort more than is repeated: then nothing but the end may follow."""
    simulation = simulate(max_aborts=1)
    for _ in range(2):
        assert simulation.play_round(silent=CORRUPT).aborted == "missing-releases"
    with refused("abort-cap"):
        simulation.coordinator._log([Entry.open(simulation.trustees["trustee-0"].round_key(3))])
    with refused("abort-cap"):
        simulation.coordinator.open_round([simulation.trustees[name].round_key(3) for name in NAMES])
    assert simulation.coordinator.endings() == ("aborts-spent",)
