"""Every reason that an entry gives is in a registry: the specification, the second auditor and all who tell them have
the same, and nobody takes an unknown one for another."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofs.errors import Misuse, Rejected
from protocols import verdicts
from protocols.ending import Past, endings
from protocols.reasons import (
    ABORTS,
    ABSENCES,
    BLAMELESS,
    BUDGET_SPENT,
    CONTINUED,
    DISPUTES,
    ENDINGS,
    EXCLUSIONS,
    EXEMPTING,
    OFFENCES,
    OWN_FAULTS,
    REVOCATIONS,
    TOO_FEW_CLIENTS,
    Ground,
)
from protocols.registry import Registry
from tests.independent import cohorts, content, identities, privacy
from tests.simulator import Setting, Simulation
from verifl.adversaries.registry import KINDS
from verifl.adversaries.table import VARIANTS
from verifl.carriers.ending import describe_ending

SPEC = Path(__file__).parents[2] / "docs/spec"
REGISTRIES: dict[str, Registry[Any]] = {
    "exclusions": EXCLUSIONS,
    "disputes": DISPUTES,
    "aborts": ABORTS,
    "absences": ABSENCES,
    "endings": ENDINGS,
    "revocations": REVOCATIONS,
}


def words(text: str) -> set[str]:
    return set(re.findall(r"`([a-z-]+)`", text))


@pytest.mark.parametrize("kind", REGISTRIES)
def test_an_unknown_one_is_refused_by_name_and_none_is_twice(kind: str) -> None:
    registry = REGISTRIES[kind]
    with pytest.raises(Rejected, match=f"the {registry.kind} {registry.names[0]}.*, found 'dull'"):
        registry.find("dull")
    with pytest.raises(Misuse, match=f"'{registry.names[0]}' is registered twice"):
        registry.extended(registry.find(registry.names[0]))


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_specification_has_every_one(kind: str) -> None:
    text = "".join((SPEC / name).read_text(encoding="utf-8") for name in ("2-encoding.md", "8-rounds.md"))
    assert set(REGISTRIES[kind].names) <= words(text)


def test_the_specification_has_the_same_offences_and_exemptions() -> None:
    text = (SPEC / "8-rounds.md").read_text(encoding="utf-8")
    offences = text.partition(" are *offences*")[0].rpartition("\n\n")[2]
    exempting = text.partition(" *exempt* a client")[0].rpartition(". ")[2]
    assert words(offences) == OFFENCES
    assert words(exempting) == EXEMPTING


def test_facts_of_exclusions_agree() -> None:
    """What exempts is an offence; what nobody but the client shows is one; and the rule alone accuses nobody."""
    assert EXEMPTING < OFFENCES
    assert OWN_FAULTS <= OFFENCES
    assert not any(each.offence for each in EXCLUSIONS if each.ground is Ground.RULE)


def test_signs_are_different_and_read_as_their_words() -> None:
    assert len(verdicts.VERDICTS) == len(EXCLUSIONS) + 1
    assert len(verdicts.ANSWERS) == len(DISPUTES) + 1
    for signs in (verdicts.VERDICTS, verdicts.ANSWERS):
        assert all(len(sign) == 1 and sign != verdicts.NOTHING for sign in signs)


def test_the_second_auditor_has_the_same() -> None:
    assert {each.sign: each.name for each in EXCLUSIONS} == cohorts.REASONS
    assert set(content.OFFENCES) == EXEMPTING
    assert set(ABORTS.names) == privacy.ABORTS
    assert set(ABSENCES.names) == privacy.MISSING
    assert set(ENDINGS.names) == privacy.ENDINGS
    assert REVOCATIONS.names == identities.REVOCATION_REASONS


def test_aborts_name_parties_for_reasons_that_there_are() -> None:
    assert {name for each in ABORTS for name in each.absences} == set(ABSENCES.names)
    assert {"too-few-submissions", "differencing", "opening-failed"} == BLAMELESS


def test_every_end_is_decided_and_told(tmp_path: Path) -> None:
    policy = Simulation(tmp_path, Setting()).pinned.policy
    nobody, everybody = frozenset[str](), frozenset(member.id for member in policy.roster)
    rounds = policy.max_aborts + 1, policy.max_rounds
    past = Past(*rounds, aborted=True, failed=True, clients=nobody, able=nobody, earlier=None)
    spent = replace(past, clients=everybody)
    fresh = Past(0, 0, aborted=False, failed=False, clients=everybody, able=everybody, earlier=None)
    found = [endings(policy, past), endings(policy, spent)]
    lost = [each for each in ENDINGS.names if each != CONTINUED]
    assert found == [tuple(each for each in lost if each != no) for no in (BUDGET_SPENT, TOO_FEW_CLIENTS)]
    assert endings(policy, fresh) == (CONTINUED,)
    assert all(each.words in describe_ending(each.name, (), 3) for each in ENDINGS)


def test_liars_come_to_reasons_that_there_are() -> None:
    for outcome in (each.outcome for each in (*KINDS.values(), *VARIANTS)):
        assert outcome.verdict is None or outcome.verdict in EXCLUSIONS
        assert outcome.aborted is None or outcome.aborted in ABORTS
