"""Writes tests/vectors/argument/*.json: `python -m tests.vectors.regenerate_argument` from the repository's root.

A vector is a statement, a witness, the seed of the randomness, the claim that they give, and negatives: edits of the
claim, each with the check that must name it. An edit replaces bytes of one item at an offset; an `append` adds some; a
`residue` of the ciphertext is replaced at an index. The hash of a ciphertext is SHA-256 of its residues as 64-bit
little-endian integers. A pruned vector is one to be verified without its ciphertext, which is not there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from proofs.curve import ORDER
from proofs.encryption import EncryptionParameters
from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.noise_witness import commit_noise, signed_noise
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds
from proofs.prover import prove
from proofs.ranges import CoordinateGroup
from proofs.verifier import Claim
from proofs.witness import Noise, commit_update
from tests.proofs.answers import off_by
from tests.proofs.arguments import (
    LABELS,
    SIGN_CONTEXT,
    altered,
    claim_of,
    encrypted_by,
    pruned,
    quotients_of,
    residues_of,
)
from tests.seeded import seeded

DIRECTORY = Path(__file__).parent / "argument"


@dataclass(frozen=True)
class Case:
    """Parameters and witness of a vector; key and errors go with a ring. pruned: verified without the ciphertext."""

    update: list[int]
    norm_bound: int
    coordinate_bound: int | None = None
    groups: tuple[CoordinateGroup, ...] = ()
    encryption: EncryptionParameters | None = None
    key: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    pruned: bool = False
    hidden_weight: int | None = None
    privacy_noise: NoiseBounds | None = None
    noise: tuple[int, ...] = ()

    @property
    def parameters(self) -> ArgumentParameters:
        return ArgumentParameters(
            len(self.update),
            self.norm_bound,
            360,
            self.coordinate_bound,
            self.groups,
            self.encryption,
            hidden_weight=self.hidden_weight,
            privacy_noise=self.privacy_noise,
        )


RING = EncryptionParameters(8, 0xFFFFFDC001, 2**20)
KEY = tuple((7 * i) % 23 - 11 for i in range(8))
CASES: dict[str, Case] = {
    "one-coordinate": Case([-7], 9),
    "padded": Case([(37 * i) % 19 - 9 for i in range(20)], 50),
    "no-padding": Case([(-1) ** i * i for i in range(32)], 2**40),
    "zero": Case([0] * 3, 1),
    "exact": Case([3, 0, -4], 5),
    "range": Case([(5 * i) % 13 - 6 for i in range(20)], 50, 6),
    "range-groups": Case([0, 0, -1, 2**15, 4], 2**16, 4, (CoordinateGroup(0, 2, 0), CoordinateGroup(3, 4, 2**15))),
    "encryption": Case([3, 0, -4], 5, None, (), RING, KEY, tuple((11 * i) % 29 - 14 for i in range(16))),
    "encryption-range": Case(
        [(5 * i) % 13 - 6 for i in range(40)],
        50,
        6,
        (CoordinateGroup(39, 40, 0),),
        replace(RING, degree=32),  # the last chunk is cut
        KEY * 4,
        tuple((11 * i) % 29 - 14 for i in range(48)),
    ),
}
CASES["encryption-range"].update[39] = 0
CASES["encryption-pruned"] = replace(CASES["encryption"], pruned=True)
CASES["hidden-weight"] = replace(CASES["padded"], update=[(37 * i) % 19 - 9 for i in range(19)] + [5], hidden_weight=7)
CASES["hidden-weight-in-full"] = replace(
    CASES["encryption-range"], update=[(15 * i) % 37 - 18 for i in range(38)] + [0, 3], groups=(), hidden_weight=3
)
CASES["noise"] = replace(
    CASES["range"], privacy_noise=NoiseBounds(60, 1000, 4000), noise=tuple((29 * i) % 31 - 15 for i in range(32))
)
CASES["noise-encrypted"] = replace(
    CASES["encryption-range"],
    encryption=EncryptionParameters(32, 0xFFC001, 1),
    errors=(),
    privacy_noise=NoiseBounds(70, 3000, 2**13),
    noise=tuple((29 * i) % 31 - 15 for i in range(48)),
)


def make(engine: Engine, name: str) -> dict[str, Any]:
    """The vector called `name`, as it is written to its file."""
    case = CASES[name]
    parameters, update = case.parameters, np.array(case.update, dtype=np.int64)
    rand, context = seeded(name), f"vector {name}".encode()
    noise, signed = None, None
    if case.encryption is not None:
        noise = Noise(np.array(case.key), np.array(case.errors, dtype=np.int64))
    if case.privacy_noise is not None:
        own = commit_noise(engine, parameters, np.array(case.noise, dtype=np.int64), rand)
        signed = signed_noise(parameters, own, SIGN_CONTEXT)
    committed = commit_update(engine, parameters, update, rand, noise, signed)
    encrypted = encrypted_by(engine, parameters, committed, noise) if noise is not None else None
    proof = prove(engine, parameters, committed, context, rand, encrypted)
    claim = claim_of(committed, proof, context, encrypted)
    if case.pruned:
        claim = pruned(claim)
    return {
        "dimension": parameters.dimension,
        "norm_bound": parameters.norm_bound,
        "projections": parameters.projections,
        "coordinate_bound": parameters.coordinate_bound,
        "groups": [asdict(group) for group in parameters.groups],
        "encryption": asdict(case.encryption) if case.encryption is not None else None,
        "hidden_weight": case.hidden_weight,
        "privacy_noise": asdict(case.privacy_noise) if case.privacy_noise is not None else None,
        "noise": list(case.noise),
        "sign_context": None if claim.sign_context is None else claim.sign_context.hex(),
        "update": case.update,
        "key": list(case.key),
        "errors": list(case.errors),
        "seed": name,
        "context": context.hex(),
        "commitments": claim.commitments.hex(),
        "range_commitments": claim.range_commitments.hex(),
        "weight_commitments": claim.weight_commitments.hex(),
        "privacy_noise_commitments": claim.privacy_noise_commitments.hex(),
        "encryption_commitments": claim.encryption_commitments.hex(),
        "statement": statement_of(claim),
        "proof": proof.hex(),
        "negatives": negatives(parameters, claim),
    }


def statement_of(claim: Claim) -> dict[str, Any] | None:
    """What the proof of encryption is about."""
    if claim.encryption is None:
        return None
    return {
        "elements": claim.encryption.elements.coefficients.tolist(),
        "ciphertext": None if claim.encryption.ciphertext is None else claim.encryption.ciphertext.tolist(),
        "ciphertext_hash": claim.encryption.ciphertext_hash.hex(),
        "share_commitment": claim.encryption.share_commitment.hex(),
    }


def sizes_of(parameters: ArgumentParameters) -> dict[str, int]:
    """Bytes of every item of the layout (spec 5.6), in order."""
    encrypted = parameters.encryption is not None
    sizes = {
        "auxiliary": 33,
        "projections": parameters.projections * parameters.response_width,
        "combinations": 8 * parameters.combinations,
        "quotients": parameters.combinations * quotients_of(parameters).width,
        "claim": 32,
        "rounds": 32 * sum(parameters.round_degrees),
        "evaluations": 32 * len(parameters.layout.tables),
        "table announcement": 33,
        "auxiliary announcement": 33,
        "update announcement": 33 * encrypted,
        "share announcement": 33 * encrypted,
        "form announcement": 32,
        "blinding responses": 128 if encrypted else 64,
        "cross values": 192 if encrypted else 64,
        **{f"fold {j} {name}": size for j in range(parameters.folded.folds) for name, size in FOLD.items()},
        "response": 32 * parameters.folded.last,
    }
    return {name: size for name, size in sizes.items() if size}


FAMILIES = tuple(label.replace("-", "_") for label in LABELS)
FOLD = {"even point": 33, "odd point": 33, "values": 64}


def kept_form(parameters: ArgumentParameters, claim: Claim) -> dict[str, Any]:
    """Two scalars of the response changed so that the folded form keeps its value."""
    changed = off_by(get_engine("native"), parameters, claim, 1).proof
    start = len(changed) - 32 * parameters.folded.last
    return edit("response that keeps the form", "proof", start, changed[start : start + 64], "opening")


def negatives(parameters: ArgumentParameters, claim: Claim) -> list[dict[str, Any]]:
    """One edit per item of the layout (spec 5.6), and per way in which bytes can be wrong."""
    proof, offset = claim.proof, 0
    edits: list[dict[str, Any]] = []
    there = claim.encryption is not None and claim.encryption.ciphertext is not None
    before_cell_weights = "ciphertext-combination" if there else "linear-relation"
    for name, size in sizes_of(parameters).items():
        last = offset + size - 1
        if size == 33:
            expect = before_cell_weights if name == "auxiliary" else "linear-relation"
            edits.append(edit(f"{name} negated", "proof", offset, bytes([proof[offset] ^ 1]), expect))
            edits.append(edit(f"{name} with a bad prefix", "proof", offset, b"\x04", "point-encoding"))
        elif name in ("projections", "quotients", "combinations"):
            expect = before_cell_weights if name == "combinations" else "linear-relation"
            edits.append(edit(f"{name} changed", "proof", last, bytes([proof[last] ^ 1]), expect))
            edits.append(beyond_range(parameters, name, offset))
        else:
            changed = bytes([proof[last] ^ 1])
            edits.append(edit(f"{name} changed", "proof", last, changed, "linear-relation"))
            edits.append(edit(f"{name} not canonical", "proof", last - 31, ORDER.to_bytes(32, "big"), "scalar-range"))
        offset += size
    edits += [
        kept_form(parameters, claim),
        edit("another context", "context", 0, b"V", before_cell_weights),
        {"name": "proof extended", "item": "proof", "append": "00", "expect": "proof-length"},
    ]
    if claim.sign_context is not None:
        edits.append(edit("another sign context", "sign_context", 0, b"V", before_cell_weights))
    for item in FAMILIES:
        expect = f"{item.replace('_', '-')}-length"
        edits.append({"name": f"row added to {item}", "item": item, "append": "02" * 33, "expect": expect})
        if getattr(claim, item):
            off_curve = (5).to_bytes(32, "big")
            edits.append(edit(f"row of {item} off the curve", item, 1, off_curve, "point-encoding"))
    return [*edits, *negatives_of_encryption(parameters, claim, before_cell_weights)]


def negatives_of_encryption(
    parameters: ArgumentParameters, claim: Claim, before_cell_weights: str
) -> list[dict[str, Any]]:
    """Other spellings of a combination, and other statements."""
    if parameters.encryption is None or claim.encryption is None:
        return []
    modulus, sizes = parameters.encryption.modulus, sizes_of(parameters)
    start = sizes["auxiliary"] + sizes["projections"]
    first = int.from_bytes(claim.proof[start : start + 8], "big")
    last = start + sizes["combinations"] - 8
    edits = [
        edit("combination plus q", "proof", start, (first + modulus).to_bytes(8, "big"), "combination-range"),
        edit("last combination of all ones", "proof", last, b"\xff" * 8, "combination-range"),
        edit("another hash of the ciphertext", "ciphertext_hash", 0, bytes(32), before_cell_weights),
        edit("share commitment negated", "share_commitment", 0, negated(claim), before_cell_weights),
        edit("share commitment off the curve", "share_commitment", 1, (5).to_bytes(32, "big"), "point-encoding"),
    ]
    if claim.encryption.ciphertext is not None:
        last_index = len(claim.encryption.ciphertext) - 1
        other = (int(claim.encryption.ciphertext[-1]) + 1) % modulus
        for name, residue, expect in (("changed", other, before_cell_weights), ("of q", modulus, "ciphertext")):
            edits.append({"name": f"residue {name}", "residue": residue, "index": last_index, "expect": expect})
    return edits


def negated(claim: Claim) -> bytes:
    """The first byte of -E_0."""
    return bytes([claim.encryption.share_commitment[0] ^ 1]) if claim.encryption is not None else b""


def beyond_range(parameters: ArgumentParameters, name: str, offset: int) -> dict[str, Any]:
    """The first integer one above the largest that is allowed."""
    if name == "combinations":
        modulus = parameters.encryption.modulus if parameters.encryption is not None else 0
        return edit(f"{name} out of range", "proof", offset, modulus.to_bytes(8, "big"), "combination-range")
    if name == "projections":
        bound, width, check = parameters.response_bound, parameters.response_width, "shortness"
    else:
        bound, width, check = (
            quotients_of(parameters).bound,
            quotients_of(parameters).width,
            "quotient-range",
        )
    return edit(f"{name} out of range", "proof", offset, (bound + 1).to_bytes(width, "big", signed=True), check)


def edit(name: str, item: str, offset: int, data: bytes, expect: str) -> dict[str, Any]:
    return {"name": name, "item": item, "offset": offset, "bytes": data.hex(), "expect": expect}


def apply(claim: Claim, negative: dict[str, Any]) -> Claim:
    """The claim with a negative's edit."""
    if "residue" in negative:
        ciphertext = residues_of(claim.encryption)
        ciphertext[negative["index"]] = negative["residue"]
        return about(claim, ciphertext=ciphertext)
    in_claim = negative["item"] not in ("ciphertext_hash", "share_commitment")
    item = bytearray(getattr(claim if in_claim else claim.encryption, negative["item"]))
    if "append" in negative:
        item += bytes.fromhex(negative["append"])
    else:
        data = bytes.fromhex(negative["bytes"])
        item[negative["offset"] : negative["offset"] + len(data)] = data
    changes: dict[str, Any] = {negative["item"]: bytes(item)}
    return altered(claim, **changes) if in_claim else about(claim, **changes)


def about(claim: Claim, **changes: Any) -> Claim:
    """The claim about another statement; the ciphertext's hash stays unless it is changed."""
    return claim if claim.encryption is None else replace(claim, encryption=replace(claim.encryption, **changes))


def main() -> None:
    for name in CASES:
        text = json.dumps(make(get_engine("native"), name), indent=1) + "\n"
        (DIRECTORY / f"{name}.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
