"""The relation of a hidden weight: every weight in range is proved, by both engines alike; no other is committed to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.errors import Misuse
from proofs.parameters import ArgumentParameters
from proofs.ranges import CoordinateGroup
from proofs.relations.client_weight import ClientWeight
from proofs.relations.encryption import Encryption
from proofs.transcript import statement_bytes
from proofs.witness import commit_update
from tests.proofs.arguments import RING, WeakParameters, bytes_of, honest, judge, native, reference
from tests.proofs.test_parameters import refused_at_its_edge
from tests.seeded import seeded

GROUPS = (CoordinateGroup(3, 9, 0),)
EVERYTHING = WeakParameters(40, 500, 4, 100, GROUPS, RING, hidden_weight=300)
PLAIN = WeakParameters(40, 500, 4, 100, GROUPS, RING)


def weighted(parameters: ArgumentParameters, weight: int, seed: int = 0) -> np.ndarray:
    """An update of this weight: as long as it may be in one coordinate, or spread out."""
    rng, dimension = np.random.default_rng(seed), parameters.dimension
    limit = int(parameters.norm_bound * weight / dimension**0.5)
    update = rng.integers(-limit, limit + 1, size=dimension)
    for segment in parameters.segments:
        bound = segment.bound * weight
        update[segment.start : segment.stop] = np.clip(update[segment.start : segment.stop], -bound, bound)
    update[-1] = weight
    return update


@settings(max_examples=20, deadline=None)
@given(st.data(), st.integers(2, 300), st.sampled_from([None, 0, 1, 127]), st.sampled_from([1, 2, 7, 256, 2**13]))
def test_complete(data: st.DataObject, dimension: int, beta: int | None, largest: int) -> None:
    """Every weight in range, with its bounds."""
    parameters = ArgumentParameters(dimension, 2**20, 360, beta, hidden_weight=largest)
    weight = data.draw(st.one_of(st.sampled_from([1, largest]), st.integers(1, largest)))
    made = honest(native(), parameters, weighted(parameters, weight, dimension))
    assert judge(native(), parameters, made.claim) == "accepted"
    assert len(made.claim.proof) == parameters.proof_size
    assert len(made.claim.rows["weight-commitments"]) == parameters.commitments_size("weight-commitments") == 66


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize(("dimension", "largest", "weight"), [(2, 1, 1), (16, 6, 5), (17, 6, 6), (20, 2**10, 1)])
def test_engines_agree(dimension: int, largest: int, weight: int, everything: bool) -> None:
    """Byte for byte; alone in a row of its own, too."""
    bounds = (9, (), RING) if everything else (None, (), None)
    parameters = WeakParameters(dimension, 5000, 4, *bounds, hidden_weight=largest)
    made, other = (honest(engine, parameters, weighted(parameters, weight)) for engine in (native(), reference()))
    assert bytes_of(made.claim) == bytes_of(other.claim)
    assert judge(native(), parameters, made.claim) == judge(reference(), parameters, made.claim) == "accepted"


@pytest.mark.parametrize("weight", [1, 150, 300])
def test_everything_at_its_bound(weight: int) -> None:
    """The norm in one coordinate, and others at theirs."""
    parameters = ArgumentParameters(40, 500, 360, 500, GROUPS, RING, hidden_weight=300)
    for sign in (1, -1):
        update = np.array([sign * 500 * weight, *[0] * 38, weight])
        assert judge(native(), parameters, honest(native(), parameters, update).claim) == "accepted"
    tight = ArgumentParameters(5, 200, 360, 100, hidden_weight=300)
    update = np.array([100 * weight] * 4 + [weight])  # the norm is met with equality, too
    assert judge(native(), tight, honest(native(), tight, update).claim) == "accepted"


@pytest.mark.parametrize("weight", [0, -1, 301, 2**40, -(2**62)])
def test_other_weights_are_refused(weight: int) -> None:
    for parameters in (EVERYTHING, WeakParameters(40, 500, 4, hidden_weight=300)):
        update = np.array([0] * 39 + [weight])
        with pytest.raises(Misuse, match=rf"weight: expected 1 <= w <= W = 300, found {weight}"):
            commit_update(native(), parameters, update, seeded(0))


def test_bounds_are_those_of_the_weight() -> None:
    parameters = WeakParameters(20, 50, 4, 7, hidden_weight=6)
    with pytest.raises(Misuse, match=r"squared norm <= B\^2 = 22500, found 22501"):
        commit_update(native(), WeakParameters(20, 50, 4, hidden_weight=6), np.array([150, 1, *[0] * 17, 3]), seeded(0))
    with pytest.raises(Misuse, match=r"expected every \|coordinate\| <= B = 150, found 151"):
        commit_update(native(), WeakParameters(20, 50, 4, hidden_weight=6), np.array([151, *[0] * 18, 3]), seeded(0))
    with pytest.raises(Misuse, match=r"in \[0, 19\) <= beta = 21, found 22"):
        commit_update(native(), parameters, np.array([22, *[0] * 18, 3]), seeded(0))


# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"hidden_weight": 0}, r"hidden weight: expected 1 <= W <= 1048576, found 0"),
        ({"hidden_weight": -1}, r"found -1"),
        ({"hidden_weight": 2**20 + 1}, r"found 1048577"),
        ({"dimension": 1}, r"dimension: expected a coordinate beside the weight, found d = 1"),
        ({"norm_bound": 2**40, "hidden_weight": 2}, r"B W <= 1099511627776, found 2199023255552"),
        ({"norm_bound": 2**20 + 1, "hidden_weight": 2**20}, r"B W <= "),
        ({"coordinate_bound": 2**19 + 1, "hidden_weight": 2}, r"beta W <= 1048576, found 1048578"),
        ({"coordinate_bound": 1, "groups": (CoordinateGroup(0, 2, 2**20),), "hidden_weight": 2}, r"beta W"),
        ({"coordinate_bound": 1, "groups": (CoordinateGroup(38, 40, 1),), "hidden_weight": 2}, r"groups: .* \[0, 39\)"),
    ],
)
def test_parameters_out_of_range(changes: dict[str, object], found: str) -> None:
    """The weight's own cell is in no group."""
    arguments: dict[str, object] = {"dimension": 40, "norm_bound": 500, "hidden_weight": 3, **changes}
    with pytest.raises(Misuse, match=found):
        ArgumentParameters(**arguments)  # type: ignore[arg-type]  # by name


