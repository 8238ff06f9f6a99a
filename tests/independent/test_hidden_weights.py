"""The second auditor's verifier on proofs with a hidden weight: accepts and rejects as the first, by the same names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proofs.encryption import EncryptionParameters, RingElements
from proofs.prover import prove
from proofs.ranges import CoordinateGroup
from proofs.squares import four_squares
from proofs.verifier import Claim as OurClaim
from proofs.witness import commit_update
from tests.independent import argument
from tests.independent.claims import Claim
from tests.independent.encoding import Unreadable
from tests.independent.lattice import public_element
from tests.independent.parameters import Numbers
from tests.independent.policies import argument_conditions
from tests.proofs.arguments import (
    CONTEXT,
    MODULUS,
    Honest,
    WeakParameters,
    altered,
    claim_of,
    encrypted_by,
    honest,
    judge,
    native,
    pruned,
    random_noise,
    random_signed_noise,
)
from tests.seeded import seeded
from tests.soundness.forgery import another_point, forge_tables
from tests.soundness.test_tampering import ENCRYPTION_TAMPERS, TAMPERS
from tests.soundness.test_weight_attacks import WEIGHT, slack, tables_of

SEED = bytes(range(32))
DEGREE = 16
RING = EncryptionParameters(DEGREE, MODULUS, 2**20)
GROUPS = (CoordinateGroup(3, 9, 0),)
PLAIN = WeakParameters(20, 50, 4, hidden_weight=6)
FULL = WeakParameters(40, 500, 4, 100, GROUPS, RING, hidden_weight=300)


def numbers_of(parameters: WeakParameters) -> Numbers:
    """As a policy gives them, of a ring of another degree and of fewer projections than one may."""
    groups = [{"start": each.start, "stop": each.stop, "bound": each.bound} for each in parameters.groups]
    update = {"norm_bound": parameters.norm_bound, "coordinate_bound": parameters.coordinate_bound, "groups": groups}
    lattice = {"degree": DEGREE, "modulus": MODULUS, "plaintext_scale": 2**20}
    policy = {
        "dimension": parameters.dimension - 1,
        "update": update,
        "projections": parameters.projections,
        "max_cohort": 5,
        "threshold": 3,
        "lattice": {**lattice, "encryption_proof": parameters.encryption is not None},
        "noise": None,
        "weights": {"kind": "private", "largest": parameters.hidden_weight, "unit": None},
    }
    return Numbers(policy)


def encrypted_with(parameters: WeakParameters, update: np.ndarray) -> Honest:
    """With the ring elements of a round's seed, and noise for privacy where there is some."""
    noise, rand, lattice = random_noise(parameters), seeded(3), parameters.encryption
    assert noise is not None
    assert lattice is not None
    signed = random_signed_noise(native(), parameters, rand)
    committed = commit_update(native(), parameters, update, rand, noise, signed)
    places = range(lattice.ring_elements(parameters.shape.data_cells))
    drawn = [public_element(SEED, j, lattice.modulus, lattice.degree) for j in places]
    elements = RingElements(np.array(drawn, dtype=np.int64))
    encrypted = encrypted_by(native(), parameters, committed, noise, elements=elements)
    proof = prove(native(), parameters, committed, CONTEXT, rand, encrypted)
    return Honest(parameters, committed, claim_of(committed, proof, CONTEXT, encrypted), encrypted)


def restated(claim: OurClaim) -> Claim:
    """What the second auditor reads of it."""
    statement = claim.encryption
    ciphertext = statement.ciphertext if statement is not None else None
    return Claim(
        commitments=claim.commitments,
        range_commitments=claim.range_commitments,
        weight_commitments=claim.weight_commitments,
        noise_commitments=claim.encryption_commitments,
        privacy_noise_commitments=claim.privacy_noise_commitments,
        sign_context=claim.sign_context or b"",
        context=claim.context,
        proof=claim.proof,
        seed=SEED,
        ciphertext_hash=b"" if statement is None else statement.ciphertext_hash,
        ciphertext=None if ciphertext is None else ciphertext.tolist(),
        share_commitment=b"" if statement is None else statement.share_commitment,
    )


def second(parameters: WeakParameters, claim: OurClaim) -> str:
    try:
        argument.verify(numbers_of(parameters), restated(claim))
    except (Unreadable, argument.Refused) as fault:
        return str(fault)
    return "accepted"


def both(parameters: WeakParameters, claim: OurClaim) -> str:
    found = judge(native(), parameters, claim)
    assert second(parameters, claim) == found
    return found


@pytest.fixture(scope="module")
def full() -> Honest:
    return encrypted_with(FULL, np.array([1, -700, *[0] * 37, 7]))


