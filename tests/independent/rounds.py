"""Membership, rounds and submissions: I3.5, I4, I5 (spec 9.5, 9.6)."""

from __future__ import annotations

import hashlib

from tests.independent.case import Case, Entry, Round
from tests.independent.cohorts import endings
from tests.independent.content import has_relations
from tests.independent.draws import check_draw, drawn
from tests.independent.edwards import PRIME, has_small_order
from tests.independent.encoding import framed_hash
from tests.independent.noise_alone import adding, demanded, training
from tests.independent.parameters import states_a_weight

ML_KEM_PRIME = 3329
AFTER: dict[str, dict[str, str | None]] = {  # state -> type -> next state; None is the next round (spec 9.5)
    "between": {
        "round-key": "keyed",
        "round-open": "open",
        "key-rotation": "between",
        "revocation": "between",
        "federation-closed": "over",
    },
    "keyed": {"round-key": "keyed", "round-open": "open", "federation-closed": "over"},
    "open": {"submission": "open", "share-ack": "open", "cohort-closed": "closed", "round-aborted": None},
    "closed": {"release": "closed", "aggregate": "summed", "round-aborted": None},
    "summed": {"round-closed": None},
    "over": {},
}


def check(case: Case) -> None:
    check_order(case)
    check_keys(case)
    before = None
    for this in case.rounds:
        if this.opened is not None:
            check_opening(case, before, this, this.opened)
        before = this
    if case.ending is not None:
        check_end(case, case.ending)
    check_submissions(case)


def check_order(case: Case) -> None:
    """I4.1."""
    state, number, before = "between", 1, -1
    for entry in case.entries:
        known = case.gaps.isdisjoint(range(before + 1, entry.index)) and state != "missing"
        before = entry.index
        if entry.index == 0 and entry.type == "genesis":
            continue
        if not known and state != "over":
            if entry.type in ("key-rotation", "revocation"):
                state = "missing"
                continue
            if entry.body.get("round", number) < number:
                case.fail("I4", f"entry {entry.index}: back to round {entry.body['round']} from {number}")
            state = next((name for name, allowed in AFTER.items() if entry.type in allowed), "between")
            number = entry.body.get("round", number)
        if entry.type not in AFTER[state]:
            case.fail("I4", f"entry {entry.index}: {entry.type} where the round is {state}")
            continue
        if "round" in entry.body and entry.body["round"] != number:
            case.fail("I4", f"entry {entry.index}: round {entry.body['round']} in round {number}")
        following = AFTER[state][entry.type]
        if following is None:
            number += 1
        state = following or "between"
    if number > case.policy["max_rounds"] + (state in ("between", "over", "missing")):
        case.fail("I4", "more than max_rounds rounds")


def check_end(case: Case, ending: Entry) -> None:
    """I4.10."""
    rounds = [this for this in case.rounds if this.opened is not None and this.opened.index < ending.index]
    aborted = [this.closed is None for this in rounds if this.all("round-aborted")]
    membership = case.memberships[ending.index]
    clients = set(training(case.policy)) - membership.revoked
    if len(adding(case.policy) - membership.revoked) < demanded(case.policy):
        clients = set()
    true = endings(
        case.policy,
        aborts=aborted.count(False),
        rounds=len(rounds),
        aborted=bool(rounds) and bool(rounds[-1].all("round-aborted")),
        failed=bool(rounds) and rounds[-1].closed is None and bool(rounds[-1].all("round-aborted")),
        clients=clients,
        able=clients - case.spent(lambda _, closed: closed.index < ending.index),
        earlier=case.cohort_before(rounds[-1].number + 1 if rounds else 0, case.model_before(ending.index)),
    )
    if ending.body["rounds"] != len(rounds) or ending.body["reason"] not in true:
        case.fail("I4", f"entry {ending.index}: {ending.body['reason']} after {ending.body['rounds']}, {true} hold")


def check_keys(case: Case) -> None:
    """I4.7."""
    seen: set[bytes] = set()
    for entry in case.entries:
        if entry.type == "round-key":
            key = entry.body["public_key"]
            if key in seen:
                case.fail("I4", f"entry {entry.index}: a key that another RoundKey had")
            if not can_be_sealed_to(key):
                case.fail("I4", f"entry {entry.index}: round-key")
            seen.add(key)


def can_be_sealed_to(key: bytes) -> bool:
    """spec 7.4: coefficients of ML-KEM-768's key in range, X25519's key below its prime, not of small order."""
    u = int.from_bytes(key[1184:], "little")
    if u >= PRIME or has_small_order(u):
        return False
    packed = int.from_bytes(key[:1152], "little")
    return all(packed >> 12 * i & 0xFFF < ML_KEM_PRIME for i in range(768))


def check_opening(case: Case, before: Round | None, this: Round, opened: Entry) -> None:
    """I3.5, I4.2 to I4.6, I4.8 and I4.11."""
    body = opened.body
    if body["changes"] != case.memberships[opened.index].root:
        case.fail("I3", f"entry {opened.index}: changes")
    if body["policy"] != hashlib.sha256(case.policy_file).digest():
        case.fail("I4", f"entry {opened.index}: policy-hash")
    if body["model"] != case.model_before(opened.index):
        case.fail("I4", f"entry {opened.index}: model")
    check_seed(case, opened)
    answers = this.submissions + this.all("share-ack")
    if answers and not case.covered(opened.index, min(entry.index for entry in answers)):
        case.fail("I4", f"round {this.number}: answered before a checkpoint covered its opening")
    check_round_keys(case, this, opened)
    check_draw(case, this, opened)
    aborted = before is not None and before.end is not None and before.end.type == "round-aborted"
    if body["retry_of"] != (before.number if before is not None and aborted else None):
        case.fail("I4", f"entry {opened.index}: retry")


