"""Verifiable sharing: any t reconstruct, fewer do not determine, bad shares and commitments are named."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.errors import Malformed, Misuse, Rejected
from protocols import sharing
from protocols.sharing import Share

SCALAR = st.integers(0, ORDER - 1) | st.sampled_from([0, 1, ORDER - 1])


@pytest.fixture(scope="module")
def engine() -> Engine:
    return get_engine("native")


def source(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def shared(
    engine: Engine, *secrets: list[int], trustees: int = 4, threshold: int = 3
) -> list[tuple[bytes, list[Share]]]:
    return [sharing.share_secret(engine, s, trustees, threshold, source(i)) for i, s in enumerate(secrets)]


def tampered(share: Share, index: int = 0) -> Share:
    values = list(share.values)
    values[index] = (values[index] + 1) % ORDER
    return replace(share, values=tuple(values))


def checks(verdicts: list[Rejected | None]) -> list[str | None]:
    return [None if verdict is None else verdict.check for verdict in verdicts]


# ---- packing ---------------------------------------------------------------------------------------------------------
DIGIT = st.integers(-(2**23) + 1, 2**23 - 1) | st.sampled_from([-(2**23) + 1, 2**23 - 1, 0, -1])


@given(st.lists(DIGIT, min_size=1, max_size=40))
def test_packing_round_trips(key: list[int]) -> None:
    scalars = sharing.pack_key(np.array(key, dtype=np.int32))
    assert len(scalars) == -(-len(key) // 10)
    assert all(0 <= scalar < ORDER for scalar in scalars)
    assert sharing.unpack_key_sum(scalars, len(key), 2**23 - 1).tolist() == key


@given(st.lists(st.lists(st.integers(-86, 86), min_size=23, max_size=23), min_size=1, max_size=6))
def test_packing_is_additive(keys: list[list[int]]) -> None:
    packed = [sharing.pack_key(np.array(key, dtype=np.int32)) for key in keys]
    sums = [sum(column) % ORDER for column in zip(*packed, strict=True)]
    expected = [sum(column) for column in zip(*keys, strict=True)]
    assert sharing.unpack_key_sum(sums, 23, 86 * len(keys)).tolist() == expected


@given(st.lists(SCALAR, min_size=3, max_size=3))
def test_unpacking_has_one_spelling(scalars: list[int]) -> None:
    try:
        key = sharing.unpack_key_sum(scalars, 26, 2**23 - 1)
    except Rejected:
        return
    assert sharing.pack_key(key.astype(np.int32)) == scalars


@pytest.mark.parametrize(
    ("scalar", "degree", "bound"),
    [
        pytest.param(87, 10, 86, id="digit above the bound"),
        pytest.param(ORDER - 87, 10, 86, id="digit below the bound"),
        pytest.param(2**23, 10, 2**23 - 1, id="2^23 is no digit"),
        pytest.param(1 << 240, 10, 86, id="an eleventh digit"),
        pytest.param(1 << 72, 3, 86, id="a digit beyond the degree"),
        pytest.param(ORDER // 2, 10, 86, id="middle of the field"),
    ],
)
def test_other_scalars_are_no_key_sums(scalar: int, degree: int, bound: int) -> None:
    with pytest.raises(Rejected) as excinfo:
        sharing.unpack_key_sum([scalar], degree, bound)
    assert excinfo.value.check == "key-sum"


def test_misuse_of_packing() -> None:
    with pytest.raises(Misuse, match="below"):
        sharing.pack_key(np.array([2**23], dtype=np.int32))
    with pytest.raises(Misuse, match="do not fit"):
        sharing.unpack_key_sum([0, 0], 10, 86)
    with pytest.raises(Misuse, match="do not fit"):
        sharing.unpack_key_sum([0], 10, 2**23)


def test_sizes() -> None:
    assert sharing.secret_length(4096, 1024) == 410 + 1024
    assert sharing.share_size(3) == 128


# ---- encoding --------------------------------------------------------------------------------------------------------
@given(st.lists(SCALAR, min_size=1, max_size=6), SCALAR)
def test_shares_round_trip(values: list[int], blinding: int) -> None:
    share = Share(tuple(values), blinding)
    assert Share.decode(share.encode(), len(values)) == share


@given(st.binary(max_size=200), st.integers(0, 4))
def test_share_decoding_is_total(data: bytes, length: int) -> None:
    try:
        share = Share.decode(data, length)
    except Malformed:
        return
    assert share.encode() == data


@pytest.mark.parametrize("scalar", [ORDER, ORDER + 1, 2**256 - 1])
def test_non_canonical_scalar_is_malformed(scalar: int) -> None:
    """Attack: ORDER + s is s in the group, and would give one share two spellings."""
    data = bytes(32) + scalar.to_bytes(32, "big") + bytes(32)
    with pytest.raises(Malformed) as excinfo:
        Share.decode(data, 2)
    assert excinfo.value.where == "share scalar 1"


# ---- sharing ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["native", "reference"])
@pytest.mark.parametrize(("trustees", "threshold"), [(1, 1), (3, 3), (5, 4)])
def test_any_threshold_reconstructs(name: str, trustees: int, threshold: int) -> None:
    engine = get_engine(name)
    secret = [0, 1, ORDER - 1, 12345]
    commitments, shares = sharing.share_secret(engine, secret, trustees, threshold, source(1))
    assert len(commitments) == 33 * threshold
    assert len(shares) == trustees
    for x, share in enumerate(shares, start=1):
        sharing.verify_share(engine, x, share, commitments, threshold)
    for chosen in itertools.combinations(range(1, trustees + 1), threshold):
        assert sharing.reconstruct({x: shares[x - 1] for x in chosen}) == secret
    assert sharing.reconstruct(dict(enumerate(shares, start=1))) == secret


def test_fewer_shares_determine_nothing(engine: Engine) -> None:
    """For the shares of any t - 1 trustees and any secret there is a polynomial through them: all fit equally."""
    threshold, secret = 3, [7, 8]
    ((_, shares),) = shared(engine, secret, threshold=threshold)
    for chosen in itertools.combinations(range(1, 5), threshold - 1):
        assert sharing.reconstruct({x: shares[x - 1] for x in chosen}) != secret
        for other in ([0, 0], [ORDER - 1, 5]):
            missing = next(x for x in range(1, 5) if x not in chosen)
            completed = {x: shares[x - 1] for x in chosen}
            completed[missing] = solve(completed, missing, other)
            assert sharing.reconstruct(completed) == other


def solve(shares: dict[int, Share], x: int, secret: list[int]) -> Share:
    """The share at x that makes `shares` and it reconstruct `secret` (values only)."""
    zero = Share((0,) * len(secret), 0)
    unit = sharing.reconstruct({**dict.fromkeys(shares, zero), x: replace(zero, values=(1,) * len(secret))})
    have = sharing.reconstruct({**shares, x: zero})
    return Share(tuple((s - h) * pow(u, -1, ORDER) % ORDER for s, h, u in zip(secret, have, unit, strict=True)), 0)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(SCALAR, min_size=3, max_size=3), min_size=1, max_size=4))
def test_sums_verify_and_reconstruct(secrets: list[list[int]]) -> None:
    engine = get_engine("native")
    parts = shared(engine, *secrets)
    commitments = [c for c, _ in parts]
    sums = {x: sharing.sum_shares(shares[x - 1] for _, shares in parts) for x in range(1, 5)}
    assert sharing.verify_summed_shares(engine, sums, commitments, 3) == dict.fromkeys(sums)
    for x, share in sums.items():
        sharing.verify_summed_share(engine, x, share, commitments, 3)
    expected = [sum(column) % ORDER for column in zip(*secrets, strict=True)]
    assert sharing.reconstruct({x: sums[x] for x in (1, 2, 4)}) == expected


def test_a_whole_client_secret(engine: Engine) -> None:
    """Key and blindings of a small ring, over three clients, through the trustees and back."""
    rand = random.Random(5)
    keys = [np.array([rand.randint(-86, 86) for _ in range(16)], dtype=np.int32) for _ in range(3)]
    blindings = [[rand.randrange(ORDER) for _ in range(2)] for _ in keys]
    secrets = [sharing.pack_key(key) + rho for key, rho in zip(keys, blindings, strict=True)]
    parts = shared(engine, *secrets)
    releases = {x: sharing.sum_shares(shares[x - 1] for _, shares in parts) for x in (1, 3, 4)}
    opened = sharing.reconstruct(releases)
    assert sharing.unpack_key_sum(opened[:2], 16, 3 * 86).tolist() == sum(keys).tolist()
    assert opened[2:] == [sum(column) % ORDER for column in zip(*blindings, strict=True)]


# ---- offenders -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bad", [[], [0], [4], [1, 2], [0, 1, 2, 3, 4]])
def test_bad_shares_are_named(engine: Engine, bad: list[int]) -> None:
    parts = shared(engine, *[[i, i + 1] for i in range(5)])
    shares = [tampered(own[1]) if i in bad else own[1] for i, (_, own) in enumerate(parts)]
    verdicts = sharing.verify_shares(engine, 2, shares, [c for c, _ in parts], 3)
    assert checks(verdicts) == ["share-opening" if i in bad else None for i in range(5)]


def test_errors_that_cancel_in_a_plain_sum_are_named(engine: Engine) -> None:
    """Attack: two shares off by +1 and -1; without weights the batch would pass."""
    parts = shared(engine, [1, 2], [3, 4])
    shares = [own[0] for _, own in parts]
    shares = [tampered(shares[0]), replace(shares[1], values=((shares[1].values[0] - 1) % ORDER, shares[1].values[1]))]
    assert checks(sharing.verify_shares(engine, 1, shares, [c for c, _ in parts], 3)) == ["share-opening"] * 2


@pytest.mark.parametrize("item", ["value", "blinding"])
def test_errors_that_cancel_under_known_weights(engine: Engine, item: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: errors w_2 and -w_1 cancel for weights w_1, w_2 known beforehand; the real ones move with the shares."""
    parts = shared(engine, [1, 2], [3, 4])
    commitments, honest = [c for c, _ in parts], [own[0] for _, own in parts]
    weights = sharing._weights(1, honest, commitments)
    shares = [shifted(honest[0], item, weights[1]), shifted(honest[1], item, -weights[0])]
    assert checks(sharing.verify_shares(engine, 1, shares, commitments, 3)) == ["share-opening"] * 2
    monkeypatch.setattr(sharing, "_weights", lambda *_: weights)
    assert checks(sharing.verify_shares(engine, 1, shares, commitments, 3)) == [None, None]


