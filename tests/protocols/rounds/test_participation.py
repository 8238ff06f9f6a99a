"""Which clients a round is open to, where a policy says how many take part (spec 8.15)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from proofs.errors import Rejected
from protocols import vrf
from protocols.contexts import round_seed
from protocols.continuation import end_of, link_to
from protocols.envelopes import Entry, expected_message, seal
from protocols.invitation import _check_draw, verify_invitation
from protocols.membership import ENROLLED
from protocols.messages import RoundKey, RoundOpen
from protocols.participation import Ranked, draw_input, draw_proof, draw_seed, draw_value, drawn
from protocols.participation import asked as chosen
from protocols.reasons import NO_COHORT
from protocols.rounds.drafts import draft_open
from protocols.rounds.ledger import asked_clients, draw_key
from tests.simulator import Simulation, identity_of

Simulate = Callable[..., Simulation]


def opened(kind: type[Any], data: bytes) -> Any:
    return expected_message(kind, Entry.open(data))


def asked(simulation: Simulation) -> tuple[str, ...]:
    return asked_clients(simulation.pinned, simulation.coordinator.ledger)


def draw_of(simulation: Simulation) -> bytes | None:
    current = simulation.coordinator.ledger.current
    assert current is not None
    return current.message.draw


@pytest.fixture
def drawing(simulate: Simulate) -> Simulation:
    return simulate(clients=7, per_round=3, min_cohort=2)


def test_as_many_as_the_policy_says_are_asked_and_summed(drawing: Simulation) -> None:
    seen = set()
    for _ in range(3):
        result = drawing.play_round()
        assert len(result.accepted) == 3
        seen |= set(result.accepted)
    assert len(seen) > 3


def test_who_is_not_drawn_is_refused(drawing: Simulation) -> None:
    drawing.open_round()
    outside = sorted(set(drawing.clients) - set(asked(drawing)))
    assert len(outside) == 4
    with pytest.raises(Rejected) as excinfo:
        drawing.submit(outside[0])
    assert excinfo.value.check == "undrawn"
    assert excinfo.value.found == outside[0]


def test_everybody_can_compute_the_draw(drawing: Simulation) -> None:
    """From the policy, the round's number and the round keys alone; by the text of the specification."""
    drawing.open_round()
    pinned, current = drawing.pinned, drawing.coordinator.ledger.current
    assert current is not None
    values = {}
    for index in current.message.round_keys:
        key = opened(RoundKey, drawing.coordinator.entries(index, index + 1)[0])
        assert key.draw is not None
        enrolled = pinned.trustee_key(key.trustee)
        values[key.trustee] = vrf.verify(enrolled, draw_input(pinned.hash, 1), key.draw)
    seed = draw_seed(pinned, 1, values)
    assert seed == current.message.draw
    assert asked(drawing) == tuple(sorted(drawn(seed, 3, drawing.clients)))


def test_a_repetition_keeps_its_draw(drawing: Simulation) -> None:
    """However often; the next model has another."""
    drawing.open_round()
    first, who = draw_of(drawing), asked(drawing)
    drawing.store(drawing.coordinator.abort())
    drawing.checkpoint()
    for trustees in (None, list(drawing.trustees)[1:]):  # other round keys, too
        drawing.open_round(trustees)
        assert (draw_of(drawing), asked(drawing)) == (first, who)
        drawing.store(drawing.coordinator.abort())
        drawing.checkpoint()
    drawing.play_round()
    drawing.open_round()
    assert draw_of(drawing) != first


def test_a_repetition_of_an_opened_round_is_open_to_its_cohort_alone(drawing: Simulation) -> None:
    drawing.open_round()
    who = asked(drawing)
    for name in who[:2]:
        drawing.submit(name)
    drawing.acknowledge()
    assert drawing.close_cohort() is None
    drawing.release(())
    assert drawing.finish().aborted == "missing-releases"
    drawing.open_round()
    assert asked(drawing) == who[:2]
    with pytest.raises(Rejected) as excinfo:
        drawing.submit(who[2])
    assert excinfo.value.check == "retry-member"


def test_nobody_takes_the_place_of_a_drawn_client_that_is_revoked(drawing: Simulation) -> None:
    drawing.open_round()
    who = asked(drawing)
    for _ in range(2):  # in the next repetition no more than in the first
        drawing.store(drawing.coordinator.abort())
        drawing.checkpoint()
        if drawing.in_force(who[0]):
            drawing.change(drawing.revocation(who[0]))
        drawing.open_round()
        assert asked(drawing) == who[1:]


def test_where_too_few_of_the_drawn_are_left_the_next_in_order_are_asked(drawing: Simulation) -> None:
    """As many as a cohort needs, and no more: or no round could close on this model."""
    drawing.open_round()
    seed, who = draw_of(drawing), asked(drawing)
    assert seed is not None
    drawing.store(drawing.coordinator.abort())
    drawing.checkpoint()
    for name in who[:2]:
        drawing.change(drawing.revocation(name))
    drawing.open_round()
    left = set(drawing.clients) - set(who[:2])
    assert set(asked(drawing)) == drawn(seed, 2, left)
    assert who[2] in asked(drawing)


