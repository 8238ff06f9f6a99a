"""Content-addressed bulk data: which blobs a message names (spec 3.6)."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, cast

from protocols.hashes import sha256
from protocols.messages import Message, NamesBlob
from protocols.policy import Policy

BLOB_LIMIT = 1 << 40  # bytes, which no blob reaches: its hash, or the policy, says how many it has


@dataclass(frozen=True)
class BlobField:
    """A field of a message that names blobs, the role of all of them. item: the field of its items that does, None
    where it does so itself. optional: whether it may be null, and then names none."""

    role: str
    item: str | None = None
    optional: bool = False


def blob_hash(data: bytes) -> bytes:
    """SHA-256: a blob's name."""
    return sha256(data)


@cache
def blob_fields(cls: Any) -> tuple[BlobField, ...]:
    """The fields of a type of message that name blobs, in order, by their annotations."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(found for field in dataclasses.fields(cls) for found in _found(field.name, hints[field.name]))


def message_blobs(message: Message | Policy) -> tuple[tuple[str, bytes], ...]:
    """(role, blob hash) of every blob that a message names, in the order of its fields.

    RoundOpen names the policy and a model that Genesis or RoundClosed named before.
    """
    named = []
    for field in blob_fields(cast("Any", type(message))):
        value = getattr(message, field.role)
        items = (value,) if field.item is None else tuple(getattr(each, field.item) for each in value)
        named += [(field.role, blob) for blob in items if blob is not None]
    return tuple(named)


def _found(role: str, hint: Any) -> Iterator[BlobField]:
    """A field that is BlobHash, BlobHash or null, or an array of records with a field of that type."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated and any(isinstance(mark, NamesBlob) for mark in parts[1:]):
        yield BlobField(role)
    elif types.NoneType in parts:
        yield from (replace(each, optional=True) for each in _found(role, parts[0]))
    elif typing.get_origin(hint) in (Annotated, tuple):
        yield from _found(role, parts[0])
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield from (BlobField(role, item=each.role) for each in blob_fields(hint))
