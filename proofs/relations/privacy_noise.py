"""Noise n with sum n^2 <= E_n^2 in every group and L <= sum n^2 <= U; u = m - s o n is bounded (spec 5.1, claim 9).

The table `update` holds the message m. u is in no table: the relations of norm, range and padding speak of m - s o n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.encryption import GROUP_SIZE
from proofs.noise import SQUARES, NoiseGroups
from proofs.polynomials import eq_index
from proofs.privacy_noise import NoiseBounds
from proofs.relations.noise import group_total, group_weights
from proofs.relations.norm import NOISE
from proofs.relations.relation import DirectRelation, OwnTable, Sent, Weights, WrapBound
from proofs.relations.terms import ColumnWeights, Terms
from proofs.shape import TableShape

NOISE_SLACK, NOISE_ENERGY = "noise-slack", "noise-energy"
PRIVACY_TABLES = (NOISE, NOISE_SLACK, NOISE_ENERGY)  # each is a class of weights of its own
PRIVACY_COMMITMENTS = "privacy-noise-commitments"
ENERGY_CELLS = 2 * SQUARES  # what the energy exceeds the floor by, then what it falls short of the ceiling by
_ENERGY_VARIABLE = 2  # the column variable that tells the one from the other


@dataclass(frozen=True)
class PrivacyNoise(DirectRelation):
    """bounds: E_n, L and U."""

    shape: TableShape
    bounds: NoiseBounds

    name = "privacy-noise"
    commitments = PRIVACY_COMMITMENTS
    label = "noise-weights"

    @property
    def groups(self) -> NoiseGroups:
        """Noise has the cells of the data rows, padding included: it hides what is encrypted there, too."""
        return NoiseGroups(self.shape.data_rows, self.shape.columns)

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        """Noise, the slack of its groups, squares above the floor and below the ceiling."""
        groups = self.groups
        return (
            OwnTable(NOISE, groups.rows, groups.columns),
            OwnTable(NOISE_SLACK, groups.slack_rows, groups.slack_columns),
            OwnTable(NOISE_ENERGY, 1, ENERGY_CELLS),
        )

    @property
    def classes(self) -> Mapping[str, str]:
        """Each table is a class of its own."""
        return {name: name for name in PRIVACY_TABLES}

    @property
    def numbers(self) -> tuple[int, ...]:
        """E_n, L, U and the size of a group."""
        return self.bounds.group, self.bounds.floor, self.bounds.ceiling, GROUP_SIZE

    @property
    def squares_bound(self) -> int:
        """E_n^2 for each group with its slack; U - L for the squares of the last table."""
        return self.groups.count * self.bounds.group**2 + self.bounds.ceiling - self.bounds.floor

    @property
    def scalars(self) -> int:
        """theta_n and theta_b."""
        return 2

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        """The largest group; all noise, and four squares."""
        group, cells = self.groups.size + SQUARES, self.shape.data_cells + SQUARES
        return [
            WrapBound("noise-group", 2 * group * entry**2),
            WrapBound("noise-energy", 2 * (cells * entry**2 + self.bounds.ceiling)),
        ]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """Groups weigh theta_n as those of the encryption do. With e = eq(tau_rows, 0) and t a column variable of tau,
        theta_b e (1 - t) weighs p' - sum n^2 = -L, and theta_b e t weighs p'' + sum n^2 = U."""
        theta, energy = weights.scalars
        noise, slack = group_weights(self.groups, theta, weights)
        factor, t = energy * eq_index(weights.row_point, 0) % ORDER, weights.column_point[_ENERGY_VARIABLE]
        total = group_total(self.groups, theta, weights, self.bounds.group)
        total += factor * (t * self.bounds.ceiling - (1 - t) * self.bounds.floor)
        own = ColumnWeights(energy, _ENERGY_VARIABLE, [t])
        return Terms(
            total=total,
            squares={NOISE: noise, NOISE_SLACK: slack, NOISE_ENERGY: own},
            plain={NOISE: factor * (2 * t - 1) % ORDER},
        )
