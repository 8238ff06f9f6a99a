"""Writes tests/vectors/forgeries/*.json: `python -m tests.vectors.regenerate_forgeries` from the repository's root.

Each is a whole claim by a cheating prover, with the verdict that every verifier must reach: a false witness proved by
the honest steps, rows exchanged, challenges known beforehand, responses bent until an equation holds. Few projections,
far fewer than are sound, keep them small; those that are accepted are so on purpose: they show what the projections are
for, and what a verifier cannot notice once the ciphertext is pruned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from proofs.curve import ORDER, POINT_SIZE
from proofs.encryption import EncryptionParameters
from proofs.parameters import ArgumentParameters
from proofs.prover import prove
from proofs.verifier import Claim
from proofs.witness import commit_tables
from tests.proofs.arguments import (
    CONTEXT,
    MODULUS,
    WeakParameters,
    altered,
    claim_of,
    hash_of,
    honest,
    native,
    pruned,
    reference,
    residues_of,
)
from tests.seeded import seeded
from tests.soundness import forgery
from tests.soundness.frozen_items import BEFORE_CELL_WEIGHTS, FORGERIES, FULL_FORGERIES, VERIFIERS
from tests.soundness.frozen_items import FULL as FROZEN_FULL
from tests.soundness.frozen_items import PARAMETERS as FROZEN
from tests.soundness.test_false_witness import modular_claim, squares
from tests.soundness.test_frozen_signs import SIGN_FORGERIES
from tests.soundness.test_grinding import wrapped_claim, wrapped_tables
from tests.soundness.test_noise_attacks import LIES, lied
from tests.soundness.test_noise_attacks import PLAIN as NOISE_PLAIN
from tests.soundness.test_tampering import ENCRYPTION_TAMPERS, TAMPERS, without_ciphertext
from tests.soundness.test_weight_attacks import WEIGHT, above, half
from tests.soundness.test_weight_attacks import tables_of as weighted_tables
from tests.vectors.regenerate_argument import statement_of

DIRECTORY = Path(__file__).parent / "forgeries"
PARAMETERS = WeakParameters(20, 50, 3)
FULL = WeakParameters(20, 50, 3, 20, (), EncryptionParameters(8, MODULUS, 2**20))

# an honest proof, for another verifier; and more combinations than parameters have
NOT_RECORDED = {"statement", "combinations"}

Forged = tuple[ArgumentParameters, Claim, str]

TABLES: dict[str, tuple[list[list[int]], str]] = {
    "true witness by the same road": ([[3, -4], [5], squares([[3, -4], [5]])], "accepted"),
    "norm one above the bound": ([[50, 1], [0], [0]], "linear-relation"),
    "squares one short": ([[49], [0], [9, 4, 1, 0]], "linear-relation"),
    "no squares": ([[0], [0], [0]], "linear-relation"),
    "norm far above the bound": ([[2**20] * 16, [0], [0]], "linear-relation"),
    "value in the padding": ([[3, -4], [0] * 4 + [1], squares([[3, -4], [1]])], "linear-relation"),
    "value in the last padding cell": ([[3, -4], [0] * 15 + [7], squares([[3, -4], [7]])], "linear-relation"),
    "values that cancel in the padding": ([[0], [0] * 4 + [1, -1] * 6, squares([[1] * 12])], "linear-relation"),
}


def of_tables() -> Iterator[tuple[str, Forged]]:
    for name, (rows, verdict) in TABLES.items():
        yield name, (PARAMETERS, forgery.forge(native(), PARAMETERS, rows), verdict)


def of_frozen_challenges() -> Iterator[tuple[str, Forged]]:
    """What passes with a transcript that forgets one item."""
    for parameters, forgeries in ((FROZEN, FORGERIES), (FROZEN_FULL, FULL_FORGERIES)):
        for label, make in forgeries.items():
            if label in NOT_RECORDED:
                continue
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("proofs.transcript.Challenger", forgery.forgetting(label))
                claim = make()
            verdict = "ciphertext-combination" if label in BEFORE_CELL_WEIGHTS else "linear-relation"
            yield f"{label} not absorbed", (VERIFIERS.get(label, parameters), claim, verdict)


def of_wrap_around() -> Iterator[tuple[str, Forged]]:
    """A modular square root in the private row: hit by a projection, and missed by all."""
    parameters = WeakParameters(16, 50, 2)
    committed = commit_tables(reference(), parameters, wrapped_tables(parameters), seeded("wrapped"))
    found: dict[bool, Claim] = {}
    for seed in range(20):
        claim, lucky = wrapped_claim(parameters, committed, seed)
        found.setdefault(lucky, claim)
    yield "modular square root, noticed", (parameters, found[False], "linear-relation")
    yield "modular square root, missed by two projections", (parameters, found[True], "accepted")


def of_honest_claims() -> Iterator[tuple[str, Forged]]:
    """Parts of honest claims changed, exchanged or replayed."""
    made, other = honest(native(), PARAMETERS), honest(native(), PARAMETERS, seed=2)
    for field, (change, verdict) in TAMPERS.items():
        claim = made.edited(**{field: change(made.proof)})
        yield f"{field.replace('_', ' ')} changed", (PARAMETERS, claim, verdict)
    claim, rows = made.claim, made.claim.commitments
    size = POINT_SIZE
    changed = {
        "rows exchanged": altered(claim, commitments=rows[size : 2 * size] + rows[:size] + rows[2 * size :]),
        "row negated": altered(claim, commitments=bytes([rows[0] ^ 1]) + rows[1:]),
        "commitments of another client": altered(claim, commitments=other.claim.commitments),
        "proof of another client": replace(claim, proof=other.claim.proof),
        "context of another client": replace(claim, context=b"round 7, client 4"),
    }
    for name, each in changed.items():
        yield name, (PARAMETERS, each, "linear-relation")
    for name in ("table", "auxiliary"):
        form = getattr(forgery.derive(PARAMETERS, claim).form, name)
        first, second, *rest = getattr(made.known.given, f"{name}_response")
        kept = ((first + form[1]) % ORDER, (second - form[0]) % ORDER, *rest)
        forged = made.answered(**{f"{name}_response": kept})
        yield f"{name} responses that keep the linear form", (PARAMETERS, forged, "opening")
    yield "response that keeps the folded form", (PARAMETERS, made.off_by(1), "opening")


def of_honest_claims_with_range_and_encryption() -> Iterator[tuple[str, Forged]]:
    """What only the encryption's proof has, changed one by one."""
    made = honest(native(), FULL)
    yield "range and encryption", (FULL, made.claim, "accepted")
    yield "range and encryption, pruned", (FULL, pruned(made.claim), "accepted")
    for field, (change, verdict) in ENCRYPTION_TAMPERS.items():
        claim = made.edited(**{field: change(made.proof)})
        yield f"{field.replace('_', ' ')} changed", (FULL, claim, verdict)
        yield f"{field.replace('_', ' ')} changed, pruned", (FULL, pruned(claim), without_ciphertext(verdict))


