"""Building blocks for tests of the argument: parameters, updates, honest claims, edited proofs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER
from proofs.encryption import EncryptionParameters, EncryptionStatement, RingElements
from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.errors import Malformed, Rejected
from proofs.noise_witness import SignedNoise, commit_noise, signed_noise
from proofs.parameters import ArgumentParameters
from proofs.proof import Proof, decode_proof
from proofs.prover import Encrypted, prove
from proofs.randomness import Randomness
from proofs.relations.client_weight import WEIGHT_COMMITMENTS
from proofs.relations.encryption import Encryption
from proofs.relations.noise import NOISE_COMMITMENTS, ShortNoise
from proofs.relations.norm import NORM_COMMITMENTS
from proofs.relations.privacy_noise import PRIVACY_COMMITMENTS
from proofs.relations.range import RANGE_COMMITMENTS
from proofs.relations.relation import NO_INTEGERS, MaskedIntegers
from proofs.verifier import Claim, Verdict, verify
from proofs.witness import CommittedUpdate, Noise, commit_update, packed_key
from tests.proofs.answers import Answers, Known, edit, known, off_by, recorded
from tests.seeded import seeded

CONTEXT = b"round 7, client 3"
MODULUS = 0xFFFFFDC001  # 40 bits, the smallest of spec 6.1
RING = EncryptionParameters(16, MODULUS, 2**20)
NOISED_RING = EncryptionParameters(16, 0xFFC001, 1)  # 24 bits, the smallest of spec 11.1
SIGN_CONTEXT = b"before any noise of client 3"
LABELS = (NORM_COMMITMENTS, RANGE_COMMITMENTS, WEIGHT_COMMITMENTS, PRIVACY_COMMITMENTS, NOISE_COMMITMENTS)


class WeakParameters(ArgumentParameters):
    """Fewer projections than are sound: for the reference engine, and to show what the projections are for."""

    minimum_projections: ClassVar[int] = 1


def native() -> Engine:
    return get_engine("native")


def reference() -> Engine:
    return get_engine("reference")


def random_update(dimension: int, norm_bound: int, seed: int) -> NDArray[np.int64]:
    """An update with exact norm at most the bound, of the size that the bound allows."""
    generator = np.random.default_rng(seed)
    limit = math.isqrt(norm_bound**2 // dimension)
    return generator.integers(-limit, limit + 1, size=dimension, dtype=np.int64)


def bounded_update(parameters: ArgumentParameters, seed: int) -> NDArray[np.int64]:
    """The same, with every coordinate within its bound; a hidden weight is about half of the largest."""
    weight = (parameters.scale.largest + 1) // 2
    update = random_update(parameters.dimension, parameters.norm_bound * weight, seed)
    for segment in parameters.segments:
        place, bound = slice(segment.start, segment.stop), segment.bound * weight
        update[place] = np.clip(update[place], -bound, bound)
    if parameters.hidden_weight is not None:
        update[-1] = weight
    return update


def random_noise(parameters: ArgumentParameters, seed: int = 0) -> Noise | None:
    """Key and errors of about the honest size."""
    if parameters.encryption is None:
        return None
    generator = np.random.default_rng(seed)
    key = generator.integers(-11, 12, size=parameters.encryption.degree, dtype=np.int64)
    if not parameters.encryption.has_errors:
        return Noise(key)
    return Noise(key, generator.integers(-11, 12, size=parameters.shape.data_cells, dtype=np.int64))


def random_privacy_noise(parameters: ArgumentParameters, seed: int = 0) -> NDArray[np.int64]:
    """Noise of about half the energy that its ceiling and its groups allow."""
    bounds, cells = parameters.noise_bounds, parameters.shape.data_cells
    assert bounds is not None
    limit = min(bounds.group // 8, math.isqrt(bounds.ceiling // cells))
    return np.random.default_rng(seed).integers(-limit, limit + 1, size=cells, dtype=np.int64)


def random_signed_noise(
    engine: Engine, parameters: ArgumentParameters, rand: Randomness, noise: NDArray[np.int64] | int = 0
) -> SignedNoise | None:
    """Committed, with the signs of it; None where there is none. noise: or a seed of it."""
    if parameters.privacy_noise is None:
        return None
    drawn = random_privacy_noise(parameters, noise) if isinstance(noise, int) else noise
    return signed_noise(parameters, commit_noise(engine, parameters, drawn, rand), SIGN_CONTEXT)


def ring_elements(parameters: ArgumentParameters, seed: int = 0) -> RingElements:
    """Uniform a_j."""
    lattice = parameters.encryption
    assert lattice is not None
    shape = (lattice.ring_elements(parameters.shape.data_cells), lattice.degree)
    return RingElements(np.random.default_rng(seed).integers(0, lattice.modulus, size=shape, dtype=np.int64))


def encryption_of(
    parameters: ArgumentParameters,
    elements: RingElements,
    key: Sequence[int],
    errors: Sequence[int],
    message: Sequence[int],
) -> NDArray[np.int64]:
    """y = a k + T e + u modulo q, cell by cell, in plain integers."""
    lattice = parameters.encryption
    assert lattice is not None
    chunks, n = elements.coefficients.tolist(), lattice.degree
    residues = []
    for x, (u, e) in enumerate(zip(message, errors or [0] * len(message), strict=True)):
        a, m = chunks[x // n], x % n
        product = sum((a[m - i] if i <= m else -a[n + m - i]) * int(key[i]) for i in range(n))
        residues.append((product + lattice.plaintext_scale * int(e) + int(u)) % lattice.modulus)
    return np.array(residues, dtype=np.int64)


def encrypted_by(
    engine: Engine, parameters: ArgumentParameters, committed: CommittedUpdate, noise: Noise, **changes: Any
) -> Encrypted:
    """An honest encryption of the committed message under the noise; `changes` as in `restated`."""
    elements = changes.pop("elements", ring_elements(parameters))
    ciphertext = encryption_of(
        parameters, elements, noise.key.tolist(), noise.errors.tolist(), committed.message.tolist()
    )
    secret = [scalar % ORDER for scalar in packed_key(noise.key)]
    share = engine.commit([*secret, *committed.blindings], 17)
    statement = EncryptionStatement(elements, ciphertext, hash_of(ciphertext), share)
    return Encrypted(restated(statement, **changes), 17)


def hash_of(ciphertext: NDArray[np.int64]) -> bytes:
    """SHA-256 of the residues as 64-bit integers: what a caller may promise about the ciphertext."""
    return hashlib.sha256(ciphertext.astype("<i8").tobytes()).digest()


def restated(statement: EncryptionStatement, **changes: Any) -> EncryptionStatement:
    """The statement with parts replaced; another ciphertext has its own hash unless that is given too."""
    if changes.get("ciphertext") is not None:
        changes = {"ciphertext_hash": hash_of(changes["ciphertext"]), **changes}
    return replace(statement, **changes)


def residues_of(statement: EncryptionStatement | None) -> NDArray[np.int64]:
    """A copy of the ciphertext, which must be there."""
    assert statement is not None
    assert statement.ciphertext is not None
    return statement.ciphertext.copy()


def pruned(claim: Claim) -> Claim:
    """The claim for a verifier that has lost the ciphertext."""
    assert claim.encryption is not None
    return replace(claim, encryption=replace(claim.encryption, ciphertext=None))


@dataclass(frozen=True)
class Honest:
    """An honest prover's claim and what it knows."""

    parameters: ArgumentParameters
    committed: CommittedUpdate
    claim: Claim
    encrypted: Encrypted | None
    answers: Answers | None = None

    @property
    def known(self) -> Known:
        """The claim with the answers that its proof shows folded."""
        assert self.answers is not None
        return known(self.claim, self.answers)

    def answered(self, **changes: Any) -> Claim:
        """The claim with answers replaced, and folded again: whatever the openings say, the form does as well."""
        return edit(native(), self.parameters, self.known, **changes)

    def off_by(self, times: int) -> Claim:
        """The claim with a response that fails the opening and nothing else, by `times` the same point."""
        return off_by(native(), self.parameters, self.claim, times)

    @property
    def proof(self) -> Proof:
        return decode_proof(self.parameters, self.claim.proof)

    def edited(self, **changes: Any) -> Claim:
        """The claim with fields of its proof replaced."""
        return replace(self.claim, proof=replace(self.proof, **changes).encode(self.parameters))


