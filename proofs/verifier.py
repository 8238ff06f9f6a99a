"""The verifier of the short-vector argument: one claim, or many with one multi-scalar multiplication (spec 5.10).

Total on hostile bytes: a claim is accepted, or Malformed or Rejected names the first check it fails. The checks, with
the numbers and sections of the specification; what a relation has to say to one, it is asked for:

V0 5.3       there is such a weight                                 Rejected weight
V1 5.1, 5.6  commitments of each relation, its statement, the proof have their sizes
                  Malformed commitments-length, range-commitments-length, weight-commitments-length,
                  privacy-noise-commitments-length, encryption-commitments-length, ciphertext,
                  share-commitment-length, proof-length
V2 5.2       every scalar is below the group order                  Malformed scalar-range
V3 5.2       every point is on the curve                            Malformed point-encoding
V4 5.3       every projection is within [-Z, Z]                     Rejected shortness
             what each relation sent is in its range                Rejected quotient-range, combination-range
V5 5.5, 5.7  challenges, rounds, final evaluations                  (recomputed: they define what V6 and V7 compare)
   5.8       what each relation sent follows from its statement     Rejected ciphertext-combination
V6 5.7       the linear form at the folded response has its value   Rejected linear-relation
V7 5.7       rows, A and the shared secret open to it, together     Rejected opening
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from proofs.challenger import Challenger
from proofs.curve import ORDER
from proofs.domains import ARGUMENT_BATCH
from proofs.encryption import EncryptionStatement
from proofs.engine import Engine, Points
from proofs.errors import Malformed, Misuse, Rejected
from proofs.folding import combined_value, folded_value, form_at, place_weights, unfolded
from proofs.layout import RowCommitments
from proofs.linear_form import linear_form
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq, evaluate
from proofs.privacy_noise import NoiseSigns, noise_signs
from proofs.proof import Proof, decode_proof
from proofs.relations.norm import NOISE, UPDATE
from proofs.relations.relation import Sent
from proofs.relations.terms import FinalPoint, JoinedTerms
from proofs.signed_rounds import SignedWeight
from proofs.transcript import (
    ArgumentTranscript,
    OpeningWeights,
    ProjectionSigns,
    RelationWeights,
    statement_bytes,
)

Verdict = Malformed | Rejected | None


@dataclass(frozen=True)
class Claim(RowCommitments):
    """What one client published: row commitments, proof, and the context the proof must have been made for.

    rows: by the label of `Relation.commitments`, those of every relation in force that has tables; none, or none but
    empty ones, of another. encryption: where the parameters ask for its proof. weight: w, by which the bounds are
    multiplied. sign_context: what signs of noise for privacy depend on beside its commitments, where the parameters ask
    for such noise. Bytes of any content and length; raises Misuse for anything that is not `bytes`.
    """

    rows: Mapping[str, bytes]
    proof: bytes
    context: bytes
    encryption: EncryptionStatement | None = None
    weight: int = 1
    sign_context: bytes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))  # hashed more than once: never to change
        given = {**self.rows, "proof": self.proof, "context": self.context}
        if self.sign_context is not None:
            given["sign context"] = self.sign_context
        for name, value in given.items():
            if type(value) is not bytes:
                raise Misuse(f"{name}: expected bytes, found {type(value).__name__}")

    def signs(self, parameters: ArgumentParameters) -> NoiseSigns | None:
        """Of the noise, where there is some."""
        if self.sign_context is None:
            return None
        return noise_signs(parameters.shape, self.sign_context, self.privacy_noise_commitments)

    @property
    def statements(self) -> tuple[EncryptionStatement, ...]:
        """What it is about beside the rows."""
        return () if self.encryption is None else (self.encryption,)


@dataclass(frozen=True)
class _Opening:
    """The group equation left of one claim: scalars on its points, minus `response` on the generators and `blinding` on
    H, is the identity. The points: D of all tables, A, announcements, folds, E_0."""

    points: Points
    scalars: list[int]
    response: Sequence[int]
    blinding: int


def verify(engine: Engine, parameters: ArgumentParameters, claim: Claim) -> None:
    """Raises Malformed or Rejected, naming the first failed check of V0 to V7 in that order."""
    verdict = verify_batch(engine, parameters, [claim])[0]
    if verdict is not None:
        raise verdict


def verify_batch(engine: Engine, parameters: ArgumentParameters, claims: Sequence[Claim]) -> list[Verdict]:
    """One verdict per claim, the same as `verify` would give one by one; None accepts.

    parameters: of any weight; each claim is verified under those of its own. V0 to V6 are checked claim by claim. V7 of
    all is checked in one random combination, with 128-bit weights from a hash of everything in the batch; where it
    fails, the batch is bisected down to the claims at fault. Raises Misuse where the encryption's statement is
    there without parameters for it, or the other way round.
    """
    for claim in claims:
        if (claim.encryption is None) != (parameters.encryption is None):
            raise Misuse("claim: expected an encryption's statement where its proof is in force, and only there")
        if (claim.sign_context is None) != (parameters.privacy_noise is None):
            raise Misuse("claim: expected a sign context where noise for privacy is in force, and only there")
    verdicts: list[Verdict] = [None] * len(claims)
    pending: dict[int, _Opening] = {}
    for index, claim in enumerate(claims):
        try:
            pending[index] = _reduce(engine, parameters, claim)
        except (Malformed, Rejected) as failure:
            verdicts[index] = failure
    weights = _batch_weights(parameters, {index: claims[index] for index in pending})
    _bisect(engine, pending, weights, list(pending), verdicts)
    return verdicts


def _reduce(engine: Engine, parameters: ArgumentParameters, claim: Claim) -> _Opening:
    """V0 to V6: what is left to check is the opening."""
    # V0
    least, largest = parameters.least_weight, parameters.largest_weight
    if not least <= claim.weight <= largest:
        raise Rejected("weight", f"{least} to {largest}", str(claim.weight))
    parameters = parameters.weighing(claim.weight)
    # V1, V2
    _check_lengths(parameters, claim)
    proof = decode_proof(parameters, claim.proof)
    # V3
    points = _decode_points(engine, parameters, claim, proof)
    # V4
    sent = parameters.sent(proof.combinations, proof.quotients)
    _check_ranges(parameters, proof, sent)
    # V5
    noise = claim.signs(parameters)
    transcript = ArgumentTranscript(parameters, claim.context, claim.statements, noise)
    signs = transcript.projection_signs(claim.rows, proof.auxiliary)
    drawn = transcript.draw(engine)
    for relation, values in zip(drawn, sent, strict=True):
        relation.check(engine, claim.statements, values)
    weights = transcript.relation_weights(proof.projections, sent)
    point, last = _replay_rounds(transcript, proof)
    opening = transcript.opening_weights(proof.evaluations)
    challenge = transcript.opening_challenge(proof.announcements)
    # V6
    parts = zip(parameters.relations, drawn, sent, strict=True)
    terms = JoinedTerms.of(each.terms(weights.of(relation), values) for relation, each, values in parts)
    final = FinalPoint.of(parameters.layout.row_variables, point)
    summand = _summand_at(engine, parameters, signs, weights, terms, final, proof.evaluations)
    if noise is not None:
        summand += _signed_at(engine, parameters, noise, weights, terms, final, proof.evaluations)
    target = _form_value(proof, weights, terms, opening, last - summand)
    form = linear_form(parameters, weights.projections, terms, final, opening)
    claimed = challenge * target + proof.form_announcement - form.blinding * (proof.update_blinding_response or 0)
    mu = transcript.vector_weight(proof.blinding_responses, proof.cross_values)
    value, phis = _replay_folds(transcript, proof, combined_value(proof.cross_values, claimed, mu))
    response = unfolded(proof.response, place_weights(phis), max(parameters.opened))
    if (found := form_at(form.parts, mu, response)) != value:
        raise Rejected("linear-relation", "a response that satisfies the linear form", f"{found:x}")
    scalars, blinding = _opened_scalars(parameters, proof, final, opening.tables, challenge, mu, phis)
    return _Opening(points, scalars, response, blinding)


def _check_lengths(parameters: ArgumentParameters, claim: Claim) -> None:
    """V1 but for the proof's length."""
    for label in dict.fromkeys([*parameters.layout.families, *claim.rows]):
        size, data = parameters.commitments_size(label), claim.rows.get(label, b"")
        if len(data) != size:
            raise Malformed(f"{label}-length", f"{size} bytes", f"{len(data)} bytes")
    for relation in parameters.relations:
        relation.check_statement(claim.statements)


