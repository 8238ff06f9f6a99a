"""What was promised to whom, in sentences for people who do not know the protocol, and what the checks say of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from auditor.reports.page.values import Promise, Promises, PromiseStanding
from auditor.reports.page.verdict import listed
from auditor.reports.results import CheckResult, Kind, Results, Status
from protocols.noise_trustees import noise_needed, training_clients
from protocols.policy import Policy
from protocols.weights import WEIGHT_KINDS


def promises_of(report: Results) -> tuple[Promises, ...]:
    """To clients, to whoever uses the model, to whoever relies on the record. Every check is evidence for one of them.
    Nothing where the policy does not open, or its numbers cannot be used."""
    policy = None if report.course is None else report.course.policy
    if policy is None or report.course is None or not report.course.sound:
        return ()
    groups = (
        ("To every client", "about its data and its updates", _to_clients(policy)),
        ("To whoever uses the model", "about how it came about", _to_users(policy)),
        ("To whoever relies on the record", "about this transcript", _to_readers(report, policy)),
    )
    return tuple(
        Promises(to, why, tuple(_judged(report, text, checks) for text, checks in said)) for to, why, said in groups
    )


Stated = Iterator[tuple[str, tuple[str, ...]]]


def _to_clients(policy: Policy) -> Stated:
    m, t, f = len(policy.trustees), policy.threshold, policy.corrupt
    noise = noise_needed(policy)
    hidden = f", with noise of at least {noise} trustees" if noise else ""
    yield (
        (
            f"What is opened of the clients' updates is sums over at least {policy.min_cohort} clients{hidden}, never "
            "an update by itself; in each round one sum, and of no other group."
        ),
        ("P1", "P2", "I8"),
    )
    yield (
        (
            f"It takes {t} of the {m} trustees to open a sum. As long as at most {f} of them are corrupt, nobody opens "
            "anything else, and nobody shows two clients two different records."
        ),
        ("P3",),
    )
    strict = " The same holds for rounds one after the other." if policy.strict_consecutive else ""
    yield (
        (
            "Nobody is singled out by comparing sums that were opened on one model: the groups nest, and who is left "
            f"out of a later one has at least {policy.min_cohort} clients for company, or is at fault. At most "
            f"{policy.max_aborts} rounds may end without a result after their group was fixed.{strict}"
        ),
        ("P6",),
    )
    yield _about_noise(policy), ("P5",)
    yield (
        (
            "A submission that is in the record and keeps the rules is counted; one that is left out is left out for "
            "a reason that is true and stands in the record. Nobody submits in another's name, or twice."
        ),
        ("I5", "I7"),
    )
    yield (
        "The record holds nothing beyond what the protocol provides for: no field in which data could be carried off.",
        ("P7",),
    )


def _about_noise(policy: Policy) -> str:
    if policy.privacy_budget is None:
        return "No noise is added to the sums: no differential privacy is promised."
    budget = float(Fraction(policy.privacy_budget.epsilon_millionths, 10**6))
    delta = float(Fraction(policy.privacy_budget.delta_trillionths, 10**12))
    return (
        f"With noise in every sum, whatever is published stays within epsilon {budget:g} at delta {delta:g} for each "
        "client, and no client is in more sums than that allows."
    )


def _to_users(policy: Policy) -> Stated:
    bound = _real(policy, policy.weights.largest * policy.update.norm_bound)
    coordinate = policy.update.coordinate_bound
    further = "" if coordinate is None else f", and no single coordinate by more than {_real(policy, coordinate):.6g}"
    weighed = (
        "" if not WEIGHT_KINDS.find(policy.weights.kind).weighs else f" Weights are 1 to {policy.weights.largest:,}."
    )
    yield (
        (
            f"No client moves a sum by more than {bound:.6g} (Euclidean length of its update){further}; every accepted "
            f"update has a mathematical proof of that.{weighed}"
        ),
        ("I6", "P4"),
    )
    yield (
        (
            "Each published sum is exactly the sum of the accepted updates: nothing was added, nothing dropped, "
            "nothing counted twice."
        ),
        ("I9", "I10"),
    )
    yield (
        (
            f"Each model follows from the one before by the agreed rule ({policy.step.rule}) and the published sum, "
            "bit for bit, beginning with the agreed initial model."
        ),
        ("I11",),
    )
    yield (
        (
            "The federation ran under the agreed policy, whose numbers satisfy every condition under which the "
            "guarantees are proved."
        ),
        ("I2",),
    )


def _to_readers(report: Results, policy: Policy) -> Stated:
    head = report.checkpoint
    size = "" if head is None else f" its {head.size:,} entries up to"
    trustees = {member.id for member in policy.trustees}
    signed = 0 if head is None else len(trustees.intersection(head.cosigners))
    cosigned = "" if head is None else f" It has the signatures of {signed} of {len(trustees)} trustees."
    yield (
        (
            f"The record is whole and unaltered:{size} a checkpoint that the log's key signed, and {policy.threshold} "
            f"trustees at least.{cosigned}"
        ),
        ("I1",),
    )
    yield (
        (
            f"Every entry is signed by whom it names, and these are the {len(training_clients(policy))} clients and "
            f"{len(policy.trustees)} trustees of the policy, with the keys that were in force."
        ),
        ("I3",),
    )
    yield (
        (
            f"Rounds follow one another as agreed, at most {policy.max_rounds:,} of them, each from the model that the "
            "last one left; every piece of evidence leads to its result, and none leads nowhere."
        ),
        ("I4", "I12"),
    )
    roles = listed([f"every {role}" for role in policy.approvals])
    yield (
        f"The policy was approved by the signature of {roles}." if roles else "No signatures of members were demanded.",
        ("I13",),
    )
    yield (
        "The initial model is the result of an earlier federation, as its own record shows."
        if policy.previous is not None
        else "The federation begins anew: it continues no other.",
        ("I14",),
    )


def _real(policy: Policy, units: int) -> float:
    return float(Fraction(units, 1 << policy.update.fraction_bits))


def _judged(report: Results, text: str, checks: tuple[str, ...]) -> Promise:
    results = [report.check(number) for number in checks]
    found = tuple((result.id, result.checked or result.reason) for result in results)
    return Promise(text, standing_of(results), found)


def standing_of(results: Sequence[CheckResult]) -> PromiseStanding:
    """Of a promise that rests on these checks."""
    if any(each.kind is Kind.BROKEN for result in results for each in result.findings):
        return PromiseStanding.BROKEN
    if all(result.status is Status.NOT_APPLICABLE for result in results):
        return PromiseStanding.NONE
    made = [result for result in results if result.status is Status.PASS]
    if len(made) == sum(result.status is not Status.NOT_APPLICABLE for result in results):
        return PromiseStanding.KEPT
    return PromiseStanding.PARTLY if made and all(result.acceptable for result in results) else PromiseStanding.UNKNOWN
