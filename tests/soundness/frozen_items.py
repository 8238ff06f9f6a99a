"""What deceives verifiers that forget to absorb one item of the transcript: a forged claim for each of its labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from proofs.curve import ORDER, POINT_SIZE
from proofs.encryption import EncryptionParameters, RingElements
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds
from proofs.proof import decode_proof
from proofs.prover import Encrypted
from proofs.verifier import Claim
from proofs.witness import CommittedUpdate, witness_tables
from tests.proofs.answers import Known
from tests.proofs.arguments import (
    MODULUS,
    WeakParameters,
    altered,
    encrypted_by,
    honest,
    native,
    pruned,
    random_noise,
    random_signed_noise,
    residues_of,
    restated,
)
from tests.seeded import seeded
from tests.soundness import forgery
from tests.soundness.forgery import close_gap, derive, edit, forge, products_of_weights
from tests.soundness.lattices import short_solution


class WiderMasks(WeakParameters):
    """A policy whose masks, and so whose projections, may be twice as large; the proof's layout is the same."""

    @property
    def mask_bound(self) -> int:
        return 2 * self.projections * self.projection_bound << 20


PARAMETERS = WeakParameters(20, 50, 6)
LARGE = WeakParameters(20, 2**40, 6)  # room for projections of 66 bits, 6 times: more than a scalar has
FULL = WeakParameters(40, 500, 6, 100, (), EncryptionParameters(8, MODULUS, 2**20))
NOISED = WeakParameters(
    40, 500, 6, 100, (), EncryptionParameters(8, 0xFFC001, 1), privacy_noise=NoiseBounds(900, 10, 10**6)
)
WEIGHTED = WeakParameters(40, 500, 6, 100, (), EncryptionParameters(8, MODULUS, 2**20), hidden_weight=9)


class ManyCombinations(EncryptionParameters):
    """Eight residues of 40 bits: together more than a scalar has, which three or four, as policies have, are not."""

    combinations = 8


MANY = WeakParameters(40, 500, 6, 100, (), ManyCombinations(8, MODULUS, 2**20))
TOO_LONG = [[50], [1, 1], [0, 0, 0, 0]]  # squared norm 2502 > 2500; padding and everything else in order

Forgery = Callable[[], Claim]


def false_claim(seed: int = 0) -> Known:
    """Openings in order, linear relation violated."""
    return forge(native(), PARAMETERS, TOO_LONG, seed)


def bend_response(claim: Known) -> Known:
    """Satisfy V6 with the first table response, at the price of V7."""
    return bend(PARAMETERS, claim, "table_response")


def bend_auxiliary_response(claim: Known) -> Known:
    """Satisfy V6 with the first auxiliary response, at the price of V7."""
    return bend(PARAMETERS, claim, "auxiliary_response")


def forget_commitments() -> Claim:
    """D_0 chosen last: (Com(response) - T - c sum over r > 0 of eq D) / (c eq(r_rows, 0))."""
    claim = bend_response(false_claim())
    proof, derived = decode_proof(PARAMETERS, claim.proof), derive(PARAMETERS, claim)
    first, *weights = forgery.row_weights(PARAMETERS, derived)
    inverse = pow(derived.challenge * first, -1, ORDER)
    scalars = [-derived.challenge * weight * inverse for weight in weights] + [-inverse]
    encoded = claim.commitments[POINT_SIZE:] + proof.table_announcement
    opening = [response * inverse for response in claim.given.table_response]
    point = forgery.combination(encoded, scalars, opening, claim.given.table_blinding_response * inverse)
    return forgery.first_row(claim, point)


def forget_auxiliary() -> Claim:
    """A chosen last: (Com(response) - T') / c."""
    claim = bend_auxiliary_response(false_claim())
    proof, derived = decode_proof(PARAMETERS, claim.proof), derive(PARAMETERS, claim)
    inverse = pow(derived.challenge, -1, ORDER)
    opening = [response * inverse for response in claim.given.auxiliary_response]
    blinding = claim.given.auxiliary_blinding_response * inverse
    point = forgery.combination(proof.auxiliary_announcement, [-inverse], opening, blinding)
    return edit(PARAMETERS, claim, auxiliary=point)


