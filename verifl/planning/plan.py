"""What a configuration costs and whether it holds together, before anybody trains (spec 4.2 to 4.5).

Shown by `verifl plan`: the bit budget (B, T, q, the largest cohort), weights, every coordinate's bound, every
inequality with its numbers, the bytes of one submission, and the other options with what each costs and guarantees.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proofs.errors import Misuse, Rejected
from protocols.conditions import Inequality
from protocols.envelopes import open_policy
from protocols.noise_trustees import training_clients
from protocols.parameters import check_policy, largest_cohort
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from protocols.weights import EQUAL
from verifl.config import Config
from verifl.enrolment.coordinate_groups import TensorBound, idle_bounds, tensor_bounds, tensor_scales
from verifl.enrolment.policies import enrol, read_policy_file
from verifl.enrolment.policy_words import step_numbers
from verifl.formatting import counted
from verifl.planning.costs import PeakMemory, SubmissionSize, peak_memory, submission_size
from verifl.planning.options import Option, list_options
from verifl.planning.privacy import PrivacyPlan, privacy_plan
from verifl.planning.weights import WeightPlan, measured_clients, weight_plan
from verifl.tasks.base import StatefulTask, Task
from verifl.tasks.loading import build_model, checked_task, client_names, finishing
from verifl.tasks.surroundings import surroundings_of
from verifl.training.running_statistics import (
    local_statistics,
    personal_tensors,
    personal_warnings,
    statistics_warnings,
)

if TYPE_CHECKING:
    from torch import nn

    from verifl.training.tensors import TensorLayout


WITHOUT_NOISE = (
    "Sums are exact. Cohorts on one model nest, so that no number of aborted rounds shows a few clients. But once "
    "training hardly moves the model, consecutive rounds are on nearly one model, and a client that is absent from one "
    "of them, or a few who are, can be recognised from the difference of the two sums. Noise is the remedy: a table "
    "[privacy]. P6 of the audit lists whom consecutive rounds expose"
)
STRICTLY = ", and with limits.strict_consecutive trustees release no such round"


@dataclass(frozen=True)
class JudgedPolicy:
    """A signed policy, and its conditions with their numbers. Where one fails, nothing else may follow from it."""

    pinned: PinnedPolicy
    conditions: tuple[Inequality, ...]

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

    def judgement(self) -> dict[str, Any]:
        """For `--format json`."""
        conditions = [_condition_dict(condition) for condition in self.conditions]
        return {"conditions": conditions, "holds": not self.failed}


@dataclass(frozen=True)
class Plan(JudgedPolicy):
    """A policy and what follows from it. `largest_cohort` is n_max: how many updates one sum may hold.

    options, notes: what the configuration could choose instead, and what of it changes nothing; empty where the policy
    was there first. weights: where updates are weighed. privacy: where there is noise.
    """

    largest_cohort: int
    size: SubmissionSize
    bounds: tuple[TensorBound, ...]
    memory: PeakMemory
    options: tuple[Option, ...] = ()
    notes: tuple[str, ...] = ()
    weights: WeightPlan | None = None
    privacy: PrivacyPlan | None = None

    @property
    def without_noise(self) -> str:
        """What remains of sums that have none, and the rule against it where the policy may have that."""
        policy = self.policy
        may = policy.weights.kind == EQUAL.name and policy.per_round is None
        return f"{WITHOUT_NOISE}{STRICTLY if may else ''}."

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`: plain numbers and text."""
        policy = self.policy
        return {
            "federation": policy.federation,
            "dimension": policy.dimension,
            "tensors": [[spec.name, list(spec.shape), spec.dtype, spec.role] for spec in policy.tensors],
            "clients": len(training_clients(policy)),
            "cohort": {"minimum": policy.min_cohort, "maximum": policy.max_cohort, "n_max": self.largest_cohort},
            "drawn": policy.per_round,
            "server": _step_dict(policy),
            "trustees": {"m": len(policy.trustees), "f": policy.corrupt, "t": policy.threshold},
            "update": {
                "B": policy.update.norm_bound,
                "fraction_bits": policy.update.fraction_bits,
                "coordinate_bounds": [asdict(bound) for bound in self.bounds],
                "scales": [{"scale": scale, "tensors": names} for scale, names in tensor_scales(policy).items()],
            },
            "lattice": {
                "N": policy.lattice.degree,
                "q": policy.lattice.modulus,
                "T": policy.lattice.plaintext_scale,
                "encryption_proof": policy.lattice.encryption_proof,
            },
            "weights": None if self.weights is None else self.weights.to_dict(),
            "projections": policy.projections,
            "bytes_per_submission": self.size.to_dict(),
            "peak_memory": self.memory.to_dict(),
            "options": [option.to_dict() for option in self.options],
            "notes": list(self.notes),
            "privacy": None if self.privacy is None else self.privacy.to_dict(),
            "without_noise": self.without_noise if self.privacy is None else None,
            **self.judgement(),
        }


