"""The federation that is measured: one model of d coordinates, trustees (m, f, t) = (5, 2, 4), room for 128 clients."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proofs.curve import POINT_SIZE
from protocols.fixed_point import quantize
from protocols.pinned import PinnedPolicy
from protocols.policy import TensorSpec
from protocols.steps.step import encode_model
from protocols.weights import PRIVATE, vector_of
from verifl.config import Config
from verifl.enrolment.policies import Enrolment, enrol
from verifl.training.update import cut

COHORT_ROOM = 128  # fixes the modulus, so that figures for few clients compare with those for many
_CLIP_NORM = 1.0
_EXCESS = 1.25  # norm of the update before clipping, in clip norms


@dataclass(frozen=True)
class Setting:
    """Keys and policy of everybody; `model` float64 (d,), zeros."""

    pinned: PinnedPolicy
    enrolment: Enrolment
    model: NDArray[np.float64]


def make_setting(
    dimension: int,
    clients: int,
    *,
    encryption_proof: bool = False,
    coordinate_bound: float | None = None,
    private_weights: int | None = None,
    fraction_bits: int | None = None,
) -> Setting:
    """Fresh keys and a policy for `dimension` coordinates and `clients` clients (two at least).

    private_weights: the largest; None where all weigh alike. fraction_bits: those of the default resolution where None.
    """
    model = np.zeros(dimension)
    config = Config.of(
        federation={"name": "benchmark"},
        update={
            "clip_norm": _CLIP_NORM,
            "encryption_proof": encryption_proof,
            "coordinate_bound": coordinate_bound,
            "fraction_bits": fraction_bits,
        },
        weights={} if private_weights is None else {"kind": PRIVATE.name, "largest": private_weights},
        limits={"min_cohort": 2, "max_cohort": max(clients, COHORT_ROOM)},
    )
    names = [f"client-{number:05}" for number in range(1, max(clients, 2) + 1)]
    tensors = [TensorSpec("weights", (dimension,), "float32", nonnegative=False)]
    enrolment = enrol(config, tensors, dimension, names, encode_model(model), os.urandom)
    return Setting(PinnedPolicy.open(enrolment.policy_file), enrolment, model)


def random_delta(dimension: int) -> NDArray[np.float64]:
    """A dense Gaussian update, float64 (d,), longer than the clip norm: clipping leaves it at the bound."""
    delta = np.random.default_rng().standard_normal(dimension)
    delta *= _EXCESS * _CLIP_NORM / float(np.linalg.norm(delta))
    return delta


def in_units(pinned: PinnedPolicy, delta: NDArray[np.float64]) -> NDArray[np.int64]:
    """What a client commits to: clipped, in fixed point, of norm just below B; or W B, of the largest weight W."""
    rule, weights = pinned.policy.update, pinned.policy.weights
    w = weights.largest
    units = quantize(w * delta, w * _CLIP_NORM, rule.fraction_bits, w * rule.norm_bound)
    return vector_of(weights, cut(units, rule, w), w)


def describe_setting(pinned: PinnedPolicy) -> dict[str, Any]:
    """The parameters that costs depend on."""
    policy, shape = pinned.policy, pinned.argument.shape
    return {
        "dimension": policy.dimension,
        "rows": shape.rows,
        "columns": shape.columns,
        "norm_bound": policy.update.norm_bound,
        "projections": policy.projections,
        "coordinate_bound": policy.update.coordinate_bound,
        "largest_weight": policy.weights.largest,
        "encryption_proof": policy.lattice.encryption_proof,
        "degree": policy.lattice.degree,
        "modulus_bits": policy.lattice.modulus.bit_length(),
        "trustees": len(policy.trustees),
        "threshold": policy.threshold,
        "corrupt": policy.corrupt,
    }


def describe_sizes(pinned: PinnedPolicy, entry: int) -> dict[str, int]:
    """Bytes of one submission and of its parts; `entry` of the signed log entry."""
    parts = {
        "commitments": POINT_SIZE * pinned.argument.layout.total_rows,
        "proof": pinned.proof_size,
        "ciphertext": pinned.ciphertext_size,
        "share_commitments": pinned.share_commitments_size,
        "shares": len(pinned.policy.trustees) * pinned.sealed_share_size,
        "entry": entry,
    }
    return {**parts, "submission": sum(parts.values())}
