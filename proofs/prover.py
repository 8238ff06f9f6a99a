"""The prover of the short-vector argument (spec 5.5 to 5.8). The letters are those of the specification.

D commitments, V table, y projection masks, p pad, g mask polynomial, A = Com(y, p, g), z = y + s^T V t,
v' = v + p x_0 (1 - x_0), r the final point, w = v'(r), t the row combination at r.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proofs.curve import ORDER
from proofs.engine import Engine, RoundSums, Table
from proofs.errors import Misuse
from proofs.parameters import ArgumentParameters
from proofs.polynomials import (
    add,
    dot,
    eq_index,
    eq_table,
    evaluate,
    fold,
    line,
    line_of_sums,
    multiply,
    quadratic,
    scale,
)
from proofs.proof import Proof
from proofs.randomness import Randomness, symmetric, uniform_scalar, uniform_scalars
from proofs.relations import linear_form, padding_columns
from proofs.transcript import ArgumentTranscript, ProjectionSigns, RelationWeights
from proofs.witness import CommittedUpdate

_ATTEMPTS = 16  # each fails with probability below 2^-20 for a table within the bound
_BLOCK_ROWS = 512
_HALF = pow(2, -1, ORDER)


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Auxiliary:
    """What A commits to, drawn afresh for every attempt. Secret."""

    masks: tuple[int, ...]  # y, k integers in [-M, M]
    pad: int  # p
    constant: int  # g_0
    mask_rounds: tuple[tuple[int, ...], ...]  # per round the coefficients of x, x^2, ... of the mask
    blinding: int

    def vector(self) -> list[int]:
        """The committed scalars in order."""
        masks = [y % ORDER for y in self.masks]
        return [*masks, self.pad, self.constant, *(c for coefficients in self.mask_rounds for c in coefficients)]


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Projected:
    """A finished first stage: masks committed, signs drawn, projections computed and within [-Z, Z] or not."""

    auxiliary: Auxiliary
    commitment: bytes  # A
    transcript: ArgumentTranscript
    signs: ProjectionSigns
    projections: tuple[int, ...]  # z


@dataclass(frozen=True)
class Summed:
    """A finished sumcheck."""

    claim: int
    rounds: tuple[tuple[int, ...], ...]
    point: tuple[int, ...]
    evaluation: int


def prove(
    engine: Engine, parameters: ArgumentParameters, committed: CommittedUpdate, context: bytes, rand: Randomness
) -> bytes:
    """A proof of parameters.proof_size bytes that the committed update has norm at most B and zero padding.

    context: any bytes; the proof is a signature of knowledge on them, so they must name everything it should not be
    moved away from. Raises Misuse if the table does not fit the parameters, or is not within the bound so plainly
    that the projections betray it. Proving twice over one commitment leaks nothing, as all masks are fresh.
    """
    shape = parameters.shape
    if committed.table.shape != (shape.rows, shape.columns) or len(committed.blindings) != shape.rows:
        raise Misuse(f"committed update: expected a table {(shape.rows, shape.columns)}, found {committed.table.shape}")
    for _ in range(_ATTEMPTS):
        projected = project(engine, parameters, committed, context, rand)
        if all(abs(z) <= parameters.response_bound for z in projected.projections):
            return complete(engine, parameters, committed, projected, rand).encode(parameters)
    raise Misuse(f"committed update: expected norm at most B = {parameters.norm_bound}, found projections far beyond")


def draw_auxiliary(parameters: ArgumentParameters, rand: Randomness) -> Auxiliary:
    """Uniform masks, pad, mask polynomial and blinding."""
    return Auxiliary(
        masks=tuple(symmetric(rand, parameters.mask_bound) for _ in range(parameters.projections)),
        pad=uniform_scalar(rand),
        constant=uniform_scalar(rand),
        mask_rounds=tuple(tuple(uniform_scalars(rand, degree)) for degree in parameters.round_degrees),
        blinding=uniform_scalar(rand),
    )


def project(
    engine: Engine, parameters: ArgumentParameters, committed: CommittedUpdate, context: bytes, rand: Randomness
) -> Projected:
    """First stage: A, then s and t, then z_j = y_j + s_j^T V t_j over the integers."""
    auxiliary = draw_auxiliary(parameters, rand)
    commitment = engine.commit(auxiliary.vector(), auxiliary.blinding)
    transcript = ArgumentTranscript(parameters, context)
    signs = transcript.projection_signs(committed.commitments, commitment)
    products = projections_of(committed.table, signs)
    projections = tuple(y + product for y, product in zip(auxiliary.masks, products, strict=True))
    return Projected(auxiliary, commitment, transcript, signs, projections)


def projections_of(table: Table, signs: ProjectionSigns) -> list[int]:
    """s_j^T V t_j for every j, exact for a table of norm at most 2^40 and at most 2^16 + 1 rows and columns.

    The double-precision product is exact: each of its partial sums is an integer of magnitude at most
    sqrt(R) B < 2^49, in whatever order they are formed. The sums over columns are at most sqrt(R C) B < 2^57.
    """
    combined = np.zeros((len(signs.rows), table.shape[1]))
    for start in range(0, len(table), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        combined += signs.rows[:, block].astype(np.float64) @ table[block].astype(np.float64)
    products = (combined.astype(np.int64) * signs.columns).sum(axis=1)
    return [int(product) for product in products]


def complete(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    projected: Projected,
    rand: Randomness,
) -> Proof:
    """Everything after the projections: sumcheck, then the opening of what is linear."""
    weights = projected.transcript.relation_weights(projected.projections)
    summed = _Sumcheck(engine, parameters, committed.table, projected, weights).run()
    return _open(engine, parameters, committed, projected, weights, summed, rand)


class _Sumcheck:
    """The rounds: rows through the engine, columns as lists of C scalars and fewer."""

    def __init__(
        self,
        engine: Engine,
        parameters: ArgumentParameters,
        table: Table,
        projected: Projected,
        weights: RelationWeights,
    ) -> None:
        self._engine = engine
        self._parameters = parameters
        self._table = table
        self._projected = projected
        self._weights = weights
        self._padding = padding_columns(parameters, weights)
        self._masks = _MaskRounds(parameters, projected.auxiliary)
        self._rounds: list[tuple[int, ...]] = []
        self._point: list[int] = []

    def run(self) -> Summed:
        claim = self._claim()
        self._projected.transcript.claim(claim)
        row, pad = self._row_rounds()
        linear = self._linear_row()
        table = [(value + pad) % ORDER for value in row]
        for _ in range(self._parameters.shape.column_variables):
            challenge = self._send(_column_round(table, linear))
            table, linear = fold(table, challenge), fold(linear, challenge)
        return Summed(claim, tuple(self._rounds), tuple(self._point), table[0])

    def _claim(self) -> int:
        """B^2 + <rho, z - y> + the mask's sum over the cube."""
        masks = self._projected.auxiliary.masks
        products = [z - y for z, y in zip(self._projected.projections, masks, strict=True)]
        return (self._parameters.norm_bound**2 + dot(self._weights.projections, products) + self._masks.total()) % ORDER

    def _send(self, relation: Sequence[int]) -> int:
        """Mask a round's polynomial, send all of it but the linear coefficient, and receive the challenge."""
        polynomial = add(relation, self._masks.polynomial())
        sent = (polynomial[0], *polynomial[2:])
        challenge = self._projected.transcript.round_challenge(sent)
        self._masks.bind(challenge)
        self._rounds.append(sent)
        self._point.append(challenge)
        return challenge

    def _row_rounds(self) -> tuple[list[int], int]:
        """The row left after the row rounds, and the pad's value there."""
        shape, signs = self._parameters.shape, self._projected.signs
        left = [0] * shape.rows
        left[shape.data_rows - 1] = 1
        sumcheck = self._engine.row_sumcheck(
            self._table, signs.rows, signs.columns, self._weights.projections, left, self._padding
        )
        totals = self._linear_totals()
        pad = [0, self._projected.auxiliary.pad, -self._projected.auxiliary.pad]
        for i in range(shape.row_variables):
            rest = pow(2, shape.variables - 1 - i, ORDER)
            challenge = self._send(_row_round(sumcheck.sums(), line_of_sums(totals), pad, rest))
            sumcheck.bind(challenge)
            totals, pad = fold(totals, challenge), [evaluate(pad, challenge)]
        return sumcheck.row(), pad[0]

    def _linear_totals(self) -> list[int]:
        """sum_c a(r, c) for every row r: what the pad multiplies in the linear form."""
        signs = self._projected.signs
        sums = signs.columns.sum(axis=1, dtype=np.int64)
        scaled = [rho * int(s) % ORDER for rho, s in zip(self._weights.projections, sums, strict=True)]
        totals = self._engine.ternary_combination(signs.rows, scaled)
        totals[self._parameters.shape.data_rows - 1] += sum(self._padding)
        return totals

    def _linear_row(self) -> list[int]:
        """a(r_rows, c) for every column c."""
        shape, signs = self._parameters.shape, self._projected.signs
        point = self._point[: shape.row_variables]
        products = self._engine.ternary_products(signs.rows, eq_table(point)[: shape.rows])
        scaled = [rho * x % ORDER for rho, x in zip(self._weights.projections, products, strict=True)]
        last = eq_index(point, shape.data_rows - 1)
        return add(self._engine.ternary_combination(signs.columns, scaled), scale(self._padding, last))


