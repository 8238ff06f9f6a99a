"""The sum, its opening, and the model: I9 to I11 (spec 9.6)."""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Callable

from tests.independent.case import Case, Entry, Round
from tests.independent.curve import ORDER, Relation, decode_points, decode_scalars
from tests.independent.encoding import Body, Unreadable
from tests.independent.lattice import open_sum, pack_residues, unpack_residues
from tests.independent.log import Transcript, Unsound
from tests.independent.parameters import Numbers
from tests.independent.sharing import reconstruct
from tests.independent.steps import State, doubles, initial_state, packed, server_step


def check(case: Case) -> None:
    for this in case.rounds:
        aggregate, end = this.first("aggregate"), this.end
        if aggregate is not None:
            check_replay(case, this, aggregate)
            check_opening(case, this, aggregate)
        elif end is not None and end.type == "round-aborted" and end.body["reason"] == "opening-failed":
            check_failed_opening(case, this, end)
    check_lineage(case)


def numbers_of(data: bytes, code: str) -> list[int]:
    return list(struct.unpack(f"<{len(data) // struct.calcsize('<' + code)}{code}", data))


# --- I9 -----------------------------------------------------------------------------------------------


def summed_ciphertexts(case: Case, this: Round) -> list[int]:
    total = [0] * case.numbers.cells
    for entry in this.accepted:
        residues = unpack_residues(case.blob(entry, "ciphertext"), case.numbers)
        total = [(a + b) % case.numbers.q for a, b in zip(total, residues, strict=True)]
    return total


def check_replay(case: Case, this: Round, aggregate: Entry) -> None:
    """I9.1 and I9.2; what is derived is compared by its hash, so neither sum nor plaintext need be there."""
    body, numbers, opened = aggregate.body, case.numbers, this.opened
    pruned = any(case.pruned(entry.body["ciphertext"]) for entry in this.accepted)
    if pruned:
        case.report.skip(["I9"], "pruned")
    if opened is None:
        return None  # I4's
    if not this.accepted:
        return case.fail("I9", f"entry {aggregate.index}: no cohort to sum")
    try:
        if not pruned:
            total = summed_ciphertexts(case, this)
            if digest(pack_residues(total, numbers)) != body["ciphertext"]:
                case.fail("I9", f"entry {aggregate.index}: ciphertext")
        elif case.pruned(body["ciphertext"]):
            return None
        else:
            total = unpack_residues(case.blob(aggregate, "ciphertext"), numbers)
        key, count = key_of(case, this, aggregate), len(this.accepted)
        plaintext = open_sum(numbers, opened.body["seed"], key, total, count, this.weight)
        if digest(struct.pack(f"<{len(plaintext)}q", *plaintext)) != body["plaintext"]:
            case.fail("I9", f"entry {aggregate.index}: plaintext")
    except (Unsound, Unreadable) as fault:
        case.fail("I9", f"entry {aggregate.index}: {fault}")
    return None


def check_failed_opening(case: Case, this: Round, abort: Entry) -> None:
    """I9.3."""
    valid = [entry for entry in this.all("release") if entry.index in case.valid_releases]
    if this.opened is None or len(valid) < case.policy["threshold"]:
        return  # I4's, I8's
    try:
        if can_be_opened(case, this, this.opened, valid[: case.policy["threshold"]]):
            case.fail("I9", f"entry {abort.index}: the round opens")
    except Unsound as fault:
        case.fail("I9", f"entry {abort.index}: {fault}")


def can_be_opened(case: Case, this: Round, opened: Entry, releases: list[Entry]) -> bool:
    """Whether reconstruction, decryption and opening succeed with these releases."""
    shares = {case.points[entry.body["trustee"]]: case.blob(entry, "share") for entry in releases}
    count = len(this.accepted)
    try:
        key, blindings = reconstruct(shares, case.numbers, count)
        total = summed_ciphertexts(case, this)
        plaintext = open_sum(case.numbers, opened.body["seed"], key, total, count, this.weight)
        weighed(case, this, plaintext)
        return opens(case, this, plaintext, blindings)
    except Unreadable:
        return False


# --- I10 ----------------------------------------------------------------------------------------------


