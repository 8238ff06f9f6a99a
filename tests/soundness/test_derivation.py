"""What the verifier derives from a claim, by full tables as well: `derive` agrees with it where its short cuts end."""

from __future__ import annotations

import pytest

from proofs.encryption import EncryptionParameters
from proofs.privacy_noise import NoiseBounds
from proofs.proof import decode_proof
from proofs.ranges import CoordinateGroup
from tests.proofs.arguments import MODULUS, WeakParameters, honest, judge, native
from tests.soundness.forgery import derive, edit
from tests.soundness.frozen_items import FULL, NOISED, PARAMETERS, WEIGHTED, false_full_claim
from tests.soundness.test_frozen_signs import FEW


@pytest.mark.parametrize(
    "parameters",
    [
        PARAMETERS,
        FULL,
        WeakParameters(20, 50, 3, 9, (CoordinateGroup(2, 5, 0), CoordinateGroup(7, 20, 40))),
        WeakParameters(40, 500, 3, None, (), EncryptionParameters(32, MODULUS, 2**20)),  # last chunk cut
        WeakParameters(5, 500, 3, 9, (), EncryptionParameters(64, MODULUS, 2**20)),  # key taller than the update
        WeakParameters(70, 500, 3, None, (), EncryptionParameters(4, MODULUS, 2**20)),  # chunks within a row
        WeakParameters(20, 500, 3, hidden_weight=1),
        WeakParameters(17, 500, 3, 9, (CoordinateGroup(2, 5, 0),), hidden_weight=7),  # alone in the last row
        WEIGHTED,
        NOISED,
        FEW,
        WeakParameters(70, 500, 3, 9, privacy_noise=NoiseBounds(900, 10, 10**6)),
    ],
)
def test_second_implementation_agrees_on_honest_claims(parameters: WeakParameters) -> None:
    claim = honest(native(), parameters).claim
    assert judge(native(), parameters, claim) == "accepted"
    assert derive(parameters, claim).gap == 0
    count = 0 if parameters.encryption is None else parameters.encryption.combinations
    assert derive(parameters, claim).mismatch == [0] * count


def test_second_implementation_agrees_on_a_false_claim() -> None:
    claim = false_full_claim()
    assert derive(FULL, claim).gap != 0
    assert judge(native(), FULL, claim) == "linear-relation"
    residue, *rest = decode_proof(FULL, claim.proof).combinations
    changed = edit(FULL, claim, combinations=((residue + 1) % MODULUS, *rest))
    assert derive(FULL, changed).mismatch == [1, 0, 0, 0]
