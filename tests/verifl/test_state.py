"""Party state on disk: private, durable, erased when told so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Misuse
from protocols.stores import MemoryStore
from verifl.state import DirectoryStore, replacing

KEYS = st.text(min_size=1, max_size=20).filter(
    lambda key: len(key.encode("utf-8", "ignore")) <= 100 and key.isprintable()
)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "party")


@given(steps=st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=30)), max_size=12))
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