class _MaskRounds:
    """The mask's part of every round: sum over the variables still free of g_0 + sum_i g_i(x_i)."""

    def __init__(self, parameters: ArgumentParameters, auxiliary: Auxiliary) -> None:
        self._rounds = [[0, *coefficients] for coefficients in auxiliary.mask_rounds]
        self._variables = parameters.shape.variables
        self._bound = auxiliary.constant  # g_0 + sum over bound variables of g_i(r_i)
        self._index = 0

    def total(self) -> int:
        """Over the whole cube."""
        halves = sum(sum(coefficients) for coefficients in self._rounds)
        return pow(2, self._variables - 1, ORDER) * (2 * self._bound + halves) % ORDER

    def polynomial(self) -> list[int]:
        """In the current variable."""
        rest = pow(2, self._variables - 1 - self._index, ORDER)
        later = sum(sum(coefficients) for coefficients in self._rounds[self._index + 1 :])
        constant = self._bound + later * _HALF
        return scale(add(self._rounds[self._index], [constant]), rest)

    def bind(self, challenge: int) -> None:
        self._bound += evaluate(self._rounds[self._index], challenge)
        self._index += 1


def _row_round(sums: RoundSums, linear: Sequence[int], pad: Sequence[int], rest: int) -> list[int]:
    """sum of (v + pad)^2 + a (v + pad), where pad depends on the current variable only; `rest` points are left."""
    unpadded = add(quadratic(*sums.square), quadratic(*sums.cross))
    slope = add(scale(line(*sums.total), 2), linear, scale(pad, rest))
    return add(unpadded, multiply(pad, slope))


