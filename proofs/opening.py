"""The prover's last step: Schnorr's proof that committed vectors satisfy one linear form (spec 5.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.layout import KEY, UPDATE
from proofs.parameters import ArgumentParameters
from proofs.polynomials import add, dot, scale
from proofs.proof import Announcements
from proofs.randomness import Randomness, uniform_scalars
from proofs.relations import FinalPoint, LinearForm
from proofs.witness import CommittedUpdate, packed_key


class Masked:
    """Secret scalars with a fresh uniform mask, answered once; the blinding of their commitment is the last of them."""

    def __init__(self, secret: Sequence[int], rand: Randomness) -> None:
        self._secret = secret
        self.mask = uniform_scalars(rand, len(secret))

    def announcement(self, engine: Engine) -> bytes:
        """Com(mask)."""
        return engine.commit(self.mask[:-1], self.mask[-1])

    def respond(self, challenge: int) -> tuple[int, ...]:
        """challenge * secret + mask."""
        return tuple((challenge * s + m) % ORDER for s, m in zip(self._secret, self.mask, strict=True))


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Openings:
    """What is opened. With the encryption's proof the update's rows are opened apart from all others: their blinding
    is the last part of E_0's opening, combined by eq(r_rows, row), and has no response of its own."""

    table: Masked  # combination of all rows, or of all but the update's
    auxiliary: Masked
    update: list[int]  # mask of the update's rows' combination, empty without the encryption's proof
    update_secret: list[int]
    share: Masked | None
    rows: Sequence[int]  # eq(r_rows, row) of the data rows

    def announce(self, engine: Engine, form: LinearForm) -> Announcements:
        """The first messages."""
        update, share, share_mask = b"", b"", list[int]()
        if self.share is not None:
            share_mask = self.share.mask[:-1]
            blinding = dot(self.rows, share_mask[len(share_mask) - len(self.rows) :])
            update, share = engine.commit(self.update, blinding), self.share.announcement(engine)
        return Announcements(
            table=self.table.announcement(engine),
            auxiliary=self.auxiliary.announcement(engine),
            update=update,
            share=share,
            form=form.at(self.table.mask[:-1], self.auxiliary.mask[:-1], self.update, share_mask),
        )

    def respond_update(self, challenge: int) -> tuple[int, ...]:
        """challenge * combination of the update's rows + mask."""
        return tuple((challenge * s + m) % ORDER for s, m in zip(self.update_secret, self.update, strict=True))


def draw_openings(
    engine: Engine,
    parameters: ArgumentParameters,
    committed: CommittedUpdate,
    auxiliary: Sequence[int],
    share_blinding: int | None,
    final: FinalPoint,
    eta: int,
    rand: Randomness,
) -> Openings:
    """auxiliary: A's vector and its blinding. share_blinding: E_0's, None without the encryption's proof."""
    layout = parameters.layout
    parts = [_combined_rows(engine, committed, b, span, final.rows) for b, span in enumerate(layout.spans)]
    scaled = [scale(part, pow(eta, b, ORDER)) for b, part in enumerate(parts)]
    rows = final.rows[: parameters.shape.data_rows]
    if share_blinding is None:
        return Openings(Masked(_sum(scaled), rand), Masked(auxiliary, rand), [], [], None, rows)
    own = layout.index(UPDATE)
    others = _sum([part for b, part in enumerate(scaled) if b != own])
    key = [scalar % ORDER for scalar in packed_key(committed.tables[layout.index(KEY)])]
    share = [*key, *committed.blindings, share_blinding]
    return Openings(
        table=Masked(others, rand),
        auxiliary=Masked(auxiliary, rand),
        update=uniform_scalars(rand, parameters.shape.columns),
        update_secret=parts[own][:-1],
        share=Masked(share, rand),
        rows=rows,
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
