"""Parameters with range and encryption: sizes, bounds, and every inequality at its edge."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import cached_property

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.encryption import KEY_DIGIT_BITS, KEY_DIGITS, EncryptionParameters
from proofs.errors import Misuse
from proofs.folding import FoldedLength
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds
from proofs.ranges import CoordinateGroup, coordinate_segments
from proofs.relations.relation import WrapBound
from proofs.shape import TableShape
from protocols import sharing
from protocols.lattice.parameters import MODULI
from tests.proofs.arguments import (
    MODULUS,
    NOISED_RING,
    RING,
    WeakParameters,
    encryption_relation,
    noise_relation,
    quotients_of,
)

LARGE = EncryptionParameters(4096, MODULI[-1], 2**53)
EVERYTHING = WeakParameters(40, 500, 4, 100, (CoordinateGroup(3, 9, 0),), RING)
DIMENSIONS = st.one_of(st.integers(1, 2**32), st.integers(1, 5000))


def refused_at_its_edge(parameters: WeakParameters, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this inequality alone is checked: with a group of one element more than its left side, and of as many."""
    (bound,) = (bound for bound in parameters.wrap_bounds if bound.name == name)

    class Only(WeakParameters):
        @cached_property
        def wrap_bounds(self) -> tuple[WrapBound, ...]:
            return tuple(each for each in super().wrap_bounds if each.name == name)

    given = {each.name: getattr(parameters, each.name) for each in fields(parameters)}
    monkeypatch.setattr("proofs.parameters.ORDER", bound.left + 1)
    Only(**given)
    monkeypatch.setattr("proofs.parameters.ORDER", bound.left)
    with pytest.raises(Misuse, match=rf"no wrap-around \({name}\): expected less than .*, found {bound.left}"):
        Only(**given)


