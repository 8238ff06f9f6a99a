"""Requests to be enrolled: made where a key is, and taken in where the issuer is, all of them or none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import seal_statement
from protocols.identities import SigningKey
from protocols.key_files import write_key
from protocols.requests import KeyRequest, open_request, seal_request
from tests.verifl.office import key_of, public
from verifl.commands import root as cli
from verifl.enrolment.requests import admit
from verifl.enrolment.roster import read_roster, write_roster

FEDERATION = "my-federation"  # of the example


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return write_roster(tmp_path / "office")


def request(folder: Path, role: str, name: str, key: SigningKey | None = None, federation: str = FEDERATION) -> Path:
    path = folder / f"{role}-{name.replace('/', '-')}.request"
    path.write_bytes(seal_request(federation, role, name, "the porter, 555", key or key_of(name)))
    return path


def test_the_way_of_a_request(document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_key(tmp_path / "mine.pem", key_of("clinic-1"))
    arguments = ["--federation", FEDERATION, "--role", "client", "--name", "clinic-1", "--contact", "ward 3"]
    out = str(tmp_path / "clinic-1.request")
    assert cli.invoke(["keys", "request", str(tmp_path / "mine.pem"), *arguments, "--out", out]) == 0
    assert capsys.readouterr().out.split() == [public("clinic-1")]
    found = open_request(Path(out).read_bytes())
    assert found == KeyRequest(FEDERATION, "client", "clinic-1", key_of("clinic-1").public_key, "ward 3")
    assert key_of("clinic-1").seed not in Path(out).read_bytes()
    assert cli.invoke(["keys", "request", str(tmp_path / "mine.pem"), *arguments, "--out", out]) == 2
    capsys.readouterr()
    others = [request(tmp_path, "trustee", "trustee-1"), request(tmp_path, "log", "fl.example.org/study")]
    assert cli.invoke(["roster", "admit", out, *map(str, others), "--roster", str(document)]) == 0
    said = capsys.readouterr().out
    for name in ("clinic-1", "trustee-1", "fl.example.org/study"):
        assert public(name) in said
    assert "compare each key" in said
    roster = read_roster(document)
    assert [each.id for each in (*roster.clients, *roster.trustees)] == ["clinic-1", "trustee-1"]
    assert roster.log is not None
    assert roster.log.origin == "fl.example.org/study"
    assert document.read_text().startswith("# The enrolment of a federation")


def refusals(folder: Path) -> dict[str, tuple[list[Path], str]]:
    """Files that are no good, the last of each, with what is said of it."""
    good = request(folder, "client", "w")
    spoilt = folder / "spoilt.request"
    data = bytearray(good.read_bytes())
    data[-1] ^= 1
    spoilt.write_bytes(data)
    short = folder / "short.request"
    short.write_bytes(good.read_bytes()[:-1])
    long = folder / "long.request"
    long.write_bytes(good.read_bytes() + bytes(5000))
    stolen = folder / "stolen.request"
    body = KeyRequest(FEDERATION, "client", "w", key_of("x").public_key, "")
    stolen.write_bytes(seal_statement("key-request", "w", body, key_of("w")))
    weak = folder / "weak.request"
    weak.write_bytes(seal_statement("key-request", "w", replace(body, public_key=bytes(32)), key_of("w")))
    foreign = folder / "role.request"
    foreign.write_bytes(seal_statement("key-request", "w", replace(body, role="issuer"), key_of("w")))
    approval = folder / "kind.request"
    approval.write_bytes(seal_statement("policy-approval", "w", body, key_of("w")))
    other = folder / "signer.request"
    other.write_bytes(seal_statement("key-request", "v", body, key_of("w")))
    return {
        "a changed byte": ([spoilt], "possession"),
        "a byte less": ([short], "short.request: "),
        "far too long": ([long], "long.request"),
        "somebody else's key": ([stolen], "possession"),
        "a key of small order": ([weak], "public-key"),
        "a role that there is not": ([foreign], "role: expected client or trustee or log, found 'issuer'"),
        "another statement": ([approval], "envelope.type"),
        "another signer": ([other], "envelope.signer"),
        "another federation": ([request(folder, "client", "v", federation="last-year")], "found one to last-year"),
        "a key twice": ([good, request(folder, "client", "u", key_of("w"))], "roster-keys"),
        "a name twice": ([good, request(folder / "..", "client", "w", key_of("another"))], "strictly ascending"),
        "a name in two roles": ([good, request(folder, "trustee", "w", key_of("another"))], "roster-keys"),
        "the same once more": ([good, good], "strictly ascending"),
        "two logs": ([request(folder, "log", "a/b"), request(folder, "log", "c/d")], "the document has one"),
        "a reserved name": ([request(folder, "client", "issuer")], "roster-reserved-name"),
        "no file": ([folder / "nowhere"], "nowhere"),
    }


def test_what_is_refused_changes_nothing(document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, before = tmp_path / "sent", document.read_bytes()
    folder.mkdir()
    for what, (files, message) in refusals(folder).items():
        assert cli.invoke(["roster", "admit", *map(str, files), "--roster", str(document)]) == 2, what
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line, what
        assert document.read_bytes() == before


def test_a_request_that_was_taken_in_is_not_taken_in_again(document: Path, tmp_path: Path) -> None:
    mine = request(tmp_path, "client", "w")
    admit(document, [mine])
    with pytest.raises(Misuse, match="strictly ascending"):
        admit(document, [mine])


@pytest.mark.parametrize("name", ["", "Not An Id", "a" * 65, "w\n"])
def test_names_that_no_party_has(name: str) -> None:
    with pytest.raises(Misuse):
        seal_request(FEDERATION, "client", name, "", key_of("w"))


def test_every_changed_byte_is_refused() -> None:
    data = seal_request(FEDERATION, "client", "w", "ward 3", key_of("w"))
    for place in range(len(data)):
        with pytest.raises((Malformed, Rejected)):
            open_request(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
