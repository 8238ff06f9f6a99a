"""What an audit costs grows with the log, and not faster: logs made to be expensive, each at two sizes.

For all checks but I1 the entries are filed without signatures and files, which cost each entry the same, so that tens
of thousands are quick to make; I1 reads directories. What is timed is processor time; a check that would compare
entries in pairs has an exponent of two.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from auditor.checks import CHECKS
from auditor.checks.privacy import PolicyAndLog, Schema
from auditor.course import course_of
from auditor.filing import Filing
from auditor.findings import DoesNotApply, Findings, Result, Unavailable
from auditor.index import Heading, number_of
from auditor.outcomes import CheckRun, in_order
from auditor.signed_log import SignedLog
from auditor.stories import Told, explain
from proofs.errors import Malformed, Rejected
from protocols import messages
from protocols.cohorts import ack_digest
from protocols.envelopes import seal
from protocols.log.checkpoint import Checkpoint, add_cosignatures, cosign, sign_checkpoint
from protocols.log.reader import TranscriptReader
from protocols.messages import (
    Aggregate,
    CohortClosed,
    Dispute,
    EncryptedShare,
    Exclusion,
    KeyRotation,
    Message,
    MissingParty,
    Release,
    RoundAborted,
    RoundClosed,
    RoundKey,
    RoundOpen,
    ShareAck,
    Submission,
)
from tests.auditor.conftest import case_of, hands_of
from tests.auditor.forge import CLOCK, write_transcript
from tests.simulator import Setting, identity_of, make_policy
from tests.spelling import answering, judging

CLIENTS = 40
FEDERATION, ORIGIN = "simulated", "example.org/simulated"
NOTHING = bytes(32)
NAMES = {each.cls: each.name for each in messages.MESSAGE_TYPES}
STEEPEST = 1.5  # log(time) over log(size); 1 is linear, 2 is every pair
NOT_HERE = ("I1",)  # see DIRECTORIES
NOISE = 0.05  # seconds: what takes less is not judged


@lru_cache(maxsize=1)
def policy() -> bytes:
    data, _ = make_policy(Setting(clients=CLIENTS, min_cohort=1, max_rounds=10**6, max_aborts=10**6))
    return data


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


class Log:
    """Entries without envelopes: filed as a reader of the log files them once they are decoded."""

    def __init__(self, path: Path) -> None:
        (path / "checkpoint").touch()  # of which nothing is read here
        self.case = case_of(path, policy())
        self.filing = Filing(self.case.pinned_policy)
        self.roots: dict[int, bytes] = {}

    @property
    def signed(self) -> SignedLog:
        """As I1 would leave it."""
        return SignedLog(policy=self.case.policy, filed=self.filing.index(), roots=self.roots)

    def add(self, message: Message) -> int:
        position = len(self.filing._headings)
        self.filing._headings.append(Heading(NAMES[type(message)], number_of(message)))
        self.filing._file(position, digest(position), message)
        return position

    def opened(self, number: int, keys: tuple[int, ...] = ()) -> int:
        hashes = tuple(digest(key) for key in keys)
        model, before = self.case.policy.initial_model, number - 1 or None
        opening = RoundOpen(
            FEDERATION, number, NOTHING, model, 1, NOTHING, NOTHING, NOTHING, keys, hashes, before, None, None
        )
        position = self.add(opening)
        self.roots.update(dict.fromkeys((position, position + 1), NOTHING))
        return position

    def submission(self, number: int, opened: int, client: str, shares: int = 0) -> int:
        names = [digest(len(self.filing._headings), field) for field in range(4 + shares)]
        sealed = tuple(EncryptedShare(f"trustee-{i % 5}", name) for i, name in enumerate(names[4:]))
        hashed = (names[0], names[1], names[2])
        return self.add(Submission(FEDERATION, number, digest(opened), client, *hashed, sealed, names[3], *[None] * 5))

    def ack(self, number: int, opened: int, trustee: str, held: list[int], disputed: list[int]) -> int:
        pairs = [(self.filing._rounds[number].submissions[index].client, digest(index)) for index in held]
        right = ack_digest(digest(opened), trustee, pairs)
        answers = answering(opened + 1, held, [Dispute(index, "share-opening") for index in disputed])
        return self.add(ShareAck(FEDERATION, number, digest(opened), trustee, *answers, right))


Stuffing = Callable[[Log, int], None]


def cohorts_of_one(log: Log, count: int) -> None:
    """Each of another client, all on one model, all aborted once they are closed."""
    for number in range(1, count // 4 + 1):
        opened = log.opened(number)
        only = log.submission(number, opened, f"client-{number % CLIENTS:02}")
        closed = log.add(CohortClosed(FEDERATION, number, digest(opened), *judging(opened + 1, [only]), (), NOTHING))
        log.add(RoundAborted(FEDERATION, number, digest(opened), digest(closed), "missing-releases", ()))


def rounds_not_to_be_opened(log: Log, count: int) -> None:
    """One after the other aborted before its cohort, on one model."""
    for number in range(1, count // 4 + 1):
        opened = log.opened(number)
        for client in range(2):
            log.submission(number, opened, f"client-{(number + client) % CLIENTS:02}")
        log.add(RoundAborted(FEDERATION, number, digest(opened), None, "too-few-submissions", ()))


def names_of_nobody(log: Log, count: int) -> None:
    """Each abort names other parties as missing."""
    for number in range(1, count // 8 + 1):
        opened = log.opened(number)
        closed = log.add(CohortClosed(FEDERATION, number, digest(opened), *judging(opened + 1, []), (), NOTHING))
        missing = tuple(MissingParty(f"nobody-{number}-{each}", "no-release") for each in range(64))
        log.add(RoundAborted(FEDERATION, number, digest(opened), digest(closed), "missing-releases", missing))


def keys_and_submissions(log: Log, count: int) -> None:
    """One round with as many keys as submissions, each of a key's size in bytes at least."""
    key = RoundKey(FEDERATION, NOTHING, 1, "nobody", bytes(1216), None, None)
    keys = [log.add(replace(key, trustee=f"nobody-{each}")) for each in range(count // 8)]
    opened = log.opened(1, tuple(keys[:64]))
    for each in range(count):
        log.submission(1, opened, f"nobody-{each}")


def acknowledgements(trustee: Callable[[int], str]) -> Stuffing:
    def stuff(log: Log, count: int) -> None:
        opened = log.opened(1)
        made = [log.submission(1, opened, f"client-{each % CLIENTS:02}") for each in range(count // 4)]
        for each in range(count // 4):
            log.ack(1, opened, trustee(each), made[:20], made[20:40])
        log.add(CohortClosed(FEDERATION, 1, digest(opened), *judging(opened + 1, made[:20]), ("trustee-0",), NOTHING))

    return stuff


def one_client_again_and_again(log: Log, count: int) -> None:
    """All of it acknowledged or disputed, and then excluded: a story of one client that is as long as the log."""
    opened = log.opened(1)
    made = [log.submission(1, opened, "client-00") for _ in range(count // 2)]
    half = len(made) // 2
    for each in range(5):
        log.ack(1, opened, f"trustee-{each}", made[:half], made[half:])
    judged = judging(opened + 1, made[:1], [Exclusion(index, "duplicate", "") for index in made[1:]])
    log.add(CohortClosed(FEDERATION, 1, digest(opened), *judged, ("trustee-0",), NOTHING))


def cohorts_of_one_round(log: Log, count: int) -> None:
    opened = log.opened(1)
    made = [log.submission(1, opened, f"client-{each % CLIENTS:02}") for each in range(CLIENTS)]
    judged = judging(opened + 1, made[:20], [Exclusion(index, "disputed", "") for index in made[20:]])
    for _ in range(count // 2):
        log.add(CohortClosed(FEDERATION, 1, digest(opened), *judged, ("trustee-0",), NOTHING))


def releases(trustee: Callable[[int], str]) -> Stuffing:
    def stuff(log: Log, count: int) -> None:
        opened = log.opened(1)
        made = tuple(log.submission(1, opened, f"client-{each:02}") for each in range(CLIENTS))
        asked = (*(f"trustee-{each}" for each in range(5)), *(f"nobody-{each}" for each in range(59)))
        closed = log.add(CohortClosed(FEDERATION, 1, digest(opened), *judging(opened + 1, made), asked, NOTHING))
        for each in range(count):
            log.add(Release(FEDERATION, 1, digest(closed), NOTHING, trustee(each), digest("share", each)))
        log.add(RoundAborted(FEDERATION, 1, digest(opened), digest(closed), "missing-releases", ()))

    return stuff


def ends(log: Log, count: int) -> None:
    """Aggregates, ends and aborts of one round."""
    opened = log.opened(1)
    made = tuple(log.submission(1, opened, f"client-{each:02}") for each in range(CLIENTS))
    closed = log.add(CohortClosed(FEDERATION, 1, digest(opened), *judging(opened + 1, made), ("trustee-0",), NOTHING))
    for each in range(count // 4):
        summed = Aggregate(FEDERATION, 1, digest(closed), tuple(range(each, each + 4)), *[NOTHING] * 4, None, None)
        last = log.add(summed)
        log.add(RoundClosed(FEDERATION, 1, digest(last), NOTHING, None))
        log.add(RoundAborted(FEDERATION, 1, digest(opened), None, "no-quorum", ()))


def rounds_in_disorder(log: Log, count: int) -> None:
    """Every entry is of another round than the one before."""
    numbers = [1 + each * 7919 % count for each in range(count)]
    opened = {number: log.opened(number) for number in numbers[: count // 4]}
    for each in range(count // 4):
        number = numbers[each * 3 % (count // 4)]
        log.submission(number, opened[number], f"client-{each % CLIENTS:02}")


def many_shares(log: Log, count: int) -> None:
    opened = log.opened(1)
    for each in range(count // 8):
        log.submission(1, opened, f"client-{each % CLIENTS:02}", shares=64)


def changes(log: Log, count: int) -> None:
    for each in range(count):
        log.add(KeyRotation(FEDERATION, NOTHING, f"client-{each % CLIENTS:02}", NOTHING, digest(each), bytes(64)))
    log.opened(1)


STUFFINGS: dict[str, Stuffing] = {
    "cohorts of one": cohorts_of_one,
    "rounds not to be opened": rounds_not_to_be_opened,
    "names of nobody": names_of_nobody,
    "keys and submissions": keys_and_submissions,
    "acknowledgements of trustees": acknowledgements(lambda each: f"trustee-{each % 5}"),
    "acknowledgements of nobody": acknowledgements(lambda each: f"nobody-{each}"),
    "one client": one_client_again_and_again,
    "cohorts of one round": cohorts_of_one_round,
    "releases of trustees": releases(lambda each: f"trustee-{each % 5}"),
    "releases of nobody": releases(lambda each: f"nobody-{each}"),
    "ends": ends,
    "rounds in disorder": rounds_in_disorder,
    "many shares": many_shares,
    "changes": changes,
}


def timed(stuff: Stuffing, path: Path, count: int) -> dict[str, float]:
    """Processor seconds of each check but I1, of stories of a client, a trustee and the server, of the course."""
    log = Log(path)
    stuff(log, count)
    with undisturbed():
        return dict(measured(log))


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Without garbage collection: its turns come with what all of the process has, not with what a check does."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measured(log: Log) -> Iterator[tuple[str, float]]:
    hands, nothing = hands_of(log.case), Findings("", "").result("")
    ended: dict[type[Result], CheckRun[Any]] = {SignedLog: CheckRun(nothing, log.signed)}
    for check in in_order(CHECKS):
        if check.number in NOT_HERE:
            continue
        given, left = check.given(hands, ended), None
        started, findings = time.process_time(), Findings(check.number, "")
        with contextlib.suppress(Malformed, Rejected, Unavailable, DoesNotApply):
            left = check(given, findings)
        yield check.number, time.process_time() - started
        ended[check.leaves] = CheckRun(nothing, left)
    for party in ("client-00", "trustee-0", "coordinator"):
        started = time.process_time()
        explain(Told.of(log.case, ended), [], party)
        yield f"the story of {party}", time.process_time() - started
    started = time.process_time()
    course_of(Told.of(log.case, ended), [])
    yield "the course", time.process_time() - started


def steep(stuff: Stuffing, path: Path, count: int) -> Iterator[str]:
    """The checks that grow too fast between a log and one of four times its size."""
    yield from too_steep(timed(stuff, path, count), timed(stuff, path, 4 * count))


def too_steep(small: Mapping[str, float], large: Mapping[str, float]) -> Iterator[str]:
    """What takes four times as much too long, of seconds by name."""
    for name, seconds in large.items():
        if seconds > NOISE and (found := math.log(seconds / max(small[name], 1e-4), 4)) > STEEPEST:
            yield f"{name}: {small[name]:.3f} s, then {seconds:.3f} s, exponent {found:.2f}"


@pytest.mark.parametrize("name", STUFFINGS)
def test_four_times_the_log_is_four_times_the_work(name: str, tmp_path: Path) -> None:
    """A second look at what seems steep: something else may have had the processor."""
    found = list(steep(STUFFINGS[name], tmp_path, 2000))
    assert not found or not (again := list(steep(STUFFINGS[name], tmp_path, 2000))), again


# ---- I1 ----


class Transcript:
    """A directory to be: sealed entries, checkpoints at these sizes and at the end, files beside them."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.sizes: set[int] = set()
        self.files: list[str] = []
        self.cosigners = 1

    def add(self, message: Message, signer: str) -> None:
        self.entries.append(seal(message, signer, identity_of(signer)))

    def note(self, size: int, root: bytes) -> bytes:
        head = Checkpoint(ORIGIN, size, root)
        note = sign_checkpoint(head, head.origin, identity_of("coordinator"))
        names = [f"trustee-{each}" for each in range(self.cosigners)]
        return add_cosignatures(note, [cosign(head, name, identity_of(name), CLOCK) for name in names])

    def write(self, path: Path) -> None:
        notes = dict.fromkeys([*self.sizes, len(self.entries)], self.note)
        write_transcript(path, policy(), self.entries, [], notes)
        for name in self.files:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).touch()


def entries_of_nobody(made: Transcript, count: int) -> None:
    made.entries += [digest(each) for each in range(4 * count)]


def checkpoints_everywhere(made: Transcript, count: int) -> None:
    made.entries += [digest(each) for each in range(count)]
    made.sizes.update(range(1, count))
    made.cosigners = 5


def rotations_and_openings(made: Transcript, count: int) -> None:
    """Rotations that are none, and rounds that would have to be opened with all of them; a checkpoint at each."""
    opened = RoundOpen(FEDERATION, 1, NOTHING, NOTHING, 1, NOTHING, NOTHING, NOTHING, (), (), None, None, None)
    for each in range(count // 2):
        name = f"trustee-{each % 5}"
        made.add(KeyRotation(FEDERATION, NOTHING, name, NOTHING, digest(each), bytes(64)), name)
        made.add(opened, "coordinator")
        made.sizes.add(len(made.entries))


def blobs_that_are_not_there(made: Transcript, count: int) -> None:
    """Each of many roles, and one that all entries name."""
    for each in range(count // 4):
        names = [digest(each, field) for field in range(9)]
        sealed = tuple(EncryptedShare(f"trustee-{i}", name) for i, name in enumerate(names[4:]))
        fields = (names[0], NOTHING, names[2], sealed, names[3], *[None] * 5)
        made.add(Submission(FEDERATION, 1, NOTHING, "client-00", *fields), "client-00")


def files_of_strangers(made: Transcript, count: int) -> None:
    made.entries.append(b"")
    made.files += [f"blobs/{each % 256:02x}/of-{each}" for each in range(count)]
    made.files += [f"blobs/{each % 256:02x}/.{each}.swp" for each in range(count)]
    made.files += [f"of/{each}/.DS_Store" for each in range(count)]


DIRECTORIES: dict[str, Callable[[Transcript, int], None]] = {
    "entries of nobody": entries_of_nobody,
    "checkpoints everywhere": checkpoints_everywhere,
    "rotations and openings": rotations_and_openings,
    "blobs that are not there": blobs_that_are_not_there,
    "files of strangers": files_of_strangers,
}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """A directory of the kind, and one of four times its size."""

    def make(name: str, count: int = 500) -> list[Path]:
        paths = [tmp_path_factory.mktemp("small"), tmp_path_factory.mktemp("large")]
        for path, size in zip(paths, (count, 4 * count), strict=True):
            made = Transcript()
            DIRECTORIES[name](made, size)
            made.write(path)
        return paths

    return make


def read(path: Path) -> dict[str, float]:
    """Processor seconds of I1, which has something to find."""
    findings = Findings("I1", "log")
    given = CHECKS["I1"].given(hands_of(case_of(path, policy())), {})
    with undisturbed():
        started = time.process_time()
        CHECKS["I1"](given, findings)
        seconds = time.process_time() - started
    assert findings.result("").findings
    return {"I1": seconds}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_four_times_the_directory_is_four_times_the_work(name: str, directories: Callable[[str], list[Path]]) -> None:
    small, large = directories(name)
    found = list(too_steep(read(small), read(large)))
    assert not found or not (again := list(too_steep(read(small), read(large)))), again


def test_the_measure_sees_what_is_quadratic_in_a_directory(
    directories: Callable[[str], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever would ask of each checkpoint what the first was."""
    honest = TranscriptReader.note

    def slow(self: TranscriptReader, size: int) -> bytes:
        return next(
            note for note in [honest(self, each) for each in self.checkpoints()] if f"\n{size}\n".encode() in note
        )

    small, large = directories("checkpoints everywhere", 50)
    monkeypatch.setattr(TranscriptReader, "note", slow)
    (found,) = too_steep(read(small), read(large))
    assert found.startswith("I1: ")


def test_the_measure_sees_what_is_quadratic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = CHECKS["P7"]

    def pairs(given: PolicyAndLog, _: Findings) -> Schema:
        indices = list(given.log.index.rounds[1].submissions)
        return Schema(str(sum(first > second for first in indices for second in indices)))

    monkeypatch.setitem(CHECKS, "P7", replace(honest, run=pairs))  # type: ignore[misc]  # a mapping to everybody else
    (found,) = steep(STUFFINGS["one client"], tmp_path, 1000)
    assert found.startswith("P7: ")
