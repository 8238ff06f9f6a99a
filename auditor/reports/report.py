"""The report of an audit: its results, and what is printed of them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from auditor.reports.results import Results
from auditor.reports.text import to_text


@dataclass(frozen=True, repr=False)
class Report(Results):
    """The whole audit; `print` shows it as `verifl-audit` does."""

    def __str__(self) -> str:
        return to_text(self, [])

    def _repr_html_(self) -> str:
        """For notebooks; what a transcript says is text there, too."""
        return f"<pre>{escape(str(self))}</pre>"
