"""The choices a configuration has in what clients prove, side by side: guarantees, bytes, work, largest cohort.

n_max is the largest cohort of which every sum decrypts for certain. With the proof of encryption that holds for any
accepted clients: noise and coordinates are proved to be within the bounds that n_max is computed from (spec 5.12).
Without it n_max rests on the honest clients' noise and on every ciphertext being what was committed to, which nothing
proves: a client that encrypts or shares something else makes the opening fail, the round is aborted, and nobody can
tell who it was (spec 6.6).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import isqrt, ldexp
from typing import Any

from proofs.errors import Misuse
from proofs.ranges import MAXIMUM_COORDINATE_BOUND
from protocols.derivation import derive_lattice, derive_update, largest_derivable_cohort
from protocols.noise_derivation import with_noise
from protocols.parameters import check_policy, largest_cohort
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy, UpdateRule
from verifl.config import Config, UpdateConfig
from verifl.enrolment.coordinate_groups import bounded, scaled
from verifl.planning.costs import SubmissionSize, Work, submission_size, submission_work

_CHOICES = ((False, False), (False, True), (True, False), (True, True))  # (range, encryption proof)
_SPREAD = 8  # an example's bound, in root mean squares of the coordinates of an update at the clip norm


@dataclass(frozen=True)
class OptionCosts:
    """modulus: q. largest_cohort: n_max with the option's q and T. largest_derivable: with the largest q there is."""

    size: SubmissionSize
    work: Work
    modulus: int
    largest_cohort: int
    largest_derivable: int


@dataclass(frozen=True)
class Option:
    """One choice. problem: why the configuration does not fit it, None if it does; costs are None where it has none.

    example: the bound on coordinates, in the model's units, that a configuration without any is shown with.
    """

    coordinate_range: bool
    encryption_proof: bool
    chosen: bool
    example: float | None
    costs: OptionCosts | None
    problem: str | None

    @property
    def name(self) -> str:
        """In a few words."""
        parts = {"range": self.coordinate_range, "encryption": self.encryption_proof}
        return " + ".join(["L2", *(name for name, there in parts.items() if there)])

    @property
    def guarantee(self) -> str:
        """What it guarantees, and what is lost without the proof of encryption."""
        bounds = "exact bounds on L2 norm and coordinates" if self.coordinate_range else "exact bound on the L2 norm"
        if self.encryption_proof:
            return f"{bounds}; who encrypts or shares anything else is named, and the round goes on"
        return f"{bounds}; one client can stop a round, and nobody can be named"

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`."""
        costs = self.costs and {
            "bytes": self.costs.size.to_dict(),
            "work": asdict(self.costs.work),
            "q": self.costs.modulus,
            "n_max": self.costs.largest_cohort,
            "n_max_with_largest_q": self.costs.largest_derivable,
            "n_max_holds_for": "accepted clients" if self.encryption_proof else "honest clients",
        }
        return {
            "name": self.name,
            "coordinate_range": self.coordinate_range,
            "encryption_proof": self.encryption_proof,
            "chosen": self.chosen,
            "example_coordinate_bound": self.example,
            "guarantee": self.guarantee,
            "problem": self.problem,
            "costs": costs,
        }


def list_options(policy: Policy, config: Config) -> tuple[Option, ...]:
    """All four, with noise those that prove the encryption; `policy` is that of `config`."""
    choices = [choice for choice in _CHOICES if policy.noise is None or choice[1]]
    return tuple(_option(policy, config, *choice) for choice in choices)


def _option(policy: Policy, config: Config, with_range: bool, proof: bool) -> Option:
    rule = config.update
    heaviest = policy.weights.largest
    chosen = (with_range, proof) == (rule.bounds_coordinates, rule.encryption_proof)
    example: float | None = None
    costs, problem = None, None
    try:
        plain = derive_update(policy.dimension, rule.clip_norm, policy.update.fraction_bits)
        update = scaled(plain, rule, policy.tensors)
        if with_range and not rule.bounds_coordinates:
            example = _example(update, policy.dimension, heaviest)
        if with_range:
            update = bounded(update, _with_bound(rule, example), policy.tensors, heaviest)
        other = _with_lattice(replace(policy, update=update), proof, config.federation.rounds)
        costs = _costs(other)
        problem = _first_failure(other)
    except Misuse as error:
        problem = str(error)
    return Option(with_range, proof, chosen, example, costs, problem)


def _with_lattice(policy: Policy, proof: bool, rounds: int) -> Policy:
    if policy.noise is not None and policy.privacy_budget is not None:
        return with_noise(policy, policy.privacy_budget, policy.noise.honest, rounds)
    lattice = derive_lattice(policy.update, policy.max_cohort, proof, policy.weights.largest)
    return replace(policy, lattice=lattice)


def _first_failure(policy: Policy) -> str | None:
    failed = next((condition for condition in check_policy(policy) if not condition.holds), None)
    return None if failed is None else f"{failed.name} fails: {failed.explanation}"


def _with_bound(rule: UpdateConfig, example: float | None) -> UpdateConfig:
    return rule if example is None else rule.model_copy(update={"coordinate_bound": example})


def _example(update: UpdateRule, dimension: int, heaviest: int) -> float:
    """A bound that hardly cuts an update of Gaussian coordinates: a power of two of units, at most a quarter of B."""
    wanted = _SPREAD * update.norm_bound // isqrt(dimension)
    largest = min(wanted, update.norm_bound // 4, MAXIMUM_COORDINATE_BOUND // heaviest)
    return ldexp(1, max(largest, 1).bit_length() - 1 - update.fraction_bits)


def _costs(policy: Policy) -> OptionCosts:
    pinned = PinnedPolicy(policy, b"", b"")
    return OptionCosts(
        submission_size(pinned),
        submission_work(pinned),
        policy.lattice.modulus,
        largest_cohort(policy.update, policy.lattice, policy.weights.largest, policy.noise),
        largest_derivable_cohort(policy.update, policy.lattice.encryption_proof, policy.weights.largest, policy.noise),
    )
