"""Statements: what an auditor signs of an audit, read by us and by another implementation; nothing else is one."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from auditor.cli import main
from auditor.dsse import ENVELOPE_LIMIT, MAX_SIGNATURES, open_sealed, pae, seal
from auditor.statement import PAYLOAD_TYPE, did_key, open_statement
from proofs.errors import Malformed, Misuse, Rejected
from protocols.identities import SigningKey
from protocols.key_files import write_key
from tests.seeded import seeded

KEY, OTHER = (SigningKey.generate(seeded(name)) for name in ("an auditor", "another auditor"))
HEX = KEY.public_key.hex()


@pytest.fixture
def signed(simulations, tmp_path: Path) -> Callable[..., tuple[Result, bytes]]:
    """Audits a transcript, and reads the statement."""
    (tmp_path / "policy.cbor").write_bytes(simulations("quiet").policy_data)
    write_key(tmp_path / "auditor.pem", KEY)

    def make(transcript: Path, *more: object) -> tuple[Result, bytes]:
        out = tmp_path / "statement.json"
        options = ["--policy", tmp_path / "policy.cbor", "--statement", out, "--key", tmp_path / "auditor.pem", *more]
        return run(transcript, *options), out.read_bytes()

    return make


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def statement_in(data: bytes) -> dict[str, Any]:
    return json.loads(base64.b64decode(json.loads(data)["payload"]))


def resigned(statement: object, key: SigningKey = KEY) -> bytes:
    return seal(PAYLOAD_TYPE, json.dumps(statement).encode(), key)


def test_an_accepted_audit(simulations, signed, tmp_path: Path) -> None:
    transcript = simulations("quiet").path
    result, data = signed(transcript)
    assert result.exit_code == 0
    said = statement_in(data)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/verification_summary/v1"
    predicate = said["predicate"]
    assert predicate["verificationResult"] == "PASSED"
    assert predicate["policy"]["digest"]["sha256"] == simulations("quiet").pinned.hash.hex()
    assert {"VERIFL_I1", "VERIFL_P7"} <= set(predicate["verifiedLevels"])
    assert "VERIFL_P5" not in predicate["verifiedLevels"]  # this policy has no budget
    assert predicate["verifl"]["checks"]["P5"] == "not-applicable"
    report = json.loads(run(transcript, "--policy", tmp_path / "policy.cbor", "--format", "json").stdout)
    assert [(each["name"], each["digest"]["sha256"]) for each in said["subject"]] == [
        ("model", report["model"]["hash"]),
        ("checkpoint", report["checkpoint"]["hash"]),
    ]
    assert predicate["verifl"]["round"] == report["model"]["round"] == 1
    checkpoint = transcript / "checkpoint"
    file = tmp_path / "statement.json"
    verified = run(
        "verify-statement", file, "--key", HEX, "--policy", tmp_path / "policy.cbor", "--checkpoint", checkpoint
    )
    assert (verified.exit_code, verified.stdout.splitlines()[0]) == (0, "PASSED: accepted")
    other = run("verify-statement", file, "--key", HEX, "--model", checkpoint)
    assert other.exit_code == 1
    assert other.stderr.startswith(f"verifl-audit: rejected: model: expected {report['model']['hash']}, found ")


def test_the_model_of_a_transcript_is_its_subject(simulations, signed, tmp_path: Path) -> None:
    _, data = signed(simulations("quiet").path)
    model = open_statement(data, KEY.public_key).subjects["model"]
    (file,) = (
        each for each in simulations("quiet").path.rglob("*") if each.name.startswith(model[2:]) or each.name == model
    )
    verified = run("verify-statement", tmp_path / "statement.json", "--key", HEX, "--model", file, "--format", "json")
    assert verified.exit_code == 0
    assert json.loads(verified.stdout)["result"] == "PASSED"


def test_a_rejected_and_a_damaged_one_say_failed(simulations, copied, signed, tmp_path: Path) -> None:
    copy = copied("quiet")
    damaged = bytearray((copy / "checkpoint").read_bytes())
    damaged[-5] ^= 1
    (copy / "checkpoint").write_bytes(damaged)
    result, data = signed(copy)
    assert result.exit_code == 1
    said = statement_in(data)
    assert said["predicate"]["verificationResult"] == "FAILED"
    assert said["predicate"]["verifiedLevels"] == ["FAILED"]
    assert said["predicate"]["verifl"]["checks"]["I1"] == "fail"
    verified = run("verify-statement", tmp_path / "statement.json", "--key", HEX)
    assert (verified.exit_code, verified.stdout.split(":")[0]) == (1, "FAILED")


def test_without_a_checkpoint_it_is_about_the_policy(copied, signed) -> None:
    copy = copied("quiet")
    (copy / "checkpoint").unlink()
    shutil.rmtree(copy / "checkpoints", ignore_errors=True)
    result, data = signed(copy)
    assert result.exit_code == 1
    said = open_statement(data, KEY.public_key)
    assert said.result == "FAILED"
    assert "checkpoint" not in said.subjects
    assert said.subjects


def other_key(key: SigningKey = KEY) -> SSlibKey:
    return SSlibKey(key.public_key.hex(), "ed25519", "ed25519", {"public": key.public_key.hex()})


def test_another_implementation_verifies_it_and_no_changed_byte(simulations, signed) -> None:
    _, data = signed(simulations("quiet").path)
    assert set(Envelope.from_dict(json.loads(data)).verify([other_key()], 1)) == {HEX}
    with pytest.raises(VerificationError):
        Envelope.from_dict(json.loads(data)).verify([other_key(OTHER)], 1)
    payload = bytearray(base64.b64decode(json.loads(data)["payload"]))
    for place in range(0, len(payload), 7):
        changed = bytes(payload[:place]) + bytes([payload[place] ^ 1]) + bytes(payload[place + 1 :])
        envelope = {**json.loads(data), "payload": base64.b64encode(changed).decode()}
        with pytest.raises(VerificationError):
            Envelope.from_dict(json.loads(json.dumps(envelope))).verify([other_key()], 1)
        with pytest.raises(Rejected, match=r"^signature:"):
            open_statement(json.dumps(envelope).encode(), KEY.public_key)


def test_an_envelope_of_another_implementation_is_read() -> None:
    envelope = Envelope(b'{"a": 1}', PAYLOAD_TYPE, {})
    assert pae(PAYLOAD_TYPE, b'{"a": 1}') == envelope.pae()
    ours = json.loads(seal(PAYLOAD_TYPE, b'{"a": 1}', KEY))
    theirs = Envelope.from_dict(json.loads(json.dumps(ours))).to_dict()
    assert open_sealed(json.dumps(theirs).encode(), PAYLOAD_TYPE, KEY.public_key) == b'{"a": 1}'


def test_example_of_the_standard() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_did_key() -> None:
    """An identifier of W3C's Data Integrity EdDSA Cryptosuites, appendix B."""
    published = "z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2"
    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number = sum(letters.index(letter) * 58**place for place, letter in enumerate(reversed(published[1:])))
    data = number.to_bytes(34)
    assert data[:2] == b"\xed\x01"
    assert did_key(data[2:]) == f"did:key:{published}"


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda said: said.update(_type="https://in-toto.io/Statement/v0.1"), "statement-type"),
        (lambda said: said.update(predicateType="https://slsa.dev/provenance/v1"), "predicate-type"),
        (lambda said: said["predicate"]["verifier"].update(id=did_key(OTHER.public_key)), "verifier"),
        (lambda said: said["predicate"].update(verificationResult="FAILED"), "levels"),
        (lambda said: said["predicate"].update(verificationResult="passed"), "levels"),
        (lambda said: said["predicate"]["verifiedLevels"].pop(), "levels"),
        (lambda said: said["predicate"]["verifl"]["checks"].update(I1="fail"), "levels"),
        (lambda said: said["predicate"]["verifl"]["checks"].update(P5="fail"), "levels"),
    ],
)
def test_what_this_key_signed_and_is_no_such_statement(simulations, signed, change, check: str) -> None:
    said = statement_in(signed(simulations("quiet").path)[1])
    change(said)
    with pytest.raises(Rejected) as excinfo:
        open_statement(resigned(said), KEY.public_key)
    assert excinfo.value.check == check


