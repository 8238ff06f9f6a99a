"""What the proof of encryption is about: another statement, or one out of form, with the ciphertext and without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from proofs.encryption import RingElements
from proofs.errors import Misuse
from proofs.verifier import Claim
from tests.proofs.arguments import MODULUS, Honest, honest, judge, native, pruned, residues_of, restated, ring_elements
from tests.soundness.forgery import another_point
from tests.soundness.test_tampering import FULL


@pytest.fixture(scope="module")
def full() -> Honest:
    return honest(native(), FULL)


def about(full: Honest, **changes: Any) -> Claim:
    """The claim about another statement."""
    assert full.claim.encryption is not None
    return replace(full.claim, encryption=restated(full.claim.encryption, **changes))


@pytest.mark.parametrize("x", [0, 17, FULL.shape.data_cells - 1])
@pytest.mark.parametrize("keep_hash", [True, False])
def test_changed_residue(full: Honest, x: int, keep_hash: bool) -> None:
    """Under its own hash, and under that of the right ciphertext: the combinations notice either way."""
    assert full.claim.encryption is not None
    ciphertext = residues_of(full.claim.encryption)
    ciphertext[x] = (ciphertext[x] + 1) % MODULUS
    changes = {"ciphertext_hash": full.claim.encryption.ciphertext_hash} if keep_hash else {}
    claim = about(full, ciphertext=ciphertext, **changes)
    assert judge(native(), FULL, claim) == "ciphertext-combination"
    assert judge(native(), FULL, pruned(claim)) == ("accepted" if keep_hash else "linear-relation")


def test_changed_hash(full: Honest) -> None:
    """All challenges are others."""
    claim = about(full, ciphertext_hash=bytes(32))
    assert judge(native(), FULL, claim) == "ciphertext-combination"
    assert judge(native(), FULL, pruned(claim)) == "linear-relation"


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_hash_of_another_length_is_the_callers_mistake(full: Honest, size: int) -> None:
    for claim in (about(full, ciphertext_hash=bytes(size)), pruned(about(full, ciphertext_hash=bytes(size)))):
        with pytest.raises(Misuse, match="ciphertext hash: expected 32 bytes"):
            judge(native(), FULL, claim)


def test_changed_elements(full: Honest) -> None:
    claim = about(full, elements=ring_elements(FULL, 1))
    assert judge(native(), FULL, claim) == "ciphertext-combination"
    assert judge(native(), FULL, pruned(claim)) == "linear-relation"


def test_changed_share_commitment(full: Honest) -> None:
    claim = about(full, share_commitment=another_point())
    assert judge(native(), FULL, claim) == "ciphertext-combination"
    assert judge(native(), FULL, pruned(claim)) == "linear-relation"
    for point in (bytes(33), b"\x04" + another_point()[1:]):
        claim = about(full, share_commitment=point)
        assert judge(native(), FULL, claim) == judge(native(), FULL, pruned(claim)) == "point-encoding"


@pytest.mark.parametrize("size", [0, 32, 34, 66])
def test_share_commitment_of_another_length(full: Honest, size: int) -> None:
    claim = about(full, share_commitment=(another_point() * 2)[:size])
    assert judge(native(), FULL, claim) == judge(native(), FULL, pruned(claim)) == "share-commitment-length"


def test_ciphertext_out_of_form(full: Honest) -> None:
    good = residues_of(full.claim.encryption)
    for x, value in ((0, MODULUS), (47, -1), (3, 2**63 - 1)):
        bad = good.copy()
        bad[x] = value
        assert judge(native(), FULL, about(full, ciphertext=bad)) == "ciphertext"
    for other in (good[:-1], np.append(good, 0), good.reshape(1, -1), good.astype(np.int32)):
        assert judge(native(), FULL, about(full, ciphertext=other)) == "ciphertext"


def test_elements_of_another_shape_are_the_callers_mistake(full: Honest) -> None:
    with pytest.raises(Misuse, match="ring elements"):
        judge(native(), FULL, about(full, elements=RingElements(np.zeros((2, 16), dtype=np.int64))))
