"""A test for each line of the table in docs/misbehaviour.md, of every column."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor import Report, Status, audit
from auditor.cli import main as verifl_audit
from tests.verifl.adversaries.conftest import ABOUT_NOISE, CLIENTS, HONEST, TRUSTEES, Play, Played
from verifl.adversaries.consequences import Consequence
from verifl.adversaries.injections import Injection, assign, parse_injection
from verifl.adversaries.registry import KINDS, Role
from verifl.adversaries.table import VARIANTS, table
from verifl.adversaries.trustees import NO_ANSWER

DOCUMENT = Path(__file__).parents[3] / "docs" / "misbehaviour.md"


@dataclass(frozen=True)
class Line:
    """One line of the table: what is injected, and what the table says of it."""

    inject: tuple[str, ...]
    outcome: Consequence
    encryption_proof: bool = True
    weights: str | None = None  # None for those that the kind needs
    noised: bool | None = None  # None for what the kind needs

    def __str__(self) -> str:
        weighed = ("" if self.weights is None else f", {self.weights}") + (", noise" if self.noised else "")
        return "+".join(self.inject) + ("" if self.encryption_proof else ", optimistic") + weighed

    @property
    def injections(self) -> tuple[Injection, ...]:
        return assign([parse_injection(each) for each in self.inject], CLIENTS, TRUSTEES)

    @property
    def liars(self) -> set[str]:
        return {each.liar for each in self.injections if each.liar}

    @property
    def by_client(self) -> bool:
        return any(parse_injection(each).kind.by is Role.CLIENT for each in self.inject)

    @property
    def is_sampled(self) -> bool:
        """What every run is chosen from: lies of clients with the proof of encryption, all others without it, where
        rounds take half the time and the outcome is the same; of lies that only this proof finds, two without it; of
        lies that have nothing to do with weights, two where there are some; two of those about noise."""
        if self.noised or not ABOUT_NOISE.isdisjoint(self.inject):
            return self.inject in SAMPLED_NOISED and not self.noised
        if self.weights is not None:
            return (self.inject, self.weights) in SAMPLED_WEIGHED and not self.encryption_proof
        return self.encryption_proof == self.by_client or self.inject in SAMPLED

    @property
    def is_in_every_run(self) -> bool:
        return self.is_sampled and not (self.encryption_proof and self.inject in AT_ONCE)


GOES_ON = {  # from the true log: no second history
    ("server-two-cohorts",),
    ("server-asks-undrawn",),
    ("sybil-swap",),
    ("two-aborts",),
}
AT_ONCE = {  # with the proof of encryption, test_demo.py plays these in one federation, and asks for each verdict
    ("wrong-ciphertext",),
    ("oversized-key",),
    ("oversized-error",),
    ("wrong-blinding",),
    ("out-of-range",),
    ("value-in-padding",),
    ("mixed-up-chunks",),
}
SAMPLED = {("oversized-update",), ("wrong-ciphertext",)}
SAMPLED_NOISED = {("noise-left-out",), ("constant-noise",)}
SAMPLED_WEIGHED = {(("server-drops-client",), "private"), (("server-duplicates-client",), "declared")}
TABLE = [
    *(Line((kind.name,), kind.outcome) for kind in KINDS.values()),
    *(
        Line(case, each.outcome, each.encryption_proof, noised=each.noised or None)
        for each in VARIANTS
        for case in each.cases
    ),
]
EQUAL = [*TABLE, *(replace(line, encryption_proof=False) for line in TABLE if not line.by_client and not line.noised)]
WEIGHED = [
    replace(line, weights=kind)
    for line in EQUAL
    for kind in ("declared", "private")
    if line.is_sampled
    if ABOUT_NOISE.isdisjoint(line.inject)
    if all("weight" not in parse_injection(each).kind.needs for each in line.inject)
]
NOISED = [
    replace(line, noised=True)
    for line in TABLE
    if line.noised is None and line.inject not in {each.inject for each in TABLE if each.noised}
    if line.encryption_proof and line.outcome.aborted is None  # whom a repeated round charges twice is spent
    if all("weight" not in parse_injection(each).kind.needs for each in line.inject)
    if ABOUT_NOISE.isdisjoint(line.inject) and line.inject != ("oversized-error",)  # with noise there are no errors
]
LINES = [*EQUAL, *WEIGHED, *NOISED]
PARAMETERS = [
    pytest.param(line, id=str(line), marks=() if line.is_in_every_run else pytest.mark.exhaustive) for line in LINES
]


@pytest.fixture(params=PARAMETERS, scope="module")
def line(request: pytest.FixtureRequest) -> Line:
    return request.param


@pytest.fixture(scope="module")
def played(line: Line, play: Play) -> Played:
    return play(*line.inject, encryption_proof=line.encryption_proof, weights=line.weights, noised=line.noised)


def failed(report: Report) -> tuple[str, ...]:
    return tuple(check.id for check in report.checks if check.status is Status.FAIL)


def answer(report: Report) -> str:
    """The exit status, the outcome, and who broke a rule."""
    by = dict.fromkeys(finding.by for _, finding in report.broken)
    named = f" by {', '.join(map(str, by))}" if by else ""
    return f"{0 if report.accepted else 1}: {report.outcome.value}{named}"


def mentions(text: str, party: str) -> bool:
    return re.search(rf"\b{re.escape(party)}\b(?!-)", text) is not None


def test_whether_the_round_completes(line: Line, played: Played) -> None:
    outcome, rounds = line.outcome, played.rounds()
    assert (played.stopped is not None) == outcome.stops
    if outcome.aborted is not None:
        assert rounds[2].aborted == outcome.aborted
        assert (3 in rounds and rounds[3].aborted is None) == (not outcome.stops)
    elif outcome.stops and not outcome.after:
        assert sorted(rounds) == [1]
    else:
        assert sorted(rounds) == [1, 2]
        assert rounds[2].aborted is None


def test_who_notices_and_how(line: Line, played: Played) -> None:
    outcome = line.outcome
    refusers = {each.party for each in played.refusals if each.check == outcome.refusal}
    if outcome.refusal is None:
        assert {each.check for each in played.refusals} <= {NO_ANSWER}
    elif played.stopped is not None:
        assert played.stopped.check == outcome.refusal
    expected = {
        "every honest trustee": set(HONEST),
        "the coordinator": set() if played.stopped else {"the coordinator"},
        "CLIENT": {CLIENTS[0]},
        None: set(),
    }
    assert refusers == expected[outcome.refuser]


def test_whose_submission_is_excluded(line: Line, played: Played) -> None:
    rounds = played.rounds()
    if 2 not in rounds or any(each.kind.name == "server-rejects-valid" for each in line.injections):
        return
    last = rounds[2].last
    names = {each.index: each.message.client for each in last.submissions}
    found = {} if last.cohort is None else {names[each.index]: each.reason for each in last.cohort.message.excluded}
    by_clients = any(each.kind.by is Role.CLIENT for each in line.injections)
    victims = line.liars if by_clients else {CLIENTS[0]}
    assert found == ({} if line.outcome.verdict is None else dict.fromkeys(victims, line.outcome.verdict))
    if line.outcome.detail is not None and last.cohort is not None:
        assert [each.detail for each in last.cohort.message.excluded] == [line.outcome.detail]


def test_what_the_audit_says(line: Line, played: Played) -> None:
    report, outcome = audit(played.transcript, played.policy), line.outcome
    assert report.accepted == (outcome.status == 0)
    assert failed(report) == (outcome.checks if outcome.status else ())
    assert answer(report) == outcome.audited
    if outcome.status == 0:
        naming = {
            check.id: {liar for liar in line.liars for note in check.notes if mentions(note, liar)}
            for check in report.checks
            if check.id != "P6"  # names whom sums expose, liars or not
        }
        for check in outcome.checks:
            assert naming[check] == line.liars
        if outcome.detail is not None:
            assert all(note.endswith(f" ({outcome.detail})") for note in report.check("I7").notes)
        if not outcome.checks:
            assert not any(naming.values())


def test_what_the_server_publishes_alone(line: Line, played: Played) -> None:
    assert played.forged.exists() == bool(line.outcome.alone)
    if line.outcome.alone:
        report = audit(played.forged, played.policy)
        assert failed(report) == line.outcome.alone
        assert f"{answer(report)}; {', '.join(failed(report))}" == line.outcome.audited_alone
        assert report.checkpoint is not None
        assert len(report.checkpoint.cosigners) < played.pinned.policy.threshold


def test_what_the_server_publishes_alone_convicts_the_holder_of_its_key(line: Line, played: Played) -> None:
    """Beside the true transcript: whatever it signed twice, however few trustees were with it (spec 9.10)."""
    if not line.outcome.alone:
        return
    result = CliRunner().invoke(
        verifl_audit, ["compare", str(played.transcript), str(played.forged), "--policy", str(played.policy)]
    )
    assert result.exit_code == 1
    if line.inject in GOES_ON:
        assert "evidence" not in result.stdout
        return
    assert "evidence against the coordinator, whoever holds the log's key: it signed both" in result.stdout
    corrupt = ", ".join(TRUSTEES[:2])
    assert f"evidence against trustees: {corrupt} cosigned both" in result.stdout


def test_the_document_has_this_table() -> None:
    assert table() in DOCUMENT.read_text(encoding="utf-8")


def test_the_document_says_what_each_kind_does() -> None:
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    for kind in KINDS.values():
        assert f"`{kind.spelling}` {kind.description}." in text, kind.name
