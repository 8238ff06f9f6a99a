"""The verifier of the short-vector argument: one claim, or many with one multi-scalar multiplication (spec 5.10).

Total on hostile bytes: a claim is accepted, or Malformed or Rejected names the first check it fails. The checks, with
the numbers of the specification:

V1 lengths of commitments, ciphertext, proof   Malformed commitments-length, range-commitments-length,
                                               encryption-commitments-length, ciphertext, share-commitment-length,
                                               proof-length
V2 every scalar below the group order          Malformed scalar-range
V3 every point on the curve                    Malformed point-encoding
V4 every projection within [-Z, Z]             Rejected shortness
   every quotient within [-Z', Z']             Rejected quotient-range
   every combination of the ciphertext below q Rejected combination-range
V5 challenges, rounds, final evaluations       (recomputed; they define what V6 to V8 compare)
   the combinations are the ciphertext's       Rejected ciphertext-combination (left out without the ciphertext)
V6 the linear form at the responses            Rejected linear-relation
V7 the combinations of rows open to them       Rejected update-opening, table-opening
V8 A and the shared secret open to them        Rejected auxiliary-opening, share-opening
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from proofs.challenger import Challenger
from proofs.curve import ORDER
from proofs.domains import ARGUMENT_BATCH
from proofs.encryption import EncryptionStatement, check_statement
from proofs.engine import Engine, Points, Table
from proofs.errors import Malformed, Misuse, Rejected
from proofs.layout import UPDATE
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq, evaluate
from proofs.proof import Proof, decode_proof
from proofs.relations import (
    EncryptionRelation,
    FinalPoint,
    column_weights,
    combine,
    combined_ciphertext,
    forms_at,
    linear_form,
    public_sum,
)
from proofs.transcript import (
    ArgumentTranscript,
    Commitments,
    OpeningWeights,
    ProjectionSigns,
    RelationWeights,
    statement_bytes,
)

Verdict = Malformed | Rejected | None


@dataclass(frozen=True)
class Claim:
    """What one client published: row commitments, proof, and the context the proof must have been made for.

    range_commitments, encryption_commitments and encryption are empty where the parameters do not ask for them.
    Bytes of any content and length; raises Misuse for anything that is not `bytes`.
    """

    commitments: bytes
    proof: bytes
    context: bytes
    range_commitments: bytes = b""
    encryption_commitments: bytes = b""
    encryption: EncryptionStatement | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "encryption" and type(value) is not bytes:
                raise Misuse(f"{field.name}: expected bytes, found {type(value).__name__}")


@dataclass(frozen=True)
class _Opening:
    """One group equation: scalars on the claim's points, minus Com(response; blinding), is the identity."""

    check: str
    scalars: dict[int, list[int]]  # by the position of the first point
    response: Sequence[int]
    blinding: int


@dataclass(frozen=True)
class _Openings:
    """The group equations left of one claim, over its points: D of all tables, A, announcements, E_0."""

    points: Points
    equations: list[_Opening]


def verify(engine: Engine, parameters: ArgumentParameters, claim: Claim) -> None:
    """Raises Malformed or Rejected, naming the first failed check of V1 to V8 in that order."""
    verdict = verify_batch(engine, parameters, [claim])[0]
    if verdict is not None:
        raise verdict


def verify_batch(engine: Engine, parameters: ArgumentParameters, claims: Sequence[Claim]) -> list[Verdict]:
    """One verdict per claim, the same as `verify` would give one by one; None accepts.

    V1 to V6 are checked claim by claim. V7 and V8 of all are checked in one random combination, with 128-bit weights
    from a hash of everything in the batch; where it fails, the batch is bisected down to the claims at fault. Raises
    Misuse where the encryption's statement is there without parameters for it, or the other way round.
    """
    for claim in claims:
        if (claim.encryption is None) != (parameters.encryption is None):
            raise Misuse("claim: expected an encryption's statement where its proof is in force, and only there")
    verdicts: list[Verdict] = [None] * len(claims)
    pending: dict[int, _Openings] = {}
    for index, claim in enumerate(claims):
        try:
            pending[index] = _reduce(engine, parameters, claim)
        except (Malformed, Rejected) as failure:
            verdicts[index] = failure
    weights = _batch_weights(parameters, {index: claims[index] for index in pending})
    _bisect(engine, pending, weights, list(pending), verdicts)
    return verdicts


