"""IEEE doubles: vectors of them, and hyper-parameters as the policy spells them, each finite double in one way (spec
4.6)."""

from __future__ import annotations

import math
import re
import struct
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Malformed, Misuse

Doubles: TypeAlias = NDArray[np.float64]  # (d,): a model, an update, a moment
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
