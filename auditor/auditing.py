"""The public function: run every check of spec 9 on one transcript, in the order of their needs, and report."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.findings import DoesNotApply, Findings, Result, Unavailable
from auditor.outcomes import Check, CheckRun, Hands
from auditor.reports.report import Report
from auditor.reports.results import Kind, Place, Status
from proofs.errors import Malformed, Misuse, Rejected, VeriflError
from protocols.audit_checks import AUDIT_CHECKS, AuditCheck
from protocols.log.files import Damaged
from protocols.log.tiles import TILE_WIDTH

if TYPE_CHECKING:
    from auditor.case import Case
    from auditor.former import Former
    from auditor.memory import Memory
    from auditor.reports.results import Account, ModelSummary
    from auditor.signed_log import SignedLog
    from protocols.log.connection import Remote
    from protocols.log.reader import TranscriptReader
    from protocols.policy import FormerFederation, Policy

Ended = Mapping[type[Result], CheckRun[Any]]  # by the type of what each check leaves


class Progress:
    """What an audit tells while it runs; this one tells nobody. Override what you want to hear."""

    def check(self, number: str, title: str) -> None:
        """Check `number` starts."""

    def step(self, done: int, total: int) -> None:
        """`done` of `total` items of the current check are finished."""

    def close(self) -> None:
        """The audit is over."""


def version() -> str:
    """The auditor's version: that of the distribution."""
    from proofs import VERSION

    return VERSION


def audit(
    path: Path | str | Remote,
    policy: Path | str | bytes | None,
    required: Iterable[str] = (),
    workers: int | None = None,
    engine: str = "native",
    progress: Progress | None = None,
    explain: str | None = None,
    *,
    course: Collection[int] | None = None,
    previous: Sequence[Path | str | Remote] = (),
    reader: TranscriptReader | None = None,
    memory: Memory | None = None,
) -> Report:
    """Audit the transcript directory `path` against `policy`. An address, as text or `Remote`, is read over HTTPS.

    policy: the pinned policy file or its bytes; None audits with the transcript's own (unpinned), and the report says
    what that trusts. required: numbers of checks that may not end as skipped, beyond the policy's own list.
    workers: threads, by default one a core. engine: native, or reference (slow, plain Python). explain: the party whose
    story the report is to tell. course: has the report have the course of the federation, which a page shows; with the
    numbers of rounds whose evidence is to be in it, beside those that findings are about. previous: the transcripts of
    the federations before this one, the last of them first, where it continues one. reader: of this directory, by
    default of all that is in it. memory: what this auditor verified in earlier audits; it learns what is verified in
    this one. Raises OSError when `path` or the policy file cannot be read at all, Misuse for an unknown check, engine
    or party, for a given policy that is none, and for a directory without anything of a transcript. All else that is
    wrong is in the report.
    """
    from auditor.arguments import located, require_transcript
    from auditor.case import Case
    from auditor.course import course_of
    from auditor.memory import Memory
    from auditor.stories import Told, require_party
    from auditor.stories import explain as tell

    started = time.perf_counter()
    required = frozenset(required)
    if unknown := sorted(required - set(AUDIT_CHECKS.names)):
        raise Misuse(f"required: there is no check {unknown[0]}; the checks are {', '.join(AUDIT_CHECKS.names)}")
    if engine not in {"native", "reference"}:
        raise Misuse(f"engine: native or reference, not {engine}")
    if workers is not None:
        from proofs.machine.workers import set_workers

        set_workers(workers)
    progress = progress or Progress()
    place = located(path)
    require_transcript(place)
    pinned = Path(policy) if isinstance(policy, str) else policy
    case = Case.open(place, pinned, engine, progress.step, reader)
    if previous:
        case = replace(case, former=_former(case, previous, engine, progress))
    if explain is not None:
        require_party(case, explain)
    ended = _run_all(case, Memory() if memory is None else memory, required, progress)
    results = {outcome.result.id: outcome.result for outcome in ended.values()}
    checks = tuple(results[number] for number in AUDIT_CHECKS.names)
    log, told = _log_of(ended), Told.of(case, ended)
    return Report(
        transcript=str(path),
        version=version(),
        engine=engine,
        pinned=policy is not None,
        federation=case.federation,
        policy_hash=case.policy_hash,
        checkpoint=log.checkpoint,
        checks=checks,
        trusted=case.trusted,
        seconds=time.perf_counter() - started,
        model=_model_of(ended),
        account=_account_of(ended),
        story=None if explain is None else tell(told, tuple(results.values()), explain),
        course=None if course is None else course_of(told, checks, course),
    )