def fields(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for name, inner in pairs for each in fields(inner, (*path, name)))]


IGNORED = [("predicate", "resourceUri")]  # for other readers: what it says is in other fields, too


@pytest.mark.parametrize("wrong", [None, 7, 1.5, [], {}, [7]])
def test_each_field_is_there_and_of_its_type(simulations, signed, wrong: object) -> None:
    said = statement_in(signed(simulations("quiet").path)[1])
    for path in fields(said)[1:]:
        if path in IGNORED or (path[-1] == "round" and wrong in (None, 7)):
            continue
        changed = json.loads(json.dumps(said))
        inner = changed
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = wrong
        with pytest.raises((Malformed, Rejected)):
            open_statement(resigned(changed), KEY.public_key)


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes(data: bytes) -> None:
    with pytest.raises((Malformed, Rejected)):
        open_statement(data, KEY.public_key)
    with pytest.raises((Malformed, Rejected)):
        open_statement(seal(PAYLOAD_TYPE, data, KEY), KEY.public_key)


def envelope_of(**changes: object) -> bytes:
    return json.dumps({**json.loads(seal(PAYLOAD_TYPE, b"{}", KEY)), **changes}).encode()


GOOD = json.loads(seal(PAYLOAD_TYPE, b"{}", KEY))["signatures"]


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"[" * 100_000, "envelope"),
        (b'{"payload": 1' + b"0" * 10_000 + b"}", "envelope"),
        (b'{"payload": NaN}', "envelope"),
        (b'{"payload": "", "payload": "", "payloadType": "", "signatures": []}', "envelope"),
        (b" " * (ENVELOPE_LIMIT + 1), "envelope"),
        (envelope_of(more=1), "envelope"),
        (envelope_of(payload="a"), "payload"),
        (envelope_of(payload="\u00e9"), "payload"),
        (envelope_of(payload=5), "payload"),
        (envelope_of(signatures={}), "signatures"),
        (envelope_of(signatures=[]), "signatures"),
        (envelope_of(signatures=[GOOD[0]] * (MAX_SIGNATURES + 1)), "signatures"),
        (envelope_of(signatures=[{"keyid": HEX}]), "signatures"),
        (envelope_of(signatures=[{"sig": "?"}]), "sig"),
    ],
)
def test_what_is_no_envelope(data: bytes, where: str) -> None:
    with pytest.raises(Malformed) as excinfo:
        open_sealed(data, PAYLOAD_TYPE, KEY.public_key)
    assert excinfo.value.where == where


