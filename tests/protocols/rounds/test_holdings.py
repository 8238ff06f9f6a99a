"""Each party's declaration of its store is complete, and says nothing that is not so: whatever is written is checked
against it, and every kind of value is written by somebody."""

from __future__ import annotations

from pathlib import Path

import pytest

from proofs.errors import Malformed
from protocols.holdings import Holdings
from protocols.policy import WeightRule
from protocols.rounds import client_holdings, record, trustee_holdings
from protocols.steps.doubles import format_double
from protocols.stores import MemoryStore
from tests.simulator import Setting, Simulation

WEIGHTS = WeightRule("declared", 9, format_double(1.0))
SMALL = Setting(clients=3, trustees=3, threshold=3, corrupt=1, dimension=20, weights=WEIGHTS)
PARTIES = {
    "client": client_holdings.HOLDINGS,
    "trustee": trustee_holdings.HOLDINGS,
    "coordinator": record.HOLDINGS,
}


class DeclaredStore(MemoryStore):
    """Takes what its owner declares; `kinds`: what it was given."""

    def __init__(self, holdings: Holdings) -> None:
        super().__init__()
        self._holdings, self.kinds = holdings, set[str]()

    def put(self, key: str, value: bytes) -> None:
        self._holdings.check(key, value)
        self.kinds |= {kind.name for kind in self._holdings.kinds if kind.has(key)}
        super().put(key, value)


class Declared(Simulation):
    """A federation whose parties have such stores."""

    def _store(self, name: str) -> MemoryStore:
        return self.stores.setdefault(name, DeclaredStore(PARTIES[name.partition("-")[0]]))


def two_rounds(simulation: Simulation) -> None:
    simulation.start()
    simulation.play_round()
    simulation.play_round()


def test_what_parties_write_is_what_they_declare(tmp_path: Path) -> None:
    simulation = Declared(tmp_path, SMALL)
    two_rounds(simulation)
    for name, store in simulation.stores.items():
        assert isinstance(store, DeclaredStore)
        assert store.kinds == {kind.name for kind in PARTIES[name.partition("-")[0]].kinds}, name
        for key in store.keys():  # noqa: SIM118 - a method of stores
            PARTIES[name.partition("-")[0]].check(key, store.get(key) or b"")


@pytest.mark.parametrize("party", PARTIES)
def test_a_declaration_that_lacks_something_is_noticed(
    party: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever kind of value is not declared, a party that writes it is stopped."""
    holdings = PARTIES[party]
    for missing in holdings.kinds:
        others = tuple(kind for kind in holdings.kinds if kind is not missing)
        monkeypatch.setitem(PARTIES, party, Holdings(holdings.party, others))
        with pytest.raises(Malformed, match=f"one of what {holdings.party} keeps.*'{missing.name}"):
            two_rounds(Declared(tmp_path / missing.name, SMALL))