def _former(case: Case, previous: Sequence[Path | str | Remote], engine: str, progress: Progress) -> Former | None:
    """The federation that the audited one continues, audited by itself; None where the policy does not open. Raises
    Misuse where it continues none."""
    from auditor.arguments import located, require_transcript
    from auditor.former import Former
    from protocols.continuation import ancestors, end_of
    from protocols.log.reader import TranscriptReader
    from protocols.log.snapshot import SnapshotReader

    if case.pinned_policy is None:
        return None
    named = case.pinned_policy.policy.previous
    if named is None:
        raise Misuse(f"previous: {case.federation} continues no federation; leave {previous[0]} out")
    places = [located(each) for each in previous]
    for place in places:
        require_transcript(place)
    place, *before = places
    reader, *others = (TranscriptReader(each) if isinstance(each, Path) else SnapshotReader(each) for each in places)
    try:
        data = reader.policy()
        policy = _named_policy(named, data)
        report = audit(place, data, engine=engine, progress=progress, previous=before, reader=reader)
        end = end_of(_accepted(reader) if report.accepted else _entries(reader), named.size)
        linked = None if policy.previous is None else report.check("I14").status is Status.PASS
        earlier = tuple(ancestors(policy.previous, others)) if linked else ()
    except (Malformed, Rejected) as error:
        return Former(error)
    return Former(None, report.outcome, policy, named.policy, end, reader.size, linked, earlier)


def _named_policy(named: FormerFederation, data: bytes) -> Policy:
    """The policy that a federation names which continues another. Raises Rejected("previous-policy") for another."""
    from protocols.envelopes import open_policy
    from protocols.hashes import sha256

    if sha256(data) != named.policy:
        raise Rejected("previous-policy", named.policy.hex(), sha256(data).hex())
    policy, _ = open_policy(data)
    return policy


def _accepted(reader: TranscriptReader) -> Iterator[bytes]:
    """The same, once it was audited: by its checkpoint again, so that nobody answers for what was put there since."""
    for entries in reader.replay():
        yield from entries


def _entries(reader: TranscriptReader) -> Iterator[bytes]:
    """All of a log's, a bundle in memory at a time."""
    for start in range(0, reader.size, TILE_WIDTH):
        yield from reader.entries(start, min(start + TILE_WIDTH, reader.size))


def _run_all(case: Case, memory: Memory, required: frozenset[str], progress: Progress) -> Ended:
    """Every check, each after those that it builds on."""
    from auditor.blobs import Blobs
    from auditor.case import Case
    from auditor.checks import CHECKS
    from auditor.memory import Memory
    from auditor.outcomes import in_order

    hands: Hands = {Case: case, Blobs: Blobs(case), Memory: memory}
    ended: dict[type[Result], CheckRun[Any]] = {}
    for check in in_order(CHECKS):
        told = AUDIT_CHECKS.find(check.number)
        progress.check(told.id, told.title)
        ended[check.leaves] = _run(check, told, hands, ended, required | case.required)
    return ended


def _log_of(ended: Ended) -> SignedLog:
    """What I1 left, an empty log if it left nothing."""
    from auditor.signed_log import SignedLog

    outcome = ended.get(SignedLog)
    return SignedLog() if outcome is None or outcome.left is None else outcome.left


def _model_of(ended: Ended) -> ModelSummary | None:
    """What I11 left."""
    from auditor.checks.lineage import Lineage

    outcome = ended.get(Lineage)
    return None if outcome is None or outcome.left is None else outcome.left.model


def _account_of(ended: Ended) -> Account | None:
    """What P5 left."""
    from auditor.checks.accounting import Accounting

    outcome = ended.get(Accounting)
    return None if outcome is None or outcome.left is None else outcome.left.account


def _judged(log: SignedLog) -> str:
    """What of the log could be judged, and is as it should be."""
    if not log.gaps:
        return f"of the first {log.cut} entries, which are whole, none is wrong"
    which = "" if log.cut is None else f" of the first {log.cut}"
    missing = "1 entry is" if len(log.gaps) == 1 else f"{len(log.gaps)} entries are"
    return f"{missing} missing{which}, none of the others is wrong"


def _run(
    check: Check[Any, Any], told: AuditCheck, hands: Hands, ended: Ended, required: frozenset[str]
) -> CheckRun[Any]:
    """Run one check on what it says that it needs. What it says of signed content is in its findings, with who signed
    it. Damage that it does not look for leaves it unjudged, and so does any other error that it does not handle: a
    mistake of this auditor's, which accuses nobody. What is missing for a check skips it."""
    log, findings = _log_of(ended), Findings(told.id, told.title)
    findings.sure = not log.gaps
    left: Result | None = None
    status, reason = None, ""
    try:
        left = check(check.given(hands, ended), findings)
    except Damaged as error:
        findings.reject(Place(told.title), error)
    except VeriflError as error:
        findings.add(Place(told.title), "this auditor to judge it", f"a mistake of its own: {error}", Kind.UNJUDGED)
    except Unavailable as missing:
        left, status, reason = missing.left, Status.SKIPPED, missing.reason
    except DoesNotApply as outside:
        status, reason = Status.NOT_APPLICABLE, outside.reason
    log = _log_of({check.leaves: CheckRun(findings.result(""), left), **ended})
    if (log.cut is not None or log.gaps) and status is None and findings.empty and not told.of_policy:
        status, reason = Status.SKIPPED, f"because I1 failed: {_judged(log)}"
    if status is Status.SKIPPED and told.id in required:
        expected = f"{told.id} is required and may not be skipped"
        findings.add(Place(told.title), expected, f"skipped ({reason})", Kind.UNJUDGED)
    return CheckRun(findings.result("" if left is None else left.checked, status, reason), left)
