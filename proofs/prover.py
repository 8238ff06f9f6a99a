"""The prover of the short-vector argument (spec 5.5 to 5.9). The letters are those of the specification.

D commitments, V tables, y and y' masks of projections and quotients, p pads, g mask polynomial, A = Com(y, y', p, g),
z = y + s^T V t, v'_b = v_b + p_b x_0 (1 - x_0), r the final point, w_b = v'_b(r), t the combination of rows at r.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.encryption import EncryptionStatement, check_statement
from proofs.engine import Block, Engine, Projection
from proofs.errors import Malformed, Misuse
from proofs.layout import ERROR, KEY, UPDATE
from proofs.opening import draw_openings
from proofs.parameters import ArgumentParameters
from proofs.polynomials import add, dot
from proofs.proof import Proof
from proofs.randomness import Randomness, symmetric, uniform_scalar, uniform_scalars
from proofs.relations import (
    EncryptionRelation,
    FinalPoint,
    cell_forms,
    combine,
    combined_ciphertext,
    key_form,
    linear_form,
    padding_form,
    public_sum,
    range_form,
)
from proofs.sumcheck import FoldedForm, MaskRounds, SumcheckTask, folded_form, run_sumcheck
from proofs.transcript import ArgumentTranscript, Commitments, ProjectionSigns, RelationWeights
from proofs.witness import CommittedUpdate, packed_key

_ATTEMPTS = 16  # each fails with probability below 2^-19 for tables within their bounds


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Encrypted:
    """What the prover adds for the proof of encryption: the public part, and the blinding of E_0. Secret.

    E_0 commits to the packed key followed by the blindings of the data rows.
    """

    statement: EncryptionStatement
    share_blinding: int


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Auxiliary:
    """What A commits to, drawn afresh for every attempt. Secret."""

    masks: tuple[int, ...]  # y, k integers in [-M, M]
    quotient_masks: tuple[int, ...]  # y', S integers in [-M', M']
    pads: tuple[int, ...]  # p_b
    constant: int  # g_0
    mask_rounds: tuple[tuple[int, ...], ...]  # per round the coefficients of x, x^2, ... of the mask
    blinding: int

    def vector(self) -> list[int]:
        """The committed scalars in order."""
        masks = [y % ORDER for y in (*self.masks, *self.quotient_masks)]
        return [*masks, *self.pads, self.constant, *(c for coefficients in self.mask_rounds for c in coefficients)]


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Projected:
    """A finished first stage: masks committed, signs drawn, projections and quotients computed, in range or not."""

    auxiliary: Auxiliary
    commitment: bytes  # A
    transcript: ArgumentTranscript
    signs: ProjectionSigns
    projection: Projection
    projections: tuple[int, ...]  # z
    relation: EncryptionRelation | None
    combinations: tuple[int, ...]  # Y
    quotients: tuple[int, ...]  # z'
    cell_products: tuple[list[int], ...]  # for every combination, sum_c c_s(c) (u + T e)(r, c) modulo ORDER
    divisible: bool  # whether every quotient is exact: the ciphertext is what was committed


@dataclass(frozen=True)
class Summed:
    """A finished sumcheck."""

    claim: int
    rounds: tuple[tuple[int, ...], ...]
    point: tuple[int, ...]
    evaluations: tuple[int, ...]


def prove(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    context: bytes,
    rand: Randomness,
    encrypted: Encrypted | None = None,
) -> bytes:
    """A proof of parameters.proof_size bytes that the committed tables satisfy all relations in force.

    context: any bytes; the proof is a signature of knowledge on them, so they must name everything it should not be
    moved away from. Raises Misuse if the tables do not fit the parameters, the ciphertext is not the encryption of the
    update under the committed key and errors, or the tables are beyond their bounds so plainly that the projections
    betray it. Proving twice over one commitment leaks nothing, as all masks are fresh.
    """
    _check_tables(parameters, committed, encrypted)
    for _ in range(_ATTEMPTS):
        projected = project(engine, parameters, committed, context, rand, encrypted)
        if not projected.divisible:
            raise Misuse("ciphertext: expected the encryption of the committed update, found another")
        if in_range(parameters, projected):
            return complete(engine, parameters, committed, projected, rand, encrypted).encode(parameters)
    raise Misuse(f"committed update: expected norm at most B = {parameters.norm_bound}, found projections far beyond")


def _check_tables(parameters: ArgumentParameters, committed: CommittedUpdate, encrypted: Encrypted | None) -> None:
    layout = parameters.layout
    expected = [(table.rows, table.columns) for table in layout.tables]
    found = [table.shape for table in committed.tables]
    if found != expected or len(committed.row_blindings) != layout.total_rows:
        raise Misuse(f"committed update: expected tables {expected}, found {found}")
    if (encrypted is None) != (parameters.encryption is None):
        raise Misuse("encryption: expected what was encrypted where a proof of encryption is in force, and only there")
    if encrypted is not None and parameters.encryption is not None:
        if encrypted.statement.ciphertext is None:
            raise Misuse("encryption: expected the ciphertext, found its hash alone")
        try:
            check_statement(parameters.encryption, parameters.shape.data_cells, encrypted.statement)
        except Malformed as failure:
            raise Misuse(f"encryption: {failure}") from failure


def in_range(parameters: ArgumentParameters, projected: Projected) -> bool:
    """Whether projections and quotients can be sent: |z| <= Z and |z'| <= Z'."""
    return all(abs(z) <= parameters.response_bound for z in projected.projections) and all(
        abs(z) <= parameters.quotient_bound for z in projected.quotients
    )


def draw_auxiliary(parameters: ArgumentParameters, rand: Randomness) -> Auxiliary:
    """Uniform masks, pads, mask polynomial and blinding."""
    return Auxiliary(
        masks=tuple(symmetric(rand, parameters.mask_bound) for _ in range(parameters.projections)),
        quotient_masks=tuple(symmetric(rand, parameters.quotient_mask_bound) for _ in range(parameters.quotients)),
        pads=tuple(uniform_scalars(rand, len(parameters.layout.tables))),
        constant=uniform_scalar(rand),
        mask_rounds=tuple(tuple(uniform_scalars(rand, degree)) for degree in parameters.round_degrees),
        blinding=uniform_scalar(rand),
    )


def project(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    context: bytes,
    rand: Randomness,
    encrypted: Encrypted | None = None,
) -> Projected:
    """First stage: A, then s and t, then z_j = y_j + s_j^T V t_j over the integers, and the masked quotients."""
    auxiliary = draw_auxiliary(parameters, rand)
    commitment = engine.commit(auxiliary.vector(), auxiliary.blinding)
    statement = encrypted.statement if encrypted is not None else None
    transcript = ArgumentTranscript(parameters, context, statement)
    rows = (committed.commitments, committed.range_commitments, committed.encryption_commitments)
    signs = transcript.projection_signs(Commitments(*rows, commitment))
    projection = engine.project(_blocks(parameters, committed, signs), signs.columns)
    products = zip(auxiliary.masks, projection.values(), strict=True)
    relation, quotients, cell_products, divisible = None, list[int](), list[list[int]](), True
    combinations: tuple[int, ...] = ()
    if statement is not None:
        relation = combine(engine, parameters, transcript.cell_weights(), statement)
    if relation is not None and statement is not None and statement.ciphertext is not None:
        combinations = combined_ciphertext(engine, parameters, relation, statement.ciphertext)
        cell_products = _cell_products(engine, parameters, committed, relation)
        exact = [
            divmod(numerator - value, relation.lattice.modulus)
            for numerator, value in zip(
                _numerators(parameters, committed, relation, cell_products), combinations, strict=True
            )
        ]
        quotients = [y + quotient for y, (quotient, _) in zip(auxiliary.quotient_masks, exact, strict=True)]
        divisible = not any(remainder for _, remainder in exact)
    return Projected(
        auxiliary=auxiliary,
        commitment=commitment,
        transcript=transcript,
        signs=signs,
        projection=projection,
        projections=tuple(y + product for y, product in products),
        relation=relation,
        combinations=combinations,
        quotients=tuple(quotients),
        cell_products=tuple(cell_products),
        divisible=divisible,
    )


def _blocks(parameters: ArgumentParameters, committed: CommittedUpdate, signs: ProjectionSigns) -> list[Block]:
    layout = parameters.layout
    return [
        Block(table, row_signs, place.plain, None if place.weights is None else layout.classes.index(place.weights))
        for table, row_signs, place in zip(committed.tables, signs.of_tables(layout), layout.tables, strict=True)
    ]


def _cell_products(
    engine: Engine, parameters: ArgumentParameters, committed: CommittedUpdate, relation: EncryptionRelation
) -> list[list[int]]:
    """sum_c c_s(c) (u + T e)(r, c) for every s and every data row."""
    update, error = (committed.tables[parameters.layout.index(name)] for name in (UPDATE, ERROR))
    found = []
    for weights in relation.cells.columns.tolist():
        errors = engine.weighted_rows(error, weights)
        messages = engine.weighted_rows(update, weights)
        found.append(add(messages, [relation.lattice.plaintext_scale * value for value in errors]))
    return found


def _numerators(
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    relation: EncryptionRelation,
    cell_products: Sequence[Sequence[int]],
) -> list[int]:
    """Every combination of u + T e + a k as an integer: below ORDER / 2 in magnitude, by the parameters' bounds."""
    key = [int(value) for value in committed.tables[parameters.layout.index(KEY)].reshape(-1)]
    found = []
    for products, weights, form in zip(cell_products, relation.cells.rows.tolist(), relation.key.tolist(), strict=True):
        messages = sum(weight * _centred(product) for weight, product in zip(weights, products, strict=True))
        found.append(messages + sum(x * y for x, y in zip(form, key, strict=True)))
    return found


