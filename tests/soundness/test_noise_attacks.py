"""Cheating over noise for privacy: none, too much of it in a group or in all, a larger update, other signs.

The prover takes the honest prover's steps over tables in which as much is in order as can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from proofs.decompositions import range_roots
from proofs.engine import Engine, Table
from proofs.noise_witness import CommittedNoise, CommittedTable, SignedNoise
from proofs.privacy_noise import NoiseBounds, NoiseSigns, noise_signs
from proofs.randomness import uniform_scalars
from proofs.relations.privacy_noise import PRIVACY_TABLES, PrivacyNoise
from proofs.squares import four_squares
from proofs.verifier import Claim, verify_batch
from tests.proofs.arguments import (
    NOISED_RING,
    SIGN_CONTEXT,
    Honest,
    WeakParameters,
    altered,
    honest,
    judge,
    name_of,
    native,
    pruned,
    reference,
)
from tests.seeded import seeded
from tests.soundness.forgery import another_point, forge_tables
from tests.soundness.test_tampering import (
    ENCRYPTION_TAMPERS,
    TAMPERS,
    refused_once_any_evaluation_or_row_is_another,
    refused_once_tampered,
)

PLAIN = WeakParameters(20, 50, 6, privacy_noise=NoiseBounds(64, 500, 5000))  # two groups of 16 cells, 12 of padding
RANGED = replace(PLAIN, coordinate_bound=7)
FULL = WeakParameters(40, 500, 4, 100, (), NOISED_RING, privacy_noise=NoiseBounds(900, 10, 10**6))
CELLS = 32
ENGINES = pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])
Cells = dict[int, int]
HONEST: Cells = {0: 20, 3: -10, 17: 7, 25: 9}  # energy 630; a cell of the padding among them


@dataclass(frozen=True)
class Lie:
    """Noise and update, by cell; what the message is beside u + s n; squares that are other than they should be."""

    noise: Cells = field(default_factory=lambda: dict(HONEST))
    update: Cells = field(default_factory=dict)
    message: Callable[[NoiseSigns], Cells] = lambda _: {}
    slack: dict[int, Sequence[int]] = field(default_factory=dict)
    energy: Sequence[int] | None = None
    ranges: Cells = field(default_factory=dict)
    signs_of: bytes | None = None


def squares(value: int) -> tuple[int, int, int, int]:
    """Of what is left; of less than nothing zeros, as there are none."""
    return four_squares(max(0, value), seeded(0))


def table_of(cells: Cells) -> Table:
    found = np.zeros(CELLS, dtype=np.int64)
    for cell, value in cells.items():
        found[cell] += value
    return found.reshape(2, 16)


def committed_noise(lie: Lie, rand: Callable[[int], bytes]) -> CommittedNoise:
    bounds = PLAIN.privacy_noise
    assert bounds is not None
    relation, noise = PrivacyNoise(PLAIN.shape, bounds), table_of(lie.noise)
    left = (bounds.group**2 - relation.groups.square_sums(noise)).reshape(-1)
    roots = np.array([lie.slack.get(group, squares(int(value))) for group, value in enumerate(left)])
    slack = relation.groups.slack_table(roots.reshape(2, 1, 4))
    total = int((noise**2).sum())
    energy = [*squares(total - bounds.floor), *squares(bounds.ceiling - total)] if lie.energy is None else lie.energy
    tables = (noise, slack, np.array([energy], dtype=np.int64))
    found = {}
    for name, table in zip(PRIVACY_TABLES, tables, strict=True):
        blindings = tuple(uniform_scalars(rand, len(table)))
        found[name] = CommittedTable(blindings, native().commit_rows(table, blindings))
    return CommittedNoise(tables, found)


def forged(lie: Lie, parameters: WeakParameters = PLAIN) -> Claim:
    rand = seeded(1)
    noise = committed_noise(lie, rand)
    real = noise_signs(parameters.shape, SIGN_CONTEXT, noise.rows)
    used = real if lie.signs_of is None else noise_signs(parameters.shape, lie.signs_of, noise.rows)
    message = table_of(lie.update) + used.times(noise.noise) + table_of(lie.message(real))
    update = message - real.times(noise.noise)  # as the verifier has it
    private = np.zeros((1, 16), dtype=np.int64)
    private[0, :4] = squares(50**2 - int((update**2).sum()))
    tables = [message, private]
    if parameters.coordinate_bound is not None:
        roots = np.zeros((3, CELLS), dtype=np.int64)
        for i, value in enumerate(np.abs(update.reshape(-1)).tolist()):
            bound = lie.ranges.get(i, 7 if i < 20 else 0)
            if value <= bound:
                roots[:, i] = range_roots(np.array([value]), bound)[0]
        tables += list(roots.reshape(3, 2, 16))
    return forge_tables(native(), parameters, [*tables, *noise.tables], rand, None, SignedNoise(noise, real))


def turned(cell: int) -> Callable[[NoiseSigns], Cells]:
    """The noise of one cell with the other sign."""
    return lambda signs: {cell: -2 * int(signs.table.reshape(-1)[cell]) * HONEST[cell]}


EXCESS = {0: 64, 1: 1}  # 4097 in one group, and less than the ceiling
LIES: dict[str, tuple[Lie, str]] = {
    "honest": (Lie(), "accepted"),
    "honest update at its bound": (Lie(update={0: 30, 19: -40}), "accepted"),
    "update above its bound": (Lie(update={0: 30, 19: -40, 5: 1}), "linear-relation"),
    "update above its bound in a cell with noise": (Lie(update={0: 51}), "linear-relation"),
    "noise as an update": (Lie(message=lambda _: {0: 60}), "linear-relation"),
    "noise left out": (Lie(noise={}), "linear-relation"),
    "noise below the floor by one": (Lie(noise={0: 22, 1: 3, 2: 2, 3: 1, 4: 1}), "linear-relation"),
    "noise at the floor": (Lie(noise={0: 20, 1: 10}), "accepted"),
    "no noise, squares for it": (Lie(noise={}, energy=[0] * 4 + [70, 10, 0, 0]), "linear-relation"),
    "noise above the ceiling by one": (Lie(noise={0: 50, 17: 50, 18: 1}), "linear-relation"),
    "noise at the ceiling": (Lie(noise={0: 50, 17: 50}), "accepted"),
    "noise at the bound of its group": (Lie(noise={0: 64}), "accepted"),
    "noise above the bound of its group by one": (Lie(noise=EXCESS), "linear-relation"),
    "noise far above, in one cell": (Lie(noise={0: 70, 17: 71}), "linear-relation"),
    "slack of another group": (
        Lie(noise={0: 20, 17: 10}, slack={0: squares(3996), 1: squares(3696)}),
        "linear-relation",
    ),
    "squares above the floor for those below the ceiling": (
        Lie(energy=[*squares(4370), *squares(130)]),
        "linear-relation",
    ),
    "both sums of squares too large by one": (Lie(energy=[*squares(131), *squares(4371)]), "linear-relation"),
    "one too large, the other too small": (Lie(energy=[*squares(131), *squares(4369)]), "linear-relation"),
    "value on the padding": (Lie(update={25: 1}), "linear-relation"),
    "value on the padding without noise": (Lie(update={31: 1}), "linear-relation"),
    "noise on the padding left out of the message": (
        Lie(message=lambda signs: {25: -9 * int(signs.table[1, 9])}),
        "linear-relation",
    ),
    "noise on the padding turned": (Lie(message=turned(25)), "linear-relation"),
    "noise turned within the bound": (Lie(message=turned(3)), "accepted"),  # an update like any other, of norm 20
    "noise turned beyond the bound": (
        Lie(noise={0: 30, 3: 5}, message=lambda signs: {0: -60 * int(signs.table[0, 0])}),
        "linear-relation",
    ),
    "all signs of another context": (Lie(noise=dict.fromkeys(range(20), 11), signs_of=b"another"), "linear-relation"),
}


def lied(name: str) -> tuple[Claim, str]:
    lie, expected = LIES[name]
    return forged(lie), expected


@pytest.mark.parametrize("name", LIES)
def test_lies(name: str) -> None:
    claim, expected = lied(name)
    assert judge(native(), PLAIN, claim) == judge(reference(), PLAIN, claim) == expected


@pytest.mark.parametrize(
    ("update", "ranges", "expected"),
    [
        ({0: 7, 17: -7}, {}, "accepted"),  # both carry noise
        ({5: 7}, {}, "accepted"),
        ({0: 8}, {}, "linear-relation"),
        ({0: 8}, {0: 8}, "linear-relation"),
        ({5: -8}, {5: 8}, "linear-relation"),
        ({25: 1}, {25: 1}, "linear-relation"),
    ],
)
def test_coordinate_at_its_bound_and_beyond(update: Cells, ranges: Cells, expected: str) -> None:
    claim = forged(Lie(update=update, ranges=ranges), RANGED)
    assert judge(native(), RANGED, claim) == judge(reference(), RANGED, claim) == expected


# ---- the proof and its statement -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full() -> Honest:
    return honest(native(), FULL)


@ENGINES
@pytest.mark.parametrize("name", [*TAMPERS, *ENCRYPTION_TAMPERS])
def test_tampered_field(full: Honest, engine: Engine, name: str) -> None:
    """The manifest of the proof's fields, with noise for privacy."""
    refused_once_tampered(engine, full, name)