def forget_statement() -> Claim:
    """An honest proof for other parameters: all else that differs between statements enters V6 by itself."""
    return honest(native(), PARAMETERS).claim


def forget_projections() -> Claim:
    """A norm above the bound; with the weights of the projections known, z is chosen to make up for it."""
    return integers_chosen_last(LARGE, forge(native(), LARGE, [[2**40], [1, 1], [0, 0, 0, 0]]), "projections", 2**43)


def integers_chosen_last(parameters: ArgumentParameters, claim: Claim, field: str, size: int) -> Claim:
    """z, z' or Y changed by about `size` until V6 holds.

    The gap of V6 is linear in them, and a short solution exists as soon as all together have more bits than a scalar.
    """
    sent = getattr(decode_proof(parameters, claim.proof), field)

    def moved(change: list[int]) -> Claim:
        return edit(parameters, claim, **{field: tuple(z + delta for z, delta in zip(sent, change, strict=True))})

    start = derive(parameters, moved([0] * len(sent))).gap
    units = [[int(i == j) for i in range(len(sent))] for j in range(len(sent))]
    slopes = [(derive(parameters, moved(unit)).gap - start) % ORDER for unit in units]
    return moved(short_solution(slopes, -start % ORDER, ORDER, size))


def forget_claim() -> Claim:
    claim = false_claim()
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, claim=x))


def forget_round() -> Claim:
    claim = false_claim()
    *rounds, last = decode_proof(PARAMETERS, claim.proof).rounds
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, rounds=(*rounds, (x, *last[1:]))))


def forget_evaluations() -> Claim:
    for seed in range(20):
        claim = false_claim(seed)
        rest = decode_proof(PARAMETERS, claim.proof).evaluations[1:]
        try:
            return close_gap(PARAMETERS, lambda x, c=claim, r=rest: edit(PARAMETERS, c, evaluations=(x, *r)))
        except forgery.NoSquareRootError:
            continue
    raise AssertionError("twenty non-residues in a row")


def forget_table_announcement() -> Claim:
    claim = bend_response(false_claim())
    return edit(PARAMETERS, claim, table_announcement=forgery.table_announcement(PARAMETERS, claim))


def forget_auxiliary_announcement() -> Claim:
    claim = bend_auxiliary_response(false_claim())
    return edit(PARAMETERS, claim, auxiliary_announcement=forgery.auxiliary_announcement(PARAMETERS, claim))


def forget_form_announcement() -> Claim:
    claim = false_claim()
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, form_announcement=x))


def forget_cross_values() -> Claim:
    """The coefficient of the lowest power of mu, chosen with mu known."""
    claim = known_no_more(false_claim())
    rest = decode_proof(PARAMETERS, claim.proof).cross_values[1:]
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, cross_values=(x, *rest)))


def known_no_more(claim: Known) -> Claim:
    """The claim by its bytes alone: an edit of it folds nothing again."""
    return replace(Claim(claim.rows, claim.proof, claim.context, claim.encryption), sign_context=claim.sign_context)


def forget_fold_values() -> Claim:
    """<x_even, L_odd> of the last fold, chosen with its challenge known."""
    claim = known_no_more(false_claim())
    *folds, last = decode_proof(PARAMETERS, claim.proof).folds
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, folds=(*folds, last._replace(even_value=x))))


def forget_fold_commitments() -> Claim:
    """<x_even, G_odd> of the last fold, chosen with its challenge known: what is missing in the opening of a response
    that satisfies V6."""
    claim = known_no_more(bend_response(false_claim()))
    *folds, last = decode_proof(PARAMETERS, claim.proof).folds
    missing = forgery.missing_in_the_opening(PARAMETERS, claim)
    point = forgery.combination(last.even + missing, [1, -1], [], 0)
    return edit(PARAMETERS, claim, folds=(*folds, last._replace(even=point)))