def shifted(share: Share, item: str, step: int) -> Share:
    if item == "blinding":
        return replace(share, blinding=(share.blinding + step) % ORDER)
    return replace(share, values=((share.values[0] + step) % ORDER, *share.values[1:]))


def test_a_wrong_blinding_is_named(engine: Engine) -> None:
    ((commitments, shares),) = shared(engine, [1, 2])
    with pytest.raises(Rejected) as excinfo:
        sharing.verify_share(engine, 1, replace(shares[0], blinding=(shares[0].blinding + 1) % ORDER), commitments, 3)
    assert excinfo.value.check == "share-opening"


def test_share_good_for_one_trustee_and_bad_for_another(engine: Engine) -> None:
    """Attack: trustee 1 gets a right share and trustee 2 trustee 3's; each judges its own, so only one disputes."""
    ((commitments, shares),) = shared(engine, [1, 2])
    sharing.verify_share(engine, 1, shares[0], commitments, 3)
    with pytest.raises(Rejected) as excinfo:
        sharing.verify_share(engine, 2, shares[2], commitments, 3)
    assert excinfo.value.check == "share-opening"


def test_another_clients_commitments_do_not_open(engine: Engine) -> None:
    parts = shared(engine, [1, 2], [3, 4])
    shares, commitments = [own[0] for _, own in parts], [c for c, _ in parts]
    assert checks(sharing.verify_shares(engine, 1, shares, commitments[::-1], 3)) == ["share-opening"] * 2


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:-33], id="one too few: degree t - 2"),
        pytest.param(lambda data: data + data[:33], id="one too many: degree t"),
        pytest.param(lambda data: data[:-1], id="cut"),
        pytest.param(lambda data: b"\x04" + data[1:], id="bad prefix"),
        pytest.param(lambda data: b"\x00" * 33 + data[33:], id="identity"),
        pytest.param(lambda data: b"\x02" + b"\xff" * 32 + data[33:], id="not on the curve"),
    ],
)
def test_bad_commitments_are_named_and_harm_nobody_else(engine: Engine, forge: Callable[[bytes], bytes]) -> None:
    parts = shared(engine, [1, 2], [3, 4], [5, 6])
    commitments = [c for c, _ in parts]
    commitments[1] = forge(commitments[1])
    verdicts = sharing.verify_shares(engine, 1, [own[0] for _, own in parts], commitments, 3)
    assert checks(verdicts) == [None, "share-commitments", None]
    with pytest.raises(Rejected) as excinfo:
        sharing.verify_summed_share(engine, 1, parts[0][1][0], commitments, 3)
    assert excinfo.value.check == "share-commitments"


