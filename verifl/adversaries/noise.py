"""Clients that cheat over their noise for privacy: which bounds of it are proved, and which are not (spec 10.4, 12).

E_n bounds the norm of every group of noise n, L and U all its energy; u is the update, s the public signs, and m = u +
s o n, cell by cell, is what is encrypted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from proofs.decompositions import four_square_roots
from proofs.engine import Engine, Table
from proofs.errors import Misuse
from proofs.noise import SQUARES
from proofs.noise_witness import CommittedNoise, CommittedTable, SignedNoise, signed_noise
from proofs.privacy_noise import NoiseBounds
from proofs.randomness import Randomness, uniform_scalars
from proofs.relations.privacy_noise import PrivacyNoise
from proofs.squares import four_squares
from protocols.lattice.encryption import generate_key
from protocols.noise import law_of, variance_of
from protocols.pinned import PinnedPolicy
from protocols.rounds.submitting import (
    Ciphertext,
    ClientRound,
    DrawnNoise,
    Secrets,
    Update,
    commit_to,
    draw_privacy_noise,
    encode,
)
from protocols.weights import weight_of
from verifl.adversaries.clients import LyingClient
from verifl.adversaries.provers import ANYTHING, Commit, ProvesAnything, encrypt_anything, signed_noise_of

Cells = NDArray[np.int64]  # (cells,), padding included
Choose = Callable[[ClientRound, Randomness], Cells]

TRIES = 64  # of the signs, by who grinds for them


class CheatsOverNoise(ProvesAnything):
    """A client that proves what is not so of its noise, or what is so of a noise that hides nothing."""

    name_of_kind = ""

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs noise for privacy."""
        if pinned.argument.privacy_noise is None:
            raise Misuse(
                f"inject: {cls.name_of_kind} needs noise for privacy, and the policy has none; set [privacy] (in the "
                "demonstration --epsilon)"
            )


def bounds_of(at: ClientRound) -> NoiseBounds:
    """E_n, L and U; raises Misuse where the policy has no noise."""
    bounds = at.argument.noise_bounds
    if bounds is None:
        raise Misuse("expected a policy with noise, found one without")
    return bounds


def sign_anything(engine: Engine, at: ClientRound, noise: Cells, rand: Randomness) -> SignedNoise:
    """Commitments to noise within its bounds or beyond them, and the signs that follow."""
    relation = PrivacyNoise(at.argument.shape, bounds_of(at))
    tables, found = _tables(relation, noise, rand), {}
    for own, table in zip(relation.tables, tables, strict=True):
        blindings = tuple(uniform_scalars(rand, own.rows))
        found[own.name] = CommittedTable(blindings, engine.commit_rows(table, blindings))
    return signed_noise(at.argument, CommittedNoise(tables, found), at.sign_context)


def _tables(relation: PrivacyNoise, noise: Cells, rand: Randomness) -> tuple[Table, ...]:
    """Noise with the squares that fill up every group, floor and ceiling; zeros where there are none."""
    groups, bounds = relation.groups, relation.bounds
    table = noise.reshape(groups.rows, groups.columns)
    left = np.maximum(bounds.group**2 - groups.square_sums(table), 0).reshape(-1)
    roots = four_square_roots(left, rand).reshape(groups.rows, groups.per_row, SQUARES)
    energy = int((noise**2).sum())
    squares = [four_squares(max(0, value), rand) for value in (energy - bounds.floor, bounds.ceiling - energy)]
    return table, groups.slack_table(roots), np.array([squares], dtype=np.int64).reshape(1, -1)