def make_plan(task: Task[Any] | StatefulTask[Any], config: Config) -> Plan:
    """The plan of a task under a configuration, with throwaway keys; raises Misuse where no parameters fit."""
    checked = checked_task(task, "task")
    clients = client_names(checked)
    model, layout = task_model(checked, config)
    enrolment = enrol(config, layout.specs, layout.dimension, clients, b"", os.urandom)
    planned = plan_policy(enrolment.policy_file)
    policy = enrolment.policy
    weights = weight_plan(policy, measured_clients(checked, policy.weights, config.federation.seed))
    privacy = privacy_plan(policy, config.federation.rounds)
    return replace(
        planned,
        options=list_options(enrolment.policy, config),
        weights=weights,
        privacy=privacy,
        notes=(
            *planned.notes,
            *(weights.notes() if weights is not None else ()),
            *((*privacy.notes(), *privacy.advice()) if privacy is not None else ()),
            *idle_bounds(config.update, layout.specs),
            *_local_notes(checked, config, model, layout),
            *_stopping_notes(config),
            *_closing_notes(config),
            *_tracker_notes(config),
        ),
    )


def _step_dict(policy: Policy) -> dict[str, Any]:
    try:
        return step_numbers(policy.step)
    except Rejected:  # among the conditions that fail
        return {"rule": policy.step.rule}


def _stopping_notes(config: Config) -> list[str]:
    rule = config.stopping
    if rule is None:
        return []
    change = f" by {rule.minimum_change:g}" if rule.minimum_change else ""
    rounds = f"fewer than {config.federation.rounds} rounds may close"
    return [
        f"[stopping]: {rounds}: it ends once {rule.metric} has not become better{change} for {rule.patience} of them"
    ]


def _closing_notes(config: Config) -> list[str]:
    if not config.federation.close:
        return []
    if config.federation.close == "now":
        return ["federation.close: closed for good as soon as no round is open, however many have closed"]
    before = "" if config.stopping is None else ", or where [stopping] stops it"
    return [f"federation.close: closed for good behind {counted(config.federation.rounds, 'round')} that close{before}"]


def _tracker_notes(config: Config) -> list[str]:
    told = [f"TensorBoard in {config.report.tensorboard}"] if config.report.tensorboard is not None else []
    told += [f"MLflow at {config.report.mlflow}"] if config.report.mlflow is not None else []
    return [f"[report]: {' and '.join(told)}: told of every round, with the metrics of evaluate()"] if told else []


def _local_notes(task: Task[Any], config: Config, model: nn.Module, layout: TensorLayout) -> list[str]:
    """What stays with clients of what the model is evaluated by, where that surprises."""
    from verifl.training.tensors import tensor_filter

    finishes = finishing(task) is not None
    personal = personal_tensors(model, layout, tensor_filter(config))
    return [
        *statistics_warnings(local_statistics(model, layout), finishes),
        *personal_warnings(personal, finishes),
    ]


def task_model(task: Task[Any], config: Config) -> tuple[nn.Module, TensorLayout]:
    """The task's model, and which of its tensors travel; raises Misuse where its initial values are not finite."""
    from verifl.training.tensors import describe, read_initial, tensor_filter

    with surroundings_of(task).entered():
        model = build_model(task)
    layout = describe(model, tensor_filter(config))
    read_initial(model, layout)
    return model, layout


def plan_valid(policy_file: bytes) -> Plan:
    """The plan of a policy that has just been signed; raises Misuse naming the first condition that fails."""
    plan = plan_policy(policy_file)
    plan.require()
    try:
        PinnedPolicy.open(policy_file)
    except Rejected as error:
        raise Misuse(f"roster: {error}") from None
    return plan


def judge(policy_file: bytes) -> JudgedPolicy:
    """A signed policy, whoever signed it; raises Malformed or Rejected("signature")."""
    policy, _ = open_policy(policy_file)
    pinned = PinnedPolicy(policy, policy_file, hashlib.sha256(policy_file).digest())
    return JudgedPolicy(pinned, tuple(check_policy(policy)))


def plan_policy(policy_file: bytes) -> Plan:
    """The plan of a signed policy whose conditions hold; raises Malformed or Rejected("signature").

    Of one that was made from a configuration there is a plan also where a condition fails; of others perhaps none.
    """
    judged = judge(policy_file)
    policy = judged.policy
    room = largest_cohort(policy.update, policy.lattice, policy.weights.largest, policy.noise)
    return Plan(
        judged.pinned,
        judged.conditions,
        room,
        submission_size(judged.pinned),
        tensor_bounds(policy),
        peak_memory(policy),
        notes=draw_notes(policy),
        weights=weight_plan(policy),
        privacy=privacy_plan(policy),
    )


def draw_notes(policy: Policy) -> tuple[str, ...]:
    """Where one drawn client that stays away may end the federation, in a sentence."""
    drawn, least, clients = policy.per_round, policy.min_cohort, len(training_clients(policy))
    if drawn is None or drawn >= 2 * least:
        return ()
    note = (
        f"limits.per_round = {drawn} is less than twice limits.min_cohort = {least}: where a cohort was opened and its "
        f"sum not released, in an outage of trustees say, one of its clients that then stays away ends the federation, "
        f"however many of {clients} clients are there; draw {2 * least} or more, and as many more as are "
        "usually away"
    )
    return (note,)


def _condition_dict(condition: Inequality) -> dict[str, Any]:
    return {
        "name": condition.name,
        "left": condition.left,
        "relation": condition.relation,
        "right": condition.right,
        "holds": condition.holds,
        "explanation": condition.explanation,
    }


def read_policy(path: Path) -> JudgedPolicy:
    """The policy in a file, or in `policy.cbor` of a directory; raises as `read_policy_file`."""
    return judge(read_policy_file(path))


def planned(judged: JudgedPolicy) -> Plan:
    """What follows from a policy that was read; raises Misuse naming the first condition that fails."""
    judged.require()
    return plan_policy(judged.pinned.data)
