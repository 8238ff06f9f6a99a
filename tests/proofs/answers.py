"""Claims whose masked responses are known, which a proof shows folded alone: to change them, and fold again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.folding import Fold
from proofs.linear_form import LinearForm, linear_form
from proofs.opening import Folded, fold_responses
from proofs.parameters import ArgumentParameters
from proofs.polynomials import add, evaluate, scale
from proofs.proof import Proof, decode_proof
from proofs.relations.relation import Drawn, Sent
from proofs.relations.terms import FinalPoint, JoinedTerms
from proofs.transcript import ArgumentTranscript, OpeningWeights, ProjectionSigns, RelationWeights
from proofs.verifier import Claim


@dataclass(frozen=True)
class Answers:
    """The masked vectors, and their blindings."""

    table_response: tuple[int, ...]
    table_blinding_response: int
    auxiliary_response: tuple[int, ...]
    auxiliary_blinding_response: int
    update_response: tuple[int, ...] = ()
    update_blinding_response: int | None = None
    share_response: tuple[int, ...] = ()
    share_blinding_response: int | None = None

    @classmethod
    def of(cls, responses: Sequence[tuple[int, ...]]) -> Answers:
        """As the prover folds them, each with its blinding last."""
        return cls(*(part for each in responses for part in (each[:-1], each[-1])))

    @property
    def responses(self) -> list[tuple[int, ...]]:
        """The same."""
        parts = [getattr(self, field.name) for field in fields(self)]
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return [(*vector, blinding) for vector, blinding in pairs if blinding is not None]


@dataclass(frozen=True)
class Known(Claim):
    """answers: what its proof shows of them is folded."""

    answers: Answers | None = None

    @property
    def given(self) -> Answers:
        """They must be there."""
        assert self.answers is not None
        return self.answers


def known(claim: Claim, answers: Answers) -> Known:
    """The claim of a prover that answered so."""
    return Known(**{field.name: getattr(claim, field.name) for field in fields(Claim)}, answers=answers)


@contextmanager
def recorded() -> Iterator[list[Answers]]:
    """The answers of all provers inside."""
    found: list[Answers] = []

    def recording(engine: Engine, transcript: Any, form: LinearForm, responses: Any, last: int) -> Folded:
        found.append(Answers.of(responses))
        return fold_responses(engine, transcript, form, responses, last)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proofs.prover.fold_responses", recording)
        yield found


@dataclass(frozen=True)
class Replayed:
    """What follows from a claim's bytes up to the challenge c."""

    proof: Proof
    transcript: ArgumentTranscript  # after c
    signs: ProjectionSigns
    drawn: list[Drawn]
    sent: list[Sent]
    weights: RelationWeights
    point: list[int]
    promised: int
    opening: OpeningWeights
    challenge: int
    form: LinearForm


def replayed(engine: Engine, parameters: ArgumentParameters, claim: Claim) -> Replayed:
    """The transcript again."""
    layout, proof = parameters.layout, decode_proof(parameters, claim.proof)
    transcript = ArgumentTranscript(parameters, claim.context, claim.statements, claim.signs(parameters))
    signs = transcript.projection_signs(claim.rows, proof.auxiliary)
    drawn, sent = transcript.draw(engine), parameters.sent(proof.combinations, proof.quotients)
    weights = transcript.relation_weights(proof.projections, sent)
    transcript.claim(proof.claim)
    point, promised = list[int](), proof.claim
    for values in proof.rounds:
        point.append(transcript.round_challenge(values))
        promised = evaluate((values[0], promised - 2 * values[0] - sum(values[1:]), *values[1:]), point[-1])
    opening = transcript.opening_weights(proof.evaluations)
    challenge = transcript.opening_challenge(proof.announcements)
    parts = zip(parameters.relations, drawn, sent, strict=True)
    terms = JoinedTerms.of(each.terms(weights.of(relation), own) for relation, each, own in parts)
    form = linear_form(parameters, weights.projections, terms, FinalPoint.of(layout.row_variables, point), opening)
    return Replayed(proof, transcript, signs, drawn, sent, weights, point, promised, opening, challenge, form)


def edit(engine: Engine, parameters: ArgumentParameters, claim: Claim, /, **changes: Any) -> Any:
    """The claim with fields of its proof replaced; where its answers are known, they may be, too, and are folded."""
    if not isinstance(claim, Known):
        return replace(claim, proof=replace(decode_proof(parameters, claim.proof), **changes).encode(parameters))
    names = {field.name for field in fields(Answers)}
    answers = replace(claim.given, **{name: value for name, value in changes.items() if name in names})
    others = {name: value for name, value in changes.items() if name not in names}
    proof = replace(decode_proof(parameters, claim.proof), **others)
    return refolded(engine, parameters, replace(claim, proof=proof.encode(parameters), answers=answers))


def refolded(engine: Engine, parameters: ArgumentParameters, claim: Known) -> Known:
    """The claim with what it shows of its answers made again."""
    again = replayed(engine, parameters, claim)
    responses, last = claim.given.responses, parameters.folded.last
    folded = fold_responses(engine, again.transcript, again.form, responses, last)
    proof = replace(again.proof, **proof_fields(folded)).encode(parameters)
    return replace(claim, proof=proof)


def proof_fields(folded: Folded) -> dict[str, Any]:
    """Where they stand in a proof."""
    table, auxiliary, *apart = folded.blindings
    update, share = apart or (None, None)
    return {
        "table_blinding_response": table,
        "auxiliary_blinding_response": auxiliary,
        "update_blinding_response": update,
        "share_blinding_response": share,
        "cross_values": folded.crossed,
        "folds": folded.folds,
        "response": folded.response,
    }


def unanswered(parameters: ArgumentParameters, point: bytes) -> dict[str, Any]:
    """The same, of the right sizes and no meaning."""
    count, folded = len(parameters.opened), parameters.folded
    folds = (Fold(point, point, 0, 0),) * folded.folds
    return proof_fields(Folded((0,) * count, (0,) * (2 * count - 2), folds, (0,) * folded.last))


def refold(again: Replayed, claimed: int) -> tuple[list[int], int]:
    """The folded form, and its value if that of the answers is `claimed` but for the update's blinding."""
    proof, forms = again.proof, again.form.parts
    claimed -= again.form.blinding * (proof.update_blinding_response or 0)
    mu = again.transcript.vector_weight(proof.blinding_responses, proof.cross_values)
    half = len(proof.cross_values) // 2
    crossed = (*proof.cross_values[:half], claimed, *proof.cross_values[half:])
    value = sum(pow(mu, e, ORDER) * q for e, q in enumerate(crossed))
    form = add(*(scale(part, pow(mu, len(forms) - 1 - i, ORDER)) for i, part in enumerate(forms)))
    for fold in proof.folds:
        phi = again.transcript.fold_challenge(fold)
        form = add(scale(form[0::2], phi), form[1::2])
        value = fold.even_value + phi * value + phi * phi * fold.odd_value
    return form, value


def off_by(engine: Engine, parameters: ArgumentParameters, claim: Claim, times: int) -> Claim:
    """The claim with a response that satisfies the folded form, and opens to what is wrong by `times` a point: always
    the same, as no challenge depends on the response."""
    again = replayed(engine, parameters, claim)
    form, _ = refold(again, 0)
    first, second, *rest = again.proof.response
    response = ((first + times * form[1]) % ORDER, (second - times * form[0]) % ORDER, *rest)
    return replace(claim, proof=replace(again.proof, response=response).encode(parameters))
