"""A ciphertext is read once for all that is checked of it, and no report shows that it was (spec 9.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor import Report, audit
from auditor.checks import derived, proofs
from auditor.checks.sums import CohortSums
from auditor.memory import Memory
from protocols import submissions
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import Aggregate, CohortClosed, RoundAborted, Submission
from protocols.summation import RunningSum
from tests.auditor.conftest import flipped
from tests.auditor.forge import Forge
from tests.simulator import Simulation


def counting(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, key: Callable[..., Any]) -> Counter[Any]:
    """How often a function was called, by a key of its arguments."""
    counts: Counter[Any] = Counter()
    honest = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        counts[key(*arguments)] += 1
        return honest(*arguments, **named)

    monkeypatch.setattr(owner, name, wrapped)
    return counts


def ciphertexts(path: Path) -> list[bytes]:
    reader = TranscriptReader(path)
    messages = (open_envelope(entry).message for entry in reader.entries(0, reader.size))
    return [message.ciphertext for message in messages if isinstance(message, Submission)]


def content(report: Report) -> dict[str, Any]:
    """All that a report says, but for how long it took."""
    return {name: value for name, value in report.to_dict().items() if name != "seconds"}


@pytest.mark.parametrize("name", ["quiet", "proved"])
def test_each_ciphertext_is_read_twice_and_unpacked_once(
    name: str, simulations: Callable[[str], Simulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By I1, which hashes every blob, and once for the proof, its encryption and the sum."""
    simulation = simulations(name)
    expected = ciphertexts(simulation.path)
    read = counting(monkeypatch, TranscriptReader, "blob", lambda _, blob, size: blob)
    unpacked = [
        counting(monkeypatch, module, "unpack", lambda *_: "unpacked") for module in (proofs, derived, submissions)
    ]
    assert audit(simulation.path, simulation.policy_data).accepted
    assert [read[blob] for blob in expected] == [2] * len(expected)
    assert sum(each.total() for each in unpacked) == len(expected)


def unreadable(forge: Forge) -> None:
    """A ciphertext that does not decode, in the cohort."""
    position = forge.find(Submission, nth=1)
    size = len(forge.blob(forge.message(position).ciphertext))
    forge.edit(position, ciphertext=forge.put(b"\xff" * size))


def another_ciphertext(forge: Forge) -> None:
    position = forge.find(Submission)
    forge.edit(position, ciphertext=forge.put(flipped(forge.blob(forge.message(position).ciphertext))))


def another_key(forge: Forge) -> None:
    position = forge.find(Aggregate)
    forge.edit(position, key=forge.put(flipped(forge.blob(forge.message(position).key), 3)))


def another_plaintext(forge: Forge) -> None:
    position = forge.find(Aggregate)
    forge.edit(position, plaintext=forge.put(flipped(forge.blob(forge.message(position).plaintext))))


def copied(forge: Forge) -> None:
    """Two members of the cohort with one ciphertext: the second is a replay, whose proof I6 does not look at."""
    first, second = forge.find(Submission), forge.find(Submission, nth=1)
    forge.edit(second, ciphertext=forge.message(first).ciphertext)


def member_left_out(forge: Forge) -> None:
    position = forge.find(CohortClosed)
    forge.edit(position, accepted=forge.message(position).accepted[1:])


def nobody(forge: Forge) -> None:
    forge.edit(forge.find(CohortClosed), accepted=())


def opening_failed(forge: Forge) -> None:
    position = forge.find(Aggregate)
    cohort = forge.message(position).cohort
    number, federation = forge.message(position).round, forge.policy.federation
    opened = forge.message(forge.find(CohortClosed)).round_open
    forge.cut(position)
    forge.insert(position, RoundAborted(federation, number, opened, cohort, "opening-failed", ()))


def untouched(_: Forge) -> None:
    """The transcript as it was."""


CHANGES = [
    unreadable,
    another_ciphertext,
    another_key,
    another_plaintext,
    copied,
    member_left_out,
    nobody,
    opening_failed,
    untouched,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["eventful", "proved"])
def test_a_report_does_not_depend_on_where_the_sums_are_made(
    name: str, change: Callable[[Forge], None], forge: Callable[[str], Forge], tmp_path: Path
) -> None:
    """I6 makes them on its way, I9 those that I6 could not make: both say the same in the same words."""
    forged = forge(name)
    change(forged)
    path = forged.write(tmp_path / "t")
    on_the_way = audit(path, forged.policy_data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CohortSums, "add", lambda *_: None)
        afterwards = audit(path, forged.policy_data)
    assert content(on_the_way) == content(afterwards)
    assert on_the_way.accepted == (change is untouched)


def test_a_cohort_that_was_verified_in_part_before_is_summed_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first two submissions are facts by now, so I6 does not read their ciphertexts again."""
    simulation = Simulation(tmp_path)
    simulation.start()
    simulation.open_round()
    memory = Memory()
    names = list(simulation.clients)
    for name in names[:2]:
        simulation.submit(name)
    simulation.checkpoint()
    assert audit(simulation.path, simulation.policy_data, memory=memory).accepted
    assert len(memory) == 2
    for name in names[2:]:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release()
    simulation.finish()
    sums = counting(monkeypatch, RunningSum, "total", lambda _: "sums")
    report = audit(simulation.path, simulation.policy_data, memory=memory)
    assert sums == {"sums": 1}
    assert content(report) == content(audit(simulation.path, simulation.policy_data))


def test_a_sum_that_is_known_is_not_made(
    simulations: Callable[[str], Simulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the proofs have to be verified again."""
    simulation = simulations("quiet")
    memory = Memory()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proofs, "_remember", lambda *_: None)
        audit(simulation.path, simulation.policy_data, memory=memory)
    sums = counting(monkeypatch, RunningSum, "total", lambda _: "sums")
    assert audit(simulation.path, simulation.policy_data, memory=memory).accepted
    assert not sums
