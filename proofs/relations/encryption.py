"""y = a k + T e + u modulo q: random combinations of its equations, over the integers (spec 5.1, claim 6; 5.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from proofs.challenger import Challenger
from proofs.curve import ORDER
from proofs.encryption import EncryptionParameters, check_statement
from proofs.engine import Engine, Table
from proofs.errors import Rejected
from proofs.noise import NoiseGroups
from proofs.polynomials import dot
from proofs.privacy_noise import NoiseSigns
from proofs.relations.noise import ERROR, KEY, key_groups
from proofs.relations.norm import UPDATE
from proofs.relations.relation import Drawn, MaskedIntegers, Relation, Sent, Statements, Weights, WrapBound
from proofs.relations.terms import FinalPoint, Listed, RankOneForm, SmallForm, Terms
from proofs.shape import TableShape


@dataclass(frozen=True)
class Encryption(Relation):
    """S combinations with random weights of the cells. It sends what they are of the ciphertext, modulo q, and by which
    multiple of q they differ from that, under masks. message_bound: max|m|, of the heaviest update, so that its
    integers are as wide for all."""

    shape: TableShape
    lattice: EncryptionParameters
    message_bound: int

    name = "encryption"
    label = "encryption-weights"

    @property
    def numbers(self) -> tuple[int, ...]:
        """S, the bits of a weight, and the bounds of the quotients' masks and of the quotients."""
        lattice, quotients = self.lattice, self.quotients
        return lattice.combinations, lattice.weight_bits, quotients.mask_bound, quotients.bound

    @property
    def scalars(self) -> int:
        """S: omega, one for each combination."""
        return self.lattice.combinations

    @property
    def combinations(self) -> int:
        """S residues of the ciphertext."""
        return self.lattice.combinations

    @cached_property
    def combination_bound(self) -> int:
        """L': bounds |combination of u + T e + a k - y| for entries within their exact bounds."""
        lattice = self.lattice
        cells = self.shape.data_cells << (2 * lattice.weight_bits)
        errors = lattice.plaintext_scale * lattice.noise_bound if lattice.has_errors else 0
        return cells * (errors + self.message_bound) + (lattice.degree * lattice.noise_bound + 1) * lattice.modulus

    @property
    def quotients(self) -> MaskedIntegers:
        """P' = floor(L / q) + 1 bounds an honest one."""
        return MaskedIntegers(self.lattice.combinations, self.combination_bound // self.lattice.modulus + 1)

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        """For entries within their exact bounds."""
        quotients = self.lattice.modulus * self.quotients.bound
        return [WrapBound("encryption", 2 * (self.combination_bound + quotients))]

    def check_statement(self, statements: Statements) -> None:
        """See `Relation.check_statement`: elements and ciphertext are of the data cells, in [0, q)."""
        for statement in statements:
            check_statement(self.lattice, self.shape.data_cells, statement)

    def check_range(self, sent: Sent) -> None:
        """See `Relation.check_range`: `quotient-range`, then `combination-range`."""
        bound, modulus = self.quotients.bound, self.lattice.modulus
        for index, quotient in enumerate(sent.quotients):
            if abs(quotient) > bound:
                raise Rejected("quotient-range", f"|z| <= {bound}", f"{quotient} at position {index}")
        for index, residue in enumerate(sent.combinations):
            if residue >= modulus:
                raise Rejected("combination-range", f"below q = {modulus}", f"{residue} at position {index}")

    def draw(
        self, engine: Engine, challenger: Challenger, statements: Statements, signs: NoiseSigns | None = None
    ) -> DrawnEncryption:
        """c_rows and c_columns."""
        (statement,) = statements
        lattice, count = self.lattice, self.lattice.combinations
        rows = challenger.integers("row-weights", count, self.shape.data_rows, lattice.weight_bits)
        columns = challenger.integers("column-weights", count, self.shape.columns, lattice.weight_bits)
        key = engine.adjoint_combinations(statement.elements.coefficients, rows, columns, lattice.modulus)
        return DrawnEncryption(self, rows, columns, key)


@dataclass(frozen=True, eq=False)
class DrawnEncryption(Drawn):
    """Cell (r, c) has in combination s the weight rows[s, r] columns[s, c].

    rows: int64 (S, data_rows), columns: int64 (S, C), below 2^weight_bits. key: alpha, int64 (S, N) in [0, q), the
    coefficients on the key.
    """

    relation: Encryption
    rows: Table
    columns: Table
    key: Table

    @cached_property
    def column_vectors(self) -> list[Listed]:
        """One for each combination, always the same: products with them are kept by what they are products with."""
        return [Listed(weights) for weights in self.columns.tolist()]

    def of_ciphertext(self, engine: Engine, ciphertext: Table) -> tuple[int, ...]:
        """Y: the S combinations of the ciphertext's residues, in [0, q)."""
        shape, modulus = self.relation.shape, self.relation.lattice.modulus
        table = ciphertext.reshape(shape.data_rows, shape.columns)
        return tuple(engine.residue_combinations(table, self.rows, self.columns, modulus))

    def check(self, engine: Engine, statements: Statements, sent: Sent) -> None:
        """Where the ciphertext is at hand."""
        for ciphertext in (each.ciphertext for each in statements if each.ciphertext is not None):
            found = self.of_ciphertext(engine, ciphertext)
            for index, (own, other) in enumerate(zip(found, sent.combinations, strict=True)):
                if own != other:
                    raise Rejected("ciphertext-combination", f"{own} at position {index}", str(other))

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """omega_s c_s on the update, T times it on the errors, omega_s alpha_s on the key; q omega_s on quotients."""
        lattice, omegas = self.relation.lattice, weights.scalars
        tables = {UPDATE: 1, ERROR: lattice.plaintext_scale} if lattice.has_errors else {UPDATE: 1}
        sides = zip(omegas, self.rows.tolist(), self.column_vectors, strict=True)
        values = zip(sent.combinations, sent.quotients, strict=True)
        return Terms(
            total=dot(omegas, [value + lattice.modulus * quotient for value, quotient in values]),
            forms=[RankOneForm(Listed(left), right, tables, omega) for omega, left, right in sides],
            small=[KeyForm(key_groups(self.relation.shape, lattice), self.key, omegas)],
            masks=[-lattice.modulus * omega % ORDER for omega in omegas],
        )


@dataclass(frozen=True, eq=False)
class KeyForm(SmallForm):
    """sum_s omega_s alpha_s[i] on coefficient i of the key."""

    groups: NoiseGroups
    combined: Table  # (S, N)
    omegas: Sequence[int]

    table = KEY

    def coefficients(self) -> list[int]:
        """N scalars."""
        return [dot(self.omegas, column) for column in zip(*self.combined.tolist(), strict=True)]

    def at(self, engine: Engine, final: FinalPoint) -> int:
        """See `SmallForm.at`."""
        cells = final.cells(self.groups.rows, self.groups.columns)
        return dot(self.omegas, engine.weighted_rows(self.combined, cells))