def claim_of(committed: CommittedUpdate, proof: bytes, context: bytes, encrypted: Encrypted | None = None) -> Claim:
    """What a client with these publishes."""
    statement = encrypted.statement if encrypted is not None else None
    sign_context = None if committed.signs is None else SIGN_CONTEXT
    return Claim(committed.rows, proof, context, statement, sign_context=sign_context)


def claimed(
    commitments: bytes,
    proof: bytes,
    context: bytes,
    range_commitments: bytes = b"",
    encryption_commitments: bytes = b"",
    encryption: EncryptionStatement | None = None,
    weight_commitments: bytes = b"",
    privacy_noise_commitments: bytes = b"",
    sign_context: bytes | None = None,
) -> Claim:
    """A claim of these parts, whatever they are."""
    parts = (
        commitments,
        range_commitments,
        weight_commitments,
        privacy_noise_commitments,
        encryption_commitments,
    )
    return Claim(dict(zip(LABELS, parts, strict=True)), proof, context, encryption, sign_context=sign_context)


def altered(claim: Claim, **changes: Any) -> Claim:
    """The claim with parts replaced, row commitments by the names of their properties."""
    rows = {label: changes.pop(label.replace("-", "_"), claim.rows.get(label, b"")) for label in LABELS}
    return replace(claim, rows=rows, **changes)


