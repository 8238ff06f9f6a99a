"""Party state on disk: private, durable, erased when told so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse
from protocols.stores import MemoryStore
from verifl.storage.stores import DirectoryStore, StoredValues, make_private_directory, replacing

pytestmark = pytest.mark.usefixtures("synced")

KEYS = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=20)  # at most 80 bytes


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "party")


@given(steps=st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=30)), max_size=12))
@settings(max_examples=10, deadline=None)
def test_behaves_like_the_store_in_memory(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    path = tmp_path_factory.mktemp("store") / "party"
    ours, twin = DirectoryStore(path), MemoryStore()
    for key, value in steps:
        for each in (ours, twin):
            each.delete(key) if value is None else each.put(key, value)
        assert ours.get(key) == twin.get(key)
    assert DirectoryStore(path).keys() == twin.keys()


def test_nobody_else_can_read_it(store: DirectoryStore, tmp_path: Path) -> None:
    store.put("round/1/../key", b"secret")
    assert (tmp_path / "party").stat().st_mode & 0o777 == 0o700
    files = list((tmp_path / "party").iterdir())
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]
    assert store.get("round/1/../key") == b"secret"


def test_a_readable_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(Misuse, match=r"has mode 755, expected 700; run `chmod 700"):
        DirectoryStore(tmp_path / "open")


def test_an_interrupted_write_leaves_the_old_value(store: DirectoryStore, tmp_path: Path) -> None:
    store.put("key", b"old")
    (file,) = (tmp_path / "party").iterdir()
    with pytest.raises(FileExistsError), replacing(file, 0o600) as temporary:
        temporary.mkdir()
    assert store.get("key") == b"old"
    (tmp_path / "party" / ".left.tmp").touch(0o600)
    (tmp_path / "party" / ".left.tmp").write_bytes(b"from a crash")
    assert DirectoryStore(tmp_path / "party").keys() == ["key"]
    assert len(list((tmp_path / "party").iterdir())) == 1


def test_an_erased_value_is_gone_from_a_linked_file_too(store: DirectoryStore, tmp_path: Path) -> None:
    store.put("key", b"round private key")
    (file,) = (tmp_path / "party").iterdir()
    os.link(file, tmp_path / "second-name")
    store.delete("key")
    store.delete("key")
    assert store.get("key") is None
    assert b"private" not in (tmp_path / "second-name").read_bytes()


def test_keys_have_a_length(store: DirectoryStore) -> None:
    store.put("k" * 100, b"")
    with pytest.raises(Misuse, match="1 to 100 bytes"):
        store.put("k" * 101, b"")


# ---- what is not the party's own ----


def every_use(path: Path) -> list[Callable[[], object]]:
    """Each way to read or write the state of a party in `path`."""
    with_store = [lambda: DirectoryStore(path)]
    reading = [lambda: StoredValues(path).get("key"), lambda: StoredValues(path).keys()]
    return [*with_store, *reading, lambda: make_private_directory(path)]


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o770, 0o707, 0o750])
def test_a_directory_that_others_can_enter(tmp_path: Path, mode: int) -> None:
    store = DirectoryStore(tmp_path / "party")
    store.put("key", b"secret")
    (tmp_path / "party").chmod(mode)
    uses = [*every_use(tmp_path / "party"), lambda: store.put("key", b"new"), lambda: store.delete("key")]
    for use in uses:
        with pytest.raises(Misuse, match=rf"has mode {mode:o}, expected 700; run `chmod 700"):
            use()
    (tmp_path / "party").chmod(0o700)
    assert store.get("key") == b"secret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_value_that_others_can_read_or_write(store: DirectoryStore, tmp_path: Path, mode: int) -> None:
    store.put("key", b"secret")
    (file,) = (tmp_path / "party").iterdir()
    file.chmod(mode)
    for use in (lambda: store.get("key"), lambda: store.delete("key")):
        with pytest.raises(Misuse, match=rf"has mode {mode:o}, expected 600; run `chmod 600"):
            use()
    file.chmod(0o600)
    assert store.get("key") == b"secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_somebody_else(store: DirectoryStore, tmp_path: Path) -> None:
    store.put("key", b"secret")
    (file,) = (tmp_path / "party").iterdir()
    os.chown(file, 4242, -1)
    with pytest.raises(Misuse, match="belongs to user 4242, and this process runs as user 0; run as its owner"):
        store.get("key")
    os.chown(file, 0, -1)
    os.chown(tmp_path / "party", 4242, -1)
    for use in [*every_use(tmp_path / "party"), lambda: store.put("key", b"new")]:
        with pytest.raises(Misuse, match="belongs to user 4242"):
            use()


def test_links_are_not_followed(store: DirectoryStore, tmp_path: Path) -> None:
    """Neither in the directory's place nor in a file's, whoever put them there, also after the store was opened."""
    store.put("key", b"secret")
    (file,) = (tmp_path / "party").iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    for use in (lambda: store.get("key"), lambda: store.delete("key")):
        with pytest.raises(Misuse, match="expected a state file, found a symbolic link"):
            use()
    store.put("key", b"new")  # takes the link's place
    assert not file.is_symlink()
    assert b"secret" in (tmp_path / "elsewhere").read_bytes()
    (tmp_path / "party").rename(tmp_path / "real")
    (tmp_path / "party").symlink_to(tmp_path / "real")
    for use in [*every_use(tmp_path / "party"), lambda: store.put("key", b""), lambda: store.delete("key")]:
        with pytest.raises(Misuse, match="is a symbolic link"):
            use()
    assert DirectoryStore(tmp_path / "real").get("key") == b"new"


def test_other_kinds_of_files(store: DirectoryStore, tmp_path: Path) -> None:
    """A pipe does not hang whoever reads it."""
    store.put("key", b"secret")
    (file,) = (tmp_path / "party").iterdir()
    for make, found in ((os.mkfifo, "another kind of file"), (os.mkdir, "a directory")):
        file.unlink()
        make(file, 0o600)
        for use in (store.get, store.delete):
            with pytest.raises(Misuse, match=f"expected a state file, found {found}"):
                use("key")


def test_a_swapped_directory_changes_nothing_for_a_use_that_has_begun(tmp_path: Path) -> None:
    """Whoever can rename what is above sees the value go where the store was opened, not where the name leads now."""

    def swap(step: str) -> None:
        if step == "rename key":
            (tmp_path / "party").rename(tmp_path / "real")
            (tmp_path / "mine").mkdir(mode=0o700)
            (tmp_path / "party").symlink_to(tmp_path / "mine")

    DirectoryStore(tmp_path / "party", swap).put("key", b"secret")
    assert list((tmp_path / "mine").iterdir()) == []
    assert DirectoryStore(tmp_path / "real").get("key") == b"secret"


def test_a_directory_that_is_not_there_is_empty(tmp_path: Path) -> None:
    values = StoredValues(tmp_path / "none")
    assert (values.get("key"), values.keys()) == (None, [])


def test_a_kill_while_a_value_is_erased_leaves_no_damage(tmp_path: Path) -> None:
    """It is whole, or it is gone: zeros never stand under its name, and what is left goes when the store is opened."""

    def killed(step: str) -> None:
        if step.startswith("unlink"):
            raise KeyboardInterrupt

    DirectoryStore(tmp_path / "party").put("key", b"secret")
    with pytest.raises(KeyboardInterrupt):
        DirectoryStore(tmp_path / "party", killed).delete("key")
    (left,) = (tmp_path / "party").iterdir()
    assert left.read_bytes() == bytes(left.stat().st_size)
    assert StoredValues(tmp_path / "party").keys() == []
    assert DirectoryStore(tmp_path / "party").get("key") is None
    assert list((tmp_path / "party").iterdir()) == []
