"""Long logs: what a round costs does not depend on how many rounds there were, nor on how often parties repeat
themselves. Work is counted, in lines and calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor import audit, case, index, signed_log
from auditor.case import Case
from auditor.checks import cohorts, differences, rounds
from auditor.checks.proofs import Proofs
from auditor.checks.verdicts import Verdicts
from auditor.findings import Findings
from auditor.gaps import entries_of
from auditor.index import Index, Record, Round, SubmissionRecord
from auditor.reports.results import Place
from auditor.signed_log import SignedLog
from protocols.log.checkpoint import Checkpoint, SignedNote
from protocols.log.reader import TranscriptReader
from protocols.messages import CohortClosed, Release, RoundOpen
from protocols.pinned import PinnedPolicy
from protocols.privacy import differencing
from tests.auditor.forge import Forge
from tests.simulator import Setting, make_policy
from tests.spelling import judging
from tests.work import lines_run

CLIENTS = 4
ENTRIES = CLIENTS + 2  # a round
NOTHING = bytes(32)


def nothing_read() -> Case:
    return Case(Path(), TranscriptReader(Path()), "native", lambda *_: None, True)


def history(count: int, models: int) -> SignedLog:
    """Rounds with nothing but an opening, submissions and a cohort, on so many models in turn; each covered at once."""
    filed, roots = dict[int, Round](), dict[int, bytes]()
    for number in range(1, count + 1):
        start = 1 + ENTRIES * number
        model = (number % models).to_bytes(32, "big")
        opening = RoundOpen("f", number, NOTHING, model, start, NOTHING, NOTHING, NOTHING, (), (), None, None, None)
        submissions = {}
        for position in range(CLIENTS):
            place = start + 1 + position
            record = SubmissionRecord(place, NOTHING, f"c{position}", number, *[NOTHING] * 5, (), (), (), None)
            submissions[place] = record
        closing = CohortClosed("f", number, NOTHING, *judging(start + 1, submissions), (), NOTHING)
        filed[number] = Round(
            number,
            opens=(Record(start, number.to_bytes(32, "big"), opening),),
            submissions=submissions,
            cohorts=(Record(start + ENTRIES - 1, NOTHING, closing),),
        )
        roots.update(dict.fromkeys((start, start + 1, start + ENTRIES), NOTHING))
    return SignedLog(filed=Index(rounds=filed), roots=roots)


def ask_for_cohorts(made: SignedLog) -> None:
    for found in made.index.in_order():
        assert found.open is not None
        made.index.opened_before(found.number, found.open.message.model)


def check_openings(made: SignedLog) -> None:
    thread = rounds._Thread(NOTHING)
    given = rounds.Needs(nothing_read(), made)
    for found in made.index.in_order():
        assert found.open is not None
        findings = Findings("I4", "")
        rounds._check_checkpoint(given, findings, Place("a round"), found.open, thread)
        rounds._check_covered(given, findings, Place("a round"), found, found.open.index)
        assert findings.empty


def ask_for_charges(made: SignedLog) -> None:
    """As the story of a client does that many rounds did not ask."""
    for found in made.index.in_order():
        assert found.open is not None
        charges = made.index.charges_before(found.open.index)
        assert [charges[f"c{each}"] for each in range(CLIENTS)] == [found.number - 1] * CLIENTS


@pytest.mark.parametrize("work", [ask_for_cohorts, ask_for_charges, check_openings])
@pytest.mark.parametrize("models", [1, 100])
def test_twice_the_rounds_are_twice_the_work(work: Callable[[SignedLog], None], models: int) -> None:
    few, many = history(200, models), history(400, models)
    counted = (case, signed_log, index, rounds)
    assert lines_run(lambda: work(many), *counted) < 2.2 * lines_run(lambda: work(few), *counted)


@pytest.mark.parametrize("models", [1, 100])
@pytest.mark.parametrize("strict", [False, True])
def test_comparing_twice_the_cohorts_is_twice_the_work(
    models: int, strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of them are on one model."""
    data = make_policy(Setting(clients=CLIENTS, strict_consecutive=strict))[0]
    monkeypatch.setattr(differences, "exempt_in", lambda *_: set())

    def work(made: SignedLog) -> int:
        policy = PinnedPolicy.open(data)
        case = replace(nothing_read(), pinned_policy=policy)
        given = differences.Needs(case, replace(made, policy=policy.policy), Proofs(), Verdicts())
        return lines_run(
            lambda: differences.check_differences(given, Findings("P6", "")), differences, differencing, index
        )

    assert work(history(400, models)) < 2.2 * work(history(200, models))


def test_the_cohort_opened_last_before() -> None:
    made = history(20, 3)
    for found in made.index.in_order():
        for place, record in found.submissions.items():
            found.submissions[place] = replace(record, client=f"{record.client}-{found.number}")
    for number in range(1, 22):
        for model in range(4):
            before = [n for n in range(1, min(number, 21)) if n % 3 == model]
            expected = {f"c{each}-{before[-1]}" for each in range(CLIENTS)} if before else None
            assert made.index.opened_before(number, model.to_bytes(32, "big")) == expected


@pytest.mark.parametrize("count", [100, 200])
def test_rounds_that_name_old_checkpoints_do_not_read_all_others(count: int) -> None:
    """Each names another than the last, and the last is looked for among all: that is done once."""
    policy, read = PinnedPolicy.open(make_policy(Setting(clients=CLIENTS))[0]).policy, 0

    class Notes(tuple[SignedNote, ...]):
        def __iter__(self) -> Iterator[SignedNote]:
            nonlocal read
            for note in super().__iter__():
                read += 1
                yield note

    notes = Notes(SignedNote(Checkpoint("o", size, NOTHING), ()) for size in range(1, count))
    made = SignedLog(policy=policy, notes=notes, roots=dict.fromkeys(range(1, count), b"another"))
    assert not any(made.is_signed(size) for size in range(1, count))
    assert read < 2 * count


def test_the_entries_that_are_here_are_found_in_one_pass(tmp_path: Path) -> None:
    """Of the leaf hashes each is looked at once, however long the log is."""
    copied, size = 0, 256 * 40 + 7

    class Leaves(list[bytes]):
        def __getitem__(self, where: Any) -> Any:
            nonlocal copied
            found = super().__getitem__(where)
            copied += len(found) if isinstance(where, slice) else 1
            return found

    assert list(entries_of(TranscriptReader(tmp_path), size, Leaves([NOTHING] * size))) == [None] * size
    assert copied == size


@given(sizes=st.sets(st.integers(0, 40), max_size=8), opened=st.integers(0, 40), answered=st.integers(0, 40))
def test_an_entry_is_covered_by_the_definition(sizes: set[int], opened: int, answered: int) -> None:
    made = SignedLog(roots=dict.fromkeys(sizes, NOTHING))
    assert made.is_covered(opened, answered) == any(opened < size <= answered for size in sizes)
    assert made.last_published(opened) == max((size for size in sizes if size <= opened), default=None)


def test_many_wrong_releases_of_one_round(
    forge: Callable[[str], Forge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is named, and what they all rest on, the digest over the cohort, is derived once."""
    forged = forge("quiet")
    position = forged.find(Release)
    message = forged.message(position)
    wrong = replace(message, share=forged.put(b"\xff" * len(forged.blob(message.share))))
    for _ in range(5):
        forged.insert(position + 1, wrong)
    calls = []
    honest = cohorts._digest_holds
    monkeypatch.setattr(cohorts, "_digest_holds", lambda *arguments: calls.append(1) or honest(*arguments))
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert len(report.check("I8").notes) == 5
    assert len(calls) == 1