def committing_to_noise(choose: Choose) -> Commit:
    """`commit` with noise of its maker's choice; all else is honest."""

    def commit(engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:
        signed = sign_anything(engine, at, choose(at, rand), rand)
        noise = DrawnNoise(generate_key(at.pinned.lattice, rand), privacy=signed)
        return commit_to(engine, at, noise, encode(at, update, noise, rand), rand)

    return commit


# ---- too little of it ----


def _without_noise(at: ClientRound, secrets: Secrets) -> Ciphertext:
    table, *others = secrets.committed.tables
    bare = table - signed_noise_of(at, secrets.noise)
    return encrypt_anything(at, replace(secrets, committed=replace(secrets.committed, tables=(bare, *others))))


class NoiseLeftOut(CheatsOverNoise):
    """Commits to honest noise, and to its update with that; encrypts the update alone."""

    name_of_kind = "noise-left-out"
    using = replace(ANYTHING, encrypt=_without_noise)


def none(at: ClientRound, rand: Randomness) -> Cells:  # noqa: ARG001
    """No noise at all."""
    return np.zeros(at.pinned.cells, dtype=np.int64)


class NoNoise(CheatsOverNoise):
    """Commits to noise that is zero everywhere."""

    name_of_kind = "no-noise"
    using = replace(ANYTHING, commit=committing_to_noise(none))


def weak(at: ClientRound, rand: Randomness) -> Cells:
    """Honest noise in the first cells, as many as stay below L together."""
    noise = draw_privacy_noise(at, rand)
    noise[np.cumsum(noise**2) >= bounds_of(at).floor] = 0
    return noise


class WeakNoise(CheatsOverNoise):
    """Honest noise in the first cells, as many as stay below L together; zero in the others."""

    name_of_kind = "weak-noise"
    using = replace(ANYTHING, commit=committing_to_noise(weak))


def constant(at: ClientRound, rand: Randomness) -> Cells:  # noqa: ARG001
    """sigma in every cell."""
    policy = at.pinned.policy
    variance = 0 if policy.noise is None else variance_of(law_of(policy.noise, weight_of(at.weight)))
    magnitude = round(float(variance) ** 0.5)
    return np.full(at.pinned.cells, magnitude, dtype=np.int64)


class ConstantNoise(CheatsOverNoise):
    """sigma in every cell: the right energy, and known to everybody, as the signs are public. Nothing is wrong with
    it."""

    name_of_kind = "constant-noise"
    using = replace(ANYTHING, commit=committing_to_noise(constant))


def not_on_padding(at: ClientRound, rand: Randomness) -> Cells:
    """Honest noise, but for the padding."""
    noise = draw_privacy_noise(at, rand)
    noise[at.argument.shape.dimension :] = 0
    return noise


class UnnoisedPadding(CheatsOverNoise):
    """Honest noise, but for the padding: no relation asks for any there, if what is left has energy L."""

    name_of_kind = "unnoised-padding"
    using = replace(ANYTHING, commit=committing_to_noise(not_on_padding))

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs noise, and cells that carry no coordinate."""
        super().require(pinned)
        shape = pinned.argument.shape
        if shape.data_cells == shape.dimension:
            raise Misuse(
                f"inject: unnoised-padding needs padding, and this model's {shape.dimension} coordinates fill their "
                "rows"
            )


# ---- too much of it ----


def beyond_a_group(at: ClientRound, rand: Randomness) -> Cells:
    """E_n + 1 in the first cell, and honest noise in the other groups, as much as U allows."""
    noise, bounds = draw_privacy_noise(at, rand), bounds_of(at)
    noise[: PrivacyNoise(at.argument.shape, bounds).groups.size] = 0
    noise[0] = bounds.group + 1
    noise[1:][np.cumsum(noise**2)[1:] > bounds.ceiling] = 0
    return noise


class NoiseBeyondGroup(CheatsOverNoise):
    """E_n + 1 in the first cell and nothing else in its group; honest noise in the others, as much as U allows."""

    name_of_kind = "noise-beyond-group"
    using = replace(ANYTHING, commit=committing_to_noise(beyond_a_group))


def above_ceiling(at: ClientRound, rand: Randomness) -> Cells:  # noqa: ARG001
    """The least same magnitude in every cell with which all of them have more than U."""
    cells = at.pinned.cells
    return np.full(cells, isqrt(bounds_of(at).ceiling // cells) + 1, dtype=np.int64)


class NoiseAboveCeiling(CheatsOverNoise):
    """The same magnitude in every cell, the least with which all of them have more than U."""

    name_of_kind = "noise-above-ceiling"
    using = replace(ANYTHING, commit=committing_to_noise(above_ceiling))


# ---- as poison ----


def poison(at: ClientRound) -> Cells:
    """As much noise as the bounds allow, spread evenly: what a direction gets that has the same weight everywhere."""
    bounds, cells = bounds_of(at), at.pinned.cells
    group = PrivacyNoise(at.argument.shape, bounds).groups.size
    most = min(isqrt(bounds.ceiling // cells), isqrt(bounds.group**2 // group))
    return np.full(cells, most, dtype=np.int64)


def ground(engine: Engine, at: ClientRound, rand: Randomness, tries: int = TRIES) -> SignedNoise:
    """Poison with the most favourable signs of so many tries, each with fresh blindings."""
    found = (sign_anything(engine, at, poison(at), rand) for _ in range(tries))
    return max(found, key=lambda signed: int(signed.signs.table.sum()))


def pushing(at: ClientRound) -> Update:
    """The longest update with the same value in every coordinate, which the bounds on coordinates allow."""
    dimension = at.argument.shape.dimension
    update = np.full(dimension, isqrt(at.norm_bound**2 // dimension), dtype=np.int64)
    for segment in at.argument.segments:
        update[segment.start : segment.stop] = np.minimum(update[segment.start : segment.stop], segment.bound)
    return update


def _commit_to_poison(engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:  # noqa: ARG001
    noise = DrawnNoise(generate_key(at.pinned.lattice, rand), privacy=ground(engine, at, rand))
    return commit_to(engine, at, noise, encode(at, pushing(at), noise, rand), rand)


class PoisonNoise(CheatsOverNoise):
    """All coordinates the same way: the longest such update, and the largest such noise, which the signs, drawn when it
    is fixed, turn. It asks for signs again and again, and keeps the best."""

    name_of_kind = "poison-noise"
    using = replace(ANYTHING, commit=_commit_to_poison)


_ALL = (
    NoiseLeftOut,
    NoNoise,
    WeakNoise,
    ConstantNoise,
    UnnoisedPadding,
    NoiseBeyondGroup,
    NoiseAboveCeiling,
    PoisonNoise,
)
LIARS: dict[str, type[LyingClient]] = {each.name_of_kind: each for each in _ALL}
