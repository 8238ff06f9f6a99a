"""Numbers, names and metrics as people read them, and devices as they write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DEVICE = r"auto|cpu|cuda(:[0-9]{1,3})?"  # `auto`: cuda where there is any
DEVICES = "auto, cpu, cuda or cuda:N"


def format_metrics(metrics: Mapping[str, float]) -> str:
    """`accuracy 0.9381, loss 0.195`."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()) or "no metrics"


def format_names(names: Sequence[str]) -> str:
    """Up to ten names, or how many there are."""
    return ", ".join(names) if 0 < len(names) <= 10 else f"{len(names)} clients"


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 round, 2 rounds."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_bytes(count: int) -> str:
    """Decimal units: 102 kB, 1.3 MB."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1_000_000:.1f} MB"
