"""I13, both auditors: a log whose policy demands approvals has them, and nobody cosigns one that has not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Report, Status, audit
from proofs.errors import Malformed, Rejected
from protocols.approvals import Approval, approve, check_approvals, collect, read_approval
from protocols.envelopes import open_statement, seal_statement
from protocols.log.reader import TranscriptReader
from protocols.pinned import PinnedPolicy
from tests.auditor.forge import Forge
from tests.independent.audit import audit as second_audit
from tests.simulator import Setting, Simulation, identity_of, make_policy

SMALL = Setting(clients=4, trustees=3, threshold=2, corrupt=0, dimension=8, federation="first")
ALL = replace(SMALL, approvals=("client", "trustee"))


def rejected(call: Callable[[], object]) -> str:
    """The check that a call fails."""
    with pytest.raises(Rejected) as caught:
        call()
    return caught.value.check


@pytest.fixture(scope="module")
def approved(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A federation that everybody approved, before its first round."""
    simulation = Simulation(tmp_path_factory.mktemp("approved"), ALL)
    simulation.start()
    return simulation


def statuses(path: Path, policy: bytes) -> tuple[Report, dict[str, str]]:
    """The audit, and the second auditor's statuses."""
    file = path.parent / "pinned.cbor"
    file.write_bytes(policy)
    return audit(path, policy), second_audit(path, file).checks


def failed(path: Path, policy: bytes) -> set[str]:
    """The checks that fail, by both auditors."""
    report, second = statuses(path, policy)
    first = {each.id for each in report.checks if each.status is Status.FAIL}
    assert first == {number for number, status in second.items() if status == "fail"}
    return first


def test_a_federation_that_everybody_approved(approved: Simulation) -> None:
    report, second = statuses(approved.path, approved.policy_data)
    assert report.accepted
    (check,) = (each for each in report.checks if each.id == "I13")
    assert (check.status, second["I13"]) == (Status.PASS, "pass")
    assert check.checked == "7 approvals of the policy"


@pytest.mark.parametrize(("roles", "count"), [((), 0), (("client",), 4), (("trustee",), 3), (("client", "trustee"), 7)])
def test_who_has_to_approve(tmp_path: Path, roles: tuple[str, ...], count: int) -> None:
    simulation = Simulation(tmp_path, replace(SMALL, approvals=roles))
    assert simulation.pinned.approvals_size == 64 * count
    simulation.start()
    report, second = statuses(simulation.path, simulation.policy_data)
    assert report.accepted
    (check,) = (each for each in report.checks if each.id == "I13")
    assert check.status == second["I13"] == ("pass" if count else "not-applicable")


def another(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


LIES: dict[str, Callable[[bytes], bytes | None]] = {
    "a changed byte": lambda data: another(data, 70),
    "two exchanged": lambda data: data[64:128] + data[:64] + data[128:],
    "one twice": lambda data: data[:64] + data[:64] + data[128:],
    "none of one": lambda data: data[:-64] + bytes(64),
    "none at all": lambda data: None,
}


def approvals_told(path: Path, policy: bytes, party: str) -> list[tuple[str, bool | None]]:
    story = audit(path, policy, explain=party).story
    assert story is not None
    return [(each.text, each.holds) for each in story.events if "approv" in each.text]


def test_a_story_says_who_approved(approved: Simulation, tmp_path: Path) -> None:
    whole = approved.path, approved.policy_data
    assert approvals_told(*whole, "client-01") == approvals_told(*whole, "trustee-2") == [("approved the policy", True)]
    assert approvals_told(*whole, "coordinator") == [("published 7 of 7 approvals of the policy", True)]
    forged = Forge.load(approved.path, approved.pinned.policy, approved.policy_data, identity_of)
    data = forged.blobs.pop(forged.message(0).approvals)
    forged.edit(0, approvals=forged.put(data[:-64] + bytes(64)))  # of the last client
    forged.write(tmp_path / "t")
    lies = tmp_path / "t", approved.policy_data
    assert approvals_told(*lies, "client-03") == [("no valid approval of the policy by it is in the log", False)]
    assert approvals_told(*lies, "client-00") == [("approved the policy", True)]
    assert approvals_told(*lies, "coordinator") == [("published 6 of 7 approvals of the policy", False)]


@pytest.mark.parametrize("lie", LIES)
def test_approvals_that_are_none_fail_just_this_check(approved: Simulation, tmp_path: Path, lie: str) -> None:
    forged = Forge.load(approved.path, approved.pinned.policy, approved.policy_data, identity_of)
    honest = forged.message(0).approvals
    changed = LIES[lie](forged.blobs.pop(honest))
    forged.edit(0, approvals=None if changed is None else forged.put(changed))
    assert failed(forged.write(tmp_path / "t"), approved.policy_data) == {"I13"}


def test_a_blob_of_another_size_is_no_blob_of_approvals(approved: Simulation, tmp_path: Path) -> None:
    forged = Forge.load(approved.path, approved.pinned.policy, approved.policy_data, identity_of)
    data = forged.blobs.pop(forged.message(0).approvals)
    forged.edit(0, approvals=forged.put(data[:-64]))
    assert failed(forged.write(tmp_path / "t"), approved.policy_data) == {"I1", "I13"}


def test_approvals_that_nobody_demands(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, SMALL)
    simulation.start()
    forged = Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)
    forged.edit(0, approvals=forged.put(b""))
    assert failed(forged.write(tmp_path / "t"), simulation.policy_data) == {"I13"}


