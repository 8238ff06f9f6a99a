"""A submission's bytes and a round's key go down from the carrier to their check: nobody on the way opens them, and
nothing of them comes back up but the error."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CARRYING = [
    *(f"verifl/carriers/{name}.py" for name in ("base", "company", "in_process", "rounds", "turns")),
    *(
        f"verifl/carriers/exchange/{name}.py"
        for name in ("host", "inbox", "participant", "public", "serving", "training")
    ),
    *(f"verifl/agents/{name}.py" for name in ("server", "trustee")),
]
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
TYPED = {"protocols.rounds.answers", "protocols.rounds.exchange"}  # where a value is made of what was sent


def imported(path: str) -> set[str]:
    """Modules that a module imports, in whatever place, and the names that it takes from them."""
    found = set()
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


@pytest.mark.parametrize("path", CARRYING)
def test_who_carries_opens_nothing(path: str) -> None:
    assert imported(path).isdisjoint(OPENING), path


def test_carriers_know_what_they_carry_by_its_type() -> None:
    """So the list above is that of those through whose hands it goes."""
    knowing = {
        str(file.relative_to(REPOSITORY))
        for room in ("verifl/carriers", "verifl/agents")
        for file in (REPOSITORY / room).rglob("*.py")
        if imported(str(file.relative_to(REPOSITORY))) & TYPED
    }
    assert knowing <= {*CARRYING, "verifl/agents/client.py"}  # a client makes its submission itself
    assert len(knowing) > 5