def _reduce(engine: Engine, parameters: ArgumentParameters, claim: Claim) -> _Openings:
    """V1 to V6: what is left to check are openings."""
    # V1, V2
    _check_lengths(parameters, claim)
    proof = decode_proof(parameters, claim.proof)
    # V3
    points = _decode_points(engine, claim, proof)
    # V4
    _check_ranges(parameters, proof)
    # V5
    transcript = ArgumentTranscript(parameters, claim.context, claim.encryption)
    rows = (claim.commitments, claim.range_commitments, claim.encryption_commitments)
    signs = transcript.projection_signs(Commitments(*rows, proof.auxiliary))
    relation = None
    if claim.encryption is not None:
        relation = combine(engine, parameters, transcript.cell_weights(), claim.encryption)
        _check_combinations(engine, parameters, relation, claim.encryption.ciphertext, proof)
    weights = transcript.relation_weights(proof.projections, proof.combinations, proof.quotients)
    point, last = _replay_rounds(transcript, proof)
    opening = transcript.opening_weights(proof.evaluations)
    challenge = transcript.opening_challenge(proof.announcements)
    # V6
    final = FinalPoint.of(parameters, point)
    summand = _summand_at(engine, parameters, signs, weights, relation, final, proof.evaluations)
    target = _form_value(parameters, proof, weights, relation, opening, last - summand)
    form = linear_form(parameters, weights, final, opening)
    found = form.at(proof.table_response, proof.auxiliary_response, proof.update_response, proof.share_response)
    if found != (challenge * target + proof.form_announcement) % ORDER:
        raise Rejected("linear-relation", "responses that satisfy the linear form", f"{found:x}")
    return _Openings(points, _equations(parameters, proof, final, opening.tables, challenge))


def _check_lengths(parameters: ArgumentParameters, claim: Claim) -> None:
    """V1 but for the proof's length."""
    for name, data, size in (
        ("commitments-length", claim.commitments, parameters.commitments_size),
        ("range-commitments-length", claim.range_commitments, parameters.range_commitments_size),
        ("encryption-commitments-length", claim.encryption_commitments, parameters.encryption_commitments_size),
    ):
        if len(data) != size:
            raise Malformed(name, f"{size} bytes", f"{len(data)} bytes")
    if claim.encryption is not None and parameters.encryption is not None:
        check_statement(parameters.encryption, parameters.shape.data_cells, claim.encryption)


def _check_ranges(parameters: ArgumentParameters, proof: Proof) -> None:
    """V4."""
    for check, values, bound in (
        ("shortness", proof.projections, parameters.response_bound),
        ("quotient-range", proof.quotients, parameters.quotient_bound),
    ):
        for index, z in enumerate(values):
            if abs(z) > bound:
                raise Rejected(check, f"|z| <= {bound}", f"{z} at position {index}")
    modulus = 0 if parameters.encryption is None else parameters.encryption.modulus
    for index, residue in enumerate(proof.combinations):
        if residue >= modulus:
            raise Rejected("combination-range", f"below q = {modulus}", f"{residue} at position {index}")


def _check_combinations(
    engine: Engine,
    parameters: ArgumentParameters,
    relation: EncryptionRelation | None,
    ciphertext: Table | None,
    proof: Proof,
) -> None:
    """V5, where the ciphertext is at hand."""
    if relation is None or ciphertext is None:
        return
    found = combined_ciphertext(engine, parameters, relation, ciphertext)
    for index, (own, sent) in enumerate(zip(found, proof.combinations, strict=True)):
        if own != sent:
            raise Rejected("ciphertext-combination", f"{own} at position {index}", str(sent))


def _decode_points(engine: Engine, claim: Claim, proof: Proof) -> Points:
    """V3, in one call: the rows of all tables, A, the announcements, E_0."""
    rows = claim.commitments + claim.range_commitments + claim.encryption_commitments
    encoded = rows + proof.auxiliary + proof.table_announcement + proof.auxiliary_announcement
    if claim.encryption is not None:
        encoded += proof.update_announcement + proof.share_announcement + claim.encryption.share_commitment
    return engine.decode_points(encoded)


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


def _summand_at(
    engine: Engine,
    parameters: ArgumentParameters,
    signs: ProjectionSigns,
    weights: RelationWeights,
    relation: EncryptionRelation | None,
    final: FinalPoint,
    evaluations: Sequence[int],
) -> int:
    """sum_b w_b (a_b(r) + Q_b(r) w_b)."""
    classes = column_weights(parameters, weights)
    equal = eq(weights.row_point, final.row_point)
    stacked: list[int] = []
    total = 0
    for table, w in zip(parameters.layout.tables, evaluations, strict=True):
        stacked += [w * row % ORDER for row in final.rows[: table.rows]]
        square = int(table.plain)
        if table.weights is not None:
            square += equal * classes[table.weights].at(final.column_point)
        total += square * w * w
    left = engine.ternary_products(signs.rows, stacked)
    right = engine.ternary_products(signs.columns, final.columns)
    total += dot(weights.projections, [x * y % ORDER for x, y in zip(left, right, strict=True)])
    return (total + forms_at(engine, parameters, weights, relation, final, evaluations)) % ORDER


def _form_value(
    parameters: ArgumentParameters,
    proof: Proof,
    weights: RelationWeights,
    relation: EncryptionRelation | None,
    opening: OpeningWeights,
    mask_at_point: int,
) -> int:
    """The value that (L1) + kappa_2 (L2) + kappa_3 (L3) must have (spec 5.7)."""
    mask_sum = proof.claim - public_sum(parameters, weights) - dot(weights.projections, proof.projections)
    if relation is not None:
        modulus = relation.lattice.modulus
        values = zip(proof.combinations, proof.quotients, strict=True)
        mask_sum -= dot(weights.quotients, [value + modulus * quotient for value, quotient in values])
    rows = evaluate(proof.evaluations, opening.tables)
    return (mask_sum + opening.second * mask_at_point + opening.third * rows) % ORDER


