"""The recorded proofs: accepted, their negatives named, and made again byte for byte, by both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proofs.engines import get_engine
from proofs.parameters import ArgumentParameters
from proofs.verifier import Claim, verify_batch
from tests.proofs.arguments import judge, name_of
from tests.vectors.regenerate_argument import CASES, DIRECTORY, apply, make

FILES = sorted(DIRECTORY.glob("*.json"))


def load(path: Path) -> tuple[ArgumentParameters, Claim, dict[str, Any]]:
    vector = json.loads(path.read_text(encoding="ascii"))
    parameters = ArgumentParameters(vector["dimension"], vector["norm_bound"], vector["projections"])
    claim = Claim(*(bytes.fromhex(vector[item]) for item in ("commitments", "proof", "context")))
    return parameters, claim, vector


def test_all_are_there() -> None:
    assert [path.stem for path in FILES] == sorted(CASES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_verdicts(path: Path) -> None:
    parameters, claim, vector = load(path)
    claims = [claim, *(apply(claim, negative) for negative in vector["negatives"])]
    verdicts = verify_batch(get_engine("native"), parameters, claims)
    expected = ["accepted", *(negative["expect"] for negative in vector["negatives"])]
    assert [name_of(verdict) for verdict in verdicts] == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_made_again(path: Path) -> None:
    assert make(get_engine("native"), path.stem) == load(path)[2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_reference_engine(path: Path) -> None:
    """The same bytes and, one claim at a time, the same names."""
    engine = get_engine("reference")
    parameters, claim, vector = load(path)
    assert make(engine, path.stem) == vector
    assert judge(engine, parameters, claim) == "accepted"
    for negative in vector["negatives"]:
        assert judge(engine, parameters, apply(claim, negative)) == negative["expect"], negative["name"]
