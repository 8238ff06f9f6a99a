"""Hyper-parameters as the policy spells them: one spelling for each finite double (spec 4.6)."""

from __future__ import annotations

import math
import re
import struct

from proofs.errors import Malformed, Misuse

_HEX_DOUBLE = re.compile(r"[0-9a-f]{16}")


def format_double(value: float) -> str:
    """16 lower-case hexadecimal digits: the big-endian bytes of a finite double; Misuse for another."""
    if not math.isfinite(value):
        raise Misuse(f"a hyper-parameter must be finite, not {value}")
    return struct.pack(">d", value).hex()


def parse_double(text: str) -> float:
    """Inverse of `format_double`; raises Malformed for any other spelling, NaN, infinity and minus zero."""
    if not _HEX_DOUBLE.fullmatch(text):
        raise Malformed("hyper-parameter", "16 lower-case hexadecimal digits", repr(text))
    value: float = struct.unpack(">d", bytes.fromhex(text))[0]
    if not math.isfinite(value) or (value == 0.0 and text[0] == "8"):
        raise Malformed("hyper-parameter", "a finite double other than minus zero", text)
    return value