def _check_ranges(parameters: ArgumentParameters, proof: Proof, sent: Sequence[Sent]) -> None:
    """V4."""
    bound = parameters.response_bound
    for index, z in enumerate(proof.projections):
        if abs(z) > bound:
            raise Rejected("shortness", f"|z| <= {bound}", f"{z} at position {index}")
    for relation, values in zip(parameters.relations, sent, strict=True):
        relation.check_range(values)


def _decode_points(engine: Engine, parameters: ArgumentParameters, claim: Claim, proof: Proof) -> Points:
    """V3, in one call: the rows of all tables, A, the announcements, the folds, E_0."""
    encoded = b"".join(claim.rows[label] for label in parameters.layout.families)
    encoded += proof.auxiliary + proof.table_announcement + proof.auxiliary_announcement
    encoded += proof.update_announcement + proof.share_announcement
    encoded += b"".join(fold.even + fold.odd for fold in proof.folds)
    return engine.decode_points(encoded + b"".join(each.share_commitment for each in claim.statements))


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
    terms: JoinedTerms,
    final: FinalPoint,
    evaluations: Sequence[int],
) -> int:
    """sum_b w_b (a_b(r) + Q_b(r) w_b)."""
    equal = eq(weights.row_point, final.row_point)
    classes = {name: equal * squares.at(final.column_point) for name, squares in terms.squares.items()}
    stacked: list[int] = []
    total = 0
    for table, w in zip(parameters.layout.tables, evaluations, strict=True):
        stacked += [w * row % ORDER for row in final.rows[: table.rows]]
        plain = 1 + terms.plain.get(table.name, 0) if table.plain else 0
        total += (plain + (classes[table.weights] if table.weights is not None else 0)) * w * w
    left = engine.ternary_products(signs.rows, stacked)
    right = engine.ternary_products(signs.columns, final.columns)
    total += dot(weights.projections, [x * y % ORDER for x, y in zip(left, right, strict=True)])
    return (total + terms.forms_at(engine, final, parameters.layout.by_name(evaluations))) % ORDER


