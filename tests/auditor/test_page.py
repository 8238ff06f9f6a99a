"""What a page says, as values: verdict, promises, tables, rounds, privacy, offences, limits, and how big it grows."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor import Outcome, Report, audit
from auditor.reports.course import CLIENT_PARTS, RELEASED, SUMMED, TRUSTEE_PARTS, Course, RoundCourse, Row, runs_of
from auditor.reports.page.compose import FOUND, MEANS, WORDS, page_of
from auditor.reports.page.metrics import read_metrics
from auditor.reports.page.offences import PROVED_BY, SHOWN_BY, WHAT
from auditor.reports.page.promises import standing_of
from auditor.reports.page.render import to_html
from auditor.reports.page.rounds import ABORTS
from auditor.reports.page.values import Page, PromiseStanding
from auditor.reports.results import CheckResult, Finding, Kind, Place, Status
from proofs.errors import Malformed
from protocols import reasons
from protocols.audit_checks import AUDIT_CHECKS
from protocols.envelopes import open_policy
from protocols.messages import Aggregate
from protocols.policy import Policy
from tests.auditor.conftest import Forged
from tests.auditor.test_policies import adopted
from tests.simulator import Setting, Simulation, make_policy

Simulations = Callable[[str], Simulation]
MADE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
COMMAND = ["verifl-audit", "the transcript", "--policy", "policy.cbor"]


def page_at(path: Path, policy: bytes | None, **others: object) -> Page:
    return page_of(audit(path, policy, course=()), COMMAND, MADE, **others)


def page(simulations: Simulations, name: str) -> Page:
    return page_at(simulations(name).path, simulations(name).policy_data)


def report_of(course: Course | None = None, **statuses: Status) -> Report:
    results = tuple(
        CheckResult(each.id, each.title, statuses.get(each.id, Status.PASS), "looked") for each in AUDIT_CHECKS
    )
    return Report("t", "0.1", "native", True, "demo", "ab" * 32, None, results, (), 0.0, course=course)


def policy() -> Policy:
    return open_policy(make_policy(Setting())[0])[0]


# ---- the verdict ----


def test_an_accepted_transcript(simulations: Simulations) -> None:
    found = page(simulations, "quiet")
    assert (found.verdict.outcome, found.verdict.word) == (Outcome.ACCEPTED, "Accepted")
    assert found.verdict.sentence.startswith(
        "Every rule that the policy of simulated sets for the record was kept in all "
    )
    assert "I13, I14 and P5 do not apply" in found.verdict.sentence
    assert not any(each.given for each in found.verdict.answers)
    assert (found.identity.made, found.identity.pinned) == ("2026-03-04 05:06 UTC", True)
    assert found.identity.policy == simulations("quiet").pinned.hash.hex()
    assert found.lacking == ""


def test_a_broken_rule(forge: Forged, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = forged.find(Aggregate)
    forged.edit(position, plaintext=forged.put(bytes(8 * forged.policy.dimension)))
    found = page_at(forged.write(tmp_path / "t"), forged.policy_data)
    assert found.verdict.outcome is Outcome.BROKEN
    assert "The coordinator of simulated signed what the policy forbids: checks " in found.verdict.sentence
    assert [each.name for each in found.verdict.answers if each.given] == ["A rule was broken"]
    assert {each.entry for each in found.verdict.broken if each.check == "I10"} == {position}
    assert position in {each.index for each in found.entries}
    standings = {
        number: each.standing for group in found.promises for each in group.promises for number, _ in each.found
    }
    assert standings["I10"] is PromiseStanding.BROKEN
    assert standings["I5"] is PromiseStanding.KEPT


def test_a_damaged_copy_accuses_nobody(copied: Callable[[str], Path], simulations: Simulations) -> None:
    path = copied("quiet")
    for blob in (path / "blobs").glob("*/*"):
        blob.unlink()
    found = page_at(path, simulations("quiet").policy_data)
    assert found.verdict.outcome is Outcome.DAMAGED
    assert "it shows neither that the rules were kept nor that anybody broke one" in found.verdict.sentence
    assert [each.name for each in found.verdict.answers if each.given] == ["The copy is damaged"]
    assert (found.verdict.broken, found.offences and found.offences.named) == ((), ())
    assert found.verdict.unjudged
    assert PromiseStanding.BROKEN not in {each.standing for group in found.promises for each in group.promises}


def test_another_federation_is_not_judged(simulations: Simulations) -> None:
    found = page_at(simulations("quiet").path, simulations("noisy").policy_data)
    assert found.verdict.outcome is Outcome.OTHER
    assert [each.name for each in found.verdict.answers if each.given] == ["Another federation"]
    assert (found.promises, found.checks, found.privacy, found.clients, found.annex) == ((), (), None, None, None)
    assert found.lacking == "This is another policy's record, so nothing of it was judged."


def test_an_unpinned_audit_says_what_it_believed(simulations: Simulations) -> None:
    found = page_at(simulations("quiet").path, None)
    assert found.verdict.word == "Accepted, but not against a policy of yours"
    assert "the policy that it comes with" in found.verdict.sentence
    assert len(found.verdict.believed) > 5
    assert any("it was taken from the transcript itself" in each for each in found.limits)


def test_no_policy_at_all(copied: Callable[[str], Path]) -> None:
    path = copied("quiet")
    (path / "policy.cbor").write_bytes(b"none")
    found = page_at(path, None)
    assert found.verdict.outcome is Outcome.DAMAGED
    assert (found.promises, found.clients, found.rounds, found.privacy) == ((), None, None, None)
    assert found.lacking == "The policy does not open, so nothing can be said of what was agreed or done."


@pytest.mark.parametrize("name", ["quiet", "noisy"])
def test_absurd_numbers_of_a_policy_promise_nothing(forge: Forged, tmp_path: Path, name: str) -> None:
    forged = forge(name)
    data = adopted(forged, update=replace(forged.policy.update, fraction_bits=2**62))
    found = page_at(forged.write(tmp_path / "t"), data)
    assert found.verdict.outcome is Outcome.BROKEN
    assert {each.by for each in found.verdict.broken if each.check == "I2"} == {"issuer"}
    assert (found.promises, found.privacy) == ((), None)
    assert found.lacking == "The policy's numbers cannot be used (I2), so nothing can be said of what it promises."
    assert found.clients is not None


# ---- promises and checks ----


def test_every_check_is_evidence_for_one_promise(simulations: Simulations) -> None:
    found = page(simulations, "quiet")
    numbers = [number for group in found.promises for each in group.promises for number, _ in each.found]
    assert sorted(numbers) == sorted(AUDIT_CHECKS.names)
    assert [group.to for group in found.promises] == [
        "To every client",
        "To whoever uses the model",
        "To whoever relies on the record",
    ]


def test_promises_are_those_of_the_policy(simulations: Simulations) -> None:
    texts = {
        name: " ".join(each.text for group in page(simulations, name).promises for each in group.promises)
        for name in ("quiet", "noisy", "private", "proved")
    }
    assert "no differential privacy is promised" in texts["quiet"]
    assert "epsilon 8 at delta 1e-05" in texts["noisy"]
    assert "Weights are 1 to 9." in texts["private"]
    assert "no single coordinate by more than" in texts["proved"]


@pytest.mark.parametrize(
    ("statuses", "standing"),
    [
        ({}, PromiseStanding.KEPT),
        ({"I9": Status.SKIPPED}, PromiseStanding.PARTLY),
        ({"I10": Status.SKIPPED}, PromiseStanding.UNKNOWN),
        ({"I9": Status.SKIPPED, "I10": Status.SKIPPED}, PromiseStanding.UNKNOWN),
        ({"I9": Status.FAIL}, PromiseStanding.UNKNOWN),
    ],
)
def test_the_standing_of_a_promise(statuses: dict[str, Status], standing: PromiseStanding) -> None:
    report = report_of(**statuses)
    assert standing_of([report.check("I9"), report.check("I10")]) is standing


def test_only_a_broken_rule_breaks_a_promise() -> None:
    failed = report_of(P1=Status.FAIL).check("P1")
    for kind in Kind:
        result = replace(failed, findings=(Finding(Place("here"), 1, 2, kind),))
        assert (standing_of([result]) is PromiseStanding.BROKEN) is (kind is Kind.BROKEN)
    assert standing_of([report_of(P5=Status.NOT_APPLICABLE).check("P5")]) is PromiseStanding.NONE


def test_words_for_whatever_there_is() -> None:
    """No check, status, kind, offence or reason is without words of its own."""
    assert set(MEANS) == set(AUDIT_CHECKS.names)
    assert set(WORDS) == set(Status)
    assert set(FOUND) == set(Kind)
    assert set(WHAT) == set(SHOWN_BY) == set(PROVED_BY) == reasons.OFFENCES | {reasons.WRONG_RELEASE}
    assert set(ABORTS) == set(reasons.ABORTS.names)
    assert len({part.sign for part in CLIENT_PARTS}) == len(CLIENT_PARTS)
    assert len({part.sign for part in TRUSTEE_PARTS}) == len(TRUSTEE_PARTS)


# ---- parties, rounds, evidence ----


def test_the_table_of_clients(simulations: Simulations) -> None:
    found = page(simulations, "eventful").clients
    assert found is not None
    assert (found.cells, found.columns, found.width, found.beyond) == (True, (1, 2, 3), 3, 0)
    row = found.rows[4]
    assert row.party == "client-04"
    assert [(cell.part.name, cell.count) for cell in row.cells] == [("offence", 1), ("unopened", 1), ("summed", 1)]
    assert row.cells[0].said == "round 1: submitted, and excluded for a fault (invalid-proof)"
    assert row.summary == "summed in 1, unopened in 1, offence in 1 of 3"
    assert {part.name for part in found.parts} == {"summed", "summed-and-offence", "unopened", "offence"}


def test_the_rows_of_rounds(simulations: Simulations) -> None:
    found = page(simulations, "eventful").rounds
    assert found is not None
    assert found.said == "The record has 3 rounds: 2 ended with a new model, 1 without a result."
    assert [row.numbers for row in found.rows] == ["1", "2", "3"]
    assert found.rows[1].result.startswith(
        "no result: too few trustees released their share of the sum (trustee-0, no-re"
    )
    assert found.rows[2].what == "repeats round 2"
    assert found.rows[0].took_part == "6 asked, 6 submitted, 3 left out, 4 summed"


def test_the_drawing_of_a_round(simulations: Simulations) -> None:
    drawing, *_ = page(simulations, "eventful").drawings
    corners = {(box.x, box.y) for box in drawing.boxes}
    assert len(corners) == len(drawing.boxes)
    assert all(box.x >= 0 and box.x + box.width <= drawing.width for box in drawing.boxes)
    assert all(box.y >= 0 and box.y + box.height <= drawing.height for box in drawing.boxes)
    by_entry = {box.entry: box for box in drawing.boxes}
    assert sorted(by_entry, key=lambda entry: by_entry[entry].x) == sorted(by_entry)
    assert drawing.opened


def test_offences_say_how_somebody_else_verifies_them(simulations: Simulations) -> None:
    found = page(simulations, "eventful").offences
    assert found is not None
    assert found.said == "3 offences are proved of clients and trustees, by what they signed."
    assert page(simulations, "eventful").verdict.sentence.endswith(
        "It proves 3 offences of clients and trustees, who were dealt with as the policy says."
    )
    (proof,) = [each for each in found.named if each.party == "client-04"]
    assert proof.entry is not None
    assert proof.verify[-1] == "Or have it done: verifl-audit 'the transcript' --policy policy.cbor --explain client-04"


# ---- privacy ----


def test_without_noise_no_epsilon_is_claimed(simulations: Simulations) -> None:
    found = page(simulations, "quiet").privacy
    assert found is not None
    assert "no epsilon is claimed" in found.unit
    assert (found.meaning, found.assumptions, found.ledger, found.ledger_said) == ((), (), (), "")
    assert any("no noise was added" in each for each in page(simulations, "quiet").limits)


def test_the_ledger(simulations: Simulations) -> None:
    report = audit(simulations("noisy").path, simulations("noisy").policy_data, course=())
    found = page_of(report, COMMAND, MADE).privacy
    assert found is not None
    assert report.account is not None
    assert found.unit.startswith("Wherever this page says epsilon, its unit is one client with all its data")
    assert (found.meaning, found.assumptions) == (report.account.meaning, report.account.assumptions)
    assert not [note for _, note in found.notes if note.startswith(("means:", "assumed:"))]
    (row,) = found.ledger
    assert row.clients == "client-00 to client-02 (3 clients)"
    assert row.spent == f"{float(report.account.clients[0].epsilon or 0):g}"
    other = replace(report.account.clients[1], cohorts=0)
    first, _, last = report.account.clients
    changed = replace(report, account=replace(report.account, clients=(first, other, last)))
    again = page_of(changed, COMMAND, MADE).privacy
    assert again is not None
    assert [row.clients for row in again.ledger] == ["client-00", "client-01", "client-02"]


# ---- metrics ----


def test_metrics_are_shown_as_somebody_s_own(simulations: Simulations) -> None:
    metrics = read_metrics(
        b'{"round": 0, "metrics": {"accuracy": 0.5, "loss": null}}\n{"round": 1, "metrics": {"accuracy": 1}}\n'
    )
    assert metrics == {"accuracy": [(0, 0.5), (1, 1.0)]}
    found = page_at(
        simulations("quiet").path, simulations("quiet").policy_data, metrics=metrics, metrics_from="metrics.jsonl"
    ).rounds
    assert found is not None
    (curve,) = found.curves
    assert (curve.name, curve.first, curve.last, curve.points) == ("accuracy", "0.5", "1", 2)
    assert found.curves_from == "metrics.jsonl"


@pytest.mark.parametrize(
    "data",
    [b"[1]", b"{", b'{"round": true, "metrics": {}}', b'{"round": 1}', b"[" * 100_000, b"\xff", b'{"round": 1e3}'],
)
def test_what_is_no_metrics_file(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        read_metrics(b'{"round": 0, "metrics": {}}\n' + data)
    assert caught.value.where == "metrics, line 2"


def test_metrics_that_cannot_be_drawn_are_left_out() -> None:
    wild = b'{"round": 1, "metrics": {"a": NaN, "b": Infinity, "c": "x", "d": true, "e": 1' + b"0" * 400 + b"}}"
    assert read_metrics(wild) == {}


# ---- size ----


def long_course(rounds: int, clients: int, seed: int) -> Course:
    """Clients and rounds of which everything is drawn anew for each: nothing can be put together."""
    drawn = random.Random(seed)
    cells = [[(part, "") for part in drawn.choices(CLIENT_PARTS, k=rounds)] for _ in range(clients)]
    course = tuple(
        RoundCourse(each + 1, 100 * each, clients, each % 7, 2, clients, 5, 5, "closed", model="ab" * 32)
        for each in range(rounds)
    )
    return Course(
        policy(),
        rounds=course,
        clients=tuple(Row(f"hospital-{each}", runs_of(row)) for each, row in enumerate(cells)),
        trustees=(Row("trustee-0", runs_of([(RELEASED, "")] * rounds)),),
    )


def test_a_thousand_rounds_of_two_hundred_clients_are_a_small_page() -> None:
    """Also where every cell is another than its neighbours."""
    found = page_of(report_of(long_course(1000, 200, 1)), COMMAND, MADE)
    assert found.clients is not None
    assert (found.clients.cells, found.clients.width, len(found.clients.rows)) == (False, 1000, 200)
    assert len(to_html(found).encode()) < 4_000_000


def test_strips_are_the_cells() -> None:
    course = long_course(60, 1, 2)
    found = page_of(report_of(course), COMMAND, MADE).clients
    assert found is not None
    drawn: dict[int, str] = {}
    for part, path in found.rows[0].strips:
        place = 0
        for move in path.replace("M", "m").split("m")[1:]:
            start, length = move.split("h")
            place = place + int(start.split()[0])
            drawn.update(dict.fromkeys(range(place, place + int(length)), part.name))
            place += int(length)
    assert [drawn[place] for place in range(60)] == [
        run.part.name for run in course.clients[0].runs for _ in range(run.count)
    ]


def test_alike_rounds_are_one_row_where_they_are_many() -> None:
    alike = tuple(RoundCourse(each, each, 4, 4, 0, 4, 5, 5, "closed", model=str(each)) for each in range(1, 101))
    row = Row("client", runs_of([(SUMMED, "")] * 100))
    found = page_of(report_of(Course(policy(), rounds=alike, clients=(row,))), COMMAND, MADE).rounds
    assert found is not None
    assert [(each.numbers, each.model) for each in found.rows] == [("1 to 100", "100")]
    odd = (*alike[:50], replace(alike[50], ending="aborted", reason="no-quorum", model=""), *alike[51:])
    found = page_of(report_of(Course(policy(), rounds=odd, clients=(row,))), COMMAND, MADE).rounds
    assert found is not None
    assert [each.numbers for each in found.rows] == ["1 to 50", "51", "52 to 100"]


def test_many_clients_in_few_rounds_are_strips() -> None:
    found = page_of(report_of(long_course(12, 999, 3)), COMMAND, MADE).clients
    assert found is not None
    assert not found.cells
