"""Where secrets come from: an argument named `rand`, and nothing weaker by any road.

No generator of the standard library or of numpy (Mersenne Twister, PCG, seeds of 32 bits), no clock and no hash order
can reach a mask, a key or a blinding: the mathematics and the parties do not import them.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from proofs.curve import SCALAR_SIZE
from proofs.prover import prove
from proofs.witness import commit_update
from tests.proofs.arguments import CONTEXT, WeakParameters, native
from tests.seeded import seeded

ROOT = Path(__file__).resolve().parents[2]
BY_THE_CLOCK = (
    "proofs/machine/interrupts.py",
    "proofs/machine/streams.py",
    "protocols/log/connection.py",
    "protocols/log/remote.py",
)
WAITING = {ROOT / name for name in BY_THE_CLOCK}  # for a signal, a reader, a server; they make nothing
SOURCES = sorted({*(ROOT / "proofs").rglob("*.py"), *(ROOT / "protocols").rglob("*.py")} - WAITING)
WEAK_MODULES = {"random", "numpy.random", "time", "datetime", "uuid", "torch"}
WEAK_NAMES = {"default_rng", "RandomState", "Generator", "randint", "getrandbits", "urandom", "SystemRandom"}


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_source_of_randomness_but_the_argument() -> None:
    assert len(SOURCES) > 50
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not WEAK_MODULES & set(imported(tree)), path
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert not {node.attr for node in attributes} & WEAK_NAMES, path
        assert not any(node.attr == "random" and isinstance(node.value, ast.Name) for node in attributes), path


def test_every_secret_is_drawn_whole() -> None:
    """One draw of 32 bytes for each blinding, pad, mask coefficient and response mask; one of a mask's own width for
    each projection. Rejection repeats a draw, so these are the least numbers."""
    parameters = WeakParameters(20, 50, 3)
    sizes: Counter[int] = Counter()
    source = seeded("draws")

    def rand(size: int) -> bytes:
        sizes[size] += 1
        return source(size)

    committed = commit_update(native(), parameters, np.zeros(20, dtype=np.int64), rand)
    prove(native(), parameters, committed, CONTEXT, rand)
    shape, rounds = parameters.shape, sum(parameters.round_degrees)
    responses = shape.columns + 1 + parameters.auxiliary_length + 1
    assert sizes[SCALAR_SIZE] >= shape.rows + 1 + 1 + rounds + 1 + responses
    width = ((2 * parameters.mask_bound).bit_length() + 7) // 8
    assert sizes[width] >= parameters.projections