def of_ciphertexts() -> Iterator[tuple[str, Forged]]:
    """A prover who sends the combinations of the right ciphertext and shows another, or none at all any more."""
    right = honest(native(), FULL)
    assert right.encrypted is not None
    wrong = residues_of(right.encrypted.statement)
    wrong[3] = (wrong[3] + 1) % MODULUS
    promised = replace(right.encrypted, statement=replace(right.encrypted.statement, ciphertext_hash=hash_of(wrong)))
    proof = prove(native(), FULL, right.committed, CONTEXT, seeded(3), promised)
    claim = claim_of(right.committed, proof, CONTEXT, promised)
    claim = replace(claim, encryption=replace(promised.statement, ciphertext=wrong))
    yield "wrong ciphertext, right combinations", (FULL, claim, "ciphertext-combination")
    yield "wrong ciphertext, right combinations, pruned", (FULL, pruned(claim), "accepted")
    out_of_range = (right.proof.combinations[0] + MODULUS, *right.proof.combinations[1:])
    yield "combination plus q", (FULL, right.edited(combinations=out_of_range), "combination-range")


def of_weights() -> Iterator[tuple[str, Forged]]:
    """A hidden weight out of range, or another than that of the bounds; everything else in order."""
    parameters = WeakParameters(20, 50, 3, hidden_weight=6)
    slack = dict.fromkeys((0, 7, -1), (0, 0, 0, 0)) | {2: (2, 0, 0, 0), 5: (2, 0, 0, 0)}
    lies = {
        "hidden weight": (5, 5, "accepted"),
        "hidden weight of zero": (0, 0, "linear-relation"),
        "hidden weight above the largest": (7, 7, "linear-relation"),
        "hidden weight below zero": (-1, -1, "linear-relation"),
        "hidden weight smaller than that of the bound": (2, 5, "linear-relation"),
        "hidden weight larger than that of the bound": (5, 2, "linear-relation"),
    }
    for name, (stated, bound, verdict) in lies.items():
        tables = weighted_tables({0: 50 * bound, WEIGHT: stated}, [bound, *slack[bound]])
        yield name, (parameters, forgery.forge_tables(native(), parameters, tables, seeded(name)), verdict)
    for cheat in (half, above):
        weak = WeakParameters(16, 50, 1, hidden_weight=6)
        name = f"hidden weight modulo the order, {cheat.__name__}, missed by the projection"
        yield name, (weak, modular_claim(weak, cheat(), until_missed=True), "accepted")


