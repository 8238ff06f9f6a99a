"""By whose keys clients are drawn, over rounds in which trustees rotate them, lose them, or are robbed (spec 8.15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from auditor import audit
from proofs.errors import Rejected
from protocols import vrf
from protocols.envelopes import Entry, expected_message, seal
from protocols.messages import RoundKey, RoundOpen
from protocols.participation import draw_input, draw_proof
from protocols.reasons import CONTINUED
from protocols.rounds.ledger import asked_clients
from protocols.rounds.trustee import Trustee
from tests.independent.audit import audit as second_audit
from tests.seeded import seeded
from tests.simulator import Simulation, identity_of

Simulate = Callable[..., Simulation]
NAMES = ("trustee-0", "trustee-1", "trustee-2")


@pytest.fixture
def drawing(simulate: Simulate) -> Simulation:
    return simulate(clients=5, per_round=3, min_cohort=2, dimension=8, trustees=3, threshold=3, corrupt=1)


def values_of(simulation: Simulation) -> dict[str, bytes | None]:
    """`draw` of the round keys of the last round, by trustee."""
    current = simulation.coordinator.ledger.current
    assert current is not None
    return {key.trustee: logged(simulation, RoundKey, key.index).draw for key in current.keys}


def logged(simulation: Simulation, kind: type[Any], index: int) -> Any:
    return expected_message(kind, Entry.open(simulation.coordinator.entries(index, index + 1)[0]))


def rotate(simulation: Simulation, *names: str) -> None:
    for name in names:
        simulation.change(simulation.rotation(name))
    simulation.settle()


def destroy_old(simulation: Simulation, *names: str) -> None:
    """As the documentation asks, once a round was opened behind the rotation."""
    for name in names:
        rand = seeded(f"{name} behind {simulation.coordinator.size}")
        party = simulation.pinned, simulation.key_of(name), name, simulation.stores[name]
        simulation.trustees[name] = Trustee(*party, simulation.engine, rand, simulation.waits)


def give_up(simulation: Simulation) -> None:
    """The open round is aborted for want of submissions."""
    simulation.store(simulation.coordinator.abort())
    simulation.checkpoint()


def sum_up(simulation: Simulation) -> None:
    """The open round is played to its end."""
    for name in asked_clients(simulation.pinned, simulation.coordinator.ledger):
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().aborted is None


def by(simulation: Simulation, number: int, keys: dict[str, int]) -> dict[str, bytes | None]:
    """What trustees give to a round by their first key, the one that they rotated to first, and so on."""
    pinned = simulation.pinned
    own = {name: [identity_of(name), *simulation.successors.get(name, ())][at] for name, at in keys.items()}
    return {name: draw_proof(pinned, number, key.public_key, [key]) for name, key in own.items()}


def test_a_key_follows_its_rotation_one_closed_round_late(drawing: Simulation) -> None:
    rotate(drawing, "trustee-0", "trustee-1")
    drawing.open_round()
    assert values_of(drawing) == by(drawing, 1, dict.fromkeys(NAMES, 0))
    destroy_old(drawing, "trustee-0", "trustee-1")
    sum_up(drawing)
    rotate(drawing, "trustee-1", "trustee-2")
    drawing.open_round()
    assert values_of(drawing) == by(drawing, 2, {"trustee-0": 1, "trustee-1": 1, "trustee-2": 0})
    destroy_old(drawing, *NAMES)
    sum_up(drawing)
    drawing.open_round()
    assert values_of(drawing) == by(drawing, 3, {"trustee-0": 1, "trustee-1": 2, "trustee-2": 1})


def test_whoever_rotates_as_the_documentation_says_can_go_on(drawing: Simulation) -> None:
    """All of them, again and again, and no old key is left."""
    for _ in range(3):
        rotate(drawing, *NAMES)
        drawing.open_round()
        destroy_old(drawing, *NAMES)
        sum_up(drawing)


def test_in_repetitions_no_value_is_given_or_taken(drawing: Simulation) -> None:
    """So a key that goes out of force between repetitions is not needed again; the draw stays."""
    drawing.open_round()
    first = drawing.coordinator.ledger.draw
    give_up(drawing)
    for _ in range(3):
        rotate(drawing, *NAMES)
        destroy_old(drawing, *NAMES)
        drawing.open_round()
        assert values_of(drawing) == dict.fromkeys(NAMES)
        assert drawing.coordinator.ledger.draw == first
        give_up(drawing)
    key = expected_message(RoundKey, Entry.open(drawing.trustees["trustee-0"].round_key(5)))
    value = vrf.prove(drawing.key_of("trustee-0"), draw_input(drawing.pinned.hash, 5))
    lie = seal(replace(key, draw=value), "trustee-0", drawing.key_of("trustee-0"))
    drawing.conductor.open_round()
    with pytest.raises(Rejected) as excinfo:
        drawing.coordinator.admitted_key([], Entry.open(lie))
    assert excinfo.value.check == "draw"
    drawing.ask()
    drawing.proceed()
    drawing.settle()
    drawing.updates[5] = {}
    sum_up(drawing)
    drawing.open_round()
    assert values_of(drawing) == by(drawing, 6, dict.fromkeys(NAMES, 3))


def test_a_value_that_was_given_stays_after_a_rotation(drawing: Simulation) -> None:
    """Of a server that asks, looks at the draw, and has it done again: the round key is another, the value the same."""
    before = {name: expected_message(RoundKey, Entry.open(drawing.trustees[name].round_key(1))) for name in NAMES}
    rotate(drawing, *NAMES)
    after = {name: expected_message(RoundKey, Entry.open(drawing.trustees[name].round_key(1))) for name in NAMES}
    for name in NAMES:
        assert before[name].public_key != after[name].public_key
        assert before[name].draw == after[name].draw is not None


def test_nobody_chooses_a_key_by_its_draw(drawing: Simulation) -> None:
    """A corrupt trustee that has seen the others' values rotates to a key that would give it a draw it likes."""
    drawing.play_round()
    values = {name: drawing.trustees[name].round_key(2) for name in NAMES}
    rotate(drawing, "trustee-2")
    key = expected_message(RoundKey, Entry.open(drawing.trustees["trustee-2"].round_key(2)))
    chosen = vrf.prove(drawing.key_of("trustee-2"), draw_input(drawing.pinned.hash, 2))
    lie = seal(replace(key, draw=chosen), "trustee-2", drawing.key_of("trustee-2"))
    for data, check in ((lie, "draw"), (values["trustee-2"], "signature")):
        with pytest.raises(Rejected) as excinfo:
            drawing.coordinator.admitted_key([], Entry.open(data))
        assert excinfo.value.check == check


