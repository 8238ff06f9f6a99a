"""Clients that cheat over what they have to prove. Each takes the honest prover's steps, without its refusals, over
tables, a ciphertext or shares of which one thing is false: so nothing but the check of that one thing shows it.

N degree and q modulus of the ring, T plaintext scale, B norm bound, beta bound of a coordinate (spec 5 and 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from itertools import count

import numpy as np

from proofs.curve import ORDER
from proofs.decompositions import range_roots
from proofs.engine import Engine, Table
from proofs.errors import Misuse
from proofs.parameters import ArgumentParameters
from proofs.prover import Projected, complete, in_range, project
from proofs.randomness import Randomness
from proofs.ranges import CoordinateGroup
from proofs.relations.encryption import DrawnEncryption
from proofs.relations.noise import ERROR, KEY
from proofs.squares import four_squares
from proofs.witness import CommittedUpdate, witness_tables
from protocols.contexts import submission_context
from protocols.lattice.parameters import LatticeParameters
from protocols.messages import Submission
from protocols.parameters import message_bound
from protocols.pinned import PinnedPolicy
from protocols.rounds.submitting import (
    HONEST,
    Ciphertext,
    ClientRound,
    DrawnNoise,
    Parts,
    Secrets,
    Shared,
    Update,
    commit,
    commit_to,
    draw_noise,
    encode,
    encrypt,
    encrypted,
    pack,
    share,
)
from protocols.sharing import DIGIT_LIMIT
from protocols.summation import Residues
from protocols.weights import weight_of
from verifl.adversaries.clients import LyingClient

Commit = Callable[[Engine, ClientRound, Update, Randomness], Secrets]
Encode = Callable[[ClientRound, Update, DrawnNoise, Randomness], Sequence[Table]]
Encrypt = Callable[[ClientRound, Secrets], Ciphertext]
Prove = Callable[[Engine, ClientRound, Secrets, Parts, Submission, Randomness], bytes]


def committing_to(tables: Encode) -> Commit:
    """`commit` with other tables than `encode` makes."""

    def commit(engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:
        noise = draw_noise(engine, at, rand)
        return commit_to(engine, at, noise, tables(at, update, noise, rand), rand)

    return commit


def encrypt_anything(at: ClientRound, secrets: Secrets) -> Ciphertext:
    """Of any message: the honest client refuses one that no sum could be told from."""
    table, *others = secrets.committed.tables
    nothing = replace(secrets.committed, tables=(np.zeros_like(table), *others))
    zeros = encrypt(at, replace(secrets, committed=nothing))
    return pack(at, (zeros.residues + secrets.committed.message) % at.pinned.lattice.modulus)


def sending(changed: Callable[[ClientRound, Residues], Residues]) -> Encrypt:
    """A ciphertext of any message, and then what `changed` makes of its residues, modulo q."""

    def encrypt(at: ClientRound, secrets: Secrets) -> Ciphertext:
        residues = changed(at, encrypt_anything(at, secrets).residues)
        return pack(at, residues % at.pinned.lattice.modulus)

    return encrypt


def proving(changed: Callable[[ClientRound, Projected], Projected] = lambda _, projected: projected) -> Prove:
    """What is not so, as well as that can be done: the first stage again until projections and quotients can be sent,
    then the rest of the proof from what `changed` makes of it."""

    def prove(
        engine: Engine, at: ClientRound, secrets: Secrets, parts: Parts, message: Submission, rand: Randomness
    ) -> bytes:
        parameters, committed = at.argument, secrets.committed
        context, about = submission_context(message), encrypted(at, secrets, parts, message)
        projected = project(engine, parameters, committed, context, rand, about)
        while not in_range(parameters, projected):
            projected = project(engine, parameters, committed, context, rand, about)
        return complete(engine, parameters, committed, changed(at, projected), rand, about).encode(parameters)

    return prove


ANYTHING = replace(HONEST, encrypt=encrypt_anything, prove=proving())


class ProvesAnything(LyingClient):
    """A client that proves what is not so, as well as that can be done."""

    using = ANYTHING


# ---- the update ----


def _oversized(at: ClientRound, update: Update, noise: DrawnNoise, rand: Randomness) -> Sequence[Table]:
    table, private, *others = encode(at, update, noise, rand)
    table[0, 0] = 2 * at.norm_bound + signed_noise_of(at, noise)[0, 0]
    private[:] = 0
    return table, private, *others


class OversizedUpdate(ProvesAnything):
    """Twice the bound in the first coordinate. The private row, which should fill the norm up to it, is zero."""

    using = replace(ANYTHING, commit=committing_to(_oversized))


def signed_noise_of(at: ClientRound, noise: DrawnNoise) -> Table:
    """What the message is beside the update, (data_rows, C): noise for privacy with its signs, or zeros."""
    if noise.privacy is None:
        shape = at.argument.shape
        return np.zeros((shape.data_rows, shape.columns), dtype=np.int64)
    return noise.privacy.signs.times(noise.privacy.committed.noise)


def _alone(
    at: ClientRound, tables: Sequence[Table], noise: DrawnNoise, cell: int, value: int, rand: Randomness
) -> Sequence[Table]:
    """No update but `value`, at most w B, in one cell, and the private row that fills its norm up to that. A hidden
    weight stays where it is, and so does noise."""
    table, private, *others = tables
    weight = int(table.reshape(-1)[at.argument.dimension - 1])
    table[:], private[:] = signed_noise_of(at, noise), 0
    table.reshape(-1)[cell] += value
    norm = at.norm_bound**2
    if at.argument.hidden_weight is not None:
        table.reshape(-1)[at.argument.dimension - 1], norm = weight, norm * weight**2
    private[0, :4] = four_squares(norm - value**2, rand)
    return table, private, *others


def _nothing(at: ClientRound, update: Update) -> Update:
    """No update, of the same weight."""
    nothing = np.zeros_like(update)
    if at.argument.hidden_weight is not None:
        nothing[-1] = update[-1]
    return nothing


def _exceedable(argument: ArgumentParameters) -> CoordinateGroup:
    """The first coordinates whose bound one can exceed within the norm."""
    norm_bound = argument.weight * argument.norm_bound
    for segment in argument.segments:
        if segment.bound < norm_bound:
            return segment
    raise Misuse(f"inject: out-of-range needs a bound on coordinates below that on the norm, {norm_bound} units")


def _out_of_range(at: ClientRound, update: Update, noise: DrawnNoise, rand: Randomness) -> Sequence[Table]:
    segment, extreme = _exceedable(at.argument), _nothing(at, update)
    bound = segment.bound * (1 if at.argument.hidden_weight is None else int(update[-1]))
    extreme[segment.start] = bound
    return _alone(at, encode(at, extreme, noise, rand), noise, segment.start, bound + 1, rand)


class OutOfRange(ProvesAnything):
    """No update but beta + 1 in one coordinate. The norm is right, and the squares that should fill it up to beta are
    those of beta: for beta + 1 there are none."""

    using = replace(ANYTHING, commit=committing_to(_out_of_range))

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs a bound on coordinates below that on the norm."""
        if not pinned.argument.segments:
            raise Misuse(
                "inject: out-of-range needs a bound on coordinates, and the policy has none; set "
                "update.coordinate_bound (in the demonstration --coordinate-bound)"
            )
        _exceedable(pinned.argument)


