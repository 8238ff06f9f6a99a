"""Hypothesis strategies for messages, built from the annotations that their encoding is derived from."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any

from hypothesis import strategies as st

from protocols.messages import AtMost, Exactly, Matches

INTEGERS = st.one_of(
    st.integers(0, 2**63 - 1), st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1])
)
CHARACTERS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))


def instances(cls: type) -> st.SearchStrategy[Any]:
    """Values of a message class, over the whole range of each annotation (arrays up to four items)."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{field.name: _values(hints[field.name]) for field in dataclasses.fields(cls)})


def _values(hint: Any) -> st.SearchStrategy[Any]:
    if typing.get_origin(hint) is typing.Annotated:
        base, *marks = typing.get_args(hint)
        return _marked(base, marks)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return st.one_of(*(_values(member) for member in typing.get_args(hint)))
    if dataclasses.is_dataclass(hint):
        return instances(hint)
    if hint is types.NoneType:
        return st.none()
    simple = {int: INTEGERS, bool: st.booleans()}
    return simple[hint] if hint in simple else _marked(hint, [])


def _marked(base: Any, marks: list[Any]) -> st.SearchStrategy[Any]:
    low, high = 0, 4
    for mark in marks:
        if isinstance(mark, Exactly):
            low = high = mark.count
        elif isinstance(mark, AtMost):
            high = mark.count
        elif isinstance(mark, Matches):
            return st.from_regex(mark.pattern, fullmatch=True)
    if base is bytes:
        return st.binary(min_size=low, max_size=high)
    if base is str:
        return st.text(CHARACTERS, min_size=low, max_size=high)
    return st.lists(_values(typing.get_args(base)[0]), min_size=low, max_size=min(high, 4)).map(tuple)