def test_a_stolen_key_is_of_no_use_behind_the_next_round(drawing: Simulation) -> None:
    """Whoever has the first key of all trustees knows the draw of the round after their rotation, and no later one."""
    rotate(drawing, *NAMES)
    drawing.open_round()
    sum_up(drawing)
    drawing.open_round()
    stolen = by(drawing, 2, dict.fromkeys(NAMES, 0))
    assert all(value is not None and value != stolen[name] for name, value in values_of(drawing).items())


def test_clients_believe_values_by_either_of_the_last_two_keys(drawing: Simulation) -> None:
    """They are not shown where in the log a rotation stands; trustees, who are, admit one of them."""
    drawing.open_round()
    sum_up(drawing)
    rotate(drawing, *NAMES)
    number = drawing.open_round()
    who = asked_clients(drawing.pinned, drawing.coordinator.ledger)
    drawing.restart_client(who[0])
    del drawing.stores[who[1]]  # one that has to be shown all changes
    drawing.restart_client(who[1], told=False)
    for name in who:
        assert drawing.accept(name).number == number
    sum_up(drawing)
    drawing.open_round()
    current = drawing.coordinator.ledger.current
    assert current is not None
    assert logged(drawing, RoundOpen, current.index).draw is not None
    sum_up(drawing)


def test_where_nobody_can_be_drawn_any_more_the_federation_can_be_closed(drawing: Simulation) -> None:
    """m = 3, f = 1: one honest trustee that destroyed its old key a round early is enough, if the corrupt one gives no
    value, as it may. Both auditors accept the end, behind which another federation may go on."""
    drawing.play_round()
    rotate(drawing, "trustee-0")
    destroy_old(drawing, "trustee-0")
    keys = [drawing.trustees[name].round_key(2) for name in NAMES]
    corrupt = replace(expected_message(RoundKey, Entry.open(keys[1])), draw=None)
    keys[1] = seal(corrupt, "trustee-1", drawing.key_of("trustee-1"))
    with pytest.raises(Rejected) as refused:
        drawing.coordinator.open_round(keys)
    assert refused.value.check == "draw"
    assert drawing.coordinator.endings() == (CONTINUED,)
    drawing.store(drawing.conductor.end(CONTINUED))
    drawing.settle()
    drawing.writer.close()
    pinned = drawing.path.with_name("pinned.cbor")
    pinned.write_bytes(drawing.policy_data)
    assert audit(drawing.path, pinned).accepted
    assert not any(second_audit(drawing.path, pinned).findings.values())


def test_too_few_values_are_not_enough(simulate: Simulate) -> None:
    """m = 5, t = 4, f = 2, and two have lost their former keys: four keys do not open a round, the fifth is waited for.
    One that finds its key again takes its offer back."""
    simulation = simulate(clients=6, per_round=3, dimension=8)
    rotate(simulation, "trustee-0", "trustee-1")
    destroy_old(simulation, "trustee-0", "trustee-1")
    assert simulation.trustees["trustee-0"].lacks == identity_of("trustee-0").public_key
    assert simulation.trustees["trustee-2"].lacks is None
    simulation.conductor.open_round()
    simulation.ask([f"trustee-{n}" for n in range(4)])
    assert not simulation.conductor.enough
    with pytest.raises(Rejected) as excinfo:
        simulation.proceed()
    assert excinfo.value.check == "draw"
    assert simulation.conductor.due.parties == ("trustee-0", "trustee-1", "trustee-4")
    simulation.restart_trustee("trustee-0")
    simulation.ask(["trustee-0"])
    assert simulation.conductor.enough
    assert simulation.conductor.due.parties == ("trustee-4",)
    simulation.proceed()
    simulation.settle()
    values = values_of(simulation)
    assert [name for name, value in values.items() if value is None] == ["trustee-1"]
    assert simulation.trustees["trustee-1"].lacks is None  # of the next round it will have its own
