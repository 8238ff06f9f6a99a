"""What the transcript says about the clients' privacy: all checks P but account and differences of sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from auditor.case import Case
from auditor.checks.graph import UNNAMED, unreferenced
from auditor.checks.numbered import numbered
from auditor.checks.parameters import Parameters
from auditor.checks.proofs import Proofs
from auditor.findings import Findings, Result, Unavailable, counted
from auditor.index import Round, label
from auditor.outcomes import CheckRun
from auditor.reports.results import Kind, Place, Status
from auditor.signed_log import SignedLog
from protocols.messages import ISSUER
from protocols.noise_trustees import makes_cohort, noise_needed, without_noise
from protocols.policy import Policy
from protocols.reasons import ABORTS, ABSENCES, ENDINGS
from protocols.registry import Registry
from protocols.weights import PRIVATE, WEIGHT_KINDS, weight_of


@dataclass(frozen=True)
class PolicyAlone:
    """What P3 is handed."""

    case: Case


@dataclass(frozen=True)
class PolicyAndLog:
    """What P1, P2 and P7 are handed."""

    case: Case
    log: SignedLog


@dataclass(frozen=True)
class WhatWasProved:
    """What P4 is handed."""

    case: Case
    log: SignedLog
    parameters: CheckRun[Parameters]
    proofs: CheckRun[Proofs]


@dataclass(frozen=True)
class CohortSizes(Result):
    """What P1 leaves."""


@numbered("P1")
def check_cohort_sizes(given: PolicyAndLog, findings: Findings) -> CohortSizes:
    """P1. Every cohort has min_cohort to max_cohort different clients, whether it was released or not; where trustees
    add noise it has enough of that, too, and `max_cohort` is of both together. Where weights are stated, a note has the
    largest share that one client has in the weight of a cohort."""
    policy = given.case.policy
    sizes = []
    for found in given.log.rounds(findings):
        for entry in found.cohorts:
            accepted = entry.message.accepted
            clients = {found.submissions[index].client for index in accepted if index in found.submissions}
            sizes.append(len(without_noise(policy, clients)))
            if not (makes_cohort(policy, clients) and len(clients) == len(accepted) <= policy.max_cohort):
                expected = f"{policy.min_cohort} to {policy.max_cohort} different clients{_noise(policy)}"
                said = f"{len(clients)} clients in {len(accepted)} submissions"
                beyond = not policy.min_cohort <= len(accepted) <= policy.max_cohort
                with findings.whether(findings.sure or beyond):
                    findings.add(label(entry.index, entry.message).at("accepted"), expected, said)
    _note_heaviest(given, findings)
    smallest = f", the smallest of {min(sizes)}" if sizes else ""
    return CohortSizes(f"{counted(len(sizes), 'cohort')}{smallest}; at least {policy.min_cohort} are demanded")


def _noise(policy: Policy) -> str:
    """What is demanded beside clients."""
    needed = noise_needed(policy)
    return f", of them {needed} trustees or more with noise beside {policy.min_cohort}" if needed else ""


def _note_heaviest(given: PolicyAndLog, findings: Findings) -> None:
    """Of all cohorts, the client that weighs most beside the others."""
    if not WEIGHT_KINDS.find(given.case.policy.weights.kind).stated:
        return
    heaviest: tuple[Fraction, str, int] | None = None
    for found in given.log.index.in_order():
        total = found.summands.weight
        for record in found.accepted() if total > 0 else ():
            share = Fraction(weight_of(record.weight), total)
            if heaviest is None or share > heaviest[0]:
                heaviest = share, record.client, found.number
    if heaviest is not None:
        share, client, number = heaviest
        percent = math.floor(100 * share)
        findings.note(f"{client} has {percent} % of the weight in round {number}, the most of any client")


@dataclass(frozen=True)
class SingleReleases(Result):
    """What P2 leaves."""


@numbered("P2")
def check_single_release(given: PolicyAndLog, findings: Findings) -> SingleReleases:
    """P2. A round has at most one CohortClosed, and each trustee signs at most one Release in it."""
    findings.sure = True  # two are two, whatever is missing
    releases = 0
    for found in given.log.index.in_order():
        for cohort in found.cohorts[1:]:
            findings.add(label(cohort.index, cohort.message), "one cohort a round", "another")
        seen: dict[str, int] = {}
        for entry in found.releases:
            releases += 1
            first = seen.setdefault(entry.message.trustee, entry.index)
            if first != entry.index:
                expected = f"one release a trustee and round, that of entry {first}"
                findings.add(label(entry.index, entry.message), expected, "another")
    return SingleReleases(f"{counted(len(given.log.index.rounds), 'round')}, {counted(releases, 'release')}")


@dataclass(frozen=True)
class Threshold(Result):
    """What P3 leaves."""


@numbered("P3")
def check_threshold(given: PolicyAlone, findings: Findings) -> Threshold:
    """P3. 2t > m + f and f <= t - 1 with the policy's numbers. Notes name trustees who are also clients: a corrupt one
    counts on both sides."""
    findings.sure = True
    policy = given.case.policy
    m, t, f = len(policy.trustees), policy.threshold, policy.corrupt
    if not 2 * t > m + f:
        findings.add(Place("policy").at("threshold"), f"2t > m + f = {m + f}", f"2t = {2 * t}", by=ISSUER)
    if not f <= t - 1:
        findings.add(Place("policy").at("corrupt"), f"f <= t - 1 = {t - 1}", f"f = {f}", by=ISSUER)
    clients = {member.id for member in policy.roster}
    both = [member.id for member in policy.trustees if member.id in clients]
    if both:
        findings.note(f"trustees who are also clients: {', '.join(both)}")
    return Threshold(f"m = {m}, t = {t}, f = {f}; {counted(len(both), 'trustee')} also a client")


@dataclass(frozen=True)
class Sensitivity(Result):
    """What P4 leaves."""


@numbered("P4")
def check_sensitivity(given: WhatWasProved, findings: Findings) -> Sensitivity:
    """P4. The bound that every accepted update is proved to obey, after rounding, is the L2 sensitivity of the sum. It
    stands only if every proof was verified (I6) under sound parameters (I2). The sum of private weights is published,
    too. Without noise no epsilon is claimed."""
    for ended in (given.parameters.result, given.proofs.result):
        if ended.status is Status.FAIL:
            raise Unavailable(f"because {ended.id} failed: the bound is not proved")
    _ = given.log.index
    rule, weights = given.case.pinned.policy.update, given.case.pinned.policy.weights
    largest = weights.largest
    real = float(Fraction(largest * rule.norm_bound, 1 << rule.fraction_bits))
    if given.case.policy.noise is None:
        findings.note("no epsilon is claimed: the policy asks for no noise")
    weighed = "" if largest == 1 else f"{largest} times "
    units = f"{weighed}{rule.norm_bound} units of 2^-{rule.fraction_bits}"
    divided = ", each coordinate divided by its scale" if rule.scales else ""
    told = f"adding or removing one client changes the sum by at most {real:.6g} in L2 ({units}){divided}"
    return Sensitivity(told + (_beside_weights(rule.norm_bound, largest) if weights.kind == PRIVATE.name else ""))


def _beside_weights(norm_bound: int, largest: int) -> str:
    """Of an update of at most W B, published with a weight of at most W."""
    together = math.isqrt(largest**2 * (norm_bound**2 + 1)) + 1  # W sqrt(B^2 + 1), rounded up
    return f", and the sum of weights by at most {largest}: both together by less than {together} units"


@dataclass(frozen=True)
class Schema(Result):
    """What P7 leaves."""


@numbered("P7")
def check_schema(given: PolicyAndLog, findings: Findings) -> Schema:
    """P7. Every entry decodes to a message of this version (I1), so all that it says is in the schema. Here: 1. words
    are words: the reasons of aborts, of missing parties and of the end are of the lists of spec 8. 2. No blob is there
    that nothing names; those that are named have the one size of their role (I1)."""
    findings.sure = True  # each entry is judged by itself
    entries = len(given.log.index.headings)
    for position, heading in enumerate(given.log.index.headings):
        if not heading.type:
            findings.add(Place(entry=position), "a message of this version", "bytes that are none")
    for found in given.log.index.in_order():
        _check_words(findings, found)
    if given.log.index.ending is not None:
        entry, _ = given.log.index.ending
        _check_known(findings, label(entry.index, entry.message).at("reason"), [entry.message.reason], ENDINGS)
    for path in unreferenced(given.case, given.log):
        findings.add(Place(file=path), "a blob that an entry names", UNNAMED, Kind.DAMAGED)
    return Schema(f"{entries} entries, {counted(len(given.log.index.blobs), 'blob')}")


def _check_words(findings: Findings, found: Round) -> None:
    for aborted in found.aborts:
        name = label(aborted.index, aborted.message)
        _check_known(findings, name.at("reason"), [aborted.message.reason], ABORTS)
        _check_known(findings, name.at("missing"), [missing.reason for missing in aborted.message.missing], ABSENCES)


def _check_known(findings: Findings, where: Place, words: Sequence[str], known: Registry[Any]) -> None:
    for word in words:
        if word not in known:
            findings.add(where, " or ".join(known.names), word)
