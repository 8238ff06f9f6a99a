"""What a simulated federation is made of, and its policy. Parties have keys by their names."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.blobs import blob_hash
from protocols.derivation import derive
from protocols.envelopes import seal_policy
from protocols.identities import SigningKey
from protocols.noise_derivation import with_noise
from protocols.noise_trustees import CLIENTS, TRUSTEES
from protocols.policy import (
    SCALE_BIAS,
    STATISTIC,
    CoordinateRule,
    FormerFederation,
    Member,
    Policy,
    PrivacyBudget,
    ScaleRule,
    StepRule,
    TensorSpec,
    WeightRule,
)
from protocols.steps import step as server_steps
from protocols.steps.fedavg import fedavg
from protocols.weights import EQUAL_WEIGHTS
from tests.seeded import seeded


@dataclass(frozen=True)
class Setting:
    """What a simulated federation is made of; the defaults are small enough for dozens of rounds a second or so."""

    clients: int = 4
    trustees: int = 5
    threshold: int = 4
    corrupt: int = 2
    dimension: int = 40
    min_cohort: int = 2
    max_cohort: int = 16
    max_rounds: int = 50
    max_aborts: int = 3
    strict_consecutive: bool = False
    per_round: int | None = None
    clip_norm: float = 1.0
    fraction_bits: int = 12
    coordinate_clip: float | None = None
    encryption_proof: bool = False
    step: StepRule | None = None
    weights: WeightRule = EQUAL_WEIGHTS
    seed: int = 1
    federation: str = "simulated"
    approvals: tuple[str, ...] = ()
    previous: FormerFederation | None = None
    start: tuple[float, ...] | None = None
    statistics: int = 0  # so many coordinates at the end are statistics
    exponent: int = SCALE_BIAS  # of their scale
    frozen: int = 0  # so many coordinates at the beginning; with a coordinate_clip
    budget: PrivacyBudget | None = None
    honest: int = 2  # h, with a budget
    by: str = CLIENTS  # who adds the noise; trustees are in the roster then, and `max_cohort` counts them, too
    private_rounds: int = 3  # that the budget is for


def identity_of(name: str, seed: int = 1) -> SigningKey:
    """The key of a party by its name."""
    return SigningKey.generate(seeded(f"identity {seed} {name}"))


def make_policy(setting: Setting) -> tuple[bytes, NDArray[np.float64]]:
    """(policy file, initial model) for a setting."""
    model = np.linspace(-1.0, 1.0, setting.dimension) if setting.start is None else np.array(setting.start)
    update, lattice = derive(
        setting.dimension,
        setting.clip_norm,
        setting.fraction_bits,
        setting.max_cohort,
        coordinate_clip=setting.coordinate_clip,
        encryption_proof=setting.encryption_proof,
        largest_weight=setting.weights.largest,
    )
    trained = setting.dimension - setting.statistics
    if setting.exponent != SCALE_BIAS:
        update = replace(update, scales=(ScaleRule(trained, setting.dimension, setting.exponent),))
    if setting.frozen:
        update = replace(update, groups=(CoordinateRule(0, setting.frozen, 0),))
    tensors = [TensorSpec("weights", (trained,), "float32", nonnegative=False)]
    if setting.statistics:
        tensors.append(TensorSpec("running_var", (setting.statistics,), "float32", nonnegative=True, role=STATISTIC))
    roster, trustees = (
        tuple(Member(n, identity_of(n, setting.seed).public_key) for n in names) for names in party_names(setting)
    )
    policy = Policy(
        federation=setting.federation,
        origin=f"example.org/{setting.federation}",
        log_key=identity_of("coordinator", setting.seed).public_key,
        issuer_key=identity_of("issuer", setting.seed).public_key,
        trustees=trustees,
        threshold=setting.threshold,
        corrupt=setting.corrupt,
        roster=roster,
        min_cohort=setting.min_cohort,
        max_cohort=setting.max_cohort,
        max_rounds=setting.max_rounds,
        max_aborts=setting.max_aborts,
        per_round=setting.per_round,
        strict_consecutive=setting.strict_consecutive,
        tensors=tuple(tensors),
        dimension=setting.dimension,
        initial_model=blob_hash(server_steps.encode_model(model)),
        update=update,
        lattice=lattice,
        step=setting.step or fedavg(),
        projections=360,
        required_checks=(),
        approvals=setting.approvals,
        task=None,
        initial_file=None,
        previous=setting.previous,
        weights=setting.weights,
        noise=None,
        privacy_budget=None,
    )
    if setting.budget is not None:
        if setting.by == TRUSTEES:
            policy = replace(policy, roster=tuple(sorted((*roster, *trustees), key=lambda each: each.id)))
        policy = with_noise(policy, setting.budget, setting.honest, setting.private_rounds, setting.by)
    return seal_policy(policy, identity_of("issuer", setting.seed)), model


def party_names(setting: Setting) -> tuple[list[str], list[str]]:
    """Of clients and trustees."""
    width = max(2, len(str(setting.clients - 1)))  # names ascend
    return [f"client-{i:0{width}}" for i in range(setting.clients)], [f"trustee-{i}" for i in range(setting.trustees)]