def encryption_relation(parameters: ArgumentParameters) -> Encryption:
    """The one in force."""
    (found,) = (relation for relation in parameters.relations if isinstance(relation, Encryption))
    return found


def quotients_of(parameters: ArgumentParameters) -> MaskedIntegers:
    """Of the encryption; none without its proof."""
    return parameters.quotients[0] if parameters.quotients else NO_INTEGERS


def noise_relation(parameters: ArgumentParameters) -> ShortNoise:
    """The one in force."""
    (found,) = (relation for relation in parameters.relations if isinstance(relation, ShortNoise))
    return found


def honest(
    engine: Engine,
    parameters: ArgumentParameters,
    update: NDArray[np.int64] | None = None,
    context: bytes = CONTEXT,
    seed: bytes | str | int = 0,
    noise: Noise | None = None,
    privacy_noise: NDArray[np.int64] | int = 0,
) -> Honest:
    if update is None:
        update = bounded_update(parameters, 1)
    if noise is None:
        noise = random_noise(parameters)
    rand = seeded(seed)
    signed = random_signed_noise(engine, parameters, rand, privacy_noise)
    committed = commit_update(engine, parameters, update, rand, noise, signed)
    encrypted = encrypted_by(engine, parameters, committed, noise) if noise is not None else None
    with recorded() as answers:
        proof = prove(engine, parameters, committed, context, rand, encrypted)
    return Honest(parameters, committed, claim_of(committed, proof, context, encrypted), encrypted, answers[-1])


def name_of(verdict: Verdict) -> str:
    """The stable name of a verdict."""
    if verdict is None:
        return "accepted"
    return verdict.where if isinstance(verdict, Malformed) else verdict.check


def judge(engine: Engine, parameters: ArgumentParameters, claim: Claim) -> str:
    """The name of what `verify` says; anything but a Malformed or a Rejected escapes."""
    try:
        verify(engine, parameters, claim)
    except (Malformed, Rejected) as verdict:
        return name_of(verdict)
    return "accepted"


def bytes_of(claim: Claim) -> tuple[bytes, ...]:
    """The parts of a claim that its prover chose."""
    return claim.commitments, *(claim.rows.get(label, b"") for label in LABELS[1:]), claim.proof
