"""The independent checker: opens a transcript, re-derives everything in it, and reports by numbered check (spec 9).

It holds no secret and needs neither the network nor any party. `audit` is the public function, `verifl-audit` the
command.
"""

from __future__ import annotations

from auditor.audit import audit
from auditor.rendering import write as write_report
from auditor.report import CheckResult, Finding, Report, Status

__all__ = ["CheckResult", "Finding", "Report", "Status", "audit", "write_report"]
