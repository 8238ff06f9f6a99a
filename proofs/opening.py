"""The prover's last step: Schnorr's proof that committed vectors satisfy one linear form (spec 5.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.linear_form import LinearForm
from proofs.parameters import ArgumentParameters
from proofs.polynomials import add, dot, scale
from proofs.proof import Announcements
from proofs.randomness import Randomness, uniform_scalars
from proofs.relations.terms import FinalPoint
from proofs.witness import CommittedUpdate


class Masked:
    """Secret scalars with a fresh uniform mask, answered once."""

    def __init__(self, secret: Sequence[int], rand: Randomness) -> None:
        self._secret = secret
        self.mask = uniform_scalars(rand, len(secret))

    def announcement(self, engine: Engine) -> bytes:
        """Com(mask), the blinding of the commitment being the last of the scalars; nothing where there are none."""
        return engine.commit(self.mask[:-1], self.mask[-1]) if self.mask else b""

    def respond(self, challenge: int) -> tuple[int, ...]:
        """challenge * secret + mask."""
        return tuple((challenge * s + m) % ORDER for s, m in zip(self._secret, self.mask, strict=True))


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Openings:
    """What is opened. With the encryption's proof the update's rows are opened apart from all others: their blinding
    is the last part of E_0's opening, combined by eq(r_rows, row), and has no response of its own."""

    table: Masked  # combination of all rows, or of all but the update's; its blinding
    auxiliary: Masked  # A's vector and its blinding
    update: Masked  # combination of the update's rows; empty without the encryption's proof
    share: Masked  # E_0's vector and its blinding; empty without the encryption's proof
    rows: Sequence[int]  # eq(r_rows, row) of the data rows

    def announce(self, engine: Engine, form: LinearForm) -> Announcements:
        """The first messages."""
        return Announcements(
            table=self.table.announcement(engine),
            auxiliary=self.auxiliary.announcement(engine),
            update=self._announce_update(engine),
            share=self.share.announcement(engine),
            form=form.at(self.table.mask[:-1], self.auxiliary.mask[:-1], self.update.mask, self.share.mask[:-1]),
        )

    def _announce_update(self, engine: Engine) -> bytes:
        if not self.update.mask:
            return b""
        shared = self.share.mask[:-1]
        return engine.commit(self.update.mask, dot(self.rows, shared[len(shared) - len(self.rows) :]))


def draw_openings(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    auxiliary: Sequence[int],
    share: Sequence[int],
    final: FinalPoint,
    eta: int,
    rand: Randomness,
) -> Openings:
    """auxiliary: A's vector and its blinding. share: E_0's, empty without the encryption's proof."""
    layout = parameters.layout
    parts = [_combined_rows(engine, committed, b, span, final.rows) for b, span in enumerate(layout.spans)]
    together = [scale(part, pow(eta, b, ORDER)) for b, part in enumerate(parts) if b not in layout.apart]
    return Openings(
        table=Masked(_sum(together), rand),
        auxiliary=Masked(auxiliary, rand),
        update=Masked([scalar for b in layout.apart for scalar in parts[b][:-1]], rand),
        share=Masked(share, rand),
        rows=final.rows[: parameters.shape.data_rows],
    )


def _combined_rows(
    engine: Engine, committed: CommittedUpdate, table: int, span: slice, equal: Sequence[int]
) -> list[int]:
    """sum_r eq(r_rows, r) of a table's rows, one scalar for every column of its own, and of their blindings."""
    rows = equal[: span.stop - span.start]
    blinding = dot(rows, committed.row_blindings[span])
    return [*engine.weighted_columns(committed.tables[table], rows), blinding]


def _sum(parts: Sequence[Sequence[int]]) -> list[int]:
    """Sum of vectors of any lengths, each with its blinding last."""
    return [*add(*(part[:-1] for part in parts)), sum(part[-1] for part in parts) % ORDER]
