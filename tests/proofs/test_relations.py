"""Completeness of the coordinate range and of the proof of encryption, alone and together, at their edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.encryption import EncryptionParameters, EncryptionStatement, RingElements
from proofs.errors import Misuse
from proofs.parameters import ArgumentParameters
from proofs.prover import Encrypted, prove
from proofs.ranges import CoordinateGroup
from proofs.verifier import verify, verify_batch
from proofs.witness import Noise, commit_update
from protocols.lattice import public, reference
from protocols.lattice.encryption import generate_key
from protocols.lattice.gaussian import sample
from protocols.lattice.parameters import LatticeParameters
from protocols.lattice.transform import multiply
from protocols.sharing import pack_key, share_secret
from tests.proofs.arguments import (
    CONTEXT,
    MODULUS,
    RING,
    WeakParameters,
    bounded_update,
    bytes_of,
    claim_of,
    encrypted_by,
    hash_of,
    honest,
    judge,
    name_of,
    native,
    pruned,
    random_noise,
    residues_of,
)
from tests.proofs.arguments import (
    reference as reference_engine,
)
from tests.seeded import seeded

BETAS = st.one_of(st.sampled_from([0, 1, 2, 127, 128, 2**15, 2**20]), st.integers(0, 300))
DEGREES = st.sampled_from([4, 8, 16, 32, 64, 128])


@st.composite
def groups(draw: st.DrawFn, dimension: int) -> tuple[CoordinateGroup, ...]:
    edges = sorted(draw(st.sets(st.integers(0, dimension), max_size=6)))
    pairs = zip(edges[0::2], edges[1::2], strict=False)
    return tuple(CoordinateGroup(start, stop, draw(BETAS)) for start, stop in pairs)


@settings(max_examples=20, deadline=None)
@given(st.data(), st.integers(1, 300), BETAS, st.integers(0, 2**32 - 1))
def test_range_is_complete(data: st.DataObject, dimension: int, beta: int, seed: int) -> None:
    parameters = ArgumentParameters(dimension, 2**20, 360, beta, data.draw(groups(dimension)))
    made = honest(native(), parameters, bounded_update(parameters, seed), seed=seed)
    assert len(made.claim.range_commitments) == parameters.commitments_size("range-commitments")
    assert len(made.claim.proof) == parameters.proof_size
    verify(native(), parameters, made.claim)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), DEGREES, st.sampled_from([None, 0, 5]), st.integers(0, 2**32 - 1))
def test_encryption_is_complete(dimension: int, degree: int, beta: int | None, seed: int) -> None:
    lattice = EncryptionParameters(degree, MODULUS, 2**20)
    parameters = ArgumentParameters(dimension, 2**20, 360, beta, (), lattice)
    made = honest(native(), parameters, bounded_update(parameters, seed), seed=seed)
    assert len(made.claim.encryption_commitments) == parameters.commitments_size("encryption-commitments")
    assert len(made.claim.proof) == parameters.proof_size
    verify(native(), parameters, made.claim)


@settings(max_examples=8, deadline=None)
@given(
    dimension=st.integers(1, 70),
    beta=st.sampled_from([None, 0, 5, 300]),
    degree=st.sampled_from([None, 4, 16, 32]),
    seed=st.integers(0, 2**32 - 1),
    cut=st.integers(0, 2**16),
    flip=st.integers(1, 255),
)
def test_engines_agree(dimension: int, beta: int | None, degree: int | None, seed: int, cut: int, flip: int) -> None:
    """Identical bytes from the same randomness, identical verdicts on a proof with one byte changed."""
    lattice = None if degree is None else EncryptionParameters(degree, MODULUS, 2**20)
    parameters = WeakParameters(dimension, 5000, 5, beta, (), lattice)
    made = honest(native(), parameters, seed=seed)
    assert bytes_of(made.claim) == bytes_of(honest(reference_engine(), parameters, seed=seed).claim)
    broken = bytearray(made.claim.proof)
    broken[cut % len(broken)] ^= flip
    claim = replace(made.claim, proof=bytes(broken))
    verdict = judge(native(), parameters, claim)
    assert verdict != "accepted"
    assert verdict == judge(reference_engine(), parameters, claim)
    assert judge(reference_engine(), parameters, made.claim) == "accepted"


@pytest.mark.parametrize("beta", [0, 1, 2**15, 2**20])
@pytest.mark.parametrize("sign", [1, -1])
def test_every_coordinate_at_its_bound(beta: int, sign: int) -> None:
    parameters = ArgumentParameters(33, 2**30, 360, beta)
    verify(native(), parameters, honest(native(), parameters, np.full(33, sign * beta)).claim)


def test_frozen_and_free_groups() -> None:
    groups = (CoordinateGroup(0, 5, 0), CoordinateGroup(16, 32, 2**20), CoordinateGroup(32, 33, 1))
    parameters = ArgumentParameters(40, 2**30, 360, 3, groups)
    update = np.full(40, -3)
    update[:5], update[16:32], update[32] = 0, 2**20, -1
    verify(native(), parameters, honest(native(), parameters, update).claim)


def test_norm_and_range_both_hold() -> None:
    """Every coordinate within its bound, but not the norm."""
    parameters = ArgumentParameters(33, 10, 360, 3)
    with pytest.raises(Misuse, match="B"):
        commit_update(native(), parameters, np.full(33, 3), seeded(0))


@pytest.mark.parametrize(
    ("dimension", "degree"),
    [
        (1, 4),
        (16, 16),  # exactly one chunk
        (17, 16),  # a second chunk
        (40, 32),  # the last chunk cut
        (300, 16),  # many chunks, one of 16 cells a row of 32
        (300, 8),  # several chunks a row
        (5, 4096),  # the ring of the protocol, one chunk cut short
    ],
)
def test_chunks(dimension: int, degree: int) -> None:
    lattice = EncryptionParameters(degree, MODULUS, 2**20)
    parameters = ArgumentParameters(dimension, 2**20, 360, None, (), lattice)
    verify(native(), parameters, honest(native(), parameters, bounded_update(parameters, 3)).claim)


@pytest.mark.parametrize("modulus", [0xFFFFFDC001, 0x3FFFFFFFFFFF0001])
def test_smallest_and_largest_modulus(modulus: int) -> None:
    scale = 2 ** (modulus.bit_length() - 9)
    parameters = ArgumentParameters(50, 2**40, 360, 2**20, (), EncryptionParameters(16, modulus, scale))
    verify(native(), parameters, honest(native(), parameters).claim)


@pytest.mark.parametrize("bound", [1, 20, 1024])
def test_other_noise_bounds(bound: int) -> None:
    parameters = ArgumentParameters(40, 500, 360, None, (), EncryptionParameters(16, MODULUS, 2**20, bound))
    cells, limit = parameters.shape.data_cells, bound // 8
    rng = np.random.default_rng(0)
    noise = Noise(rng.integers(-limit, limit + 1, 16), rng.integers(-limit, limit + 1, cells))
    verify(native(), parameters, honest(native(), parameters, noise=noise).claim)


def test_group_of_noise_exactly_at_the_bound() -> None:
    """A single error of E, and a group without slack."""
    parameters = ArgumentParameters(40, 500, 360, None, (), RING)
    noise = random_noise(parameters)
    assert noise is not None
    noise.errors[:16] = [128] + [0] * 15
    noise.errors[16:32] = [127, -15, 5, -2, 1] + [0] * 11
    noise.key[:] = [0] * 15 + [-128]
    verify(native(), parameters, honest(native(), parameters, noise=noise).claim)


def test_with_the_protocols_encryption_and_sharing() -> None:
    """N = 4096: samples, NTT, seed expansion and Shamir's sharing as clients use them."""
    lattice = LatticeParameters(4096, MODULUS, 2**20)
    parameters = ArgumentParameters(
        5000, 2**20, 360, 2**12, (), EncryptionParameters(lattice.degree, lattice.modulus, lattice.plaintext_scale)
    )
    cells, seed, rand = parameters.shape.data_cells, bytes(range(32)), seeded(4)
    elements = np.array([reference.ring_element(lattice, seed, j) for j in range(lattice.ring_elements(cells))])
    key, errors = generate_key(lattice, rand), sample(cells, rand)
    committed = commit_update(native(), parameters, bounded_update(parameters, 1), rand, Noise(key, errors))
    products = multiply(public.expand(lattice, seed, cells).transforms, key.astype(np.int64), lattice.modulus)
    ciphertext = (
        products.reshape(-1)[:cells].astype(np.int64) + lattice.plaintext_scale * errors.astype(np.int64)
    ) + committed.message
    ciphertext %= lattice.modulus
    blindings: list[bytes] = []

    def recording(size: int) -> bytes:
        blindings.append(rand(size))
        return blindings[-1]

    share, _ = share_secret(native(), [*pack_key(key), *committed.blindings], 3, 1, recording)
    statement = EncryptionStatement(RingElements(elements), ciphertext, hash_of(ciphertext), share)
    encrypted = Encrypted(statement, int.from_bytes(blindings[-1], "big"))
    proof = prove(native(), parameters, committed, CONTEXT, rand, encrypted)
    verify(native(), parameters, claim_of(committed, proof, CONTEXT, encrypted))


