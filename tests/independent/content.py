"""Proofs, verdicts, acknowledgements, cohorts, releases, aborts: I6 to I8 (spec 9.6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise

from tests.independent.argument import Refused, verify
from tests.independent.case import Case, Entry, Round
from tests.independent.claims import Claim
from tests.independent.cohorts import (
    REASONS,
    ack_digest,
    choose,
    cohort_digest,
    in_order,
    largest,
    places,
    suppress,
)
from tests.independent.encoding import Unreadable, encode, frame
from tests.independent.lattice import unpack_residues
from tests.independent.log import Unsound
from tests.independent.noise_alone import adding, suffices
from tests.independent.parameters import Numbers, states_a_weight
from tests.independent.sharing import release_is_valid


class Malformed(Exception):
    """A submission whose blobs hold no ciphertext, or no share commitments."""


OFFENCES = ("malformed", "invalid-proof", "disputed")


def check(case: Case) -> None:
    check_proofs(case)
    for this in case.rounds:
        if this.closed is not None and this.opened is not None:
            check_verdicts(case, this, this.closed)
        check_acknowledgements(case, this)
        if this.closed is not None:
            check_cohort(case, this, this.closed)
        check_releases(case, this)
        abort = this.first("round-aborted")
        if abort is not None:
            check_abort(case, this, abort)


# --- I6 -----------------------------------------------------------------------------------------------


RELATED = ("range_commitments", "weight_commitments", "noise_commitments", "privacy_noise_commitments")
EXCLUSIVE = ("commitments", "proof", *RELATED)  # blobs of a valid submission alone


def check_proofs(case: Case) -> None:
    candidates = [(this, entry) for this in case.rounds for entry in this.submissions if entry.index not in case.faults]
    pruned = [entry for _, entry in candidates if case.pruned(entry.body["ciphertext"])]
    if pruned and not case.has(case.policy["initial_model"]):
        return case.fail("I6", "neither ciphertexts nor the initial model: nothing shows that d coordinates exist")
    names = (*EXCLUSIVE, "ciphertext") if case.numbers.encrypted else EXCLUSIVE
    taken: set[bytes] = set()
    for this, entry in sorted(candidates, key=lambda each: each[1].index):
        own = {entry.body[name] for name in names} - {None}
        if own & taken:
            case.faults[entry.index] = "replayed"
        elif check_proof(case, this, entry):
            taken |= own
    return None


def check_proof(case: Case, this: Round, entry: Entry) -> bool:
    """Whether a submission is valid; if it is malformed, or has an invalid proof, that is kept in `case.faults`."""
    try:
        residues = read_residues(case, entry)
        if this.opened is not None and entry.body["round_open"] == this.opened.hash:
            verify(numbers_of(case, entry), read_claim(case, entry, this.opened.body["seed"], residues))
            return True
        if entry in this.accepted:
            case.fail("I6", f"entry {entry.index}: accepted, and no proof that can be verified")
    except Unsound as fault:
        case.fail("I6", f"entry {entry.index}: {fault}")
    except Malformed:
        case.faults[entry.index] = "malformed"  # a finding only where it is accepted, of I7
    except (Refused, Unreadable) as fault:
        case.faults[entry.index] = "invalid-proof"
        if entry in this.accepted:
            case.fail("I6", f"entry {entry.index}: accepted, but its proof fails: {fault}")
    return False


def numbers_of(case: Case, entry: Entry) -> Numbers:
    """The numbers of an update of the weight that a submission states (4.9); `Unsound` where I5 refuses it."""
    stated = entry.body["weight"]
    if not states_a_weight(case.policy, stated, entry.body["client"] in adding(case.policy)):
        raise Unsound("weight")
    if not has_relations(case, entry):
        raise Unsound("relations")
    return Numbers(case.policy, 1 if stated is None else stated)


def has_relations(case: Case, entry: Entry) -> bool:
    """I5.5."""
    asked = (case.numbers.ranged, case.numbers.hidden, case.numbers.encrypted, case.numbers.noisy)
    return all((entry.body[name] is not None) == wanted for name, wanted in zip(RELATED, asked, strict=True))


def read_residues(case: Case, entry: Entry) -> list[int] | None:
    """The ciphertext, None where it was pruned; `Malformed` by I6.1."""
    try:
        case.share_commitments(entry)
        if case.pruned(entry.body["ciphertext"]):
            return None
        return unpack_residues(case.blob(entry, "ciphertext"), case.numbers)
    except Unreadable as fault:
        raise Malformed(str(fault)) from fault


def read_claim(case: Case, entry: Entry, seed: bytes, residues: list[int] | None) -> Claim:
    """A submission as a claim of spec 5, in its own context (8.3)."""
    body = entry.body
    related = {name: case.blob(entry, name) if body[name] is not None else b"" for name in RELATED}
    return Claim(
        commitments=case.blob(entry, "commitments"),
        range_commitments=related["range_commitments"],
        weight_commitments=related["weight_commitments"],
        noise_commitments=related["noise_commitments"],
        privacy_noise_commitments=related["privacy_noise_commitments"],
        sign_context=frame(
            "verifl/v1/sign-context",
            hashlib.sha256(case.policy_file).digest(),
            case.policy["federation"],
            body["round"],
            body["round_open"],
            body["client"],
        ),
        context=frame("verifl/v1/submission", encode({**body, "proof": bytes(32)})),
        proof=case.blob(entry, "proof"),
        seed=seed,
        ciphertext_hash=body["ciphertext"],
        ciphertext=residues if case.numbers.encrypted else None,
        share_commitment=case.blob(entry, "share_commitments")[:33],
    )


# --- I7 -----------------------------------------------------------------------------------------------


def verdicts(case: Case, this: Round) -> tuple[list[int], list[str], dict[int, str]]:
    """A, Q and every other submission's reason, re-derived; nobody in a round that was not opened."""
    if this.opened is None:
        return [], [], {}
    acks = {name: entry.envelope for name, entry in this.acks.items()}
    alone = {entry.index for entry in this.submissions if entry.body["client"] in this.alone}
    accepted, trustees, reasons = choose(case.policy, case.faultless(this), acks, alone)
    reasons |= {entry.index: case.faults[entry.index] for entry in this.judged if entry.index in case.faults}
    model, least = this.opened.body["model"], case.policy["min_cohort"]
    earlier = case.cohort_before(this.number, model)
    before = case.cohorts_before(this.number) if case.policy["strict_consecutive"] else []
    everybody = {index: case.by_index[index].body["client"] for index in accepted}
    clients = {index: name for index, name in everybody.items() if name not in this.alone}
    large = suffices(case.policy, everybody.values())
    if before and large:
        order = in_order(hashlib.sha256(case.policy_file).digest(), clients, list(clients))
        names = [clients[index] for index in order]
        stay = largest(before, model, earlier, names, offenders(this, reasons), least)
        accepted, reasons = leave(accepted, reasons, [index for index in clients if clients[index] not in stay])
    elif earlier is not None and large:
        accepted, reasons = hide(case, this, accepted, reasons, earlier)
    return accepted, trustees, reasons