def check_seed(case: Case, opened: Entry) -> None:
    """I4.3 and I4.4."""
    body = opened.body
    size = max((size for size in case.published if size <= opened.index), default=0)
    ends = [e.index for e in case.before(opened.index) if e.type in ("genesis", "round-closed", "round-aborted")]
    if body["checkpoint_size"] != size or size <= max(ends, default=0) or body["checkpoint_root"] != case.roots[size]:
        case.fail("I4", f"entry {opened.index}: checkpoint")
    keys = body["round_key_hashes"]
    if body["seed"] != framed_hash("verifl/v1/round-seed", body["checkpoint_root"], body["round"], len(keys), *keys):
        case.fail("I4", f"entry {opened.index}: seed")


def check_round_keys(case: Case, this: Round, opened: Entry) -> None:
    """I4.6."""
    keys = this.all("round-key")
    names = [entry.body["trustee"] for entry in keys]
    if opened.body["round_keys"] != [entry.index for entry in keys]:
        case.fail("I4", f"entry {opened.index}: round-keys")
    if opened.body["round_key_hashes"] != [entry.hash for entry in keys]:
        case.fail("I4", f"entry {opened.index}: hashes of the round keys")
    if len(set(names)) < len(names) or len(names) < case.policy["threshold"]:
        case.fail("I4", f"entry {opened.index}: round-keys of too few trustees, or two of one")
    for name in set(names) & barred(case, opened.index):
        case.fail("I4", f"entry {opened.index}: {name} is barred")


def barred(case: Case, index: int) -> set[str]:
    """Trustees who are barred from the round that this entry opens."""
    names: set[str] = set()
    for this in case.rounds:
        end = this.end
        if end is None or end.index > index:
            continue
        if end.type == "round-closed":
            names = set()
        elif this.closed is not None:
            names = still_barred(case, names | {missing["party"] for missing in end.body["missing"]}, end.index)
    return still_barred(case, names, index)


def still_barred(case: Case, names: set[str], index: int) -> set[str]:
    """The bar is lifted for all where too few of the trustees in force would be left."""
    left = set(case.memberships[index].trustees()) - names
    return names if len(left) >= case.policy["threshold"] else set()


# --- I5 -----------------------------------------------------------------------------------------------


def check_submissions(case: Case) -> None:
    """I5, and the fault that entries alone show (8.6)."""
    clients: set[tuple[int, str]] = set()
    for entry in case.entries:
        if entry.type != "submission":
            continue
        body = entry.body
        if (body["round"], body["client"]) in clients:
            case.faults[entry.index] = "duplicate"
        clients.add((body["round"], body["client"]))
    for this in case.rounds:
        counts: dict[str, int] = {}
        asked = None if case.policy["per_round"] is None or this.opened is None else drawn(case, this)
        spent = case.spent_before(this.number)
        for entry in this.submissions:
            check_submission(case, this, entry)
            if entry.body["client"] in spent:
                case.fail("I5", f"entry {entry.index}: budget")
            elif asked is not None and entry.body["client"] not in asked | this.alone:
                case.fail("I5", f"entry {entry.index}: undrawn")
            counts[entry.body["client"]] = counts.get(entry.body["client"], 0) + 1
            if counts[entry.body["client"]] > 2:
                case.fail("I5", f"entry {entry.index}: a third submission")


def check_submission(case: Case, this: Round, entry: Entry) -> None:
    """I5.2 to I5.7."""
    opened = this.opened
    earlier = None if opened is None else case.cohort_before(this.number, opened.body["model"])
    alone = entry.body["client"] in this.alone
    if earlier is not None and entry.body["client"] not in earlier and not alone:
        case.fail("I5", f"entry {entry.index}: retry-member")
    if not states_a_weight(case.policy, entry.body["weight"], alone):
        case.fail("I5", f"entry {entry.index}: weight")
    again = None if opened is None else case.repeated_before(this.number, opened.body["model"])
    before = {} if again is None else {each.body["client"]: each.body["weight"] for each in again.accepted}
    if entry.body["weight"] != before.get(entry.body["client"], entry.body["weight"]):
        case.fail("I5", f"entry {entry.index}: retry-weight")
    if opened is None or entry.body["round_open"] != opened.hash:
        case.fail("I5", f"entry {entry.index}: round-open")
    if opened is not None:
        names = [key.body["trustee"] for key in this.all("round-key")]
        if [share["trustee"] for share in entry.body["shares"]] != names:
            case.fail("I5", f"entry {entry.index}: shares")
    if not has_relations(case, entry):
        case.fail("I5", f"entry {entry.index}: relations")
    if entry in this.accepted and case.faults.get(entry.index) in ("duplicate", "replayed"):
        case.fail("I5", f"entry {entry.index}: accepted, but {case.faults[entry.index]}")
