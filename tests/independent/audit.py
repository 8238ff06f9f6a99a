"""A second auditor: reads a transcript and gives each check of spec 9 its status."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.independent import beginnings, content, graph, privacy, rounds, sums
from tests.independent.case import CHECKS, Case, Entry, Report, references, standing
from tests.independent.encoding import Body, Envelope, Unreadable, open_entry, open_policy_file
from tests.independent.identities import Membership, enrollable, verifies
from tests.independent.log import (
    BLOB_PATH,
    DECIMAL,
    Note,
    Transcript,
    Unsound,
    bundle_faults,
    expected_files,
    leaf_hashes,
    log_signed,
    note_faults,
    parse_note,
    roots,
    some_entries,
    tile_faults,
    tile_leaves,
    under,
)
from tests.independent.parameters import Numbers
from tests.independent.policies import (
    federation_conditions,
    number_conditions,
    roster_conditions,
    shape_conditions,
)

CHANGES = ("key-rotation", "revocation")


def audit(path: Path, policy_path: Path, *previous: Path) -> Report:
    """Audit the transcript at `path` under the pinned policy file. previous: those of the federations before it."""
    policy_file = policy_path.read_bytes()
    report = Report()
    policy = open_policy(report, policy_file)
    if policy is None:
        report.skip(CHECKS, "I2")
        return report
    report.required = set(policy["required_checks"])
    if policy["privacy_budget"] is None:
        report.idle.add("P5")
    numbers = check_conditions(report, policy)
    beginnings.check_link(report, policy, previous, audit)
    transcript = Transcript(path)
    if of_another_policy(transcript, policy, policy_file):
        report.fail("I2", "the log of another policy")
        report.skip([number for number in CHECKS if number not in ("I14", "P3")], "I2")
        return report
    check_policy_file(report, transcript, policy_file)
    if numbers is not None and sums.initial_model(transcript, policy, numbers) is None:
        report.fail("I2", "the initial model cannot be read")
    case = read_log(report, policy_file, policy, numbers, transcript)
    if case is None:
        report.skip([number for number in CHECKS if number not in ("I1", "I14", "P3")], "I1")
        return report
    if not case.whole:
        report.cut = True
    if numbers is None:
        report.skip([number for number in CHECKS if number not in ("I1", "I2", "I3", "I14")], "I2")
        return report
    check_genesis(case)
    beginnings.check_approvals(case)
    rounds.check(case)
    content.check(case)
    sums.check(case)
    graph.check(case)
    privacy.check(case)
    return report


def of_another_policy(transcript: Transcript, policy: Body, policy_file: bytes) -> bool:
    """9.3: Genesis names another policy, signed by the pinned log's key, which signed nothing that shows a log of the
    pinned policy; or by the log of the policy that it names, with no checkpoint by the pinned log's key."""
    sizes = note_sizes(transcript)
    first = next((found[0] for size in sizes if (found := some_entries(transcript.root, size, 0, 1))), b"")
    try:
        genesis = open_entry(first)
    except Unreadable:
        return False
    if genesis.type != "genesis" or genesis.body["policy"] == hashlib.sha256(policy_file).digest():
        return False
    signed = signed_notes(transcript, policy)
    if verifies(policy["log_key"], genesis.signature, genesis.signed):
        sealed = tile_leaves(transcript.root, max((note.size for note in signed), default=0))
        another = bool(sealed) and sealed[0] != leaf_hashes([first])[0]
        hashes = roots(sealed, [note.size for note in signed])
        shown = another and any(hashes.get(note.size) == note.root for note in signed)
        latest = max((note.size for note in signed), default=0)
        return not shown and not opens_rounds(under(transcript.root, latest, None), policy, policy_file)
    try:
        own = transcript.policy()
        envelope = open_policy_file(own)
    except (Unsound, Unreadable):
        return False
    issued = verifies(envelope.body["issuer_key"], envelope.signature, envelope.signed)
    if signed or not issued or hashlib.sha256(own).digest() != genesis.body["policy"]:
        return False
    return verifies(envelope.body["log_key"], genesis.signature, genesis.signed)


def note_sizes(transcript: Transcript) -> list[int]:
    """The size that `checkpoint` has, if it has one, and those of the files under `checkpoints/`, descending."""
    sizes = sorted(transcript.sizes(), reverse=True)
    try:
        return [size for size in (parse_note(transcript.note("checkpoint")).size, *sizes) if size]
    except Unsound:
        return sizes


def signed_notes(transcript: Transcript, policy: Body) -> list[Note]:
    found = []
    for path in ("checkpoint", *(f"checkpoints/{size}" for size in transcript.sizes())):
        try:
            note = parse_note(transcript.note(path))
        except Unsound:
            continue
        if log_signed(note, policy):
            found.append(note)
    return found


def opens_rounds(entries: Sequence[bytes | None], policy: Body, policy_file: bytes) -> bool:
    """Whether a RoundOpen of the pinned policy is among these, by the pinned log's key."""
    for data in entries:
        try:
            entry = open_entry(data or b"")
        except Unreadable:
            continue
        ours = entry.type == "round-open" and entry.body["policy"] == hashlib.sha256(policy_file).digest()
        if ours and verifies(policy["log_key"], entry.signature, entry.signed):
            return True
    return False


