"""The recorded proofs: accepted, their negatives named, and made again byte for byte, by both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proofs.encryption import EncryptionParameters, EncryptionStatement, RingElements
from proofs.engines import get_engine
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds
from proofs.ranges import CoordinateGroup
from proofs.verifier import Claim, verify_batch
from tests.proofs.arguments import claimed, judge, name_of, pruned
from tests.vectors.regenerate_argument import CASES, DIRECTORY, FAMILIES, apply, make

FILES = sorted(DIRECTORY.glob("*.json"))


def load(path: Path) -> tuple[ArgumentParameters, Claim, dict[str, Any]]:
    vector = json.loads(path.read_text(encoding="ascii"))
    parameters = ArgumentParameters(
        vector["dimension"],
        vector["norm_bound"],
        vector["projections"],
        vector["coordinate_bound"],
        tuple(CoordinateGroup(**group) for group in vector["groups"]),
        EncryptionParameters(**vector["encryption"]) if vector["encryption"] else None,
        hidden_weight=vector["hidden_weight"],
        privacy_noise=NoiseBounds(**vector["privacy_noise"]) if vector["privacy_noise"] else None,
    )
    parts: dict[str, Any] = {item: bytes.fromhex(vector[item]) for item in ("proof", "context", *FAMILIES)}
    sign_context = None if vector["sign_context"] is None else bytes.fromhex(vector["sign_context"])
    return parameters, claimed(**parts, sign_context=sign_context, encryption=statement(vector["statement"])), vector


def statement(parts: dict[str, Any] | None) -> EncryptionStatement | None:
    if parts is None:
        return None
    return EncryptionStatement(
        RingElements(np.array(parts["elements"], dtype=np.int64)),
        None if parts["ciphertext"] is None else np.array(parts["ciphertext"], dtype=np.int64),
        bytes.fromhex(parts["ciphertext_hash"]),
        bytes.fromhex(parts["share_commitment"]),
    )


def test_all_are_there() -> None:
    assert sorted(path.stem for path in FILES) == sorted(CASES)


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


@pytest.mark.parametrize("name", ["encryption", "encryption-range", "hidden-weight-in-full", "noise-encrypted"])
def test_verdicts_without_the_ciphertext(name: str) -> None:
    """What the combinations of the ciphertext show is then left to the linear relation, or lost."""
    parameters, claim, vector = load(DIRECTORY / f"{name}.json")
    assert judge(get_engine("native"), parameters, pruned(claim)) == "accepted"
    for negative in vector["negatives"]:
        lost = "residue" in negative
        expected = "linear-relation" if negative["expect"] == "ciphertext-combination" else negative["expect"]
        verdict = judge(get_engine("native"), parameters, pruned(apply(claim, negative)))
        assert verdict == ("accepted" if lost else expected), negative["name"]


@pytest.mark.parametrize("name", ["padded", "range", "encryption", "encryption-pruned", "hidden-weight", "noise"])
def test_reference_engine(name: str) -> None:
    path = DIRECTORY / f"{name}.json"
    parameters, claim, vector = load(path)
    assert make(get_engine("reference"), path.stem) == vector
    assert judge(get_engine("reference"), parameters, claim) == "accepted"
    for negative in vector["negatives"]:
        if negative["expect"].endswith(("opening", "combination", "combination-range")):
            assert judge(get_engine("reference"), parameters, apply(claim, negative)) == negative["expect"]
