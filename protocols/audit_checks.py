"""The numbered checks of an audit (spec 9): which there are, and how each may end. The auditor has what they do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protocols.registry import Registry


@dataclass(frozen=True)
class AuditCheck:
    """A letter, I of integrity or P of privacy, with a number; and what it is about.

    may_be_skipped, may_not_apply: whether an audit may accept although it ended so. of_policy: whether it looks at the
    policy alone, so that nothing that is wrong with a log keeps it from being made.
    """

    id: str
    title: str
    may_be_skipped: bool = False
    may_not_apply: bool = False
    of_policy: bool = False


AUDIT_CHECKS: Registry[AuditCheck] = Registry(
    "check",
    "audit-check",
    (
        AuditCheck("I1", "log"),
        AuditCheck("I2", "genesis and parameters"),
        AuditCheck("I3", "roster and trustees"),
        AuditCheck("I4", "rounds"),
        AuditCheck("I5", "submissions"),
        AuditCheck("I6", "validity proofs"),
        AuditCheck("I7", "verdicts"),
        AuditCheck("I8", "acknowledgements, cohort, releases"),
        AuditCheck("I9", "replay of the summation", may_be_skipped=True),
        AuditCheck("I10", "opening of the aggregate"),
        AuditCheck("I11", "lineage of the model"),
        AuditCheck("I12", "evidence graph"),
        AuditCheck("I13", "approvals", may_not_apply=True),
        AuditCheck("I14", "continuation", may_be_skipped=True, may_not_apply=True, of_policy=True),
        AuditCheck("P1", "cohort size"),
        AuditCheck("P2", "one cohort, one release"),
        AuditCheck("P3", "corruption threshold", of_policy=True),
        AuditCheck("P4", "proved sensitivity"),
        AuditCheck("P5", "privacy accounting", may_not_apply=True),
        AuditCheck("P6", "differencing and aborts"),
        AuditCheck("P7", "nothing outside the schema"),
    ),
    lambda check: check.id,
)


def in_words(joined: str) -> str:
    """Every check, as ranges: I1 to I14 <joined> P1 to P7."""
    return f" {joined} ".join(f"{ids[0]} to {ids[-1]}" for ids in _by_letter(AUDIT_CHECKS.names))


def _by_letter(ids: Iterable[str]) -> list[list[str]]:
    families: dict[str, list[str]] = {}
    for each in ids:
        families.setdefault(each[0], []).append(each)
    return list(families.values())
