"""Who is drawn for a round (spec 8.15), with ECVRF-EDWARDS25519-SHA512-TAI as RFC 9381 writes it."""

from __future__ import annotations

import hashlib

from tests.independent.case import Case, Entry, Round
from tests.independent.edwards import (
    NEUTRAL,
    ORDER,
    Extended,
    add,
    base,
    decode,
    double_multiple,
    encode,
    negate,
)
from tests.independent.encoding import frame, framed_hash
from tests.independent.noise_alone import training


def canonical(data: bytes) -> Extended | None:
    """RFC 8032, 5.1.3, strictly."""
    point = decode(data)
    return point if point is not None and encode(point) == data else None


def multiple(scalar: int, point: Extended) -> Extended:
    return double_multiple(scalar, point, 0, NEUTRAL)


def sha512(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()


def vrf_value(public_key: bytes, data: bytes, proof: bytes) -> bytes | None:
    """beta of pi (RFC 9381, 5.2 and 5.3); None for no proof."""
    gamma, key = canonical(proof[:32]), decode(public_key)
    c, s = int.from_bytes(proof[32:48], "little"), int.from_bytes(proof[48:], "little")
    if len(proof) != 80 or gamma is None or key is None or s >= ORDER:
        return None
    point = NEUTRAL
    for counter in range(256):
        tried = canonical(sha512(b"\x03\x01", public_key, data, bytes([counter]), b"\x00")[:32])
        if tried is not None and encode(multiple(8, tried)) != encode(NEUTRAL):
            point = multiple(8, tried)
            break
    u = double_multiple(s, base(), c, negate(key))
    v = double_multiple(s, point, c, negate(gamma))
    hashed = sha512(b"\x03\x02", public_key, *map(encode, (point, gamma, u, v)), b"\x00")
    if int.from_bytes(hashed[:16], "little") != c:
        return None
    return sha512(b"\x03\x03", encode(add(gamma, multiple(7, gamma))), b"\x00")


def policy_hash(case: Case) -> bytes:
    return hashlib.sha256(case.policy_file).digest()


def last_closing(case: Case, opened: Entry) -> int:
    """The index behind the last RoundClosed before a RoundOpen, behind Genesis where there is none."""
    return max((entry.index + 1 for entry in case.before(opened.index) if entry.type == "round-closed"), default=1)


def check_draw(case: Case, this: Round, opened: Entry) -> None:
    """I4.11."""
    k, repeats = case.policy["per_round"], opened.body["retry_of"] is not None
    values: dict[str, bytes] = {}
    keys = {} if k is None or repeats else case.memberships[last_closing(case, opened)].trustees()
    for entry in this.all("round-key"):
        name, proof = entry.body["trustee"], entry.body["draw"]
        if proof is None:
            continue
        data = frame("verifl/v1/draw", policy_hash(case), this.number)
        value = vrf_value(keys[name], data, proof) if name in keys else None
        if value is None:
            case.fail("I4", f"entry {entry.index}: draw")
        else:
            values[name] = value
    if repeats:
        others = [each.opened for each in case.rounds if each.number < this.number and each.opened is not None]
        expected = others[-1].body["draw"] if others else None
    elif k is None:
        expected = None
    elif len(values) <= case.policy["corrupt"]:
        case.fail("I4", f"entry {opened.index}: a draw by {len(values)} trustees")
        return
    else:
        names = [member["id"] for member in case.policy["trustees"]]
        parts = [part for name in names if name in values for part in (name, values[name])]
        expected = framed_hash("verifl/v1/draw-seed", policy_hash(case), this.number, len(values), *parts)
    if opened.body["draw"] != expected:
        case.fail("I4", f"entry {opened.index}: draw")


def drawn(case: Case, this: Round) -> set[str]:
    """To which clients that train a round is open, P apart (I5.8)."""
    opened, k = this.opened, case.policy["per_round"]
    if opened is None:
        return set()
    everybody = set(training(case.policy)) - case.spent_before(this.number)
    here = everybody - case.memberships[opened.index].revoked
    earlier = case.cohort_before(this.number, opened.body["model"])
    if earlier is not None:
        return here & earlier
    if k is None or opened.body["draw"] is None:
        return here
    before = everybody - case.memberships[last_closing(case, opened)].revoked
    order = sorted(before, key=lambda name: framed_hash("verifl/v1/draw-order", opened.body["draw"], name))
    chosen: set[str] = set()
    for place, name in enumerate(order):
        if place >= k and len(chosen) >= case.policy["min_cohort"]:
            break
        chosen |= {name} & here
    return chosen