@pytest.mark.parametrize("parameters", [PLAIN, FULL, WeakParameters(17, 50, 4, 7, hidden_weight=1)])
def test_numbers(parameters: WeakParameters) -> None:
    numbers = numbers_of(parameters)
    assert (numbers.proof_size, numbers.M, numbers.Z) == (
        parameters.proof_size, parameters.mask_bound, parameters.response_bound,
    )  # fmt: skip
    assert 33 * numbers.rows_of("weight-roots", "weight-squares") == 66
    plaintext, model = (numbers.blob_size("", field) for field in ("plaintext", "model"))
    assert (plaintext, model) == (8 * parameters.dimension, 8 * (parameters.dimension - 1))
    assert [name for name, holds in argument_conditions(numbers) if not holds] == []


@pytest.mark.parametrize("parameters", [PLAIN, WeakParameters(17, 50, 4, 7, hidden_weight=1)])
def test_accepted(parameters: WeakParameters) -> None:
    assert both(parameters, honest(native(), parameters).claim) == "accepted"


def test_accepted_with_its_encryption(full: Honest) -> None:
    assert both(FULL, full.claim) == "accepted"


@pytest.mark.parametrize("name", [*TAMPERS, *ENCRYPTION_TAMPERS])
def test_tampered_field(full: Honest, name: str) -> None:
    change, _ = (TAMPERS | ENCRYPTION_TAMPERS)[name]
    claim = full.edited(**{name: change(full.proof)})
    assert both(FULL, claim) != "accepted"
    assert both(FULL, pruned(claim)) not in ("accepted", "ciphertext-combination")


def test_rows_of_the_weight(full: Honest) -> None:
    rows = full.claim.rows["weight-commitments"]
    assert both(FULL, altered(full.claim, weight_commitments=rows[:33])) == "weight-commitments-length"
    assert both(FULL, pruned(altered(full.claim, weight_commitments=rows[33:] + rows[:33]))) == "linear-relation"
    assert both(FULL, altered(full.claim, weight_commitments=rows[:33] + another_point())) == "ciphertext-combination"


@pytest.mark.parametrize(
    ("stated", "bound", "verdict"),
    [(5, 5, "accepted"), (0, 0, ""), (7, 7, ""), (-1, -1, ""), (5, 1, ""), (1, 5, "")],
)
def test_attacks(stated: int, bound: int, verdict: str) -> None:
    """In range; zero, W + 1, negative; another in the message than in the bound."""
    tables = tables_of({0: 50 * bound, WEIGHT: stated}, [bound, *slack(bound)])
    claim = forge_tables(native(), PLAIN, tables, seeded(1))
    assert both(PLAIN, claim) == (verdict or "linear-relation")


def test_another_largest_weight(full: Honest) -> None:
    """Of nearly the same masks."""
    other = replace(FULL, hidden_weight=299)
    assert both(other, pruned(full.claim)) in ("shortness", "linear-relation", "quotient-range")


@pytest.mark.parametrize("dimension", [2, 16, 17, pytest.param(257, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    "largest", [1, 2**20, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (5, 2**20 - 1))]
)
def test_shapes(dimension: int, largest: int) -> None:
    """The weight alone in the last row, without padding, of the least dimension, at the largest W: 1 and W are
    accepted, and nothing beyond, nor a norm of one unit more."""
    parameters = WeakParameters(dimension, 2**20 if largest == 2**20 else 2**19, 6, hidden_weight=largest)
    bound = parameters.norm_bound
    cases = [(1, 0, True), (largest, 0, True), (0, 0, False), (-1, 0, False)]
    # of the largest W, the engine commits to no larger numbers
    cases += [] if largest == 2**20 else [(largest + 1, 0, False), (largest, 1, False)]
    for weight, longer, lawful in cases:
        update = np.zeros((parameters.shape.data_rows, parameters.shape.columns), dtype=np.int64)
        update.reshape(-1)[0] = bound * weight + longer
        update.reshape(-1)[dimension - 1] = weight
        private = np.zeros((1, parameters.shape.columns), dtype=np.int64)
        left = (bound**2 + 1) * weight**2 - sum(int(each) ** 2 for each in update.reshape(-1))
        private[0, :4] = four_squares(max(0, left), seeded(1))
        roots = np.zeros((1, 8), dtype=np.int64)
        roots[0, :5] = weight, *four_squares(max(0, (weight - 1) * (largest - weight)), seeded(2))
        claim = forge_tables(native(), parameters, [update, private, roots, roots**2], seeded(3))
        assert both(parameters, claim) == ("accepted" if lawful else "linear-relation"), (weight, longer)