def _centred(value: int) -> int:
    return value - ORDER if 2 * value > ORDER else value


def complete(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    projected: Projected,
    rand: Randomness,
    encrypted: Encrypted | None = None,
) -> Proof:
    """Everything after the projections: sumcheck, then the opening of what is linear."""
    weights = projected.transcript.relation_weights(projected.projections, projected.combinations, projected.quotients)
    summed = _sum(engine, parameters, committed, projected, weights)
    return _open(engine, parameters, committed, projected, weights, summed, rand, encrypted)


def _sum(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    projected: Projected,
    weights: RelationWeights,
) -> Summed:
    """The sumcheck, masked round by round."""
    masks = MaskRounds(parameters.layout.variables, projected.auxiliary.constant, projected.auxiliary.mask_rounds)
    claim = (_claim(parameters, committed, projected, weights) + masks.total()) % ORDER
    projected.transcript.claim(claim)
    rounds: list[tuple[int, ...]] = []
    point: list[int] = []

    def send(relation: list[int]) -> int:
        """Mask a round's polynomial, send all of it but the linear coefficient, and receive the challenge."""
        polynomial = add(relation, masks.polynomial())
        sent = (polynomial[0], *polynomial[2:])
        challenge = projected.transcript.round_challenge(sent)
        masks.bind(challenge)
        rounds.append(sent)
        point.append(challenge)
        return challenge

    evaluations = run_sumcheck(_task(engine, parameters, committed, projected, weights), send)
    return Summed(claim, tuple(rounds), tuple(point), tuple(evaluations))


