"""Rotations and revocations: signed by the commands, logged by a run, in force from there on, also after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import audit
from proofs.errors import Misuse
from protocols.envelopes import Envelope, check_signature, open_envelope, seal_rotation
from protocols.hashes import sha256
from protocols.key_files import read_keys, write_key
from protocols.log.reader import TranscriptReader
from protocols.messages import KeyRotation, Revocation
from protocols.policy import TensorSpec
from tests.seeded import seeded
from tests.verifl.office import CLIENTS, Office, key_of, public
from verifl.carriers.in_process import InProcess
from verifl.commands import root as cli
from verifl.config import Config, FederationConfig, read_config
from verifl.enrolment.changes import LoggedChanges
from verifl.enrolment.policies import TrainedModel, enrol, enrolled
from verifl.enrolment.roster import Roster, roster_of
from verifl.enrolment.signing import policy_in
from verifl.enrolment.signing import rotation as rotation_of
from verifl.federation import Federation, IssuedPolicy
from verifl.storage.stores import unobserved
from verifl.tasks.loading import load_task

TENSORS = (TensorSpec("weights", (3,), "float32", nonnegative=False),)


def test_rotations_and_revocations_in_a_run_that_goes_on(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert office.run() == 0
    files = [
        office.rotate("trustee-2", "trustee-2", "spare"),
        office.revoke("trustee-4", "key-compromised"),
    ]
    changes = [word for file in files for word in ("--change", file)]
    assert office.run("--resume", *changes, rounds=2) == 0
    Path(office.key("trustee-2")).unlink()
    Path(office.key("trustee-4")).unlink()
    assert office.run("--resume", rounds=3) == 0
    report = audit(office.folder / "out/transcript", office.folder / "policy.cbor")
    assert report.accepted
    assert report.check("I3").checked.endswith("1 rotation and 1 revocation in force")
    assert report.checkpoint is not None
    assert report.checkpoint.cosigners == ("trustee-1", "trustee-2", "trustee-3")
    capsys.readouterr()
    assert cli.invoke(["roster", "show", office.path("out")]) == 0
    shown = capsys.readouterr().out
    assert f"{public('spare')}  trustee-2, from here on" in shown
    assert "revoked (key-compromised)  trustee-4" in shown


def test_changes_before_the_first_round(office: Office) -> None:
    """Keys of who is gone are not needed."""
    rotation = office.rotate("y", "y", "spare")
    revocation = office.revoke("trustee-1")
    Path(office.key("trustee-1")).unlink()
    assert office.run("--change", rotation, "--change", revocation) == 0
    report = audit(office.folder / "out/transcript", office.folder / "policy.cbor")
    assert report.accepted
    assert len(report.check("I3").notes) == 2


def test_a_change_that_no_log_takes_stops_the_run_before_it_begins(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    rotation = office.rotate("y", "y", "spare")
    Path(office.key("spare")).unlink()
    assert office.run("--change", rotation) == 2
    assert "none is that of y" in capsys.readouterr().err
    thrice = [word for _ in range(2) for word in ("--change", office.revoke(f"trustee-{_ + 1}"))]
    assert office.run(*thrice) == 2
    assert "revocation-quorum" in capsys.readouterr().err
    assert not (office.folder / "out").exists()


@pytest.mark.parametrize("name", ["rotate", "revoke"])
def test_a_change_is_not_overwritten(office: Office, capsys: pytest.CaptureFixture[str], name: str) -> None:
    make: Mapping[str, Callable[[], str]] = {
        "rotate": lambda: office.rotate("y", "y", "spare"),
        "revoke": lambda: office.revoke("y"),
    }
    make[name]()
    with pytest.raises(AssertionError):
        make[name]()
    assert "never overwritten" in capsys.readouterr().err


def test_a_key_that_was_rotated_before(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy knows the first key; the log knows which one is in force."""
    write_key(Path(office.key("spare-2")), key_of("spare-2"))
    assert office.run("--change", office.rotate("y", "y", "spare")) == 0
    arguments = ["--key", office.key("spare"), "--new", office.key("spare-2"), "--out", office.path("second.cbor")]
    assert cli.invoke(["roster", "rotate", "y", "--policy", office.path("policy.cbor"), *arguments]) == 2
    advice = "if the log has changed it since, give the transcript as --policy"
    assert capsys.readouterr().err.splitlines()[-1].endswith(advice)
    assert cli.invoke(["roster", "rotate", "y", "--policy", office.path("out/transcript"), *arguments]) == 0
    first = ["--key", office.key("y"), "--new", office.key("spare-2"), "--out", office.path("third.cbor")]
    assert cli.invoke(["roster", "rotate", "y", "--policy", office.path("out"), *first]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == f"verifl: rotation-previous: expected the key in force, {public('spare')}, found {public('y')}"
    assert office.run("--resume", "--change", office.path("second.cbor"), rounds=2) == 0
    report = audit(office.folder / "out/transcript", office.folder / "policy.cbor")
    assert report.accepted
    assert report.check("I3").checked.endswith("2 rotations and 0 revocations in force")


def test_changes_on_file_are_what_the_protocol_signs(office: Office) -> None:
    entry = Path(office.rotate("y", "y", "spare")).read_bytes()
    policy = policy_in(office.folder / "policy.cbor").hash
    assert entry == seal_rotation("my-federation", policy, "y", key_of("y"), key_of("spare"))
    message = open_envelope(Path(office.revoke("y")).read_bytes()).message
    assert message == Revocation("my-federation", policy, "y", "left")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rotate", "nobody", "--key", "y", "--new", "spare"], "unknown-party"),
        (["rotate", "y", "--key", "z", "--new", "spare"], "rotation-previous"),
        (["rotate", "y", "--key", "spare", "--new", "coordinator"], "rotation-previous"),
        (["rotate", "y", "--key", "y", "--new", "z"], "rotation-key"),
        (["rotate", "y", "--key", "y", "--new", "y"], "rotation-key"),
        (["revoke", "nobody", "--key", "issuer", "--reason", "left"], "unknown-party"),
        (["revoke", "y", "--key", "coordinator", "--reason", "left"], "expected that of the policy's issuer"),
        (["revoke", "y", "--key", "issuer", "--reason", "because"], "invalid value for --reason: 'because' is not"),
        (["revoke", "y", "--key", "issuer"], "missing option --reason; choose from: key-compromised"),
    ],
)
def test_changes_that_are_not_signed(
    desk: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    names = {"y", "z", "spare", "issuer", "coordinator"}
    words = [desk.key(word) if word in names and place > 1 else word for place, word in enumerate(arguments)]
    out = str(tmp_path / "change.cbor")
    assert cli.invoke(["roster", *words, "--policy", desk.path("policy.cbor"), "--out", out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path(out).exists()


def test_two_rotations_of_one_party_between_two_rounds_stop_the_run_before_it_begins(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the first was logged by an earlier run."""
    assert office.run() == 0
    once = office.rotate("trustee-2", "trustee-2", "spare")
    assert office.run("--resume", "--change", once) == 0  # logged behind the last round
    with pytest.raises(Misuse, match="rotation-pace"):
        rotation_of(office.folder / "out", "trustee-2", key_of("spare"), key_of("another"))
    again = office.folder / "again.cbor"
    pinned = policy_in(office.folder / "policy.cbor")
    again.write_bytes(
        seal_rotation(pinned.policy.federation, pinned.hash, "trustee-2", key_of("spare"), key_of("another"))
    )
    capsys.readouterr()
    assert office.run("--resume", "--change", str(again), rounds=2) == 2
    assert "rotation-pace" in capsys.readouterr().err
    assert office.run("--resume", rounds=2) == 0
    assert rotation_of(office.folder / "out", "trustee-2", key_of("spare"), key_of("another"))


def test_other_files_are_no_changes(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("policy.cbor", "task.py"):
        assert office.run("--change", office.path(name)) == 2
        assert "expected a rotation or revocation" in capsys.readouterr().err


def test_a_rotated_party_without_its_new_key_cannot_be_run() -> None:
    enrolment = enrol(Config(), TENSORS, 3, CLIENTS, b"model", seeded("run"))
    own = [enrolment.coordinator, *enrolment.trustees.values(), *enrolment.clients.values()]
    keys = {key.public_key: key for key in own}
    named = enrolment.policy.federation, sha256(enrolment.policy_file)
    rotation = seal_rotation(*named, "x", enrolment.clients["x"], key_of("spare"))
    model = TrainedModel.of(TENSORS, 3, b"model")
    assert isinstance(open_envelope(rotation).message, KeyRotation)
    for logged, changes in ((LoggedChanges((rotation,)), ()), (LoggedChanges(), (rotation,))):
        with pytest.raises(Misuse, match="none is that of x"):
            enrolled(enrolment.policy_file, keys, Config(), model, CLIENTS, logged, changes)
        both = keys | {key_of("spare").public_key: key_of("spare")}
        ready = enrolled(enrolment.policy_file, both, Config(), model, CLIENTS, logged, changes)
        assert ready.clients["x"] == enrolment.clients["x"]
        assert ready.successors == {"x": (both[key_of("spare").public_key],)}
    del both[enrolment.clients["x"].public_key]
    ready = enrolled(enrolment.policy_file, both, Config(), model, CLIENTS, LoggedChanges((rotation,)))
    assert ready.clients["x"].public_key == key_of("spare").public_key
    assert replace(ready, changes=()) == ready
    assert isinstance(roster_of(ready.policy), Roster)


ROTATED, REVOKED = {"trustee-2": "spare", "y": "spare-2"}, ("trustee-4", "z")
MOMENTS = ("write log", "write round-key/2", "write answer")  # the first of each, once resumed


@pytest.fixture(scope="module")
def killed(desk: Office, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Office]:
    """By what was to be written next: what a kill leaves of a run that logs two rotations and two revocations after
    its first round, and goes on with a second."""
    office = Office(tmp_path_factory.mktemp("killed") / "office")
    shutil.copytree(desk.folder, office.folder)
    roster = office.folder / "roster.toml"
    roster.write_text(roster.read_text(encoding="utf-8").replace("min_cohort = 3 ", "min_cohort = 2 "))
    (office.folder / "policy.cbor").unlink()
    assert office.sign() == 0
    assert office.run() == 0
    write_key(Path(office.key("spare-2")), key_of("spare-2"))
    for party, new in ROTATED.items():
        office.rotate(party, party, new)
    for party in REVOKED:
        office.revoke(party)
    photographs: dict[str, Office] = {}

    def step(description: str) -> None:
        if description in MOMENTS and description not in photographs:
            photographs[description] = Office(office.folder.parent / f"{len(photographs)}")
            shutil.copytree(office.folder, photographs[description].folder)

    second_round(office, changes_of(office), step)
    return photographs


def changes_of(office: Office) -> list[bytes]:
    files = [*(f"{party}-rotation.cbor" for party in ROTATED), *(f"{party}-revocation.cbor" for party in REVOKED)]
    return [Path(office.path(file)).read_bytes() for file in files]


def second_round(office: Office, changes: list[bytes], step: Callable[[str], None] = unobserved) -> None:
    config = read_config(Path(office.path("config.toml"))).model_copy(update={"federation": FederationConfig(rounds=2)})
    issued = IssuedPolicy((office.folder / "policy.cbor").read_bytes(), read_keys(office.folder / "keys"))
    task, out = load_task(config, office.folder), office.folder / "out"
    carrier = InProcess(step)
    Federation(task, config, out, issued=issued, changes=changes, carrier=carrier).run(resume=True)


@pytest.mark.parametrize(("moment", "again"), [(MOMENTS[0], True), (MOMENTS[1], False), (MOMENTS[2], True)])
def test_a_run_killed_around_a_change_goes_on(
    killed: dict[str, Office], tmp_path: Path, moment: str, again: bool
) -> None:
    """With the new keys, and without the revoked. All changes that a trustee may have seen are in the log, whether or
    not their files are given again."""
    office = Office(tmp_path / "office")
    shutil.copytree(killed[moment].folder, office.folder)
    second_round(office, changes_of(office) if again else [])
    assert audit(office.folder / "out/transcript", office.folder / "policy.cbor").accepted
    reader = TranscriptReader(office.folder / "out/transcript")
    entries = reader.entries(0, reader.size)
    last = max(entries.index(change) for change in changes_of(office))
    later: dict[str, list[Envelope]] = {}
    for envelope in map(open_envelope, entries[last + 1 :]):
        later.setdefault(envelope.signer, []).append(envelope)
    assert set(later) == {"coordinator", "trustee-1", "trustee-2", "trustee-3", "x", "y"}
    for party, new in ROTATED.items():
        for envelope in later[party]:
            check_signature(envelope, key_of(new).public_key)
