"""Clients that cheat over what they have to prove. Each takes the honest prover's steps, without its refusals, over
tables, a ciphertext or shares of which one thing is false: so nothing but the check of that one thing shows it.

N degree and q modulus of the ring, T plaintext scale, B norm bound, beta bound of a coordinate (spec 5 and 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER
from proofs.engine import Table
from proofs.errors import Misuse
from proofs.layout import ERROR, KEY
from proofs.prover import Encrypted, Projected, complete, in_range, project
from proofs.ranges import CoordinateGroup
from proofs.squares import four_squares
from proofs.witness import CommittedUpdate, commit_tables
from protocols.invitation import VerifiedRound
from protocols.lattice import encryption
from protocols.lattice.parameters import LatticeParameters
from protocols.parameters import message_bound
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import Draft
from protocols.sharing import DIGIT_LIMIT
from verifl.adversaries.clients import LyingClient, Units

Residues = NDArray[np.int64]


class ProvesAnything(LyingClient):
    """A client that proves what is not so, as well as that can be done."""

    def _prove(
        self, verified: VerifiedRound, draft: Draft, ciphertext: bytes, share_commitments: bytes, context: bytes
    ) -> bytes:
        if not self._active():
            return super()._prove(verified, draft, ciphertext, share_commitments, context)
        parameters, encrypted = self._pinned.argument, self._encrypted(verified, draft, ciphertext, share_commitments)
        projected = self._projected(draft, context, encrypted)
        proof = complete(self._engine, parameters, draft.committed, projected, self._rand, encrypted)
        return proof.encode(parameters)

    def _encrypt(self, verified: VerifiedRound, draft: Draft) -> bytes:
        """Of any message: the honest client refuses one that no sum could be told from."""
        if not self._active():
            return super()._encrypt(verified, draft)
        table, *others = draft.committed.tables
        nothing = replace(draft.committed, tables=(np.zeros_like(table), *others))
        residues = self._residues(super()._encrypt(verified, replace(draft, committed=nothing)))
        return self._pack(residues + draft.committed.message)

    def _projected(self, draft: Draft, context: bytes, encrypted: Encrypted | None) -> Projected:
        """The first stage, again until projections and quotients can be sent."""
        parameters = self._pinned.argument
        while True:
            projected = project(self._engine, parameters, draft.committed, context, self._rand, encrypted)
            if in_range(parameters, projected):
                return projected

    def _recommit(self, draft: Draft, tables: Sequence[Table]) -> Draft:
        """The draft with fresh commitments to other tables."""
        committed = commit_tables(self._engine, self._pinned.argument, tables, self._rand)
        return replace(draft, committed=committed)

    def _recommit_cell(self, draft: Draft, cell: int, value: int) -> Draft:
        """No update but `value`, at most B, in one cell, and the private row that fills its norm up to B."""
        table, private, *others = (table.copy() for table in draft.committed.tables)
        table[:], private[:] = 0, 0
        table.reshape(-1)[cell] = value
        private[0, :4] = four_squares(self._pinned.policy.update.norm_bound**2 - value**2, self._rand)
        return self._recommit(draft, [table, private, *others])

    def _recommit_noise(self, draft: Draft, name: str, value: int) -> Draft:
        """The draft with `value` in the first cell of its table of errors or of its key; the slack stays as it was.

        Without a proof of encryption there are no such tables, and the draft is what it was.
        """
        layout, tables = self._pinned.argument.layout, [table.copy() for table in draft.committed.tables]
        if name not in [table.name for table in layout.tables]:
            return draft
        tables[layout.index(name)][0, 0] = value
        return self._recommit(draft, tables)

    def _residues(self, ciphertext: bytes) -> Residues:
        return encryption.unpack(self._pinned.lattice, ciphertext, self._pinned.cells)

    def _pack(self, values: Residues) -> bytes:
        return encryption.pack(self._pinned.lattice, values % self._pinned.lattice.modulus)


# ---- the update ----


class OversizedUpdate(ProvesAnything):
    """Twice the bound in the first coordinate. The private row, which should fill the norm up to it, is zero."""

    def _draft(self, verified: VerifiedRound, update: Units) -> Draft:
        draft = super()._draft(verified, update)
        if not self._active():
            return draft
        table, private, *others = (table.copy() for table in draft.committed.tables)
        table[0, 0] = 2 * self._pinned.policy.update.norm_bound
        private[:] = 0
        return self._recommit(draft, [table, private, *others])


class OutOfRange(ProvesAnything):
    """No update but beta + 1 in one coordinate. The norm is right, and the squares that should fill it up to beta are
    those of beta: for beta + 1 there are none."""

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        if not pinned.argument.segments:
            raise Misuse(
                "inject: out-of-range needs a bound on coordinates, and the policy has none; set "
                "update.coordinate_bound (in the demonstration --coordinate-bound)"
            )
        cls._bounded(pinned)

    @classmethod
    def _bounded(cls, pinned: PinnedPolicy) -> CoordinateGroup:
        """The first coordinates whose bound one can exceed within the norm."""
        norm_bound = pinned.policy.update.norm_bound
        for segment in pinned.argument.segments:
            if segment.bound < norm_bound:
                return segment
        raise Misuse(f"inject: out-of-range needs a bound on coordinates below that on the norm, {norm_bound} units")

    def _draft(self, verified: VerifiedRound, update: Units) -> Draft:
        if not self._active():
            return super()._draft(verified, update)
        segment, extreme = self._bounded(self._pinned), np.zeros_like(update)
        extreme[segment.start] = segment.bound
        return self._recommit_cell(super()._draft(verified, extreme), segment.start, segment.bound + 1)


class ValueInPadding(ProvesAnything):
    """No update at all, and nearly the whole norm in the last cell of the padding: the norm is right."""

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        shape = pinned.argument.shape
        if shape.data_cells == shape.dimension:
            raise Misuse(
                f"inject: value-in-padding needs padding, and this model's {shape.dimension} coordinates fill their "
                "rows"
            )

    def _draft(self, verified: VerifiedRound, update: Units) -> Draft:
        if not self._active():
            return super()._draft(verified, update)
        draft = super()._draft(verified, np.zeros_like(update))
        return self._recommit_cell(draft, -1, self._pinned.policy.update.norm_bound - 1)


# ---- the ciphertext ----


class WrongCiphertext(ProvesAnything):
    """Encrypts one more than it committed to in the first coordinate. Nothing shows that but a proof of encryption."""

    def _encrypt(self, verified: VerifiedRound, draft: Draft) -> bytes:
        ciphertext = super()._encrypt(verified, draft)
        if not self._active():
            return ciphertext
        residues = self._residues(ciphertext).copy()
        residues[0] += 1
        return self._pack(residues)


class QuotientOutOfRange(WrongCiphertext):
    """As above, and its quotients are those with which every equation holds modulo the group's order. They are nearly
    as large as that: what the proof carries of them is the largest that its bytes can."""

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        if pinned.argument.encryption is None:
            raise Misuse(
                "inject: quotient-out-of-range needs the proof of encryption, and the policy does without; set "
                "update.encryption_proof"
            )

    def _projected(self, draft: Draft, context: bytes, encrypted: Encrypted | None) -> Projected:
        projected = super()._projected(draft, context, encrypted)
        limit = 2 ** (8 * self._pinned.argument.quotient_width - 1) - 1
        quotients = (max(-limit, min(limit, value)) for value in field_quotients(projected))
        return replace(projected, quotients=tuple(quotients))


def field_quotients(projected: Projected) -> list[int]:
    """Quotients of a ciphertext whose first residue is one too large, exact modulo ORDER; of least magnitude."""
    relation, found = projected.relation, list[int]()
    if relation is None:
        return found
    modulus, cells = relation.lattice.modulus, relation.cells
    for quotient, row, column in zip(projected.quotients, cells.rows, cells.columns, strict=True):
        remainder = -int(row[0]) * int(column[0]) % modulus
        value = (quotient + remainder * pow(modulus, -1, ORDER)) % ORDER
        found.append(value - ORDER if 2 * value > ORDER else value)
    return found


class OversizedError(ProvesAnything):
    """The error of the first coordinate is near a multiple of q / T. Committed to and encrypted alike, it is short
    enough for any coarse proof of shortness, and looks like an honest error and another message: see
    `shifting_error`."""

    def _draft(self, verified: VerifiedRound, update: Units) -> Draft:
        draft = super()._draft(verified, update)
        if not self._active():
            return draft
        return self._recommit_noise(draft, ERROR, int(draft.errors[0]) + self._shift()[0])

    def _encrypt(self, verified: VerifiedRound, draft: Draft) -> bytes:
        ciphertext = super()._encrypt(verified, draft)
        if not self._active():
            return ciphertext
        residues = self._residues(ciphertext).copy()
        residues[0] += self._shift()[1]
        return self._pack(residues)

    def _shift(self) -> tuple[int, int]:
        return shifting_error(self._pinned.lattice, max(1, message_bound(self._pinned.policy.update) // 2))


def shifting_error(lattice: LatticeParameters, bound: int) -> tuple[int, int]:
    """(error, shift) with T error = shift modulo q and |shift| <= bound: the least such error beyond the honest ones.

    bound: at least 1. Who decrypts finds an honest error, and a message that is off by the shift.
    """
    modulus, scale = lattice.modulus, lattice.plaintext_scale
    nearest = ((multiple * modulus + scale // 2) // scale for multiple in count(1))
    shifts = ((error, (scale * error + modulus // 2) % modulus - modulus // 2) for error in nearest)
    return next((error, shift) for error, shift in shifts if abs(shift) <= bound)


class MixedUpChunks(ProvesAnything):
    """The residues of its ciphertext, in the order of other chunks."""

    def _encrypt(self, verified: VerifiedRound, draft: Draft) -> bytes:
        ciphertext = super()._encrypt(verified, draft)
        if not self._active():
            return ciphertext
        return self._pack(mixed_up(self._residues(ciphertext), self._pinned.lattice.degree))


def mixed_up(residues: Residues, degree: int) -> Residues:
    """The first two chunks exchanged: ring elements of N residues where two are full, else the halves."""
    width = degree if len(residues) >= 2 * degree else len(residues) // 2
    return np.concatenate([residues[width : 2 * width], residues[:width], residues[2 * width :]])


# ---- the key and the shares ----


class OversizedKey(ProvesAnything):
    """One coefficient of the key is the largest digit that can be shared. Committed, encrypted and shared alike; in the
    sum it overflows into the next digit."""

    def _draft(self, verified: VerifiedRound, update: Units) -> Draft:
        draft = super()._draft(verified, update)
        if not self._active():
            return draft
        key = draft.key.copy()
        key[0] = DIGIT_LIMIT - 1
        return self._recommit_noise(replace(draft, key=key), KEY, DIGIT_LIMIT - 1)


class WrongKey(ProvesAnything):
    """Shares a key that differs by one in one coefficient from the one that it used and committed to."""

    def _share(self, verified: VerifiedRound, draft: Draft) -> tuple[bytes, tuple[bytes, ...]]:
        if not self._active():
            return super()._share(verified, draft)
        other = draft.key.copy()
        other[0] += 1 if other[0] < 0 else -1
        return super()._share(verified, replace(draft, key=other))


class WrongBlinding(ProvesAnything):
    """Shares another blinding than that of its first row, and proves as if it were that: the shares open to what the
    proof says, the row does not."""

    def _draft(self, verified: VerifiedRound, update: Units) -> Draft:
        draft = super()._draft(verified, update)
        if not self._active():
            return draft
        made = draft.committed
        lying = _OtherBlindings(
            made.tables, made.row_blindings, made.commitments, made.range_commitments, made.encryption_commitments
        )
        return replace(draft, committed=lying)


class _OtherBlindings(CommittedUpdate):
    """Commitments whose maker lies about the first blinding wherever it is asked for what is shared."""

    @property
    def blindings(self) -> tuple[int, ...]:
        first, *others = super().blindings
        return ((first + 1) % ORDER, *others)


FORGERS: dict[str, type[LyingClient]] = {
    "oversized-update": OversizedUpdate,
    "out-of-range": OutOfRange,
    "value-in-padding": ValueInPadding,
    "wrong-ciphertext": WrongCiphertext,
    "quotient-out-of-range": QuotientOutOfRange,
    "oversized-error": OversizedError,
    "mixed-up-chunks": MixedUpChunks,
    "oversized-key": OversizedKey,
    "wrong-key": WrongKey,
    "wrong-blinding": WrongBlinding,
}
