"""Writes tests/vectors/argument/*.json: `python -m tests.vectors.regenerate_argument` from the repository's root.

A vector is a statement, a witness, the seed of the randomness, the claim that they give, and negatives: edits of the
claim, each with the check that must name it. An edit replaces bytes of one item at an offset; an `append` adds some.
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
from proofs.parameters import ArgumentParameters
from proofs.prover import prove
from proofs.ranges import CoordinateGroup
from proofs.verifier import Claim
from proofs.witness import Noise, commit_update
from tests.proofs.arguments import claim_of, encrypted_by
from tests.seeded import seeded

DIRECTORY = Path(__file__).parent / "argument"


@dataclass(frozen=True)
class Case:
    """Parameters and witness of a vector; key and errors go with a ring."""

    update: list[int]
    norm_bound: int
    coordinate_bound: int | None = None
    groups: tuple[CoordinateGroup, ...] = ()
    encryption: EncryptionParameters | None = None
    key: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()

    @property
    def parameters(self) -> ArgumentParameters:
        bounds = (self.coordinate_bound, self.groups, self.encryption)
        return ArgumentParameters(len(self.update), self.norm_bound, 360, *bounds)


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


def make(engine: Engine, name: str) -> dict[str, Any]:
    """The vector called `name`, as it is written to its file."""
    case = CASES[name]
    parameters, update = case.parameters, np.array(case.update, dtype=np.int64)
    rand, context = seeded(name), f"vector {name}".encode()
    noise = Noise(np.array(case.key), np.array(case.errors)) if case.encryption is not None else None
    committed = commit_update(engine, parameters, update, rand, noise)
    encrypted = encrypted_by(engine, parameters, committed, noise) if noise is not None else None
    proof = prove(engine, parameters, committed, context, rand, encrypted)
    claim = claim_of(committed, proof, context, encrypted)
    return {
        "dimension": parameters.dimension,
        "norm_bound": parameters.norm_bound,
        "projections": parameters.projections,
        "coordinate_bound": parameters.coordinate_bound,
        "groups": [asdict(group) for group in parameters.groups],
        "encryption": asdict(case.encryption) if case.encryption is not None else None,
        "update": case.update,
        "key": list(case.key),
        "errors": list(case.errors),
        "seed": name,
        "context": context.hex(),
        "commitments": claim.commitments.hex(),
        "range_commitments": claim.range_commitments.hex(),
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
        "ciphertext": claim.encryption.ciphertext.tolist(),
        "share_commitment": claim.encryption.share_commitment.hex(),
    }


def sizes_of(parameters: ArgumentParameters) -> dict[str, int]:
    """Bytes of every item of the layout (spec 5.6), in order."""
    encrypted = parameters.encryption is not None
    columns = parameters.shape.columns
    sizes = {
        "auxiliary": 33,
        "projections": parameters.projections * parameters.response_width,
        "quotients": parameters.quotients * parameters.quotient_width,
        "claim": 32,
        "rounds": 32 * sum(parameters.round_degrees),
        "evaluations": 32 * len(parameters.layout.tables),
        "table announcement": 33,
        "auxiliary announcement": 33,
        "update announcement": 33 * encrypted,
        "share announcement": 33 * encrypted,
        "form announcement": 32,
        "table response": 32 * columns,
        "table blinding response": 32,
        "auxiliary response": 32 * parameters.auxiliary_length,
        "auxiliary blinding response": 32,
        "update response": 32 * columns * encrypted,
        "share response": 32 * parameters.share_length,
        "share blinding response": 32 * encrypted,
    }
    return {name: size for name, size in sizes.items() if size}


EXPECTED = {  # of a changed last scalar; linear-relation for all others
    "table blinding response": "table-opening",
    "auxiliary blinding response": "auxiliary-opening",
    "share response": "update-opening",  # the blinding of the last data row
    "share blinding response": "share-opening",
}


def negatives(parameters: ArgumentParameters, claim: Claim) -> list[dict[str, Any]]:
    """One edit per item of the layout (spec 5.6), and per way in which bytes can be wrong."""
    proof, offset = claim.proof, 0
    edits: list[dict[str, Any]] = []
    for name, size in sizes_of(parameters).items():
        last = offset + size - 1
        if size == 33:
            edits.append(edit(f"{name} negated", "proof", offset, bytes([proof[offset] ^ 1]), "linear-relation"))
            edits.append(edit(f"{name} with a bad prefix", "proof", offset, b"\x04", "point-encoding"))
        elif name in ("projections", "quotients"):
            edits.append(edit(f"{name} changed", "proof", last, bytes([proof[last] ^ 1]), "linear-relation"))
            edits.append(beyond_range(parameters, name, offset))
        else:
            changed = bytes([proof[last] ^ 1])
            edits.append(edit(f"{name} changed", "proof", last, changed, EXPECTED.get(name, "linear-relation")))
            edits.append(edit(f"{name} not canonical", "proof", last - 31, ORDER.to_bytes(32, "big"), "scalar-range"))
        offset += size
    edits += [
        edit("another context", "context", 0, b"V", "linear-relation"),
        {"name": "proof extended", "item": "proof", "append": "00", "expect": "proof-length"},
    ]
    for item in ("commitments", "range_commitments", "encryption_commitments"):
        expect = f"{item.replace('_', '-')}-length"
        edits.append({"name": f"row added to {item}", "item": item, "append": "02" * 33, "expect": expect})
        if getattr(claim, item):
            off_curve = (5).to_bytes(32, "big")
            edits.append(edit(f"row of {item} off the curve", item, 1, off_curve, "point-encoding"))
    return edits


def beyond_range(parameters: ArgumentParameters, name: str, offset: int) -> dict[str, Any]:
    """The first integer one above the largest that is allowed."""
    if name == "projections":
        bound, width, check = parameters.response_bound, parameters.response_width, "shortness"
    else:
        bound, width, check = parameters.quotient_bound, parameters.quotient_width, "quotient-range"
    return edit(f"{name} out of range", "proof", offset, (bound + 1).to_bytes(width, "big", signed=True), check)


def edit(name: str, item: str, offset: int, data: bytes, expect: str) -> dict[str, Any]:
    return {"name": name, "item": item, "offset": offset, "bytes": data.hex(), "expect": expect}


def apply(claim: Claim, negative: dict[str, Any]) -> Claim:
    """The claim with a negative's edit."""
    item = bytearray(getattr(claim, negative["item"]))
    if "append" in negative:
        item += bytes.fromhex(negative["append"])
    else:
        data = bytes.fromhex(negative["bytes"])
        item[negative["offset"] : negative["offset"] + len(data)] = data
    changes: dict[str, Any] = {negative["item"]: bytes(item)}
    return replace(claim, **changes)


def main() -> None:
    for name in CASES:
        text = json.dumps(make(get_engine("native"), name), indent=1) + "\n"
        (DIRECTORY / f"{name}.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
