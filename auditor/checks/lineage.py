"""I11: from the initial model to the last one, by nothing but server steps over the aggregates."""

from __future__ import annotations

import hashlib

from auditor.case import Case
from auditor.findings import Findings, counted
from auditor.index import Entry, Round, label
from proofs.errors import Malformed, Rejected
from protocols.messages import RoundClosed
from protocols.opening import decode_plaintext
from protocols.server_steps import (
    StepState,
    apply_step,
    decode_model,
    encode_model,
    encode_optimizer,
    initial_state,
)


def check_lineage(case: Case, findings: Findings) -> str:
    """I11. From the policy's initial model, for each RoundClosed: 1. it names the round's Aggregate; 2. the server step
    over that aggregate and the cohort's size gives its model, bit for bit, 3. and its optimizer state, null where the
    rule keeps none. Stops at the first step that does not match: what follows has no ground. 4. FederationClosed has
    the model of the last RoundClosed before it.
    """
    case.index.report(findings)
    policy, pinned = case.policy, case.pinned
    model = decode_model(case.blob(policy.initial_model, pinned.model_size), policy.dimension)
    state = initial_state(policy, model)
    steps = 0
    for found in case.index.in_order():
        if found.closed is None:
            continue
        following = _step(case, findings, found, found.closed, state)
        if following is None:
            findings.note(f"replay stopped at round {found.number}")
            break
        state, steps = following, steps + 1
    if case.index.ending is not None:
        entry, _ = case.index.ending
        last = case.index.model_before(entry.index, policy.initial_model)
        findings.expect(f"{label(entry.index, entry.message)}, model", last, entry.message.model)
    final = hashlib.sha256(encode_model(state.model)).hexdigest()
    return f"{counted(steps, 'server step')} ({policy.step.rule}) to model {final}"


def _step(
    case: Case, findings: Findings, found: Round, entry: Entry[RoundClosed], state: StepState
) -> StepState | None:
    name, message, pinned = label(entry.index, entry.message), entry.message, case.pinned
    findings.expect(f"{name}, aggregate", found.aggregate.hash if found.aggregate else None, message.aggregate)
    count = len(found.accepted())
    if found.aggregate is None or not count:
        findings.add(name, "an aggregate over a cohort", "none")
        return None
    try:
        data = case.blob(found.aggregate.message.plaintext, pinned.policy.dimension * 8)
        following = apply_step(pinned.policy, state, decode_plaintext(pinned, data), count)
    except (Malformed, Rejected) as error:
        findings.reject(f"{name}, server step", error)
        return None
    matches = findings.expect(f"{name}, model", hashlib.sha256(encode_model(following.model)).digest(), message.model)
    optimizer = encode_optimizer(following)
    expected = None if optimizer is None else hashlib.sha256(optimizer).digest()
    return following if findings.expect(f"{name}, optimizer", expected, message.optimizer) and matches else None
