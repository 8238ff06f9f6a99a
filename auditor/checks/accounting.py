"""P5: what was spent of each client's privacy, by the policy and the log alone (spec 10.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from auditor.case import Case
from auditor.checks.continuation import Continuation
from auditor.checks.epsilons import Replaced, assumptions, in_words, meaning
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
from protocols.noise_trustees import training_clients
from protocols.policy import Policy
from protocols.privacy.budgets import Budget


@dataclass(frozen=True)
class Needs:
    """What P5 is handed."""

    case: Case
    log: SignedLog
    parameters: CheckRun[Parameters]
    proofs: CheckRun[Proofs]
    continuation: CheckRun[Continuation]


@dataclass(frozen=True)
class Accounting(Result):
    """What P5 leaves. account: None where there is nothing to account for."""

    account: Account | None = None


@numbered("P5")
def check_accounting(given: Needs, findings: Findings) -> Accounting:
    """P5. No client is in more closed cohorts, released or not, than the policy's budget allows it. The account says
    what each has spent. It stands only if every proof was verified (I6) under sound parameters (I2). Does not apply to
    a policy without a budget."""
    budget = given.case.budget
    if budget is None:
        raise DoesNotApply("the policy has no privacy budget: nothing is claimed")
    counts = _counted(given, findings, budget)
    for ended in (given.parameters.result, given.proofs.result):
        if ended.status is Status.FAIL:
            raise Unavailable(f"because {ended.id} failed: bound and noise are not proved")
    account = _account(given.case.policy, budget, counts, _not_recounted(given))
    _tell(findings, account, counts)
    return Accounting(_told(account, len(counts.charges)), account)


@dataclass
class _Counts:
    """Of each client: closed cohorts, submissions in the log, those that it may have sent. fewest: of the rounds, where
    fewest clients had something left when it was opened: how many, the round, and of how many in force."""

    charges: Counter[str] = field(default_factory=Counter)
    logged: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    fewest: tuple[int, int, int] | None = None


def _counted(given: Needs, findings: Findings, budget: Budget) -> _Counts:
    counts = _Counts()
    with findings.whether(sure=True):  # no entry that is missing takes a charge back
        for found in given.log.index.in_order():
            _see_who_is_left(given, found, budget, counts)
            answers = Counter(record.client for record in found.submissions.values())
            counts.logged.update(answers)
            counts.sent.update(answers | _asked(given, found, counts.charges))
            for entry, clients in found.charged():
                for client in sorted(clients):
                    _charge(findings, budget, entry, client, counts.charges)
    return counts


def _see_who_is_left(given: Needs, found: Round, budget: Budget, counts: _Counts) -> None:
    """Where somebody in force had spent all, and no entry is missing that may say so of others."""
    if found.open is None or not knows_invited(given.case, given.log, found):
        return
    index = given.log.index
    training = {member.id for member in training_clients(given.case.policy)}
    force = training & frozenset(index.clients_at(given.case.policy, index.settled_before(found.open.index)))
    left = len(force - budget.exhausted(counts.charges, force))
    if left < len(force) and (counts.fewest is None or left < counts.fewest[0]):
        counts.fewest = (left, found.number, len(force))


def _not_recounted(given: Needs) -> str | None:
    """What of former federations' budgets rests on somebody's word."""
    if given.case.policy.previous is None or given.continuation.result.status is Status.PASS:
        return None
    return (
        "what each client spent in former federations is, in whole or in part, as the issuers of the policies wrote: "
        "it was not recounted (I14); audit with --previous for each of them"
    )


def _tell(findings: Findings, account: Account, counts: _Counts) -> None:
    for each in account.meaning:
        findings.note(f"means: {each}")
    if counts.fewest is not None:
        left, number, force = counts.fewest
        findings.note(
            f"means: round {number} could have a cohort of {left} only of the {force} clients in force, as the others "
            "had spent their budgets; a server that hears some and not others decides who these are, drawn or not"
        )
    for each in account.assumptions:
        findings.note(f"assumed: {each}")


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


def _account(policy: Policy, budget: Budget, counts: _Counts, before: str | None) -> Account:
    """What each client of the roster has spent. before: see `assumptions`."""
    clients = tuple(_client(member.id, budget, counts) for member in training_clients(policy))
    rule, replaced = budget.rule, _replaced(policy, budget)
    alone = [each.alone for each in clients]
    largest = None if None in alone else max(each for each in alone if each is not None)
    numbers = (budget.epsilon, rule.delta, rule.sensitivity, rule.variance, rule.adders)
    said = (meaning(policy, replaced, largest), assumptions(policy, budget, before))
    return Account(*numbers, replaced, *said, clients)


def _client(client: str, budget: Budget, counts: _Counts) -> ClientAccount:
    cohorts = counts.charges[client]
    most = max(cohorts, counts.sent[client])
    spent, alone = budget.spent(client, cohorts), budget.by_itself.spent(client, most)
    numbers = (cohorts, spent.former, budget.rounds(client), counts.logged[client], most)
    return ClientAccount(client, *numbers, spent.epsilon, _larger(spent.epsilon, alone.epsilon))


def _larger(first: Fraction | None, second: Fraction | None) -> Fraction | None:
    """Of two epsilons, of which None is beyond all."""
    return None if first is None or second is None else max(first, second)


def _replaced(policy: Policy, budget: Budget) -> Replaced:
    """Of the client for whom it is largest."""
    return budget.replaced(budget.furthest(member.id for member in training_clients(policy)))


def _told(account: Account, charged: int) -> str:
    of = f"at delta {float(account.delta):g}; the unit is a client, zero-out"
    if not charged:
        return f"nothing is spent of epsilon {float(account.budget):g} {of}"
    largest = account.largest
    most = f"at most {in_words(largest.epsilon)} of {float(account.budget):g} is spent, by {largest.client}"
    return f"{counted(charged, 'client')} in closed cohorts; {most} in {counted(largest.cohorts, 'cohort')}, {of}"
