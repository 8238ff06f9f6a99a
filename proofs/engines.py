"""Choosing an engine by name; engines are imported on first use, since native ones are slow to load."""

from __future__ import annotations

from functools import cache

from proofs.engine import Engine
from proofs.errors import Misuse

NAMES = ("native", "reference")


@cache
def get_engine(name: str = "native") -> Engine:
    """The engine called `name`, one instance per process; raises Misuse for a name outside NAMES."""
    if name == "native":
        from proofs.native import NativeEngine

        return NativeEngine()
    if name == "reference":
        from proofs.reference import ReferenceEngine

        return ReferenceEngine()
    raise Misuse(f"engine: expected one of {', '.join(NAMES)}, found {name!r}")
