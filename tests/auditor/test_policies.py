"""Policies that a transcript does not fit, that nobody should sign, or that are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor import Status, audit
from proofs.errors import Misuse
from protocols.envelopes import seal_policy
from protocols.messages import RoundOpen, Submission
from tests.auditor.conftest import failed, flipped, paged
from tests.auditor.forge import Forge
from tests.simulator import identity_of


def repoliced(forge: Forge, **changes: Any) -> bytes:
    """The policy with some fields changed, sealed by its issuer."""
    return seal_policy(replace(forge.policy, **changes), identity_of("issuer"))


def adopted(forge: Forge, **changes: Any) -> bytes:
    """That policy, and the log begun and continued under it, whatever else in it is of the old one."""
    data = repoliced(forge, **changes)
    name = forge.put(data)
    forge.policy_data = data
    forge.edit(0, policy=name)
    for position, slot in enumerate(forge.slots):
        if isinstance(slot.message, RoundOpen):
            forge.edit(position, policy=name)
    return data


def members(forge: Forge, *ids: str) -> tuple[Any, ...]:
    return tuple(replace(forge.policy.trustees[0], id=name, public_key=identity_of(name).public_key) for name in ids)


POLICIES: dict[str, tuple[Callable[[Forge], dict[str, Any]], set[str]]] = {
    "quorums that do not meet": (lambda f: {"corrupt": 3}, {"I2", "P3"}),
    "a threshold of nobody": (lambda f: {"threshold": 0, "corrupt": 0}, {"I2", "P3"}),
    "a threshold of more than all": (lambda f: {"threshold": 6}, {"I2"}),
    "corrupt trustees who can open": (lambda f: {"corrupt": 4}, {"I2", "P3"}),
    "too many trustees": (lambda f: {"trustees": members(f, *(f"t-{i:02}" for i in range(17)))}, {"I2"}),
    "no trustees": (lambda f: {"trustees": ()}, {"I2"}),
    "a trustee twice": (lambda f: {"trustees": (*f.policy.trustees[:4], f.policy.trustees[0])}, {"I3"}),
    "a client twice": (lambda f: {"roster": (f.policy.roster[0], *f.policy.roster)}, {"I3"}),
    "two clients with one key": (
        lambda f: {"roster": (replace(f.policy.roster[1], id="client-0"), *f.policy.roster)},
        {"I3"},
    ),
    "the log key is a trustee's": (lambda f: {"log_key": f.policy.trustees[0].public_key}, {"I1", "I3"}),
    "the log key is the issuer's": (lambda f: {"log_key": f.policy.issuer_key}, {"I1", "I3"}),
    "a client called coordinator": (
        lambda f: {"roster": tuple(sorted((*f.policy.roster, *members(f, "coordinator")), key=lambda m: m.id))},
        {"I3"},
    ),
    "a key of small order": (
        lambda f: {"roster": (replace(f.policy.roster[0], public_key=b"\x01" + bytes(31)), *f.policy.roster[1:])},
        {"I3"},
    ),
    "cohorts of one": (lambda f: {"min_cohort": 1}, {"I2"}),
    "larger cohorts wanted": (lambda f: {"min_cohort": 5, "roster": (*f.policy.roster, *members(f, "z"))}, {"P1"}),
    "smaller cohorts wanted": (lambda f: {"max_cohort": 3}, {"P1"}),
    "another log": (lambda f: {"origin": "example.org/other"}, {"I1"}),
    "another federation": (lambda f: {"federation": "other"}, {"I2", "I4", "I5", "I7", "I8", "I9", "I11"}),
    "another model": (lambda f: {"initial_model": bytes(32)}, {"I2", "I4"}),
    "a smaller bound": (lambda f: {"update": replace(f.policy.update, norm_bound=100)}, {"I1", "I6"}),
    "a bound of zero": (lambda f: {"update": replace(f.policy.update, norm_bound=0)}, {"I2"}),
    "a bound of next to nothing": (lambda f: {"update": replace(f.policy.update, fraction_bits=60)}, {"I2"}),
    "an absurd scale": (lambda f: {"update": replace(f.policy.update, fraction_bits=2**62)}, {"I2"}),
    "an absurd dimension": (lambda f: {"dimension": 2**62}, {"I2"}),
    "no dimension": (lambda f: {"dimension": 0, "tensors": ()}, {"I2"}),
    "few projections": (lambda f: {"projections": 10}, {"I2"}),
    "absurd projections": (lambda f: {"projections": 2**62}, {"I2"}),
    "a small ring": (lambda f: {"lattice": replace(f.policy.lattice, degree=1024)}, {"I2"}),
    "no ring": (lambda f: {"lattice": replace(f.policy.lattice, degree=0)}, {"I2"}),
    "an even modulus": (lambda f: {"lattice": replace(f.policy.lattice, modulus=2**40)}, {"I2"}),
    "a scale that wraps": (lambda f: {"lattice": replace(f.policy.lattice, plaintext_scale=2)}, {"I2"}),
    "a huge scale": (lambda f: {"lattice": replace(f.policy.lattice, plaintext_scale=2**62)}, {"I2"}),
    "no noise": (lambda f: {"lattice": replace(f.policy.lattice, tail=0, sigma_tenths=0)}, {"I2"}),
    "an unknown step": (lambda f: {"step": replace(f.policy.step, rule="magic")}, {"I2"}),
    "a step of infinity": (lambda f: {"step": replace(f.policy.step, learning_rates=("7ff0000000000000",))}, {"I2"}),
    "a requirement that does not exist": (lambda f: {"required_checks": ("I99",)}, {"I2"}),
    "no rounds": (lambda f: {"max_rounds": 0}, {"I2", "I4"}),
}


@pytest.mark.parametrize("name", list(POLICIES))
def test_policies_that_this_transcript_does_not_fit(name: str, forge, tmp_path: Path) -> None:
    """Whatever the pinned policy says, the audit ends with a report; pinned, and as the transcript's own."""
    forged = forge("quiet")
    changes, checks = POLICIES[name]
    data = adopted(forged, **changes(forged))
    path = forged.write(tmp_path / "t")
    assert checks <= failed(paged(path, data))
    assert not audit(path, None).accepted


