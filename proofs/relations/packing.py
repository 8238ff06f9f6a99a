"""E_0 commits to the packed key and to the blindings of the update's rows (spec 5.1, claim 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import lshift

from proofs.curve import ORDER
from proofs.encryption import KEY_DIGIT_BITS, KEY_DIGITS, EncryptionParameters
from proofs.engine import Engine
from proofs.noise import NoiseGroups
from proofs.relations.noise import KEY, key_groups
from proofs.relations.norm import UPDATE
from proofs.relations.relation import DirectRelation, Sent, Weights
from proofs.relations.terms import FinalPoint, SmallForm, Terms
from proofs.shape import TableShape

_PLACES = [KEY_DIGIT_BITS * i for i in range(KEY_DIGITS)]  # bits below each digit


@dataclass(frozen=True)
class Packing(DirectRelation):
    """Under E_0: ceil(N / 10) scalars of key, then R blindings."""

    shape: TableShape
    lattice: EncryptionParameters

    name = "packing"
    label = "encryption-weights"

    @property
    def apart(self) -> tuple[str, ...]:
        """The update, whose blindings stand under E_0."""
        return (UPDATE,)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Bits of a digit, and digits of a scalar."""
        return KEY_DIGIT_BITS, KEY_DIGITS

    @property
    def scalars(self) -> int:
        """zeta and xi."""
        return 2

    @property
    def shared(self) -> int:
        """The scalars of the key, and one blinding for each of the R rows."""
        return self.lattice.key_scalars + self.shape.data_rows

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """zeta xi^s on kappa_s; and on the key what it is packed from."""
        zeta, xi = weights.scalars
        powers = [zeta]
        for _ in range(1, self.lattice.key_scalars):
            powers.append(powers[-1] * xi % ORDER)
        return Terms(small=[PackedForm(key_groups(self.shape, self.lattice), powers)], shared=powers)


@dataclass(frozen=True, eq=False)
class PackedForm(SmallForm):
    """powers[i div 10] 2^(24 (i mod 10)) on coefficient i of the key."""

    groups: NoiseGroups
    powers: Sequence[int]

    table = KEY

    @cached_property
    def _digits(self) -> list[int]:
        return [1 << KEY_DIGIT_BITS * i for i in range(KEY_DIGITS)]

    def coefficients(self) -> list[int]:
        """N scalars."""
        found = [power * digit % ORDER for power in self.powers for digit in self._digits]
        return found[: self.groups.rows * self.groups.columns]

    def at(self, engine: Engine, final: FinalPoint) -> int:
        """See `SmallForm.at`."""
        cells, total = final.cells(self.groups.rows, self.groups.columns), 0
        for s, power in enumerate(self.powers):
            group = cells[KEY_DIGITS * s : KEY_DIGITS * (s + 1)]
            total += power * sum(map(lshift, group, _PLACES))
        return total % ORDER
