"""How a policy's numbers are derived from what is wanted (spec 4.3, not normative); of noise see `noise_derivation`."""

from __future__ import annotations

import bisect
import math
from dataclasses import replace

from proofs.encryption import NOISE_BOUND
from proofs.errors import Misuse
from proofs.parameters import MAXIMUM_NORM_BOUND
from proofs.ranges import MAXIMUM_COORDINATE_BOUND
from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.fixed_point import norm_bound as scaled_clip
from protocols.lattice.parameters import DEGREE, MODULI, SIGMA_TENTHS, TAIL
from protocols.parameters import KEY_DIGIT_LIMIT, LARGEST_COHORT, LARGEST_DIMENSION, largest_cohort, message_bound
from protocols.policy import AddedNoise, LatticeRule, UpdateRule


def derive(
    dimension: int,
    clip_norm: float,
    resolution: int | None,
    max_cohort: int,
    *,
    coordinate_clip: float | None = None,
    encryption_proof: bool = False,
    largest_weight: int = 1,
) -> tuple[UpdateRule, LatticeRule]:
    """The update and lattice rules for d coordinates clipped to L2 norm `clip_norm`, cohorts of at most `max_cohort`.

    `resolution` is the wanted number of fraction bits, None for `default_fraction_bits`; `coordinate_clip` the bound on
    every coordinate, None for none; `largest_weight` W, by which all these may be multiplied. Raises Misuse, with the
    numbers and what to change, where the bound leaves its range or no modulus of the list is large enough.
    """
    update = derive_update(dimension, clip_norm, resolution)
    if coordinate_clip is not None:
        update = replace(
            update, coordinate_bound=coordinate_units(coordinate_clip, update, largest_weight=largest_weight)
        )
    return update, derive_lattice(update, max_cohort, encryption_proof, largest_weight)


def derive_update(dimension: int, clip_norm: float, resolution: int | None) -> UpdateRule:
    """The L2 bound in units, without bounds on coordinates; see `derive`."""
    _check_range("dimension", dimension, 1, LARGEST_DIMENSION)
    default = default_fraction_bits(dimension, clip_norm)
    bits = default if resolution is None else resolution
    bound = scaled_clip(clip_norm, bits)
    if not 1 <= bound <= MAXIMUM_NORM_BOUND:
        change = "another clip norm" if bits == default else f"{default} fraction bits, or another clip norm"
        raise Misuse(
            f"the norm bound floor(clip * 2^fraction_bits) must be between 1 and 2^40, but a clip norm of {clip_norm} "
            f"with {bits} fraction bits makes it {bound}: use {change}"
        )
    return UpdateRule(bound, bits, None, ())


