"""A client's receipt, checked by itself and against a transcript (spec 9.11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auditor.comparison import CONTRADICTIONS, FORK, ROLLBACK, Contradiction, contradicted, head_text
from auditor.copies import Copy, SignedHead, describe
from auditor.reports.results import Outcome, printable
from proofs.errors import Malformed, Rejected
from protocols.continuation import charges_in
from protocols.envelopes import check_signature, open_envelope
from protocols.log.connection import Remote
from protocols.messages import RoundOpen
from protocols.pinned import PinnedPolicy
from protocols.receipts import CLOSED, Receipt, VerifiedReceipt, decode_receipt, verify_receipt


@dataclass(frozen=True)
class Allowance:
    """Of one client's privacy budget. cohorts: closed ones of the transcript with it, None without a transcript that
    contains the receipt. allowed: how many it may be in."""

    cohorts: int | None
    allowed: int


@dataclass(frozen=True)
class ReceiptReport:
    """verified: what the receipt proves, None where it does not hold; then `fault` says why, and `refused` whether it
    is damaged or another federation's. allowance: of the client's privacy budget, where the policy has one."""

    file: str
    transcript: str | None
    verified: VerifiedReceipt | None
    fault: str | None
    contradiction: Contradiction | None
    believed: str | None = None
    refused: Outcome = Outcome.DAMAGED
    allowance: Allowance | None = None

    @property
    def accepted(self) -> bool:
        """The receipt holds, and the transcript, if one was given, contains it."""
        return self.verified is not None and self.contradiction is None

    @property
    def outcome(self) -> Outcome:
        """Accepted, or which kind of no."""
        if self.verified is None:
            return self.refused
        return Outcome.ACCEPTED if self.contradiction is None else self.contradiction.outcome

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what `receipt --format json` prints."""
        found, wrong = self.verified, self.contradiction
        return {
            "accepted": self.accepted,
            "outcome": self.outcome.value,
            "receipt": self.file,
            "transcript": self.transcript,
            "fault": self.fault,
            "proves": None if found is None else _plain(found),
            "budget": None if self.allowance is None else asdict(self.allowance),
            "contradiction": None if wrong is None else wrong.to_dict(),
            "policy_believed": self.believed,
        }


def check_receipt(
    file: Path, data: bytes, pinned: PinnedPolicy, transcript: Path | Remote | None, believed: str | None = None
) -> ReceiptReport:
    """Judge the bytes of a receipt; raises OSError where the transcript cannot be read at all."""
    where = None if transcript is None else str(transcript)
    refused = Outcome.DAMAGED
    try:
        receipt = decode_receipt(data)
        refused = Outcome.OTHER if _is_foreign(pinned, receipt) else Outcome.DAMAGED
        verified = verify_receipt(pinned, receipt)
    except (Malformed, Rejected) as error:
        return ReceiptReport(str(file), where, None, printable(str(error)), None, believed, refused)
    head = SignedHead(receipt.note, verified.checkpoint, verified.cosigners)
    wrong, counted = None, list[int]()

    def against(copy: Copy, known: SignedHead) -> Contradiction | None:
        found = _find(copy, verified, known)
        if found is None and pinned.budget is not None:
            entries = (entry for bundle in copy.reader.replay() for entry in bundle)
            counted.append(charges_in(entries).get(verified.client, 0))
        return found

    if transcript is not None:
        wrong = contradicted(transcript, pinned, head, against)
    allowance = None
    if pinned.budget is not None and verified.client not in pinned.noise_trustees:
        allowance = Allowance(next(iter(counted), None), pinned.budget.rounds(verified.client))
    return ReceiptReport(str(file), where, verified, None, wrong, believed, allowance=allowance)