def _equations(
    parameters: ArgumentParameters, proof: Proof, final: FinalPoint, eta: int, challenge: int
) -> list[_Opening]:
    """V7 and V8 of one claim, in the order in which a failure is named."""
    layout, encrypted = parameters.layout, proof.share_blinding_response is not None
    own = layout.index(UPDATE) if encrypted else None
    rows: list[int] = []
    for b, table in enumerate(layout.tables):
        factor = 0 if b == own else challenge * pow(eta, b, ORDER)
        rows += [factor * weight % ORDER for weight in final.rows[: table.rows]]
    first = layout.total_rows  # A; the announcements of table, auxiliary, update, share; E_0
    equations = [
        _Opening("table-opening", {0: rows, first + 1: [1]}, proof.table_response, proof.table_blinding_response),
        _Opening(
            "auxiliary-opening",
            {first: [challenge], first + 2: [1]},
            proof.auxiliary_response,
            proof.auxiliary_blinding_response,
        ),
    ]
    if proof.share_blinding_response is None:
        return equations
    data = final.rows[: parameters.shape.data_rows]
    scalars = [challenge * weight % ORDER for weight in data]
    blinding = dot(data, proof.share_response[len(proof.share_response) - len(data) :])
    update = _Opening("update-opening", {0: scalars, first + 3: [1]}, proof.update_response, blinding)
    shared = {first + 4: [1], first + 5: [challenge]}
    share = _Opening("share-opening", shared, proof.share_response, proof.share_blinding_response)
    return [update, *equations, share]


def _batch_weights(parameters: ArgumentParameters, claims: Mapping[int, Claim]) -> dict[int, list[int]]:
    """Weights for the equations of every claim, that nobody knows before all claims are fixed."""
    challenger = Challenger(ARGUMENT_BATCH)
    challenger.absorb("statement", statement_bytes(parameters))
    for claim in claims.values():
        challenger.absorb("commitments", claim.commitments)
        challenger.absorb("range-commitments", claim.range_commitments)
        challenger.absorb("encryption-commitments", claim.encryption_commitments)
        challenger.absorb("proof", claim.proof)
        challenger.absorb("context", claim.context)
        if claim.encryption is not None:
            challenger.absorb("ring-elements", claim.encryption.elements.digest)
            challenger.absorb("ciphertext", claim.encryption.ciphertext_hash)
            challenger.absorb("share-commitment", claim.encryption.share_commitment)
    count = 2 if parameters.encryption is None else 4
    flat = challenger.weights("weights", count * len(claims))
    return {index: flat[count * i : count * (i + 1)] for i, index in enumerate(claims)}


def _bisect(
    engine: Engine,
    pending: Mapping[int, _Openings],
    weights: Mapping[int, Sequence[int]],
    indices: list[int],
    verdicts: list[Verdict],
) -> None:
    """V7 and V8 of the claims at `indices`; writes the verdicts of those that fail."""
    if not indices or _hold(engine, [pending[i] for i in indices], [weights[i] for i in indices]):
        return
    if len(indices) == 1:
        check = _failing(engine, pending[indices[0]])
        verdicts[indices[0]] = Rejected(check, "responses that open the commitment", "other values or blinding")
        return
    middle = len(indices) // 2
    _bisect(engine, pending, weights, indices[:middle], verdicts)
    _bisect(engine, pending, weights, indices[middle:], verdicts)


def _failing(engine: Engine, openings: _Openings) -> str:
    """The name of the first equation that fails; the last where no other does."""
    count = len(openings.equations)
    for position in range(count - 1):
        if not _hold(engine, [openings], [[int(i == position) for i in range(count)]]):
            return openings.equations[position].check
    return openings.equations[-1].check


def _hold(engine: Engine, openings: Sequence[_Openings], weights: Sequence[Sequence[int]]) -> bool:
    """Whether the weighted sum of all equations is the identity."""
    scalars: list[int] = []
    generators = [0] * max(len(equation.response) for opening in openings for equation in opening.equations)
    blinding = 0
    for opening, factors in zip(openings, weights, strict=True):
        own = [0] * engine.point_count(opening.points)
        for equation, factor in zip(opening.equations, factors, strict=True):
            for start, values in equation.scalars.items():
                for i, value in enumerate(values, start):
                    own[i] += factor * value
            for i, response in enumerate(equation.response):
                generators[i] -= factor * response
            blinding -= factor * equation.blinding
        scalars += [scalar % ORDER for scalar in own]
    points = engine.concatenate([opening.points for opening in openings])
    return engine.combination_is_zero(points, scalars, [g % ORDER for g in generators], blinding % ORDER)
