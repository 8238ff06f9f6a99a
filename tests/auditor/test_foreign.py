"""The log of another policy, and what only looks like one: neither hides a broken rule, neither accuses anybody."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Kind, Outcome, Report, audit
from auditor.comparison import compare
from auditor.following import follow
from protocols.envelopes import open_policy, seal, seal_policy
from protocols.log.checkpoint import Checkpoint, sign_checkpoint
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import bundle_of, encode_bundle
from protocols.messages import Genesis, RoundClosed, RoundOpen
from protocols.pinned import PinnedPolicy
from tests.auditor.conftest import failed, flipped
from tests.auditor.forge import Forge
from tests.golden.regenerate import DIRECTORY
from tests.independent.audit import audit as second_audit
from tests.simulator import identity_of

HONEST = DIRECTORY / "honest"


def honest_forge() -> Forge:
    data = (HONEST / "policy.cbor").read_bytes()
    policy, _ = open_policy(data)
    return Forge.load(HONEST / "transcript", policy, data, identity_of)


def another_policy(forge: Forge, *, own_key: bool) -> bytes:
    """A policy of the same federation and origin, with one more round, signed by its issuer."""
    changed = replace(forge.policy, max_rounds=forge.policy.max_rounds + 1)
    if own_key:
        changed = replace(changed, log_key=identity_of("another log").public_key)
    return seal_policy(changed, identity_of("issuer"))


def put_genesis(path: Path, forge: Forge, other: bytes, *, own_key: bool) -> None:
    """In front of a log the Genesis of another policy."""
    message = replace(forge.message(0), policy=PinnedPolicy.open(other).hash)
    entry = seal(message, "coordinator", identity_of("another log" if own_key else "coordinator"))
    reader = TranscriptReader(path)
    entries = [entry, *reader.entries(1, reader.size)]
    (path / bundle_of(0, len(entries)).path).write_bytes(encode_bundle(entries))
    if own_key:
        head = Checkpoint(forge.policy.origin, len(entries), bytes(32))
        (path / "policy.cbor").write_bytes(other)
        (path / "checkpoint").write_bytes(sign_checkpoint(head, head.origin, identity_of("another log")))


def agreed(path: Path, policy: bytes) -> Report:
    """The report of the first auditor, with whose statuses the second agrees."""
    pinned = path.parent / "pinned.cbor"
    pinned.write_bytes(policy)
    first, second = audit(path, policy), second_audit(path, pinned)
    assert second.checks == {result.id: result.status.value for result in first.checks}, second.findings
    return first


@pytest.mark.parametrize("own_key", [False, True])
@pytest.mark.parametrize("lie", [True, False])
def test_a_genesis_that_is_put_in_front_of_a_log(own_key: bool, lie: bool, tmp_path: Path) -> None:
    """It is not the one that was signed: entry 0 is missing, and all else is judged."""
    forge = honest_forge()
    if lie:
        forge.edit(forge.find(RoundClosed), model=bytes(32))
    path = forge.write(tmp_path / "t")
    put_genesis(path, forge, another_policy(forge, own_key=own_key), own_key=own_key)
    report = agreed(path, forge.policy_data)
    assert report.outcome is (Outcome.BROKEN if lie else Outcome.DAMAGED)
    assert {result.id for result, _ in report.broken} == ({"I11"} if lie else set())
    (missing,) = [each for each in report.check("I2").findings if each.where == "entry 0"]
    assert missing.kind is Kind.UNJUDGED
    assert follow(path, PinnedPolicy.open(forge.policy_data), None).outcome is report.outcome


def test_a_log_with_the_genesis_of_another_policy(tmp_path: Path) -> None:
    """Its rounds are of the pinned one: one log of two policies, signed, is a broken rule."""
    forge = honest_forge()
    forge.edit(0, policy=PinnedPolicy.open(another_policy(forge, own_key=False)).hash)
    report = agreed(forge.write(tmp_path / "t"), forge.policy_data)
    assert report.outcome is Outcome.BROKEN
    assert "entry 0 (genesis), policy" in [finding.where for _, finding in report.broken]
    assert "I2" in failed(report)


def test_a_fork_behind_the_genesis_of_another_policy(tmp_path: Path) -> None:
    forge = honest_forge()
    forge.edit(forge.find(RoundClosed), model=bytes(32))
    path = forge.write(tmp_path / "t")
    pinned = PinnedPolicy.open(forge.policy_data)
    state = follow(HONEST / "transcript", pinned, None).state
    put_genesis(path, forge, another_policy(forge, own_key=False), own_key=False)
    assert follow(path, pinned, state).outcome is Outcome.BROKEN
    assert compare(path, HONEST / "transcript", pinned).outcome is not Outcome.OTHER


DAMAGE: dict[str, Callable[[Path, int], None]] = {
    "nothing": lambda path, size: None,
    "checkpoint": lambda path, size: spoil(path / "checkpoint", 4),
    "no checkpoint": lambda path, size: (path / "checkpoint").unlink(),
    "a cosignature": lambda path, size: spoil(path / "checkpoint", -5),
    "policy": lambda path, size: spoil(path / "policy.cbor", 40),
    "genesis": lambda path, size: spoil(path / bundle_of(0, size).path, 60),
    "genesis and its tile": lambda path, size: (
        spoil(path / bundle_of(0, size).path, 60),
        spoil(path / f"tile/0/000.p/{size}", 3),
    )[0],
    "genesis and checkpoint": lambda path, size: (
        spoil(path / bundle_of(0, size).path, 60),
        spoil(path / "checkpoint", 4),
    )[0],
    "an entry": lambda path, size: spoil(path / bundle_of(0, size).path, -9),
    "a tile": lambda path, size: spoil(path / f"tile/0/000.p/{size}", 3),
    "no tiles": lambda path, size: shutil.rmtree(path / "tile" / "0"),
    "checkpoints": lambda path, size: shutil.rmtree(path / "checkpoints"),
}


def spoil(file: Path, position: int) -> None:
    file.write_bytes(flipped(file.read_bytes(), position))


@pytest.fixture(scope="module", params=[False, True], ids=["one key", "two keys"])
def foreign(request: pytest.FixtureRequest) -> tuple[Path, bytes]:
    """An honest log, and another policy, of the same log key or not."""
    return HONEST / "transcript", another_policy(honest_forge(), own_key=request.param)


@pytest.mark.parametrize("name", list(DAMAGE))
def test_an_honest_log_of_another_policy_accuses_nobody(name: str, foreign: tuple[Path, bytes], tmp_path: Path) -> None:
    """However it is damaged; whole, or with damage elsewhere than in what says whose it is, that is the answer."""
    source, pinned = foreign
    path = Path(shutil.copytree(source, tmp_path / "t"))
    DAMAGE[name](path, TranscriptReader(path).size)
    report = agreed(path, pinned)
    assert report.broken == ()
    assert follow(path, PinnedPolicy.open(pinned), None).outcome in (Outcome.OTHER, Outcome.DAMAGED)
    if "genesis" not in name and name not in ("policy", "checkpoint", "no checkpoint"):
        assert report.outcome is Outcome.OTHER


_ = (Genesis, RoundOpen)


def test_another_policy_in_the_place_of_the_logs_own(tmp_path: Path) -> None:
    """Unpinned, the log is not judged by a policy that its Genesis does not name, of whatever key that is."""
    for own_key in (False, True):
        path = Path(shutil.copytree(HONEST / "transcript", tmp_path / str(own_key)))
        (path / "policy.cbor").write_bytes(another_policy(honest_forge(), own_key=own_key))
        report = audit(path, None)
        assert (report.outcome, report.broken) == (Outcome.DAMAGED, ())
        told = [finding.expected for finding in report.check("I2").findings]
        assert own_key or told[0].endswith(", which Genesis names")
