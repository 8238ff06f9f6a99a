"""`verifl policy show`, `approve`: whatever an issuer signed is shown or refused by the name of a condition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from proofs.errors import Misuse
from protocols.envelopes import open_policy, seal_policy
from protocols.parameters import check_policy
from protocols.policy import Policy, PrivacyBudget, WeightRule
from protocols.steps.doubles import format_double
from protocols.steps.fedopt import fedyogi
from tests.settings import Setting, identity_of, make_policy
from verifl.commands import root as cli

exhaustive = pytest.mark.exhaustive
FULL = Setting(
    clients=3,
    trustees=3,
    threshold=2,
    corrupt=0,
    max_cohort=3,
    per_round=2,
    weights=WeightRule("private", 9, format_double(1.0)),
    coordinate_clip=0.5,
    encryption_proof=True,
    statistics=3,
    exponent=70,
    frozen=2,
    step=fedyogi(),
)
NOISY = Setting(trustees=3, threshold=2, corrupt=0, encryption_proof=True, budget=PrivacyBudget(8_000_000, 10_000_000))
KINDS: dict[type, tuple[Any, ...]] = {int: (0, 1, 2**62), str: ("", "zz")}


def policy_of(setting: Setting) -> Policy:
    return open_policy(make_policy(setting)[0])[0]


def changes(record: Any) -> Iterator[tuple[str, Any]]:
    """Every field of a record and of those in it, changed to each other value of `KINDS`: where, and the record."""
    for field in fields(record):
        value = getattr(record, field.name)
        first = value[0] if isinstance(value, tuple) and value else value
        found = changes(first) if is_dataclass(first) else ((each, each) for each in KINDS.get(type(first), ()))
        for where, other in found:
            made = (other, *value[1:]) if isinstance(value, tuple) else other
            yield f"{field.name} {where}", replace(record, **{field.name: made})


def can_be_said(policy: Policy) -> bool:
    try:
        seal_policy(policy, identity_of("issuer"))
    except Misuse:
        return False
    return True


def shown(path: Path, policy: Policy, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    path.write_bytes(seal_policy(policy, identity_of("issuer")))
    status = cli.invoke(["policy", "show", str(path), *more])
    said = capsys.readouterr()
    assert said.err == ""
    return status, said.out


@pytest.mark.parametrize(
    ("setting", "every"),
    [(FULL, 3), (NOISY, 9), pytest.param(FULL, 1, marks=exhaustive), pytest.param(NOISY, 1, marks=exhaustive)],
)
def test_a_policy_is_shown_whatever_is_in_it(
    setting: Setting, every: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = 0
    for _, policy in [each for each in changes(policy_of(setting)) if can_be_said(each[1])][::every]:
        failed = [each.name for each in check_policy(policy) if not each.holds]
        status, text = shown(tmp_path / "policy.cbor", policy, capsys)
        assert status == int(bool(failed))
        assert [line.split()[1] for line in text.splitlines() if line.startswith("  FAILS")] == failed
        assert ("Bytes per submission" in text) is (not failed)
        refused += bool(failed)
    assert refused > 5


WEIGHTS = {
    "weights-kind": WeightRule("weighted", 9, format_double(1.0)),
    "weights-least": WeightRule("declared", 0, format_double(1.0)),
    "weights-limit": WeightRule("private", 2**20 + 1, format_double(1.0)),
    "weights-unit": WeightRule("private", 9, None),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none_are_shown_and_approved_by_nobody(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = replace(policy_of(Setting(approvals=("client",))), weights=WEIGHTS[name])
    status, text = shown(tmp_path / "policy.cbor", policy, capsys, "--format", "json")
    document = json.loads(text)
    assert (status, document["holds"]) == (1, False)
    assert name in [each["name"] for each in document["conditions"] if not each["holds"]]
    files = [str(tmp_path / each) for each in ("policy.cbor", "key.pem", "approval")]
    assert cli.invoke(["policy", "approve", files[0], "--key", files[1], "--out", files[2]]) == 2
    assert f"plan: {name} fails: " in capsys.readouterr().err
    assert not Path(files[2]).exists()
