"""Each judgement finds what it is there for, and finds nothing in a history in which all was well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from protocols.envelopes import seal
from protocols.log.checkpoint import Checkpoint
from protocols.messages import RoundKey
from tests.network.history import World, world_of
from tests.network.judgement import JUDGEMENTS, judge
from tests.network.scenario import HOST, Scenario
from tests.network.statements import Secret
from tests.simulator import Setting, identity_of

CALM = Scenario(1, Setting(clients=2, trustees=3, threshold=2, corrupt=0, dimension=20), rounds=1)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with world_of(CALM) as made:
        made.play()
        yield made


def test_nothing_is_wrong_where_all_was_well(world: World) -> None:
    assert judge(world) == []
    assert world.host.done
    assert len(world.statements.wire) >= 2 + 3 * 4
    assert {secret.what for secret in world.secrets.known} == {
        "a signing key", "a private round key", "an encryption key", "a share"
    }  # fmt: skip


def _never_ends(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.host, "done", False)


def _ends_early(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.host, "ended", "federation closed after 0 of 1 rounds")


def _says_two_things(world: World, patch: pytest.MonkeyPatch) -> None:
    message = RoundKey(world.pinned.policy.federation, world.pinned.hash, 1, "trustee-1", bytes(1216), None, None)
    key = ("trustee-1", "round-key", 1)
    other = seal(message, "trustee-1", identity_of("trustee-1", 1))
    patch.setitem(world.statements.entries, key, [*world.statements.entries[key], other])


def _signs_another_log(world: World, patch: pytest.MonkeyPatch) -> None:
    head = Checkpoint(world.pinned.policy.origin, 3, bytes(32))
    patch.setitem(world.statements.heads, "trustee-2", {head.size: {head.root}})


def _signs_two_logs(world: World, patch: pytest.MonkeyPatch) -> None:
    """Of which a coordinator that lies has shown it one after the other."""
    patch.setattr(world, "set_back", {HOST})
    size, root = max(world.logs.known)
    known = {**world.logs.known, (size, bytes(32)): [bytes(32)] * size}
    patch.setattr(world.logs, "known", known)
    patch.setitem(world.statements.heads, "trustee-2", {size: {root, bytes(32)}})


def _two_logs_are_in_force(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world, "set_back", {HOST, *world.scenario.trustees})
    size, root = max(world.logs.known)
    patch.setattr(world.logs, "known", {**world.logs.known, (size, bytes(32)): [bytes(32)] * size})
    for name in ("trustee-1", "trustee-2"):
        patch.setitem(world.statements.heads, name, {size: {root, bytes(32)}})


def _sums_something_else(world: World, patch: pytest.MonkeyPatch) -> None:
    entry, turn = next(iter(world.trained.answers.items()))
    patch.setitem(world.trained.answers, entry, replace(turn, units=turn.units + 1))


def _sums_what_nobody_trained(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.delitem(world.trained.answers, next(iter(world.trained.answers)))


def _sends_a_secret(world: World, patch: pytest.MonkeyPatch) -> None:
    secret = next(secret for secret in world.secrets.known if secret.what == "an encryption key")
    patch.setattr(world.statements, "wire", [*world.statements.wire, b"before" + secret.data + b"after"])


def _keeps_a_secret_of_another(world: World, patch: pytest.MonkeyPatch) -> None:
    public = next(path for path in (world.transcript / "blobs").rglob("*") if path.is_file()).read_bytes()[:40]
    patch.setattr(world.secrets, "known", [*world.secrets.known, Secret("client-00", "a test's secret", public)])


def _does_not_forget(world: World, patch: pytest.MonkeyPatch) -> None:
    kept = next((world.members["trustee-0"].machine.root / "store").glob("*.value")).read_bytes()[:40]
    patch.setattr(world.secrets, "known", [*world.secrets.known, Secret("trustee-0", "a share", kept)])


def _loses_an_answer(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world, "lost", ["an answer of client-00 was lost"])


def _loses_its_state(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world.trained, "wrong", ["client-00 trains in round 1 from another state than it had left"])


def _ends_with_an_error(world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(world, "complaints", [("client-00", "an error")])


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("progress", _never_ends),
        ("progress", _ends_early),
        ("words", _says_two_things),
        ("one log", _signs_another_log),
        ("one log", _signs_two_logs),
        ("one log", _two_logs_are_in_force),
        ("sums", _sums_something_else),
        ("sums", _sums_what_nobody_trained),
        ("secrecy", _sends_a_secret),
        ("secrecy", _keeps_a_secret_of_another),
        ("forgetting", _does_not_forget),
        ("kept", _loses_an_answer),
        ("own state", _loses_its_state),
        ("endings", _ends_with_an_error),
    ],
)
def test_each_judgement_finds_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, spoil: Callable[[World, pytest.MonkeyPatch], None]
) -> None:
    spoil(world, monkeypatch)
    assert [each for each in judge(world) if each.startswith(f"{name}: ")]


def test_the_audit_is_one_of_them(world: World) -> None:
    path = next(path for path in (world.transcript / "blobs").rglob("*") if path.is_file())
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = list(JUDGEMENTS["audit"](world))
    path.write_bytes(data)
    assert found
