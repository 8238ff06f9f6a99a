"""What a trustee keeps and for how long: keys of the next round, secrets until a deadline, nothing of the past; and how
a party that was set back to an old copy of its state notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proofs.errors import Rejected
from protocols.envelopes import open_envelope
from protocols.messages import RoundKey
from protocols.rounds.evidence import Evidence
from protocols.rounds.trustee import Trustee
from protocols.rounds.waits import DAY, Waits
from protocols.stores import MemoryStore
from tests.adversaries import fork
from tests.seeded import seeded
from tests.simulator import Simulation, identity_of

NAME = "trustee-0"
KEPT = Waits(lambda: 0).secrets


def rejected(step: Callable[[], object]) -> str:
    with pytest.raises(Rejected) as excinfo:
        step()
    return excinfo.value.check


def copy_of(simulation: Simulation, name: str) -> MemoryStore:
    """What is in a party's store now."""
    store = MemoryStore()
    store._values = dict(simulation.stores[name]._values)
    return store


def secrets_of(simulation: Simulation, name: str = NAME) -> list[str]:
    return [key for key in simulation.stores[name].keys() if key.startswith(("round-key/", "share/"))]  # noqa: SIM118


def public_key(entry: bytes) -> bytes:
    message = open_envelope(entry).message
    assert isinstance(message, RoundKey)
    return message.public_key


def submitted(simulation: Simulation) -> int:
    number = simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.checkpoint()
    return number


# ---- keys of the next round only ----


def test_whoever_asks_for_keys_of_far_away_rounds_fills_no_disk(simulation: Simulation) -> None:
    trustee = simulation.trustees[NAME]
    for number in (*range(2, 60), 1 << 62):
        assert rejected(lambda number=number: trustee.round_key(number)) == "round"
    for _ in range(3):
        trustee.round_key(1)
    assert secrets_of(simulation) == ["round-key/1"]


def test_a_rotation_heals_a_stolen_state(simulation: Simulation) -> None:
    """A thief copies everything; the trustee rotates its identity key: the next round's key is not the stolen one."""
    stolen = public_key(simulation.trustees[NAME].round_key(1))
    store, identity = copy_of(simulation, NAME), simulation.key_of(NAME)
    entry = simulation.rotation(NAME)
    assert public_key(simulation.trustees[NAME].round_key(1)) == stolen  # the old identity key is in force still
    simulation.change(entry)
    assert secrets_of(simulation) == []
    fresh = public_key(simulation.trustees[NAME].round_key(1))
    assert fresh != stolen
    thief = Trustee(
        simulation.pinned, identity, NAME, store, simulation.engine, seeded("thief"), waits=simulation.waits
    )
    assert public_key(thief.round_key(1)) == stolen
    opened = simulation.store(
        simulation.coordinator.open_round(
            [thief.round_key(1), *(trustee.round_key(1) for trustee in simulation.trustees.values())]
        )
    )
    assert [getattr(refusal.error, "check", "") for refusal in opened.refused] == ["signature"]
    current = simulation.coordinator.ledger.current
    assert current is not None
    assert [key.public_key for key in current.keys if key.trustee == NAME] == [fresh]


def test_a_rotation_heals_also_where_a_crash_comes_before_the_erasure(simulation: Simulation) -> None:
    stolen = public_key(simulation.trustees[NAME].round_key(1))
    pending = simulation.stores[NAME].get("round-key/1")
    simulation.change(simulation.rotation(NAME))
    assert pending is not None
    simulation.stores[NAME].put("round-key/1", pending)  # as if it had died between the log and the erasure
    assert public_key(simulation.trustees[NAME].round_key(1)) != stolen
    simulation.stores[NAME].put("round-key/1", pending)
    simulation.restart_trustee(NAME)
    assert secrets_of(simulation) == []


# ---- a deadline ----


def test_secrets_are_kept_until_a_deadline_of_the_trustees_own(simulation: Simulation) -> None:
    number = submitted(simulation)
    simulation.acknowledge([NAME])
    assert secrets_of(simulation) == ["round-key/1", "share/1"]
    simulation.clock += KEPT - 100
    simulation.trustees[NAME].expire()
    assert secrets_of(simulation) == ["round-key/1", "share/1"]
    simulation.clock += 200
    simulation.trustees[NAME].expire()
    assert secrets_of(simulation) == []
    assert simulation.acknowledgement(NAME, number)  # what it said it may say again
    assert rejected(lambda: simulation.acknowledgement("trustee-1")) == "erased"
    assert rejected(lambda: simulation.trustees[NAME].round_key(number)) == "erased"
    simulation.restart_trustee(NAME)
    assert rejected(lambda: simulation.trustees[NAME].round_key(number)) == "erased"


def test_after_the_deadline_nothing_is_released(simulation: Simulation) -> None:
    submitted(simulation)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release(["trustee-1"])
    simulation.clock += KEPT
    for name in simulation.asked():
        if name == "trustee-1":
            assert simulation.release_of(name)
            continue
        assert rejected(lambda name=name: simulation.release_of(name)) == "erased"
        assert secrets_of(simulation, name) == []
    assert simulation.finish().aborted == "missing-releases"
    assert simulation.play_round().aborted is None  # under fresh keys


def test_the_deadline_holds_at_the_next_start_too(simulation: Simulation) -> None:
    submitted(simulation)
    simulation.acknowledge()
    simulation.clock += KEPT
    simulation.restart_trustee(NAME)
    assert secrets_of(simulation) == []