@pytest.mark.parametrize("name", ["projections", "norm", "range", "noise", "encryption"])
def test_every_inequality_at_its_edge(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused_at_its_edge(EVERYTHING, name, monkeypatch)


NOISED = replace(EVERYTHING, encryption=NOISED_RING, privacy_noise=NoiseBounds(900, 10, 10**6))


TWO_LAWS = replace(NOISED, update_noise=NoiseBounds(100, 10, 10**4))


@pytest.mark.parametrize("lightest", [EVERYTHING, NOISED, TWO_LAWS], ids=["errors", "noise", "noise of two laws"])
@pytest.mark.parametrize("weight", [1, 2, 6, 7])
def test_of_another_weight_all_is_as_if_made_for_it(weight: int, lightest: WeakParameters) -> None:
    """What is taken over from the parameters of weight 1 is of every weight."""
    base = replace(lightest, largest_weight=7)
    names = [name for name, each in vars(ArgumentParameters).items() if isinstance(each, cached_property)]
    for name in names:
        getattr(base, name)
    made, expected = base.weighing(weight), replace(base, weight=weight)
    assert made == expected
    for name in names:
        assert getattr(made, name) == getattr(expected, name), name
    assert (base.weight, base.segments[0].bound) == (1, 100)


def test_a_weight_that_nobody_may_have_has_no_parameters() -> None:
    for weight in (0, 8):
        with pytest.raises(Misuse, match=rf"weight: expected 1 <= w <= W = 7, found {weight}"):
            WeakParameters(40, 500, 4, largest_weight=7).weighing(weight)


def test_inequalities_are_all_named() -> None:
    assert [bound.name for bound in EVERYTHING.wrap_bounds] == ["projections", "norm", "range", "noise", "encryption"]
    assert [bound.name for bound in ArgumentParameters(40, 500).wrap_bounds] == ["projections", "norm"]


def test_inequalities_as_specified() -> None:
    """The formulas of spec 5.3, written again."""
    entry, q = 4 * EVERYTHING.response_bound, MODULUS
    assert (EVERYTHING.shape.data_rows, EVERYTHING.shape.columns) == (3, 16)
    cells = 4 * 16
    weight = 2**39
    combination = 48 * weight**2 * (2**20 * 128 + 500) + (16 * 128 + 1) * q
    assert encryption_relation(EVERYTHING).combination_bound == combination
    expected = {
        "projections": 2 * entry,
        "norm": 2 * cells * entry**2,
        "range": 2 * (4 * entry**2 + entry + 100**2),
        "noise": 2 * (16 + 4) * entry**2,
        "encryption": 2 * (combination + q * quotients_of(EVERYTHING).bound),
    }
    assert {bound.name: bound.left for bound in EVERYTHING.wrap_bounds} == expected


@settings(max_examples=30)
@given(DIMENSIONS, st.integers(1, 2**40), st.sampled_from([None, 0, 1, 2**15, 2**20]), st.booleans())
def test_all_admitted_parameters_are_far_from_wrapping(
    dimension: int, norm_bound: int, coordinate_bound: int | None, encrypted: bool
) -> None:
    parameters = ArgumentParameters(dimension, norm_bound, 4096, coordinate_bound, (), LARGE if encrypted else None)
    assert all(bound.left < ORDER >> 30 for bound in parameters.wrap_bounds)


@pytest.mark.parametrize("modulus", MODULI)
def test_combinations_are_sound(modulus: int) -> None:
    """S combinations miss a wrong ciphertext with probability at most 2^-149; weights are distinct modulo q."""
    lattice = EncryptionParameters(4096, modulus, 2**30 if modulus > 2**40 else 2**20)
    assert (
        lattice.combinations * (lattice.weight_bits - 1) >= 149 > (lattice.combinations - 1) * (lattice.weight_bits - 1)
    )
    assert 2**lattice.weight_bits <= modulus
    assert lattice.weight_bits <= 52


@settings(max_examples=30)
@given(DIMENSIONS, st.integers(1, 2**40), st.integers(1, 4096))
def test_bounds(dimension: int, norm_bound: int, projections: int) -> None:
    parameters = WeakParameters(dimension, norm_bound, projections, 2**10, (), RING)
    layout = parameters.layout
    rows = sum(table.rows for table in layout.tables)
    assert parameters.projection_bound**2 > parameters.squares_bound * rows * parameters.shape.columns
    groups = noise_relation(parameters).errors.count + noise_relation(parameters).key.count
    assert parameters.squares_bound == norm_bound**2 + dimension * 2**20 + groups * 128**2
    assert projections * 2 * parameters.projection_bound * 2**20 < 2 * parameters.mask_bound + 1
    honest, quotients = encryption_relation(parameters).combination_bound // MODULUS + 1, quotients_of(parameters)
    assert parameters.combinations == quotients.count
    assert quotients.count * 2 * honest * 2**20 < 2 * quotients.mask_bound + 1
    assert quotients.bound == quotients.mask_bound - honest
    assert quotients.bound < 1 << 8 * quotients.width - 1


@settings(max_examples=40)
@given(DIMENSIONS, st.integers(1, 2**40), st.integers(1, 4096), st.booleans(), st.booleans())
def test_sizes(dimension: int, norm_bound: int, projections: int, bounded: bool, encrypted: bool) -> None:
    """The formulas of spec 5.3 and 5.6."""
    lattice = RING if encrypted else None
    parameters = WeakParameters(dimension, norm_bound, projections, 7 if bounded else None, (), lattice)
    shape, layout = parameters.shape, parameters.layout
    tallest = max(table.rows for table in layout.tables)
    assert layout.variables == max(1, math.ceil(math.log2(tallest))) + math.log2(shape.columns)
    degrees = 2 + layout.variables * (3 if bounded or encrypted else 2)
    assert sum(parameters.round_degrees) == degrees
    tables = 2 + 3 * bounded + 4 * encrypted
    combinations = 4 * encrypted
    assert parameters.auxiliary_length == projections + combinations + tables + 1 + degrees
    share = 2 + shape.data_rows  # ceil(16 / 10) scalars of key
    openings = 2 + 2 * encrypted
    assert parameters.opened == (shape.columns, parameters.auxiliary_length, shape.columns, share)[:openings]
    folds = max(0, math.ceil(math.log2(max(parameters.opened) / 16)))
    assert parameters.folded == FoldedLength(folds, -(-max(parameters.opened) // 2**folds))
    scalars = 1 + degrees + tables + 1 + openings + 2 * openings - 2 + 2 * folds + parameters.folded.last
    integers = projections * parameters.response_width + combinations * (8 + quotients_of(parameters).width)
    assert parameters.proof_size == 33 * (1 + openings + 2 * folds) + integers + 32 * scalars
    assert parameters.commitments_size("commitments") == 33 * (shape.data_rows + 1)
    assert parameters.commitments_size("range-commitments") == 33 * 3 * shape.data_rows * bounded
    noise = sum(table.rows for table in layout.tables[2 + 3 * bounded :])
    assert parameters.commitments_size("encryption-commitments") == 33 * noise
    assert parameters.share_length == share * encrypted


def test_sizes_at_a_million_coordinates() -> None:
    lattice = EncryptionParameters(4096, 0xFFFFFFFFC001, 2**30)
    sizes = []
    for bound, encryption in ((None, None), (None, lattice), (2**15, lattice)):
        p = ArgumentParameters(2**20, 2**24, 360, bound, (), encryption)
        sizes.append(
            (
                p.proof_size,
                p.commitments_size("commitments")
                + p.commitments_size("range-commitments")
                + p.commitments_size("encryption-commitments"),
            )
        )
    assert sizes == [(5_871, 33_825), (7_355, 69_894), (7_451, 171_270)]


def test_nothing_of_relations_that_are_not_in_force() -> None:
    plain = ArgumentParameters(40, 500)
    assert (plain.projections, plain.segments, plain.squares_bound) == (360, (), 500**2)
    assert [relation.name for relation in plain.relations] == ["norm", "padding"]
    assert (plain.combinations, plain.quotients, plain.share_length) == (0, (), 0)
    assert [plain.commitments_size(f"{name}-commitments") for name in ("range", "encryption")] == [0, 0]
    assert plain.round_degrees == (4, 2, 2, 2, 2, 2)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ((3, MODULUS, 2), "degree"),
        ((8192, MODULUS, 2), "degree"),
        ((24, MODULUS, 2), "degree"),
        ((16, MODULUS - 1, 2), "modulus"),
        ((16, MODULUS + 2, 2), "modulus"),  # 40 bits, odd, not prime
        ((16, 2**39 - 7, 2), "modulus"),  # primes too small and too large
        ((16, 2**62 + 135, 2), "modulus"),
        ((16, MODULUS, 0), "plaintext scale"),  # 1 goes with noise for privacy
        ((16, MODULUS, 6), "plaintext scale"),
        ((16, MODULUS, 2, 0), "noise bound"),
        ((16, MODULUS, 2, 1025), "noise bound"),
        ((16, MODULUS, 2**32), "2 T E"),
    ],
)
def test_encryption_parameters_range(fields: tuple[int, ...], name: str) -> None:
    with pytest.raises(Misuse, match=name):
        EncryptionParameters(*fields)


def test_plaintext_scale_at_its_edge() -> None:
    EncryptionParameters(16, 2**40 + 15, 2**32)  # 2 T E = 2^40
    with pytest.raises(Misuse, match="2 T E"):
        EncryptionParameters(16, 2**40 - 87, 2**32)


def test_packing_is_that_of_the_sharing() -> None:
    assert (KEY_DIGIT_BITS, KEY_DIGITS) == (sharing.DIGIT_BITS, sharing.DIGITS)


def test_segments() -> None:
    groups = (CoordinateGroup(2, 4, 0), CoordinateGroup(4, 7, 9))
    assert coordinate_segments(10, 5, groups) == (
        CoordinateGroup(0, 2, 5),
        *groups,
        CoordinateGroup(7, 10, 5),
    )
    assert coordinate_segments(10, 5, ()) == (CoordinateGroup(0, 10, 5),)
    whole = (CoordinateGroup(0, 10, 1),)
    assert coordinate_segments(10, 5, whole) == whole


@pytest.mark.parametrize(
    "groups",
    [
        [(4, 4, 1)],
        [(4, 3, 1)],
        [(-1, 3, 1)],
        [(4, 11, 1)],
        [(3, 6, 1), (5, 7, 1)],
        [(5, 7, 1), (2, 3, 1)],
        [(1, 2, -1)],
        [(1, 2, 2**20 + 1)],
    ],
)
def test_groups_are_checked(groups: list[tuple[int, int, int]]) -> None:
    with pytest.raises(Misuse, match=r"groups|coordinate bound"):
        ArgumentParameters(10, 50, 360, 5, tuple(CoordinateGroup(*group) for group in groups))


@pytest.mark.parametrize("bound", [-1, 2**20 + 1])
def test_coordinate_bound_range(bound: int) -> None:
    with pytest.raises(Misuse, match="coordinate bound"):
        ArgumentParameters(10, 50, 360, bound)


def test_groups_need_a_general_bound() -> None:
    with pytest.raises(Misuse, match="groups"):
        ArgumentParameters(10, 50, groups=(CoordinateGroup(0, 10, 3),))


def test_tables_fit_the_cube() -> None:
    for dimension in (1, 16, 17, 1000, 4096, 5000):
        for degree in (4, 64, 4096):
            lattice = EncryptionParameters(degree, MODULUS, 2**20)
            layout = WeakParameters(dimension, 50, 1, 3, (), lattice).layout
            for table in layout.tables:
                assert 1 <= table.rows <= 1 << layout.row_variables
                assert 4 <= table.columns <= TableShape(dimension).columns
            key = layout.tables[layout.index("key")]
            assert key.rows * key.columns == degree