def test_a_wrong_release_is_named(engine: Engine) -> None:
    parts = shared(engine, [1, 2], [3, 4])
    sums = {x: sharing.sum_shares(shares[x - 1] for _, shares in parts) for x in (1, 2, 3)}
    sums[2] = tampered(sums[2], 1)
    verdicts = sharing.verify_summed_shares(engine, sums, [c for c, _ in parts], 3)
    assert [verdicts[1], verdicts[3]] == [None, None]
    assert verdicts[2] is not None
    assert verdicts[2].check == "summed-share"
    with pytest.raises(Rejected) as excinfo:
        sharing.verify_summed_share(engine, 1, parts[0][1][0], [c for c, _ in parts], 3)
    assert excinfo.value.check == "summed-share"


def test_a_release_over_another_cohort_is_refused(engine: Engine) -> None:
    """Attack: a trustee releases the sum without one client, which would isolate it by difference."""
    parts = shared(engine, [1, 2], [3, 4], [5, 6])
    fewer = sharing.sum_shares(shares[0] for _, shares in parts[:2])
    with pytest.raises(Rejected) as excinfo:
        sharing.verify_summed_share(engine, 1, fewer, [c for c, _ in parts], 3)
    assert excinfo.value.check == "summed-share"


def test_weights_bind_every_input(engine: Engine) -> None:
    ((commitments, shares),) = shared(engine, [1, 2])
    base = sharing._weights(1, [shares[0]], [commitments])
    assert base != sharing._weights(2, [shares[0]], [commitments])
    assert base != sharing._weights(1, [tampered(shares[0])], [commitments])
    assert base != sharing._weights(1, [shares[0]], [commitments[:-1] + b"\x00"])
    assert 0 < base[0] < 2**128