def _column_round(table: Sequence[int], linear: Sequence[int]) -> list[int]:
    """sum of v' (v' + a), from its values at 0, 1 and 2."""
    joined = [(v + a) % ORDER for v, a in zip(table, linear, strict=True)]
    values = [dot(_at(table, x), _at(joined, x)) for x in range(3)]
    return quadratic(values[0], values[1], values[2])


def _at(table: Sequence[int], x: int) -> list[int]:
    """Variable 0 set to a small x."""
    return [even + x * (odd - even) for even, odd in zip(table[0::2], table[1::2], strict=True)]


def _open(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    projected: Projected,
    weights: RelationWeights,
    summed: Summed,
    rand: Randomness,
) -> Proof:
    """Schnorr's proof that t and A open to vectors on which the linear form has its value (spec 5.8)."""
    shape, transcript = parameters.shape, projected.transcript
    form = linear_form(parameters, weights, summed.point, transcript.opening_weights(summed.evaluation))
    rows = eq_table(summed.point[: shape.row_variables])[: shape.rows]
    table = _Masked([*engine.weighted_columns(committed.table, rows), dot(rows, committed.blindings)], rand)
    auxiliary = _Masked([*projected.auxiliary.vector(), projected.auxiliary.blinding], rand)
    table_announcement = engine.commit(table.mask[:-1], table.mask[-1])
    auxiliary_announcement = engine.commit(auxiliary.mask[:-1], auxiliary.mask[-1])
    form_announcement = form.at(table.mask[:-1], auxiliary.mask[:-1])
    challenge = transcript.opening_challenge(table_announcement, auxiliary_announcement, form_announcement)
    table_response, auxiliary_response = table.respond(challenge), auxiliary.respond(challenge)
    return Proof(
        auxiliary=projected.commitment,
        projections=projected.projections,
        claim=summed.claim,
        rounds=summed.rounds,
        evaluation=summed.evaluation,
        table_announcement=table_announcement,
        auxiliary_announcement=auxiliary_announcement,
        form_announcement=form_announcement,
        table_response=table_response[:-1],
        table_blinding_response=table_response[-1],
        auxiliary_response=auxiliary_response[:-1],
        auxiliary_blinding_response=auxiliary_response[-1],
    )


class _Masked:
    """Secret scalars with a fresh uniform mask, answered once."""

    def __init__(self, secret: Sequence[int], rand: Randomness) -> None:
        self._secret = secret
        self.mask = uniform_scalars(rand, len(secret))

    def respond(self, challenge: int) -> tuple[int, ...]:
        """challenge * secret + mask."""
        return tuple((challenge * s + m) % ORDER for s, m in zip(self._secret, self.mask, strict=True))
