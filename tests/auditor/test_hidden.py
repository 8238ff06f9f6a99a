"""A server that spoils its own evidence gains nothing: what can be judged without it is judged."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Kind, Outcome, audit, checks
from auditor.auditing import Progress
from auditor.following import follow
from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import open_envelope, seal_policy
from protocols.log.files import Damaged
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import Bundle, blob_path
from protocols.messages import (
    Aggregate,
    CohortClosed,
    Genesis,
    MissingParty,
    RoundAborted,
    RoundClosed,
    RoundKey,
    RoundOpen,
    ShareAck,
    Submission,
)
from protocols.pinned import PinnedPolicy
from protocols.rounds import aggregation
from tests import retries
from tests.adversaries import WRONG_CIPHERTEXT, become, submission_of, with_bad_ciphertext
from tests.auditor.conftest import failed, flipped
from tests.auditor.forge import Forge
from tests.auditor.test_differencing import release_anyway
from tests.auditor.test_outcomes import place
from tests.golden.regenerate import DIRECTORY
from tests.simulator import Setting, Simulation, identity_of


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
    """The sum of round 1 is gone, and what it could be derived from; its model and optimizer are there, and from these
    round 3 is another step."""
    forged = forge("eventful")
    position = forged.find(RoundClosed, nth=1)
    wrong = bytearray(forged.blob(forged.message(position).model))
    wrong[0] ^= 1
    forged.edit(position, model=forged.put(bytes(wrong)))
    path = forged.write(tmp_path / "t")
    aggregate = forged.message(forged.find(Aggregate))
    accepted = forged.message(forged.find(CohortClosed)).accepted[0]
    for name in (aggregate.plaintext, aggregate.ciphertext, forged.message(accepted).ciphertext):
        (path / blob_path(name)).unlink()
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


@pytest.mark.parametrize("damage", ["tile", "the last entry"])
def test_a_broken_rule_about_blobs_beside_a_log_that_is_damaged(damage: str, forge, tmp_path: Path) -> None:
    """A blob that is longer than its role: the proof of a message to whoever reads the transcript."""
    forged = forge("quiet")
    position = forged.find(Submission)
    forged.edit(position, proof=forged.put(forged.blob(forged.message(position).proof) + b"hidden"))
    path = forged.write(tmp_path / "t")
    if damage == "tile":
        place(forged, path, "tile").unlink()
    else:
        file = place(forged, path, "bundle")
        file.write_bytes(flipped(file.read_bytes(), -1))
    report = audit(path, forged.policy_data)
    assert [each.kind for each in report.check("I1").findings if "proof" in each.where] == [Kind.BROKEN]
    assert report.outcome is Outcome.BROKEN


# ---- what an Aggregate publishes, derived from its releases and the sum ----

PUBLISHED = ("plaintext", "key", "blindings")


@pytest.fixture(scope="module")
def misopened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client encrypted another update than it committed to, and the server published the sum all the same."""
    simulation = Simulation(tmp_path_factory.mktemp("misopened") / "run", Setting(dimension=8))
    simulation.start()
    become(simulation, "client-00", WRONG_CIPHERTEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregation, "check_opening", lambda *_: None)
        assert simulation.play_round().aborted is None
    simulation.writer.close()
    return simulation.path


def without(path: Path, *fields: str) -> Path:
    """The transcript without these blobs of its Aggregate, and what its audit finds."""
    reader = TranscriptReader(path)
    messages = [open_envelope(entry).message for entry in reader.entries(0, reader.size)]
    (aggregate,) = [message for message in messages if isinstance(message, Aggregate)]
    for field in fields:
        (path / blob_path(getattr(aggregate, field))).unlink()
    return path


@pytest.mark.parametrize(
    "gone", [*((each,) for each in PUBLISHED), PUBLISHED, ("plaintext", "ciphertext")], ids="+".join
)
def test_a_sum_that_does_not_open_is_found_without_what_was_published(
    gone: tuple[str, ...], misopened: Path, tmp_path: Path
) -> None:
    path = without(Path(shutil.copytree(misopened, tmp_path / "t")), *gone)
    report = audit(path, (path / "policy.cbor").read_bytes())
    assert [(result.id, finding.expected) for result, finding in report.broken] == [
        ("I10", "opening: the sum of the cohort's commitments")
    ]
    assert failed(report) == {"I1", "I10"}


