"""One benchmark's result for people or programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from verifl.formatting import format_bytes

_COLUMNS = ("median", "min", "max", "cpu")


def describe(result: dict[str, Any], style: str) -> str:
    """txt, json, or jsonl (a line for each phase, then one for the benchmark without its phases)."""
    if style == "json":
        return json.dumps(result, indent=2, allow_nan=False)
    if style == "jsonl":
        whole = {"event": "benchmark", **{key: value for key, value in result.items() if key != "phases"}}
        lines = [{"event": "phase", "benchmark": result["benchmark"], **phase} for phase in result["phases"]]
        return "\n".join(json.dumps(line, allow_nan=False) for line in [*lines, whole])
    return "\n".join(_text(result))


def _text(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['benchmark']}: {_pairs(result['setting'])}"
    yield f"machine: {_machine(result['machine'])}; {result['threads']} threads"
    if "device" in result:
        yield from _device_lines(result)
    yield ""
    yield f"{'milliseconds':<14}" + "".join(f"{column:>12}" for column in _COLUMNS) + f"{'runs':>8}"
    for phase in result["phases"]:
        numbers = "".join(f"{1000 * phase[column]:>12,.2f}" for column in _COLUMNS)
        yield f"{phase['phase']:<14}{numbers}{phase['runs']:>8}"
    for title, key in (("bytes", "bytes"), ("peak memory", "peak_memory"), ("bytes a second", "bytes_per_second")):
        if key in result:
            yield ""
            yield title
            yield from (f"  {name:<18}{count:>16,}  {format_bytes(count)}" for name, count in result[key].items())


def _device_lines(result: dict[str, Any]) -> Iterator[str]:
    yield f"device: {result['device']}, {result['device_name']}"
    if not result["cuda_available"]:
        yield "torch finds no CUDA device here: these are the figures of the CPU"
    yield f"the sum moves {result['share_of_copy']:.1%} of the device's copy bandwidth, and equals numpy's"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in values.items())


def _value(value: int | None) -> str:
    """A count with its thousands apart; yes, no or none for what is switched."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:,}"


def _machine(machine: dict[str, Any]) -> str:
    versions = (f"{name} {machine[name]}" for name in ("python", "numpy", "numba", "torch") if machine[name])
    extension = " with AVX-512" if machine["avx512"] else ""
    cores = f"{machine['cores']} cores of {machine['cpu']}{extension}"
    return f"{cores}, {machine['memory'] / 2**30:.0f} GiB, {machine['system']}; {', '.join(versions)}"
