"""What a federation begins with: approvals of its policy (I13), and another one's end (I14); spec 4.7, 4.8, 9.6."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tests.independent.account import carried
from tests.independent.case import Case, Report
from tests.independent.cohorts import places
from tests.independent.encoding import Body, Unreadable, encode, open_entry, open_policy_file, signing_bytes
from tests.independent.identities import verifies
from tests.independent.log import Transcript, Unsound, leaf_hashes, parse_note
from tests.independent.parameters import approving
from tests.independent.tree import tree_root


def check_approvals(case: Case) -> None:
    """I13."""
    demanded = approving(case.policy)
    first = next((entry for entry in case.entries if entry.type == "genesis"), None)
    if not demanded and (first is None or first.body["approvals"] is None):
        case.report.idle.add("I13")
        return
    if first is None:
        case.report.skip(["I13"], "I2")
        return
    if not demanded or first.body["approvals"] is None:
        case.fail("I13", "approvals that are not demanded, or none that are")
        return
    try:
        blob = case.blob(first, "approvals")
    except Unsound as fault:
        case.fail("I13", fault)
        return
    digest = hashlib.sha256(case.policy_file).digest()
    for place, (party, key) in enumerate(demanded):
        body = encode({"federation": case.policy["federation"], "policy": digest, "party": party})
        if not verifies(key, blob[64 * place : 64 * place + 64], signing_bytes("policy-approval", party, body)):
            case.fail("I13", f"no approval of {party}")


def check_link(report: Report, policy: Body, previous: Sequence[Path], audit: Callable[..., Report]) -> None:
    """I14."""
    named = policy["previous"]
    if named is None:
        report.idle.add("I14")
        return
    if not previous:
        report.skip(["I14"], "not given")
        return
    former = Transcript(previous[0])
    try:
        data = former.policy()
        entries = list(former.entries(parse_note(former.note("checkpoint")).size))
    except Unsound as fault:
        report.fail("I14", fault)
        return
    if hashlib.sha256(data).digest() != named["policy"]:
        report.fail("I14", "the former policy is another")
        return
    theirs = open_policy_file(data).body
    if not audit(previous[0], previous[0] / "policy.cbor", *(previous[1:] if theirs["previous"] else ())).accepted:
        report.fail("I14", "the former transcript is not accepted")
    if len(entries) < named["size"] or tree_root(leaf_hashes(entries[: named["size"]])) != named["root"]:
        report.fail("I14", "the former log has another checkpoint, or is shorter")
        return
    shapes = [[(tensor["name"], tensor["shape"]) for tensor in each["tensors"]] for each in (policy, theirs)]
    if shapes[0] != shapes[1]:
        report.fail("I14", "another layout of the model")
    if theirs["federation"] != named["federation"]:
        report.fail("I14", "the former federation's name")
    log = [open_message(entry) for entry in entries]
    check_end(report, policy, theirs, log, named["size"])
    try:
        check_line(report, policy, [(theirs, log), *earlier(theirs["previous"], previous[1:])])
    except Unsound as fault:
        report.skip(["I14"], str(fault))


def earlier(named: Body | None, previous: Sequence[Path]) -> Iterator[tuple[Body, list[tuple[str, Body]]]]:
    """Policies and logs of the federations before the former one; Unsound where one is not given."""
    for place in previous:
        if named is None:
            return
        transcript = Transcript(place)
        data = transcript.policy()
        entries = list(transcript.entries(named["size"]))
        if hashlib.sha256(data).digest() != named["policy"] or tree_root(leaf_hashes(entries)) != named["root"]:
            raise Unsound("another transcript than the chain names")
        policy = open_policy_file(data).body
        yield policy, [open_message(entry) for entry in entries]
        named = policy["previous"]
    if named is not None:
        raise Unsound("a federation of the chain is not given")


def check_line(report: Report, policy: Body, line: Iterable[tuple[Body, list[tuple[str, Body]]]]) -> None:
    """Name, origin and clients' keys, against every federation before."""
    for theirs, log in line:
        if theirs["federation"] == policy["federation"] or theirs["origin"] == policy["origin"]:
            report.fail("I14", "the name or the origin of a federation before")
        if theirs["privacy_budget"] is not None and renamed(policy, theirs, log):
            report.fail("I14", "a client of a former federation has another id")


def open_message(entry: bytes) -> tuple[str, Body]:
    try:
        envelope = open_entry(entry)
    except Unreadable:
        return "", {}
    return envelope.type, envelope.body


def check_end(report: Report, policy: Body, theirs: Body, log: list[tuple[str, Body]], size: int) -> None:
    """Where the former log stands after `size` entries, and that no cohort is on its final model."""
    if log[size - 1][0] != "federation-closed":
        report.fail("I14", "the former federation is not at an end")
    closed = [body["model"] for kind, body in log[:size] if kind == "round-closed"]
    final = closed[-1] if closed else theirs["initial_model"]
    if final != policy["initial_model"]:
        report.fail("I14", "another final model")
    models = {body["round"]: body["model"] for kind, body in log if kind == "round-open"}
    budget = policy["privacy_budget"]
    if carried(theirs, charged_in(log)) != ([] if budget is None else budget["former"]):
        report.fail("I14", "the former budget is not gone on with as it was spent")
    if any(kind == "cohort-closed" and models.get(body["round"]) == final for kind, body in log):
        report.fail("I14", "a cohort on the final model")


def renamed(policy: Body, theirs: Body, log: list[tuple[str, Body]]) -> bool:
    """Whether a key that a former client had, by its policy or a rotation, is in the roster under another id."""
    names = {member["id"] for member in theirs["roster"]}
    had = [(member["public_key"], member["id"]) for member in theirs["roster"]]
    had += [(body["public_key"], body["party"]) for kind, body in log if kind == "key-rotation"]
    here = {member["public_key"]: member["id"] for member in policy["roster"]}
    return any(name in names and here.get(key, name) != name for key, name in had)


def charged_in(log: list[tuple[str, Body]]) -> Counter[str]:
    """In how many closed cohorts each client is (10.5)."""
    charged: Counter[str] = Counter()
    for kind, body in log:
        if kind == "cohort-closed":
            wanted = [log[index] for index in places(body, "a") if index < len(log)]
            ours = [each for each in wanted if each[0] == "submission" and each[1]["round"] == body["round"]]
            charged.update({each["client"] for _, each in ours})
    return charged