def test_a_trustee_cosigns_no_log_that_is_not_approved(tmp_path: Path) -> None:
    """Nor does the coordinator begin one; and the file is judged before anything is logged."""
    simulation = Simulation(tmp_path, ALL)
    good = simulation.approvals()
    coordinator, wrong = simulation.coordinator, another(good, 3)
    with pytest.raises(Malformed, match="expected 448 bytes, 64 a party, found 0"):
        coordinator.genesis(simulation.model)
    with pytest.raises(Rejected, match=r"approvals: .*none of trustee-0"):
        coordinator.genesis(simulation.model, wrong)
    simulation.store(coordinator.genesis(simulation.model, good))
    note = coordinator.checkpoint()
    entries = coordinator.entries(0, 1)

    def serving(blob: bytes) -> Callable[[bytes, int], bytes]:
        return lambda name, size: blob

    trustee = simulation.trustees["trustee-1"]
    assert rejected(lambda: trustee.observe(note, entries, 1)) == "blob-missing"
    assert rejected(lambda: trustee.observe(note, entries, 1, serving(wrong))) == "blob-hash"
    assert trustee.size == 0
    assert trustee.observe(note, entries, 1, simulation.blob)


def test_a_lying_coordinators_log_is_not_cosigned(approved: Simulation, tmp_path: Path) -> None:
    forged = Forge.load(approved.path, approved.pinned.policy, approved.policy_data, identity_of)
    wrong = another(forged.blobs[forged.message(0).approvals], 5)
    forged.edit(0, approvals=forged.put(wrong))
    path = forged.write(tmp_path / "t")
    reader = TranscriptReader(path)
    trustee = Simulation(tmp_path / "fresh", ALL).trustees["trustee-2"]
    entries = reader.entries(0, reader.size)
    assert rejected(lambda: trustee.observe(reader.latest(), entries, 1, reader.blob)) == "approvals"
    forged.edit(0, approvals=None)
    reader = TranscriptReader(forged.write(tmp_path / "u"))
    entries = reader.entries(0, reader.size)
    assert rejected(lambda: trustee.observe(reader.latest(), entries, 1, reader.blob)) == "approvals"


def test_files_of_approvals(approved: Simulation) -> None:
    pinned = approved.pinned
    mine = approve(pinned, identity_of("client-01"))
    given = read_approval(pinned, mine)
    assert given.party == "client-01"
    other = PinnedPolicy.open(make_policy(replace(ALL, max_rounds=49))[0])
    renamed = PinnedPolicy.open(make_policy(replace(ALL, federation="second"))[0])
    clients = PinnedPolicy.open(make_policy(replace(ALL, approvals=("client",)))[0])
    assert rejected(lambda: read_approval(other, mine)) == "policy-hash"  # replayed to another policy
    assert rejected(lambda: read_approval(renamed, mine)) == "federation"
    assert rejected(lambda: approve(pinned, identity_of("stranger"))) == "approval"
    assert rejected(lambda: approve(clients, identity_of("trustee-1"))) == "approval"  # of a role that is not asked
    assert rejected(lambda: collect(pinned, [given, given])) == "approvals"
    with pytest.raises(Rejected, match="none of trustee-0, trustee-1, trustee-2, client-00, client-02 and 1 more"):
        collect(pinned, [given])
    kind, by = "policy-approval", identity_of("client-01")
    _, statement = open_statement(kind, Approval, mine)
    assert statement.signer == "client-01"
    forged = seal_statement(kind, "client-00", Approval("first", pinned.hash, "client-00"), by)
    assert rejected(lambda: read_approval(pinned, forged)) == "signature"
    stranger = seal_statement(kind, "nobody", Approval("first", pinned.hash, "nobody"), by)
    assert rejected(lambda: read_approval(pinned, stranger)) == "approval"
    for data in (
        seal_statement(kind, "client-00", Approval("first", pinned.hash, "client-01"), by),
        seal_statement("key-request", "client-01", Approval("first", pinned.hash, "client-01"), by),
        mine[:-1],
        mine + b"\0",
        b"",
        bytes(5000),
    ):
        with pytest.raises(Malformed):
            read_approval(pinned, data)


def test_every_changed_byte_of_an_approval_is_refused(approved: Simulation) -> None:
    mine = approve(approved.pinned, identity_of("client-01"))
    for place in range(len(mine)):
        with pytest.raises((Malformed, Rejected)):
            read_approval(approved.pinned, another(mine, place))


def test_the_blob_of_approvals_is_all_or_nothing(approved: Simulation) -> None:
    data = approved.approvals()
    check_approvals(approved.pinned, data)
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(Malformed, match="448 bytes"):
            check_approvals(approved.pinned, wrong)
    for place in range(0, len(data), 61):
        assert rejected(lambda place=place: check_approvals(approved.pinned, another(data, place))) == "approvals"  # type: ignore[misc]  # mypy infers no such lambda