def test_what_cannot_be_derived_is_not_judged(misopened: Path, tmp_path: Path) -> None:
    path = without(Path(shutil.copytree(misopened, tmp_path / "t")), "plaintext", "ciphertext")
    reader = TranscriptReader(path)
    messages = [open_envelope(entry).message for entry in reader.entries(0, reader.size)]
    summed = next(message for message in messages if isinstance(message, Submission))
    (path / blob_path(summed.ciphertext)).unlink()
    report = audit(path, (path / "policy.cbor").read_bytes())
    assert (report.outcome, failed(report)) == (Outcome.DAMAGED, {"I1", "I10", "I11"})


@pytest.mark.parametrize("gone", [*((each,) for each in PUBLISHED), PUBLISHED], ids="+".join)
def test_what_an_honest_server_published_is_derived(gone: tuple[str, ...], copied, tmp_path: Path) -> None:
    """Damage, and nothing that could not be judged."""
    path = without(copied("quiet"), *gone)
    report = audit(path, (path / "policy.cbor").read_bytes())
    assert (report.outcome, failed(report), report.unjudged) == (Outcome.DAMAGED, {"I1"}, ())


# ---- whose fault an error is ----


@pytest.mark.parametrize("number", ["I1", "I6", "I10", "P6"])
@pytest.mark.parametrize(
    "error",
    [
        Malformed("somewhere", "this", "that"),
        Rejected("some-check", "this", "that"),
        Misuse("a mistake of ours"),
        Damaged("file-missing", "a file", "no such file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_no_check_expects_accuses_nobody(
    error: Exception, number: str, simulations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is no yes: the check is not judged, whoever's mistake that is."""

    def fails(*_: object) -> str:
        raise error

    monkeypatch.setitem(checks.CHECKS, number, replace(checks.CHECKS[number], run=fails))
    simulation = simulations("quiet")
    report = audit(simulation.path, simulation.policy_data)
    assert (report.outcome, report.broken) == (Outcome.DAMAGED, ())
    (finding,) = report.check(number).findings
    assert finding.kind is Kind.UNJUDGED
    assert finding.found == ("no such file" if isinstance(error, Damaged) else f"a mistake of its own: {error}")


def test_a_broken_rule_outranks_a_mistake_of_the_auditor(
    forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> str:
        raise Malformed("somewhere", "this", "that")

    monkeypatch.setitem(checks.CHECKS, "I6", replace(checks.CHECKS["I6"], run=fails))
    forged = forge("quiet")
    forged.edit(forged.find(RoundClosed), model=bytes(32))
    assert audit(forged.write(tmp_path / "t"), forged.policy_data).outcome is Outcome.BROKEN


class Changing(TranscriptReader):
    """A directory whose entries change while it is audited."""

    changed = False

    def some_entries(self, bundle: Bundle) -> Sequence[bytes | None]:
        return [bytes(8)] * bundle.width if self.changed else super().some_entries(bundle)


def test_a_copy_that_changes_while_it_is_audited_accuses_nobody(simulations) -> None:
    simulation = simulations("quiet")
    reader = Changing(simulation.path)

    class Then(Progress):
        def check(self, number: str, title: str) -> None:
            reader.changed = reader.changed or number == "I6"

    report = audit(simulation.path, simulation.policy_data, reader=reader, progress=Then())
    assert (report.outcome, report.broken) == (Outcome.DAMAGED, ())
    assert "the submission that was there before" in report.check("I6").findings[0].expected


def test_the_initial_model_of_another_size_is_the_issuers(tmp_path: Path) -> None:
    """Who signs a policy names its model; the coordinator does not answer for it."""
    simulation = Simulation(tmp_path / "run")
    simulation.start()
    simulation.play_round()
    simulation.writer.close()
    forged = Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)
    name = forged.put(bytes(8))
    forged.policy = replace(forged.policy, initial_model=name)
    forged.policy_data = seal_policy(forged.policy, identity_of("issuer"))
    policy = hashlib.sha256(forged.policy_data).digest()
    for kind in (Genesis, RoundOpen):
        forged.edit(forged.find(kind), model=name, policy=policy)
    forged.put(forged.policy_data)
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    (finding,) = [each for each in report.check("I11").findings if each.where == "initial model"]
    assert (finding.kind, finding.by) == (Kind.BROKEN, "issuer")
