"""What `verifl status` says of a federation at every stage, by what is published alone; and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from protocols.privacy.accounting import NoiseRule
from protocols.privacy.budgets import Budget
from protocols.reasons import BUDGET_SPENT
from protocols.rounds.conductor import Stage
from protocols.rounds.exchange import Observe
from protocols.rounds.proposals import draft_proposal, seal_proposal
from tests.simulator import Setting, Simulation, identity_of
from tests.web import site
from verifl.agents.memory import remembered
from verifl.carriers.exchange.public import PublicDirectory
from verifl.carriers.exchange.standing import Standing, standing_of
from verifl.commands.root import invoke
from verifl.reports.status import Disk, describe_status
from verifl.storage.history import published_bytes
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import DirectoryStore

SINCE, UNTIL = 1_800_000_000, 1_800_000_600
SETTING = Setting(clients=3, trustees=3, threshold=2, corrupt=0, dimension=8, max_cohort=3)


class Federation:
    """Rounds into public/transcript, and a proposal for what is due."""

    def __init__(self, folder: Path, setting: Setting = SETTING) -> None:
        self.public = PublicDirectory(folder / "public")
        self.public.create()
        self.simulation = Simulation(self.public.path, setting)
        self.simulation.updates = {1: {}, 2: {}}
        self.policy = folder / "policy.cbor"
        self.policy.write_bytes(self.simulation.policy_data)

    def propose(self) -> None:
        due, coordinator = self.simulation.conductor.due, self.simulation.coordinator
        if due.question is None:
            self.public.withdraw()
            return
        shown = isinstance(due.question, Observe)
        entries = coordinator.entries(coordinator.published, coordinator.size) if shown else []
        proposal, files = draft_proposal(self.simulation.pinned, due.question, due.parties, entries, SINCE, UNTIL)
        self.public.propose(seal_proposal(proposal, identity_of("coordinator")), files)

    def standing(self) -> Standing:
        self.propose()
        return standing_of(self.public, self.simulation.pinned)


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return Federation(tmp_path)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert invoke(["status", *arguments, "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_at_every_stage_it_says_who_is_awaited_and_who_has_answered(federation: Federation) -> None:
    """Two rounds, one party at a time: awaited and answered are together who is asked."""
    simulation, seen = federation.simulation, set[str]()
    everybody = set(simulation.trustees) | set(simulation.clients)
    for _ in range(2):
        while (stage := simulation.conductor.due.stage) is not Stage.IDLE:
            due = simulation.conductor.due
            answered: list[str] = []
            for party in due.parties:
                asking = federation.standing().asking
                assert asking is not None
                assert (asking.stage, asking.since, asking.until) == (stage.value, SINCE, UNTIL)
                assert asking.answered == tuple(answered)
                assert asking.awaited == tuple(due.parties[len(answered) :])
                assert asking.needed == (SETTING.min_cohort if stage is Stage.SUBMISSIONS else SETTING.threshold)
                simulation.ask([party])
                answered.append(party)
                seen |= {party}
            simulation.proceed()
        simulation.conductor.open_round()
    assert seen == everybody
    standing = federation.standing()
    assert (standing.closed, standing.aborted, standing.last_abort) == (1, 0, None)
    assert standing.head is not None
    assert standing.head.size == simulation.coordinator.published


def test_disk_growth_and_the_last_abort(federation: Federation, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = federation.simulation
    simulation.start()
    before = simulation.coordinator.size
    simulation.play_round()
    simulation.settle()
    standing = federation.standing()
    entries = simulation.coordinator.entries(0, simulation.coordinator.size)
    assert standing.round_bytes == published_bytes(simulation.path, entries[before:])
    assert standing.log_bytes == published_bytes(simulation.path, entries)
    simulation.open_round()
    simulation.acknowledge()
    simulation.close_cohort()  # of nobody
    simulation.settle()
    found = told(capsys, str(federation.public.path), "--policy", str(federation.policy))["federation"]
    assert found["last_abort"] == {"round": 2, "reason": "too-few-submissions"}
    assert found["rounds"] == {"current": 3, "opened": 2, "closed": 1, "aborted": 1, "most": 50}
    assert found["policy_pinned"]
    disk = found["disk"]
    assert disk["used"] == sum(each.stat().st_size for each in federation.public.path.rglob("*") if each.is_file())
    assert disk["rounds_that_fit"] == disk["free"] // found["round_bytes"]
    standing, room = federation.standing(), Disk(0, 3 * found["round_bytes"])
    assert "room for 3 rounds more, of the 48 that the policy allows" in describe_status(standing, room, True, 0.0)
    few = replace(standing, max_rounds=standing.opened + 2)
    assert "room for 2 rounds more, of the 2 that the policy allows" in describe_status(few, room, True, 0.0)
    budgeted = replace(standing, left={"a": 1, "b": 0})
    assert "room for 1 round more, of the 1 that the policy allows" in describe_status(budgeted, room, True, 0.0)
    for over in (replace(standing, ended=BUDGET_SPENT), replace(standing, left={"a": 0, "b": 0})):
        assert "room for" not in describe_status(over, room, True, 0.0)


def test_who_has_spent_a_budget_and_what_ended_the_federation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(0))
    budget = Budget(rule, rule.epsilon(2) or Fraction(0), 50)
    monkeypatch.setattr("protocols.pinned.budget_of", lambda _: budget)
    federation = Federation(tmp_path)
    simulation = federation.simulation
    simulation.start()
    simulation.play_round()
    simulation.play_round(clients=["client-00", "client-02"])
    assert federation.standing().left == {"client-00": 0, "client-01": 1, "client-02": 0}
    assert invoke(["status", str(federation.public.path)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["budget"].startswith(
        "1 of 3 clients may be in another cohort, in 1 at most; spent: client-00, client-02;"
    )
    simulation.store(simulation.conductor.end(BUDGET_SPENT))
    simulation.settle()
    federation.propose()
    found = told(capsys, str(federation.public.path))["federation"]
    assert (found["ended"], found["finished"]) == (BUDGET_SPENT, True)
    assert found["cohorts_left"] == {"client-00": 0, "client-01": 1, "client-02": 0}
    assert invoke(["status", str(federation.public.path)]) == 0
    assert "over: too few clients have privacy budget left" in capsys.readouterr().out


def test_the_text_names_who_is_awaited_since_when_and_by_whose_clock(
    federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation = federation.simulation
    simulation.start()
    simulation.open_round()
    simulation.settle()
    simulation.ask(["client-01"])
    federation.propose()
    assert invoke(["status", str(federation.public.path)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["stage"] == "round 1: submissions"
    assert lines["awaited"].startswith("client-00, client-02; since 2027-01-15 08:00:00 UTC, ")
    assert lines["awaited"].endswith("by the coordinator's clock")
    assert lines["answered"] == "client-01"
    assert lines["due"].startswith("2027-01-15 08:10:00 UTC, by the coordinator's clock, with 2 answers or more")
    assert "as published: pin yours by --policy" in lines["policy"]
    assert "by that trustee's clock" in lines["log"]


def test_where_clients_are_drawn_it_says_who(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    federation = Federation(tmp_path, replace(SETTING, per_round=2))
    federation.simulation.start()
    assert federation.standing().drawn is None
    federation.simulation.open_round()
    federation.propose()
    asked = federation.simulation.conductor.due.parties
    assert told(capsys, str(federation.public.path))["federation"]["drawn"] == list(asked)
    assert invoke(["status", str(federation.public.path)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["drawn"] == ", ".join(asked)
    federation.simulation.store(federation.simulation.coordinator.abort())
    federation.simulation.checkpoint()
    assert federation.standing().drawn is None


def test_an_address_says_the_same_but_for_the_disk(federation: Federation, capsys: pytest.CaptureFixture[str]) -> None:
    federation.simulation.start()
    federation.simulation.open_round()
    federation.propose()
    here = told(capsys, str(federation.public.path))["federation"]
    with site(federation.public.path) as server:
        there = told(capsys, server.url)["federation"]
        pinned = told(capsys, server.url, "--policy", str(federation.policy))["federation"]
        assert invoke(["status", f"{server.url}/nowhere"]) == 2
    assert "holds no federation yet" in capsys.readouterr().err
    for each in (here, there, pinned):
        each["asking"].pop("waited_seconds")
    assert here.pop("disk")["free"] > 0
    assert there.pop("disk") is pinned.pop("disk") is None
    assert there == here == pinned | {"policy_pinned": False}


def test_a_proposal_that_the_log_has_left_behind_asks_nobody(federation: Federation) -> None:
    simulation = federation.simulation
    simulation.start()
    federation.propose()
    simulation.conductor.open_round()
    assert federation.standing().asking is not None
    simulation.ask()
    simulation.proceed()
    simulation.settle()
    assert standing_of(federation.public, simulation.pinned).asking is None


def test_when_no_round_is_open_it_says_whether_one_can_come(
    federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation = federation.simulation

    def stage() -> tuple[str, bool]:
        assert invoke(["status", str(federation.public.path)]) == 0
        [line] = [each for each in capsys.readouterr().out.splitlines() if each.startswith("stage")]
        return line.removeprefix("stage").strip(), told(capsys, str(federation.public.path))["federation"]["finished"]

    simulation.start()
    assert stage() == ("before round 1; nobody is asked anything", False)
    simulation.open_round()
    assert stage() == ("in round 1; nobody is asked anything: is the coordinator running?", False)
    simulation.store(simulation.coordinator.abort())
    simulation.checkpoint()
    said, finished = stage()
    assert said.startswith(
        "between two rounds: round 1 has ended, and nobody is asked for another; its coordinator has "
    )
    assert not finished


def test_after_the_last_round_it_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = PublicDirectory(tmp_path / "public")
    public.create()
    simulation = Simulation(public.path, replace(SETTING, max_rounds=1))
    simulation.start()
    simulation.open_round()
    assert not standing_of(public, simulation.pinned).is_finished
    simulation.store(simulation.coordinator.abort())
    simulation.checkpoint()
    assert standing_of(public, simulation.pinned).is_finished
    assert invoke(["status", str(public.path)]) == 0
    assert "finished: round 1 was the last that the policy allows" in capsys.readouterr().out


def test_before_the_first_checkpoint_and_where_there_is_nothing(
    federation: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    federation.simulation.proceed()
    federation.simulation.proceed()
    asking = federation.standing().asking
    assert asking is not None
    assert asking.awaited == tuple(federation.simulation.trustees)
    assert told(capsys, str(federation.public.path))["federation"]["checkpoint"] is None
    for arguments, hint in (
        ([str(tmp_path / "nowhere")], "no such directory"),
        ([str(tmp_path)], "holds no federation yet"),
        ([], "give DIR"),
    ):
        assert invoke(["status", *arguments]) == 2
        assert hint in capsys.readouterr().err


def test_what_is_damaged_or_anothers_is_refused_by_name(
    federation: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulation = federation.simulation
    simulation.start()
    simulation.conductor.open_round()
    federation.propose()
    place = str(federation.public.path)

    def refusal() -> str:
        assert invoke(["status", place, "--policy", str(federation.policy)]) == 1
        return capsys.readouterr().err

    proposal = federation.public.path / "exchange/proposal"
    good = proposal.read_bytes()
    proposal.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert refusal().startswith("verifl: signature: ")
    proposal.write_bytes(b"nonsense")
    assert refusal().startswith("verifl: exchange/proposal: expected a proposal, ")
    proposal.unlink()
    checkpoint = simulation.path / "checkpoint"
    note = checkpoint.read_text()
    checkpoint.write_text("\n".join(note.splitlines()[:-2]) + "\n")  # one cosignature of three
    assert refusal().startswith("verifl: checkpoint-quorum: ")
    checkpoint.write_text(note)
    [bundle] = (simulation.path / "tile/entries").rglob("*.p/1")
    data = bundle.read_bytes()
    bundle.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert refusal().startswith("verifl: tile-mismatch: ")
    bundle.unlink()
    assert refusal().startswith("verifl: file-missing: ")
    bundle.write_bytes(data)
    other = Federation(tmp_path / "other")
    assert invoke(["status", place, "--policy", str(other.policy)]) == 0  # made of the same setting
    assert invoke(["status", place, "--policy", str(checkpoint)]) == 1
    assert invoke(["status", str(simulation.path)]) == 2
    assert f"did you mean {place}?" in capsys.readouterr().err


def test_a_party_says_what_it_has_said_and_waits_for(federation: Federation, tmp_path: Path) -> None:
    simulation = federation.simulation

    def memory_of(name: str) -> tuple[str | None, str, str]:
        home = PartyDirectory(tmp_path / "homes" / name)
        store = DirectoryStore(home.store)
        for key in store.keys():  # noqa: SIM118
            store.delete(key)
        for key in simulation.stores[name].keys():  # noqa: SIM118
            store.put(key, simulation.stores[name].get(key) or b"")
        memory = remembered(home.path)
        return memory.role, memory.said, memory.waits_for

    assert memory_of("trustee-1") == (None, "nothing yet", "to be asked")
    simulation.start()
    assert memory_of("trustee-1") == ("trustee", "its cosignature of 1 entries", "round 1 to open")
    assert memory_of("coordinator")[:2] == ("coordinator", "a checkpoint of 1 entries, to trustees")
    simulation.open_round()
    simulation.settle()
    assert memory_of("trustee-1") == ("trustee", "its key of round 1", "round 1: its cohort")
    simulation.ask()
    assert memory_of("client-00") == (
        "client",
        "its submission to round 1",
        "the end of round 1, or a later round to open",
    )
    simulation.acknowledge()
    assert memory_of("trustee-1")[1] == "its acknowledgement of round 1"
    simulation.close_cohort()
    simulation.settle()
    simulation.ask()
    assert memory_of("trustee-1")[1:] == ("its release of round 1", "round 1: its sum")


def test_a_state_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = PartyDirectory(tmp_path / "home")
    store = DirectoryStore(home.store)

    def refusal() -> str:
        assert invoke(["status", "--state", str(home.path)]) == 2
        return capsys.readouterr().err

    store.put("seen", b"nonsense")
    assert str(store.file("seen")) in refusal()
    store.file("seen").write_bytes(b"torn")
    assert "this state file is damaged" in refusal()
    store.delete("seen")
    store.put("sang", b"")
    assert "the state of no trustee, client or coordinator" in refusal()
    home.store.chmod(0o755)
    assert "chmod 700" in refusal()
