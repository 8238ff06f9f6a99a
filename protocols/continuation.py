"""A federation that takes up where another one ended: what a log's end is, and which may be taken up (spec 4.8).

The model of a log that was audited is the start of the next federation. The log is closed: behind its last entry
nothing may stand, so what it charged its clients is final, and both federations cannot go on. No cohort may have been
closed on the model: a second one, in another log, would be on the same model, and the difference of the two sums could
be a single update.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import open_envelope, open_policy
from protocols.hashes import sha256
from protocols.log.merkle import Frontier, leaf_hash
from protocols.messages import (
    CohortClosed,
    FederationClosed,
    Genesis,
    KeyRotation,
    RoundClosed,
    RoundOpen,
    Submission,
)
from protocols.noise import carried_budgets
from protocols.policy import FormerBudget, FormerFederation, Policy

_LISTED = 4  # clients, in a message


@dataclass(frozen=True)
class LogEnd:
    """Where the first `size` entries of a log leave it. root: of their tree. model: that the next round would open on,
    or the final one. closed: whether the last of them is FederationClosed. opened: the rounds, here or later in the
    log, that closed a cohort on `model`.
    charges: in how many closed cohorts of the whole log each client is. rotated: whose each key is that a rotation
    anywhere in it brought.
    """

    size: int
    root: bytes
    model: bytes
    closed: bool
    opened: tuple[int, ...]
    charges: Mapping[str, int] = field(default_factory=dict)
    rotated: Mapping[bytes, str] = field(default_factory=dict)


def end_of(entries: Iterable[bytes], size: int) -> LogEnd:
    """The end of a log's first `size` entries; `entries` are all of it, at least so many.

    Entries that do not decode, which no audit accepts, are passed over. Raises Rejected("previous-size") for a shorter
    log.
    """
    frontier, state, count = Frontier(), _State(), 0
    end: tuple[bytes, bytes, bool] | None = None
    for entry in entries:
        state.add(entry, count)
        count += 1
        if count <= size:
            frontier.append(leaf_hash(entry))
        if count == size:
            end = (frontier.root(), state.model, state.closed)
    if end is None:
        raise Rejected("previous-size", f"a log of {size} entries or more", str(count))
    root, model, closed = end
    opened = tuple(state.cohorts.get(model, ()))
    return LogEnd(size, root, model, closed, opened, state.charges, state.rotated)


def charges_in(entries: Iterable[bytes]) -> Mapping[str, int]:
    """In how many closed cohorts of a log, or of the beginning of one, each client is; only those in any."""
    state = _State()
    for index, entry in enumerate(entries):
        state.add(entry, index)
    return state.charges


def require_lawful(end: LogEnd) -> None:
    """Accept an end that may be taken up, or raise Rejected.

    "previous-end": the federation is not closed there, and may go on; "previous-cohort": a cohort was closed on the
    final model.
    """
    if not end.closed:
        found = f"a log that may go on behind its {end.size} entries"
        raise Rejected("previous-end", "a federation that was closed, by a federation-closed entry", found)
    if end.opened:
        found = f"that of round {end.opened[0]}, on a model that would be the next federation's"
        raise Rejected("previous-cohort", "no cohort on the final model", found)


class Log(Protocol):
    """A log that can be read; what its methods raise is passed on."""

    def policy(self) -> bytes:
        """The policy file beside it."""
        ...

    def replay(self) -> Iterator[Sequence[bytes]]:
        """All its entries, in portions."""
        ...


@dataclass(frozen=True)
class Ancestor:
    """A federation that others go on from. rotated: as of `LogEnd`."""

    policy: Policy
    rotated: Mapping[bytes, str]


def ancestors(named: FormerFederation | None, logs: Iterable[Log]) -> Iterator[Ancestor]:
    """The federations before one, the last of them first, as far as the chain of links is in these logs.

    named: what that one goes on from. Raises Rejected("previous-policy"), ("previous-size"), ("previous-root") for
    another log than is named.
    """
    for log in logs:
        if named is None:
            return
        data = log.policy()
        _same("previous-policy", named.policy.hex(), sha256(data).hex())
        end = end_of(chain.from_iterable(log.replay()), named.size)
        _same("previous-root", named.root.hex(), end.root.hex())
        policy, _ = open_policy(data)
        yield Ancestor(policy, end.rotated)
        named = policy.previous


def check_link(
    policy: Policy, former: Policy, former_hash: bytes, end: LogEnd, earlier: Iterable[Ancestor] = ()
) -> None:
    """Accept a log as the one that `policy` continues, or raise Rejected.

    former: the policy of that log, former_hash the SHA-256 of its file. earlier: the federations before that one, as
    far as they are known. "previous-policy", "previous-federation": it is another; "previous-root": this size has
    another root, a fork; "previous-model": another final model; then as `require_lawful`, as `check_layout`, as
    `check_budgets`, and as `check_line`.
    """
    named = policy.previous
    if named is None:
        raise Rejected("previous-policy", "a policy that continues a federation", "one that begins by itself")
    _same("previous-policy", named.policy.hex(), former_hash.hex())
    _same("previous-federation", named.federation, former.federation)
    _same("previous-root", named.root.hex(), end.root.hex())
    require_lawful(end)
    check_layout(policy, former)
    _same("previous-model", policy.initial_model.hex(), end.model.hex())
    check_budgets(policy, former, end)
    check_line(policy, (Ancestor(former, end.rotated), *earlier))


def check_line(policy: Policy, line: Iterable[Ancestor]) -> None:
    """Accept if a policy is told from those of all federations that it goes on from, and has their clients by the ids
    that they had there.

    Raises Rejected("previous-name"), ("previous-origin") for the name or the origin of one of them; as `check_clients`.
    """
    for each in line:
        if each.policy.federation == policy.federation:
            raise Rejected("previous-name", "another name than that of any federation before", policy.federation)
        if each.policy.origin == policy.origin:
            raise Rejected("previous-origin", "another origin than that of any log before", policy.origin)
        check_clients(policy, each)


def check_budgets(policy: Policy, former: Policy, end: LogEnd) -> None:
    """Accept if a policy goes on with the budget of the federation before it, if that has one, and charges for what was
    spent there and before, and for nothing else. Raises Rejected("previous-budget")."""
    carried = () if policy.privacy_budget is None else policy.privacy_budget.former
    try:
        expected = carried_budgets(former, end.charges)
    except Misuse as error:
        raise Rejected("previous-budget", "a former budget that can be counted", str(error)) from None
    if carried == expected:
        return
    if policy.privacy_budget is None:
        found = "no privacy budget"
        raise Rejected("previous-budget", f"a budget that goes on with that of {former.federation}", found)
    for theirs, ours in zip(expected, carried, strict=False):
        if theirs != ours:
            raise Rejected("previous-budget", _charged(theirs), _charged(ours))
    raise Rejected("previous-budget", f"{len(expected)} former budgets", str(len(carried)))


def _charged(former: FormerBudget) -> str:
    clients = ", ".join(f"{each.client} for {each.cohorts}" for each in former.charges[:_LISTED])
    numbers = former.sensitivity, former.variance, former.variance_divisor, former.honest, former.deviation_bits
    return f"{former.federation} {numbers}, which charged {clients or 'nobody'}"


def check_clients(policy: Policy, before: Ancestor) -> None:
    """Accept if no client has a key under another id than it had it, as a client, in a federation before: what that
    one charged for by ids would be forgotten. Where that one has no budget it charged for nothing, and anybody may.
    Raises Rejected("previous-client")."""
    former = before.policy
    if former.privacy_budget is None:
        return
    clients = {member.id for member in former.roster}
    known = {member.public_key: member.id for member in former.roster}
    known.update((key, party) for key, party in before.rotated.items() if party in clients)
    for member in policy.roster:
        id_there = known.get(member.public_key, member.id)
        if id_there != member.id:
            raise Rejected("previous-client", f"{id_there}, whose key in {former.federation} it is", member.id)


def check_layout(policy: Policy, former: Policy) -> None:
    """Accept if both policies lay out the model alike, names and shapes.

    Raises Rejected("previous-dimension"), ("previous-layout").
    """
    _same("previous-dimension", str(former.dimension), str(policy.dimension))
    for theirs, ours in zip(former.tensors, policy.tensors, strict=False):
        if (theirs.name, theirs.shape) != (ours.name, ours.shape):
            raise Rejected("previous-layout", f"{theirs.name} {theirs.shape}", f"{ours.name} {ours.shape}")
    _same("previous-layout", f"{len(former.tensors)} tensors", f"{len(policy.tensors)} tensors")


def link_to(former: Policy, former_hash: bytes, end: LogEnd) -> FormerFederation:
    """What the policy of the next federation says of a log that it continues; raises as `require_lawful`."""
    require_lawful(end)
    return FormerFederation(former.federation, former_hash, end.size, end.root)


class _State:
    """What a log says so far. closed: whether by the last entry. cohorts: of each model, the rounds that closed a
    cohort on it. rotated: see `LogEnd`."""

    def __init__(self) -> None:
        self.model, self.closed = b"", False
        self.cohorts: dict[bytes, list[int]] = {}
        self.charges: Counter[str] = Counter()
        self.rotated: dict[bytes, str] = {}
        self._on = b""
        self._submitted: dict[int, str] = {}  # in the open round

    def add(self, entry: bytes, index: int) -> None:
        """One more entry."""
        self.closed = False
        try:
            message: Any = open_envelope(entry).message
        except Malformed:
            return
        match message:
            case Genesis():
                self.model = message.model
            case RoundOpen():
                self._on, self._submitted = message.model, {}
            case KeyRotation():
                self.rotated[message.public_key] = message.party
            case Submission():
                self._submitted[index] = message.client
            case CohortClosed():
                self.cohorts.setdefault(self._on, []).append(message.round)
                self.charges.update({self._submitted[each] for each in message.accepted if each in self._submitted})
            case RoundClosed():
                self.model = message.model
            case FederationClosed():
                self.closed = True


def _same(check: str, expected: str, found: str) -> None:
    if expected != found:
        raise Rejected(check, expected, found)
