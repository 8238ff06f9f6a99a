"""What a federation did, as values: who took part and how, what each round came to, who is named, what is cited."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from auditor import audit
from auditor.reports.course import (
    ALSO_OFFENCE,
    CONTRADICTED,
    HELD,
    NO_KEY,
    NOT_ASKED,
    OFFENCE,
    RELEASED,
    SILENT,
    SUMMED,
    UNJUDGED,
    UNOPENED,
    UNTOLD,
    Course,
    Part,
    Row,
    runs_of,
)
from protocols.log.reader import TranscriptReader
from protocols.messages import CohortClosed, Exclusion, RoundOpen, ShareAck, Submission
from tests.auditor.conftest import Forged, last_bundle, unreadable_shares
from tests.simulator import Simulation

Simulations = Callable[[str], Simulation]


def course_at(path: Path, policy: bytes, *graphs: int) -> Course:
    course = audit(path, policy, course=graphs).course
    assert course is not None
    return course


def course(simulations: Simulations, name: str) -> Course:
    return course_at(simulations(name).path, simulations(name).policy_data)


def parts(rows: tuple[Row, ...], party: str) -> list[Part]:
    (row,) = [each for each in rows if each.party == party]
    return [run.part for run in row.runs for _ in range(run.count)]


def test_a_report_has_it_only_where_it_was_asked_for(simulations: Simulations) -> None:
    quiet = simulations("quiet")
    report = audit(quiet.path, quiet.policy_data)
    assert report.course is None
    assert "course" not in audit(quiet.path, quiet.policy_data, course=()).to_dict()


def test_everybody_summed(simulations: Simulations) -> None:
    found = course(simulations, "quiet")
    assert {part for row in found.clients for part in row.counts()} == {SUMMED}
    assert {part for row in found.trustees for part in row.counts()} == {RELEASED}
    (only,) = found.rounds
    assert (only.number, only.submitted, only.summed, only.asked, only.ending) == (1, 4, 4, 4, "closed")
    assert (found.offences, found.disputes, found.lacking) == ((), (), "")


def test_offences_an_abort_and_its_repetition(simulations: Simulations) -> None:
    found = course(simulations, "eventful")
    assert parts(found.clients, "client-00") == [ALSO_OFFENCE, UNOPENED, SUMMED]
    assert parts(found.clients, "client-01") == [SUMMED, UNOPENED, SUMMED]
    assert parts(found.clients, "client-04") == [OFFENCE, UNOPENED, SUMMED]
    assert {(each.party, each.round, each.offence) for each in found.offences} == {
        ("client-00", 1, "duplicate"),
        ("client-04", 1, "invalid-proof"),
        ("client-05", 1, "disputed"),
    }
    (proof,) = [each for each in found.offences if each.offence == "invalid-proof"]
    assert proof.detail
    assert [blob.role for blob in proof.blobs] == ["ciphertext", "share commitments", "commitments", "proof"]
    aborted = found.rounds[1]
    assert (aborted.ending, aborted.reason, aborted.summed) == ("aborted", "missing-releases", 0)
    assert ("trustee-0", "no-release") in aborted.missing
    assert parts(found.trustees, "trustee-0")[1] == SILENT
    assert parts(found.trustees, "trustee-4")[1] not in (RELEASED, SILENT, HELD)
    assert found.rounds[2].retry_of == 2


def test_who_was_revoked_is_not_asked(simulations: Simulations) -> None:
    found = course(simulations, "changed")
    assert parts(found.clients, "client-03") == [SUMMED, NOT_ASKED]
    assert parts(found.trustees, "trustee-4") == [RELEASED, NO_KEY]
    (row,) = [each for each in found.clients if each.party == "client-03"]
    assert row.runs[1].why == "it was revoked before"
    assert {party for _, party, _ in found.changes} == {"client-00", "trustee-0", "client-03", "trustee-4"}


def test_what_the_log_says_and_the_audit_does_not_find(forge: Forged, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = forged.find(CohortClosed)
    first, *others = forged.message(position).accepted
    forged.edit(position, accepted=tuple(others), excluded=(Exclusion(first, "invalid-proof", ""),))
    found = course_at(forged.write(tmp_path / "t"), forged.policy_data)
    assert parts(found.clients, "client-00") == [CONTRADICTED]
    assert found.clients[0].runs[0].why == "the log says invalid-proof, the audit finds accepted"
    assert "client" not in {each.role for each in found.offences}


def test_a_verdict_alone_blames_nobody(forge: Forged, tmp_path: Path) -> None:
    """The server logs a client's submission twice, and excludes the copy as a duplicate: nobody has committed it."""
    forged = forge("quiet")
    position, copy = forged.find(Submission, 1, 1), forged.find(ShareAck)
    client = forged.message(position).client
    forged.insert_raw(copy, forged.honest[position])
    position = forged.find(CohortClosed)
    place, verdicts = copy - forged.message(position).first, forged.message(position).verdicts
    forged.edit(position, verdicts=f"{verdicts[:place]}2{verdicts[place:]}")
    found = course_at(forged.write(tmp_path / "t"), forged.policy_data)
    assert found.offences == ()
    assert parts(found.clients, client) == [SUMMED]
    (node,) = [node for node in found.evidence[0].nodes if node.part is OFFENCE]
    assert node.id == copy


