"""The two lists of tested versions: one is the other, but for what Flower does not admit."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_ADMITTED = {"pycryptodome", "rich"}  # by flwr, in the versions of constraints.txt
ADDED = {"flwr", "ray"}


def test_flower_changes_two_versions_and_adds_its_own() -> None:
    usual, flower = _pins("constraints.txt"), _pins("constraints-flower.txt")
    assert flower.keys() == usual.keys() | ADDED
    assert {name for name, version in usual.items() if flower[name] != version} == NOT_ADMITTED


def _pins(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)