def forget_blinding_responses() -> Claim:
    """That of the update's rows satisfies V6, and that of all other rows makes up for it, with mu known."""
    claim = known_no_more(false_full_claim())
    proof = decode_proof(FULL, claim.proof)
    assert proof.update_blinding_response is not None
    mu = forgery.vector_weight(FULL, claim)
    bent = close_gap(FULL, lambda x: edit(FULL, claim, update_blinding_response=x))
    moved = decode_proof(FULL, bent.proof).update_blinding_response - proof.update_blinding_response
    return edit(FULL, bent, table_blinding_response=(proof.table_blinding_response - moved * mu * mu) % ORDER)


def forget_context() -> Claim:
    return replace(honest(native(), PARAMETERS).claim, context=b"round 8, client 3")


# ---- with range and encryption ---------------------------------------------------------------------------------------


def false_full_claim(parameters: ArgumentParameters = FULL) -> Known:
    """An update that is too long, and a coordinate out of its bound; everything else in order."""
    rows = [[25, -25, 60, 500], [3], [0], [0]]
    tables = honest(native(), parameters, np.array([25, -25, 60, 100, *[0] * 12, 3, *[0] * 23])).committed.tables
    others = {layout.name: table for layout, table in zip(parameters.layout.tables, tables, strict=True)}
    noise = random_noise(parameters)
    assert noise is not None

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        return encrypted_by(native(), parameters, committed, noise)

    return forge(native(), parameters, rows, 0, others, encrypt)


def bend_full(field: str) -> Known:
    return bend(FULL, false_full_claim(), field)


def bend(parameters: ArgumentParameters, claim: Known, field: str) -> Known:
    """The first scalar of an answer such that V6 holds."""
    rest = getattr(claim.given, field)[1:]
    return close_gap(parameters, lambda x: edit(parameters, claim, **{field: (x, *rest)}))


def false_weight() -> Known:
    """W + 1 in the update and in the relation's own tables, with its square; every bound holds for it."""
    made, noise = honest(native(), WEIGHTED), random_noise(WEIGHTED)
    assert noise is not None
    tables = {
        place.name: table.copy() for place, table in zip(WEIGHTED.layout.tables, made.committed.tables, strict=True)
    }
    update, roots, squares = tables["update"], tables["weight-roots"], tables["weight-squares"]
    update.reshape(-1)[:40] = [0] * 39 + [10]
    roots[0, :5], squares[0, :5] = [10, 0, 0, 0, 0], [100, 0, 0, 0, 0]
    tables["private"][0, :4] = [500 * 10, 0, 0, 0]
    for name, root in zip(("range-a", "range-b", "range-c"), (0, 100 * 10, 0), strict=True):
        tables[name].reshape(-1)[:39] = root
        tables[name].reshape(-1)[39:] = 0

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        return encrypted_by(native(), WEIGHTED, committed, noise)

    return forgery.forge_tables(native(), WEIGHTED, list(tables.values()), seeded(0), encrypt)


def false_noise() -> Known:
    """A message with an update that is too long, under honest noise; everything else in order."""
    rand, noise = seeded(0), random_noise(NOISED)
    signed = random_signed_noise(native(), NOISED, rand)
    assert signed is not None
    assert noise is not None
    short = np.array([100, -100, *[0] * 38])
    tables = [table.copy() for table in witness_tables(NOISED, short, rand, noise, signed)]
    tables[0][0, 2] += 500

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        return encrypted_by(native(), NOISED, committed, noise)

    return forgery.forge_tables(native(), NOISED, tables, rand, encrypt, signed)


def forget_privacy_noise_commitments() -> Claim:
    """The slack's row, of which the signs are no function."""
    rows = NOISED.shape.data_rows
    return row_chosen_last(NOISED, false_noise(), "privacy_noise_commitments", 5 * rows + 1, rows)


