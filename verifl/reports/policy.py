"""`verifl policy show`: a policy file for people and programs."""

from __future__ import annotations

from typing import Any

from verifl.planning.plan import Plan
from verifl.reports.plan import describe_plan


def policy_dict(plan: Plan) -> dict[str, Any]:
    """The plan of the policy, and who its parties are."""
    policy = plan.policy
    return {
        "policy_hash": plan.pinned.hash.hex(),
        "origin": policy.origin,
        "log_key": policy.log_key.hex(),
        "issuer_key": policy.issuer_key.hex(),
        "trustee_keys": {member.id: member.public_key.hex() for member in policy.trustees},
        "client_keys": {member.id: member.public_key.hex() for member in policy.roster},
        "max_rounds": policy.max_rounds,
        "max_aborts": policy.max_aborts,
        "strict_consecutive": policy.strict_consecutive,
        "initial_model": policy.initial_model.hex(),
        "step": policy.step.rule,
        "required_checks": list(policy.required_checks),
        **plan.to_dict(),
    }


def describe_policy(plan: Plan) -> str:
    """The same as text."""
    policy = plan.policy
    lines = [
        f"Policy {plan.pinned.hash.hex()}",
        f"  origin         {policy.origin}",
        f"  log key        {policy.log_key.hex()}",
        f"  issuer key     {policy.issuer_key.hex()}",
        *(f"  trustee        {member.public_key.hex()}  {member.id}" for member in policy.trustees),
        *(f"  client         {member.public_key.hex()}  {member.id}" for member in policy.roster),
        f"  rounds         at most {policy.max_rounds}, of which {policy.max_aborts} opened and aborted",
        f"  server step    {policy.step.rule}",
        f"  initial model  {policy.initial_model.hex()}",
        f"  required       {', '.join(policy.required_checks) or 'no check beyond those that are never skipped'}",
        "",
    ]
    return "\n".join(lines) + "\n" + describe_plan(plan)
