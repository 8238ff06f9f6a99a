"""What each client may spend under a policy, and what it has spent by a log (spec 10.5).

A client is charged for every CohortClosed that it is in, released, aborted or still open: from then on its sum may be
opened, whatever the log shows. So what a log has spent of a client is a number of cohorts, and what the policy allows
it is another, K, which is fixed before the first round: trustees cosign no log in which a client is heard that is in K
cohorts already, the coordinator does not ask it, and auditors count again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from proofs.errors import Misuse, Rejected
from protocols.privacy.accounting import MOST_FEDERATIONS, MOST_ROUNDS, Known, NoiseRule

BUDGET = "budget"  # the check that a client fails which has spent what it may


@dataclass(frozen=True)
class FormerRounds:
    """A federation whose budget another one goes on with: its own rule, and in how many closed cohorts each client was
    there."""

    rule: NoiseRule
    rounds: Mapping[str, int]
    own: Fraction | None = None


@dataclass(frozen=True)
class Spent:
    """What one client has spent. rounds: closed cohorts with it in this federation; former: in those before. epsilon:
    what a budget of just these guarantees; None where none is proved at this delta: it were beyond 1024, e^epsilon
    times the deviation is too large a part of delta, or the rounds are more than 2^16."""

    rounds: int
    former: int
    epsilon: Fraction | None


@dataclass(frozen=True)
class Budget:
    """What a policy allows to each client. rule: by which this federation's cohorts are charged, and whose delta is the
    budget's. epsilon: of the budget. most: no client is in more cohorts than that, whatever they cost. former: the
    federations whose budgets are gone on with. own: sigma^2 of the noise that is a client's own; None for the rule's.

    Raises Misuse for 2^10 former federations or more.
    """

    rule: NoiseRule
    epsilon: Fraction
    most: int
    former: Sequence[FormerRounds] = ()
    own: Fraction | None = None
    _allowed: dict[Fraction, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _costs: dict[tuple[int, Fraction], Fraction | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _replaced: dict[Fraction, tuple[Fraction, Fraction] | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    _known: Known = field(default_factory=Known, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.former) >= MOST_FEDERATIONS:
            raise Misuse(f"former federations: expected less than {MOST_FEDERATIONS}, found {len(self.former)}")

    def rounds(self, client: str) -> int:
        """K: in how many closed cohorts of this federation the client may be."""
        before = self._before.get(client, Fraction(0))
        if before not in self._allowed:
            self._allowed[before] = self._total.rounds_within(self.epsilon, self.most, before, self._known)
        return self._allowed[before]

    def spent(self, client: str, rounds: int) -> Spent:
        """What a client has spent that is in so many closed cohorts of this federation."""
        before = self._before.get(client, Fraction(0))
        if (rounds, before) not in self._costs:
            known = rounds <= MOST_ROUNDS  # a log that keeps no rule may have more
            self._costs[rounds, before] = self._total.epsilon(rounds, before) if known else None
        former = sum(each.rounds.get(client, 0) for each in self.former)
        return Spent(rounds, former, self._costs[rounds, before])

    def replaced(self, client: str) -> tuple[Fraction, Fraction] | None:
        """An epsilon and its delta in all cohorts that the client may be in, its updates compared with any others; see
        `NoiseRule.replaced`."""
        before = self._before.get(client, Fraction(0))
        if before not in self._replaced:
            self._replaced[before] = self._total.replaced(self.rounds(client), before)
        return self._replaced[before]

    def ranked(self, clients: Iterable[str]) -> list[str]:
        """By what they spent in former federations, who spent least first; by id where that is alike."""
        return sorted(clients, key=lambda client: (self._before.get(client, Fraction(0)), client))

    def furthest(self, clients: Iterable[str]) -> str:
        """Who will have spent most once all cohorts that the budget allows are closed, of at least one client."""

        def end(client: str) -> Fraction:
            return self._before.get(client, Fraction(0)) + self.rule.mu_squared(self.rounds(client))

        return max(clients, key=end)

    def check(self, client: str, rounds: int) -> None:
        """Raise Rejected("budget") unless a client that is in so many closed cohorts may be in another."""
        allowed = self.rounds(client)
        if rounds >= allowed:
            expected = f"clients in fewer than {allowed} closed cohorts, {self}"
            raise Rejected(BUDGET, expected, f"{client}, who is in {rounds}")

    def exhausted(self, rounds: Mapping[str, int], clients: Iterable[str]) -> frozenset[str]:
        """Those of `clients` who may be in no further cohort. rounds: in how many each one is; none where it is not
        named."""
        return frozenset(client for client in clients if rounds.get(client, 0) >= self.rounds(client))

    @cached_property
    def by_itself(self) -> Budget:
        """The same with h = 1, in the former federations too: what is spent of a client of which nothing but its own
        noise is secret."""
        former = [replace(each, rule=_by_itself(each.rule, each.own)) for each in self.former]
        return replace(self, rule=_by_itself(self.rule, self.own), former=former)

    @cached_property
    def _total(self) -> NoiseRule:
        """With the deviations of all federations."""
        deviations = (each.rule.deviation for each in self.former)
        return replace(self.rule, deviation=sum(deviations, self.rule.deviation))

    @cached_property
    def _before(self) -> Mapping[str, Fraction]:
        """mu^2 of each client by the rules of the former federations."""
        clients: Set[str] = frozenset().union(*(each.rounds for each in self.former))
        return {client: self._spent_before(client) for client in clients}

    def _spent_before(self, client: str) -> Fraction:
        spent = (each.rule.mu_squared(each.rounds.get(client, 0)) for each in self.former)
        return sum(spent, Fraction(0))

    def __str__(self) -> str:
        return f"the budget of epsilon {float(self.epsilon):g} at delta {float(self.rule.delta):g}"


def _by_itself(rule: NoiseRule, own: Fraction | None) -> NoiseRule:
    return replace(rule, adders=1, variance=rule.variance if own is None else own)