def _in_padding(at: ClientRound, update: Update, noise: DrawnNoise, rand: Randomness) -> Sequence[Table]:
    tables = encode(at, _nothing(at, update), noise, rand)
    return _alone(at, tables, noise, -1, at.norm_bound - 1, rand)


class ValueInPadding(ProvesAnything):
    """No update at all, and nearly the whole norm in the last cell of the padding: the norm is right."""

    using = replace(ANYTHING, commit=committing_to(_in_padding))

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs cells that carry no coordinate."""
        shape = pinned.argument.shape
        if shape.data_cells == shape.dimension:
            raise Misuse(
                f"inject: value-in-padding needs padding, and this model's {shape.dimension} coordinates fill their "
                "rows"
            )


# ---- the ciphertext ----


def _one_more(_: ClientRound, residues: Residues) -> Residues:
    return np.concatenate([residues[:1] + 1, residues[1:]])


class WrongCiphertext(ProvesAnything):
    """Encrypts one more than it committed to in the first coordinate. Nothing shows that but a proof of encryption."""

    using = replace(ANYTHING, encrypt=sending(_one_more))


def _largest_quotients(at: ClientRound, projected: Projected) -> Projected:
    (integers,) = at.argument.quotients
    limit = 2 ** (8 * integers.width - 1) - 1
    quotients = (max(-limit, min(limit, value)) for value in field_quotients(projected))
    return replace(projected, quotients=tuple(quotients))


class QuotientOutOfRange(WrongCiphertext):
    """As above, and its quotients are those with which every equation holds modulo the group's order. They are nearly
    as large as that: what the proof carries of them is the largest that its bytes can."""

    using = replace(ANYTHING, encrypt=sending(_one_more), prove=proving(_largest_quotients))

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs the proof of encryption."""
        if pinned.argument.encryption is None:
            raise Misuse(
                "inject: quotient-out-of-range needs the proof of encryption, and the policy does without; set "
                "update.encryption_proof"
            )


