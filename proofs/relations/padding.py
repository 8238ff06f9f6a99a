"""Cells of the last data row that carry no coordinate are zero (spec 5.1, claim 3); with noise, m = s o n there."""

from __future__ import annotations

from dataclasses import dataclass

from proofs.challenger import Challenger
from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.errors import Misuse
from proofs.polynomials import eq_table
from proofs.privacy_noise import NoiseSigns
from proofs.relations.norm import NOISE, UPDATE
from proofs.relations.relation import Drawn, Relation, Sent, Statements, Weights
from proofs.relations.terms import EqSlice, Listed, RankOneForm, Single, Terms
from proofs.shape import TableShape


@dataclass(frozen=True)
class Padding(Relation):
    """Its weight theta_p is drawn where there is no padding, too. noised: whether it is m - s o n that is zero."""

    shape: TableShape
    noised: bool = False

    name = "padding"
    label = "padding-weight"
    before_point = True

    @property
    def scalars(self) -> int:
        """theta_p."""
        return 1

    def draw(
        self, engine: Engine, challenger: Challenger, statements: Statements, signs: NoiseSigns | None = None
    ) -> Drawn:
        """Nothing but the signs that there are."""
        if self.noised and signs is None:
            raise Misuse("padding: expected the signs of the noise, found none")
        return DrawnPadding(self.shape, signs if self.noised else None)


@dataclass(frozen=True, eq=False)
class DrawnPadding(Drawn):
    """signs: of the noise, None without any."""

    shape: TableShape
    signs: NoiseSigns | None

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """theta_p [row = last data row] [column >= filled] eq(tau_columns, column) on the update, and less the same
        times the cell's sign on the noise; it sums to zero."""
        shape, (theta,) = self.shape, weights.scalars
        if shape.filled_columns == shape.columns:
            return Terms()
        row, columns = Single(shape.data_rows - 1), EqSlice(weights.column_point, shape.filled_columns, shape.columns)
        forms = [RankOneForm(row, columns, {UPDATE: 1}, theta)]
        if self.signs is not None:
            equal = eq_table(weights.column_point)[shape.filled_columns :]
            signs = self.signs.table[-1, shape.filled_columns :].tolist()
            signed = [s * e % ORDER for s, e in zip(signs, equal, strict=True)]
            forms.append(RankOneForm(row, Listed([0] * shape.filled_columns + signed), {NOISE: -1}, theta))
        return Terms(forms=forms)
