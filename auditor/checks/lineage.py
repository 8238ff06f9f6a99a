"""I11: from the initial model to the last one, by nothing but server steps over the aggregates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from auditor.blobs import Blobs, Roles
from auditor.checks.derived import Sources, plaintext_of
from auditor.checks.numbered import numbered
from auditor.findings import Findings, Result, counted
from auditor.index import Record, Round, label
from auditor.reports.results import ModelSummary, Place
from proofs.errors import Malformed, Rejected
from protocols.hashes import sha256
from protocols.log.files import Damaged
from protocols.messages import ISSUER, RoundClosed
from protocols.steps.step import (
    StepState,
    apply_step,
    decode_model,
    decode_optimizer,
    encode_model,
    encode_optimizer,
    initial_state,
)
from protocols.weights import WeighedSum


@dataclass(frozen=True)
class Needs(Sources):
    """What I11 is handed."""

    blobs: Annotated[Blobs, Roles("model", "optimizer", "ciphertext", "share", "key", "plaintext")]


@dataclass(frozen=True)
class Lineage(Result):
    """What I11 leaves. model: the last one that is signed in the log, with its round."""

    model: ModelSummary | None = None


@numbered("I11")
def check_lineage(given: Needs, findings: Findings) -> Lineage:
    """I11. From the policy's initial model, for each RoundClosed: 1. it names the round's Aggregate; 2. the server step
    over that aggregate and the sum of the cohort's weights gives its model, bit for bit, 3. and its optimizer state,
    null where the rule keeps none. Stops at the first step that does not match: what follows has no ground. Where a
    step cannot be judged, for want of a blob, it goes on from the model and optimizer that are signed there. 4.
    FederationClosed has the model of the last RoundClosed before it.
    """
    given.log.index.report(findings)
    policy = given.case.policy
    state, steps, before = _start(given, findings), 0, _Before()
    for found in given.log.index.in_order():
        before.pass_to(given, found)
        if found.closed is None:
            continue
        findings.sure = before.known and given.log.has_summed(found)
        try:
            following = _step(given, findings, found, found.closed, state)
            steps += following is not None
        except Damaged as error:
            findings.reject(label(found.closed.index, found.closed.message).at("server step"), error)
            state, before.known = _signed_state(given, found.closed), True
            continue
        if following is None and findings.sure:
            findings.note(f"replay stopped at round {found.number}")
            break
        state, before.known = following or _signed_state(given, found.closed), True
    if given.log.index.ending is not None:
        entry, _ = given.log.index.ending
        last = given.log.index.model_before(entry.index, policy.initial_model)
        findings.sure = before.known and not given.log.gaps
        findings.expect(label(entry.index, entry.message).at("model"), last, entry.message.model)
    final = "" if state is None else f" to model {sha256(encode_model(state.model)).hex()}"
    return Lineage(f"{counted(steps, 'server step')} ({policy.step.rule}){final}", _last_model(given))


def _last_model(given: Needs) -> ModelSummary:
    closed = ((found.number, found.closed.message.model) for found in given.log.index.in_order() if found.closed)
    number, model = max(closed, default=(0, given.case.policy.initial_model))
    return ModelSummary(number, model.hex())


@dataclass
class _Before:
    """Whether the model before a step is that of the last RoundClosed that is here; the round that was looked at."""

    known: bool = True
    number: int = 0

    def pass_to(self, given: Needs, found: Round) -> None:
        """A missing RoundClosed may be of a round of which nothing is here, or of one that has no end."""
        hidden = given.log.torn.touches(self.number + 1, found.number - 1)
        without = not found.finished and not given.log.is_whole(found.number)
        self.known, self.number = self.known and not hidden and not without, found.number


def _start(given: Needs, findings: Findings) -> StepState | None:
    """The state before the first step; None where the initial model cannot be had."""
    policy, name = given.case.policy, given.case.policy.initial_model
    try:
        return initial_state(policy, decode_model(given.blobs.read("model", name), policy.dimension))
    except (Malformed, Rejected) as error:
        findings.reject(Place("initial model"), error, by=ISSUER)
        return None


def _signed_state(given: Needs, entry: Record[RoundClosed]) -> StepState | None:
    """The state after a step that cannot be judged, as the coordinator signed it; None where that cannot be had, or is
    none."""
    policy, message = given.case.policy, entry.message
    try:
        state = initial_state(policy, decode_model(given.blobs.read("model", message.model), policy.dimension))
        if (message.optimizer is None) != (not state.moments):
            return None
        if message.optimizer is not None:
            data = given.blobs.read("optimizer", message.optimizer)
            state = replace(state, moments=decode_optimizer(policy, data))
    except (Malformed, Rejected):
        return None  # I1 says so of blobs, and what follows has no ground
    return state


def _step(
    given: Needs, findings: Findings, found: Round, entry: Record[RoundClosed], state: StepState | None
) -> StepState | None:
    """The state after a step, None where it is another than the entry says. Raises Damaged where that cannot be judged,
    for want of a blob, also of one before it."""
    name, message, pinned = label(entry.index, entry.message), entry.message, given.case.pinned
    if state is None:
        raise Damaged("model", "the model and the optimizer before this step", "blobs that are not here")
    findings.expect(name.at("aggregate"), found.aggregate.hash if found.aggregate else None, message.aggregate)
    if found.aggregate is None or not found.accepted():
        findings.add(name, "an aggregate over a cohort", "none")
        return None
    try:
        plaintext = plaintext_of(given, found, found.aggregate)
        total = WeighedSum.of(pinned.policy, plaintext, found.summands)
        following = apply_step(pinned.policy, state, total.update, total.weight, found.number)
    except Damaged:
        raise
    except (Malformed, Rejected) as error:
        findings.reject(name.at("server step"), error)
        return None
    matches = findings.expect(name.at("model"), sha256(encode_model(following.model)), message.model)
    optimizer = encode_optimizer(following)
    expected = None if optimizer is None else sha256(optimizer)
    return following if findings.expect(name.at("optimizer"), expected, message.optimizer) and matches else None