def of_noise() -> Iterator[tuple[str, Forged]]:
    """Noise for privacy out of its bounds, or beside an update out of its own; signs that forget an item."""
    for name, (_, verdict) in LIES.items():
        yield f"noise, {name.replace(', ', ' ')}", (NOISE_PLAIN, lied(name)[0], verdict)
    for label, (challenger, parameters, make) in SIGN_FORGERIES.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(challenger, forgery.forgetting(label))
            claim = make()
        yield f"{label} not absorbed", (parameters, claim, "linear-relation")


def noise_of(parameters: ArgumentParameters, claim: Claim) -> dict[str, Any]:
    """What is in a vector with noise for privacy, and in no other."""
    if parameters.privacy_noise is None or claim.sign_context is None:
        return {}
    return {
        "privacy_noise": asdict(parameters.privacy_noise),
        "sign_context": claim.sign_context.hex(),
        "privacy_noise_commitments": claim.privacy_noise_commitments.hex(),
    }


SOURCES: tuple[Callable[[], Iterator[tuple[str, Forged]]], ...] = (
    of_tables,
    of_frozen_challenges,
    of_wrap_around,
    of_honest_claims,
    of_honest_claims_with_range_and_encryption,
    of_ciphertexts,
    of_weights,
    of_noise,
)


def make_all() -> dict[str, dict[str, Any]]:
    """Every vector by the name of its file."""
    return {
        name.replace(",", "").replace(" ", "-"): {
            "name": name,
            "dimension": parameters.dimension,
            "norm_bound": parameters.norm_bound,
            "projections": parameters.projections,
            "coordinate_bound": parameters.coordinate_bound,
            "encryption": asdict(parameters.encryption) if parameters.encryption is not None else None,
            "hidden_weight": parameters.hidden_weight,
            "context": claim.context.hex(),
            "commitments": claim.commitments.hex(),
            "range_commitments": claim.range_commitments.hex(),
            "weight_commitments": claim.weight_commitments.hex(),
            "encryption_commitments": claim.encryption_commitments.hex(),
            "statement": statement_of(claim),
            "proof": claim.proof.hex(),
            "expect": verdict,
            **noise_of(parameters, claim),
        }
        for source in SOURCES
        for name, (parameters, claim, verdict) in source()
    }


def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    for path in DIRECTORY.glob("*.json"):
        path.unlink()
    for name, vector in make_all().items():
        (DIRECTORY / f"{name}.json").write_text(json.dumps(vector, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
