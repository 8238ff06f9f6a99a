"""Clients that cheat over their noise: that one thing alone is wrong with it, and what the largest of it can move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest

from proofs.relations.privacy_noise import PrivacyNoise
from protocols.envelopes import open_envelope
from protocols.messages import Submission
from protocols.noise_trustees import TRUSTEES
from protocols.policy import PrivacyBudget
from protocols.reasons import INVALID_PROOF
from protocols.rounds.submitting import ClientRound, make
from protocols.submissions import judge
from tests.seeded import seeded
from tests.simulator import Setting, Simulation, identity_of
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
def of_trustees(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    setting = replace(SETTING, by=TRUSTEES, trustees=3, threshold=3, corrupt=1, honest=1)
    found = Simulation(tmp_path_factory.mktemp("trustees"), setting)
    found.start()
    found.open_round()
    return found


@pytest.fixture(scope="module")
def at(simulation: Simulation) -> ClientRound:
    return ClientRound.of(simulation.pinned, simulation.accept(NAME).verified, NAME)


@pytest.fixture(scope="module", params=["a client", "a trustee", "a client beside trustees"])
def anybody(simulation: Simulation, of_trustees: Simulation, request: pytest.FixtureRequest) -> ClientRound:
    """Of whose noise: each has its own law."""
    found = simulation if request.param == "a client" else of_trustees
    name = "trustee-1" if request.param == "a trustee" else NAME
    weight = 0 if name == "trustee-1" else None
    return ClientRound.of(found.pinned, found.accept(name).verified, name, weight)


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("noise-left-out", "linear-relation"),
        ("no-noise", "linear-relation"),
        ("weak-noise", "linear-relation"),
        ("constant-noise", None),
        ("unnoised-padding", None),
        ("noise-beyond-group", "linear-relation"),
        ("noise-above-ceiling", "linear-relation"),
        ("poison-noise", None),
    ],
)
def test_a_trustee_that_cheats_over_its_noise(of_trustees: Simulation, kind: str, detail: str | None) -> None:
    """As with clients, what is proved not to be so is found by name; the last is bounded (spec 12.2, with B = 0)."""
    name, pinned = "trustee-2", of_trustees.pinned
    at = ClientRound.of(pinned, of_trustees.accept(name).verified, name, 0)
    nothing = np.zeros(DIMENSION, dtype=np.int64)
    package = make(of_trustees.engine, at, nothing, identity_of(name), seeded(kind), noise.LIARS[kind].using)
    message = open_envelope(package.entry).message
    assert isinstance(message, Submission)
    (fault,) = judge(of_trustees.engine, pinned, [message], at.seed, lambda blob, _: package.blobs[blob])
    assert (None if fault is None else (fault.reason, fault.detail)) == (detail and (INVALID_PROOF, detail))


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
def test_one_thing_alone_is_wrong(anybody: ClientRound, lie: str, expected: set[str]) -> None:
    choose: Callable[..., np.ndarray] = getattr(noise, lie)
    cells = choose(anybody, seeded(lie))
    assert cells.shape == (CELLS,)
    assert broken(anybody, cells) == expected


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