def test_batch_of_encryptions() -> None:
    parameters = ArgumentParameters(40, 500, 360, 100, (), RING)
    made = [honest(native(), parameters, bounded_update(parameters, i), seed=i) for i in range(4)]
    claims = [each.claim for each in made]
    assert verify_batch(native(), parameters, claims) == [None] * 4
    proof = made[1].proof
    assert proof.share_blinding_response is not None
    claims[1] = made[1].answered(share_blinding_response=proof.share_blinding_response ^ 1)
    claims[3] = made[3].off_by(1)
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), parameters, claims)]
    assert verdicts == ["accepted", "opening", "accepted", "opening"]
    assert verdicts == [judge(native(), parameters, claim) for claim in claims]


def test_ciphertext_of_something_else_is_refused_by_the_prover() -> None:
    parameters = WeakParameters(40, 500, 5, None, (), RING)
    noise = random_noise(parameters)
    assert noise is not None
    committed = commit_update(native(), parameters, bounded_update(parameters, 1), seeded(1), noise)
    ciphertext = residues_of(encrypted_by(native(), parameters, committed, noise).statement)
    ciphertext[7] = (ciphertext[7] + 1) % MODULUS
    wrong = encrypted_by(native(), parameters, committed, noise, ciphertext=ciphertext)
    with pytest.raises(Misuse, match="ciphertext"):
        prove(native(), parameters, committed, CONTEXT, seeded(2), wrong)


