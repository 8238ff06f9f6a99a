"""What a client commits to of its noise for privacy, before it knows the signs (spec 5.9, 10.2, 12.1).

In this order, as the ciphertext of the message enters the proof's statement; noise is what the client's sampler drew:

    committed = commit_noise(engine, parameters, noise, rand)        once for a submission, never again for the same
    signed = signed_noise(parameters, committed, sign_context)
    made = commit_update(engine, parameters, update, rand, Noise(key), signed)
    made.message is encrypted, made.blindings are shared
    proof = prove(engine, parameters, made, context, rand, encrypted)
    Claim(made.rows, proof, context, statement, weight, sign_context)

The blindings of these tables are in their proof and in nothing else: Lemma 6 of spec 10.4 rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proofs.decompositions import four_square_roots
from proofs.engine import Engine, KnownRows, Table
from proofs.errors import Misuse
from proofs.noise import SQUARES
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseSigns, noise_signs
from proofs.randomness import Randomness, uniform_scalars
from proofs.relations.norm import NOISE
from proofs.relations.privacy_noise import ENERGY_CELLS, PRIVACY_TABLES, PrivacyNoise
from proofs.squares import four_squares, norm_squared
from proofs.wiping import wipe


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class CommittedTable:
    """The blindings of a table's rows, and their commitments, 33 bytes each."""

    blindings: tuple[int, ...]
    encoded: bytes


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class CommittedNoise:
    """Noise, its slack and energy, int64, with what commits to their rows. Secret but for `rows`."""

    tables: tuple[Table, ...]
    by_table: Mapping[str, CommittedTable]

    @property
    def noise(self) -> Table:
        """n, (data_rows, C)."""
        return self.tables[0]

    @property
    def known(self) -> KnownRows:
        """The rows of n: where commitments to a message with it may start."""
        own = self.by_table[NOISE]
        return KnownRows(self.noise, own.blindings, own.encoded)

    @property
    def rows(self) -> bytes:
        """The commitments of all rows, those of the noise first."""
        return b"".join(self.by_table[name].encoded for name in PRIVACY_TABLES)


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class SignedNoise:
    """Committed noise with the signs that its commitments gave."""

    committed: CommittedNoise
    signs: NoiseSigns


def commit_noise(
    engine: Engine, parameters: ArgumentParameters, noise: NDArray[np.int64], rand: Randomness
) -> CommittedNoise:
    """Commit to noise int64 (data_cells,), one integer for every cell of the data rows, padding included.

    Raises Misuse for another shape or dtype, and for noise out of its bounds: then all of it is drawn again, before
    anything of it is sent. The blindings are fresh.
    """
    relation = _relation(parameters)
    tables = _tables(relation, noise, rand)
    found = {}
    for own, table in zip(relation.tables, tables, strict=True):
        blindings = tuple(uniform_scalars(rand, own.rows))
        found[own.name] = CommittedTable(blindings, engine.commit_rows(table, blindings))
    return CommittedNoise(tables, found)


def signed_noise(parameters: ArgumentParameters, committed: CommittedNoise, sign_context: bytes) -> SignedNoise:
    """sign_context: any bytes; it must name all that the signs should not be moved away from, and nothing that depends
    on the noise (spec 12.1)."""
    return SignedNoise(committed, noise_signs(parameters.shape, sign_context, committed.rows))


def within_bounds(parameters: ArgumentParameters, noise: NDArray[np.int64]) -> bool:
    """Whether `commit_noise` takes noise of this shape: if not, it is to be drawn again."""
    relation = _relation(parameters)
    try:
        slack, _, _ = _slack(relation, _shaped(relation, noise))
    except Misuse:
        return False
    wipe(slack)
    return True


def _relation(parameters: ArgumentParameters) -> PrivacyNoise:
    if parameters.noise_bounds is None:
        raise Misuse("noise: expected parameters of noise for privacy, found none")
    return PrivacyNoise(parameters.shape, parameters.noise_bounds)


def _shaped(relation: PrivacyNoise, noise: NDArray[np.int64]) -> Table:
    cells = relation.shape.data_cells
    if noise.shape != (cells,) or noise.dtype != np.int64:
        raise Misuse(f"noise: expected int64 ({cells},), found {noise.dtype} {noise.shape}")
    return noise.reshape(relation.groups.rows, relation.groups.columns)


def _slack(relation: PrivacyNoise, table: Table) -> tuple[NDArray[np.int64], int, int]:
    """What every group, the floor and the ceiling leave."""
    bounds = relation.bounds
    if max(int(table.max()), -int(table.min())) > bounds.group:
        raise Misuse(f"noise: expected magnitudes of at most E_n = {bounds.group}, found more; draw all of it again")
    slack = relation.groups.square_sums(table)
    np.subtract(bounds.group**2, slack, out=slack)
    if int(slack.min()) < 0:
        raise Misuse(f"noise: expected groups of norm at most E_n = {bounds.group}, found more; draw all of it again")
    energy = norm_squared(table.reshape(-1), bounds.group)
    if not bounds.floor <= energy <= bounds.ceiling:
        allowed = f"L = {bounds.floor} to U = {bounds.ceiling}"
        raise Misuse(f"noise: expected an energy of {allowed}, found another; draw all of it again")
    return slack, energy - bounds.floor, bounds.ceiling - energy


def _tables(relation: PrivacyNoise, noise: NDArray[np.int64], rand: Randomness) -> tuple[Table, Table, Table]:
    table, groups = _shaped(relation, noise), relation.groups
    slack, above, below = _slack(relation, table)
    roots = four_square_roots(slack.reshape(-1), rand).reshape(groups.rows, groups.per_row, SQUARES)
    energy = np.zeros((1, ENERGY_CELLS), dtype=np.int64)
    energy[0] = [*four_squares(above, rand), *four_squares(below, rand)]
    tables = table.copy(), groups.slack_table(roots), energy
    wipe(slack, roots)
    return tables