def _is_foreign(pinned: PinnedPolicy, receipt: Receipt) -> bool:
    """Whether RoundOpen in it is of another policy: signed by this log's key, or else of another federation, too."""
    envelope = open_envelope(receipt.round_open.entry)
    message = envelope.message
    if not isinstance(message, RoundOpen) or message.policy == pinned.hash:
        return False
    try:
        check_signature(envelope, pinned.policy.log_key)
    except Rejected:
        return message.federation != pinned.policy.federation
    return True


def _find(copy: Copy, verified: VerifiedReceipt, head: SignedHead) -> Contradiction | None:
    index, size = verified.index, head.head.size
    if copy.size > index and (found := copy.entry(index)) != verified.entry:
        ours, theirs = describe(index, verified.entry), describe(index, found)
        what = f"receipt: {ours}; transcript: {theirs}"
        return Contradiction(FORK, what, (head, copy.covering(index)), Outcome.BROKEN)
    if copy.size < size:
        what = f"the receipt's log has {size} entries, the transcript has only {copy.size}"
        return Contradiction(ROLLBACK, what, (head, copy.latest))
    if copy.root(size) != head.head.root:
        what = f"the transcript's first {size} entries are not those of the receipt's checkpoint"
        return Contradiction(FORK, what, (head, copy.covering(size - 1)), Outcome.BROKEN)
    return None


def text(report: ReceiptReport) -> Iterator[str]:
    """The report, line by line."""
    yield f"  receipt     {report.file}"
    if report.transcript is not None:
        yield f"  transcript  {report.transcript}"
    if report.believed is not None:
        yield f"  UNPINNED: policy {report.believed} and the keys in it were taken from the transcript"
    if report.verified is None:
        yield f"  {report.fault}"
        yield ""
        other = report.refused is Outcome.OTHER
        kind = "it is of another federation or policy" if other else "it is damaged, or no receipt at all"
        yield f"REJECTED: this is no receipt of this federation: {kind}"
        return
    yield from _proved(report.verified)
    if report.allowance is not None:
        cohorts = report.allowance.cohorts
        known = "an unknown number (give --transcript)" if cohorts is None else str(cohorts)
        yield f"  budget      in {known} of the {report.allowance.allowed} closed cohorts that it may be in; P5 of an"
        yield "              audit says what that spends, and what it means"
    wrong = report.contradiction
    if wrong is not None:
        yield ""
        yield f"{wrong.kind}: {wrong.what}"
        for name, head in zip(("the receipt", "the transcript"), wrong.heads, strict=False):
            yield from head_text(name, head)
    yield ""
    if wrong is None:
        yield f"ACCEPTED{'' if report.transcript is None else ': the transcript contains it'}"
    else:
        yield f"REJECTED: the transcript is not the log that this receipt is from: {CONTRADICTIONS[wrong.outcome]}"


def _proved(found: VerifiedReceipt) -> Iterator[str]:
    head = found.checkpoint
    yield f"  federation  {found.federation}"
    yield f"  submission  of {found.client} in round {found.round}: entry {found.index}"
    yield f"              SHA-256 {found.entry_hash.hex()}"
    yield f"  verdict     {printable(found.verdict or 'none yet')}"
    yield f"  round       {_outcome(found)}"
    yield f"  checkpoint  {head.size} entries, root {head.root.hex()}"
    yield f"              cosigned by {', '.join(found.cosigners)}"


def _outcome(found: VerifiedReceipt) -> str:
    if found.outcome is None:
        return "not over at this checkpoint"
    return "closed" if found.outcome == CLOSED else f"aborted: {printable(found.outcome)}"


def _plain(found: VerifiedReceipt) -> dict[str, Any]:
    return {
        "federation": found.federation,
        "client": found.client,
        "round": found.round,
        "index": found.index,
        "entry_hash": found.entry_hash.hex(),
        "verdict": found.verdict,
        "outcome": found.outcome,
        "checkpoint": {
            "size": found.checkpoint.size,
            "root": found.checkpoint.root.hex(),
            "cosigners": list(found.cosigners),
        },
    }
