"""Building blocks for tests of the argument: parameters, updates, honest claims, edited proofs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.errors import Malformed, Rejected
from proofs.parameters import ArgumentParameters
from proofs.proof import Proof, decode_proof
from proofs.prover import prove
from proofs.verifier import Claim, Verdict, verify
from proofs.witness import CommittedUpdate, commit_update
from tests.seeded import seeded

CONTEXT = b"round 7, client 3"


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


@dataclass(frozen=True)
class Honest:
    """An honest prover's claim and what it knows."""

    parameters: ArgumentParameters
    committed: CommittedUpdate
    claim: Claim

    @property
    def proof(self) -> Proof:
        return decode_proof(self.parameters, self.claim.proof)

    def edited(self, **changes: Any) -> Claim:
        """The claim with fields of its proof replaced."""
        return replace(self.claim, proof=replace(self.proof, **changes).encode(self.parameters))


def honest(
    engine: Engine,
    parameters: ArgumentParameters,
    update: NDArray[np.int64] | None = None,
    context: bytes = CONTEXT,
    seed: bytes | str | int = 0,
) -> Honest:
    if update is None:
        update = random_update(parameters.dimension, parameters.norm_bound, 1)
    rand = seeded(seed)
    committed = commit_update(engine, parameters, update, rand)
    proof = prove(engine, parameters, committed, context, rand)
    return Honest(parameters, committed, Claim(committed.commitments, proof, context))


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
