"""What the transcript says of the clients' privacy, and what epsilon means wherever this page has the word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from auditor.reports.course import Course
from auditor.reports.page.values import LedgerRow, Privacy
from auditor.reports.results import Account, ClientAccount, Results, printable
from protocols.policy import Policy

PRIVACY_CHECKS = ("P1", "P2", "P3", "P4", "P5", "P6", "P7")
MOST_ROWS = 400
NONE_CLAIMED = (
    "No noise was added, so no differential privacy and no epsilon is claimed here. What protects a client is that "
    "only sums over many clients are opened."
)
UNIT = (
    "Wherever this page says epsilon, its unit is one client with all its data (not a patient, and not a record), "
    "compared with a client that sent updates of zero, and it stands under the assumptions below."
)


def privacy_of(report: Results, course: Course) -> Privacy | None:
    """None where the policy does not open, or its numbers cannot be used."""
    if course.policy is None or not course.sound:
        return None
    account = report.account
    rows = () if account is None else tuple(_ledger(account))
    return Privacy(
        facts=tuple(_facts(report, course.policy)),
        notes=tuple(_notes(report)),
        unit=NONE_CLAIMED if course.policy.privacy_budget is None else UNIT,
        meaning=() if account is None else account.meaning,
        assumptions=() if account is None else account.assumptions,
        ledger=rows[:MOST_ROWS],
        ledger_said=_said(course.policy, account),
        more_ledger=max(len(rows) - MOST_ROWS, 0),
    )


def _facts(report: Results, policy: Policy) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name, number in (
        ("Sensitivity", "P4"),
        ("Cohorts", "P1"),
        ("Sums a round", "P2"),
        ("Differences between sums", "P6"),
        ("Trustees", "P3"),
        ("Nothing beside the protocol", "P7"),
    ):
        result = report.check(number)
        yield name, result.checked or result.reason or "not looked at", (number,)
    if policy.noise is not None:
        noise = policy.noise
        variance = float(Fraction(noise.variance, noise.variance_divisor))
        text = (
            f"{noise.rule}, added by {noise.by}, of variance {variance:.6g} (units squared) in every coordinate; "
            f"at least {noise.honest} of those who add it in a cohort are taken to be honest"
        )
        yield "Noise", text, ("P5",)


def _notes(report: Results) -> Iterator[tuple[str, str]]:
    """What the checks note, but meaning and assumptions, which have lists of their own."""
    listed = () if report.account is None else (*report.account.meaning, *report.account.assumptions)
    known = {printable(f"{kind}: {each}") for kind in ("means", "assumed") for each in listed}
    for result in report.checks:
        if result.id in PRIVACY_CHECKS:
            yield from ((result.id, note) for note in result.notes if note not in known)


def _said(policy: Policy, account: Account | None) -> str:
    if policy.privacy_budget is None:
        return ""
    if account is None:
        return "What was spent could not be counted: bound and noise are not proved for this transcript (P5)."
    return (
        f"The policy allows each client epsilon {float(account.budget):g} at delta {float(account.delta):g}. A client "
        "is charged for every cohort that was fixed with it in, whether its sum was opened or not."
    )


def _ledger(account: Account) -> Iterator[LedgerRow]:
    """A row for all clients in a row that have spent alike."""
    group: list[ClientAccount] = []
    for each in account.clients:
        if group and _alike(group[0]) != _alike(each):
            yield _entry(group)
            group = []
        group.append(each)
    if group:
        yield _entry(group)


def _alike(each: ClientAccount) -> tuple[object, ...]:
    return each.cohorts, each.former, each.allowed, each.submissions, each.sent, each.epsilon, each.alone


def _entry(group: Sequence[ClientAccount]) -> LedgerRow:
    first, last = group[0], group[-1]
    names = first.client if len(group) == 1 else f"{first.client} to {last.client} ({len(group)} clients)"
    former = f", and {first.former} of former federations" if first.former else ""
    return LedgerRow(
        names,
        f"{first.cohorts} of {first.allowed}{former}",
        _epsilon(first.epsilon),
        _epsilon(first.alone),
        f"{first.submissions} (at most {first.sent})",
    )


def _epsilon(value: Fraction | None) -> str:
    return "none is proved" if value is None else f"{float(value):g}"
