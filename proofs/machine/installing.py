"""How to install what is optional."""

from __future__ import annotations


def install_hint(extras: str) -> str:
    """How to install optional dependencies, by the names of the extras: from the source, as the README does; a
    registry may have the name for somebody else's."""
    return f"pip install '.[{extras}]' in the directory of the source"