def test_parameters_at_their_ends() -> None:
    ArgumentParameters(2, 2**40, hidden_weight=1)
    ArgumentParameters(2, 2**20, 360, 1, hidden_weight=2**20)
    ArgumentParameters(2**32, 2**20, 4096, hidden_weight=2**20)
    ArgumentParameters(2, 5, 360, 2**20, hidden_weight=1)


def test_what_the_relation_brings() -> None:
    """Two tables of one row, a slice for the weight, one number in the statement; bounds times W for all that has a
    size. Nothing of it without."""
    (relation,) = (each for each in EVERYTHING.relations if isinstance(each, ClientWeight))
    assert [each.name for each in EVERYTHING.relations] == [
        "norm", "padding", "range", "client-weight", "noise", "packing", "encryption",
    ]  # fmt: skip
    assert [(own.name, own.rows, own.columns) for own in relation.tables] == [
        ("weight-roots", 1, 8),
        ("weight-squares", 1, 8),
    ]
    assert EVERYTHING.layout.families == {
        "commitments": 4, "range-commitments": 9, "weight-commitments": 2, "encryption-commitments": 6,
    }  # fmt: skip
    assert EVERYTHING.segments[-2:] == (CoordinateGroup(9, 39, 100), CoordinateGroup(39, 40, 1))
    assert EVERYTHING.segments[:-2] == (CoordinateGroup(0, 3, 100), *GROUPS)
    coordinates = 33 * 100**2 + 1
    groups = EVERYTHING.squares_bound - (500**2 + 1 + coordinates + 1 + 300**2) * 300**2
    assert groups == PLAIN.squares_bound - 500**2 - 34 * 100**2
    (encryption,) = (each for each in EVERYTHING.relations if isinstance(each, Encryption))
    assert encryption.message_bound == 500 * 300
    assert not any(isinstance(each, ClientWeight) for each in PLAIN.relations)
    assert PLAIN.commitments_size("weight-commitments") == 0
    tables = 2 + EVERYTHING.folded.last - PLAIN.folded.last  # an evaluation of each; their pads are folded
    assert EVERYTHING.folded.folds == PLAIN.folded.folds
    wider = EVERYTHING.projections * (EVERYTHING.response_width - PLAIN.response_width)
    quotients = sum(each.count * each.width for each in EVERYTHING.quotients)
    quotients -= sum(each.count * each.width for each in PLAIN.quotients)
    assert EVERYTHING.proof_size == PLAIN.proof_size + 32 * tables + wider + quotients
    assert WeakParameters(40, 500, 4, hidden_weight=3).round_degrees == (5, 3, 3, 3, 3, 3)


def test_statement() -> None:
    """W stands behind the slices, which are one more."""
    numbers = [500, 4, EVERYTHING.mask_bound, EVERYTHING.response_bound, 4, 0, 3, 100, 3, 9, 0, 9, 39, 100, 39, 40, 1]
    assert statement_bytes(EVERYTHING).startswith(b"".join(n.to_bytes(32, "big") for n in (40, 16, *numbers, 300, 16)))
    alone = WeakParameters(40, 500, 4, hidden_weight=300)
    numbers = [40, 16, 500, 4, alone.mask_bound, alone.response_bound, 0, 300]
    assert statement_bytes(alone) == b"".join(n.to_bytes(32, "big") for n in numbers)


def test_inequalities_as_specified() -> None:
    """The formulas of spec 5.3, written again."""
    entry = 4 * EVERYTHING.response_bound
    found = {bound.name: bound.left for bound in EVERYTHING.wrap_bounds}
    assert list(found) == ["projections", "norm", "range", "weight-squares", "weight-interval", "noise", "encryption"]
    assert found["norm"] == 2 * (4 * 16 * entry**2 + (500**2 + 1) * entry)
    assert found["range"] == 2 * (4 * entry**2 + entry + 100**2 * entry)
    assert found["weight-squares"] == 2 * (entry**2 + entry)
    assert found["weight-interval"] == 2 * ((300 + 6) * entry + 300)


@pytest.mark.parametrize("name", ["norm", "range", "weight-squares", "weight-interval"])
def test_every_inequality_at_its_edge(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused_at_its_edge(EVERYTHING, name, monkeypatch)


@pytest.mark.parametrize("dimension", [2, 300, 2**32])
@pytest.mark.parametrize(
    ("norm_bound", "beta", "largest"), [(2**20, 1, 2**20), (2**40, 2**20, 1), (2**30, 2**10, 2**10)]
)
def test_all_admitted_parameters_are_far_from_wrapping(
    dimension: int, norm_bound: int, beta: int, largest: int
) -> None:
    for bound in (None, beta):
        parameters = ArgumentParameters(dimension, norm_bound, 4096, bound, hidden_weight=largest)
        assert all(each.left < ORDER >> 30 for each in parameters.wrap_bounds)
