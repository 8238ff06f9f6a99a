"""Metrics as a coordinator publishes them beside a transcript: a JSON object a line. Nobody verifies them."""

from __future__ import annotations

import json
import math
from typing import Any

from auditor.reports.page.rounds import Series
from proofs.errors import Malformed

LIMIT = 1 << 26  # bytes of the file
MOST_NAMES = 64


def read_metrics(data: bytes) -> Series:
    """Round and value of each metric, in the order of the lines; those that are no finite number are left out. Raises
    Malformed."""
    if len(data) > LIMIT:
        raise Malformed("metrics", f"at most {LIMIT} bytes", "more")
    series: dict[str, list[tuple[int, float]]] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        where, metrics = _line(number, line)
        for name, value in metrics.items():
            found = _finite(value)
            if found is not None and (name in series or len(series) < MOST_NAMES):
                series.setdefault(name, []).append((where, found))
    return series


def _line(number: int, line: bytes) -> tuple[int, dict[str, Any]]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise Malformed(f"metrics, line {number}", "a JSON object", "none") from None
    known = isinstance(found, dict) and type(found.get("round")) is int and isinstance(found.get("metrics"), dict)
    if not known:
        raise Malformed(f"metrics, line {number}", "an object with a round and metrics", "another value")
    return found["round"], found["metrics"]


def _finite(value: object) -> float | None:
    if type(value) not in (int, float):
        return None
    try:
        found = float(value)  # type: ignore[arg-type]  # one of the two
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
