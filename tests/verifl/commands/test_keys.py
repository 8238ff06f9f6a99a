"""Key files: made once, private, under a passphrase where one is given; and nothing of them is ever printed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from proofs.errors import Misuse
from protocols.identities import SigningKey
from protocols.key_files import read_key, read_keys, read_passphrase, write_key
from tests.seeded import seeded
from verifl.commands import root as cli

KEY = SigningKey.generate(seeded("a key"))


def pem(private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def private_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_key_comes_back(tmp_path: Path, passphrase: bytes | None) -> None:
    file = tmp_path / "a.pem"
    write_key(file, KEY, passphrase)
    assert file.stat().st_mode & 0o777 == 0o600
    asked = []
    assert read_key(file, lambda path: asked.append(path) or passphrase or b"").seed == KEY.seed
    assert asked == ([] if passphrase is None else [file])


def test_the_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_key(tmp_path / "a.pem", KEY)
    finally:
        os.umask(before)
    assert (tmp_path / "a.pem").stat().st_mode & 0o777 == 0o600


def test_a_protected_file_does_not_hold_the_seed(tmp_path: Path) -> None:
    write_key(tmp_path / "a.pem", KEY, b"correct horse")
    data = (tmp_path / "a.pem").read_bytes()
    assert data.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert pem(ed25519.Ed25519PrivateKey.from_private_bytes(KEY.seed)) not in data


def test_openssl_files_are_read(tmp_path: Path) -> None:
    file = private_file(tmp_path / "a.pem", pem(ed25519.Ed25519PrivateKey.from_private_bytes(KEY.seed)))
    assert read_key(file).public_key == KEY.public_key


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "a.pem"
    if kind == "file":
        file.write_bytes(b"mine")
    elif kind == "link":
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.mkdir()
    with pytest.raises(Misuse, match="never overwritten"):
        write_key(file, KEY)
    assert not (tmp_path / "elsewhere").exists()
    assert kind != "file" or file.read_bytes() == b"mine"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_key(tmp_path / "a.pem", KEY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    write_key(tmp_path / "a.pem", KEY)
    (tmp_path / "a.pem").chmod(mode)
    with pytest.raises(Misuse, match="chmod 600"):
        read_key(tmp_path / "a.pem")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an Ed25519 private key in PEM"),
        (KEY.seed, "expected an Ed25519 private key in PEM"),
        (b"\xff" * 17000, "at most 16384 bytes"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "expected an Ed25519 key, found"),
        (pem(ed25519.Ed25519PrivateKey.from_private_bytes(KEY.seed))[:60], "expected an Ed25519 private key in PEM"),
    ],
    ids=["empty", "raw", "long", "another curve", "cut"],
)
def test_other_files_are_refused_without_a_word_of_their_contents(tmp_path: Path, data: bytes, message: str) -> None:
    file = private_file(tmp_path / "a.pem", data)
    with pytest.raises(Misuse, match=message) as excinfo:
        read_key(file)
    assert KEY.seed.hex() not in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_the_wrong_passphrase(tmp_path: Path) -> None:
    write_key(tmp_path / "a.pem", KEY, b"correct horse")
    with pytest.raises(Misuse, match="does not open it"):
        read_key(tmp_path / "a.pem", lambda path: b"battery staple")
    with pytest.raises(Misuse, match="--passphrase-file"):
        read_key(tmp_path / "a.pem")
    with pytest.raises(Misuse, match="at least one character"):
        write_key(tmp_path / "b.pem", KEY, b"")


@pytest.mark.parametrize(("data", "expected"), [(b"a b\n", b"a b"), (b"a\r\nb\n", b"a"), (b"a", b"a")])
def test_a_passphrase_is_the_first_line(tmp_path: Path, data: bytes, expected: bytes) -> None:
    assert read_passphrase(private_file(tmp_path / "pass", data)) == expected


def test_secrets_that_others_can_read_or_have_written(tmp_path: Path) -> None:
    write_key(tmp_path / "a.pem", KEY)
    private_file(tmp_path / "pass", b"correct horse")
    for name, read in (("a.pem", read_key), ("pass", read_passphrase)):
        (tmp_path / name).chmod(0o640)
        with pytest.raises(Misuse, match=f"{name}: is a secret but has mode 640, expected 600; run `chmod 600"):
            read(tmp_path / name)
        (tmp_path / name).chmod(0o600)
        read(tmp_path / name)
        if os.geteuid() == 0:
            os.chown(tmp_path / name, 4242, -1)
            with pytest.raises(Misuse, match=f"{name}: is a secret but belongs to user 4242"):
                read(tmp_path / name)


def test_a_passphrase_from_a_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"correct horse\n")
    os.close(writer)
    assert read_passphrase(Path(f"/dev/fd/{reader}")) == b"correct horse"
    os.close(reader)


def test_a_directory_of_keys(tmp_path: Path) -> None:
    other = SigningKey.generate(seeded("another"))
    write_key(tmp_path / "a.pem", KEY)
    (tmp_path / "party").mkdir()
    write_key(tmp_path / "party" / "identity.pem", other, b"secret")
    (tmp_path / "readme.txt").write_text("not a key")
    assert set(read_keys(tmp_path, lambda path: b"secret")) == {KEY.public_key, other.public_key}
    (tmp_path / "none").mkdir()
    with pytest.raises(Misuse, match="no key file"):
        read_keys(tmp_path / "none")
    with pytest.raises(Misuse, match="expected a directory"):
        read_keys(tmp_path / "a.pem")


# ---- the command ----


def test_new_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "a.pem")
    assert cli.invoke(["keys", "new", file]) == 0
    made = capsys.readouterr()
    assert cli.invoke(["keys", "show", file]) == 0
    assert capsys.readouterr().out == made.out
    key = read_key(Path(file))
    assert made.out.strip() == key.public_key.hex()
    assert key.seed.hex() not in made.out + made.err
    assert len(made.err.splitlines()) == 1


def test_new_and_show_with_a_passphrase(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, secret = str(tmp_path / "a.pem"), str(tmp_path / "pass")
    private_file(Path(secret), b"correct horse\n")
    assert cli.invoke(["keys", "new", file, "--passphrase-file", secret]) == 0
    public = capsys.readouterr().out
    assert cli.invoke(["keys", "show", file]) == 2
    assert "--passphrase-file" in capsys.readouterr().err
    assert cli.invoke(["keys", "show", file, "--passphrase-file", secret]) == 0
    assert capsys.readouterr().out == public


def test_a_passphrase_is_asked_for_twice_and_hidden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["correct horse", "correct horse", "correct horse"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: next(answers))
    file = str(tmp_path / "a.pem")
    assert cli.invoke(["keys", "new", file, "--passphrase"]) == 0
    assert cli.invoke(["keys", "show", file]) == 0
    assert next(answers, None) is None
    captured = capsys.readouterr()
    assert "correct horse" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["keys", "new"], "missing argument FILE"),
        (["keys", "new", "there.pem"], "there.pem: exists, and a key is never overwritten"),
        (["keys", "new", "no/such/a.pem"], "no/such/a.pem: No such file or directory"),
        (["keys", "new", "a.pem", "--passphrase"], "there is no terminal"),
        (["keys", "new", "a.pem", "--passphrase-file", "empty"], "empty: expected a passphrase in the first line"),
        (["keys", "new", "a.pem", "--passphrase-file", "nowhere"], "nowhere: No such file"),
        (["keys", "show", "nowhere.pem"], "nowhere.pem: No such file"),
        (["keys", "show", "there.pem"], "there.pem: expected an Ed25519 private key"),
        (["keys", "show", "."], "Is a directory"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    private_file(tmp_path / "there.pem", b"")
    private_file(tmp_path / "empty", b"")
    assert cli.invoke(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert message in line
    assert not (tmp_path / "a.pem").exists()