def _signed_at(
    engine: Engine,
    parameters: ArgumentParameters,
    noise: NoiseSigns,
    weights: RelationWeights,
    terms: JoinedTerms,
    final: FinalPoint,
    evaluations: Sequence[int],
) -> int:
    """W(r) w_m w_n."""
    by_name = parameters.layout.by_name(evaluations)
    weight = SignedWeight(noise, terms.signed, weights.row_point).at(engine, final)
    return weight * by_name[UPDATE] * by_name[NOISE] % ORDER


def _form_value(
    proof: Proof, weights: RelationWeights, terms: JoinedTerms, opening: OpeningWeights, mask_at_point: int
) -> int:
    """The value that (L1) + kappa_2 (L2) + kappa_3 (L3) must have (spec 5.7)."""
    mask_sum = proof.claim - terms.total - dot(weights.projections, proof.projections)
    rows = evaluate(proof.evaluations, opening.tables)
    return (mask_sum + opening.second * mask_at_point + opening.third * rows) % ORDER


def _row_scalars(parameters: ArgumentParameters, final: FinalPoint, eta: int, factor: int, apart: int) -> list[int]:
    """What stands before D: `apart` times eq(r_rows, row) for rows that are opened apart, else `factor` times eta^b of
    it."""
    layout, rows = parameters.layout, list[int]()
    for b, table in enumerate(layout.tables):
        of_table = apart if b in layout.apart else factor * pow(eta, b, ORDER) % ORDER
        rows += [of_table * weight % ORDER for weight in final.rows[: table.rows]]
    return rows


