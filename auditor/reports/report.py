"""The report of an audit: its results, and what is printed of them."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from auditor.reports.results import CheckResult, Results
from auditor.reports.text import to_text
from proofs.errors import Misuse

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class Report(Results):
    """The whole audit; `print` shows it as `verifl-audit` does."""

    def __str__(self) -> str:
        return to_text(self, [])

    def _repr_html_(self) -> str:
        """For notebooks; what a transcript says is text there, too."""
        return f"<pre>{escape(str(self))}</pre>"

    def to_frame(self) -> pandas.DataFrame:
        """One row a check, by its number: title, status, whether an audit with it may accept, what was checked, why it
        was skipped or does not apply, how many findings, and the first of them in words. Raises Misuse without pandas.
        """
        try:
            import pandas
        except ImportError:
            raise Misuse("report: pandas is not installed; `pip install pandas`, or read report.to_dict()") from None
        rows = {check.id: _row(check) for check in self.checks}
        return pandas.DataFrame.from_dict(rows, orient="index")


def _row(check: CheckResult) -> dict[str, str | int | bool]:
    first = next((f"{each.where}: expected {each.texts[0]}, found {each.texts[1]}" for each in check.findings), "")
    return {
        "title": check.title,
        "status": check.status.value,
        "acceptable": check.acceptable,
        "checked": check.checked,
        "reason": check.reason,
        "findings": len(check.findings) + check.omitted,
        "first": first,
    }