def leave(accepted: list[int], reasons: dict[int, str], leaving: list[int]) -> tuple[list[int], dict[int, str]]:
    return [index for index in accepted if index not in leaving], reasons | dict.fromkeys(leaving, "suppressed")


def hide(
    case: Case, this: Round, accepted: list[int], reasons: dict[int, str], base: set[str]
) -> tuple[list[int], dict[int, str]]:
    """8.7, step 5, towards one cohort."""
    clients = {index: case.by_index[index].body["client"] for index in accepted}
    gone = base - set(clients.values())
    policy_hash = hashlib.sha256(case.policy_file).digest()
    leaving = suppress(
        policy_hash,
        case.policy["min_cohort"],
        clients,
        [index for index in accepted if clients[index] in base],  # of noise alone nothing is in it
        gone,
        offenders(this, reasons),
    )
    return leave(accepted, reasons, leaving)


def check_verdicts(case: Case, this: Round, closed: Entry) -> None:
    body = closed.body
    judged, text = {entry.index for entry in this.judged}, body["verdicts"]
    excluded, details = set(places(body, "2rmidfus")), [detail["index"] for detail in body["details"]]
    if not excluded | set(places(body, "a")) <= judged:
        case.fail("I7", f"entry {closed.index}: a verdict on no submission of the round")
    if this.opened is not None and (body["first"], len(text)) != (
        this.opened.index + 1,
        closed.index - this.opened.index - 1,
    ):
        case.fail("I7", f"entry {closed.index}: not one character for each entry of the round")
    if any(a >= b for a, b in pairwise(details)) or not set(details) <= excluded:
        case.fail("I7", f"entry {closed.index}: details")
    if this.opened is None or body["round_open"] != this.opened.hash:
        case.fail("I7", f"entry {closed.index}: round-open")
    _, _, reasons = verdicts(case, this)
    for index in sorted(judged):
        right = reasons.get(index, "accepted")
        place = index - body["first"]
        sign = text[place] if 0 <= place < len(text) else "-"
        found = "accepted" if sign == "a" else REASONS.get(sign, "no verdict")
        if found != right:
            case.fail("I7", f"entry {index}: {found}, expected {right}")


