"""Writes tests/vectors/argument/*.json: `python -m tests.vectors.regenerate_argument` from the repository's root.

A vector is a statement, a witness, the seed of the randomness, the claim that they give, and negatives: edits of the
claim, each with the check that must name it. An edit replaces bytes of one item at an offset; an `append` adds some.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.parameters import ArgumentParameters
from proofs.prover import prove
from proofs.verifier import Claim
from proofs.witness import commit_update
from tests.seeded import seeded

DIRECTORY = Path(__file__).parent / "argument"
CASES: dict[str, tuple[list[int], int]] = {
    "one-coordinate": ([-7], 9),
    "padded": ([(37 * i) % 19 - 9 for i in range(20)], 50),
    "no-padding": ([(-1) ** i * i for i in range(32)], 2**40),
    "zero": ([0] * 3, 1),
    "exact": ([3, 0, -4], 5),
}


def make(engine: Engine, name: str) -> dict[str, Any]:
    """The vector called `name`, as it is written to its file."""
    update, norm_bound = CASES[name]
    parameters = ArgumentParameters(len(update), norm_bound)
    rand, context = seeded(name), f"vector {name}".encode()
    committed = commit_update(engine, parameters, np.array(update, dtype=np.int64), rand)
    proof = prove(engine, parameters, committed, context, rand)
    return {
        "dimension": parameters.dimension,
        "norm_bound": norm_bound,
        "projections": parameters.projections,
        "update": update,
        "seed": name,
        "context": context.hex(),
        "commitments": committed.commitments.hex(),
        "proof": proof.hex(),
        "negatives": negatives(parameters, proof),
    }


def negatives(parameters: ArgumentParameters, proof: bytes) -> list[dict[str, Any]]:
    """One edit per item of the layout (spec 5.6), and per way in which bytes can be wrong."""
    width, variables, columns = parameters.response_width, parameters.shape.variables, parameters.shape.columns
    sizes = {
        "auxiliary": 33,
        "projections": parameters.projections * width,
        "claim": 32,
        "rounds": 32 * (4 + 2 * (variables - 1)),
        "evaluation": 32,
        "table announcement": 33,
        "auxiliary announcement": 33,
        "form announcement": 32,
        "table response": 32 * columns,
        "table blinding response": 32,
        "auxiliary response": 32 * parameters.auxiliary_length,
        "auxiliary blinding response": 32,
    }
    edits: list[dict[str, Any]] = []
    offset = 0
    for name, size in sizes.items():
        last = offset + size - 1
        check = {"table blinding response": "table-opening", "auxiliary blinding response": "auxiliary-opening"}
        if (name.endswith("announcement") and size == 33) or name == "auxiliary":
            edits.append(edit(f"{name} negated", "proof", offset, bytes([proof[offset] ^ 1]), "linear-relation"))
            edits.append(edit(f"{name} with a bad prefix", "proof", offset, b"\x04", "point-encoding"))
        elif name == "projections":
            edits.append(edit("projection changed", "proof", last, bytes([proof[last] ^ 1]), "linear-relation"))
            beyond = (parameters.response_bound + 1).to_bytes(width, "big", signed=True)
            edits.append(edit("projection out of range", "proof", offset, beyond, "shortness"))
        else:
            changed = bytes([proof[last] ^ 1])
            edits.append(edit(f"{name} changed", "proof", last, changed, check.get(name, "linear-relation")))
            edits.append(edit(f"{name} not canonical", "proof", last - 31, ORDER.to_bytes(32, "big"), "scalar-range"))
        offset += size
    return [
        *edits,
        edit("another context", "context", 0, b"V", "linear-relation"),
        {"name": "proof extended", "item": "proof", "append": "00", "expect": "proof-length"},
        {"name": "row added", "item": "commitments", "append": "02" * 33, "expect": "commitments-length"},
        edit("row off the curve", "commitments", 1, (5).to_bytes(32, "big"), "point-encoding"),
    ]


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
    return replace(claim, **{negative["item"]: bytes(item)})


def main() -> None:
    for name in CASES:
        text = json.dumps(make(get_engine("native"), name), indent=1) + "\n"
        (DIRECTORY / f"{name}.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
