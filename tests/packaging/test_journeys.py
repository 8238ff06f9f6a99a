"""A submission's bytes and a round's key go down from the carrier to their check: nobody on the way opens them, and
nothing of them comes back up but the error."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
OPENING = {
    "protocols.encoding",
    "protocols.envelopes",
    "protocols.hpke",
    "protocols.sharing",
    "protocols.submissions",
    "protocols.lattice",
    "protocols.rounds.rules",
    "proofs.verifier",
}
TYPED = {"protocols.rounds.answers", "protocols.rounds.exchange"}  # what parties send, and who makes a value of it
MAKES_ITS_OWN = "verifl/agents/client.py"  # a client reads the invitation that it answers


def imported(path: str) -> set[str]:
    """Modules that a module imports, in whatever place, and the names that it takes from them."""
    found = set()
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


def carrying() -> list[str]:
    """Modules of the runtime through whose hands goes what parties send."""
    files = [file for room in ("carriers", "agents") for file in sorted((REPOSITORY / "verifl" / room).rglob("*.py"))]
    paths = [str(file.relative_to(REPOSITORY)) for file in files]
    return [path for path in paths if imported(path) & TYPED and path != MAKES_ITS_OWN]


@pytest.mark.parametrize("path", carrying())
def test_who_carries_opens_nothing(path: str) -> None:
    assert imported(path).isdisjoint(OPENING), path


def test_these_are_all_that_carry() -> None:
    assert {"verifl/agents/server.py", "verifl/carriers/exchange/inbox.py", "verifl/carriers/in_process.py"} <= {
        *carrying()
    }
