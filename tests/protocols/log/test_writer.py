"""Writing transcripts: layout, repetition, refusals, and a kill before every single step."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import Entry, entry_blobs, seal
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, sign_checkpoint
from protocols.log.merkle import leaf_hash, root
from protocols.log.reader import TranscriptReader
from protocols.log.writer import TranscriptWriter
from protocols.messages import Genesis
from tests.protocols.log.transcripts import (
    LOG,
    ORIGIN,
    POLICY,
    Numbered,
    blob,
    blob_hashes,
    build,
    contents,
    entry,
    extend,
    note,
    open_writer,
    references,
)

pytestmark = pytest.mark.usefixtures("synced")


def files_of(path: Path) -> set[str]:
    reader = TranscriptReader(path)
    return reader.expected_files(reader.size, blob_hashes(reader.size))


def test_exactly_the_expected_files(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    with open_writer(path) as writer:
        for size in (3, 12, 256, 300, 513):
            extend(writer, size)
            assert set(contents(path)) == files_of(path)
            assert writer.root() == root([leaf_hash(entry(number)) for number in range(size)])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["transcript", "transcript.lock"]


def test_history_of_publications_does_not_show_in_the_tree(tmp_path: Path) -> None:
    build(tmp_path / "a", 3, 12, 256, 300, 513)
    build(tmp_path / "b", 513)
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert {path: data for path, data in one.items() if path in other} == other
    notes = [f"checkpoints/{size}" for size in (12, 256, 3, 300)]
    assert sorted(set(one) - set(other)) == [*notes, "tile/1/000.p/1"]  # which 256 and 300 need, and is not full


def test_reopening_changes_nothing_and_continues(tmp_path: Path) -> None:
    path, straight = tmp_path / "transcript", tmp_path / "straight"
    for size in (7, 260):
        build(path, size)
        before = contents(path)
        with open_writer(path) as writer:
            assert (writer.size, writer.published_size) == (size, size)
        assert contents(path) == before
    build(straight, 7, 260)
    assert contents(path) == contents(straight)


def test_files_are_publishable_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        build(tmp_path / "transcript", 12)
    finally:
        os.umask(old)
    path = tmp_path / "transcript"
    modes = {(item.is_dir(), stat.S_IMODE(item.stat().st_mode)) for item in (path, *path.rglob("*"))}
    assert modes == {(True, 0o755), (False, 0o644)}
    assert stat.S_IMODE((tmp_path / "transcript.lock").stat().st_mode) == 0o600


def test_a_second_writer_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    with open_writer(path), pytest.raises(Misuse, match="another writer"):
        open_writer(path)
    closed = open_writer(path)
    closed.close()
    open_writer(path).close()
    with pytest.raises(Misuse, match="closed"):
        closed.put_blob(b"late")


def test_blobs_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    steps: list[str] = []
    with open_writer(path, steps.append) as writer:
        first = writer.put_blob(blob(0))
        assert any(step.startswith("write blobs/") for step in steps)
        steps.clear()
        assert writer.put_blob(blob(0)) == first
        assert steps == []
        (path / "blobs" / first.hex()[:2] / first.hex()).write_bytes(b"damaged")
        writer.put_blob(blob(0))
        assert TranscriptReader(path).blob(first, 1000) == blob(0)


def test_publishing_the_same_note_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    with open_writer(path) as writer:
        extend(writer, 12)
        before = contents(path)
        writer.publish(note(writer))
        assert contents(path) == before


def test_a_note_may_cover_a_part_of_the_pending_entries(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    with open_writer(path) as writer:
        writer.put_policy(POLICY)
        writer.put_blob(blob(0))
        assert writer.append([Numbered(0), Numbered(1)]) == 0
        covering = note(writer)
        assert writer.append([Numbered(2)]) == 2
        writer.publish(covering)
        assert (writer.published_size, writer.size) == (2, 3)
        assert TranscriptReader(path).entries(0, 2) == [entry(0), entry(1)]
        writer.publish(note(writer))
        assert TranscriptReader(path).entries(0, 3) == [entry(0), entry(1), entry(2)]


def test_refused_publications_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    with open_writer(path) as writer:
        extend(writer, 12)
        before = contents(path)
        writer.append([Numbered(13)])
        good = Checkpoint(ORIGIN, writer.size, writer.root())
        for size, expected in ((12, "a size in 13"), (14, "a size in 13"), (5, "a size in 13")):
            with pytest.raises(Misuse, match=expected):
                writer.publish(sign_checkpoint(Checkpoint(ORIGIN, size, good.root), ORIGIN, LOG))
        with pytest.raises(Misuse, match="expected the root"):
            writer.publish(sign_checkpoint(Checkpoint(ORIGIN, 13, bytes(32)), ORIGIN, LOG))
        with pytest.raises(Malformed):
            writer.publish(b"no note")
        writer.append([Numbered(50)])
        with pytest.raises(Misuse, match="put_blob was not called"):
            writer.publish(note(writer))
        assert contents(path) == before


def test_what_is_appended_was_decoded(tmp_path: Path) -> None:
    """It has its bytes, and the blobs that they name; nothing else can be appended."""
    good = seal(Genesis("f", bytes(32), bytes(32), None, None), "coordinator", SigningKey.from_seed(bytes(32)))
    opened = Entry.open(good)
    assert opened.blobs == entry_blobs(good) == (bytes(32), bytes(32))
    for bad in (b"", bytes(65536), b"not an envelope"):
        with pytest.raises(Malformed):
            Entry.open(bad)
        with pytest.raises(Malformed):
            entry_blobs(bad)
    with TranscriptWriter(tmp_path / "transcript") as writer:
        assert writer.append([opened]) == 0
        assert writer.size == 1
        with pytest.raises(Misuse, match="put_blob was not called"):
            writer.publish(note(writer))


def test_one_policy(tmp_path: Path) -> None:
    with open_writer(tmp_path / "transcript") as writer:
        first = writer.put_policy(b"a policy")
        assert writer.put_policy(b"a policy") == first
        with pytest.raises(Misuse, match="another policy"):
            writer.put_policy(b"another")
        assert TranscriptReader(tmp_path / "transcript").blob(first, 100) == b"a policy"


def test_unknown_files_are_left_for_the_auditor(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    build(path, 12)
    (path / "notes.txt").write_bytes(b"mine")
    (path / "tile" / "0" / "readme").write_bytes(b"mine")
    open_writer(path).close()
    assert set(contents(path)) - files_of(path) == {"notes.txt", "tile/0/readme"}


def test_a_damaged_transcript_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    build(path, 12)
    damaged = path / "tile" / "entries" / "000.p" / "12"
    damaged.write_bytes(damaged.read_bytes().replace(b"entry 4", b"entry 5"))
    for _ in range(2):  # the lock is given back
        with pytest.raises(Rejected) as caught:
            open_writer(path)
        assert caught.value.check == "tile-mismatch"


def test_a_log_whose_latest_checkpoint_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    build(path, 3, 12)
    (path / "checkpoint").unlink()
    before = contents(path)
    with pytest.raises(Rejected) as caught:
        open_writer(path)
    assert caught.value.check == "file-missing"
    assert caught.value.expected == str(path / "checkpoint")
    assert contents(path) == before


class Killed(BaseException):
    """Raised in place of a step: nothing after it happens, as with a kill."""


def killed_run(path: Path, size: int, countdown: int) -> str | None:
    """Extend the transcript to `size` entries, die before step number `countdown`; return that step."""
    remaining = [countdown]

    def step(description: str) -> None:
        if remaining[0] == 0:
            raise Killed(description)
        remaining[0] -= 1

    writer = open_writer(path, step)
    try:
        extend(writer, size)
    except Killed as death:
        return str(death)
    finally:
        writer.close()
    return None


@pytest.mark.parametrize(("published", "size"), [(0, 3), (250, 258)])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_state(tmp_path: Path, published: int, size: int) -> None:
    sizes = [published] if published else []
    build(tmp_path / "old", *sizes)
    build(tmp_path / "new", *sizes, size)
    old, new = contents(tmp_path / "old"), contents(tmp_path / "new")
    states, deaths = [], []
    for countdown in range(1000):
        path = tmp_path / f"killed-{countdown}"
        shutil.copytree(tmp_path / "old", path)
        death = killed_run(path, size, countdown)
        if published or (path / "checkpoint").exists():  # before any recovery, readers see one of the two
            reader = TranscriptReader(path)
            assert sum(len(entries) for entries in reader.replay()) in (published, size)
        with open_writer(path) as writer:
            recovered = contents(path)
            assert recovered in (old, new)
            states.append(recovered == new)
            if death is None:
                break
            deaths.append(death)
            writer.sync()  # also of directories that recovery has removed
            if countdown % 7 == 0:
                extend(writer, size)
                assert contents(path) == new
    assert states == sorted(states)
    assert {"rename checkpoint", "write checkpoint", "sync checkpoint", f"rename checkpoints/{size}"} <= set(deaths)
    assert states[-1]
    assert len(deaths) > 25


@pytest.mark.parametrize("countdown", [0, 8, 15, 22, 25, 30])
def test_a_process_that_dies(tmp_path: Path, countdown: int) -> None:
    """The same with a process that is gone at once: nothing of it cleans up, and its lock is free."""
    path = tmp_path / "transcript"
    build(path, 250)
    build(tmp_path / "new", 250, 258)
    old, new = contents(path), contents(tmp_path / "new")
    child = os.fork()
    if child == 0:
        remaining = [countdown]

        def step(description: str) -> None:
            if remaining[0] == 0:
                os._exit(9)
            remaining[0] -= 1

        extend(open_writer(path, step), 258)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    open_writer(path).close()
    assert contents(path) in (old, new)


def test_a_failed_publication_can_be_repeated(tmp_path: Path) -> None:
    """A full disk is an OSError in the middle; the same call, later, completes."""
    path, failures = tmp_path / "transcript", iter([12, 20, 10])
    build(tmp_path / "straight", 258)
    state = [next(failures)]

    def step(description: str) -> None:
        state[0] -= 1
        if state[0] == 0:
            state[0] = next(failures, -1)
            raise OSError(28, "No space left on device", description)

    failed = 0
    with open_writer(path, step) as writer:
        for _ in range(20):
            try:
                extend(writer, 258) if not writer.size else republish(writer)
            except OSError:
                failed += 1
                continue
            break
    assert failed >= 2
    assert contents(path) == contents(tmp_path / "straight")


def republish(writer: TranscriptWriter) -> None:
    writer.put_policy(POLICY)
    for number in range(0, writer.size, 50):
        writer.put_blob(blob(number))
    writer.publish(note(writer))


def test_pending_blobs_without_an_entry_are_dropped_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "transcript"
    build(path, 12)
    before = contents(path)
    with open_writer(path) as writer:
        writer.put_blob(b"of no entry")
        writer.append([Numbered(13)])
    open_writer(path).close()
    assert contents(path) == before
    assert list(references(entry(13))) == []
