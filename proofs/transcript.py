"""The Fiat-Shamir transcript of one argument: what is absorbed, and which challenges follow, in order (spec 5.5).

Prover and verifier both walk through this one class, so they cannot disagree. Every value of the statement and of the
proof that is known at a point is absorbed before the next challenge is drawn; the last response need not be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from proofs.challenger import Challenger
from proofs.domains import ARGUMENT
from proofs.engine import Engine, Signs
from proofs.folding import Fold
from proofs.layout import Layout
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseSigns
from proofs.proof import Announcements, encode_integers, encode_residues, encode_scalars
from proofs.relations.relation import Drawn, Relation, Sent, Statements, Weights


@dataclass(frozen=True)
class ProjectionSigns:
    """The k random projections s_j^T V t_j: int8 with entries -1, 0, 1."""

    rows: Signs  # s, (k, total_rows): the rows of all tables
    columns: Signs  # t, (k, C)

    def of_tables(self, layout: Layout) -> list[Signs]:
        """(k, rows) for each table."""
        return [self.rows[:, span] for span in layout.spans]


@dataclass(frozen=True)
class RelationWeights:
    """Challenges that join all relations into one sum over the cube."""

    projections: list[int]  # rho, k scalars
    row_point: list[int]  # tau, one coordinate per row variable
    column_point: list[int]  # tau, one coordinate per column variable
    scalars: Mapping[str, Sequence[int]]  # by relation in force: its own

    def of(self, relation: Relation) -> Weights:
        """What the relation makes its terms with."""
        return Weights(self.scalars[relation.name], self.row_point, self.column_point)


@dataclass(frozen=True)
class OpeningWeights:
    """Challenges that join tables, and the linear relations."""

    tables: int  # eta
    second: int  # kappa_2
    third: int  # kappa_3
    fourth: int = 0  # kappa_4, of the blindings under E_0; nothing without the encryption's proof


def statement_bytes(parameters: ArgumentParameters) -> bytes:
    """Numbers of 32 bytes big-endian: d, C, w B, k, M, Z; how many slices; those of each relation (spec 5.5)."""
    shape = parameters.shape
    numbers = [shape.dimension, shape.columns, parameters.weight * parameters.norm_bound]
    numbers += [parameters.projections, parameters.mask_bound, parameters.response_bound]
    numbers.append(len(parameters.segments))
    numbers += [number for relation in parameters.relations for number in relation.numbers]
    return b"".join(number.to_bytes(32, "big") for number in numbers)


class ArgumentTranscript:
    """Call the methods once each in this order, `round_challenge` once per round."""

    def __init__(
        self,
        parameters: ArgumentParameters,
        context: bytes,
        statements: Statements = (),
        signs: NoiseSigns | None = None,
    ) -> None:
        self._parameters, self._statements, self._signs = parameters, statements, signs
        self._challenger = Challenger(ARGUMENT)
        if signs is not None:
            self._challenger.absorb("noise-signs", signs.state)
        self._challenger.absorb("context", context)
        self._challenger.absorb("statement", statement_bytes(parameters))
        for statement in statements:
            for label, data in statement.absorbed.items():
                self._challenger.absorb(label, data)

    def projection_signs(self, rows: Mapping[str, bytes], auxiliary: bytes) -> ProjectionSigns:
        """Absorbs D, by the labels of the tables' commitments, and A; draws s, then t."""
        layout, count = self._parameters.layout, self._parameters.projections
        for label in layout.families:
            self._challenger.absorb(label, rows[label])
        self._challenger.absorb("auxiliary", auxiliary)
        signs = self._challenger.signs("row-signs", count, layout.total_rows)
        return ProjectionSigns(signs, self._challenger.signs("column-signs", count, layout.shape.columns))

    def draw(self, engine: Engine) -> list[Drawn]:
        """Every relation with its first challenges."""
        relations, given = self._parameters.relations, (self._statements, self._signs)
        return [relation.draw(engine, self._challenger, *given) for relation in relations]

    def relation_weights(self, projections: Sequence[int], sent: Sequence[Sent]) -> RelationWeights:
        """Absorbs z, and of every relation Y and z'; draws rho, weights, tau, weights (spec 5.5)."""
        parameters, layout = self._parameters, self._parameters.layout
        self._challenger.absorb("projections", encode_integers(parameters.response_width, projections))
        for relation, values in zip(parameters.relations, sent, strict=True):
            self._absorb_sent(relation, values)
        weights = self._challenger.scalars("projection-weights", parameters.projections)
        scalars = self._scalars([relation for relation in parameters.relations if relation.before_point])
        point = self._challenger.scalars("cube-point", layout.variables)
        scalars |= self._scalars([relation for relation in parameters.relations if not relation.before_point])
        return RelationWeights(weights, point[: layout.row_variables], point[layout.row_variables :], scalars)

    def _absorb_sent(self, relation: Relation, values: Sent) -> None:
        if relation.combinations:
            self._challenger.absorb("combinations", encode_residues(values.combinations))
        if relation.quotients.count:
            self._challenger.absorb("quotients", encode_integers(relation.quotients.width, values.quotients))

    def _scalars(self, relations: Sequence[Relation]) -> dict[str, list[int]]:
        """By relation; neighbours with one label draw together, those without a scalar not at all."""
        found = {relation.name: list[int]() for relation in relations}
        drawing = [relation for relation in relations if relation.scalars]
        for label, group in groupby(drawing, key=lambda relation: relation.label):
            members = list(group)
            flat = iter(self._challenger.scalars(label, sum(member.scalars for member in members)))
            found |= {member.name: list(islice(flat, member.scalars)) for member in members}
        return found

    def claim(self, claim: int) -> None:
        """Absorbs the masked sum."""
        self._challenger.absorb("claim", encode_scalars([claim]))

    def round_challenge(self, coefficients: Sequence[int]) -> int:
        """Absorbs a round's coefficients as sent; draws r_i."""
        self._challenger.absorb("round", encode_scalars(coefficients))
        return self._challenger.scalar("round-challenge")

    def opening_weights(self, evaluations: Sequence[int]) -> OpeningWeights:
        """Absorbs the w_b; draws the weights of the tables, and of all linear relations but the first."""
        self._challenger.absorb("evaluations", encode_scalars(evaluations))
        count = 3 + len(self._parameters.layout.apart)
        return OpeningWeights(*self._challenger.scalars("opening-weights", count))

    def opening_challenge(self, first: Announcements) -> int:
        """Absorbs the first messages; draws c."""
        self._challenger.absorb("table-announcement", first.table)
        self._challenger.absorb("auxiliary-announcement", first.auxiliary)
        if self._parameters.layout.apart:
            self._challenger.absorb("update-announcement", first.update)
            self._challenger.absorb("share-announcement", first.share)
        self._challenger.absorb("form-announcement", encode_scalars([first.form]))
        return self._challenger.scalar("opening-challenge")

    def vector_weight(self, blindings: Sequence[int], crossed: Sequence[int]) -> int:
        """Absorbs the responses for blindings, and the values across; draws mu."""
        self._challenger.absorb("blinding-responses", encode_scalars(blindings))
        self._challenger.absorb("cross-values", encode_scalars(crossed))
        return self._challenger.scalar("vector-weight")

    def fold_challenge(self, fold: Fold) -> int:
        """Absorbs what was sent for a fold; draws phi_j."""
        self._challenger.absorb("fold-commitments", fold.even + fold.odd)
        self._challenger.absorb("fold-values", encode_scalars([fold.even_value, fold.odd_value]))
        return self._challenger.scalar("fold-challenge")
