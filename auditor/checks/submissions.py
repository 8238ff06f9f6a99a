"""I5: every submission is its client's own, for this round, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.case import Case
from auditor.checks.numbered import numbered
from auditor.findings import Findings, Result, counted
from auditor.index import Index, Round, SubmissionRecord
from auditor.reports.results import Place
from auditor.signed_log import SignedLog
from proofs.errors import Rejected
from protocols.participation import Ranked, asked
from protocols.reasons import DUPLICATE
from protocols.submissions import extra_sizes
from protocols.weights import check_same_weight, check_weight

_LISTED = 64  # names of trustees in a finding: a submission has no more shares


@dataclass(frozen=True)
class Needs:
    """What I5 is handed."""

    case: Case
    log: SignedLog


@dataclass(frozen=True)
class Submissions(Result):
    """What I5 leaves. duplicates: log indices of those that are no client's first of a round."""

    duplicates: frozenset[int] = frozenset()


@numbered("I5")
def check_submissions(given: Needs, findings: Findings) -> Submissions:
    """I5. 1. A client of the roster signed it, for this federation. 2. It answers the round's RoundOpen. 3. It has one
    share for each of the round's keys, in their order, and is no third of its client in the round. 4. No accepted
    submission is a client's second of a round. 5. It has the commitments that the policy asks for, and no others. 6. On
    a model on which a cohort was opened before, its client was in the latest of these. 7. It states a weight of 1 to W
    if the policy has weights stated, none otherwise; in a repetition of that cohort's round the one that it stated
    there.
    8. Its client was drawn for the round, where the policy draws some. 9. Where it has a privacy budget, its client is
    not yet in as many closed cohorts as that allows it. Of a trustee that adds noise 6, 8 and 9 say nothing, and 7 that
    it states 0.

    Rule 4 judges the accepted ones, I7 whether the others were excluded for it.
    """
    index = given.log.index
    index.report(findings)
    everybody: set[str] = set()
    duplicates: set[int] = set()
    charges: Counter[str] = Counter()
    count = 0
    for found in given.log.rounds(findings):
        accepted, trustees = {record.index for record in found.accepted()}, tuple(key_trustees(found))
        clients: set[str] = set()
        twice: set[str] = set()
        earlier = None if found.open is None else index.opened_before(found.number, found.open.message.model)
        again = None if found.open is None else index.unclosed_before(found.number, found.open.message.model)
        stated = {} if again is None else {each.client: each.weight for each in again.accepted()}
        invited = None if given.case.policy.per_round is None else invited_clients(given.case, index, found, charges)
        for record in found.submissions.values():
            fault = DUPLICATE if record.client in clients else None
            duplicates.update({record.index} if fault else ())
            _check_shape(given, findings, found, record, trustees)
            unspent = record.noise or _check_budget(given, findings, record, charges)
            if earlier is not None and record.client not in earlier and not record.noise:
                expected = "one of the last cohort opened on this model"
                with findings.whether(findings.sure and given.log.knows_before(found)):
                    findings.add(submission_label(record).at("client"), expected, record.client)
            elif unspent and invited is not None and record.client not in invited:
                with findings.whether(findings.sure and knows_invited(given.case, given.log, found)):
                    findings.add(submission_label(record).at("client"), "a client that is drawn", record.client)
            if again is not None:
                before = stated.get(record.client)
                _check_same_weight(given, findings, again, before, record, given.log.knows_before(found))
            if fault is not None and record.index in accepted:
                findings.add(submission_label(record), "no submission that is " + fault, "an accepted one")
            if record.client in twice:
                findings.add(submission_label(record), "at most two submissions of a client in a round", "a third")
            (twice if record.client in clients else clients).add(record.client)
            count += 1
        everybody |= clients
        charges.update(client for _, cohort in found.charged() for client in cohort)
    checked = f"{counted(count, 'submission')} by {counted(len(everybody), 'client')}"
    return Submissions(checked, frozenset(duplicates))


def invited_clients(case: Case, index: Index, found: Round, charges: Mapping[str, int]) -> frozenset[str]:
    """The clients that a round is open to, with the trustees who add noise; nobody without a RoundOpen. charges: in how
    many cohorts each client is that were closed before."""
    policy, budget = case.policy, case.budget
    if found.open is None:
        return frozenset()
    before = frozenset(index.clients_at(policy, index.settled_before(found.open.index)))
    if budget is not None:
        before -= budget.exhausted(charges, before)
    left = before.intersection(index.clients_at(policy, found.open.index))
    earlier, noise = (
        index.opened_before(found.number, found.open.message.model),
        index.noise_at(policy, found.open.index),
    )
    drawn = left & earlier if earlier is not None else asked(policy, found.open.message.draw, Ranked(before, left))
    return drawn | noise


def knows_invited(case: Case, log: SignedLog, found: Round) -> bool:
    """Whether `invited_clients` are who they are, whatever entries are missing."""
    settled = found.open is not None and log.knows_settled(found.open.index)
    counted = case.budget is None or log.knows_spent_before(found)
    return settled and counted and log.knows_before(found)


def _check_budget(given: Needs, findings: Findings, record: SubmissionRecord, charges: Mapping[str, int]) -> bool:
    """Rule 9; whether it is kept. What entries show that are here, no missing one takes back."""
    budget = given.case.budget
    try:
        if budget is not None:
            budget.check(record.client, charges.get(record.client, 0))
    except Rejected as error:
        with findings.whether(sure=True):
            findings.reject(submission_label(record).at("client"), error)
        return False
    return True


def first_submissions(found: Round) -> set[int]:
    """Log indices of each client's first submission of a round."""
    first: dict[str, int] = {}
    for record in found.submissions.values():
        first.setdefault(record.client, record.index)
    return set(first.values())


def submission_label(record: SubmissionRecord) -> Place:
    """How findings name a submission."""
    return Place(entry=record.index, type="submission", party=record.client, round=record.round)


def _check_shape(
    given: Needs, findings: Findings, found: Round, record: SubmissionRecord, trustees: tuple[str, ...]
) -> None:
    """Rules 2, 3, 5 and of 7 what one submission shows."""
    name = submission_label(record)
    try:
        check_weight(given.case.policy.weights, record.weight, noise_alone=record.noise)
    except Rejected as error:
        findings.reject(name.at("weight"), error)
    if found.open is None:
        findings.add(name, f"a RoundOpen of round {record.round}", "none")
        return
    findings.expect(name.at("round_open"), found.open.hash, record.round_open)
    asked = ", ".join(field for field, size in extra_sizes(given.case.pinned).items() if size)
    findings.expect(name.at("relations"), asked or "none", ", ".join(field for field, _ in record.extras) or "none")
    if record.share_trustees != trustees:
        findings.add(name.at("shares"), _listed(trustees), _listed(record.share_trustees))


def _check_same_weight(
    given: Needs, findings: Findings, again: Round, before: int | None, record: SubmissionRecord, sure: bool
) -> None:
    """Rule 7, of repetitions. before: what the client stated in the round that is repeated. sure: that it was."""
    try:
        check_same_weight(before, again.number, record.weight)
    except Rejected as error:
        with findings.whether(findings.sure and sure and given.log.is_whole(again.number)):
            findings.reject(submission_label(record).at("weight"), error)


def _listed(names: tuple[str, ...]) -> str:
    """A few of many names: a finding has room for no more."""
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def key_trustees(found: Round) -> list[str]:
    """The trustees whose keys the round has, in RoundOpen's order."""
    return [entry.message.trustee for entry in found.keys]
