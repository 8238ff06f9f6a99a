"""What the attacks share: a cheating prover, a transcript that forgets, and the checks written a second time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from proofs.challenger import Challenger
from proofs.curve import ORDER, POINT_SIZE
from proofs.engine import Engine
from proofs.generators import blinding_generator, generator
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq_table, evaluate
from proofs.proof import decode_proof
from proofs.prover import complete, project
from proofs.reference import points as curve
from proofs.relations import LinearForm, linear_form
from proofs.transcript import ArgumentTranscript
from proofs.verifier import Claim
from proofs.witness import commit_table
from tests.proofs.arguments import CONTEXT
from tests.seeded import seeded


def forge(engine: Engine, parameters: ArgumentParameters, rows: list[list[int]], seed: bytes | str | int = 0) -> Claim:
    """The honest prover's steps over any table, without its checks."""
    shape, rand = parameters.shape, seeded(seed)
    table = np.zeros((shape.rows, shape.columns), dtype=np.int64)
    for r, row in enumerate(rows):
        table[r, : len(row)] = row
    committed = commit_table(engine, table, rand)
    projected = project(engine, parameters, committed, CONTEXT, rand)
    proof = complete(engine, parameters, committed, projected, rand)
    return Claim(committed.commitments, proof.encode(parameters), CONTEXT)


def forgetting(*labels: str) -> type[Challenger]:
    """A challenger that does not absorb what stands under these labels; with no label, that absorbs nothing."""

    class Forgetful(Challenger):
        def absorb(self, label: str, data: bytes) -> None:
            if labels and label not in labels:
                super().absorb(label, data)

    return Forgetful


@dataclass(frozen=True)
class Derived:
    """What follows from a claim's bytes: challenges, and V6 to V8 as quantities that vanish for an accepted claim."""

    rows: list[int]  # eq(r_rows, r)
    challenge: int
    form: LinearForm
    gap: int  # of V6


def derive(parameters: ArgumentParameters, claim: Claim) -> Derived:
    """V5 and V6 over full tables: slow, and independent of the verifier's short cuts."""
    shape, proof = parameters.shape, decode_proof(parameters, claim.proof)
    transcript = ArgumentTranscript(parameters, claim.context)
    signs = transcript.projection_signs(claim.commitments, proof.auxiliary)
    weights = transcript.relation_weights(proof.projections)
    transcript.claim(proof.claim)
    point, promised = [], proof.claim
    for sent in proof.rounds:
        point.append(transcript.round_challenge(sent))
        promised = evaluate((sent[0], promised - 2 * sent[0] - sum(sent[1:]), *sent[1:]), point[-1])
    opening = transcript.opening_weights(proof.evaluation)
    challenge = transcript.opening_challenge(
        proof.table_announcement, proof.auxiliary_announcement, proof.form_announcement
    )
    tau = eq_table(weights.padding_point)
    at_point = eq_table([*point[shape.row_variables :], *point[: shape.row_variables]])  # columns fastest
    linear = 0
    for r in range(shape.rows):
        for c in range(shape.columns):
            value = sum(
                rho * int(s) * int(t)
                for rho, s, t in zip(weights.projections, signs.rows[:, r], signs.columns[:, c], strict=True)
            )
            if r == shape.data_rows - 1 and r * shape.columns + c >= parameters.dimension:
                value += weights.padding * tau[c]
            linear += value * at_point[r * shape.columns + c]
    w = proof.evaluation
    target = proof.claim - parameters.norm_bound**2 - dot(weights.projections, proof.projections)
    target += opening[0] * (promised - w * w - w * linear) + opening[1] * w
    form = linear_form(parameters, weights, point, opening)
    found = form.at(proof.table_response, proof.auxiliary_response)
    gap = (found - challenge * target - proof.form_announcement) % ORDER
    rows = eq_table(point[: shape.row_variables])[: shape.rows]
    return Derived(rows, challenge, form, gap)


def edit(parameters: ArgumentParameters, claim: Claim, /, **changes: Any) -> Claim:
    """The claim with fields of its proof replaced."""
    return replace(claim, proof=replace(decode_proof(parameters, claim.proof), **changes).encode(parameters))


def close_gap(parameters: ArgumentParameters, family: Callable[[int], Claim]) -> Claim:
    """The member of a one-parameter family of claims that satisfies V6, whose gap is of degree at most 2 in it."""
    values = [derive(parameters, family(x)).gap for x in range(3)]
    second = (values[2] - 2 * values[1] + values[0]) * pow(2, -1, ORDER) % ORDER
    first = (values[1] - values[0] - second) % ORDER
    if second == 0:
        return family(-values[0] * pow(first, -1, ORDER) % ORDER)
    root = square_root((first * first - 4 * second * values[0]) % ORDER)
    return family((root - first) * pow(2 * second, -1, ORDER) % ORDER)


class NoSquareRootError(Exception):
    """Half of all attempts end here."""


def square_root(value: int) -> int:
    """Modulo ORDER (Tonelli and Shanks; ORDER - 1 = 64 * odd)."""
    odd, nonresidue = (ORDER - 1) >> 6, 2
    while pow(nonresidue, ORDER // 2, ORDER) == 1:
        nonresidue += 1
    root, rest, twist = pow(value, (odd + 1) // 2, ORDER), pow(value, odd, ORDER), pow(nonresidue, odd, ORDER)
    for level in range(5, 0, -1):
        if pow(rest, 1 << level - 1, ORDER) == ORDER - 1:
            root, rest = root * twist % ORDER, rest * twist * twist % ORDER
        twist = twist * twist % ORDER
    if root * root % ORDER != value % ORDER:
        raise NoSquareRootError
    return root


def combination(encoded: bytes, scalars: list[int], opening: tuple[int, ...] | list[int], blinding: int) -> bytes:
    """sum_i scalars[i] P_i + Com(opening; blinding), for concatenated encoded points."""
    bases = [curve.from_affine(generator(i)) for i in range(len(opening))] + [curve.from_affine(blinding_generator())]
    total = curve.combine([*curve.decode_all(encoded), *bases], [*scalars, *opening, blinding])
    return curve.encode(total)


def table_announcement(parameters: ArgumentParameters, claim: Claim) -> bytes:
    """The first message that satisfies V7: Com(response) - c sum eq D."""
    proof, derived = decode_proof(parameters, claim.proof), derive(parameters, claim)
    scalars = [-derived.challenge * weight for weight in derived.rows]
    return combination(claim.commitments, scalars, proof.table_response, proof.table_blinding_response)


def auxiliary_announcement(parameters: ArgumentParameters, claim: Claim) -> bytes:
    """The first message that satisfies V8: Com(response) - c A."""
    proof, derived = decode_proof(parameters, claim.proof), derive(parameters, claim)
    return combination(
        proof.auxiliary, [-derived.challenge], proof.auxiliary_response, proof.auxiliary_blinding_response
    )


def another_point(index: int = 1000) -> bytes:
    """A point that nobody's commitment is."""
    return curve.encode(curve.from_affine(generator(index)))


def first_row(claim: Claim, point: bytes) -> Claim:
    """The claim with D_0 replaced."""
    return replace(claim, commitments=point + claim.commitments[POINT_SIZE:])