def open_policy(report: Report, data: bytes) -> Body | None:
    """I2.1."""
    try:
        envelope = open_policy_file(data)
    except Unreadable as fault:
        report.fail("I2", "policy:", fault)
        return None
    if not verifies(envelope.body["issuer_key"], envelope.signature, envelope.signed):
        report.fail("I2", "policy: signature")
        return None
    return envelope.body


def check_conditions(report: Report, policy: Body) -> Numbers | None:
    """I2.2, I3.1 and I3.2; the numbers where they can be computed."""
    for name, holds in roster_conditions(policy):
        if not holds:
            report.fail("I3", f"policy-{name}")
    members = [*policy["trustees"], *policy["roster"]]
    keys = {policy["log_key"], policy["issuer_key"], *(member["public_key"] for member in members)}
    for key in sorted(keys):
        if not enrollable(key):
            report.fail("I3", "public key", key.hex())
    conditions = [*federation_conditions(policy), *shape_conditions(policy)]
    if all(holds for _, holds in conditions):
        conditions += number_conditions(policy, Numbers(policy))
    for name, holds in conditions:
        if not holds:
            report.fail("I2", f"policy-{name}")
    return Numbers(policy) if all(holds for _, holds in conditions) else None


# --- I1 -----------------------------------------------------------------------------------------------


def read_log(
    report: Report, policy_file: bytes, policy: Body, numbers: Numbers | None, transcript: Transcript
) -> Case | None:
    """I1 and the standing of every entry that is judged; None where there is none."""
    latest = find_latest(report, policy, transcript)
    if latest is None:
        return None
    raw: list[bytes] = []
    try:
        for entry in transcript.entries(latest.size):
            raw.append(entry)
    except Unsound as fault:
        report.fail("I1", fault)
    else:
        check_files(report, transcript, latest.size)
    leaves = leaf_hashes(raw)
    sizes = transcript.sizes()
    for wrong in (*tile_faults(transcript.root, leaves, sizes), *bundle_faults(transcript.root, raw, sizes)):
        report.fail("I1", wrong)
    notes, signed = read_notes(report, policy, transcript, latest)
    hashes = roots(leaves, sorted(notes))
    judged = signed_size(signed, hashes)
    kept: Sequence[bytes | None] = raw
    if judged < latest.size:
        sealed = tile_leaves(transcript.root, latest.size)
        others = roots(sealed, sorted(notes))
        if signed_size(signed, others) > judged:
            hashes, judged, kept = others, signed_size(signed, others), under(transcript.root, latest.size, sealed)
    for size, note in notes.items():
        if size in hashes and hashes[size] != note.root:
            report.fail("I1", f"checkpoints/{size}: checkpoint-root")
    if not judged:
        report.fail("I1", "no entry that a checkpoint signs")
        return None
    gaps = {index for index, entry in enumerate(kept[:judged]) if entry is None}
    if 0 in gaps and not opens_rounds(kept[:judged], policy, policy_file):
        report.fail("I1", "no entry that shows what policy this is a log of")
        return None
    for index in gaps:
        report.fail("I1", f"entry {index}: missing")
    envelopes = decode_entries(report, kept[:judged])
    enrolled = Membership(policy, hashlib.sha256(policy_file).digest())
    memberships = replay_membership(report, enrolled, envelopes)
    entries = stand(report, policy, envelopes, memberships)
    check_notes(report, policy, {"checkpoint": latest, **notes}, memberships)
    usable = numbers if numbers is not None else Numbers(policy)
    case = Case(report, policy_file, policy, usable, transcript, entries, memberships, sorted(notes), hashes)
    case.whole, case.gaps = judged == latest.size and not gaps, gaps
    if numbers is not None:
        check_blobs(case)
    return case


def find_latest(report: Report, policy: Body, transcript: Transcript) -> Note | None:
    """`checkpoint`, or the largest other one that the log's key signed if it did not sign this."""
    latest = None
    try:
        latest = parse_note(transcript.note("checkpoint"))
    except Unsound as fault:
        report.fail("I1", fault)
    if latest is not None and log_signed(latest, policy):
        return latest
    report.fail("I1", "checkpoint: not signed by the log")
    for size in reversed(transcript.sizes()):
        try:
            note = parse_note(transcript.note(f"checkpoints/{size}"))
        except Unsound:
            continue
        if note.size == size and log_signed(note, policy):
            transcript.latest = f"checkpoints/{size}"
            return note
    return latest


def signed_size(signed: list[Note], hashes: Mapping[int, bytes]) -> int:
    """The largest size whose signed root is that of these leaves."""
    return max((note.size for note in signed if hashes.get(note.size) == note.root), default=0)


