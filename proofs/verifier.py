"""The verifier of the short-vector argument: one claim, or many with one multi-scalar multiplication (spec 5.9).

Total on hostile bytes: a claim is accepted, or Malformed or Rejected names the first check it fails. The checks, with
the numbers of the specification:

V1 lengths of commitments and proof            Malformed commitments-length, proof-length
V2 every scalar below the group order          Malformed scalar-range
V3 every point on the curve                    Malformed point-encoding
V4 every projection within [-Z, Z]             Rejected shortness
V5 challenges, rounds, final evaluation        (recomputed; they define what V6 to V8 compare)
V6 the linear form at the responses            Rejected linear-relation
V7 the row combination opens to them           Rejected table-opening
V8 the auxiliary commitment opens to them      Rejected auxiliary-opening
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from proofs.challenger import Challenger
from proofs.curve import ORDER
from proofs.domains import ARGUMENT_BATCH
from proofs.engine import Engine, Points
from proofs.errors import Malformed, Misuse, Rejected
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq_table, evaluate
from proofs.proof import Proof, decode_proof
from proofs.relations import linear_form, padding_at
from proofs.transcript import ArgumentTranscript, ProjectionSigns, RelationWeights, statement_bytes

Verdict = Malformed | Rejected | None


@dataclass(frozen=True)
class Claim:
    """What one client published: row commitments, proof, and the context the proof must have been made for.

    Bytes of any content and length; raises Misuse for anything that is not `bytes`.
    """

    commitments: bytes
    proof: bytes
    context: bytes

    def __post_init__(self) -> None:
        for field in fields(self):
            if type(getattr(self, field.name)) is not bytes:
                raise Misuse(f"{field.name}: expected bytes, found {type(getattr(self, field.name)).__name__}")


@dataclass(frozen=True)
class _Openings:
    """The two group equations left of one claim, over its points D_0 .. D_(R-1), A and the two announcements.

    (V7)  c sum_r eq(r_rows, r) D_r + T = Com(table response)      (V8)  c A + T' = Com(auxiliary response)
    """

    points: Points
    rows: list[int]  # c eq(r_rows, r)
    challenge: int  # c
    table: Sequence[int]
    table_blinding: int
    auxiliary: Sequence[int]
    auxiliary_blinding: int


def verify(engine: Engine, parameters: ArgumentParameters, claim: Claim) -> None:
    """Raises Malformed or Rejected, naming the first failed check of V1 to V8 in that order."""
    verdict = verify_batch(engine, parameters, [claim])[0]
    if verdict is not None:
        raise verdict


def verify_batch(engine: Engine, parameters: ArgumentParameters, claims: Sequence[Claim]) -> list[Verdict]:
    """One verdict per claim, the same as `verify` would give one by one; None accepts.

    V1 to V6 are checked claim by claim. V7 and V8 of all are checked in one random combination, with 128-bit weights
    from a hash of everything in the batch; where it fails, the batch is bisected down to the claims at fault.
    """
    verdicts: list[Verdict] = [None] * len(claims)
    pending: dict[int, _Openings] = {}
    for index, claim in enumerate(claims):
        try:
            pending[index] = _reduce(engine, parameters, claim)
        except (Malformed, Rejected) as failure:
            verdicts[index] = failure
    weights = _batch_weights(parameters, claims)
    _bisect(engine, pending, weights, list(pending), verdicts)
    return verdicts


def _reduce(engine: Engine, parameters: ArgumentParameters, claim: Claim) -> _Openings:
    """V1 to V6: what is left to check are two openings."""
    # V1, V2
    if len(claim.commitments) != parameters.commitments_size:
        expected = f"{parameters.commitments_size} bytes"
        raise Malformed("commitments-length", expected, f"{len(claim.commitments)} bytes")
    proof = decode_proof(parameters, claim.proof)
    # V3
    points = _decode_points(engine, claim, proof)
    # V4
    bound = parameters.response_bound
    for index, z in enumerate(proof.projections):
        if abs(z) > bound:
            raise Rejected("shortness", f"|z| <= {bound}", f"{z} at projection {index}")
    # V5
    transcript = ArgumentTranscript(parameters, claim.context)
    signs = transcript.projection_signs(claim.commitments, proof.auxiliary)
    weights = transcript.relation_weights(proof.projections)
    point, last = _replay_rounds(transcript, proof)
    opening = transcript.opening_weights(proof.evaluation)
    challenge = transcript.opening_challenge(
        proof.table_announcement, proof.auxiliary_announcement, proof.form_announcement
    )
    # V6
    rows = eq_table(point[: parameters.shape.row_variables])[: parameters.shape.rows]
    linear = _linear_at(engine, parameters, signs, weights, point, rows)
    target = _form_value(parameters, proof, weights, opening, last, linear)
    form = linear_form(parameters, weights, point, opening)
    found = form.at(proof.table_response, proof.auxiliary_response)
    if found != (challenge * target + proof.form_announcement) % ORDER:
        raise Rejected("linear-relation", "responses that satisfy the linear form", f"{found:x}")
    return _Openings(
        points=points,
        rows=[challenge * weight % ORDER for weight in rows],
        challenge=challenge,
        table=proof.table_response,
        table_blinding=proof.table_blinding_response,
        auxiliary=proof.auxiliary_response,
        auxiliary_blinding=proof.auxiliary_blinding_response,
    )


def _decode_points(engine: Engine, claim: Claim, proof: Proof) -> Points:
    """V3: D_0 .. D_(R-1), A, then the two announcements, in one call."""
    encoded = claim.commitments + proof.auxiliary + proof.table_announcement + proof.auxiliary_announcement
    try:
        return engine.decode_points(encoded)
    except Malformed as failure:
        raise Malformed("point-encoding", failure.expected, failure.found) from failure


def _replay_rounds(transcript: ArgumentTranscript, proof: Proof) -> tuple[list[int], int]:
    """The final point, and the value there that the rounds promise.

    The linear coefficient of a round is not sent: it is the one that makes the values at 0 and 1 add up to the value
    promised so far. So no round can fail by itself.
    """
    transcript.claim(proof.claim)
    point: list[int] = []
    promised = proof.claim
    for sent in proof.rounds:
        linear = promised - 2 * sent[0] - sum(sent[1:])
        point.append(transcript.round_challenge(sent))
        promised = evaluate((sent[0], linear, *sent[1:]), point[-1])
    return point, promised


def _linear_at(
    engine: Engine,
    parameters: ArgumentParameters,
    signs: ProjectionSigns,
    weights: RelationWeights,
    point: Sequence[int],
    rows: Sequence[int],
) -> int:
    """a(r) = sum_j rho_j <s_j, eq(r_rows)> <t_j, eq(r_columns)> + the padding form at r."""
    left = engine.ternary_products(signs.rows, rows)
    right = engine.ternary_products(signs.columns, eq_table(point[parameters.shape.row_variables :]))
    products = [x * y % ORDER for x, y in zip(left, right, strict=True)]
    return (dot(weights.projections, products) + padding_at(parameters, weights, point)) % ORDER


def _form_value(
    parameters: ArgumentParameters,
    proof: Proof,
    weights: RelationWeights,
    opening: tuple[int, int],
    last: int,
    linear: int,
) -> int:
    """The value that (L1) + opening[0] (L2) + opening[1] (L3) must have (spec 5.7)."""
    w = proof.evaluation
    mask_sum = proof.claim - parameters.norm_bound**2 - dot(weights.projections, proof.projections)
    mask_at_point = last - w * (w + linear)
    return (mask_sum + opening[0] * mask_at_point + opening[1] * w) % ORDER


def _batch_weights(parameters: ArgumentParameters, claims: Sequence[Claim]) -> list[tuple[int, int]]:
    """Two weights per claim, for V7 and V8, that nobody knows before all claims are fixed."""
    challenger = Challenger(ARGUMENT_BATCH)
    challenger.absorb("statement", statement_bytes(parameters))
    for claim in claims:
        challenger.absorb("commitments", claim.commitments)
        challenger.absorb("proof", claim.proof)
        challenger.absorb("context", claim.context)
    flat = challenger.weights("weights", 2 * len(claims))
    return list(zip(flat[0::2], flat[1::2], strict=True))


def _bisect(
    engine: Engine,
    pending: dict[int, _Openings],
    weights: Sequence[tuple[int, int]],
    indices: list[int],
    verdicts: list[Verdict],
) -> None:
    """V7 and V8 of the claims at `indices`; writes the verdicts of those that fail."""
    if not indices or _hold(engine, [pending[i] for i in indices], [weights[i] for i in indices]):
        return
    if len(indices) == 1:
        only = pending[indices[0]]
        check = "auxiliary-opening" if _hold(engine, [only], [(1, 0)]) else "table-opening"
        verdicts[indices[0]] = Rejected(check, "responses that open the commitment", "other values or blinding")
        return
    middle = len(indices) // 2
    _bisect(engine, pending, weights, indices[:middle], verdicts)
    _bisect(engine, pending, weights, indices[middle:], verdicts)


def _hold(engine: Engine, openings: Sequence[_Openings], weights: Sequence[tuple[int, int]]) -> bool:
    """Whether the weighted sum of all V7 and V8 is the identity."""
    scalars: list[int] = []
    length = max(max(len(opening.table), len(opening.auxiliary)) for opening in openings)
    generators, blinding = [0] * length, 0
    for opening, (table, auxiliary) in zip(openings, weights, strict=True):
        scalars += [table * row % ORDER for row in opening.rows]
        scalars += [auxiliary * opening.challenge % ORDER, table, auxiliary]
        for i, response in enumerate(opening.table):
            generators[i] -= table * response
        for i, response in enumerate(opening.auxiliary):
            generators[i] -= auxiliary * response
        blinding -= table * opening.table_blinding + auxiliary * opening.auxiliary_blinding
    points = engine.concatenate([opening.points for opening in openings])
    return engine.combination_is_zero(points, scalars, [g % ORDER for g in generators], blinding % ORDER)
