"""What the prover of a relation sends once its first challenges are drawn (spec 5.8), and products of rows of tables.

The products are needed twice, for the combinations of the encryption and for the sumcheck's forms, and computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatch

from proofs.curve import ORDER
from proofs.engine import Engine, Table
from proofs.layout import Layout
from proofs.polynomials import add, scale
from proofs.relations.encryption import DrawnEncryption
from proofs.relations.noise import ERROR, KEY
from proofs.relations.norm import UPDATE
from proofs.relations.relation import Drawn, Statements
from proofs.relations.terms import RankOneForm, Vector


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class RowProducts:
    """Of the committed tables' rows with vectors, each computed once."""

    engine: Engine
    layout: Layout
    tables: Sequence[Table]
    _known: dict[tuple[str, Vector], list[int]] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """The committed one of this name."""
        return self.tables[self.layout.index(name)]

    def product(self, name: str, vector: Vector) -> list[int]:
        """sum_c v[r, c] vector[c] for every row."""
        if (name, vector) not in self._known:
            table, entries = self.table(name), vector.values()
            padded = [*entries, *[0] * (table.shape[1] - len(entries))]
            self._known[name, vector] = self.engine.weighted_rows(table, padded[: table.shape[1]])
        return self._known[name, vector]

    def of_form(self, form: RankOneForm) -> list[int]:
        """sum_b multiple_b sum_c v_b[r, c] right[c] for every row."""
        return add(*(scale(self.product(name, form.right), multiple) for name, multiple in form.tables.items()))


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Exact:
    """Residues to send, and integers to send with masks over them. divisible: whether these are exact: otherwise the
    committed tables do not satisfy the relation."""

    combinations: tuple[int, ...] = ()
    quotients: tuple[int, ...] = ()
    divisible: bool = True


@singledispatch
def exact_values(drawn: Drawn, rows: RowProducts, statements: Statements) -> Exact:  # noqa: ARG001  of any
    """Of most relations: nothing."""
    return Exact()


@exact_values.register
def _(drawn: DrawnEncryption, rows: RowProducts, statements: Statements) -> Exact:
    """Y, and what the combinations of u + T e + a k exceed it by, in multiples of q."""
    ciphertexts = [each.ciphertext for each in statements if each.ciphertext is not None]
    combinations = drawn.of_ciphertext(rows.engine, ciphertexts[0])
    numerators = zip(_numerators(drawn, rows), combinations, strict=True)
    exact = [divmod(numerator - value, drawn.relation.lattice.modulus) for numerator, value in numerators]
    divisible = not any(remainder for _, remainder in exact)
    return Exact(combinations, tuple(quotient for quotient, _ in exact), divisible)


def _numerators(drawn: DrawnEncryption, rows: RowProducts) -> list[int]:
    """Every combination of u + T e + a k as an integer: below ORDER / 2 in magnitude, by the parameters' bounds."""
    lattice = drawn.relation.lattice
    key = [int(value) for value in rows.table(KEY).reshape(-1)]
    found = []
    for weights, vector, form in zip(drawn.rows.tolist(), drawn.column_vectors, drawn.key.tolist(), strict=True):
        products = rows.product(UPDATE, vector)
        if lattice.has_errors:
            products = add(products, scale(rows.product(ERROR, vector), lattice.plaintext_scale))
        messages = sum(weight * _centred(value) for weight, value in zip(weights, products, strict=True))
        found.append(messages + sum(x * y for x, y in zip(form, key, strict=True)))
    return found


def _centred(value: int) -> int:
    return value - ORDER if 2 * value > ORDER else value
