"""A server that spoils its own evidence gains nothing: what can be judged without it is judged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Kind, Outcome, audit
from auditor.following import follow
from protocols.log.tiles import blob_path
from protocols.messages import Aggregate, CohortClosed, MissingParty, RoundAborted, RoundClosed, RoundKey, ShareAck
from protocols.pinned import PinnedPolicy
from tests import retries
from tests.adversaries import submission_of, with_bad_ciphertext
from tests.auditor.conftest import failed
from tests.auditor.forge import Forge
from tests.auditor.test_differencing import release_anyway
from tests.golden.regenerate import DIRECTORY
from tests.simulator import Setting, Simulation


def excluded(forge: Forge, reason: str) -> int:
    """The submission that round 1 excludes for this reason."""
    cohort = forge.message(forge.find(CohortClosed))
    return next(each.index for each in cohort.excluded if each.reason == reason)


def excluded_as(forge: Forge, index: int, reason: str) -> None:
    position = forge.find(CohortClosed)
    others = forge.message(position).excluded
    forge.edit(
        position, excluded=tuple(replace(each, reason=reason) if each.index == index else each for each in others)
    )


@pytest.mark.parametrize(
    ("reason", "field", "expected"),
    [
        ("replayed", "proof", Outcome.BROKEN),  # it names no blob of another
        ("replayed", "ciphertext", Outcome.BROKEN),
        ("malformed", "proof", Outcome.BROKEN),  # its content is well-formed
        ("malformed", "commitments", Outcome.BROKEN),
        ("malformed", "share_commitments", Outcome.DAMAGED),
        ("malformed", "ciphertext", Outcome.DAMAGED),
        ("invalid-proof", "ciphertext", Outcome.DAMAGED),
        ("invalid-proof", "proof", Outcome.DAMAGED),
    ],
)
def test_a_verdict_that_no_missing_blob_could_make_right(
    reason: str, field: str, expected: Outcome, forge, tmp_path: Path
) -> None:
    forged = forge("eventful")
    index = excluded(forged, "invalid-proof")
    excluded_as(forged, index, reason)
    forged.cut(forged.find(RoundKey, 2))
    path = forged.write(tmp_path / "t")
    (path / blob_path(getattr(forged.message(index), field))).unlink()
    report = audit(path, forged.policy_data)
    assert report.outcome is expected
    wrong = [finding for finding in report.check("I7").findings if finding.where.startswith(f"entry {index} ")]
    assert [finding.kind for finding in wrong] == [Kind.BROKEN if expected is Outcome.BROKEN else Kind.UNJUDGED]


def aborted_instead(forge: Forge, kind: type, reason: str, missing: tuple[MissingParty, ...] = ()) -> None:
    """Round 1 aborted before its first entry of a type, with its cohort if there is one by then."""
    position = forge.find(kind)
    release = forge.message(forge.find(RoundAborted))
    opened = forge.message(forge.find(ShareAck)).round_open
    cohort = forge.message(forge.find(Aggregate)).cohort if kind is Aggregate else None
    forge.cut(position)
    forge.insert(position, replace(release, round=1, round_open=opened, cohort=cohort, reason=reason, missing=missing))


@pytest.mark.parametrize(
    ("before", "reason"),
    [(Aggregate, "missing-releases"), (Aggregate, "too-few-submissions"), (CohortClosed, "no-quorum")],
)
def test_a_false_abort_beside_a_submission_that_cannot_be_judged(
    before: type, reason: str, forge, tmp_path: Path
) -> None:
    """Every trustee acknowledged and released: whoever is excluded, these reasons are not true."""
    forged = forge("eventful")
    index = excluded(forged, "invalid-proof")
    aborted_instead(forged, before, reason)
    path = forged.write(tmp_path / "t")
    (path / blob_path(forged.message(index).ciphertext)).unlink()
    report = audit(path, forged.policy_data)
    assert report.outcome is Outcome.BROKEN
    (finding,) = [each for each in report.check("I8").findings if each.where.endswith("reason")]
    assert (finding.found, finding.kind) == (reason, Kind.BROKEN)


def test_what_no_missing_blob_excuses_is_a_broken_rule_of_differencing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The victim said nothing; the ciphertext of another, excluded as malformed, is gone."""
    simulation = Simulation(tmp_path / "run", Setting(clients=5, min_cohort=3))
    simulation.start()
    simulation.play_round(silent=retries.CORRUPT)
    retries.admit_anybody(monkeypatch)
    simulation.open_round()
    *others, cheater = retries.others(simulation)
    for name in others:
        simulation.submit(name)
    package = with_bad_ciphertext(simulation, simulation.package(cheater))
    retries.log(simulation, package)
    simulation.acknowledge()
    release_anyway(simulation)
    simulation.writer.close()
    (simulation.path / blob_path(submission_of(package).ciphertext)).unlink()
    (finding,) = audit(simulation.path, simulation.policy_data).check("P6").findings
    assert (finding.found, finding.kind) == (f"a difference of {retries.VICTIM}, {cheater}", Kind.BROKEN)


def test_a_step_after_one_that_cannot_be_judged(forge, tmp_path: Path) -> None:
    """The sum of round 1 is gone; its model and optimizer are there, and from these round 3 is another step."""
    forged = forge("eventful")
    position = forged.find(RoundClosed, nth=1)
    wrong = bytearray(forged.blob(forged.message(position).model))
    wrong[0] ^= 1
    forged.edit(position, model=forged.put(bytes(wrong)))
    path = forged.write(tmp_path / "t")
    (path / blob_path(forged.message(forged.find(Aggregate)).plaintext)).unlink()
    report = audit(path, forged.policy_data)
    assert report.outcome is Outcome.BROKEN
    unjudged, broken = report.check("I11").findings
    if unjudged.kind is not Kind.UNJUDGED:
        unjudged, broken = broken, unjudged
    assert unjudged.where.endswith("round 1), server step")
    assert (broken.where.endswith("round 3), model"), broken.kind) == (True, Kind.BROKEN)


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:20],
    "emptied": lambda _: b"",
    "line ends": lambda data: data.replace(b"\n", b"\r\n"),
    "of another size": lambda data: data.replace(b"\n20\n", b"\n2\n"),
    "no base64": lambda data: data[:-2] + b"!\n",
}


@pytest.mark.parametrize("change", list(SPOILT))
@pytest.mark.parametrize(("name", "expected"), [("honest", Outcome.DAMAGED), ("rejected", Outcome.BROKEN)])
def test_a_follower_finds_what_an_auditor_finds_behind_a_spoilt_checkpoint(
    name: str, expected: Outcome, change: str, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(DIRECTORY / name / "transcript", tmp_path / "t"))
    pinned = PinnedPolicy.open((DIRECTORY / name / "policy.cbor").read_bytes())
    file = path / "checkpoint"
    file.write_bytes(SPOILT[change](file.read_bytes()))
    followed = follow(path, pinned, None)
    assert followed.outcome is expected
    assert audit(path, pinned.data).outcome is expected
    assert followed.report is not None
    failing = {"I1"} if name == "honest" else {"I1", "I9", "I10", "I11"}
    assert failed(followed.report) == failing
