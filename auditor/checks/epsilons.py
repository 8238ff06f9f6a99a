"""What an epsilon of the account means, and what it rests on that no audit can check: in words (spec 10.1)."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

from auditor.findings import counted
from protocols.noise import colluding_clients, guesses_of
from protocols.noise_trustees import noise_needed
from protocols.parameters import security_of
from protocols.policy import Policy
from protocols.privacy.budgets import Budget

Replaced: TypeAlias = tuple[Fraction, Fraction] | None  # an epsilon and its delta


def in_words(epsilon: Fraction | None) -> str:
    """An epsilon as reports have it: to six digits; None: see `Spent`."""
    return "more than any epsilon that is proved" if epsilon is None else f"epsilon {float(epsilon):g}"


def meaning(policy: Policy, replaced: Replaced, alone: Fraction | None) -> tuple[str, ...]:
    """What the numbers are of, by definition. alone: the largest if more trustees are corrupt than the policy says."""
    sentences = """\
        the unit is a client with all its data, not a patient or a record (docs/privacy.md)
        a client's updates are compared with updates that are zero; compared with any others, at twice the
            sensitivity, all cohorts that the budget allows have {others}
        cohorts are public, drawn or not: nothing is gained by sampling
        the guarantee is that of the budget; the epsilon of what is spent so far is what a budget of just that would
            have guaranteed, if nobody stopped because of what was seen
        with more than {f} corrupt trustees a client has its own noise alone, and all that it sent counts, logged or
            not: {alone} at most (epsilon_alone of each client in the report as JSON)
        epsilon_alone counts a submission for each RoundOpen here that asked the client, or all that are logged; that
            it sent no other (its store lost, another log shown) and none outside of former cohorts it alone knows"""
    return _lines(sentences, f=policy.corrupt, others=_others(replaced), alone=in_words(alone))


def assumptions(policy: Policy, budget: Budget, before: str | None) -> tuple[str, ...]:
    """What every epsilon of the account rests on. before: what nobody recounted of former federations."""
    sentences = """\
        {whose}
        at most {f} of the {m} trustees are corrupt, the others erase their round keys, and who is corrupt was so from
            the start
        whether a client takes part, and its weight, are public, and depend on its data only by what was published; so
            do the clip and the model
        no client is in another federation, nor here under another id: all that is spent adds up, and the account is
            of ids, here and in the federations whose budgets the policy goes on with
        only one federation goes on with what one left of its budget: its issuer sees to that
        encryption, sealed shares, proofs and signatures are not broken; of the estimate for the lattice, {security}
            bits, the proof takes {guesses} off"""
    numbers = {"security": security_of(policy.lattice), "guesses": guesses_of(policy)}
    whose = _whose(policy, budget.rule.adders)
    found = _lines(sentences, whose=whose, f=policy.corrupt, m=len(policy.trustees), **numbers)
    return found if before is None else (*found, before)


def _whose(policy: Policy, honest: int) -> str:
    """Whose noise counts. The server chooses whom it hears: all who collude can be in one smallest cohort."""
    colluding = colluding_clients(policy, honest)
    if colluding is None:
        noise = f"there is noise of {noise_needed(policy)} trustees in every cohort"
        return f"{noise}, of whom at most {policy.corrupt} are corrupt; no client's noise counts"
    most = counted(colluding, "client")
    return (
        f"of the whole roster at most {most} tell the server their noise, or choose it, so that "
        f"{counted(honest, 'client')} or more of every cohort are honest, whomever the server hears"
    )


def _others(replaced: Replaced) -> str:
    return "no epsilon up to 1024" if replaced is None else f"{in_words(replaced[0])} at delta {float(replaced[1]):.3g}"


def _lines(sentences: str, **values: object) -> tuple[str, ...]:
    lines = sentences.replace("\n            ", " ").splitlines()
    return tuple(line.strip().format(**values) for line in lines)