# --- I8 -----------------------------------------------------------------------------------------------


def check_acknowledgements(case: Case, this: Round) -> None:
    """I8.1."""
    holders = {key.body["trustee"] for key in this.all("round-key")}
    seen: set[str] = set()
    for ack in this.all("share-ack"):
        body = ack.body
        first = first_submissions(this, ack.index)
        held, answered = places(body, "h"), places(body, "hdeco")
        faults = [
            ("no round key", body["trustee"] not in holders),
            ("a second acknowledgement", body["trustee"] in seen),
            ("round-open", this.opened is None or body["round_open"] != this.opened.hash),
            ("first", this.opened is not None and body["first"] != this.opened.index + 1),
            ("no first submission", not set(answered) <= set(first)),
            ("ack-digest", body["digest"] != expected_ack_digest(case, ack, held)),
        ]
        for name, wrong in faults:
            if wrong:
                case.fail("I8", f"entry {ack.index}: {name}")
        seen.add(body["trustee"])


def first_submissions(this: Round, before: int) -> dict[int, Entry]:
    clients: set[str] = set()
    first = {}
    for entry in this.submissions:
        if entry.index < before and entry.body["client"] not in clients:
            first[entry.index] = entry
            clients.add(entry.body["client"])
    return first


def expected_ack_digest(case: Case, ack: Entry, acknowledged: list[int]) -> bytes:
    return ack_digest(ack.body["round_open"], ack.body["trustee"], named_submissions(case, acknowledged))


def named_submissions(case: Case, indices: list[int]) -> list[tuple[str, bytes]]:
    """Client and entry hash of each index that is a submission's."""
    entries = [case.by_index.get(index) for index in indices]
    return [(entry.body["client"], entry.hash) for entry in entries if entry is not None and entry.type == "submission"]


def check_cohort(case: Case, this: Round, closed: Entry) -> None:
    """I8.2."""
    body = closed.body
    accepted, trustees, _ = verdicts(case, this)
    if places(body, "a") != accepted:
        case.fail("I8", f"entry {closed.index}: accepted, expected {accepted}")
    if body["trustees"] != trustees:
        case.fail("I8", f"entry {closed.index}: trustees, expected {trustees}")
    members = named_submissions(case, places(body, "a"))
    if body["digest"] != cohort_digest(body["round_open"], members, body["trustees"]):
        case.fail("I8", f"entry {closed.index}: cohort-digest")
    releases = this.all("release")
    if releases and not case.covered(closed.index, releases[0].index):
        case.fail("I8", f"round {this.number}: released before a checkpoint covered the cohort")