def test_a_server_cannot_choose_by_what_it_revokes(simulate: Simulate) -> None:
    """It has the values, logs nothing, computes the draw, and then decides which of the revocations at hand it logs
    before them. One trustee set, so one draw: whatever it logs, nobody who was not drawn comes in."""
    simulation = simulate(clients=12, per_round=6, min_cohort=2, trustees=3, threshold=3, corrupt=0)
    offers = {name: trustee.round_key(1) for name, trustee in simulation.trustees.items()}
    keys = [opened(RoundKey, each) for each in offers.values()]
    by_name = {key.trustee: draw_value(simulation.pinned, key, [identity_of(key.trustee).public_key]) for key in keys}
    values = {name: value for name, value in by_name.items() if value is not None}
    seed = draw_seed(simulation.pinned, 1, values)
    assert seed is not None
    first, leaving = drawn(seed, 6, simulation.clients), [f"client-{n:02}" for n in range(6)]
    everybody = frozenset(simulation.clients)
    for count in range(len(leaving) + 1):
        for gone in combinations(leaving, count):
            left = everybody.difference(gone)
            found = chosen(simulation.pinned.policy, seed, Ranked(everybody, left))
            assert found == first - set(gone) or len(first - set(gone)) < 2
    for name in leaving[:3]:
        simulation.change(simulation.revocation(name, "left"))
    assert {name: trustee.round_key(1) for name, trustee in simulation.trustees.items()} == offers
    simulation.open_round()
    assert draw_of(simulation) == seed
    assert set(asked(simulation)) == first - set(leaving[:3])


def test_absent_drawn_clients_leave_a_smaller_cohort_or_none(drawing: Simulation) -> None:
    drawing.open_round()
    for name in asked(drawing)[:2]:
        drawing.submit(name)
    drawing.acknowledge()
    assert drawing.close_cohort() is None
    drawing.release()
    assert len(drawing.finish().accepted) == 2
    drawing.open_round()
    drawing.submit(asked(drawing)[0])
    drawing.acknowledge()
    assert drawing.close_cohort() == "too-few-submissions"


@pytest.mark.parametrize(("drawn_clients", "aborted"), [(5, "differencing"), (6, None)])
def test_one_lost_client_of_many(simulate: Simulate, drawn_clients: int, aborted: str | None) -> None:
    """Where a cohort was opened and lost, its repetition can spare one of it only with twice `min_cohort` drawn: with
    fewer, no round closes any more, however many other clients there are."""
    simulation = simulate(clients=9, per_round=drawn_clients, min_cohort=3, trustees=3, threshold=2, corrupt=0)
    assert simulation.play_round(silent=["trustee-1", "trustee-2"]).aborted == "missing-releases"
    simulation.open_round()
    for name in asked(simulation)[1:]:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() == aborted
    if aborted is None:
        simulation.release()
        assert len(simulation.finish().accepted) == 3
    else:
        assert "too-few-clients" not in simulation.coordinator.endings()
        assert "no-cohort" in simulation.coordinator.endings()


# ---- what is left to grind ----


def opens_with(simulation: Simulation, draw: bytes | None) -> None:
    """The coordinator opens a round with a draw of its own."""
    coordinator = simulation.coordinator
    number, head = coordinator.ledger.next_round, coordinator._record.published_head()
    keys = [Entry.open(each.round_key(number)) for each in simulation.trustees.values()]
    message = draft_open(simulation.pinned, coordinator.ledger, head, [key.hash for key in keys], draw)
    coordinator._log([*keys, coordinator._seal(message)])


@pytest.mark.parametrize("lie", [None, bytes(32)])
def test_trustees_cosign_no_other_draw(drawing: Simulation, lie: bytes | None) -> None:
    """Ground until it pleases, or none at all."""
    with pytest.raises(Rejected) as excinfo:
        opens_with(drawing, lie)
    assert excinfo.value.check == "draw"


def test_the_draw_does_not_depend_on_the_root(simulate: Simulate) -> None:
    """A server that chooses what it logs before RoundOpen chooses the seed of the ciphertexts, not the draw."""
    draws, roots = set(), set()
    for absent in ((), ("client-00",), ("client-01",)):
        simulation = simulate(clients=4, per_round=3)
        simulation.open_round()
        first = [name for name in asked(simulation) if name not in absent]
        for name in first:
            simulation.submit(name)
        simulation.acknowledge()
        simulation.close_cohort()
        simulation.release()
        simulation.finish()
        simulation.open_round()
        current = simulation.coordinator.ledger.current
        assert current is not None
        draws.add(current.message.draw)
        roots.add(current.message.checkpoint_root)
        hashes = current.message.round_key_hashes
        assert current.message.seed == round_seed(current.message.checkpoint_root, 2, hashes)
    assert len(roots) > 1
    assert len(draws) == 1


