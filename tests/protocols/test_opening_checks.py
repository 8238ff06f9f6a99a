"""The weights under the opening of a sum depend on all that is compared, and a reconstructed key has its bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from proofs.curve import ORDER, POINT_SIZE
from proofs.engines import get_engine
from proofs.errors import Malformed, Rejected
from proofs.generators import generator
from proofs.randomness import uniform_scalars
from proofs.reference import points as curve
from protocols import sharing
from protocols.opening import check_opening, decode_blindings, decode_key, decode_plaintext, open_sum
from protocols.pinned import PinnedPolicy
from protocols.weights import Summands
from tests.seeded import seeded
from tests.simulator import Setting, make_policy
from tests.soundness.forgery import forgetting
from tests.soundness.lattices import short_solution

PINNED = PinnedPolicy.open(make_policy(Setting(dimension=80))[0])  # 5 data rows of 16
ENGINE = get_engine()
ROWS, COLUMNS = PINNED.argument.shape.data_rows, PINNED.argument.shape.columns
CLIENTS = 3


class Sum:
    """Committed updates of a few clients, and their sum with its blindings."""

    def __init__(self) -> None:
        rand, rng = seeded("sum"), np.random.default_rng(1)
        tables = [rng.integers(-50, 50, (ROWS + 1, COLUMNS)).astype(np.int64) for _ in range(CLIENTS)]
        blindings = [uniform_scalars(rand, ROWS + 1) for _ in tables]
        self.commitments = [ENGINE.commit_rows(table, each) for table, each in zip(tables, blindings, strict=True)]
        self.plaintext = np.sum([table[:ROWS].reshape(-1) for table in tables], axis=0, dtype=np.int64)
        self.blindings = [sum(column) % ORDER for column in zip(*(each[:ROWS] for each in blindings), strict=True)]


@pytest.fixture(scope="module")
def honest() -> Sum:
    return Sum()


def verdict(plaintext: Any, blindings: Any, commitments: list[bytes]) -> str:
    try:
        check_opening(ENGINE, PINNED, plaintext, blindings, commitments)
    except Rejected as failure:
        return failure.check
    return "accepted"


def forged_plaintext(honest: Sum, weights: list[int]) -> tuple[Any, Any, list[bytes]]:
    """An error of one unit in row 0, made up for by small ones in the other rows."""
    errors = [1, *short_solution(weights[1:], -weights[0] % ORDER, ORDER, 2**43)]
    plaintext = honest.plaintext.reshape(ROWS, COLUMNS).copy()
    plaintext[:, 3] += np.array(errors, dtype=np.int64)
    return plaintext.reshape(-1), honest.blindings, honest.commitments


def forged_blindings(honest: Sum, weights: list[int]) -> tuple[Any, Any, list[bytes]]:
    """Two blindings off by amounts that cancel."""
    first, second, *rest = honest.blindings
    return honest.plaintext, [(first + weights[1]) % ORDER, (second - weights[0]) % ORDER, *rest], honest.commitments


def forged_commitments(honest: Sum, weights: list[int]) -> tuple[Any, Any, list[bytes]]:
    """Two rows of one client moved by points that cancel."""
    first, *others = honest.commitments
    rows = [curve.decode(first[i : i + POINT_SIZE], 0) for i in range(0, len(first), POINT_SIZE)]
    moved = curve.from_affine(generator(3))
    rows[0] = curve.add(rows[0], moved)
    rows[1] = curve.add(rows[1], curve.combine([moved], [-weights[0] * pow(weights[1], -1, ORDER)]))
    return honest.plaintext, honest.blindings, [b"".join(curve.encode(row) for row in rows), *others]


FORGERIES = {"plaintext": forged_plaintext, "blindings": forged_blindings, "commitments": forged_commitments}


def test_honest_sum(honest: Sum) -> None:
    assert verdict(honest.plaintext, honest.blindings, honest.commitments) == "accepted"


@pytest.mark.parametrize("item", FORGERIES)
def test_rows_that_cancel_under_known_weights(honest: Sum, item: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knew the weights could open the sum to another one; absorbing the item keeps them from him."""
    with monkeypatch.context() as patch:
        patch.setattr("protocols.opening.Challenger", forgetting(item))
        weights = weights_without(honest, item)
        forged = FORGERIES[item](honest, weights)
        assert verdict(*forged) == "accepted"
    assert verdict(*forged) == "opening"


def weights_without(honest: Sum, item: str) -> list[int]:
    """The weights of an honest sum for a challenger that forgets this item: those of the forged one, too."""
    found: list[int] = []
    base = forgetting(item)

    class Recording(base):
        def weights(self, label: str, count: int) -> list[int]:
            found.extend(super().weights(label, count))
            return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("protocols.opening.Challenger", Recording)
        check_opening(ENGINE, PINNED, honest.plaintext, honest.blindings, honest.commitments)
    return found


@pytest.mark.parametrize("row", range(ROWS))
def test_every_row_is_compared(honest: Sum, row: int) -> None:
    """Even where nothing else is wrong."""
    plaintext = honest.plaintext.copy()
    plaintext[row * COLUMNS] += 1
    assert verdict(plaintext, honest.blindings, honest.commitments) == "opening"
    blindings = [value + (i == row) for i, value in enumerate(honest.blindings)]
    assert verdict(honest.plaintext, blindings, honest.commitments) == "opening"


def test_what_is_malformed_is_named(honest: Sum) -> None:
    for where, arguments in {
        "commitments": (honest.plaintext, honest.blindings, [honest.commitments[0][:-33]]),
        "opening": (honest.plaintext[:-1], honest.blindings, honest.commitments),
    }.items():
        with pytest.raises(Malformed) as excinfo:
            check_opening(ENGINE, PINNED, *arguments)
        assert excinfo.value.where == where
    for where, decode in {"key": decode_key, "plaintext": decode_plaintext, "blindings": decode_blindings}.items():
        with pytest.raises(Malformed) as excinfo:
            decode(PINNED, b"\x00")
        assert excinfo.value.where == where
    with pytest.raises(Malformed) as excinfo:
        decode_blindings(PINNED, b"\xff" * 32 * ROWS)
    assert excinfo.value.where == "blindings"


# ---- bounds of the key ----


def releases(key: np.ndarray) -> dict[str, sharing.Share]:
    """What trustees hold of a secret that is shared by constant polynomials."""
    secret = [scalar % ORDER for scalar in sharing.pack_key(key)] + [0] * ROWS
    names = [member.id for member in PINNED.policy.trustees[: PINNED.policy.threshold]]
    return {name: sharing.Share(tuple(secret), 0) for name in names}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("position", [0, 9, 4095])
def test_key_sum_at_its_bound(sign: int, position: int) -> None:
    """count E is a key that `count` clients can have; decryption then fails, as it is nobody's. One more is not."""
    bound = CLIENTS * PINNED.lattice.noise_bound
    ciphertext = np.random.default_rng(2).integers(0, PINNED.lattice.modulus, PINNED.cells, dtype=np.int64)
    for excess, checks in ((0, {"decryption-noise", "decryption-message", "padding"}), (1, {"key-sum"})):
        key = np.zeros(PINNED.lattice.degree, dtype=np.int32)
        key[position] = sign * (bound + excess)
        with pytest.raises(Rejected) as excinfo:
            open_sum(PINNED, bytes(32), releases(key), ciphertext, Summands(CLIENTS, CLIENTS))
        assert excinfo.value.check in checks