def test_a_signature_counts_for_its_type_and_key_alone() -> None:
    with pytest.raises(Rejected) as excinfo:
        open_sealed(seal("application/json", b"{}", KEY), PAYLOAD_TYPE, KEY.public_key)
    assert excinfo.value.check == "payload-type"
    with pytest.raises(Rejected) as excinfo:
        open_sealed(envelope_of(payloadType="application/json"), "application/json", KEY.public_key)
    assert excinfo.value.check == "signature"
    with pytest.raises(Rejected) as excinfo:
        open_sealed(seal(PAYLOAD_TYPE, b"{}", OTHER), PAYLOAD_TYPE, KEY.public_key)
    assert excinfo.value.check == "signature"
    others = json.loads(seal(PAYLOAD_TYPE, b"{}", OTHER))["signatures"]
    assert open_sealed(envelope_of(signatures=[*others, *GOOD]), PAYLOAD_TYPE, KEY.public_key) == b"{}"


def test_usage(simulations, signed, tmp_path: Path) -> None:
    transcript = simulations("quiet").path
    signed(transcript)
    policy, key = ["--policy", tmp_path / "policy.cbor"], ["--key", tmp_path / "auditor.pem"]
    for arguments, words in (
        ([transcript, *policy, *key], "--statement FILE and --key FILE are given together"),
        ([transcript, *policy, "--statement", tmp_path / "s"], "--statement FILE and --key FILE are given together"),
        ([transcript, "--unpinned", "--statement", tmp_path / "s", *key], "--statement needs --policy FILE"),
        ([transcript, *policy, *key, "--statement", tmp_path / "no" / "s"], "there is no directory"),
        ([transcript, *policy, *key, "--statement", tmp_path], "is no file that could be replaced"),
        ([transcript, *policy, *key, "--statement", transcript / "s"], "lies inside the transcript"),
        ([transcript, *policy, "--key", tmp_path / "policy.cbor", "--statement", tmp_path / "s"], "mode 644"),
        (["verify-statement", tmp_path / "statement.json", "--key", "ab"], "expected 64 hexadecimal digits"),
        (["verify-statement", tmp_path / "nothing", "--key", HEX], "cannot read"),
        (["keygen", tmp_path / "auditor.pem"], "exists, and a key is never overwritten"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert words in result.stderr
        assert len(result.stderr.splitlines()) <= 2  # usage has a hint
    assert not (tmp_path / "s").exists()


def test_keygen(simulations, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("correct horse\n")
    (tmp_path / "word").chmod(0o600)
    (tmp_path / "policy.cbor").write_bytes(simulations("quiet").policy_data)
    made = run("keygen", tmp_path / "k.pem", "--passphrase-file", tmp_path / "word")
    assert made.exit_code == 0
    assert (tmp_path / "k.pem").stat().st_mode & 0o777 == 0o600
    options = ["--policy", tmp_path / "policy.cbor", "--statement", tmp_path / "s", "--key", tmp_path / "k.pem"]
    refused = run(simulations("quiet").path, *options)
    assert (refused.exit_code, "passphrase" in refused.stderr) == (2, True)
    assert run(simulations("quiet").path, *options, "--passphrase-file", tmp_path / "word").exit_code == 0
    assert run("verify-statement", tmp_path / "s", "--key", made.stdout.strip()).exit_code == 0


def test_no_statement_of_an_unpinned_audit(simulations) -> None:
    from datetime import UTC, datetime

    from auditor import audit
    from auditor.statement import statement_of

    report = audit(simulations("quiet").path, None)
    with pytest.raises(Misuse, match="under a policy that was pinned"):
        statement_of(report, KEY, datetime.now(UTC))
