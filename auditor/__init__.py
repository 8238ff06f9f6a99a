"""The independent checker: opens a transcript, re-derives everything in it, and reports by numbered check (spec 9).

It holds no secret and needs neither the network nor any party. `audit` is the public function, `verifl-audit` the
command.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # not from typing: of `python -m auditor`, no more than must be runs before it looks where from
if TYPE_CHECKING:
    from auditor.auditing import audit
    from auditor.reports.report import Report
    from auditor.reports.results import CheckResult, Finding, Kind, Outcome, Status
    from auditor.reports.text import write as write_report

_HOMES = {
    "CheckResult": ("auditor.reports.results", "CheckResult"),
    "Finding": ("auditor.reports.results", "Finding"),
    "Kind": ("auditor.reports.results", "Kind"),
    "Outcome": ("auditor.reports.results", "Outcome"),
    "Report": ("auditor.reports.report", "Report"),
    "Status": ("auditor.reports.results", "Status"),
    "audit": ("auditor.auditing", "audit"),
    "write_report": ("auditor.reports.text", "write"),
}

__all__ = ["CheckResult", "Finding", "Kind", "Outcome", "Report", "Status", "audit", "write_report"]


def __getattr__(name: str) -> object:
    """Public names, imported on first use."""
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
