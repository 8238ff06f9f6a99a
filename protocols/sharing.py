"""Verifiable sharing of a client's secret among the trustees (spec 7).

Shamir's sharing over the scalar field with Pedersen's commitments to the polynomials (Pedersen 1991), for a vector at
once. t threshold, m trustees, x a trustee's number from 1 to m. The secret is the constant coefficient c_0 of a vector
of polynomials c_0 + c_1 X + ... of degree t - 1, hidden by one more, b_0 + b_1 X + ...:

    E_l = sum_i c_l[i] G_i + b_l H          share of x: (c(x), b(x))          Com(c(x); b(x)) = sum_l x^l E_l

Everything is linear: sums of shares verify against sums of commitments and reconstruct the sum of secrets.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proofs.challenger import WEIGHT_SIZE, weights_of
from proofs.curve import ORDER, POINT_SIZE, SCALAR_SIZE
from proofs.domains import SHARE_BATCH
from proofs.engine import Engine, Points
from proofs.errors import Malformed, Misuse, Rejected
from proofs.machine.workers import map_items
from proofs.randomness import Randomness, uniform_scalars
from protocols.hashes import shake_256
from protocols.reasons import SHARE_COMMITMENTS, SHARE_OPENING

DIGIT_BITS = 24
DIGITS = 10  # of a key in one scalar: 240 bits
DIGIT_LIMIT = 2 ** (DIGIT_BITS - 1)  # |digit| stays below


@dataclass(frozen=True)
class Share:
    """One trustee's point: a scalar for every scalar of the secret, and the blinding's."""

    values: tuple[int, ...]
    blinding: int

    def encode(self) -> bytes:
        """values, then blinding: 32 bytes each, big-endian."""
        return b"".join(value.to_bytes(SCALAR_SIZE, "big") for value in (*self.values, self.blinding))

    @classmethod
    def decode(cls, data: bytes, length: int) -> Share:
        """A share of a secret of `length` scalars; Malformed for another size or a scalar that is not below ORDER."""
        if len(data) != share_size(length):
            raise Malformed("share", f"{share_size(length)} bytes", f"{len(data)}")
        scalars = [int.from_bytes(data[i : i + SCALAR_SIZE], "big") for i in range(0, len(data), SCALAR_SIZE)]
        for index, scalar in enumerate(scalars):
            if scalar >= ORDER:
                raise Malformed(f"share scalar {index}", "a value below the group order", f"{scalar:#x}")
        return cls(tuple(scalars[:-1]), scalars[-1])


def share_size(length: int) -> int:
    """Bytes of an encoded share of a secret of `length` scalars."""
    return (length + 1) * SCALAR_SIZE


def secret_length(degree: int, data_rows: int) -> int:
    """Scalars a client shares: its key's, ten coefficients each, then the blinding of every data row."""
    return -(-degree // DIGITS) + data_rows


def pack_key(key: NDArray[np.int32]) -> list[int]:
    """ceil(N / 10) scalars: sum_i key[10 s + i] 2^(24 i) mod ORDER. Misuse for a coefficient of 2^23 or more."""
    biased = key.astype(np.int64) + DIGIT_LIMIT  # digits of one sign lie side by side in bytes
    if len(biased) and (biased.min() <= 0 or biased.max() >= 2 * DIGIT_LIMIT):
        raise Misuse(f"key coefficients must be below {DIGIT_LIMIT} in magnitude")
    width = DIGIT_BITS // 8
    data = biased.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    groups = (data[start : start + DIGITS * width] for start in range(0, len(data), DIGITS * width))
    return [(int.from_bytes(group, "little") - _bias(len(group) // width)) % ORDER for group in groups]


def unpack_key_sum(scalars: Sequence[int], degree: int, bound: int) -> NDArray[np.int64]:
    """The N coefficients of a sum of packed keys, int64; `bound` is count * tail, below 2^23.

    Raises Rejected("key-sum") where a scalar is no such sum: a digit beyond the bound, or digits beyond the tenth or
    beyond coefficient N. There is one decoding at most. Misuse for another number of scalars.
    """
    if len(scalars) != -(-degree // DIGITS) or not 0 <= bound < DIGIT_LIMIT:
        raise Misuse(f"{len(scalars)} scalars and bound {bound} do not fit {degree} coefficients of 24 bits")
    digits: list[int] = []
    for index, scalar in enumerate(scalars):
        digits += _signed_digits(scalar, min(DIGITS, degree - len(digits)), bound, index)
    return np.array(digits, dtype=np.int64)


def share_secret(
    engine: Engine, secret: Sequence[int], trustees: int, threshold: int, rand: Randomness, blinding: int | None = None
) -> tuple[bytes, list[Share]]:
    """(commitments E_0 .. E_{t-1}, 33 bytes each; the shares of x = 1 .. m) of a vector of scalars in [0, ORDER).

    blinding: of E_0, uniform and fresh, for a caller who proves something about what E_0 commits to.
    """
    if not 1 <= threshold <= trustees:
        raise Misuse(f"a threshold of {threshold} does not fit {trustees} trustees")
    if not secret or not all(0 <= value < ORDER for value in secret):
        raise Misuse("a secret is a non-empty vector of scalars below the group order")
    coefficients = [list(secret), *(uniform_scalars(rand, len(secret)) for _ in range(threshold - 1))]
    blindings = uniform_scalars(rand, threshold)
    if blinding is not None:
        blindings[0] = blinding
    pairs = zip(coefficients, blindings, strict=True)
    commitments = b"".join(map_items(lambda pair: engine.commit(*pair), pairs))
    return commitments, [_evaluate(coefficients, blindings, x) for x in range(1, trustees + 1)]


def decode_commitments(engine: Engine, data: bytes, threshold: int) -> Points:
    """The points E_0 .. E_{t-1}; raises Rejected("share-commitments") unless `data` is exactly t of them."""
    if len(data) != threshold * POINT_SIZE:
        size = threshold * POINT_SIZE
        raise Rejected(SHARE_COMMITMENTS, f"{threshold} points in {size} bytes", f"{len(data)} bytes")
    try:
        return engine.decode_points(data)
    except Malformed as error:
        raise Rejected(SHARE_COMMITMENTS, f"{threshold} points ({error.expected})", error.found) from None


def verify_share(engine: Engine, x: int, share: Share, commitments: bytes, threshold: int) -> None:
    """Raise Rejected unless `share` is trustee x's under exactly t `commitments`.

    "share-commitments": another number of bytes, or no points; "share-opening": the equation fails.
    """
    (verdict,) = verify_shares(engine, x, [share], [commitments], threshold)
    if verdict is not None:
        raise verdict


def verify_shares(
    engine: Engine, x: int, shares: Sequence[Share], commitments: Sequence[bytes], threshold: int
) -> list[Rejected | None]:
    """Trustee x's verdict on every client's share, the same as `verify_share` gives one by one.

    One combination for all, with 128-bit weights from a hash of all of them; where it fails, halves are tried apart.
    All shares have one length (Misuse otherwise): they were decoded for it.
    """
    _check_shares(x, shares)
    decoded = [_decoded(engine, data, threshold) for data in commitments]
    verdicts = [points if isinstance(points, Rejected) else None for points in decoded]
    claims = [
        _Claim(index, share, points)
        for index, (share, points) in enumerate(zip(shares, decoded, strict=True))
        if not isinstance(points, Rejected)
    ]
    weights = _weights(x, shares, commitments)
    for index in _offenders(claims, lambda part: _all_open(engine, x, part, weights)):
        verdicts[index] = Rejected(SHARE_OPENING, "a share that opens its commitments", "one that does not")
    return verdicts


def sum_shares(shares: Iterable[Share]) -> Share:
    """The share of the sum of the secrets; Misuse for no share or for different lengths."""
    columns = [(*share.values, share.blinding) for share in shares]
    if len({len(column) for column in columns}) != 1:
        raise Misuse("a sum needs shares, and of one length")
    *values, blinding = (sum(column) % ORDER for column in zip(*columns, strict=True))
    return Share(tuple(values), blinding)


def verify_summed_share(engine: Engine, x: int, share: Share, commitments: Sequence[bytes], threshold: int) -> None:
    """Raise Rejected("summed-share") unless `share` is trustee x's of the sum of all that `commitments` commit to."""
    verdict = verify_summed_shares(engine, {x: share}, commitments, threshold)[x]
    if verdict is not None:
        raise verdict


def verify_summed_shares(
    engine: Engine, shares: Mapping[int, Share], commitments: Sequence[bytes], threshold: int
) -> dict[int, Rejected | None]:
    """Verdicts on the summed shares of several trustees (by x) over one cohort, whose points are decoded once.

    Raises Rejected("share-commitments") where a client's commitments are not t points.
    """
    if not commitments:
        raise Misuse("a summed share needs the commitments of its cohort")
    parts = [decode_commitments(engine, data, threshold) for data in commitments]
    cohort = engine.concatenate(parts)
    return {x: _summed_verdict(engine, x, share, cohort, len(parts), threshold) for x, share in shares.items()}


def reconstruct(points: Mapping[int, Share]) -> list[int]:
    """The secret from the shares of t (or more) trustees, by x: Lagrange interpolation at 0.

    Any t verified shares give the same vector; fewer give one that means nothing. Misuse for no share, x outside
    1 .. ORDER - 1, or different lengths.
    """
    if not points or len({len(share.values) for share in points.values()}) != 1:
        raise Misuse("reconstruction needs shares, and of one length")
    weights = _lagrange_at_zero(list(points))
    columns = zip(*(share.values for share in points.values()), strict=True)
    return [sum(w * value for w, value in zip(weights, column, strict=True)) % ORDER for column in columns]


@dataclass(frozen=True)
class _Claim:
    """A client's place in the batch, its share and its decoded commitments."""

    index: int
    share: Share
    points: Points


def _evaluate(coefficients: Sequence[Sequence[int]], blindings: Sequence[int], x: int) -> Share:
    powers = _powers(x, len(blindings))
    values = (sum(map(operator.mul, column, powers)) % ORDER for column in zip(*coefficients, strict=True))
    return Share(tuple(values), sum(map(operator.mul, blindings, powers)) % ORDER)


def _powers(x: int, count: int) -> list[int]:
    return [pow(x, exponent, ORDER) for exponent in range(count)]


def _check_shares(x: int, shares: Sequence[Share]) -> None:
    if not 1 <= x < ORDER:
        raise Misuse(f"a trustee's number is at least 1, not {x}")
    if len({len(share.values) for share in shares}) > 1:
        raise Misuse("all shares of a batch have one length")


def _decoded(engine: Engine, data: bytes, threshold: int) -> Points | Rejected:
    try:
        return decode_commitments(engine, data, threshold)
    except Rejected as error:
        return error


def _weights(x: int, shares: Sequence[Share], commitments: Sequence[bytes]) -> list[int]:
    """128 bits a client, from a hash of everything in the batch; every part is preceded by its length."""
    stream = shake_256(SHARE_BATCH + x.to_bytes(SCALAR_SIZE, "big") + len(shares).to_bytes(8, "big"))
    for share, data in zip(shares, commitments, strict=True):
        for part in (share.encode(), data):
            stream.update(len(part).to_bytes(8, "big") + part)
    return weights_of(stream.digest(WEIGHT_SIZE * len(shares)))


def _all_open(engine: Engine, x: int, claims: Sequence[_Claim], weights: Sequence[int]) -> bool:
    """Whether sum_i w_i (sum_l x^l E_il - Com(share_i)) is the identity."""
    powers = _powers(x, engine.point_count(claims[0].points))
    own = [weights[claim.index] for claim in claims]
    scalars = [weight * power % ORDER for weight in own for power in powers]
    columns = zip(*((*claim.share.values, claim.share.blinding) for claim in claims), strict=True)
    *generators, blinding = (
        -sum(weight * value for weight, value in zip(own, column, strict=True)) % ORDER for column in columns
    )
    return engine.combination_is_zero(
        engine.concatenate([claim.points for claim in claims]), scalars, generators, blinding
    )


def _offenders(claims: Sequence[_Claim], holds: Callable[[Sequence[_Claim]], bool]) -> list[int]:
    """Indices of the claims that do not hold, by bisection."""
    if not claims or holds(claims):
        return []
    if len(claims) == 1:
        return [claims[0].index]
    middle = len(claims) // 2
    return _offenders(claims[:middle], holds) + _offenders(claims[middle:], holds)


def _summed_verdict(
    engine: Engine, x: int, share: Share, cohort: Points, clients: int, threshold: int
) -> Rejected | None:
    _check_shares(x, [share])
    generators = [-value % ORDER for value in share.values]
    if engine.combination_is_zero(cohort, _powers(x, threshold) * clients, generators, -share.blinding % ORDER):
        return None
    return Rejected(
        "summed-share", "a share that opens the cohort's summed commitments", f"trustee {x}'s, which does not"
    )


def _lagrange_at_zero(nodes: Sequence[int]) -> list[int]:
    if not all(1 <= node < ORDER for node in nodes):
        raise Misuse(f"trustees' numbers are at least 1, not {list(nodes)}")
    weights = []
    for x in nodes:
        weight = 1
        for other in nodes:
            if other != x:
                weight = weight * other * pow(other - x, -1, ORDER) % ORDER
        weights.append(weight)
    return weights


def _bias(count: int) -> int:
    """DIGIT_LIMIT in each of `count` digits."""
    return sum(DIGIT_LIMIT << (DIGIT_BITS * position) for position in range(count))


def _signed_digits(scalar: int, count: int, bound: int, index: int) -> list[int]:
    """`count` digits in [-bound, bound], least significant first, whose value is `scalar` modulo ORDER."""
    rest = scalar - ORDER if 2 * scalar > ORDER else scalar
    digits = []
    for _ in range(count):
        digit = (rest + DIGIT_LIMIT) % (2 * DIGIT_LIMIT) - DIGIT_LIMIT
        digits.append(digit)
        rest = (rest - digit) >> DIGIT_BITS
    if rest != 0 or max(map(abs, digits)) > bound:
        raise Rejected(
            "key-sum", f"{count} digits of at most {bound} in magnitude", f"another number in scalar {index}"
        )
    return digits
