"""What bounds on squares are multiplied with: nothing, or the square of a hidden weight (spec 5.1, claim 8)."""

from __future__ import annotations

from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.relations.terms import RankOneForm, Single

WEIGHT_ROOTS, WEIGHT_SQUARES = "weight-roots", "weight-squares"
WEIGHT_CELL = 0  # of the weight in the one table, of its square in the other


@dataclass(frozen=True)
class Scale:
    """largest_weight: W of the weight relation; None where it is not in force: then every bound is as it is."""

    largest_weight: int | None = None

    @property
    def largest(self) -> int:
        """By how much a bound can grow: W, or 1."""
        return 1 if self.largest_weight is None else self.largest_weight

    @property
    def own_square(self) -> int:
        """How often the square of the weight counts among those of the update, where it is one of the coordinates."""
        return int(self.largest_weight is not None)

    def terms_of(self, total: int) -> tuple[int, list[RankOneForm]]:
        """What is left of a sum over the cube, and the form that stands for the rest: total, or total w^2."""
        if self.largest_weight is None:
            return total, []
        cell = Single(WEIGHT_CELL)
        return 0, [RankOneForm(Single(0), cell, {WEIGHT_SQUARES: 1}, -total % ORDER)]


UNSCALED = Scale()
