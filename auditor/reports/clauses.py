"""Which check is evidence for which duty: an annex to a report. Orientation for readers, no legal advice.

The texts of the law are cited by article and told in our own words: Regulation (EU) 2024/1689 (AI Act), Regulation (EU)
2016/679 (GDPR), 21 CFR Part 11, ISO/IEC 42001:2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from textwrap import fill

ORIENTATION = (
    "This annex says which check bears on which duty, and how far. It is orientation, not advice: whether a duty "
    "applies and is met depends on facts that no log has, and is for a lawyer or an auditor of the organisation to say."
)
AI_ACT = "EU AI Act, Regulation (EU) 2024/1689"
GDPR = "GDPR, Regulation (EU) 2016/679"
PART_11 = "21 CFR Part 11"
ISO_42001 = "ISO/IEC 42001:2023"


@dataclass(frozen=True)
class Clause:
    """A duty, and what an audit that accepted shows of it. duty: in our words. checks: their numbers, in order of the
    report. shows, leaves_open: sentences; the second is what nobody may read into the first."""

    law: str
    article: str
    duty: str
    checks: tuple[str, ...]
    shows: str
    leaves_open: str


CLAUSES = (
    Clause(
        AI_ACT,
        "Article 10, data and data governance",
        "Data sets for training are governed: where they come from, how they are prepared, examined for bias.",
        ("I3", "I5", "I8", "I13"),
        "Who contributed to the model in which round, under a key that was enrolled, and who was left out and why. "
        "Where the policy asks for approvals, that each party agreed to the task and its parameters before it took "
        "part.",
        "Nothing of the data: neither their quality, relevance or bias, nor that a party had the right to use them. No "
        "check sees data, which is the purpose of the system.",
    ),
    Clause(
        AI_ACT,
        "Article 12, record-keeping",
        "A high-risk system records events automatically over its lifetime, so that its working can be traced.",
        ("I1", "I4", "I11", "I12"),
        "The record of training is whole, in order, cosigned by the trustees and unchanged since; every model follows "
        "from the one before it by steps that anybody can repeat.",
        "The events of a system in use. The log ends with the final model.",
    ),
    Clause(
        AI_ACT,
        "Article 15, accuracy, robustness and cybersecurity",
        "The system withstands errors and attacks, among them poisoned data and poisoned models.",
        ("I6", "I7", "I9", "I10", "I11", "P4"),
        "Each contribution that entered a model was proved to be within the bounds of the policy, those that were not "
        "are excluded by name, and nothing but the sum of the accepted ones moved the model.",
        "How accurate the model is, and harm within the bounds: a contribution may be wrong on purpose and small "
        "enough.",
    ),
    Clause(
        AI_ACT,
        "Annex IV, technical documentation, point 2",
        "The documentation says by which methods and steps the system was developed, and from what it was trained.",
        ("I2", "I11", "I13", "I14"),
        "The policy that was signed before training has the parameters, the rule of each step and the hash of the "
        "task, and the log shows that training kept to them, from the initial model or from that of a former "
        "federation.",
        "What the task's code means, and every other point of the annex.",
    ),
    Clause(
        GDPR,
        "Article 5(1)(c), data minimisation",
        "Personal data are limited to what the purpose needs.",
        ("P1", "P2", "P6", "P7"),
        "What left the clients and could be opened are sums over cohorts of at least the size that the policy demands, "
        "one for each round, and what their differences tell; and nothing outside the schema was published.",
        "Whether the purpose needs even that. A sum, or a model, may still be personal data.",
    ),
    Clause(
        GDPR,
        "Article 5(1)(f) and 5(2), integrity, confidentiality and accountability",
        "Data are protected against unlawful processing and loss, and the controller can demonstrate it.",
        ("I1", "I8", "P2", "P3"),
        "No sum was opened but by as many trustees as the policy demands, each release is signed and in the log, and "
        "the record is one that those who are recorded cannot change unseen.",
        "What a party does with its own data, keys and machines, and what more trustees than the policy allows would "
        "do together.",
    ),
    Clause(
        GDPR,
        "Article 25, data protection by design and by default",
        "Technical measures put the principles into effect, from the design on.",
        ("P1", "P3", "P4", "P5", "P6"),
        "The limits on who can learn what are part of the signed policy and were kept. Where the policy has a privacy "
        "budget, what was spent of it, for a client as the unit and under the assumptions that the report lists.",
        "Protection of single patients or customers within a client's data, unless the client itself sees to it.",
    ),
    Clause(
        GDPR,
        "Article 32, security of processing",
        "Measures fit the risk: encryption, confidentiality and integrity of systems, regular testing.",
        ("I1", "I6", "I8", "P3"),
        "Contributions were encrypted to keys of which no single party holds the secret, their validity was proved "
        "without opening them, and the policy says how many corrupt trustees it takes to read one.",
        "The security of the machines on which keys and data lie.",
    ),
    Clause(
        PART_11,
        "Section 11.10(c) and (e), protection of records and audit trails",
        "Records can be retrieved accurately while they are kept; a secure, time-stamped trail has who did what, and "
        "changes hide nothing that was recorded before.",
        ("I1", "I4", "I12"),
        "The log is append-only: every checkpoint that trustees cosigned is a beginning of the next one, with the time "
        "at which they cosigned it, and evidence of any aggregate can be followed back to the entries that it rests "
        "on.",
        "Correct time: it is that of the trustees' clocks. Validation of the software at its user's, and retention.",
    ),
    Clause(
        PART_11,
        "Sections 11.50 and 11.70, signatures and their records",
        "Signed records show who signed, when and for what, and a signature cannot be moved to another record.",
        ("I1", "I3", "I5"),
        "Every entry is signed over its whole content with the key of the party that it names, under the policy that "
        "enrolled the key; a signature on one entry is none on another.",
        "Which person acted for a party, and the identity checks behind an enrolment.",
    ),
    Clause(
        ISO_42001,
        "Control A.6.2.8, recording of event logs",
        "Event logs are kept in the phases of the life cycle in which they matter.",
        ("I1", "I4", "I12"),
        "The log of training is complete and authentic up to the checkpoint that the report names.",
        "Logs of operation, and how long anything is kept.",
    ),
    Clause(
        ISO_42001,
        "Control A.7.5, data provenance",
        "There is a process that records where data come from, over their life cycle.",
        ("I3", "I5", "I11", "I14"),
        "Which parties a model was trained with, round by round, back to its initial model.",
        "Where a party's own data come from.",
    ),
)


def page() -> str:
    """The whole annex in Markdown: docs/clauses.md."""
    parts = ["# Which check is evidence for which duty", _wrapped(ORIENTATION)]
    for law, clauses in groupby(CLAUSES, key=lambda clause: clause.law):
        parts.append(f"## {law}")
        for clause in clauses:
            items = (
                f"- Checks: {', '.join(clause.checks)}.",
                f"- Shows: {clause.shows}",
                f"- Leaves open: {clause.leaves_open}",
            )
            parts += [f"### {clause.article}", _wrapped(clause.duty), "\n".join(_wrapped(item, "  ") for item in items)]
    return "\n\n".join(parts) + "\n"


def _wrapped(text: str, after: str = "") -> str:
    return fill(text, 120, subsequent_indent=after, break_long_words=False, break_on_hyphens=False)
