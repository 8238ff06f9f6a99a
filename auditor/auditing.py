"""The public function: run every check of spec 9 on one transcript, in order, and report."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.findings import DoesNotApply, Findings, Unavailable
from auditor.reports.results import CheckResult, Kind, Place, Report, Status
from proofs.errors import Misuse, VeriflError
from protocols.audit_checks import AUDIT_CHECKS, AuditCheck
from protocols.log.files import Damaged

if TYPE_CHECKING:
    from auditor.case import Case
    from auditor.memory import Memory
    from protocols.log.reader import TranscriptReader
    from protocols.log.remote import Remote


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
    reader: TranscriptReader | None = None,
    memory: Memory | None = None,
) -> Report:
    """Audit the transcript directory `path` against `policy`. An address, as text or `Remote`, is read over HTTPS.

    policy: the pinned policy file or its bytes; None audits with the transcript's own (unpinned), and the report says
    what that trusts. required: numbers of checks that may not end as skipped, beyond the policy's own list.
    workers: threads, by default one a core. engine: native, or reference (slow, plain Python). explain: the party whose
    story the report is to tell. reader: of this directory, by default of all that is in it. memory: what this auditor
    verified in earlier audits; it learns what is verified in this one.
    Raises OSError when `path` or the policy file cannot be read at all, Misuse for an unknown check, engine or party,
    for a given policy that is none, and for a directory without anything of a transcript. All else that is wrong is in
    the report.
    """
    from auditor.arguments import located, require_transcript
    from auditor.case import Case
    from auditor.stories import explain as tell
    from auditor.stories import require_party

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
    case = Case.open(place, pinned, engine, progress.step, reader, memory)
    if explain is not None:
        require_party(case, explain)
    results = []
    for check in AUDIT_CHECKS:
        progress.check(check.id, check.title)
        results.append(_run(case, check, required))
    return Report(
        transcript=str(path),
        version=version(),
        engine=engine,
        pinned=policy is not None,
        federation=case.federation,
        policy_hash=case.policy_hash,
        checkpoint=case.checkpoint,
        checks=tuple(results),
        trusted=case.trusted,
        seconds=time.perf_counter() - started,
        story=None if explain is None else tell(case, results, explain),
    )


def _judged(case: Case) -> str:
    """What of the log could be judged, and is as it should be."""
    if not case.gaps:
        return f"of the first {case.cut} entries, which are whole, none is wrong"
    which = "" if case.cut is None else f" of the first {case.cut}"
    missing = "1 entry is" if len(case.gaps) == 1 else f"{len(case.gaps)} entries are"
    return f"{missing} missing{which}, none of the others is wrong"


def _run(case: Case, check: AuditCheck, required: frozenset[str]) -> CheckResult:
    """Run one check. What it says of signed content is in its findings, with who signed it. Damage that it does not
    look for leaves it unjudged, and so does any other error that it does not handle: a mistake of this auditor's, which
    accuses nobody. What is missing for a check skips it."""
    from auditor.checks import CHECKS

    findings = Findings(check.id, check.title)
    findings.sure = not case.gaps
    checked, status, reason = "", None, ""
    try:
        checked = CHECKS[check.id](case, findings)
    except Damaged as error:
        findings.reject(Place(check.title), error)
    except VeriflError as error:
        findings.add(Place(check.title), "this auditor to judge it", f"a mistake of its own: {error}", Kind.UNJUDGED)
    except Unavailable as missing:
        checked, status, reason = missing.checked, Status.SKIPPED, missing.reason
    except DoesNotApply as outside:
        status, reason = Status.NOT_APPLICABLE, outside.reason
    if (case.cut is not None or case.gaps) and status is None and findings.empty and not check.of_policy:
        status, reason = Status.SKIPPED, f"because I1 failed: {_judged(case)}"
    if status is Status.SKIPPED and check.id in required | case.required:
        expected = f"{check.id} is required and may not be skipped"
        findings.add(Place(check.title), expected, f"skipped ({reason})", Kind.UNJUDGED)
    result = findings.result(checked, status, reason)
    case.failed.update({check.id} if result.status is Status.FAIL else ())
    return result
