"""Overwriting secrets that can be overwritten: arrays. Python's integers and bytes cannot (docs/threat-model.md)."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


def wipe(*arrays: NDArray[Any]) -> None:
    """Fill the arrays with zeros; a read-only one is a view of what somebody else keeps, and stays."""
    for array in arrays:
        if array.flags.writeable:
            array.fill(0)