def forget_quotients() -> Claim:
    """The same with the weights of the quotients known: four of 90 bits and more."""
    return integers_chosen_last(FULL, false_full_claim(), "quotients", 2**65)


def forget_combinations() -> Claim:
    """Y chosen once the weights of the relations are known, where no ciphertext is left to compare it with."""
    return integers_chosen_last(MANY, pruned(false_full_claim(MANY)), "combinations", 2**34)


def forget_range_commitments() -> Claim:
    return row_chosen_last(FULL, false_full_claim(), "range_commitments", FULL.shape.data_rows + 1)


def forget_encryption_commitments() -> Claim:
    return row_chosen_last(FULL, false_full_claim(), "encryption_commitments", 4 * FULL.shape.data_rows + 1)


def forget_weight_commitments() -> Claim:
    return row_chosen_last(WEIGHTED, false_weight(), "weight_commitments", 4 * WEIGHTED.shape.data_rows + 1)


def row_chosen_last(parameters: ArgumentParameters, false: Known, item: str, position: int, before: int = 0) -> Claim:
    """A row of a family of tables, by default its first, as what is missing in the table opening, once the responses
    stand. position: among all rows; before: how many of its family are before it."""
    claim = bend(parameters, false, "table_response")
    proof, derived = decode_proof(parameters, claim.proof), derive(parameters, claim)
    weights = forgery.row_weights(parameters, derived)
    weights[: parameters.shape.data_rows] = [0] * parameters.shape.data_rows
    inverse = pow(derived.challenge * weights.pop(position), -1, ORDER)
    encoded = b"".join(claim.rows[label] for label in parameters.layout.families)
    others = encoded[: POINT_SIZE * position] + encoded[POINT_SIZE * (position + 1) :] + proof.table_announcement
    scalars = [-derived.challenge * weight * inverse for weight in weights] + [-inverse]
    opening = [response * inverse for response in claim.given.table_response]
    point = forgery.combination(others, scalars, opening, claim.given.table_blinding_response * inverse)
    rows, start = getattr(claim, item), before * POINT_SIZE
    return altered(claim, **{item: rows[:start] + point + rows[start + POINT_SIZE :]})


def forget_update_announcement() -> Claim:
    claim = bend_full("update_response")
    return edit(FULL, claim, update_announcement=forgery.update_announcement(FULL, claim))


def forget_share_announcement() -> Claim:
    claim = bend_full("share_response")
    return edit(FULL, claim, share_announcement=forgery.share_announcement(FULL, claim))


def forget_share_commitment() -> Claim:
    """E_0 chosen last: (Com(response) - announcement) / c, for another key than the committed one."""
    claim = bend_full("share_response")
    proof, derived = decode_proof(FULL, claim.proof), derive(FULL, claim)
    assert claim.given.share_blinding_response is not None
    assert claim.encryption is not None
    inverse = pow(derived.challenge, -1, ORDER)
    opening = [response * inverse for response in claim.given.share_response]
    blinding = claim.given.share_blinding_response * inverse
    point = forgery.combination(proof.share_announcement, [-inverse], opening, blinding)
    return replace(claim, encryption=replace(claim.encryption, share_commitment=point))


def forget_ciphertext() -> Claim:
    """Another ciphertext with its hash: it differs where the weights, known beforehand, cancel in every combination."""
    claim = honest(native(), FULL).claim
    assert claim.encryption is not None
    return replace(claim, encryption=restated(claim.encryption, ciphertext=another_ciphertext(claim)))


def another_ciphertext(claim: Claim) -> np.ndarray:
    """One with the same combinations, modulo q, under the claim's weights of the cells."""
    residues = (residues_of(claim.encryption) + kernel(cell_weights(claim))) % MODULUS
    assert (residues != residues_of(claim.encryption)).any()
    return residues


def forget_ring_elements() -> Claim:
    """Ring elements that differ in the same way, in their constant coefficients times a power of X."""
    claim = honest(native(), FULL).claim
    assert claim.encryption is not None
    changed = shifted_elements(claim)
    return replace(claim, encryption=replace(claim.encryption, elements=changed))


