"""The table of docs/misbehaviour.md: every kind, and what leads elsewhere than a kind alone."""

from __future__ import annotations

from dataclasses import dataclass

from verifl.adversaries.consequences import INVALID, Consequence
from verifl.adversaries.registry import KINDS


@dataclass(frozen=True)
class Variant:
    """What leads elsewhere than a kind alone. cases: each several injections at once, as on the command line, and all
    with the same outcome. encryption_proof: of the policy. noised: whether it has noise, and a budget of two rounds."""

    label: str
    cases: tuple[tuple[str, ...], ...]
    outcome: Consequence
    encryption_proof: bool = True
    noised: bool = False


VARIANTS = (
    Variant(
        "`bad-share`, for more than f trustees", (("bad-share:trustee-1,trustee-2,trustee-3",),),
        Consequence(checks=("I7",), verdict="disputed"),
    ),
    Variant(
        "`bad-share`, for more than m - t trustees", (("bad-share:trustee-1,trustee-2",),),
        Consequence(checks=("I8",), verdict="unacknowledged", remark="they dispute it; who lies stays open"),
    ),
    Variant(
        "`false-complaint`, by more than m - t trustees", (("false-complaint:trustee-1", "false-complaint:trustee-2"),),
        Consequence(checks=("I8",), verdict="unacknowledged", remark="they dispute it; who lies stays open"),
    ),
    Variant(
        "`lying-trustee`, more than m - t of them", (("lying-trustee:trustee-1", "lying-trustee:trustee-2"),),
        Consequence(checks=("I8",), aborted="missing-releases", remark="the abort names them too"),
    ),
    Variant(
        "`silent-trustee`, more than m - t of them", (("silent-trustee:trustee-1", "silent-trustee:trustee-2"),),
        Consequence(stops=True, refuser="the coordinator", refusal="checkpoint-quorum"),
    ),
    Variant(
        "`oversized-update`, `out-of-range`, `value-in-padding`, with `encryption_proof = false`",
        (("oversized-update",), ("out-of-range",), ("value-in-padding",)), INVALID, encryption_proof=False,
    ),
    Variant(
        "`wrong-ciphertext`, `oversized-error`, `mixed-up-chunks`, `oversized-key`, `wrong-key`, `wrong-blinding`, "
        "with `encryption_proof = false`",
        (
            ("wrong-ciphertext",), ("oversized-error",), ("mixed-up-chunks",), ("oversized-key",), ("wrong-key",),
            ("wrong-blinding",),
        ),
        Consequence(
            aborted="opening-failed",
            remark="everybody sees that the sum does not open, and nobody who spoilt it; at most `max_aborts` times",
        ),
        encryption_proof=False,
    ),
    Variant(
        "`server-two-cohorts`, with noise, where two cohorts are all of the budget", (("server-two-cohorts",),),
        Consequence(
            refuser="every honest trustee", refusal="order", stops=True, alone=("I1", "I4", "P2", "P5"),
        ),
        noised=True,
    ),
)  # fmt: skip


def table() -> str:
    """The table of docs/misbehaviour.md."""
    head = ("kind", "the round completes", "who notices, and how", "audit", "named by", "published by the server alone")
    rows = [head, tuple("---" for _ in head)]
    lines = [(f"`{kind.name}`", kind.outcome) for kind in KINDS.values()]
    for label, outcome in [*lines, *((variant.label, variant.outcome) for variant in VARIANTS)]:
        audit = (outcome.audited, outcome.named_by, outcome.audited_alone)
        rows.append((label, outcome.completes, outcome.noticed, *audit))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