@ENGINES
def test_every_evaluation_and_row_counts(full: Honest, engine: Engine) -> None:
    assert len(FULL.layout.tables) == 10
    refused_once_any_evaluation_or_row_is_another(engine, full, "privacy-noise-commitments")


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 6])
def test_rows_of_another_length(full: Honest, rows: int) -> None:
    moved = altered(full.claim, privacy_noise_commitments=another_point() * rows)
    assert judge(native(), FULL, moved) == "privacy-noise-commitments-length"


def test_exchanged_rows_have_other_signs(full: Honest) -> None:
    rows = full.claim.rows["privacy-noise-commitments"]
    exchanged = altered(full.claim, privacy_noise_commitments=rows[33:66] + rows[:33] + rows[66:])
    own, other = (claim.signs(FULL) for claim in (full.claim, exchanged))
    assert own is not None
    assert other is not None
    assert (own.table != other.table).any()
    assert judge(native(), FULL, pruned(exchanged)) == "linear-relation"


@pytest.mark.parametrize("change", [{"group": 901}, {"floor": 11}, {"ceiling": 10**6 - 1}])
def test_other_bounds_than_the_provers(full: Honest, change: dict[str, int]) -> None:
    """They hold for this noise, too: the statement differs, and with it every challenge."""
    assert FULL.privacy_noise is not None
    other = replace(FULL, privacy_noise=replace(FULL.privacy_noise, **change))
    assert judge(native(), other, pruned(full.claim)) in ("linear-relation", "shortness")


def test_without_the_relation() -> None:
    """A proof for more, or for less, than is asked for."""
    plain = WeakParameters(20, 50, 6)
    more, less = honest(native(), PLAIN).claim, honest(native(), plain).claim
    verdicts = (
        judge(native(), plain, replace(more, sign_context=None)),
        judge(native(), PLAIN, replace(less, sign_context=b"")),
    )
    assert set(verdicts) == {"privacy-noise-commitments-length"}


def test_noise_of_another_client() -> None:
    own, other = (honest(native(), PLAIN, seed=seed).claim for seed in range(2))
    moved = altered(own, privacy_noise_commitments=other.rows["privacy-noise-commitments"])
    assert judge(native(), PLAIN, moved) == "linear-relation"


def test_batches_name_the_one_at_fault(full: Honest) -> None:
    made = [full, *(honest(native(), FULL, seed=seed) for seed in (1, 2))]
    claims = [each.claim for each in made]
    claims[1] = made[1].off_by(1)
    claims[2] = replace(made[2].claim, sign_context=b"another")
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), FULL, claims)]
    assert verdicts == ["accepted", "opening", "ciphertext-combination"]
