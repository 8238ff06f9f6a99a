"""Without the ciphertext everything is verified but that it encrypts the update.

The prover here makes the most of it: it names a hash of its choice, and sends the combinations that its tables need,
as it would with a ciphertext that encrypts them. So the encryption's relation never betrays it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from proofs.curve import ORDER
from proofs.encryption import EncryptionStatement
from proofs.engine import Table
from proofs.parameters import ArgumentParameters
from proofs.prover import Encrypted
from proofs.relations.noise import ERROR, ERROR_SLACK, KEY, KEY_SLACK
from proofs.relations.norm import PRIVATE, UPDATE
from proofs.relations.range import RANGE_TABLES
from proofs.squares import four_squares
from proofs.verifier import Claim, verify_batch
from proofs.witness import CommittedUpdate, commit_update, packed_key
from tests.proofs.arguments import (
    RING,
    WeakParameters,
    encryption_of,
    honest,
    judge,
    name_of,
    native,
    pruned,
    quotients_of,
    random_noise,
    reference,
    residues_of,
    ring_elements,
)
from tests.seeded import seeded
from tests.soundness.forgery import forge_tables

PARAMETERS = ArgumentParameters(40, 500, 360, 100, (), RING)  # 3 data rows of 16, the last one half filled
WEAK = WeakParameters(40, 500, 4, 100, (), RING)  # for the reference engine
UPDATE_VALUES = np.array([*range(-20, 20)])
PROMISED = bytes(range(32))  # the hash of no ciphertext that anybody has

Tables = dict[str, Table]
Change = Callable[[Tables], None]


def honest_tables(parameters: ArgumentParameters, update: np.ndarray = UPDATE_VALUES) -> Tables:
    noise = random_noise(parameters)
    committed = commit_update(native(), parameters, update.astype(np.int64), seeded(0), noise)
    names = (layout.name for layout in parameters.layout.tables)
    return {name: table.astype(np.int64) for name, table in zip(names, committed.tables, strict=True)}


def forged(
    change: Change = lambda tables: None,
    secret: Callable[[list[int]], list[int]] = lambda scalars: scalars,
    parameters: ArgumentParameters = PARAMETERS,
) -> Claim:
    """Tables with a change, E_0 over a secret with one, and combinations that suit the tables."""
    tables = honest_tables(parameters)
    change(tables)

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        elements, key = ring_elements(parameters), tables[KEY].reshape(-1)
        ciphertext = encryption_of(
            parameters, elements, key.tolist(), tables[ERROR].reshape(-1).tolist(), committed.message.tolist()
        )
        scalars = secret([*packed_key(key), *committed.blindings])
        share = native().commit([scalar % ORDER for scalar in scalars], 17)
        return Encrypted(EncryptionStatement(elements, ciphertext, PROMISED, share), 17)

    return pruned(forge_tables(native(), parameters, list(tables.values()), seeded(0), encrypt))


def refill(tables: Tables) -> None:
    """The private row as it must be for the update."""
    rest = PARAMETERS.norm_bound**2 - int((tables[UPDATE] ** 2).sum())
    tables[PRIVATE][0, :4] = four_squares(rest, seeded(0))


# ---- what is lost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_a_wrong_ciphertext_is_accepted_once_it_is_pruned(seed: int) -> None:
    """Exactly this is lost, and noticed as long as the ciphertext is there, by either engine."""
    claim = forged(parameters=WEAK)
    residues = np.random.default_rng(seed).integers(0, RING.modulus, WEAK.shape.data_cells)
    assert claim.encryption is not None
    there = replace(claim, encryption=replace(claim.encryption, ciphertext=residues))
    for engine in (native(), reference()):
        assert judge(engine, WEAK, claim) == "accepted"
        assert judge(engine, WEAK, there) == "ciphertext-combination"


def test_every_residue_counts_while_it_is_there() -> None:
    """An honest claim and each residue in turn, under the hash of the right ciphertext."""
    made = honest(native(), WEAK)
    assert judge(native(), WEAK, made.claim) == judge(native(), WEAK, pruned(made.claim)) == "accepted"
    assert made.claim.encryption is not None
    for x in range(WEAK.shape.data_cells):
        residues = residues_of(made.claim.encryption)
        residues[x] = (residues[x] + 1) % RING.modulus
        there = replace(made.claim, encryption=replace(made.claim.encryption, ciphertext=residues))
        assert judge(native(), WEAK, there) == "ciphertext-combination"


# ---- what is not ---------------------------------------------------------------------------------------------------


def too_long(tables: Tables) -> None:
    """Every coordinate at its bound: the norm is 632."""
    wider = replace(PARAMETERS, norm_bound=700)
    within = honest_tables(wider, np.full(40, 100))
    for name in (UPDATE, *RANGE_TABLES):
        tables[name][:] = within[name]
    tables[PRIVATE][:] = 0


def in_the_padding(tables: Tables) -> None:
    tables[UPDATE][2, 15] = 1
    refill(tables)


def coordinate_out_of_range(tables: Tables) -> None:
    tables[UPDATE][0, 0] = 101
    refill(tables)


def coordinate_in_the_place_of_a_smaller(tables: Tables) -> None:
    """Within its bound, without the squares that would show it."""
    tables[UPDATE][1, 3] += 1
    refill(tables)


def oversized_error(tables: Tables) -> None:
    tables[ERROR][1, 4] = 129
    tables[ERROR_SLACK][:] = 0


def group_of_errors_over_by_one(tables: Tables) -> None:
    tables[ERROR][0] = [64, 64, 64, 64, 1, *[0] * 11]
    tables[ERROR_SLACK][0, :4] = 0


def error_in_the_padding(tables: Tables) -> None:
    tables[ERROR][2, 15] = 2**20


def oversized_key_digit(tables: Tables) -> None:
    tables[KEY][0, 3] = 129
    tables[KEY_SLACK][:] = 0


@pytest.mark.parametrize(
    "change",
    [
        too_long,
        in_the_padding,
        coordinate_out_of_range,
        coordinate_in_the_place_of_a_smaller,
        oversized_error,
        group_of_errors_over_by_one,
        error_in_the_padding,
        oversized_key_digit,
    ],
)
def test_tables_out_of_bounds(change: Change) -> None:
    assert judge(native(), PARAMETERS, forged(change)) == "linear-relation"
    weak = forged(change, parameters=WEAK)
    assert judge(native(), WEAK, weak) == judge(reference(), WEAK, weak) == "linear-relation"


def test_the_same_tables_within_bounds() -> None:
    """What the forgeries above are but for their change."""

    def other_coordinate(tables: Tables) -> None:
        changed = honest_tables(PARAMETERS, np.array([-100, *UPDATE_VALUES[1:]]))
        for name in (UPDATE, PRIVATE, *RANGE_TABLES):
            tables[name][:] = changed[name]

    def largest_group(tables: Tables) -> None:
        group_of_errors_over_by_one(tables)
        tables[ERROR][0, 4] = 0

    for change in (lambda tables: None, refill, other_coordinate, largest_group):
        assert judge(native(), PARAMETERS, forged(change)) == "accepted"


def moved(index: int) -> Callable[[list[int]], list[int]]:
    return lambda scalars: [value + (i == index) for i, value in enumerate(scalars)]


@pytest.mark.parametrize("index", range(5))
def test_other_secret_under_the_share_commitment(index: int) -> None:
    """The packed key in two scalars, the blindings of three rows; the prover opens what it should have shared."""
    assert judge(native(), PARAMETERS, forged(secret=moved(index))) == "opening"


@pytest.mark.parametrize("index", [0, 1])
def test_other_key_under_the_share_commitment_and_opened(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """E_0 opens as it is: the packing of the committed key is another."""
    packed = packed_key
    monkeypatch.setattr("proofs.witness.packed_key", lambda key: moved(index)(packed(key)))
    assert judge(native(), PARAMETERS, forged(secret=moved(index))) == "linear-relation"


@pytest.mark.parametrize("row", range(3))
def test_other_blinding_under_the_share_commitment_and_opened(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """E_0 opens as it is: the rows of the update have other blindings."""
    blindings = CommittedUpdate.blindings.fget

    def lying(committed: CommittedUpdate) -> tuple[int, ...]:
        return tuple((value + (i == row)) % ORDER for i, value in enumerate(blindings(committed)))

    monkeypatch.setattr(CommittedUpdate, "blindings", property(lying))
    assert judge(native(), PARAMETERS, forged()) == "linear-relation"


def test_quotient_out_of_range() -> None:
    made = honest(native(), PARAMETERS)
    for value in (
        quotients_of(PARAMETERS).bound + 1,
        -quotients_of(PARAMETERS).bound - 1,
    ):
        claim = made.edited(quotients=(*made.proof.quotients[1:], value))
        assert judge(native(), PARAMETERS, pruned(claim)) == "quotient-range"


def test_another_context_or_statement() -> None:
    """The proof stays bound to what it was made for, the ciphertext's hash included."""
    claim = pruned(honest(native(), PARAMETERS).claim)
    assert claim.encryption is not None
    others = [
        replace(claim, context=b"another"),
        replace(claim, encryption=replace(claim.encryption, ciphertext_hash=PROMISED)),
        replace(claim, encryption=replace(claim.encryption, elements=ring_elements(PARAMETERS, 1))),
        replace(claim, encryption=replace(claim.encryption, share_commitment=native().commit([1], 2))),
    ]
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), PARAMETERS, [claim, *others])]
    assert verdicts == ["accepted", *["linear-relation"] * 4]
