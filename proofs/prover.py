"""The prover of the short-vector argument (spec 5.5 to 5.9). The letters are those of the specification.

D commitments, V tables, y and y' masks of projections and quotients, p pads, g mask polynomial, A = Com(y, y', p, g),
z = y + s^T V t, v'_b = v_b + p_b x_0 (1 - x_0), r the final point, w_b = v'_b(r), t the combination of rows at r.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.encryption import EncryptionStatement
from proofs.engine import Block, Engine, Projection
from proofs.errors import Malformed, Misuse
from proofs.linear_form import linear_form
from proofs.opening import Folded, draw_openings, fold_responses
from proofs.parameters import ArgumentParameters
from proofs.polynomials import add, dot
from proofs.privacy_noise import NoiseSigns
from proofs.proof import Announcements, Proof
from proofs.quotients import RowProducts, exact_values
from proofs.randomness import Randomness, symmetric, uniform_scalar, uniform_scalars
from proofs.relations.relation import Drawn
from proofs.relations.terms import FinalPoint, JoinedTerms
from proofs.sumcheck import MaskRounds, SumcheckTask, run_sumcheck
from proofs.transcript import ArgumentTranscript, ProjectionSigns, RelationWeights
from proofs.witness import CommittedUpdate, shared_scalars

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
    drawn: tuple[Drawn, ...]  # every relation with its first challenges
    combinations: tuple[int, ...]  # Y
    quotients: tuple[int, ...]  # z'
    rows: RowProducts
    noise_signs: NoiseSigns | None
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
    bound = parameters.weight * parameters.norm_bound
    raise Misuse(f"committed update: expected norm at most {bound}, found projections far beyond")


def _check_tables(parameters: ArgumentParameters, committed: CommittedUpdate, encrypted: Encrypted | None) -> None:
    layout = parameters.layout
    expected = [(table.rows, table.columns) for table in layout.tables]
    found = [table.shape for table in committed.tables]
    if found != expected or len(committed.row_blindings) != layout.total_rows:
        raise Misuse(f"committed update: expected tables {expected}, found {found}")
    if (committed.signs is None) != (parameters.privacy_noise is None):
        raise Misuse("committed update: expected signs where noise for privacy is in force, and only there")
    if (encrypted is None) != (parameters.encryption is None):
        raise Misuse("encryption: expected what was encrypted where a proof of encryption is in force, and only there")
    if encrypted is not None and encrypted.statement.ciphertext is None:
        raise Misuse("encryption: expected the ciphertext, found its hash alone")
    try:
        for relation in parameters.relations:
            relation.check_statement(statements_of(encrypted))
    except Malformed as failure:
        raise Misuse(f"encryption: {failure}") from failure


def statements_of(encrypted: Encrypted | None) -> tuple[EncryptionStatement, ...]:
    """What is stated beside the rows."""
    return () if encrypted is None else (encrypted.statement,)


def in_range(parameters: ArgumentParameters, projected: Projected) -> bool:
    """Whether projections and quotients can be sent: |z| <= Z and |z'| <= Z'."""
    sent = parameters.sent(projected.combinations, projected.quotients)
    bounds = [relation.quotients.bound for relation in parameters.relations]
    return all(abs(z) <= parameters.response_bound for z in projected.projections) and all(
        abs(z) <= bound for each, bound in zip(sent, bounds, strict=True) for z in each.quotients
    )


def draw_auxiliary(parameters: ArgumentParameters, rand: Randomness) -> Auxiliary:
    """Uniform masks, pads, mask polynomial and blinding."""
    return Auxiliary(
        masks=tuple(symmetric(rand, parameters.mask_bound) for _ in range(parameters.projections)),
        quotient_masks=tuple(
            symmetric(rand, each.mask_bound) for each in parameters.quotients for _ in range(each.count)
        ),
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
    transcript = ArgumentTranscript(parameters, context, statements_of(encrypted), committed.signs)
    signs = transcript.projection_signs(committed.rows, commitment)
    projection = engine.project(_blocks(parameters, committed, signs), signs.columns)
    products = zip(auxiliary.masks, projection.values(), strict=True)
    drawn, rows = transcript.draw(engine), RowProducts(engine, parameters.layout, committed.tables)
    exact = [exact_values(each, rows, statements_of(encrypted)) for each in drawn]
    quotients = (quotient for each in exact for quotient in each.quotients)
    return Projected(
        auxiliary=auxiliary,
        commitment=commitment,
        transcript=transcript,
        signs=signs,
        projection=projection,
        projections=tuple(y + product for y, product in products),
        drawn=tuple(drawn),
        combinations=tuple(value for each in exact for value in each.combinations),
        quotients=tuple(y + quotient for y, quotient in zip(auxiliary.quotient_masks, quotients, strict=True)),
        rows=rows,
        noise_signs=committed.signs,
        divisible=all(each.divisible for each in exact),
    )


def _blocks(parameters: ArgumentParameters, committed: CommittedUpdate, signs: ProjectionSigns) -> list[Block]:
    layout = parameters.layout
    return [
        Block(table, row_signs, place.plain, None if place.weights is None else layout.classes.index(place.weights))
        for table, row_signs, place in zip(committed.tables, signs.of_tables(layout), layout.tables, strict=True)
    ]


def complete(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    projected: Projected,
    rand: Randomness,
    encrypted: Encrypted | None = None,
) -> Proof:
    """Everything after the projections: sumcheck, then the opening of what is linear."""
    sent = parameters.sent(projected.combinations, projected.quotients)
    weights = projected.transcript.relation_weights(projected.projections, sent)
    parts = zip(parameters.relations, projected.drawn, sent, strict=True)
    terms = JoinedTerms.of(drawn.terms(weights.of(relation), values) for relation, drawn, values in parts)
    share = [*shared_scalars(parameters, committed), *((encrypted.share_blinding,) if encrypted is not None else ())]
    summed = _sum(engine, parameters, projected, weights, terms, share)
    return _open(engine, parameters, committed, projected, weights, terms, summed, rand, share)


def _sum(
    engine: Engine,
    parameters: ArgumentParameters,
    projected: Projected,
    weights: RelationWeights,
    terms: JoinedTerms,
    share: Sequence[int],
) -> Summed:
    """The sumcheck, masked round by round."""
    masks = MaskRounds(parameters.layout.variables, projected.auxiliary.constant, projected.auxiliary.mask_rounds)
    claim = (_claim(projected.auxiliary, projected.projections, weights, terms, share) + masks.total()) % ORDER
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

    evaluations = run_sumcheck(_task(engine, parameters, projected, weights, terms), send)
    return Summed(claim, tuple(rounds), tuple(point), tuple(evaluations))


def _claim(
    auxiliary: Auxiliary, projections: Sequence[int], weights: RelationWeights, terms: JoinedTerms, share: Sequence[int]
) -> int:
    """What the sum over the cube is by the relations, without the mask."""
    products = [z - y for z, y in zip(projections, auxiliary.masks, strict=True)]
    claim = terms.total + dot(weights.projections, products) + dot(terms.masks, auxiliary.quotient_masks)
    return (claim + dot(terms.shared, share[: len(terms.shared)])) % ORDER


def _task(
    engine: Engine,
    parameters: ArgumentParameters,
    projected: Projected,
    weights: RelationWeights,
    terms: JoinedTerms,
) -> SumcheckTask:
    return SumcheckTask(
        engine=engine,
        parameters=parameters,
        rows=projected.rows,
        projection=projected.projection,
        signs=projected.signs,
        weights=weights,
        terms=terms,
        pads=projected.auxiliary.pads,
        noise_signs=projected.noise_signs,
    )


def _open(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    projected: Projected,
    weights: RelationWeights,
    terms: JoinedTerms,
    summed: Summed,
    rand: Randomness,
    share: Sequence[int],
) -> Proof:
    """The proof that rows, A and E_0 open to vectors on which the linear form has its value (spec 5.9)."""
    transcript = projected.transcript
    weights_of_opening = transcript.opening_weights(summed.evaluations)
    final = FinalPoint.of(parameters.layout.row_variables, summed.point)
    form = linear_form(parameters, weights.projections, terms, final, weights_of_opening)
    auxiliary = [*projected.auxiliary.vector(), projected.auxiliary.blinding]
    eta = weights_of_opening.tables
    openings = draw_openings(engine, parameters, committed, auxiliary, share, final, eta, rand)
    announced = openings.announce(engine, form)
    challenge = transcript.opening_challenge(announced)
    folded = fold_responses(engine, transcript, form, openings.respond(challenge), parameters.folded.last)
    return _sent(projected, summed, announced, folded)


def _sent(projected: Projected, summed: Summed, announced: Announcements, folded: Folded) -> Proof:
    table, auxiliary, *apart = folded.blindings
    update, share = apart or (None, None)
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
        table_blinding_response=table,
        auxiliary_blinding_response=auxiliary,
        update_blinding_response=update,
        share_blinding_response=share,
        cross_values=folded.crossed,
        folds=folded.folds,
        response=folded.response,
    )
