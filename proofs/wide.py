"""128-bit integer arithmetic inside kernels: LLVM's native wide multiply and add, which numba does not expose.

The intrinsics are module globals on purpose: one held in a closure cell would never hit numba's disk cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba.extending
from llvmlite import ir

# numba's annotations describe an intrinsic's definition, not what kernels call: (high, low) words from words.
_types: Any = numba.types
_intrinsic: Callable[[Callable[..., Any]], Any] = numba.extending.intrinsic

_WORD = ir.IntType(64)
_WIDE = ir.IntType(128)


def _widen(builder: Any, words: Any) -> list[Any]:
    return [builder.zext(word, _WIDE) for word in words]


def _split(context: Any, builder: Any, signature: Any, wide: Any) -> Any:
    """The pair (high word, low word) of a 128-bit value."""
    high = builder.trunc(builder.lshr(wide, ir.Constant(_WIDE, 64)), _WORD)
    return context.make_tuple(builder, signature.return_type, (high, builder.trunc(wide, _WORD)))


def _pair_signature(arity: int) -> Any:
    return _types.UniTuple(_types.uint64, 2)(*([_types.uint64] * arity))


@_intrinsic
def umul128(_typing: Any, _a: Any, _b: Any) -> tuple[Any, Callable[..., Any]]:
    """(high, low) words of a * b for two uint64."""

    def generate(context: Any, builder: Any, signature: Any, words: Any) -> Any:
        x, y = _widen(builder, words)
        return _split(context, builder, signature, builder.mul(x, y))

    return _pair_signature(2), generate


@_intrinsic
def multiply_add(_typing: Any, _a: Any, _b: Any, _c: Any, _d: Any) -> tuple[Any, Callable[..., Any]]:
    """(high, low) words of a * b + c + d for four uint64: never overflows 128 bits."""

    def generate(context: Any, builder: Any, signature: Any, words: Any) -> Any:
        x, y, addend, carry = _widen(builder, words)
        total = builder.add(builder.add(builder.mul(x, y), addend), carry)
        return _split(context, builder, signature, total)

    return _pair_signature(4), generate


@_intrinsic
def add_carry(_typing: Any, _a: Any, _b: Any, _c: Any) -> tuple[Any, Callable[..., Any]]:
    """(carry, sum) words of a + b + c for three uint64."""

    def generate(context: Any, builder: Any, signature: Any, words: Any) -> Any:
        x, y, carry = _widen(builder, words)
        return _split(context, builder, signature, builder.add(builder.add(x, y), carry))

    return _pair_signature(3), generate


@_intrinsic
def subtract_borrow(_typing: Any, _a: Any, _b: Any, _c: Any) -> tuple[Any, Callable[..., Any]]:
    """(borrow, difference) words of a - b - c for three uint64 with c in {0, 1}: borrow is 1 below zero."""

    def generate(context: Any, builder: Any, signature: Any, words: Any) -> Any:
        x, y, borrow = _widen(builder, words)
        wide = builder.sub(builder.sub(x, y), borrow)
        sign = builder.lshr(wide, ir.Constant(_WIDE, 127))
        parts = (builder.trunc(sign, _WORD), builder.trunc(wide, _WORD))
        return context.make_tuple(builder, signature.return_type, parts)

    return _pair_signature(3), generate
