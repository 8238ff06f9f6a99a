"""What `--inject` takes: the kinds by name, and the parties that they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.errors import Misuse
from verifl.adversaries.registry import BAD_SHARE, KINDS, Misbehaviour, Role

LIST = "list"


@dataclass(frozen=True)
class Injection:
    """One `--inject`. parties: empty until `assign` gives the kind one. liar: the client or trustee that lies, if one
    does; `assign` says who."""

    kind: Misbehaviour
    parties: tuple[str, ...]
    liar: str = ""

    @property
    def party(self) -> str:
        """The one party."""
        return self.parties[0]


def parse_injection(text: str) -> Injection:
    """`KIND` or `KIND:PARTY`; raises Misuse for an unknown kind, or a PARTY where the kind takes none."""
    name, colon, rest = text.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        from difflib import get_close_matches

        close = get_close_matches(name, KINDS, n=1)
        hint = f"did you mean {close[0]}?" if close else "`--inject list` lists the kinds"
        raise Misuse(f"inject: there is no kind {name!r}; {hint}")
    parties = tuple(rest.split(",")) if colon else ()
    if parties and (kind.party is Role.NOBODY or "" in parties or len(set(parties)) != len(parties)):
        raise Misuse(f"inject: expected {kind.spelling}, found {text!r}")
    if len(parties) > 1 and kind.name != BAD_SHARE:
        raise Misuse(f"inject: {name} takes one party, found {rest!r}")
    return Injection(kind, parties)


def assign(injections: Sequence[Injection], clients: Sequence[str], trustees: Sequence[str]) -> tuple[Injection, ...]:
    """Give every injection its parties: those named, and for the others the first that is free.

    clients, trustees: ids in the policy's order. Raises Misuse for a party that does not exist, two injections on one
    party, or two lies of the server.
    """
    servers = [each.kind.name for each in injections if each.kind.by is Role.SERVER]
    if len(servers) > 1:
        raise Misuse(f"inject: the server tells one lie at a time, found {' and '.join(servers)}")
    known = {Role.CLIENT: clients, Role.TRUSTEE: trustees}
    taken = [party for each in injections for party in each.parties]
    for each in injections:
        for party in each.parties:
            if party not in known[each.kind.party]:
                names = ", ".join(known[each.kind.party])
                raise Misuse(f"inject: {each.kind.name} needs a {each.kind.party}, one of {names}; found {party!r}")
    repeated = sorted({party for party in taken if taken.count(party) > 1})
    if repeated:
        raise Misuse(f"inject: {repeated[0]} has two parts; give each party one")
    return tuple(_assigned(each, known, taken) for each in injections)


def _assigned(injection: Injection, known: dict[Role, Sequence[str]], taken: list[str]) -> Injection:
    kind, parties = injection.kind, injection.parties
    if not parties and kind.party is not Role.NOBODY:
        parties = (_free(kind, kind.party, known, taken),)
    if kind.by is Role.SERVER:
        return Injection(kind, parties)
    return Injection(kind, parties, parties[0] if kind.party is kind.by else _free(kind, kind.by, known, taken))


def _free(kind: Misbehaviour, role: Role, known: dict[Role, Sequence[str]], taken: list[str]) -> str:
    free = [party for party in known[role] if party not in taken]
    if not free:
        raise Misuse(f"inject: no {role} is left for {kind.name}")
    taken.append(free[0])
    return free[0]


def listing() -> str:
    """One line for each kind, as `--inject list` prints them."""
    width = max(len(kind.spelling) for kind in KINDS.values())
    return "\n".join(f"{kind.spelling:{width}}  {kind.description}" for kind in KINDS.values())