def test_a_round_that_is_not_over(forge: Forged, tmp_path: Path) -> None:
    forged = forge("aborted")
    forged.cut(forged.find(Submission, 2, 3) + 1)
    found = course_at(forged.write(tmp_path / "t"), forged.policy_data)
    assert found.rounds[-1].ending == "open"
    assert {parts(found.clients, row.party)[-1] for row in found.clients} == {UNJUDGED}


def test_missing_entries_leave_things_untold(copied: Callable[[str], Path], simulations: Simulations) -> None:
    path = copied("aborted")
    entries = path / "tile" / "entries"
    shutil.rmtree(entries)
    found = course_at(path, simulations("aborted").policy_data)
    assert found.clients == ()
    assert found.lacking
    assert UNTOLD not in {part for row in course(simulations, "aborted").clients for part in row.counts()}


def test_the_first_entries_of_a_cut_log(copied: Callable[[str], Path], simulations: Simulations) -> None:
    path = copied("aborted")
    last_bundle(path).unlink()
    found = course_at(path, simulations("aborted").policy_data)
    assert found.lacking or found.gaps or found.cut is not None


def test_what_is_cited_is_where_it_says(simulations: Simulations) -> None:
    """Anybody finds each entry in its file, by its place, and its hash is that of its bytes."""
    eventful = simulations("eventful")
    found = course(simulations, "eventful")
    reader = TranscriptReader(eventful.path)
    assert {each.entry for each in found.offences} <= {each.index for each in found.cited}
    for each in found.cited:
        (entry,) = reader.entries(each.index, each.index + 1)
        assert hashlib.sha256(entry).hexdigest() == each.hash
        assert (eventful.path / each.file).is_file()
        assert entry in (eventful.path / each.file).read_bytes()


def test_the_evidence_of_a_round(simulations: Simulations) -> None:
    found = course(simulations, "eventful")
    assert found.drawable == (1, 3)
    assert [each.round for each in found.evidence] == [1, 3]
    first = found.evidence[0]
    assert first.whole == (len(first.nodes), len(first.edges))
    assert {node.part for node in first.nodes if node.type == "submission"} >= {SUMMED, OFFENCE}
    flowing = {source for source, _, flows in first.edges if flows}
    assert all((node.id in flowing) == (node.part is SUMMED) for node in first.nodes if node.type == "submission")
    wanted = course_at(simulations("eventful").path, simulations("eventful").policy_data, 2)
    assert [each.round for each in wanted.evidence] == [1, 2, 3]


def test_many_nodes_of_a_type_stand_together(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.course.evidence.MOST_NODES", 2)
    (drawn,) = course(simulations, "quiet").evidence
    assert [(node.type, node.caption, node.count) for node in drawn.nodes if node.count > 1] == [
        ("round-key", "5 round-keys", 5),
        ("submission", "4 submissions", 4),
        ("share-ack", "5 share-acks", 5),
        ("release", "5 releases", 5),
    ]
    assert drawn.whole[0] == sum(node.count for node in drawn.nodes)
    assert len(drawn.edges) < drawn.whole[1]


def test_what_there_is_no_room_for_is_counted(simulations: Simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.course.MOST_ROUNDS", 2)
    monkeypatch.setattr("auditor.course.MOST_NAMED", 1)
    monkeypatch.setattr("auditor.course.parties.MOST_CELLS", 8)
    found = course(simulations, "eventful")
    assert ([each.number for each in found.rounds], found.beyond) == ([1, 2], 1)
    assert [row.party for row in found.clients] == ["client-00", "client-01", "client-02", "client-03"]
    assert (len(found.offences), found.more_offences) == (1, 2)


def test_a_finding_marks_its_node(forge: Forged, tmp_path: Path) -> None:
    forged = forge("quiet")
    opened = forged.find(RoundOpen, 1)
    forged.edit(opened, seed=bytes(32))
    found = course_at(forged.write(tmp_path / "t"), forged.policy_data)
    assert [node.id for node in found.evidence[0].nodes if node.fault and node.type == "round-open"] == [opened]


def test_a_dispute_that_is_settled_is_an_offence(simulations: Simulations) -> None:
    """More trustees say so than can be corrupt; of fewer, nobody can tell who lies."""
    found = course(simulations, "eventful")
    assert found.disputes == ()
    assert "disputed" in {each.offence for each in found.offences}


def test_a_dispute_that_is_not(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    simulation.start()
    simulation.open_round()
    for name in ("client-00", "client-01", "client-02"):
        simulation.submit(name)
    simulation.store(simulation.coordinator.receive(unreadable_shares(simulation, "client-03", 1)))
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release()
    simulation.finish()
    found = course_at(simulation.path, simulation.policy_data)
    assert [(each.trustee, each.client, each.reason) for each in found.disputes] == [
        ("trustee-0", "client-03", "share-decryption")
    ]
    assert found.offences == ()


@pytest.mark.parametrize(
    "cells", [[], [(SUMMED, "")] * 3, [(SUMMED, ""), (OFFENCE, "a"), (OFFENCE, "b"), (SUMMED, "")]]
)
def test_runs_are_the_cells(cells: list[tuple[Part, str]]) -> None:
    runs = runs_of(cells)
    assert [(run.part, run.why) for run in runs for _ in range(run.count)] == cells
    assert [run.first for run in runs] == [sum(each.count for each in runs[:place]) for place in range(len(runs))]
    assert all(a.part is not b.part or a.why != b.why for a, b in pairwise(runs))


def test_the_end_of_a_federation(simulations: Simulations) -> None:
    found = course(simulations, "over")
    assert found.ending is not None
    assert found.ending[1] == "no-cohort"
