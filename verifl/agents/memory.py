"""What one party's state says, read and not touched: what it has said last, what it keeps, and what it waits for.

Nothing that is secret is told, and nothing that comes from anybody's data: names, numbers of rounds, sizes of the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofs.errors import Misuse
from protocols.holdings import POLICY, Holding, Holdings, RoundHolding
from protocols.rounds import client_holdings, record, trustee_holdings
from protocols.rounds.ledger import Ledger
from protocols.rounds.phases import Phase, phase_of
from protocols.rounds.round_secrets import ERASED_UP_TO, ROUND_KEY
from verifl.agents.party import check_store
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.receipts import kept_receipts
from verifl.storage.stores import StoredValues

_ROLES: dict[str, Holdings] = {
    "trustee": trustee_holdings.HOLDINGS,
    "client": client_holdings.HOLDINGS,
    "coordinator": record.HOLDINGS,
}


@dataclass(frozen=True)
class Memory:
    """role: None where nothing has been said yet. said: the last thing, in words. waits_for: in words. keeps: what is
    in the store, in words, with the rounds that it is of. log_size: entries of the log that the party knows."""

    role: str | None
    said: str
    waits_for: str
    keeps: tuple[str, ...]
    log_size: int
    receipts: int


def remembered(path: Path) -> Memory:
    """What is in a party's directory (`--state`); raises Misuse where it is none, or naming the file that is damaged,
    or not private."""
    if not path.is_dir():
        raise Misuse(f"{path}: no such directory; --state of a party's own command is meant")
    if (path / "trustees").is_dir() and (path / "clients").is_dir():
        raise Misuse(f"{path}: the state of many parties; did you mean {path / 'coordinator'}?")
    directory = PartyDirectory(path)
    values, receipts = StoredValues(directory.store), len(kept_receipts(directory))
    keys = [key for key in values.keys() if not POLICY.has(key)]  # noqa: SIM118 - a method of stores
    role = _role(directory, keys)
    if role is None:
        return Memory(None, "nothing yet", "to be asked", (), 0, receipts)
    said, waits_for, size = {"trustee": _trustee, "client": _client, "coordinator": _coordinator}[role](values, keys)
    return Memory(role, said, waits_for, _keeps(_ROLES[role], keys), size, receipts)


def _role(directory: PartyDirectory, keys: list[str]) -> str | None:
    if not keys:
        return None
    for role, holdings in _ROLES.items():
        if all(any(kind.has(key) for kind in holdings.kinds) for key in keys):
            check_store(directory.store, holdings)
            return role
    raise Misuse(f"{directory.store}: the state of no trustee, client or coordinator: {', '.join(keys)[:200]}")


def _trustee(values: StoredValues, keys: list[str]) -> tuple[str, str, int]:
    log = trustee_holdings.LOG.get(values)
    if log is None:
        made = _last(ROUND_KEY, keys)
        return (f"its key of round {made}" if made else "nothing yet"), "to be asked", 0
    steps: tuple[tuple[RoundHolding[Any], str], ...] = (
        (ROUND_KEY, "its key of round"),
        (trustee_holdings.ACK, "its acknowledgement of round"),
        (trustee_holdings.RELEASE, "its release of round"),
    )
    number, _, words = max((_last(kind, keys), order, words) for order, (kind, words) in enumerate(steps))
    said = f"{words} {number}" if number else f"its cosignature of {log.size} entries"
    return said, _due(log.ledger), log.size


def _due(ledger: Ledger) -> str:
    """What comes next in a log."""
    phase, number = phase_of(ledger), ledger.next_round
    if phase is Phase.OVER:
        return f"nothing: the federation was closed ({ledger.closed})"
    if phase in (Phase.EMPTY, Phase.BETWEEN, Phase.KEYED):
        return f"round {number} to open"
    words = {Phase.COLLECTING: "its cohort", Phase.RELEASING: "its sum", Phase.OPENED: "its model"}
    return f"round {number}: {words[phase]}"


def _client(values: StoredValues, keys: list[str]) -> tuple[str, str, int]:
    del keys
    seen, answer = client_holdings.SEEN.get(values), client_holdings.ANSWER.get(values)
    size = 0 if seen is None else seen.size
    if answer is None:
        return "nothing yet", "a round to open", size
    return f"its submission to round {answer.round}", f"the end of round {answer.round}, or a later round to open", size


def _coordinator(values: StoredValues, keys: list[str]) -> tuple[str, str, int]:
    del keys
    pending = record.PENDING.get(values)
    size = 0 if pending is None else pending.start + len(pending.entries)
    return f"a checkpoint of {size} entries, to trustees", "what `verifl status` of its public directory says", size


def _last(kind: RoundHolding[Any], keys: list[str]) -> int:
    return max((int(key.partition("/")[2]) for key in keys if kind.has(key)), default=0)


def _keeps(holdings: Holdings, keys: list[str]) -> tuple[str, ...]:
    found = []
    for kind in holdings.kinds:
        if isinstance(kind, Holding) and kind.key in keys and kind is not ERASED_UP_TO:
            found.append(kind.meaning)
        elif isinstance(kind, RoundHolding):
            rounds = sorted(int(key.partition("/")[2]) for key in keys if kind.has(key))
            if rounds:
                found.append(f"{kind.meaning}: {', '.join(map(str, rounds[-8:]))}")
    return tuple(found)