def cell_weights(claim: Claim) -> list[list[int]]:
    """The S weights of every cell, modulo q."""
    return [[weight % MODULUS for weight in each] for each in products_of_weights(FULL, claim)]


def kernel(rows: list[list[int]]) -> np.ndarray:
    """A nonzero vector modulo q that all rows annihilate."""
    matrix = [list(row) for row in rows]
    pivots: list[int] = []
    for row in range(len(matrix)):
        column = next(c for c in range(len(matrix[row])) if matrix[row][c])
        inverse = pow(matrix[row][column], -1, MODULUS)
        matrix[row] = [value * inverse % MODULUS for value in matrix[row]]
        for other in range(len(matrix)):
            factor = matrix[other][column]
            if other != row:
                pairs = zip(matrix[other], matrix[row], strict=True)
                matrix[other] = [(x - factor * y) % MODULUS for x, y in pairs]
        pivots.append(column)
    free = next(c for c in range(len(matrix[0])) if c not in pivots)
    vector = np.zeros(len(matrix[0]), dtype=np.int64)
    vector[free] = 1
    for reduced, column in zip(matrix, pivots, strict=True):
        vector[column] = -reduced[free] % MODULUS
    return vector


def shifted_elements(claim: Claim) -> RingElements:
    """a_j + b_j with b_j such that every combination gives zero on every coefficient of the key.

    S N linear equations modulo q in the chunks' N coefficients each: soluble with more chunks than combinations.
    """
    assert claim.encryption is not None
    coefficients = claim.encryption.elements.coefficients
    chunks, n = coefficients.shape
    equations = []
    for weights in cell_weights(claim):
        for i in range(n):
            row = [0] * (chunks * n)
            for x, weight in enumerate(weights):
                j, m = divmod(x, n)
                row[j * n + (m - i) % n] += weight if i <= m else -weight
            equations.append([value % MODULUS for value in row])
    change = kernel(equations).reshape(chunks, n)
    assert change.any()
    return RingElements((coefficients + change) % MODULUS)


FORGERIES: dict[str, Forgery] = {
    "context": forget_context,
    "statement": forget_statement,
    "commitments": forget_commitments,
    "auxiliary": forget_auxiliary,
    "projections": forget_projections,
    "claim": forget_claim,
    "round": forget_round,
    "evaluations": forget_evaluations,
    "table-announcement": forget_table_announcement,
    "auxiliary-announcement": forget_auxiliary_announcement,
    "form-announcement": forget_form_announcement,
    "cross-values": forget_cross_values,
    "fold-commitments": forget_fold_commitments,
    "fold-values": forget_fold_values,
}
FULL_FORGERIES: dict[str, Forgery] = {
    "range-commitments": forget_range_commitments,
    "weight-commitments": forget_weight_commitments,
    "privacy-noise-commitments": forget_privacy_noise_commitments,
    "encryption-commitments": forget_encryption_commitments,
    "update-announcement": forget_update_announcement,
    "share-announcement": forget_share_announcement,
    "blinding-responses": forget_blinding_responses,
    "share-commitment": forget_share_commitment,
    "ciphertext": forget_ciphertext,
    "ring-elements": forget_ring_elements,
    "combinations": forget_combinations,
    "quotients": forget_quotients,
}
VERIFIERS: dict[str, ArgumentParameters] = {
    "statement": WiderMasks(20, 50, 6),
    "projections": LARGE,
    "combinations": MANY,
    "weight-commitments": WEIGHTED,
    "privacy-noise-commitments": NOISED,
}
# what the weights of the cells are drawn from: with the ciphertext at hand its combinations are others
BEFORE_CELL_WEIGHTS = {
    "range-commitments",
    "weight-commitments",
    "privacy-noise-commitments",
    "encryption-commitments",
    "share-commitment",
    "ciphertext",
    "ring-elements",
}
