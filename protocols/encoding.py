"""Deterministic CBOR for message bodies, strict both ways (spec 2.2, RFC 8949 section 4.2.1).

A dataclass is a map from field names to values, and its annotations are its schema:

    int                                 0 .. 2^63 - 1
    bool                                true or false
    Annotated[bytes, Exactly(n)]        byte string; also AtMost(n)
    Annotated[str, AtMost(n)]           text of at most n characters, no control characters; also Matches(pattern)
    tuple[X, ...]                       array; Annotated with Exactly(n) or AtMost(n) for a bound
    a dataclass                         map
    X | None                            X or null
    None                                null (reserved for a later version)

There is one spelling of every value: `decode` accepts exactly the bytes that `encode` writes. Bytes are scanned
before the CBOR library sees them, so tags, floats, huge declared lengths and deep nesting never reach it.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn, TypeVar

import cbor2

from proofs.errors import Malformed, Misuse
from protocols.messages import AtMost, Exactly, Matches

ENTRY_LIMIT = 65535  # bytes of a log entry: the length prefix of an entry bundle has 16 bits
CHANGES_LIMIT = 1 << 26  # bytes of what carries the changes of the membership: an invitation, a receipt (spec 2.5)
POLICY_LIMIT = 4 * 1024 * 1024  # bytes of a signed policy
ITEM_LIMIT = 1 << 20  # CBOR items of one document: bounds what is built from POLICY_LIMIT bytes
INTEGER_LIMIT = 1 << 63
NESTING_LIMIT = 8
_SHOWN = 100  # characters of a value that is refused

Body = TypeVar("Body")

_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP = 0, 2, 3, 4, 5
_SIMPLE_HEADS = frozenset((_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP))  # of one byte, where the argument is below 24
_MAJOR_NAMES = ("integer", "negative integer", "byte string", "text", "array", "map", "tag", "simple value or float")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FALSE, _TRUE, _NULL = 0xF4, 0xF5, 0xF6


def encode(body: object, limit: int = ENTRY_LIMIT, items: int = ITEM_LIMIT) -> bytes:
    """Return the canonical encoding of a dataclass instance, of at most `limit` bytes and `items` CBOR items.

    Raises Misuse, naming the field, where a value is outside its annotation or the result is beyond these limits.
    """
    if not dataclasses.is_dataclass(body) or isinstance(body, type):
        raise Misuse(f"encode: expected a message, found {type(body).__name__}")
    schema = _record(type(body))
    plain = schema.lower(body, schema.name)
    try:
        schema.lift(plain, schema.name)
        data = cbor2.dumps(plain, canonical=True)
        _Scan(data, schema.name, items).document()
    except Malformed as error:
        raise Misuse(str(error)) from None
    if len(data) > limit:
        raise Misuse(f"{schema.name}: encodes to {len(data)} bytes, the limit is {limit}")
    return data


def decode(cls: type[Body], data: bytes, limit: int = ENTRY_LIMIT, items: int = ITEM_LIMIT) -> Body:
    """Return the instance of `cls` whose canonical encoding is `data`.

    Raises Malformed, naming the type and field, on every other byte string; total on hostile bytes. Time and memory
    are linear in len(data), which is checked against `limit` first, as is the number of its items against `items`.
    """
    schema = _record(typing.cast("Any", cls))
    if len(data) > limit:
        raise Malformed(schema.name, f"at most {limit} bytes", f"{len(data)} bytes")
    _Scan(data, schema.name, items).document()
    try:
        plain = cbor2.loads(data)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        raise Malformed(schema.name, "CBOR with valid UTF-8 text", "other bytes") from None
    value: Body = schema.lift(plain, schema.name)
    again = cbor2.dumps(plain, canonical=True)
    if len(again) != len(data):
        raise Malformed(schema.name, "each map key once", "duplicate map keys")
    if again != data:
        raise Malformed(schema.name, "map keys in canonical order", "another order")
    return value


class _Scan:
    """One pass over the heads of CBOR items: what the schema could never use is refused before it is built.

    Accepts: integers >= 0, definite byte strings, text, arrays, maps with text keys, false, true, null; shortest
    heads; nesting of at most NESTING_LIMIT; at most `limit` items; no byte after the first item.
    """

    def __init__(self, data: bytes, where: str, limit: int) -> None:
        self._data = data
        self._where = where
        self._limit = limit

    def document(self) -> None:
        """One loop with all of its state in local variables: every message of every party passes here, twice."""
        data, size, limit = self._data, len(self._data), self._limit
        position = items = 0
        left, is_map = 1, False  # items to come in the array or map that is open; in a map, keys come at even counts
        around: list[tuple[int, bool]] = []  # the same of those around it
        while left or around:
            if not left:
                left, is_map = around.pop()
                continue
            items += 1
            if items > limit:
                raise Malformed(self._where, f"at most {limit} items", "more")
            if position == size:
                raise Malformed(self._where, "a complete CBOR item", "truncated bytes")
            major, count = data[position] >> 5, data[position] & 31
            if count < 24 and major in _SIMPLE_HEADS:
                position += 1
            else:
                position, count = self._head(position)
            if major != _UNSIGNED and count > size - position:
                raise Malformed(self._where, f"a length within the {size - position} bytes left", str(count))
            if is_map and left % 2 == 0 and major != _TEXT:
                raise Malformed(self._where, "a text map key", _MAJOR_NAMES[major])
            left -= 1
            if major in (_BYTES, _TEXT):
                position += count
            elif major in (_ARRAY, _MAP):
                if len(around) >= NESTING_LIMIT:
                    raise Malformed(self._where, f"nesting of at most {NESTING_LIMIT}", "deeper nesting")
                around.append((left, is_map))
                left, is_map = (count * 2, True) if major == _MAP else (count, False)
        if position != size:
            raise Malformed(self._where, "one CBOR item", f"{size - position} trailing bytes")

    def _head(self, position: int) -> tuple[int, int]:
        """Read any head: where its item goes on, and its argument (value, length or count; 0 for simple values)."""
        first = self._data[position]
        major, short = first >> 5, first & 31
        position += 1
        if first in (_FALSE, _TRUE, _NULL):
            return position, 0
        if major == 1 or major > _MAP:
            raise Malformed(self._where, "no tag, float or negative integer", _MAJOR_NAMES[major])
        if short >= 28:
            found = "an indefinite length" if short == 31 else "a reserved head"
            raise Malformed(self._where, "definite lengths", found)
        if short < 24:
            return position, short
        width = 1 << (short - 24)
        taken = self._data[position : position + width]
        if len(taken) != width:
            raise Malformed(self._where, "a complete CBOR item", "truncated bytes")
        count = int.from_bytes(taken, "big")
        if count < 24 or (width > 1 and count >> (4 * width) == 0):
            raise Malformed(self._where, "shortest integers and lengths", f"{count} in {width} bytes")
        return position + width, count


class _Schema:
    """One annotation. `lower` turns a value into what cbor2 writes, `lift` checks and turns back what it read."""

    def lower(self, value: Any, where: str) -> Any:  # noqa: ARG002 - containers name the place of a wrong item
        return value

    def lift(self, plain: Any, where: str) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class _Integer(_Schema):
    def lift(self, plain: Any, where: str) -> int:
        if type(plain) is not int:
            raise Malformed(where, "an integer", _kind(plain))
        if not 0 <= plain < INTEGER_LIMIT:
            raise Malformed(where, "an integer in 0 .. 2^63 - 1", str(plain)[:40])
        return plain


@dataclass(frozen=True)
class _Boolean(_Schema):
    def lift(self, plain: Any, where: str) -> bool:
        if type(plain) is not bool:
            raise Malformed(where, "a boolean", _kind(plain))
        return plain


@dataclass(frozen=True)
class _Null(_Schema):
    def lift(self, plain: Any, where: str) -> None:
        if plain is not None:
            raise Malformed(where, "null", _kind(plain))


@dataclass(frozen=True)
class _Length:
    low: int
    high: int

    def check(self, count: int, unit: str, where: str) -> None:
        if not self.low <= count <= self.high:
            bound = f"exactly {self.low}" if self.low == self.high else f"at most {self.high}"
            raise Malformed(where, f"{bound} {unit}", str(count))


@dataclass(frozen=True)
class _ByteString(_Schema):
    length: _Length

    def lift(self, plain: Any, where: str) -> bytes:
        if type(plain) is not bytes:
            raise Malformed(where, "a byte string", _kind(plain))
        self.length.check(len(plain), "bytes", where)
        return plain


@dataclass(frozen=True)
class _TextString(_Schema):
    length: _Length
    pattern: re.Pattern[str] | None

    def lift(self, plain: Any, where: str) -> str:
        if type(plain) is not str:
            raise Malformed(where, "text", _kind(plain))
        self.length.check(len(plain), "characters", where)
        if not plain.isascii() and not _is_unicode(plain):
            raise Malformed(where, "Unicode text", "a surrogate")
        if self.pattern is not None and self.pattern.fullmatch(plain) is None:
            raise Malformed(where, self.pattern.pattern, ascii(plain)[:_SHOWN])
        if _CONTROL.search(plain) is not None:
            raise Malformed(where, "text without control characters", ascii(plain)[:_SHOWN])
        return plain


@dataclass(frozen=True)
class _Array(_Schema):
    length: _Length
    item: _Schema

    def lower(self, value: Any, where: str) -> list[Any]:
        if type(value) is not tuple:
            raise Misuse(f"{where}: expected a tuple, found {type(value).__name__}")
        return [self.item.lower(item, f"{where}[{position}]") for position, item in enumerate(value)]

    def lift(self, plain: Any, where: str) -> tuple[Any, ...]:
        if type(plain) is not list:
            raise Malformed(where, "an array", _kind(plain))
        self.length.check(len(plain), "items", where)
        return tuple(self.item.lift(item, f"{where}[{position}]") for position, item in enumerate(plain))


@dataclass(frozen=True)
class _Optional(_Schema):
    inner: _Schema

    def lower(self, value: Any, where: str) -> Any:
        return None if value is None else self.inner.lower(value, where)

    def lift(self, plain: Any, where: str) -> Any:
        return None if plain is None else self.inner.lift(plain, where)


@dataclass(frozen=True)
class _Record(_Schema):
    cls: type
    name: str
    fields: dict[str, _Schema]

    def lower(self, value: Any, where: str) -> dict[str, Any]:
        if type(value) is not self.cls:
            raise Misuse(f"{where}: expected {self.name}, found {type(value).__name__}")
        return {name: field.lower(getattr(value, name), f"{where}.{name}") for name, field in self.fields.items()}

    def lift(self, plain: Any, where: str) -> Any:
        if type(plain) is not dict:
            raise Malformed(where, "a map", _kind(plain))
        if plain.keys() != self.fields.keys():
            self._refuse(plain, where)
        return self.cls(**{name: field.lift(plain[name], f"{where}.{name}") for name, field in self.fields.items()})

    def _refuse(self, plain: dict[Any, Any], where: str) -> NoReturn:
        """Name a field that is unknown, or else the first that is missing."""
        for name in plain:
            if name not in self.fields:
                raise Malformed(where, "known fields only", f"unknown field {ascii(name)[:80]}")
        missing = next(name for name in self.fields if name not in plain)
        raise Malformed(f"{where}.{missing}", "a value", "missing")


@cache
def _record(cls: type[Any]) -> _Record:
    """The schema of a dataclass. Raises Misuse on an annotation this encoding does not know."""
    if not dataclasses.is_dataclass(cls):
        raise Misuse(f"{cls.__name__} is not a dataclass")
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {field.name: _schema(hints[field.name], field.name) for field in dataclasses.fields(cls)}
    return _Record(cls, cls.__name__, fields)


def _schema(hint: Any, where: str) -> _Schema:
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        base, *marks = typing.get_args(hint)
        return _leaf(base, marks, where)
    if origin in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not types.NoneType]
        if len(members) != 1 or len(typing.get_args(hint)) != 2:
            raise Misuse(f"{where}: a union must be X | None")
        return _Optional(_schema(members[0], where))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record(hint)
    return _leaf(hint, [], where)


def _leaf(base: Any, marks: list[Any], where: str) -> _Schema:
    if base is int and not marks:
        return _Integer()
    if base is bool and not marks:
        return _Boolean()
    if base in (None, types.NoneType):
        return _Null()
    if base is bytes and marks:
        return _ByteString(_length(marks))
    if base is str and marks:
        patterns = [re.compile(mark.pattern) for mark in marks if isinstance(mark, Matches)]
        return _TextString(_length(marks), patterns[0] if patterns else None)
    arguments = typing.get_args(base)
    if typing.get_origin(base) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _Array(_length(marks), _schema(arguments[0], where))
    raise Misuse(f"{where}: no encoding for {base!r}")


def _length(marks: list[Any]) -> _Length:
    for mark in marks:
        if isinstance(mark, Exactly):
            return _Length(mark.count, mark.count)
        if isinstance(mark, AtMost):
            return _Length(0, mark.count)
    return _Length(0, ITEM_LIMIT)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _kind(plain: Any) -> str:
    if plain is None:
        return "null"
    names = {int: "an integer", bool: "a boolean", bytes: "a byte string", str: "text", list: "an array", dict: "a map"}
    return names.get(type(plain), type(plain).__name__)