def _claim(
    parameters: ArgumentParameters, committed: CommittedUpdate, projected: Projected, weights: RelationWeights
) -> int:
    """What the sum over the cube is by the relations, without the mask."""
    auxiliary = projected.auxiliary
    products = [z - y for z, y in zip(projected.projections, auxiliary.masks, strict=True)]
    claim = public_sum(parameters, weights) + dot(weights.projections, products)
    if projected.relation is not None:
        values = zip(projected.quotients, auxiliary.quotient_masks, projected.combinations, strict=True)
        modulus = projected.relation.lattice.modulus
        claim += dot(weights.quotients, [value + modulus * (z - y) for z, y, value in values])
        scalars = packed_key(committed.tables[parameters.layout.index(KEY)])
        claim += weights.packing * sum(pow(weights.packing_base, s, ORDER) * x for s, x in enumerate(scalars))
    return claim % ORDER


def _task(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    projected: Projected,
    weights: RelationWeights,
) -> SumcheckTask:
    forms = []
    if parameters.shape.filled_columns < parameters.shape.columns:
        forms.append(folded_form(engine, padding_form(parameters, weights), committed.tables))
    if parameters.segments:
        forms.append(folded_form(engine, range_form(parameters, weights), committed.tables))
    if projected.relation is not None:
        cells = cell_forms(parameters, weights, projected.relation)
        known = zip(cells, projected.cell_products, strict=True)
        forms += [FoldedForm(form, list(form.left), products) for form, products in known]
    return SumcheckTask(
        engine=engine,
        parameters=parameters,
        tables=committed.tables,
        projection=projected.projection,
        signs=projected.signs,
        weights=weights,
        forms=forms,
        key_form=key_form(weights, projected.relation) if projected.relation is not None else [],
        pads=projected.auxiliary.pads,
    )


def _open(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    projected: Projected,
    weights: RelationWeights,
    summed: Summed,
    rand: Randomness,
    encrypted: Encrypted | None,
) -> Proof:
    """Schnorr's proof that rows, A and E_0 open to vectors on which the linear form has its value (spec 5.9)."""
    transcript = projected.transcript
    weights_of_opening = transcript.opening_weights(summed.evaluations)
    final = FinalPoint.of(parameters, summed.point)
    form = linear_form(parameters, weights, final, weights_of_opening)
    auxiliary = [*projected.auxiliary.vector(), projected.auxiliary.blinding]
    blinding = encrypted.share_blinding if encrypted is not None else None
    eta = weights_of_opening.tables
    openings = draw_openings(engine, parameters, committed, auxiliary, blinding, final, eta, rand)
    announced = openings.announce(engine, form)
    challenge = transcript.opening_challenge(announced)
    table, hidden = openings.table.respond(challenge), openings.auxiliary.respond(challenge)
    share = openings.share.respond(challenge) if openings.share is not None else ()
    return Proof(
        auxiliary=projected.commitment,
        projections=projected.projections,
        combinations=projected.combinations,
        quotients=projected.quotients,
        claim=summed.claim,
        rounds=summed.rounds,
        evaluations=summed.evaluations,
        table_announcement=announced.table,
        auxiliary_announcement=announced.auxiliary,
        update_announcement=announced.update,
        share_announcement=announced.share,
        form_announcement=announced.form,
        table_response=table[:-1],
        table_blinding_response=table[-1],
        auxiliary_response=hidden[:-1],
        auxiliary_blinding_response=hidden[-1],
        update_response=openings.respond_update(challenge),
        share_response=share[:-1],
        share_blinding_response=share[-1] if share else None,
    )
