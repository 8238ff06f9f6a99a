"""P5: what was spent of each client's privacy, by the policy and the log alone (spec 10.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from auditor.case import Case
from auditor.checks.numbered import numbered
from auditor.checks.parameters import Parameters
from auditor.checks.proofs import Proofs
from auditor.checks.submissions import invited_clients, knows_invited
from auditor.findings import DoesNotApply, Findings, Result, Unavailable, counted
from auditor.index import Record, Round, label
from auditor.outcomes import CheckRun
from auditor.reports.results import Account, ClientAccount, Status
from auditor.signed_log import SignedLog
from proofs.errors import Rejected
from protocols.messages import CohortClosed
from protocols.noise_trustees import noise_needed, training_clients
from protocols.policy import Policy
from protocols.privacy.budgets import Budget


@dataclass(frozen=True)
class Needs:
    """What P5 is handed."""

    case: Case
    log: SignedLog
    parameters: CheckRun[Parameters]
    proofs: CheckRun[Proofs]


@dataclass(frozen=True)
class Accounting(Result):
    """What P5 leaves. account: None where there is nothing to account for."""

    account: Account | None = None


Replaced: TypeAlias = tuple[Fraction, Fraction] | None  # an epsilon and its delta


@numbered("P5")
def check_accounting(given: Needs, findings: Findings) -> Accounting:
    """P5. No client is in more closed cohorts, released or not, than the policy's budget allows it. The account says
    what each has spent. It stands only if every proof was verified (I6) under sound parameters (I2). Does not apply to
    a policy without a budget."""
    policy, budget = given.case.policy, given.case.budget
    if budget is None:
        raise DoesNotApply("the policy has no privacy budget: nothing is claimed")
    charges, logged, sent = Counter[str](), Counter[str](), Counter[str]()
    with findings.whether(sure=True):  # no entry that is missing takes a charge back
        for found in given.log.index.in_order():
            answers = Counter(record.client for record in found.submissions.values())
            logged.update(answers)
            sent.update(answers | _asked(given, found, charges))
            for entry, clients in found.charged():
                for client in sorted(clients):
                    _charge(findings, budget, entry, client, charges)
    for ended in (given.parameters.result, given.proofs.result):
        if ended.status is Status.FAIL:
            raise Unavailable(f"because {ended.id} failed: bound and noise are not proved")
    account = _account(policy, budget, charges, logged, sent)
    for each in account.assumptions:
        findings.note(each)
    return Accounting(_told(account, len(charges)), account)


def _charge(
    findings: Findings, budget: Budget, entry: Record[CohortClosed], client: str, charges: Counter[str]
) -> None:
    """One more cohort of a client."""
    try:
        budget.check(client, charges[client])
    except Rejected as error:
        findings.reject(label(entry.index, entry.message).at("accepted"), error)
    charges[client] += 1


def _asked(given: Needs, found: Round, charges: Mapping[str, int]) -> Counter[str]:
    """How many RoundOpens of a round asked each client: a submission that was sent need not be in the log. Everybody,
    where an entry that is missing may say whom. charges: in how many cohorts each client is that were closed before."""
    case = given.case
    known = knows_invited(case, given.log, found)
    clients = (
        invited_clients(case, given.log.index, found, charges) if known else {each.id for each in case.policy.roster}
    )
    return Counter(dict.fromkeys(clients, len(found.opens)))


def _account(
    policy: Policy, budget: Budget, charges: Mapping[str, int], logged: Mapping[str, int], sent: Mapping[str, int]
) -> Account:
    """What each client of the roster has spent, from the numbers of its cohorts, of its submissions in the log, and of
    those that it may have sent."""
    by_itself, clients = budget.by_itself, []
    for member in training_clients(policy):
        cohorts = charges.get(member.id, 0)
        most = max(cohorts, sent.get(member.id, 0))
        spent, alone = budget.spent(member.id, cohorts), by_itself.spent(member.id, most)
        counts = (cohorts, spent.former, budget.rounds(member.id), logged.get(member.id, 0), most)
        clients.append(ClientAccount(member.id, *counts, spent.epsilon, _larger(spent.epsilon, alone.epsilon)))
    rule = budget.rule
    numbers = (budget.epsilon, rule.delta, rule.sensitivity, rule.variance, rule.adders)
    replaced = _replaced(policy, budget)
    return Account(*numbers, replaced, assumptions(policy, budget, replaced), tuple(clients))


def _larger(first: Fraction | None, second: Fraction | None) -> Fraction | None:
    """Of two epsilons, of which None is beyond all."""
    return None if first is None or second is None else max(first, second)


def _replaced(policy: Policy, budget: Budget) -> Replaced:
    """Of the client for whom it is largest."""
    found = [budget.replaced(member.id) for member in training_clients(policy)]
    return None if None in found else max(each for each in found if each is not None)


def assumptions(policy: Policy, budget: Budget, replaced: Replaced) -> tuple[str, ...]:
    """What every epsilon of the account rests on (spec 10.1)."""
    adders, f, m = counted(budget.rule.adders, "honest adder"), policy.corrupt, len(policy.trustees)
    sentences = """\
        the unit is a client with all its data, not a patient or a record
        a client's updates are compared with updates that are zero; compared with any others, at twice the
            sensitivity, all cohorts that the budget allows have {others}
        that a client takes part, and its weight, is public, and depends on its data only by what was published; so do
            the clip and the model
        every cohort has {adders} of noise or more: {whose}
        at most {f} of the {m} trustees are corrupt, and who is corrupt was so from the start; with more of them a
            client has its own noise alone, and all that it sent counts, logged or not (epsilon_alone)
        epsilon_alone counts a submission for each RoundOpen here that asked the client, or all that are logged; that
            it sent no other (its store lost, another log shown) and none outside of former cohorts it alone knows
        cohorts are public, drawn or not: nothing is gained by sampling
        the guarantee is that of the budget; the epsilon of what is spent so far is what a budget of just that would
            have guaranteed, if nobody stopped because of what was seen
        other federations with the same clients add up, and are not in this account unless the policy names them
        encryption, sealed shares, proofs and signatures are not broken"""
    lines = sentences.replace("\n            ", " ").splitlines()
    whose = "who tells its noise, or chooses it, is none"
    if needed := noise_needed(policy):
        whose = f"there is noise of {needed} trustees in it, of whom at most {f} are corrupt; no client's noise counts"
    said = {"adders": adders, "whose": whose, "f": f, "m": m, "others": _others(replaced)}
    return tuple(line.strip().format(**said) for line in lines)


def _others(replaced: Replaced) -> str:
    return "no epsilon up to 1024" if replaced is None else f"{in_words(replaced[0])} at delta {float(replaced[1]):.3g}"


def _told(account: Account, charged: int) -> str:
    of = f"at delta {float(account.delta):g}; the unit is a client, zero-out"
    if not charged:
        return f"nothing is spent of epsilon {float(account.budget):g} {of}"
    largest = account.largest
    most = f"{largest.client} spent {in_words(largest.epsilon)} of {float(account.budget):g}"
    return f"{counted(charged, 'client')} in closed cohorts; {most} in {counted(largest.cohorts, 'cohort')}, {of}"


def in_words(epsilon: Fraction | None) -> str:
    """An epsilon as reports have it: to six digits; None: see `Spent`."""
    return "more than any epsilon that is proved" if epsilon is None else f"epsilon {float(epsilon):g}"