def test_prover_needs_the_ciphertext() -> None:
    made = honest(native(), WeakParameters(40, 500, 5, None, (), RING))
    assert made.encrypted is not None
    alone = replace(made.encrypted, statement=replace(made.encrypted.statement, ciphertext=None))
    with pytest.raises(Misuse, match="its hash alone"):
        prove(native(), made.parameters, made.committed, CONTEXT, seeded(0), alone)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 70), DEGREES, st.sampled_from([None, 0, 5]), st.integers(0, 2**32 - 1))
def test_complete_without_the_ciphertext(dimension: int, degree: int, beta: int | None, seed: int) -> None:
    """Once it is pruned, the same proof still stands."""
    parameters = WeakParameters(dimension, 5000, 5, beta, (), EncryptionParameters(degree, MODULUS, 2**20))
    claim = pruned(honest(native(), parameters, seed=seed).claim)
    assert judge(native(), parameters, claim) == judge(reference_engine(), parameters, claim) == "accepted"


def test_batch_of_which_some_ciphertexts_are_pruned() -> None:
    parameters = ArgumentParameters(40, 500, 360, 100, (), RING)
    made = [honest(native(), parameters, bounded_update(parameters, i), seed=i) for i in range(4)]
    claims = [made[0].claim, pruned(made[1].claim), made[2].claim, pruned(made[3].claim)]
    assert verify_batch(native(), parameters, claims) == [None] * 4
    for position in (2, 3):
        residue, *rest = made[position].proof.combinations
        changed = made[position].edited(combinations=((residue + 1) % MODULUS, *rest))
        claims[position] = changed if position == 2 else pruned(changed)
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), parameters, claims)]
    assert verdicts == ["accepted", "accepted", "ciphertext-combination", "linear-relation"]
    assert verdicts == [judge(native(), parameters, claim) for claim in claims]


def test_statement_goes_with_its_parameters() -> None:
    with_it, without = WeakParameters(40, 500, 5, None, (), RING), WeakParameters(40, 500, 5)
    made, plain = honest(native(), with_it), honest(native(), without)
    with pytest.raises(Misuse, match="statement"):
        verify(native(), with_it, plain.claim)
    with pytest.raises(Misuse, match="statement"):
        verify(native(), without, made.claim)
    with pytest.raises(Misuse, match="encryption"):
        prove(native(), without, plain.committed, CONTEXT, seeded(0), made.encrypted)
    with pytest.raises(Misuse, match="encryption"):
        prove(native(), with_it, made.committed, CONTEXT, seeded(0))
