"""What a configuration costs and whether it holds together, before anybody trains (spec 4.2 to 4.5).

Shown by `verifl plan`: the bit budget (B, T, q, the largest cohort), every inequality with its numbers, and the bytes
of one submission.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proofs.errors import Misuse
from protocols.envelopes import open_policy
from protocols.parameters import Inequality, check_policy, largest_cohort
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from verifl.config import Config
from verifl.enrolment import enrol
from verifl.tasks.base import Task
from verifl.tasks.loading import client_names
from verifl.tasks.user_code import user_code

if TYPE_CHECKING:
    from verifl.tensors import TensorFilter, TensorLayout


@dataclass(frozen=True)
class SubmissionSize:
    """Bytes of the parts of one client's submission (the signed entry, about one kilobyte, comes on top)."""

    commitments: int
    proof: int
    ciphertext: int
    share_commitments: int
    shares: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return self.commitments + self.proof + self.ciphertext + self.share_commitments + self.shares


@dataclass(frozen=True)
class Plan:
    """A policy and what follows from it. `largest_cohort` is n_max: how many updates one sum may hold."""

    pinned: PinnedPolicy
    largest_cohort: int
    conditions: tuple[Inequality, ...]
    size: SubmissionSize

    @property
    def policy(self) -> Policy:
        """The policy's fields."""
        return self.pinned.policy

    @property
    def failed(self) -> tuple[Inequality, ...]:
        """The conditions that do not hold."""
        return tuple(condition for condition in self.conditions if not condition.holds)

    def require(self) -> None:
        """Raise Misuse naming the first condition that fails, with its numbers."""
        if self.failed:
            first = self.failed[0]
            raise Misuse(
                f"plan: {first.name} fails: {first.explanation}; found {first.left}, "
                f"expected {first.relation} {first.right}"
            )

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`: plain numbers and text."""
        policy = self.policy
        return {
            "federation": policy.federation,
            "dimension": policy.dimension,
            "tensors": [[spec.name, list(spec.shape), spec.dtype] for spec in policy.tensors],
            "clients": len(policy.roster),
            "cohort": {"minimum": policy.min_cohort, "maximum": policy.max_cohort, "n_max": self.largest_cohort},
            "trustees": {"m": len(policy.trustees), "f": policy.corrupt, "t": policy.threshold},
            "update": {"B": policy.update.norm_bound, "fraction_bits": policy.update.fraction_bits},
            "lattice": {"N": policy.lattice.degree, "q": policy.lattice.modulus, "T": policy.lattice.plaintext_scale},
            "projections": policy.projections,
            "conditions": [_condition_dict(condition) for condition in self.conditions],
            "bytes_per_submission": {
                "commitments": self.size.commitments,
                "proof": self.size.proof,
                "ciphertext": self.size.ciphertext,
                "share_commitments": self.size.share_commitments,
                "shares": self.size.shares,
                "total": self.size.total,
            },
            "holds": not self.failed,
        }


def make_plan(task: Task[Any], config: Config) -> Plan:
    """The plan of a task under a configuration, with throwaway keys; raises Misuse where no parameters fit."""
    clients = client_names(task)
    layout = task_layout(task, config)
    enrolment = enrol(config, layout.specs, layout.dimension, clients, b"", os.urandom)
    return plan_policy(enrolment.policy_file)


def task_layout(task: Task[Any], config: Config) -> TensorLayout:
    """Which tensors of the task's model travel."""
    from verifl.tensors import describe

    with user_code("task: model() failed"):
        model = task.model()
    return describe(model, tensor_filter(config))


def tensor_filter(config: Config) -> TensorFilter:
    """The `[tensors]` table as a filter."""
    from verifl.tensors import TensorFilter

    rule = config.tensors
    return TensorFilter(rule.include, rule.exclude, rule.trainable_only, rule.nonnegative)


def plan_policy(policy_file: bytes) -> Plan:
    """The plan of a signed policy, whether its conditions hold or not; raises Malformed or Rejected("signature")."""
    policy, _ = open_policy(policy_file)
    pinned = PinnedPolicy(policy, policy_file, hashlib.sha256(policy_file).digest())
    room = largest_cohort(policy.update, policy.lattice)
    return Plan(pinned, room, tuple(check_policy(policy)), _size(pinned))


def describe_plan(plan: Plan) -> str:
    """The plan as text of a few dozen lines."""
    policy, update, lattice = plan.policy, plan.policy.update, plan.policy.lattice
    shape = plan.pinned.argument.shape
    clip = math.ldexp(update.norm_bound, -update.fraction_bits)
    table = f"{shape.data_rows} + 1 rows of {shape.columns}"
    trustees = f"m = {len(policy.trustees)} trustees, f = {policy.corrupt} corrupt, t = {policy.threshold} to open"
    cohorts = f"cohorts of {policy.min_cohort} to {policy.max_cohort}"
    bound = f"B = {update.norm_bound:,} units of 2^-{update.fraction_bits}"
    modulus = f"q = {lattice.modulus} ({lattice.modulus.bit_length()} bits)"
    scale = _number(lattice.plaintext_scale)
    lines = [
        f"Plan of federation {policy.federation!r}",
        f"  model       d = {policy.dimension:,} coordinates in {len(policy.tensors)} tensors; table of {table}",
        f"  parties     {len(policy.roster)} clients, {cohorts}; {trustees}",
        f"  update      L2 norm at most {clip:.6g}: {bound} (resolution {math.ldexp(1.0, -update.fraction_bits):.2g})",
        f"  encryption  N = {lattice.degree}, {modulus}, T = {scale}; room for n_max = {plan.largest_cohort:,} clients",
        "",
        "Conditions",
        *_condition_lines(plan.conditions),
        "",
        "Bytes per submission",
        *_size_lines(plan.size),
    ]
    return "\n".join(lines)


def _condition_lines(conditions: tuple[Inequality, ...]) -> list[str]:
    """Every inequality, and every equality that fails; those that hold (names, keys, fixed constants) are counted."""
    shown = [one for one in conditions if one.relation != "=" or not one.holds]
    numbers = [f"{_number(one.left)} {one.relation} {_number(one.right)}" for one in shown]
    names_width, numbers_width = max(len(one.name) for one in shown), max(map(len, numbers))
    lines = [
        f"  {'ok' if one.holds else 'FAILS':5}  {one.name:{names_width}}  {text:{numbers_width}}  {one.explanation}"
        for one, text in zip(shown, numbers, strict=True)
    ]
    return [*lines, f"  ok     {len(conditions) - len(shown)} more on names, keys and fixed constants"]


def _size_lines(size: SubmissionSize) -> list[str]:
    parts = {
        "commitments": size.commitments,
        "validity proof": size.proof,
        "ciphertext": size.ciphertext,
        "share commitments": size.share_commitments,
        "encrypted shares": size.shares,
        "total": size.total,
    }
    return [f"  {name:18} {count:>12,}" for name, count in parts.items()]


def _number(value: int) -> str:
    """Exact up to twelve digits and for powers of two; otherwise as a power of two to one decimal, marked ~."""
    if value > 0 and value.bit_count() == 1 and value > 2**10:
        return f"2^{value.bit_length() - 1}"
    if abs(value) < 10**12:
        return f"{value:,}"
    return f"~2^{math.log2(value):.1f}"


def _condition_dict(condition: Inequality) -> dict[str, Any]:
    return {
        "name": condition.name,
        "left": condition.left,
        "relation": condition.relation,
        "right": condition.right,
        "holds": condition.holds,
        "explanation": condition.explanation,
    }


def _size(pinned: PinnedPolicy) -> SubmissionSize:
    return SubmissionSize(
        commitments=pinned.commitments_size + pinned.range_commitments_size + pinned.encryption_commitments_size,
        proof=pinned.proof_size,
        ciphertext=pinned.ciphertext_size,
        share_commitments=pinned.share_commitments_size,
        shares=len(pinned.policy.trustees) * pinned.sealed_share_size,
    )