def _replay_folds(transcript: ArgumentTranscript, proof: Proof, value: int) -> tuple[int, list[int]]:
    """What the form must be at the folded response, and the challenges of the folds."""
    phis = list[int]()
    for fold in proof.folds:
        phis.append(transcript.fold_challenge(fold))
        value = folded_value(value, fold, phis[-1])
    return value, phis


def _opened_scalars(
    parameters: ArgumentParameters,
    proof: Proof,
    final: FinalPoint,
    eta: int,
    challenge: int,
    mu: int,
    phis: Sequence[int],
) -> tuple[list[int], int]:
    """V7, on the claim's points and on H: phi_0 .. phi_(n-1) times the sum of what is opened, and what folds add."""
    crossed, factor = list[int](), 1
    for phi in reversed(phis):
        crossed = [factor, factor * phi % ORDER * phi % ORDER, *crossed]
        factor = factor * phi % ORDER
    powers = [factor * pow(mu, i, ORDER) % ORDER for i in range(len(parameters.opened))]
    table, auxiliary, *apart = (challenge * power % ORDER for power in powers)
    update, share = apart or (0, 0)
    scalars = [*_row_scalars(parameters, final, eta, table, update), auxiliary, *powers, *crossed]
    return [*scalars, *([share] if apart else [])], dot(powers, proof.blinding_responses)


def _batch_weights(parameters: ArgumentParameters, claims: Mapping[int, Claim]) -> dict[int, int]:
    """A weight for every claim, that nobody knows before all claims are fixed."""
    challenger = Challenger(ARGUMENT_BATCH)
    challenger.absorb("statement", statement_bytes(parameters.weighing(1)))
    for claim in claims.values():
        challenger.absorb("weight", claim.weight.to_bytes(32, "big"))
        for label in parameters.layout.families:
            challenger.absorb(label, claim.rows[label])
        challenger.absorb("proof", claim.proof)
        challenger.absorb("context", claim.context)
        if claim.sign_context is not None:
            challenger.absorb("sign-context", claim.sign_context)
        for statement in claim.statements:
            for label, data in statement.absorbed.items():
                challenger.absorb(label, data)
    return dict(zip(claims, challenger.weights("weights", len(claims)), strict=True))


def _bisect(
    engine: Engine,
    pending: Mapping[int, _Opening],
    weights: Mapping[int, int],
    indices: list[int],
    verdicts: list[Verdict],
) -> None:
    """V7 of the claims at `indices`; writes the verdicts of those that fail."""
    if not indices or _hold(engine, [pending[i] for i in indices], [weights[i] for i in indices]):
        return
    if len(indices) == 1:
        verdicts[indices[0]] = Rejected("opening", "a response that opens the commitments", "another")
        return
    middle = len(indices) // 2
    _bisect(engine, pending, weights, indices[:middle], verdicts)
    _bisect(engine, pending, weights, indices[middle:], verdicts)


def _hold(engine: Engine, openings: Sequence[_Opening], weights: Sequence[int]) -> bool:
    """Whether the weighted sum of all equations is the identity."""
    scalars: list[int] = []
    generators = [0] * max(len(opening.response) for opening in openings)
    blinding = 0
    for opening, weight in zip(openings, weights, strict=True):
        scalars += [weight * scalar % ORDER for scalar in opening.scalars]
        for i, scalar in enumerate(opening.response):
            generators[i] -= weight * scalar
        blinding -= weight * opening.blinding
    points = engine.concatenate([opening.points for opening in openings])
    return engine.combination_is_zero(points, scalars, [g % ORDER for g in generators], blinding % ORDER)
