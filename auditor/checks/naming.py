"""Who is to blame (spec 9.6, I7 and I8): nobody for what it did not sign, nor for what it signed about another round.

A server can write entries in anybody's name, repeat entries, and put another RoundOpen above them. No report may call
an honest party an offender for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auditor.index import Record, Round, SubmissionRecord
from auditor.signed_log import SignedLog
from protocols.cohorts import ack_digest, disputed_by_quorum
from protocols.messages import ShareAck
from protocols.policy import Policy
from protocols.reasons import DISPUTED, DUPLICATE


@dataclass(frozen=True)
class RoundStatements:
    """What parties said themselves in a round: each client's first own submission, each trustee's first own
    acknowledgement, and what more than f of these dispute."""

    submissions: Mapping[str, SubmissionRecord]
    acks: Mapping[str, ShareAck]
    disputed: frozenset[int]


def statements(policy: Policy, log: SignedLog, found: Round) -> RoundStatements:
    """What a round holds of these; entries that are not their party's own are none."""
    submissions: dict[str, SubmissionRecord] = {}
    for record in found.submissions.values():
        if is_own(log, found, record):
            submissions.setdefault(record.client, record)
    acks = first_acks(found, (entry for entry in found.acks if is_own_ack(log, found, entry)))
    return RoundStatements(submissions, acks, disputed_by_quorum(policy, acks))


def first_acks(found: Round, entries: Iterable[Record[ShareAck]] | None = None) -> dict[str, ShareAck]:
    """The acknowledgement that counts for each trustee: its first, before CohortClosed. Of the round's, or of some."""
    end = found.cohort.index if found.cohort is not None else None
    acks: dict[str, ShareAck] = {}
    for entry in found.acks if entries is None else entries:
        if end is None or entry.index < end:
            acks.setdefault(entry.message.trustee, entry.message)
    return acks


def is_own(log: SignedLog, found: Round, record: SubmissionRecord) -> bool:
    """Whether its client signed this submission, as an answer to the round's RoundOpen."""
    return is_signed(log, record.index) and answers(found, record.round_open)


def is_signed(log: SignedLog, index: int) -> bool:
    """Whether the party that an entry names signed it, with its key in force, whatever entries are missing."""
    return index not in log.index.disowned and index not in log.index.doubtful


def is_own_ack(log: SignedLog, found: Round, entry: Record[ShareAck]) -> bool:
    """Whether its trustee signed this acknowledgement, in the round's RoundOpen, of the submissions that are here."""
    message = entry.message
    if not is_signed(log, entry.index) or not answers(found, message.round_open):
        return False
    members = [found.submissions[index] for index in message.acknowledged if index in found.submissions]
    pairs = ((record.client, record.entry_hash) for record in members)
    return message.digest == ack_digest(message.round_open, message.trustee, pairs)


def answers(found: Round, round_open: bytes) -> bool:
    """Whether this is the entry hash of the round's RoundOpen."""
    return found.open is not None and found.open.hash == round_open


def excuse(log: SignedLog, found: Round, record: SubmissionRecord, verdict: str, known: RoundStatements) -> str | None:
    """Why an offence, as a verdict has it, is not the client's; None where it is. Completes "not its offence: ..."."""
    if record.index in log.index.disowned:
        return "it is not signed by this client"
    if record.index in log.index.doubtful:
        return "an entry before it is missing, so nobody can tell whether this client's key was in force"
    if not answers(found, record.round_open):
        return "it answers another RoundOpen than the round's"
    if verdict == DUPLICATE and known.submissions[record.client].entry_hash == record.entry_hash:
        return "it signed one submission, and the server logged another in its name or this one twice"
    if verdict == DISPUTED and record.index not in known.disputed:
        return "too few trustees signed that they dispute it"
    return None
