"""`verifl policy show`: a policy file for people and programs."""

from __future__ import annotations

from typing import Any

from protocols.policy import FormerFederation, Policy
from verifl.planning.plan import JudgedPolicy, planned
from verifl.reports.plan import describe_conditions, describe_plan


def policy_dict(judged: JudgedPolicy) -> dict[str, Any]:
    """Who its parties are, and its plan; its conditions alone where one of them fails."""
    policy = judged.policy
    return {
        "policy_hash": judged.pinned.hash.hex(),
        "origin": policy.origin,
        "log_key": policy.log_key.hex(),
        "issuer_key": policy.issuer_key.hex(),
        "trustee_keys": {member.id: member.public_key.hex() for member in policy.trustees},
        "client_keys": {member.id: member.public_key.hex() for member in policy.roster},
        "per_round": policy.per_round,
        "max_rounds": policy.max_rounds,
        "max_aborts": policy.max_aborts,
        "strict_consecutive": policy.strict_consecutive,
        "initial_model": policy.initial_model.hex(),
        "step": policy.step.rule,
        "required_checks": list(policy.required_checks),
        "approvals": list(policy.approvals),
        "task": policy.task and policy.task.hex(),
        "initial_file": policy.initial_file and policy.initial_file.hex(),
        "previous": None if policy.previous is None else previous_dict(policy.previous),
        **(judged.judgement() if judged.failed else planned(judged).to_dict()),
    }


def describe_policy(judged: JudgedPolicy) -> str:
    """The same as text."""
    policy = judged.policy
    lines = [
        f"Policy {judged.pinned.hash.hex()}",
        f"  origin         {policy.origin}",
        f"  log key        {policy.log_key.hex()}",
        f"  issuer key     {policy.issuer_key.hex()}",
        *(f"  trustee        {member.public_key.hex()}  {member.id}" for member in policy.trustees),
        *(f"  client         {member.public_key.hex()}  {member.id}" for member in policy.roster),
        f"  rounds         at most {policy.max_rounds}, of which {policy.max_aborts} opened and aborted",
        f"  initial model  {policy.initial_model.hex()}",
        *_beginning(policy),
        f"  required       {', '.join(policy.required_checks) or 'no check beyond those that are never skipped'}",
        "",
    ]
    return "\n".join(lines) + "\n" + (describe_conditions(judged) if judged.failed else describe_plan(planned(judged)))


def previous_dict(previous: FormerFederation) -> dict[str, Any]:
    """Where the federation before this one stood, as plain values."""
    return {
        "federation": previous.federation,
        "policy": previous.policy.hex(),
        "size": previous.size,
        "root": previous.root.hex(),
    }


def _beginning(policy: Policy) -> list[str]:
    """What the federation begins with, and who has to approve it."""
    who = " and ".join(f"{role}s" for role in policy.approvals)
    lines = [f"  initial file   {policy.initial_file.hex()}"] if policy.initial_file else []
    lines.append(f"  task file      {policy.task.hex() if policy.task else 'not pinned: each client chooses its own'}")
    if policy.previous is not None:
        former = policy.previous
        lines.append(f"  continues      {former.federation}, from its final model, at {former.size} entries of its log")
        lines.append(f"                 under policy {former.policy.hex()}")
        lines.append(f"                 with root {former.root.hex()}")
    lines.append(f"  approvals      {f'of all {who}, before the first round' if who else 'of nobody'}")
    return lines
