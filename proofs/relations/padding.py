"""Cells of the last data row that carry no coordinate are zero (spec 5.1, claim 3)."""

from __future__ import annotations

from dataclasses import dataclass

from proofs.relations.norm import UPDATE
from proofs.relations.relation import DirectRelation, Sent, Weights
from proofs.relations.terms import EqSlice, RankOneForm, Single, Terms
from proofs.shape import TableShape


@dataclass(frozen=True)
class Padding(DirectRelation):
    """Its weight theta_p is drawn where there is no padding, too."""

    shape: TableShape

    name = "padding"
    label = "padding-weight"
    before_point = True

    @property
    def scalars(self) -> int:
        """theta_p."""
        return 1

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """theta_p [row = last data row] [column >= filled] eq(tau_columns, column) on the update; it sums to zero."""
        shape = self.shape
        if shape.filled_columns == shape.columns:
            return Terms()
        columns = EqSlice(weights.column_point, shape.filled_columns, shape.columns)
        return Terms(forms=[RankOneForm(Single(shape.data_rows - 1), columns, {UPDATE: 1}, weights.scalars[0])])