def test_a_cohort_is_not_wrong_because_the_policy_cannot_be_used(forge, tmp_path: Path) -> None:
    """Without parameters nobody can say which cohort was right (I7), so I8 is skipped, and names no cohort."""
    forged = forge("quiet")
    data = adopted(forged, lattice=replace(forged.policy.lattice, degree=1024))
    report = audit(forged.write(tmp_path / "t"), data)
    assert (report.check("I7").status, report.check("I8").status) == (Status.SKIPPED, Status.SKIPPED)
    assert report.check("I8").reason == "because I7 could not choose the cohort"


@pytest.mark.parametrize(("name", "found"), [("aborted", False), ("eventful", True)])
def test_a_round_after_aborts_beyond_the_cap(name: str, found: bool, forge, tmp_path: Path) -> None:
    """One more may be aborted than is repeated; then nothing is opened."""
    forged = forge(name)
    data = adopted(forged, max_aborts=0)
    report = audit(forged.write(tmp_path / "t"), data)
    assert ("P6" in failed(report)) is found
    assert any("were aborted" in finding.expected for finding in report.check("P6").findings) is found


def test_trustees_who_are_clients_are_reported(forge, tmp_path: Path) -> None:
    forged = forge("quiet")
    roster = (*forged.policy.roster, forged.policy.trustees[0])
    data = adopted(forged, roster=roster)
    report = audit(forged.write(tmp_path / "t"), data)
    assert "P3" not in failed(report)
    assert "I3" not in failed(report)
    assert report.check("P3").notes == ("trustees who are also clients: trustee-0",)


@pytest.mark.parametrize("data", [b"", b"\xa0", bytes(100), b"\xff" * 5_000_000])
def test_bytes_that_are_no_policy(simulations, data: bytes) -> None:
    with pytest.raises(Misuse, match=r"^policy: the bytes are no policy: "):
        audit(simulations("quiet").path, data)


def test_a_policy_that_its_issuer_did_not_sign(simulations) -> None:
    simulation = simulations("quiet")
    with pytest.raises(Misuse, match="policy: the bytes are no policy: signature: "):
        audit(simulation.path, flipped(simulation.policy_data, -1))


def test_required_by_the_policy(forge, tmp_path: Path) -> None:
    """A policy may demand that the summation can be replayed."""
    forged = forge("quiet")
    data = adopted(forged, required_checks=("I9",))
    path = forged.write(tmp_path / "t")
    for slot in forged.slots:
        if isinstance(slot.message, Submission):
            name = slot.message.ciphertext.hex()
            (path / "blobs" / name[:2] / name).unlink()
    assert "I9" in failed(audit(path, data))