def opens(case: Case, this: Round, plaintext: list[int], blindings: list[int]) -> bool:
    """Whether sum over A of D_r is Com(U_r; rho_r) for every data row: all at once, with fresh weights (8.9)."""
    numbers = case.numbers
    weights = [secrets.randbits(128) for _ in range(numbers.R)]
    relation = Relation()
    for entry in this.accepted:
        rows = decode_points(case.blob(entry, "commitments")[: 33 * numbers.R])
        relation.add_points(weights, rows)
    combined = [0] * numbers.C
    for i, value in enumerate(plaintext):
        combined[i % numbers.C] += weights[i // numbers.C] * value
    blinding = sum(weight * rho for weight, rho in zip(weights, blindings, strict=True))
    relation.subtract_commitment([value % ORDER for value in combined], blinding % ORDER)
    return relation.holds()


def check_opening(case: Case, this: Round, aggregate: Entry) -> None:
    """I10, without any ciphertext."""
    try:
        if not reconstructs(case, this, aggregate):
            case.fail("I10", f"entry {aggregate.index}: key or blindings are not what its releases reconstruct")
        plaintext, blindings = plaintext_of(case, this, aggregate), blindings_of(case, this, aggregate)
        update, weight = weighed(case, this, plaintext)
        noise = plaintext[len(update) + case.numbers.hidden :]
        if any(abs(value) > case.numbers.sum_bound(len(this.accepted), weight) for value in (*update, *noise)):
            case.fail("I10", f"entry {aggregate.index}: a value beyond what the cohort can sum to")
        if not opens(case, this, plaintext, blindings):
            case.fail("I10", f"entry {aggregate.index}: opening")
    except (Unsound, Unreadable) as fault:
        case.fail("I10", f"entry {aggregate.index}: {fault}")


def reconstructs(case: Case, this: Round, aggregate: Entry) -> bool:
    """I10.1, by the hashes of what the valid releases give."""
    found = released(case, this, aggregate)
    if found is None:
        return False
    key, blindings = found
    return (aggregate.body["key"], aggregate.body["blindings"]) == (digest(packed_key(key)), digest(scalars(blindings)))


# --- what an Aggregate publishes, derived where a copy lacks it (9.3) -----------------------------------


def released(case: Case, this: Round, aggregate: Entry) -> tuple[list[int], list[int]] | None:
    """Key and blindings by the valid releases that it names; None if these are not t."""
    shares = {
        case.points[entry.body["trustee"]]: case.blob(entry, "share")
        for entry in this.all("release")
        if entry.index in aggregate.body["releases"] and entry.index in case.valid_releases
    }
    if len(shares) != case.policy["threshold"]:
        return None
    return reconstruct(shares, case.numbers, len(this.accepted))


def packed_key(key: list[int]) -> bytes:
    return struct.pack(f"<{len(key)}i", *key)


def scalars(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(32, "big") for value in values)


def derived(case: Case, aggregate: Entry, name: str, derive: Callable[[], bytes | None]) -> bytes:
    """The blob, or what is derived in its place if it has the hash that is named."""
    try:
        return case.blob(aggregate, name)
    except Unsound:
        try:
            found = derive()
        except (Unsound, Unreadable):
            found = None
        if found is None or digest(found) != aggregate.body[name]:
            raise
        return found


def key_of(case: Case, this: Round, aggregate: Entry) -> list[int]:
    def derive() -> bytes | None:
        found = released(case, this, aggregate)
        return None if found is None else packed_key(found[0])

    return numbers_of(derived(case, aggregate, "key", derive), "i")


def blindings_of(case: Case, this: Round, aggregate: Entry) -> list[int]:
    def derive() -> bytes | None:
        found = released(case, this, aggregate)
        return None if found is None else scalars(found[1])

    return decode_scalars(derived(case, aggregate, "blindings", derive))


def plaintext_of(case: Case, this: Round, aggregate: Entry) -> list[int]:
    def derive() -> bytes | None:
        if this.opened is None:
            return None
        try:
            total = unpack_residues(case.blob(aggregate, "ciphertext"), case.numbers)
        except Unsound:
            total = summed_ciphertexts(case, this)
        key = key_of(case, this, aggregate)
        plaintext = open_sum(case.numbers, this.opened.body["seed"], key, total, len(this.accepted), this.weight)
        return struct.pack(f"<{case.numbers.d}q", *plaintext)

    return numbers_of(derived(case, aggregate, "plaintext", derive), "q")


def weighed(case: Case, this: Round, plaintext: list[int]) -> tuple[list[int], int]:
    """The sum of the updates, and that of their weights: stated, or hidden behind it (4.9)."""
    if not case.numbers.hidden:
        return plaintext[: case.numbers.d], this.weight
    if not len(this.accepted) <= plaintext[-1] <= len(this.accepted) * case.numbers.W:
        raise Unreadable("weight-sum")
    return plaintext[:-1], plaintext[-1]


# --- I11 ----------------------------------------------------------------------------------------------


def initial_model(transcript: Transcript, policy: Body, numbers: Numbers) -> list[float] | None:
    try:
        return doubles(transcript.blob(policy["initial_model"], 8 * numbers.model))
    except (Unsound, Unreadable):
        return None


def check_lineage(case: Case) -> None:
    if case.ending is not None and case.ending.body["model"] != case.model_before(case.ending.index):
        case.fail("I11", f"entry {case.ending.index}: not the last closed model")
    model = initial_model(case.transcript, case.policy, case.numbers)
    if model is None:
        case.fail("I11", "the initial model cannot be read")
        return
    state = initial_state(case.policy, model)
    for this in case.rounds:
        closed = this.first("round-closed")
        if closed is not None:
            following = check_step(case, this, closed, state)
            if following is None:
                return
            state = following


def check_step(case: Case, this: Round, closed: Entry, state: State) -> State | None:
    """I11.1 to I11.3 for one round; None where the replay stops."""
    aggregate = this.first("aggregate")
    if aggregate is None or closed.body["aggregate"] != aggregate.hash:
        case.fail("I11", f"entry {closed.index}: aggregate")
        if aggregate is None:
            return None
    if not this.accepted:
        case.fail("I11", f"entry {closed.index}: a step over nobody")
        return None
    try:
        plaintext = plaintext_of(case, this, aggregate)
        update, weight = weighed(case, this, plaintext)
        following = server_step(case.policy, state, update, weight, this.number)
    except (Unsound, Unreadable) as fault:
        case.fail("I11", f"entry {closed.index}: {fault}")
        return None
    optimizer = following.optimizer
    expected = (digest(packed(following.model)), digest(optimizer) if optimizer is not None else None)
    if (closed.body["model"], closed.body["optimizer"]) != expected:
        case.fail("I11", f"entry {closed.index}: not the model of the server step")
        return None
    return following


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
