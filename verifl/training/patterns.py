"""Shell patterns over names of tensors: `*` any characters, `?` one, `[ab]` one of these; the case counts."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

_SHOWN = 4


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether some pattern matches the whole name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def no_match(pattern: str, names: Sequence[str], kind: str) -> str:
    """How to say that a pattern matches no tensor of this kind, all of which are `names`: with what may be meant."""
    close = get_close_matches(pattern, names, n=3, cutoff=0.5)
    if close:
        hint = f"did you mean {' or '.join(map(repr, close))}?"
    else:
        hint = f"there are {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
    return f"pattern {pattern!r} matches no tensor {kind}; {hint}"