def field_quotients(projected: Projected) -> list[int]:
    """Quotients of a ciphertext whose first residue is one too large, exact modulo ORDER; of least magnitude."""
    (drawn,) = (each for each in projected.drawn if isinstance(each, DrawnEncryption))
    modulus, found = drawn.relation.lattice.modulus, list[int]()
    for quotient, row, column in zip(projected.quotients, drawn.rows, drawn.columns, strict=True):
        remainder = -int(row[0]) * int(column[0]) % modulus
        value = (quotient + remainder * pow(modulus, -1, ORDER)) % ORDER
        found.append(value - ORDER if 2 * value > ORDER else value)
    return found


def _shift(at: ClientRound) -> tuple[int, int]:
    return shifting_error(at.pinned.lattice, max(1, weight_of(at.weight) * message_bound(at.pinned.policy.update) // 2))


def _with_noise(at: ClientRound, tables: Sequence[Table], name: str, value: int) -> Sequence[Table]:
    """`value` in the first cell of the table of errors or of the key; the slack stays as it was.

    Without a proof of encryption there are no such tables, and nothing changes.
    """
    layout = at.argument.layout
    if name in [table.name for table in layout.tables]:
        tables[layout.index(name)][0, 0] = value
    return tables


def _oversized_error(at: ClientRound, update: Update, noise: DrawnNoise, rand: Randomness) -> Sequence[Table]:
    return _with_noise(at, encode(at, update, noise, rand), ERROR, int(noise.errors[0]) + _shift(at)[0])


def _shifted(at: ClientRound, residues: Residues) -> Residues:
    return np.concatenate([residues[:1] + _shift(at)[1], residues[1:]])


class OversizedError(ProvesAnything):
    """The error of the first coordinate is near a multiple of q / T. Committed to and encrypted alike, it is short
    enough for any coarse proof of shortness, and looks like an honest error and another message: see
    `shifting_error`."""

    using = replace(ANYTHING, commit=committing_to(_oversized_error), encrypt=sending(_shifted))

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs errors."""
        if not pinned.lattice.has_errors:
            raise Misuse(
                "inject: oversized-error needs errors of the encryption, and in this policy noise for privacy takes "
                "their place; noise-beyond-group is the kind for that"
            )


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

    using = replace(ANYTHING, encrypt=sending(lambda at, residues: mixed_up(residues, at.pinned.lattice.degree)))


def mixed_up(residues: Residues, degree: int) -> Residues:
    """The first two chunks exchanged: ring elements of N residues where two are full, else the halves."""
    width = degree if len(residues) >= 2 * degree else len(residues) // 2
    return np.concatenate([residues[width : 2 * width], residues[:width], residues[2 * width :]])


# ---- a hidden weight ----


def _hidden(pinned: PinnedPolicy) -> int:
    """W; raises Misuse where no weights are hidden."""
    if pinned.argument.hidden_weight is None:
        raise Misuse('inject: this needs private weights; set weights.kind = "private"')
    return pinned.argument.hidden_weight


def _full(argument: ArgumentParameters, update: Update, weight: int) -> Update:
    """The whole norm that the weight allows, in the first coordinate that may take it, or what it may take."""
    full = np.zeros_like(update)
    full[0], full[-1] = argument.norm_bound * weight, weight
    if argument.segments:
        segment = max(argument.segments[:-1], key=lambda each: each.bound)
        full[0] = 0
        full[segment.start] = min(segment.bound, argument.norm_bound) * weight
    return full


def _heavier(argument: ArgumentParameters) -> ArgumentParameters:
    """The parameters of a policy whose largest weight is one more."""
    return replace(argument, hidden_weight=(argument.hidden_weight or 0) + 1)


def _oversized_weight(at: ClientRound, update: Update, noise: DrawnNoise, rand: Randomness) -> Sequence[Table]:
    argument = _heavier(at.argument)
    full = _full(argument, update, argument.scale.largest)
    return witness_tables(argument, full, rand, noise if argument.encryption is not None else None)


class OversizedWeight(ProvesAnything):
    """A hidden weight of W + 1, and an update as long as that allows: all is in order for a largest weight of W + 1."""

    using = replace(ANYTHING, commit=committing_to(_oversized_weight))

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs private weights."""
        _hidden(pinned)
        _heavier(pinned.argument)


def _split_weight(at: ClientRound, update: Update, noise: DrawnNoise, rand: Randomness) -> Sequence[Table]:
    argument = at.argument
    full = _full(argument, update, argument.scale.largest)
    table, private, *others = witness_tables(argument, full, rand, noise if argument.encryption is not None else None)
    table.reshape(-1)[argument.dimension - 1] = 1
    own = argument.scale.largest**2 - 1
    private[0, :4] = four_squares(int((private**2).sum()) + own, rand)
    if argument.segments:
        (roots,) = range_roots(np.array([1]), argument.scale.largest)
        for root, each in zip(roots, others, strict=False):
            each.reshape(-1)[argument.dimension - 1] = root
    return table, private, *others


class SplitWeight(ProvesAnything):
    """A weight of 1 in what is summed, an update as long as one of weight W, and bounds of weight W to go with it."""

    using = replace(ANYTHING, commit=committing_to(_split_weight))

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs private weights, of more than 1."""
        if _hidden(pinned) == 1:
            raise Misuse("inject: split-weight needs a largest weight above 1; raise weights.largest")


# ---- the key and the shares ----


def _commit_to_oversized_key(engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:
    noise = draw_noise(engine, at, rand)
    tables = _with_noise(at, encode(at, update, noise, rand), KEY, DIGIT_LIMIT - 1)
    key = noise.key.copy()
    key[0] = DIGIT_LIMIT - 1
    return commit_to(engine, at, replace(noise, key=key), tables, rand)


class OversizedKey(ProvesAnything):
    """One coefficient of the key is the largest digit that can be shared. Committed, encrypted and shared alike; in the
    sum it overflows into the next digit."""

    using = replace(ANYTHING, commit=_commit_to_oversized_key)


def share_another_key(engine: Engine, at: ClientRound, secrets: Secrets, rand: Randomness) -> Shared:
    """Shares of a key that differs by one in one coefficient."""
    other = secrets.noise.key.copy()
    other[0] += 1 if other[0] < 0 else -1
    return share(engine, at, replace(secrets, noise=replace(secrets.noise, key=other)), rand)


class WrongKey(ProvesAnything):
    """Shares a key that differs by one in one coefficient from the one that it used and committed to."""

    using = replace(ANYTHING, share=share_another_key)


def _commit_with_another_blinding(engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:
    made = commit(engine, at, update, rand)
    values = {each.name: getattr(made.committed, each.name) for each in fields(made.committed)}
    return replace(made, committed=_OtherBlindings(**values))


class WrongBlinding(ProvesAnything):
    """Shares another blinding than that of its first row, and proves as if it were that: the shares open to what the
    proof says, the row does not."""

    using = replace(ANYTHING, commit=_commit_with_another_blinding)


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
    "oversized-weight": OversizedWeight,
    "split-weight": SplitWeight,
}
