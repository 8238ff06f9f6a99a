"""The `[privacy]` table: how much may be learned of a client, and who adds the noise that sees to it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from proofs.errors import Misuse
from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.fixed_point import norm_bound as scaled_clip
from protocols.noise import DELTA_UNIT, EPSILON_UNIT
from protocols.noise_derivation import least_norm_bound
from protocols.noise_trustees import TRUSTEES
from protocols.policy import Policy, PrivacyBudget
from protocols.privacy.accounting import honest_adders
from protocols.privacy.normal import LARGEST_EPSILON
from verifl.tables import Finite, TomlTable


class PrivacyConfig(TomlTable):
    """epsilon, delta: of everything that is published of one client in all rounds. colluding: clients of the whole
    roster who may tell the server their noise, or choose it: the server can have all of them in one smallest cohort, in
    which the noise of the others has to be enough. by: who adds it; of the trustees' noise that of as many as open a
    sum, less those who may be corrupt, has to be enough."""

    epsilon: Finite = Field(gt=0, le=LARGEST_EPSILON)
    delta: Finite = Field(gt=0, lt=1)
    colluding: int = Field(default=0, ge=0)
    by: Literal["clients", "trustees"] = "clients"

    @field_validator("epsilon", "delta")
    @classmethod
    def _exact(cls, value: float, info: object) -> float:
        unit = EPSILON_UNIT if getattr(info, "field_name", "") == "epsilon" else DELTA_UNIT
        if (_decimal(value) / unit).denominator != 1:
            raise ValueError(f"expected a multiple of {float(unit):g}, found {value!r}")
        return value

    @model_validator(mode="after")
    def _colluding_adders(self) -> Self:
        if self.by == TRUSTEES and self.colluding:
            raise ValueError(
                f'expected privacy.colluding = 0 with by = "{TRUSTEES}", found {self.colluding}: no client\'s noise '
                "counts; how many trustees may collude is trustees.corrupt"
            )
        return self


def privacy_budget(config: PrivacyConfig) -> PrivacyBudget:
    """As the policy has it."""
    return PrivacyBudget(int(_decimal(config.epsilon) / EPSILON_UNIT), int(_decimal(config.delta) / DELTA_UNIT))


def honest_among(config: PrivacyConfig, policy: Policy) -> int:
    """h of a policy that has no noise yet. With trustees' noise as many of them have to come as open a sum. Raises
    Misuse, naming the field, where nobody is left."""
    if config.by == TRUSTEES:
        return honest_adders(policy.threshold, 0, policy.corrupt)
    clients = {member.id for member in policy.roster}
    both = sum(member.id in clients for member in policy.trustees)
    return honest_clients(config, policy.min_cohort, min(policy.corrupt, both))


def honest_clients(config: PrivacyConfig, min_cohort: int, corrupt: int) -> int:
    """h: of a smallest cohort, those whose noise counts. corrupt: trustees among the clients who may collude. Raises
    Misuse, naming the field, where nobody is left."""
    try:
        return honest_adders(min_cohort, config.colluding, corrupt)
    except Misuse as error:
        raise Misuse(f"privacy.colluding: {error}; lower it, or raise limits.min_cohort") from None


def noisy_fraction_bits(dimension: int, clip_norm: float) -> int:
    """The fewest fraction bits for which B is as large as noise needs it."""
    wanted = least_norm_bound(dimension)
    return next((b for b in range(LARGEST_FRACTION_BITS) if scaled_clip(clip_norm, b) >= wanted), LARGEST_FRACTION_BITS)


def _decimal(value: float) -> Fraction:
    """What people wrote: the shortest decimal that is this double."""
    return Fraction(Decimal(repr(value)))
