"""A run leaves every client its receipts, and a resumed one makes up for those that are missing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from proofs.errors import Rejected
from protocols.log.reader import TranscriptReader
from protocols.pinned import PinnedPolicy
from protocols.privacy.accounting import NoiseRule
from protocols.privacy.budgets import Budget
from protocols.receipts import CLOSED, decode_receipt, make_receipts, verify_receipt
from protocols.rounds.exchange import Submit
from protocols.verdicts import ACCEPTED
from tests.simulator import Simulation
from verifl.agents.client import ClientAgent
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.receipts import accepted_rounds, keep_receipt, kept_receipts, receipt_file
from verifl.tasks.user_code import ClientFailed

PRESENT = ("client-00", "client-02", "client-03")


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    simulation = Simulation(tmp_path)
    simulation.start()
    simulation.play_round(clients=PRESENT)
    return simulation


def keep(simulation: Simulation, state: Path, name: str, pinned: PinnedPolicy | None = None) -> Path:
    """Client `name` keeps its receipt of round 1 in its own directory."""
    reader, pinned = TranscriptReader(simulation.path), pinned or simulation.pinned
    receipts = make_receipts(pinned, reader.latest(), reader.entries(0, reader.size), 1)
    directory = PartyDirectory(state / name)
    keep_receipt(directory, pinned, name, 1, receipts[name])
    return receipt_file(directory, 1)


@pytest.mark.parametrize("name", PRESENT)
def test_every_client_of_the_round_has_one(simulation: Simulation, tmp_path: Path, name: str) -> None:
    file = keep(simulation, tmp_path, name)
    assert file.stat().st_mode & 0o777 == 0o600
    found = verify_receipt(simulation.pinned, decode_receipt(file.read_bytes()))
    assert (found.client, found.verdict, found.outcome) == (name, ACCEPTED, CLOSED)


def test_one_that_is_there_stays(simulation: Simulation, tmp_path: Path) -> None:
    kept = keep(simulation, tmp_path, "client-00").read_bytes()
    keep(simulation, tmp_path, "client-02").unlink()
    simulation.play_round()  # the checkpoint, and so a receipt made now, is another
    assert keep(simulation, tmp_path, "client-00").read_bytes() == kept
    assert keep(simulation, tmp_path, "client-02").exists()


def test_one_that_does_not_hold_is_not_kept(simulation: Simulation, tmp_path: Path) -> None:
    other = replace(Simulation(tmp_path / "other", simulation.setting).pinned, hash=bytes(32))
    with pytest.raises(Rejected, match="policy-hash"):
        keep(simulation, tmp_path, "client-00", other)
    assert not receipt_file(PartyDirectory(tmp_path / "client-00"), 1).exists()


@pytest.mark.parametrize(("name", "number", "check"), [("client-02", 1, "client"), ("client-00", 2, "round")])
def test_one_of_somebody_else_is_not_kept(
    simulation: Simulation, tmp_path: Path, name: str, number: int, check: str
) -> None:
    receipt = decode_receipt(keep(simulation, tmp_path, "client-00").read_bytes())
    own = PartyDirectory(tmp_path / "own")
    with pytest.raises(Rejected) as refused:
        keep_receipt(own, simulation.pinned, name, number, receipt)
    assert refused.value.check == check
    assert not own.path.exists()


def test_what_receipts_say_of_a_budget_binds_their_client(
    simulation: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks it: it submits no more once it was accepted as often as its budget allows."""
    rule = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(0))
    epsilon = rule.epsilon(1)
    assert epsilon is not None
    name = "client-00"
    keep(simulation, tmp_path, name)
    directory = PartyDirectory(tmp_path / name)
    assert accepted_rounds(directory, simulation.pinned) == len(kept_receipts(directory)) == 1
    assert accepted_rounds(PartyDirectory(tmp_path / "new"), simulation.pinned) == 0
    simulation.open_round()
    client, question = simulation.clients[name], Submit(2, simulation.coordinator.note)
    log = SimpleNamespace(invitation=simulation.coordinator.invitation, blob=simulation.blob)
    for allowed, answers in ((1, False), (2, True)):
        pinned = PinnedPolicy.open(simulation.policy_data)
        monkeypatch.setitem(pinned.__dict__, "budget", Budget(rule, rule.epsilon(allowed) or epsilon, 50))
        agent = ClientAgent(pinned, client, directory, _Untrained())  # type: ignore[arg-type]  # it comes no further
        with pytest.raises(Rejected if not answers else ClientFailed) as refused:
            agent.answer(question, log)  # type: ignore[arg-type]  # what a client reads of a log
        if not answers:
            assert refused.value.check == "budget"
            assert refused.value.found == "client-00, who is in 1"


class _Untrained:
    """Training that comes to nothing."""

    def restore(self, client: str, kept: object) -> None:
        raise ClientFailed(client, "has no data")

    def forget(self, client: str) -> None:
        del client