def decode_entries(report: Report, raw: Sequence[bytes | None]) -> list[Envelope | None]:
    """I1.3 and P7.1; None for what is no message, or is missing, which nothing else looks at."""
    envelopes: list[Envelope | None] = []
    for index, data in enumerate(raw):
        try:
            envelopes.append(None if data is None else open_entry(data))
        except Unreadable as fault:
            report.fail("I1", f"entry {index}: {fault}")
            report.fail("P7", f"entry {index}: no message")
            envelopes.append(None)
    return envelopes


def replay_membership(report: Report, start: Membership, envelopes: list[Envelope | None]) -> list[Membership]:
    """I3.3; the membership before each entry, and after the last."""
    current = start
    memberships = [current]
    for index, envelope in enumerate(envelopes):
        if envelope is not None and envelope.type in CHANGES:
            current = current.copy()
            fault = current.apply(envelope)
            if fault:
                report.fail("I3", f"entry {index}: {fault}")
        elif envelope is not None and envelope.type in ("round-closed", "round-aborted"):
            current = current.copy()
            current.rotated.clear()
        memberships.append(current)
    return memberships


def stand(report: Report, policy: Body, envelopes: list[Envelope | None], memberships: list[Membership]) -> list[Entry]:
    entries = []
    for index, envelope in enumerate(envelopes):
        if envelope is None:
            continue
        fault = None if envelope.type in CHANGES else standing(envelope, policy, memberships[index])
        if fault:
            report.fail(fault[0], f"entry {index} ({envelope.type}): {fault[1]}")
        entries.append(Entry(index, envelope, fault is None))
    return entries


def read_notes(
    report: Report, policy: Body, transcript: Transcript, latest: Note
) -> tuple[dict[int, Note], list[Note]]:
    """I1.2 but for signatures: the notes by size, with `checkpoint` among them; and those that the log's key signed."""
    notes = {latest.size: latest}
    if latest.size not in transcript.sizes():
        report.fail("I1", f"checkpoints/{latest.size}: file-missing")
    for size in transcript.sizes():
        try:
            notes[size] = published(transcript, size, latest)
        except Unsound as fault:
            report.fail("I1", f"checkpoints/{size}:", fault)
    return notes, [note for note in (latest, *notes.values()) if log_signed(note, policy)]


def check_notes(report: Report, policy: Body, notes: Mapping[str | int, Note], memberships: list[Membership]) -> None:
    """The signatures of I1.1 and I1.2, by those in force at the size, as far as the log is judged."""
    for place, note in notes.items():
        for wrong in note_faults(note, policy, memberships[min(note.size, len(memberships) - 1)].trustees()):
            report.fail("I1", f"{place}:", wrong)


def published(transcript: Transcript, size: int, latest: Note) -> Note:
    """The note under `checkpoints/`, of the size that its name says; `Unsound` where it is none."""
    data = transcript.note(f"checkpoints/{size}")
    note = parse_note(data)
    if note.size != size or not 1 <= size <= latest.size:
        raise Unsound("checkpoint-size")
    if size == latest.size and data != transcript.note(transcript.latest):
        raise Unsound("not the latest checkpoint")
    return note


def check_files(report: Report, transcript: Transcript, size: int) -> None:
    """I1.6."""
    for path in transcript.odd:
        report.fail("I1", f"{path}: file-kind")
    for path in transcript.files - expected_files(size, transcript.sizes()):
        name = path.removeprefix("checkpoints/")
        if name == path and BLOB_PATH.fullmatch(path):
            continue
        if name == path or not DECIMAL.fullmatch(name):
            report.fail("I1", f"{path}: no file of this log")


def check_blobs(case: Case) -> None:
    """I1.7: every blob is there, has the size of its role and its hash; only ciphertexts of a sum may be missing."""
    named = [(entry, *reference) for entry in case.entries for reference in references(entry)]
    seen: set[tuple[bytes, int]] = set()
    for entry, name, digest in named:
        size = len(case.policy_file) if name == "policy" else case.numbers.blob_size(entry.type, name)
        if (digest, size) in seen or case.pruned(digest):
            continue
        seen.add((digest, size))
        try:
            case.transcript.blob(digest, size)
        except Unsound as fault:
            case.fail("I1", f"entry {entry.index}, {name}: {fault}")


# --- I2 -----------------------------------------------------------------------------------------------


def check_policy_file(report: Report, transcript: Transcript, policy_file: bytes) -> None:
    """I2.3."""
    try:
        if transcript.policy() != policy_file:
            report.fail("I2", "policy.cbor is another policy")
    except Unsound as fault:
        report.fail("I2", fault)


def check_genesis(case: Case) -> None:
    """I2.4."""
    first = case.by_index.get(0)
    if first is None or first.type != "genesis":
        case.fail("I2", "the log does not begin with Genesis")
    elif first.body["policy"] != hashlib.sha256(case.policy_file).digest():
        case.fail("I2", "Genesis names another policy")
    elif first.body["model"] != case.policy["initial_model"]:
        case.fail("I2", "Genesis names another model")
    for entry in case.entries:
        if entry.index and entry.type == "genesis":
            case.fail("I2", f"entry {entry.index}: a second Genesis")