def test_no_shares_no_verdicts(engine: Engine) -> None:
    assert sharing.verify_shares(engine, 1, [], [], 3) == []


def test_misuse_is_named(engine: Engine) -> None:
    ((commitments, shares),) = shared(engine, [1, 2])
    with pytest.raises(Misuse, match="threshold"):
        sharing.share_secret(engine, [1], 3, 4, source(1))
    with pytest.raises(Misuse, match="threshold"):
        sharing.share_secret(engine, [1], 3, 0, source(1))
    with pytest.raises(Misuse, match="group order"):
        sharing.share_secret(engine, [ORDER], 3, 2, source(1))
    with pytest.raises(Misuse, match="non-empty"):
        sharing.share_secret(engine, [], 3, 2, source(1))
    with pytest.raises(Misuse, match="number"):
        sharing.verify_share(engine, 0, shares[0], commitments, 3)
    with pytest.raises(Misuse, match="one length"):
        sharing.verify_shares(engine, 1, [shares[0], Share((1,), 1)], [commitments] * 2, 3)
    with pytest.raises(Misuse, match="one length"):
        sharing.sum_shares([shares[0], Share((1,), 1)])
    with pytest.raises(Misuse, match="one length"):
        sharing.sum_shares([])
    with pytest.raises(Misuse, match="one length"):
        sharing.reconstruct({})
    with pytest.raises(Misuse, match="at least 1"):
        sharing.reconstruct({0: shares[0]})
    with pytest.raises(Misuse, match="cohort"):
        sharing.verify_summed_share(engine, 1, shares[0], [], 3)