def test_another_policy_has_another_draw_on_the_same_model(simulate: Simulate, tmp_path: Path) -> None:
    """What the issuer can do with the server: end a federation whose draw does not please, as no cohort was closed."""
    first = simulate(clients=6, per_round=3)
    first.open_round()
    first.store(first.coordinator.abort())
    first.checkpoint()
    first.store(first.coordinator.close_federation(NO_COHORT))
    first.checkpoint()
    end = end_of(first.coordinator.entries(0, first.coordinator.size), first.coordinator.size)
    link = link_to(first.pinned.policy, first.pinned.hash, end)
    following = Simulation(tmp_path / "next", replace(first.setting, federation="next", previous=link))
    following.start()
    following.open_round()
    assert following.coordinator.ledger.model == end.model
    assert draw_of(following) != first.coordinator.ledger.draw


def test_what_is_left_is_the_choice_of_trustees(drawing: Simulation) -> None:
    """m = 5, t = 4, f = 2: of three honest trustees at most one is left out, the corrupt ones may each say nothing. At
    most (1 + 3) 2^2 = 16 draws, and of these only those with values of more than f trustees."""
    pinned, names = drawing.pinned, [member.id for member in drawing.pinned.policy.trustees]
    honest, corrupt = names[:3], names[3:]
    values = {name: bytes([at]) * 64 for at, name in enumerate(names)}
    seeds = set()
    for left_out in (set(), *({each} for each in honest)):
        for count in range(len(corrupt) + 1):
            for saying in combinations(corrupt, count):
                chosen = {*honest, *saying} - left_out
                if len(chosen) > 2:
                    seeds.add(draw_seed(pinned, 1, {name: values[name] for name in chosen}))
    assert len(seeds) == 16 - 3


def test_too_few_values_open_no_round(drawing: Simulation) -> None:
    """Trustees who lost the key that the policy enrols give none; an honest one has to be among those who do."""
    offers = []
    for at, (name, trustee) in enumerate(drawing.trustees.items()):
        key = opened(RoundKey, trustee.round_key(1))
        offers.append(seal(replace(key, draw=key.draw if at < 2 else None), name, identity_of(name)))
    with pytest.raises(Rejected) as excinfo:
        drawing.coordinator.open_round(offers)
    assert (excinfo.value.check, excinfo.value.found) == ("draw", "2")


def test_a_value_is_by_the_key_before_the_rotation(drawing: Simulation) -> None:
    """So that nobody draws again by rotating its key; another's, or that of another round, is refused."""
    drawing.change(drawing.rotation("trustee-1"))
    drawing.settle()
    key = opened(RoundKey, drawing.trustees["trustee-1"].round_key(1))
    pinned, old, new = drawing.pinned, identity_of("trustee-1"), drawing.key_of("trustee-1")
    assert draw_key(pinned, drawing.trustees["trustee-1"].ledger, "trustee-1") == old.public_key
    assert key.draw == draw_proof(pinned, 1, old.public_key, [old, new])
    assert draw_proof(pinned, 1, old.public_key, [new]) is None
    others = [vrf.prove(new, draw_input(pinned.hash, 1)), vrf.prove(old, draw_input(pinned.hash, 2))]
    for other in others:
        with pytest.raises(Rejected) as excinfo:
            draw_value(pinned, replace(key, draw=other), [old.public_key])
        assert excinfo.value.check == "draw"


def test_without_a_draw_there_are_no_values(simulate: Simulate) -> None:
    simulation = simulate()
    key = opened(RoundKey, simulation.trustees["trustee-1"].round_key(1))
    assert key.draw is None
    with pytest.raises(Rejected, match="no value, as nobody is drawn"):
        draw_value(simulation.pinned, replace(key, draw=bytes(80)), [identity_of("trustee-1").public_key])
    simulation.open_round()
    assert draw_of(simulation) is None
    assert asked(simulation) == tuple(simulation.clients)


def test_a_client_believes_no_draw_but_that_of_the_round_keys(drawing: Simulation) -> None:
    drawing.open_round()
    invitation = drawing.coordinator.invitation()
    assert verify_invitation(drawing.pinned, invitation, None).message.draw == draw_of(drawing)
    message = opened(RoundOpen, invitation.round_open.entry)
    keys = tuple(opened(RoundKey, each.entry) for each in invitation.round_keys)
    for lie in (None, bytes(32)):
        with pytest.raises(Rejected) as excinfo:
            _check_draw(drawing.pinned, ENROLLED, replace(message, draw=lie), keys)
        assert excinfo.value.check == "draw"


def test_everybody_is_drawn_equally_often() -> None:
    """3 of 7 in 2000 draws: 857 each but for chance, whose deviation is 22."""
    names = [f"client-{each}" for each in range(7)]
    counts = Counter(name for each in range(2000) for name in drawn(each.to_bytes(32, "big"), 3, names))
    assert sum(counts.values()) == 6000
    assert all(abs(counts[name] - 6000 / 7) < 6 * 22 for name in names)
