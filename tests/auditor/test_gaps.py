"""An entry that is damaged keeps its place by its leaf hash: what lies behind it is judged, and nobody is accused for
what the missing entry may say."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor import Kind, Outcome, Report, Status, audit
from auditor.checks.rounds import OVER
from auditor.gaps import NEVER, Torn, entries_of, roots_at, tile_leaves
from auditor.index import MISSING, Heading
from protocols.envelopes import open_envelope
from protocols.log.checkpoint import Checkpoint, sign_checkpoint
from protocols.log.merkle import leaf_hash, root
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import bundle_of
from protocols.messages import (
    MESSAGE_TYPES,
    Aggregate,
    CohortClosed,
    Exclusion,
    FederationClosed,
    Release,
    RoundClosed,
    RoundKey,
    RoundOpen,
    ShareAck,
    Submission,
)
from tests.auditor.conftest import failed, flipped
from tests.auditor.forge import Forge, write_transcript
from tests.independent.audit import audit as second_audit
from tests.simulator import identity_of

EXHAUSTIVE = pytest.mark.exhaustive
HISTORIES = [  # what "aborted" and "outage" hold, "eventful" holds too
    name if name in ("changed", "eventful", "over") else pytest.param(name, marks=EXHAUSTIVE)
    for name in ("aborted", "changed", "eventful", "outage", "over")
]


def without(path: Path, *indices: int) -> Path:
    """The transcript with one bit changed in each of these entries, in the bundle of the latest checkpoint."""
    size = TranscriptReader(path).size
    for index in indices:
        bundle = bundle_of(index, size)
        file = path / bundle.path
        data, position = bytearray(file.read_bytes()), 0
        for _ in range(index - bundle.start):
            position += 2 + int.from_bytes(data[position : position + 2], "big")
        data[position + 2 + 40] ^= 1
        file.write_bytes(data)
    return path


def types_of(path: Path) -> list[str]:
    reader = TranscriptReader(path)
    return [open_envelope(entry).type for entry in reader.entries(0, reader.size)]


def named(report: Report) -> list[str]:
    """The missing entries, as I1 names them."""
    found = (each for each in report.check("I1").findings if each.kind is Kind.UNJUDGED)
    return [each.where.partition(" in ")[0] for each in found if "leaf hash" in each.expected]


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=EXHAUSTIVE)])
@pytest.mark.parametrize("name", HISTORIES)
def test_any_one_entry_of_an_honest_log(name: str, every: bool, simulations, tmp_path: Path) -> None:
    """It is named, nobody is accused, and nothing passes that needs the log."""
    simulation = simulations(name)
    kinds = types_of(simulation.path)
    last = {kind: index for index, kind in enumerate(kinds)}
    chosen = range(len(kinds)) if every else sorted({*last.values(), *map(kinds.index, last)} - {len(kinds) - 1})
    for index in chosen:
        path = without(Path(shutil.copytree(simulation.path, tmp_path / str(index))), index)
        report = audit(path, simulation.policy_data)
        assert (report.outcome, report.broken) == (Outcome.DAMAGED, ()), (kinds[index], index)
        assert named(report) == [f"entry {index}"]
        assert {each.id for each in report.checks if each.status is Status.PASS} <= {"P3"}
        shutil.rmtree(path)


@pytest.mark.parametrize("times", [4, pytest.param(60, marks=EXHAUSTIVE)])
@pytest.mark.parametrize("name", HISTORIES)
def test_any_entries_of_an_honest_log(name: str, times: int, simulations, tmp_path: Path) -> None:
    simulation, rand = simulations(name), random.Random(f"{name} {times}")
    size = len(types_of(simulation.path))
    for number in range(times):
        path = Path(shutil.copytree(simulation.path, tmp_path / str(number)))
        gone = rand.sample(range(size), rand.choice([2, 3, 6, 12]))
        report = audit(without(path, *gone), simulation.policy_data)
        assert (report.outcome, report.broken) == (Outcome.DAMAGED, ()), sorted(gone)
        assert audit(path, None).broken == ()
        shutil.rmtree(path)


def edited(kind: type, number: int | None = None, nth: int = 0, **changes: Any) -> Callable[[Forge], None]:
    return lambda forge: forge.edit(forge.find(kind, number, nth), **changes)


def excluded(forge: Forge) -> None:
    """A valid submission of round 3 is left out."""
    position = forge.find(CohortClosed, 3)
    first, *others = forge.message(position).accepted
    forge.edit(position, accepted=tuple(others), excluded=(Exclusion(first, "invalid-proof", ""),))


def reused_key(forge: Forge) -> None:
    forge.edit(forge.find(RoundKey, 3), public_key=forge.message(forge.find(RoundKey, 2)).public_key)


def other_plaintext(forge: Forge) -> None:
    position = forge.find(Aggregate, 3)
    forge.edit(position, plaintext=forge.put(flipped(forge.blob(forge.message(position).plaintext))))


def bad_proof(number: int) -> Callable[[Forge], None]:
    def lie(forge: Forge) -> None:
        position = forge.find(Submission, number)
        forge.edit(position, proof=forge.put(flipped(forge.blob(forge.message(position).proof), -1)))

    return lie


def second_release(number: int) -> Callable[[Forge], None]:
    def lie(forge: Forge) -> None:
        position = forge.find(Release, number)
        forge.insert(position + 1, forge.message(position))

    return lie


def other_sum(number: int) -> Callable[[Forge], None]:
    def lie(forge: Forge) -> None:
        position = forge.find(Aggregate, number)
        forge.edit(position, ciphertext=forge.put(flipped(forge.blob(forge.message(position).ciphertext))))

    return lie


BEHIND: dict[str, tuple[Callable[[Forge], None], set[str]]] = {  # lies about round 3; a submission of round 1 is gone
    "a false verdict": (excluded, {"I7", "I8"}),
    "a proof": (bad_proof(3), {"I6", "I7"}),
    "a key used twice": (reused_key, {"I4"}),
    "another seed": (edited(RoundOpen, 3, seed=bytes(32)), {"I4"}),
    "another policy": (edited(RoundOpen, 3, policy=bytes(32)), {"I4"}),
    "a digest": (edited(ShareAck, 3, digest=bytes(32)), {"I8"}),
    "a release": (second_release(3), {"P2"}),
    "the plaintext": (other_plaintext, {"I9", "I10", "I11"}),
    "the sum": (other_sum(3), {"I9"}),
    "the model": (edited(RoundClosed, 3, model=bytes(32)), {"I11"}),
    "who signed": (lambda forge: forge.edit(forge.find(CohortClosed, 3), signer="client-00"), {"I7"}),
    "a client's signature": (lambda forge: forge.edit(forge.find(Submission, 3), signer="client-05"), {"I5"}),
}


@pytest.mark.parametrize("gone", [Submission, pytest.param(CohortClosed, marks=EXHAUSTIVE)])
@pytest.mark.parametrize("name", list(BEHIND))
def test_a_broken_rule_behind_a_missing_entry(name: str, gone: type, forge, tmp_path: Path) -> None:
    forged = forge("eventful")
    lie, expected = BEHIND[name]
    lie(forged)
    place = forged.find(gone, 1)
    report = audit(without(forged.write(tmp_path / "t"), place), forged.policy_data)
    assert report.outcome is Outcome.BROKEN
    assert {result.id for result, _ in report.broken} >= expected
    assert named(report) == [f"entry {place}"]


BESIDE: dict[str, tuple[Callable[[Forge], None], set[str]]] = {  # lies about the round whose last submission is gone
    "a proof": (bad_proof(1), {"I6"}),
    "a release": (second_release(1), {"P2"}),
    "who signed": (lambda forge: forge.edit(forge.find(RoundClosed, 1), signer="client-00"), {"I11"}),
    "no cohort": (edited(CohortClosed, 1, accepted=()), {"P1"}),
}


@pytest.mark.parametrize("name", list(BESIDE))
def test_a_broken_rule_in_the_round_of_a_missing_entry(name: str, forge, tmp_path: Path) -> None:
    forged = forge("eventful")
    lie, expected = BESIDE[name]
    lie(forged)
    place = forged.find(Submission, 1, nth=6)
    report = audit(without(forged.write(tmp_path / "t"), place), forged.policy_data)
    assert {result.id for result, _ in report.broken} >= expected
    assert named(report) == [f"entry {place}"]


def test_a_sum_in_the_round_of_a_missing_acknowledgement(forge, tmp_path: Path) -> None:
    """All that the sum rests on is here."""
    forged = forge("eventful")
    other_sum(1)(forged)
    place = forged.find(ShareAck, 1)
    report = audit(without(forged.write(tmp_path / "t"), place), forged.policy_data)
    assert "I9" in {result.id for result, _ in report.broken}


def between_gaps(forge: Forge, kind: type, number: int, message: Any) -> tuple[int, int]:
    """An entry between two that are to be damaged, before the first of this kind in a round; where these two are."""
    place = forge.find(kind, number)
    spoilt = forge.message(place)
    for each in (spoilt, message, spoilt):
        forge.insert(place, each)
    return place, place + 2


@pytest.mark.parametrize(("odd", "number"), [(3, 1), pytest.param(50, 1, marks=EXHAUSTIVE), (1, 3)])
def test_rounds_do_not_go_back_between_two_gaps(odd: int, number: int, forge, tmp_path: Path) -> None:
    """An entry of another round there would tear all rounds between, and hide what is wrong in them."""
    forged = forge("eventful")
    policy = tmp_path / "policy"
    policy.write_bytes(forged.policy_data)
    ack = forged.message(forged.find(ShareAck, number))
    first, last = between_gaps(forged, ShareAck, number, replace(ack, round=odd))
    path = without(forged.write(tmp_path / "t"), first, last)
    back = last + 1 if odd > number else first + 1
    found = f"share-ack of round {min(odd, number)}"
    where = {
        (each.where.partition(",")[0], each.found) for result, each in audit(path, policy).broken if result.id == "I4"
    }
    assert (f"entry {back}", found) in where
    assert "I4" in agreed(path, policy)


def test_nothing_follows_the_end_behind_a_gap_either(forge, tmp_path: Path) -> None:
    forged = forge("eventful")
    place = forged.find(RoundKey, 2)
    opened = forged.message(forged.find(RoundOpen, 2))
    ended = FederationClosed(forged.policy.federation, opened.policy, opened.model, 1, "no-cohort")
    forged.insert(place, forged.message(forged.find(RoundKey, 2)))
    forged.insert(place, ended)
    path, policy = without(forged.write(tmp_path / "t"), place + 1), tmp_path / "policy"
    policy.write_bytes(forged.policy_data)
    report, expected = audit(path, policy), f"nothing after {OVER}"
    assert [each for result, each in report.broken if result.id == "I4" and each.expected == expected]
    assert "I4" in agreed(path, policy)


def test_nobody_is_named_whose_key_may_have_been_replaced(simulations, copied) -> None:
    """The rotation of a trustee is missing: with its first key it may be anybody who signs."""
    simulation, path = simulations("changed"), copied("changed")
    places = [index for index, kind in enumerate(types_of(path)) if kind == "key-rotation"]
    report = audit(without(path, *places), simulation.policy_data)
    unjudged = {each.where.rpartition(", ")[2] for each in report.check("I8").findings}
    assert "signature" in unjudged
    assert report.broken == ()
    assert not [note for result in report.checks for note in result.notes if "is named" in note]


def agreed(path: Path, policy: Path) -> set[str]:
    """What fails, for both auditors."""
    first, second = audit(path, policy), second_audit(path, policy)
    assert second.checks == {result.id: result.status.value for result in first.checks}, second.findings
    return failed(first)


EVERY_RUN = ("key-rotation", "round-open")


@pytest.mark.parametrize("name", ["honest", pytest.param("rejected", marks=EXHAUSTIVE)])
@pytest.mark.parametrize(
    "kind", [name if name in EVERY_RUN else pytest.param(name, marks=EXHAUSTIVE) for name in MESSAGE_TYPES.names]
)
def test_the_second_auditor_says_the_same(name: str, kind: str, tmp_path: Path) -> None:
    from tests.golden.regenerate import DIRECTORY

    path = Path(shutil.copytree(DIRECTORY / name / "transcript", tmp_path / "t"))
    places = [index for index, found in enumerate(types_of(path)) if found == kind]
    for place in {*places[:1], *places[-1:]}:
        assert "I1" in agreed(without(path, place), DIRECTORY / name / "policy.cbor")


def test_a_bundle_that_ends_too_early(simulations, copied) -> None:
    """What it still divides into is judged, with the tile for the rest."""
    simulation, path = simulations("eventful"), copied("eventful")
    kinds = types_of(path)
    file = path / bundle_of(0, len(kinds)).path
    file.write_bytes(file.read_bytes()[:-1])
    report = audit(path, simulation.policy_data)
    assert named(report) == [f"entry {len(kinds) - 1}"]
    assert (report.outcome, report.broken) == (Outcome.DAMAGED, ())


def test_bytes_behind_the_entries_hide_none_of_them(simulations, copied) -> None:
    simulation, path = simulations("quiet"), copied("quiet")
    file = path / bundle_of(0, len(types_of(path))).path
    file.write_bytes(file.read_bytes() + b"more")
    report = audit(path, simulation.policy_data)
    assert (report.outcome, failed(report)) == (Outcome.DAMAGED, {"I1"})
    assert {each.id for each in report.checks if each.status is Status.PASS} >= {"I2", "I6", "I11", "P7"}


def steps(*rounds: int | str) -> list[Heading]:
    """A submission of each of these rounds; the end of a round with an exclamation mark; missing ones as 0."""
    made = []
    for each in rounds:
        kind = "round-closed" if isinstance(each, str) else "submission"
        made.append(Heading(MISSING, 0) if each == 0 else Heading(kind, int(str(each)[:1])))
    return made


@pytest.mark.parametrize(
    ("given", "torn"),
    [
        (steps(1, 1, 0, 1), {1}),
        (steps(1, "1!", 0, 2), {2}),
        (steps(1, 0, 2), {1, 2}),
        (steps(0, 2, "2!", 3), set()),  # the Genesis is of none
        (steps(0, 0, 2, "2!", 3), {1, 2}),
        (steps(1, "1!", 2, 0), {*range(2, 10)}),
        (steps(1, 0, 0, 3, "3!", 4, 0, 4), {1, 2, 3, 4}),
        (steps(1, 0, 1, "1!", 2, "2!", 3, 0, 3), {1, 3}),
    ],
)
def test_which_rounds_a_missing_entry_may_be_of(given: list[Heading], torn: set[int]) -> None:
    found = Torn.of(given, [place for place, step in enumerate(given) if step.type == MISSING])
    assert {number for number in range(1, 10) if found.touches(number, number)} == torn
    assert found.touches(NEVER - 1, NEVER) == (9 in torn)


def test_a_bundle_that_is_missing_in_the_middle(tmp_path: Path) -> None:
    """Its entries keep their places by its tile; those of the bundles around it are had. Without the tile, too, no
    more is known than what is before it."""
    entries = [f"entry {number}".encode() for number in range(600)]
    write_transcript(tmp_path, b"", entries, [], {600: signed_note})
    leaves, size = [leaf_hash(entry) for entry in entries], len(entries)
    (tmp_path / "tile" / "entries" / "001").unlink()
    reader = TranscriptReader(tmp_path)
    assert tile_leaves(reader, size) == leaves
    assert list(entries_of(reader, size, leaves)) == [*entries[:256], *[None] * 256, *entries[512:]]
    assert roots_at(leaves, [600, 700]) == {600: root(leaves)}
    (tmp_path / "tile" / "0" / "000").unlink()
    assert tile_leaves(reader, size) == leaves  # of the first bundle the entries are there
    (tmp_path / "tile" / "0" / "001").unlink()
    assert tile_leaves(reader, size) == leaves[:256]


def signed_note(size: int, head: bytes) -> bytes:
    return sign_checkpoint(Checkpoint("example.org/log", size, head), "example.org/log", identity_of("coordinator"))
