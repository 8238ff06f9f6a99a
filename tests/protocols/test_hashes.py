"""One module computes hashes; what it computes is SHA-256 and SHAKE of the standard library."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from protocols.hashes import sha256, sha256_of_parts, shake_128, shake_256

ROOT = Path(__file__).parents[2]
HOME = ROOT / "protocols" / "hashes.py"


@pytest.mark.parametrize("room", ["protocols", "auditor"])
def test_nothing_else_computes_a_hash(room: str) -> None:
    files = [path for path in (ROOT / room).rglob("*.py") if path != HOME]
    assert len(files) > 10
    words = ("hashlib", "primitives.hashes", "blake")
    assert not [str(path) for path in files if any(word in path.read_text() for word in words)]


def test_the_functions_are_those_of_the_standard() -> None:
    assert sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_parts([]) == sha256(b"") == hashlib.sha256().digest()
    assert sha256_of_parts([b"a", b"", b"bc"]) == sha256(b"abc")
    assert shake_128(b"").hexdigest(8) == "7f9c2ba4e88f827d"
    assert shake_256(b"").hexdigest(8) == "46b9dd2b0ba88d13"