def test_a_key_that_a_clock_far_ahead_made_is_erased_when_it_is_set_right(simulation: Simulation) -> None:
    """Not kept until the time it was made at has come, and another deadline; a small correction costs nothing."""
    submitted(simulation)
    simulation.acknowledge([NAME])
    simulation.clock -= 60
    simulation.trustees[NAME].expire()
    assert secrets_of(simulation) == ["round-key/1", "share/1"]
    simulation.clock -= 365 * DAY
    simulation.restart_trustee(NAME)
    assert secrets_of(simulation) == []


def test_a_pending_key_that_is_too_old_is_made_anew(simulation: Simulation) -> None:
    first = public_key(simulation.trustees[NAME].round_key(1))
    simulation.clock += KEPT
    assert public_key(simulation.trustees[NAME].round_key(1)) != first
    assert simulation.play_round().aborted is None


def test_a_trustee_may_choose_its_deadline(simulation: Simulation) -> None:
    waits = Waits(lambda: simulation.clock, secrets=60)
    trustee = Trustee(*simulation._party(NAME), NAME, MemoryStore(), simulation.engine, seeded(1), waits=waits)
    fork(simulation, 1).shown_to(trustee)
    first = trustee.round_key(1)
    simulation.clock += 59
    assert trustee.round_key(1) == first
    simulation.clock += 1
    assert trustee.round_key(1) != first


def test_nothing_of_an_ended_round_survives_a_restart(simulation: Simulation) -> None:
    """It died when the log was durable and nothing was erased."""
    submitted(simulation)
    simulation.acknowledge()
    before = copy_of(simulation, NAME)
    simulation.close_cohort()
    simulation.release()
    simulation.finish()
    log, store = simulation.stores[NAME].get("log"), simulation.stores[NAME]
    store._values = before._values | {"log": log or b""}
    assert secrets_of(simulation) == ["round-key/1", "share/1"]
    simulation.restart_trustee(NAME)
    assert set(store.keys()) == {"log", "erased", "policy"}
    assert store.get("erased") == b"1"


# ---- old copies ----


def set_back(simulation: Simulation, name: str, store: MemoryStore, evidence: Evidence) -> str:
    """The check with which the party refuses to start from an old copy."""
    simulation.stores[name]._values = dict(store._values)
    simulation.evidence = lambda told=True: evidence
    restart = simulation.restart_client if name in simulation.clients else simulation.restart_trustee
    return rejected(lambda: restart(name))


def test_a_trustee_set_back_notices_by_a_checkpoint_that_it_cosigned(simulation: Simulation) -> None:
    old = copy_of(simulation, NAME)
    simulation.play_round()
    assert set_back(simulation, NAME, old, Evidence(simulation.coordinator.note)) == "outdated-state"
    assert set_back(simulation, NAME, MemoryStore(), Evidence(simulation.coordinator.note)) == "outdated-state"


@pytest.mark.parametrize("kind", ["acknowledgement", "release"])
def test_a_trustee_set_back_notices_by_what_it_said_under_the_same_checkpoint(
    simulation: Simulation, kind: str
) -> None:
    submitted(simulation)
    if kind == "release":
        simulation.acknowledge()
        simulation.close_cohort()
    old = copy_of(simulation, NAME)
    entry = simulation.acknowledgement(NAME) if kind == "acknowledgement" else simulation.release_of(NAME).entry
    evidence = Evidence(simulation.coordinator.note, (entry,))
    simulation.trustee_on(copy_of(simulation, NAME), NAME)
    assert set_back(simulation, NAME, old, evidence) == "outdated-state"


def test_a_client_set_back_notices_by_its_submission(simulation: Simulation) -> None:
    never, name = copy_of(simulation, "client-00"), "client-00"
    simulation.play_round()
    old = copy_of(simulation, name)
    simulation.open_round()
    entry = simulation.package(name).entry
    for store in (never, old):
        assert set_back(simulation, name, store, Evidence(entries=(entry,))) == "outdated-state"


def test_what_a_party_has_not_said_is_no_evidence_against_it(simulation: Simulation) -> None:
    """Others' signatures, a forged line in its name, an older checkpoint: it starts."""
    old = fork(simulation, 1)
    simulation.play_round()
    log = fork(simulation, simulation.coordinator.size)
    others = log.cosigned_by(["trustee-1", "trustee-2"])
    entries = tuple(
        entry
        for entry in simulation.coordinator.entries(0, simulation.coordinator.size)
        if open_envelope(entry).signer != NAME
    )
    state = fork(simulation, 1)
    fresh = MemoryStore()
    trustee = simulation.trustee_on(fresh, NAME)
    state.shown_to(trustee)
    for evidence in (
        Evidence(others, entries),
        Evidence(old.cosigned_by([NAME])),
        Evidence(simulation.coordinator.checkpoint()),
    ):
        Trustee(
            *simulation._party(NAME),
            NAME,
            fresh,
            simulation.engine,
            seeded(1),
            evidence=evidence,
            waits=simulation.waits,
        )


def test_a_checkpoint_of_another_log_is_no_state_to_go_on_from(simulation: Simulation) -> None:
    simulation.open_round()
    log = fork(simulation, simulation.coordinator.size)
    log.entries[1] = log.entries[2]
    arguments = (*simulation._party(NAME), NAME, simulation.stores[NAME], simulation.engine, seeded(1))
    for note, check in ((log.cosigned_by([NAME]), "fork"), (b"", None)):
        start = lambda note=note: Trustee(*arguments, evidence=Evidence(note), waits=simulation.waits)  # noqa: E731
        if check is None:
            start()
        else:
            assert rejected(start) == check


def test_both_keys_of_a_trustee_that_rotated_are_evidence(simulation: Simulation) -> None:
    old = copy_of(simulation, NAME)
    simulation.change(simulation.rotation(NAME))
    assert simulation.key_of(NAME) != identity_of(NAME)
    assert set_back(simulation, NAME, old, Evidence(simulation.coordinator.note)) == "outdated-state"