def coordinate_units(
    clip: float,
    update: UpdateRule,
    name: str = "coordinate bound",
    scale: float = 1.0,
    largest_weight: int = 1,
) -> int:
    """A bound on coordinates, in the model's units, as the policy has it: min(B, floor(clip * 2^fraction_bits)) with
    clip / `scale`, a power of two, in the place of clip.

    No coordinate is beyond B, so a larger bound is the same as B. Only 0 becomes 0: it freezes. Raises Misuse,
    beginning with `name`, for a bound that is negative, not finite, less than a unit, or, times the largest weight,
    beyond 2^20 units.
    """
    bits = update.fraction_bits
    if not (math.isfinite(clip) and clip >= 0):
        raise Misuse(f"{name}: expected a finite number, 0 or more, found {clip}")
    if scale != 1:
        name, clip = f"{name} / scale", clip / scale
    bound = min(update.norm_bound, scaled_clip(clip, bits)) if clip else 0
    if bound == 0 < clip:
        finer = 1 - math.frexp(clip)[1]
        fits = update.norm_bound << finer - bits <= MAXIMUM_NORM_BOUND
        raise Misuse(
            f"{name}: {clip} is less than one unit, 2^-{bits} = {math.ldexp(1.0, -bits):.3g}; use 0 to freeze, "
            f"a larger bound{f', or fraction_bits = {finer} or more' if fits else ''}"
        )
    if largest_weight * bound > MAXIMUM_COORDINATE_BOUND:
        largest = math.ldexp(MAXIMUM_COORDINATE_BOUND // largest_weight, -bits)
        weighed = "" if largest_weight == 1 else f", times the largest weight {largest_weight}"
        lighter = "" if largest_weight == 1 else ", a smaller largest weight"
        raise Misuse(
            f"{name}: {clip} is {bound} units of 2^-{bits}{weighed}, and a bound on coordinates is at most 2^20 units; "
            f"use {largest} or less{lighter}, or fewer fraction_bits"
        )
    return bound


def derive_lattice(update: UpdateRule, max_cohort: int, encryption_proof: bool, largest_weight: int = 1) -> LatticeRule:
    """The smallest T and q for cohorts of at most `max_cohort` updates; see `derive`."""
    bound, noise = largest_weight * message_bound(update), NOISE_BOUND if encryption_proof else TAIL
    _check_range("max_cohort", max_cohort, 2, min(LARGEST_COHORT, (KEY_DIGIT_LIMIT - 1) // noise))
    scale, needed = _plaintext_scale(bound, max_cohort), _modulus_needed(bound, max_cohort, noise)
    for modulus in MODULI:
        if needed < modulus:
            return LatticeRule(DEGREE, modulus, scale, SIGMA_TENTHS, TAIL, encryption_proof)
    raise Misuse(
        f"no modulus is large enough: 2 n ({noise} T + max|m|) = {needed} must be below {MODULI[-1]}, with cohorts of "
        f"n = {max_cohort}, max|m| = {bound} and T = {scale}; {_advice(update, max_cohort, noise, largest_weight)}"
    )


def default_fraction_bits(dimension: int, clip_norm: float) -> int:
    """The fewest fraction bits for which B >= 2^12 and B >= 2^5 sqrt(d), at least 0 and with B <= 2^40.

    Rounding then moves an update by 2^-6.8 of the clip norm in L2 or less, whatever the dimension. From d = 2^14 on
    coordinates of one of full length have eight bits: they are 2^5 to 2^6 as root mean square. Chosen by measurement:
    docs/training.md.
    """
    wanted = max(2**12, 2**5 * (math.isqrt(max(dimension, 1) - 1) + 1))
    return next((b for b in range(LARGEST_FRACTION_BITS) if scaled_clip(clip_norm, b) >= wanted), LARGEST_FRACTION_BITS)


def largest_derivable_cohort(
    update: UpdateRule, encryption_proof: bool, largest_weight: int = 1, added: AddedNoise | None = None
) -> int:
    """The largest max_cohort for which some modulus is large enough; 0 or 1 where there are none."""
    noise = NOISE_BOUND if encryption_proof else TAIL
    if added is not None:
        lattice = LatticeRule(DEGREE, MODULI[-1], 1, SIGMA_TENTHS, TAIL, encryption_proof)
        return largest_cohort(update, lattice, largest_weight, added)
    return _most(largest_weight * message_bound(update), noise, (KEY_DIGIT_LIMIT - 1) // noise)


def _advice(update: UpdateRule, max_cohort: int, noise: int, weight: int) -> str:
    """What to change, in numbers, when no modulus is large enough."""
    bound, bits = message_bound(update), update.fraction_bits
    # with which the largest modulus has room for every cohort
    widest = math.ldexp(MAXIMUM_COORDINATE_BOUND // weight, -bits)
    choices = ["lower the clip norm", f"set coordinate_bound to {widest} or less"]
    spare = next((spare for spare in range(1, bits + 1) if _fits(weight * (bound >> spare), max_cohort, noise)), None)
    if spare is not None:  # floor(clip * 2^(bits - spare)) is bound >> spare, exactly
        choices.insert(0, f"lower fraction_bits from {bits} to {bits - spare}")
    lighter = _heaviest(bound, max_cohort, noise, weight)
    if 1 <= lighter < weight:
        choices.insert(0, f"lower the largest weight from {weight} to {lighter}")
    cohort = _most(weight * bound, noise, max_cohort)
    if cohort >= 2:
        choices.insert(0, f"lower max_cohort from {max_cohort} to {cohort}")
    return ", or ".join(choices)


def _most(bound: int, noise: int, limit: int) -> int:
    """The largest cohort up to `limit` for which some modulus of the list is large enough; 0 for none."""
    return bisect.bisect_left(range(1, limit + 1), True, key=lambda n: not _fits(bound, n, noise))


def _heaviest(bound: int, max_cohort: int, noise: int, limit: int) -> int:
    """The largest weight up to `limit` for which some modulus of the list is large enough; 0 for none."""
    return bisect.bisect_left(range(1, limit + 1), True, key=lambda w: not _fits(w * bound, max_cohort, noise))


def _plaintext_scale(bound: int, max_cohort: int) -> int:
    """T, the smallest power of two above 2 n max|m|."""
    return 1 << (2 * max_cohort * bound).bit_length()


def _modulus_needed(bound: int, max_cohort: int, noise: int) -> int:
    """2 n (E T + max|m|), which q must exceed."""
    return 2 * max_cohort * (noise * _plaintext_scale(bound, max_cohort) + bound)


def _fits(bound: int, max_cohort: int, noise: int) -> bool:
    return bound >= 1 and _modulus_needed(bound, max_cohort, noise) < MODULI[-1]


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise Misuse(f"{name} must be between {low} and {high}, not {value}")
