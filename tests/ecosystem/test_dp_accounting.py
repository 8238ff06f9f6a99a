"""Google's accountants, given the same noise: ours is never below theirs where theirs bound from below, nor above where
they bound from above."""

from __future__ import annotations

from fractions import Fraction

import pytest

from protocols.privacy.accounting import LATTICE_VARIANCE, NoiseRule
from tests.ecosystem.packages import needs

needs("dp_accounting")

import dp_accounting  # noqa: E402  after it is known to be there
from dp_accounting.pld import privacy_loss_distribution  # noqa: E402  the same
from dp_accounting.rdp import RdpAccountant  # noqa: E402  the same

pytestmark = pytest.mark.ecosystem

GRID = [
    (sensitivity, sigma, adders, digits, rounds)
    for sensitivity, sigma, adders in ((256, 1744, 3), (256, 281, 3), (4000, 2385, 60), (1, 8, 2))
    for digits in (3, 6, 9)
    for rounds in (1, 10, 200)
]


@pytest.mark.parametrize(("sensitivity", "sigma", "adders", "digits", "rounds"), GRID)
def test_against_dp_accounting(sensitivity: int, sigma: int, adders: int, digits: int, rounds: int) -> None:
    rule = NoiseRule(sensitivity, Fraction(sigma**2), adders, Fraction(1, 10**digits), Fraction(0))
    found = rule.epsilon(rounds)
    assert found is not None
    delta, variance = 10.0**-digits, float(adders * sigma**2)

    def loss(pessimistic: bool, kept: float) -> float:
        """By privacy loss distributions of `rounds` Gaussian mechanisms, which add up to one."""
        deviation = ((variance - kept) / rounds) ** 0.5 / sensitivity
        curve = privacy_loss_distribution.from_gaussian_mechanism(
            deviation, pessimistic_estimate=pessimistic, value_discretization_interval=1e-4
        )
        return float(curve.get_epsilon_for_delta(delta))

    assert loss(False, 0) <= float(found) <= loss(True, LATTICE_VARIANCE) + 2e-6

    renyi = RdpAccountant()
    renyi.compose(dp_accounting.ZCDpEvent(rounds * sensitivity**2 / (2 * (variance - LATTICE_VARIANCE))))
    assert float(found) <= renyi.get_epsilon(delta)