def check_releases(case: Case, this: Round) -> None:
    """I8.3 and I8.4."""
    counting: dict[str, Entry] = {}
    for release in sorted(this.all("release"), key=lambda entry: not entry.own):
        if this.closed is not None and check_release(case, this.closed, release):
            counting.setdefault(release.body["trustee"], release)
    for release in counting.values():
        check_share(case, this, release)
    aggregate = this.first("aggregate")
    if aggregate is not None:
        body = aggregate.body
        ascending = all(a < b for a, b in pairwise(body["releases"]))
        if not ascending or len(body["releases"]) != case.policy["threshold"]:
            case.fail("I8", f"entry {aggregate.index}: releases")
        if not case.valid_releases.issuperset(body["releases"]):
            case.fail("I8", f"entry {aggregate.index}: a release that is not valid")
        if this.closed is None or body["cohort"] != this.closed.hash:
            case.fail("I8", f"entry {aggregate.index}: cohort")


def check_release(case: Case, closed: Entry, release: Entry) -> bool:
    """Whether it is by a trustee of Q, for this cohort."""
    body = release.body
    faults = [
        ("cohort", body["cohort"] != closed.hash),
        ("cohort-digest", body["digest"] != closed.body["digest"]),
        ("release", body["trustee"] not in closed.body["trustees"]),
    ]
    for name, wrong in faults:
        if wrong:
            case.fail("I8", f"entry {release.index}: {name}")
    return not any(wrong for _, wrong in faults) and body["trustee"] in case.points


def check_share(case: Case, this: Round, release: Entry) -> None:
    try:
        commitments = [case.share_commitments(entry) for entry in this.accepted]
        share = case.blob(release, "share")
    except (Unsound, Unreadable) as fault:
        case.fail("I8", f"entry {release.index}: {fault}")
        return
    if release_is_valid(share, case.points[release.body["trustee"]], commitments):
        case.valid_releases.add(release.index)


# --- aborts -------------------------------------------------------------------------------------------


def check_abort(case: Case, this: Round, abort: Entry) -> None:
    """I8.5."""
    body, closed = abort.body, this.closed
    if this.opened is None or body["round_open"] != this.opened.hash:
        case.fail("I8", f"entry {abort.index}: round-open")
    if body["cohort"] != (closed.hash if closed is not None else None):
        case.fail("I8", f"entry {abort.index}: cohort")
    missing = [(item["party"], item["reason"]) for item in body["missing"]]
    true, expected = reason_holds(case, this, body["reason"])
    if not true or missing != expected:
        case.fail("I8", f"entry {abort.index}: {body['reason']} {missing}, expected {true} {expected}")


def reason_holds(case: Case, this: Round, reason: str) -> tuple[bool, list[tuple[str, str]]]:
    threshold = case.policy["threshold"]
    if this.closed is None:
        accepted, _, reasons = verdicts(case, this)
        if reason == "no-quorum":
            names = [key.body["trustee"] for key in this.all("round-key")]
            silent = [(name, "no-acknowledgement") for name in names if name not in this.acks]
            return len(this.acks) < threshold, silent
        members = [case.by_index[index].body["client"] for index in accepted]
        short, suppressed = not suffices(case.policy, members), "suppressed" in reasons.values()
        if reason == "too-few-submissions":
            clients = {entry.body["client"] for entry in this.judged}
            unanswered = len(this.acks) < threshold and suffices(case.policy, clients)
            return short and not suppressed and not unanswered, []
        return reason == "differencing" and short and suppressed, []
    releases = this.all("release")
    valid = {entry.body["trustee"] for entry in releases if entry.index in case.valid_releases}
    if reason == "missing-releases":
        logged = {entry.body["trustee"] for entry in releases}
        names = [name for name in this.closed.body["trustees"] if name not in valid]
        return len(valid) < threshold, [(n, "wrong-release" if n in logged else "no-release") for n in names]
    return reason == "opening-failed" and len(valid) >= threshold, []


def exempt(case: Case, this: Round) -> set[str]:
    """Clients whose one submission of the round is an offence (8.8)."""
    _, _, reasons = verdicts(case, this)
    return offenders(this, reasons)


def offenders(this: Round, reasons: Mapping[int, str]) -> set[str]:
    names = [entry.body["client"] for entry in this.judged]
    return {
        entry.body["client"]
        for entry in this.judged
        if names.count(entry.body["client"]) == 1 and reasons.get(entry.index) in OFFENCES
    }
