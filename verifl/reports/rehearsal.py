"""What a rehearsal showed: for people, and for programs."""

from __future__ import annotations

from typing import Any

from verifl.carriers.exchange.rehearsal import Attendant, RehearsalReport
from verifl.formatting import format_bytes


def rehearsal_dict(report: RehearsalReport) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "federation": report.federation,
        "policy_hash": report.policy_hash,
        "rehearsal": report.rehearsal,
        "outcome": report.outcome,
        "well": report.well,
        "seconds": round(report.seconds, 3),
        "bytes": report.size,
        "parties": [_party_dict(each) for each in report.attendants],
    }


def _party_dict(each: Attendant) -> dict[str, Any]:
    return {
        "party": each.name,
        "role": each.role,
        "well": each.well,
        "reached": None if each.reached is None else round(each.reached, 3),
        "software": each.software or None,
        "answered": {kind: round(after, 3) for kind, after in each.answered.items()},
        "missing": list(each.missing),
        "refused": [{"check": check, "detail": detail} for check, detail in each.refused],
    }


def describe_rehearsal(report: RehearsalReport) -> str:
    """As text: a line for each party, then how it went."""
    width = max((len(each.name) for each in report.attendants), default=5)
    lines = [f"{'party':<{width}}  {'role':<8} {'reached':>8} {'last said':>9}  what"]
    for each in report.attendants:
        reached = "never" if each.reached is None else f"{each.reached:.1f} s"
        last = f"{max(each.answered.values()):.1f} s" if each.answered else "-"
        lines.append(f"{each.name:<{width}}  {each.role:<8} {reached:>8} {last:>9}  {_what(each)}")
    well = sum(each.well for each in report.attendants)
    lines.append(f"the round: {report.outcome}, after {report.seconds:.1f} s, {format_bytes(report.size)}")
    lines.append(f"{well} of {len(report.attendants)} parties are well")
    return "\n".join(lines)


def _what(each: Attendant) -> str:
    parts = [f"refused: {detail}" for _, detail in each.refused]
    if each.missing:
        parts.append(f"did not answer: {', '.join(each.missing)}")
    if each.reached is None and not each.refused:
        parts.append("not reached")
    return "; ".join(parts) or "well"
