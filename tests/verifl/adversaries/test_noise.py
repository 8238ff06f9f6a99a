"""Clients that cheat over their noise: that one thing alone is wrong with it, and what the largest of it can move."""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt

import numpy as np
import pytest

from proofs.relations.privacy_noise import PrivacyNoise
from protocols.policy import PrivacyBudget
from protocols.rounds.submitting import ClientRound
from tests.seeded import seeded
from tests.simulator import Setting, Simulation
from tests.verifl.adversaries.conftest import ABOUT_NOISE
from verifl.adversaries import noise

NAME, DIMENSION, CELLS = "client-00", 40, 48
SETTING = Setting(clients=3, budget=PrivacyBudget(8_000_000, 10_000_000), encryption_proof=True, dimension=DIMENSION)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    found = Simulation(tmp_path_factory.mktemp("noise"), SETTING)
    found.start()
    found.open_round()
    return found


@pytest.fixture(scope="module")
def at(simulation: Simulation) -> ClientRound:
    return ClientRound.of(simulation.pinned, simulation.accept(NAME).verified, NAME)


def broken(at: ClientRound, cells: np.ndarray) -> set[str]:
    """Which bounds do not hold."""
    bounds = noise.bounds_of(at)
    groups, energy = PrivacyNoise(at.argument.shape, bounds).groups, int((cells**2).sum())
    sums = groups.square_sums(cells.reshape(groups.rows, groups.columns))
    found = {"group": int(sums.max()) > bounds.group**2, "floor": energy < bounds.floor}
    return {name for name, is_broken in (found | {"ceiling": energy > bounds.ceiling}).items() if is_broken}


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        ("none", {"floor"}),
        ("weak", {"floor"}),
        ("constant", set()),
        ("not_on_padding", set()),
        ("beyond_a_group", {"group"}),
        ("above_ceiling", {"ceiling"}),
    ],
)
def test_one_thing_alone_is_wrong(at: ClientRound, lie: str, expected: set[str]) -> None:
    choose: Callable[..., np.ndarray] = getattr(noise, lie)
    cells = choose(at, seeded(lie))
    assert cells.shape == (CELLS,)
    assert broken(at, cells) == expected


def test_how_little_is_wrong(at: ClientRound) -> None:
    bounds = noise.bounds_of(at)
    beyond, above = noise.beyond_a_group(at, seeded(1)), noise.above_ceiling(at, seeded(1))
    assert int(beyond[0]) == bounds.group + 1
    assert np.count_nonzero(beyond[1:16]) == 0
    assert broken(at, np.concatenate([beyond[:1] - 1, beyond[1:]])) == set()
    assert broken(at, above - 1) == set()
    weak, padded = noise.weak(at, seeded(1)), noise.not_on_padding(at, seeded(1))
    assert weak.any()
    assert not padded[DIMENSION:].any()
    assert padded[:DIMENSION].all() or np.count_nonzero(padded) > DIMENSION // 2


def test_ground_poison_stays_below_the_theorem(simulation: Simulation, at: ClientRound) -> None:
    """Theorem 2 of spec 12.2 for the direction that weighs all coordinates alike, with as many queries as tries."""
    bounds, cells = noise.bounds_of(at), noise.poison(at)
    assert broken(at, cells) == set()
    tries, direction = 256, 1 / sqrt(DIMENSION)
    signed = noise.ground(simulation.engine, at, seeded("ground"), tries)
    turned = signed.signs.times(signed.committed.noise).reshape(-1)[:DIMENSION]
    variance = min(bounds.group**2 * 3, bounds.ceiling) / DIMENSION  # V(v): three groups, 1 / d in each cell
    gained = float(turned.sum()) * direction
    assert gained > 0  # the best of 256 tries; one alone would be as often below
    assert gained <= min(sqrt(bounds.ceiling), sqrt(2 * variance * log(tries * 2**40)))
    assert gained < float(np.abs(turned).sum()) * direction  # what it would get if it could choose the signs


def test_the_update_of_a_poisoner_is_within_its_bounds(at: ClientRound) -> None:
    update = noise.pushing(at)
    assert update.shape == (DIMENSION,)
    assert 0 < int((update**2).sum()) <= at.norm_bound**2


def test_every_kind_about_noise_has_its_liar() -> None:
    assert set(noise.LIARS) == ABOUT_NOISE
