"""The recorded forgeries: judged alike by both engines, by name, alone and in one batch."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from proofs.encryption import EncryptionParameters
from proofs.engine import Engine
from proofs.privacy_noise import NoiseBounds
from proofs.verifier import Claim, verify_batch
from tests.proofs.arguments import WeakParameters, claimed, judge, name_of, native, reference
from tests.vectors.regenerate_argument import FAMILIES
from tests.vectors.regenerate_forgeries import DIRECTORY, make_all
from tests.vectors.test_argument_vectors import statement

FILES = sorted(DIRECTORY.glob("*.json"))
ENGINES = pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])


def load(path: Path) -> tuple[WeakParameters, Claim, dict[str, Any]]:
    vector = json.loads(path.read_text(encoding="ascii"))
    lattice = EncryptionParameters(**vector["encryption"]) if vector["encryption"] else None
    numbers = (vector[name] for name in ("dimension", "norm_bound", "projections", "coordinate_bound"))
    noise = NoiseBounds(**vector["privacy_noise"]) if "privacy_noise" in vector else None
    parameters = WeakParameters(*numbers, (), lattice, hidden_weight=vector["hidden_weight"], privacy_noise=noise)
    parts: dict[str, Any] = {item: bytes.fromhex(vector.get(item, "")) for item in ("proof", "context", *FAMILIES)}
    sign_context = bytes.fromhex(vector["sign_context"]) if noise is not None else None
    return parameters, claimed(**parts, sign_context=sign_context, encryption=statement(vector["statement"])), vector


@ENGINES
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_verdict(path: Path, engine: Engine) -> None:
    parameters, claim, vector = load(path)
    assert judge(engine, parameters, claim) == vector["expect"]


@ENGINES
def test_verdicts_in_batches(engine: Engine) -> None:
    """One batch for each set of parameters."""
    loaded = sorted((load(path) for path in FILES), key=lambda each: str(each[0]))
    for _, group in groupby(loaded, key=lambda each: str(each[0])):
        members = list(group)
        verdicts = verify_batch(engine, members[0][0], [claim for _, claim, _ in members])
        assert [name_of(verdict) for verdict in verdicts] == [vector["expect"] for _, _, vector in members]


def test_made_again() -> None:
    assert make_all() == {path.stem: load(path)[2] for path in FILES}
