"""Nobody answers, and nobody opens a round on, what no published checkpoint covers; and what needs a wait gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import audit
from auditor.comparison import compare
from proofs.errors import Misuse, Rejected
from protocols.log.checkpoint import add_cosignatures, parse_note
from protocols.log.merkle import leaf_hash
from protocols.log.tiles import TileStack, bundles, encode_bundle
from protocols.messages import MissingParty, RoundAborted
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.waits import DAY, Waits
from protocols.stores import MemoryStore
from tests.adversaries import ForgedLog, fork
from tests.simulator import Setting, Simulation

NAMES = [f"trustee-{i}" for i in range(5)]
HONEST = NAMES[2:]


def rejected(step: Callable[[], object]) -> str:
    with pytest.raises(Rejected) as excinfo:
        step()
    return excinfo.value.check


def current_of(simulation: Simulation) -> CurrentRound:
    current = simulation.coordinator.ledger.current
    assert current is not None
    return current


def submitted(simulation: Simulation) -> int:
    number = simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    return number


# ---- trustees answer what is published ----


def answers(simulation: Simulation, kind: str, note: bytes, name: str = "trustee-2") -> Callable[[], object]:
    trustee, number = simulation.trustees[name], simulation.coordinator.ledger.rounds
    ask = trustee.acknowledge if kind == "acknowledge" else trustee.release
    return lambda: ask(number, note, simulation.blob)


@pytest.mark.parametrize("kind", ["acknowledge", "release"])
def test_trustees_answer_only_what_a_published_checkpoint_covers(simulation: Simulation, kind: str) -> None:
    submitted(simulation)
    if kind == "release":
        simulation.acknowledge()
        simulation.store(simulation.coordinator.close_cohort())
    before = simulation.coordinator.note
    note = simulation.coordinator.checkpoint()
    lines = {name: simulation.observe(name, note) for name in NAMES}
    for shown, check in (
        (before, "unpublished"),  # published, but not with what is to be answered
        (note, "checkpoint-quorum"),  # nobody's cosignature
        (add_cosignatures(note, [lines[name] for name in NAMES[:3]]), "checkpoint-quorum"),
        (_with_false_line(simulation, note, lines), "checkpoint-cosignature"),
        (_other_root(simulation), "fork"),
    ):
        assert rejected(answers(simulation, kind, shown)) == check
    published = simulation.coordinator.cosigned(note, lines.values())
    assert answers(simulation, kind, published)()


def _with_false_line(simulation: Simulation, note: bytes, lines: dict[str, bytes]) -> bytes:
    """Three true lines, and one in another name that is of another checkpoint."""
    log = fork(simulation, 1)
    key = simulation.forge_identity("trustee-3")
    return add_cosignatures(note, [*(lines[name] for name in NAMES[:3]), log.line("trustee-3", key)])


def _other_root(simulation: Simulation) -> bytes:
    log = fork(simulation, simulation.coordinator.size)
    log.entries[-1] = log.entries[0]
    return log.cosigned_by(NAMES)


def test_a_trustee_that_missed_the_published_checkpoint_follows_it_first(simulation: Simulation) -> None:
    submitted(simulation)
    simulation.checkpoint(NAMES[:4])
    late = answers(simulation, "acknowledge", simulation.coordinator.note, "trustee-4")
    assert rejected(late) == "unpublished"
    note, late_trustee = simulation.coordinator.note, simulation.trustees["trustee-4"]
    late_trustee.observe(note, simulation.coordinator.entries(late_trustee.size, simulation.coordinator.size), 1)
    assert late()


def test_corrupt_trustees_and_the_server_get_no_answer_to_a_cohort_that_only_they_saw(simulation: Simulation) -> None:
    """f corrupt trustees and one deceived honest one are fewer than t: it does not release."""
    submitted(simulation)
    simulation.acknowledge()
    simulation.store(simulation.coordinator.close_cohort())
    log = fork(simulation, simulation.coordinator.size)
    log.shown_to(simulation.trustees["trustee-2"])
    note = log.cosigned_by([*NAMES[:2], "trustee-2"])
    assert rejected(answers(simulation, "release", note)) == "checkpoint-quorum"


# ---- a coordinator goes on only when all is published ----


def missed(simulation: Simulation) -> bytes:
    """A revocation of a client, shown to all, cosigned by too few; the corrupt trustee collects the lines. The note as
    it can publish it later."""
    simulation.store(simulation.coordinator.receive_change(simulation.revocation("client-03")))
    note = simulation.coordinator.checkpoint()
    lines = [simulation.observe(name, note) for name in NAMES]
    assert rejected(lambda: simulation.coordinator.cosigned(note, lines[:3])) == "checkpoint-quorum"
    return add_cosignatures(note, lines)


def test_no_round_is_opened_after_a_checkpoint_that_missed_its_quorum(simulation: Simulation) -> None:
    missed(simulation)
    keys = [trustee.round_key(1) for trustee in simulation.trustees.values()]
    for _ in range(2):
        with pytest.raises(Misuse, match="everything that was shown"):
            simulation.coordinator.open_round(keys)
        simulation.restart_coordinator()
    simulation.checkpoint()
    simulation.open_round()


def plant(simulation: Simulation, size: int, note: bytes) -> None:
    """A checkpoint as if it had been published, with the tiles and bundles that it needs."""
    files, stack = {f"checkpoints/{size}": note}, TileStack()
    entries = simulation.coordinator.entries(0, size)
    for entry in entries:
        files |= {tile.path: data for tile, data in stack.append(leaf_hash(entry))}
    files |= {tile.path: data for tile, data in stack.partial()}
    for bundle in bundles(size):
        files[bundle.path] = encode_bundle(entries[bundle.start : bundle.start + bundle.width])
    for name, data in files.items():
        target = simulation.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


@pytest.mark.parametrize("moment", ["change", "round", "submissions", "cohort", "end"])
def test_an_honest_coordinator_is_not_accused_by_checkpoints_that_missed_their_quorum(
    tmp_path: Path, moment: str
) -> None:
    """A corrupt trustee keeps every line that it saw, and plants the note of each checkpoint that was not published."""
    simulation = Simulation(tmp_path / "honest", Setting())
    simulation.start()
    planted: dict[int, bytes] = {}

    def fail(at: str) -> None:
        """The coordinator hears too few; it asks again before it goes on."""
        if at == moment:
            note = simulation.coordinator.checkpoint()
            lines = [simulation.observe(name, note) for name in NAMES]
            assert rejected(lambda: simulation.coordinator.cosigned(note, lines[:2])) == "checkpoint-quorum"
            planted[parse_note(note).checkpoint.size] = add_cosignatures(note, lines)

    simulation.store(simulation.coordinator.receive_change(simulation.revocation("client-03")))
    fail("change")
    simulation.checkpoint()
    simulation.store(simulation.coordinator.open_round([each.round_key(1) for each in simulation.trustees.values()]))
    fail("round")
    simulation.checkpoint()
    simulation.updates[1] = {}
    for name in list(simulation.clients)[:3]:
        simulation.submit(name)
        fail("submissions")  # three times, each of another size
    simulation.acknowledge()
    simulation.store(simulation.coordinator.close_cohort())
    fail("cohort")
    simulation.checkpoint()
    simulation.release()
    simulation.store(simulation.coordinator.aggregate())
    simulation.store(simulation.coordinator.close_round())
    fail("end")
    simulation.checkpoint()
    simulation.play_round()
    assert planted
    for size, note in planted.items():
        plant(simulation, size, note)
    report = audit(simulation.path, simulation.policy_data)
    assert report.accepted, [finding for check in report.checks for finding in check.findings]
    simulation.writer.close()
    compared = compare(simulation.path, simulation.path, simulation.pinned)
    assert compared.consistent


# ---- no-quorum needs a wait ----


def aborted(simulation: Simulation, log: ForgedLog) -> ForgedLog:
    """The log with an abort for want of every acknowledgement behind it."""
    current = current_of(simulation)
    missing = tuple(MissingParty(key.trustee, "no-acknowledgement") for key in current.keys)
    log.append(RoundAborted("simulated", current.number, current.entry, None, "no-quorum", missing))
    return log


def test_trustees_refuse_an_abort_that_waited_for_nobody(simulation: Simulation) -> None:
    submitted(simulation)
    simulation.checkpoint()
    log = aborted(simulation, fork(simulation, simulation.coordinator.size))
    trustee = simulation.trustees["trustee-2"]
    size = trustee.size
    assert rejected(lambda: log.shown_to(trustee)) == "quorum-wait"
    simulation.clock += simulation.waits.quorum - 1 - len(NAMES)
    assert rejected(lambda: log.shown_to(trustee)) == "quorum-wait"
    assert trustee.size == size
    simulation.clock += 2 * len(NAMES)
    assert log.shown_to(trustee)
    assert trustee.size == log.size


def test_new_submissions_start_the_wait_anew(simulation: Simulation) -> None:
    simulation.open_round()
    simulation.submit("client-00")
    simulation.checkpoint()
    simulation.clock += simulation.waits.quorum
    simulation.submit("client-01")
    simulation.submit("client-02")
    log = aborted(simulation, fork(simulation, simulation.coordinator.size))
    trustee = simulation.trustees["trustee-2"]
    assert rejected(lambda: log.shown_to(trustee)) == "quorum-wait"
    simulation.restart_trustee("trustee-2")
    trustee = simulation.trustees["trustee-2"]
    simulation.clock += simulation.waits.quorum
    assert log.shown_to(trustee)


def test_a_trustee_that_was_away_takes_a_published_abort(simulation: Simulation) -> None:
    """t others have waited; it need not."""
    submitted(simulation)
    simulation.checkpoint(NAMES[:4])
    simulation.acknowledge(NAMES[:3])
    simulation.clock += simulation.waits.quorum
    simulation.store(simulation.coordinator.close_cohort())
    simulation.checkpoint(NAMES[:4])
    away, coordinator = simulation.trustees["trustee-4"], simulation.coordinator
    entries = coordinator.entries(away.size, coordinator.size)
    alone = parse_note(coordinator.note).checkpoint
    assert alone.size == coordinator.size
    unsigned = fork(simulation, coordinator.size).note()
    assert rejected(lambda: away.observe(unsigned, entries, 1)) == "quorum-wait"
    assert away.observe(coordinator.note, entries, 1)


def test_a_trustee_that_was_away_for_two_aborts_waits_once(simulation: Simulation) -> None:
    """Shown them without the others' cosignatures."""
    simulation.waits = replace(simulation.waits, quorum=0)
    simulation.restart_coordinator()
    for name in NAMES[:4]:
        simulation.restart_trustee(name)
    for _ in range(2):
        number = simulation.coordinator.ledger.next_round
        keys = [simulation.trustees[name].round_key(number) for name in NAMES[:4]]
        simulation.store(simulation.coordinator.open_round(keys))
        simulation.checkpoint(NAMES[:4])
        simulation.updates[number] = {}
        for name in simulation.clients:
            simulation.submit(name)
        simulation.checkpoint(NAMES[:4])
        simulation.store(simulation.coordinator.close_cohort())
        simulation.checkpoint(NAMES[:4])
    away, coordinator = simulation.trustees["trustee-4"], simulation.coordinator
    unsigned, entries = fork(simulation, coordinator.size).note(), coordinator.entries(away.size, coordinator.size)
    assert rejected(lambda: away.observe(unsigned, entries, 1)) == "quorum-wait"
    simulation.clock += Waits(lambda: 0).quorum
    assert away.observe(unsigned, entries, 1)


@pytest.mark.parametrize("quorum", [0, 3600])
def test_the_coordinator_publishes_before_it_waits(simulation: Simulation, quorum: int) -> None:
    """However long it waited: no trustee can acknowledge what it was not shown."""
    simulation.waits = replace(simulation.waits, quorum=quorum)
    simulation.restart_coordinator()
    submitted(simulation)
    simulation.clock += quorum
    newest = simulation.coordinator.ledger.current.submissions[-1].index
    for step in (simulation.coordinator.close_cohort, simulation.coordinator.abort):
        with pytest.raises(Misuse, match=f"publish a cosigned checkpoint that covers entry {newest} first"):
            step()
    simulation.acknowledge()
    assert simulation.store(simulation.coordinator.close_cohort()).aborted is None


def test_the_coordinator_waits_before_it_blames(simulation: Simulation) -> None:
    submitted(simulation)
    simulation.acknowledge(NAMES[:3])
    for step in (simulation.coordinator.close_cohort, simulation.coordinator.abort):
        with pytest.raises(Misuse, match="1 acknowledgements are missing; wait"):
            step()
    simulation.clock += simulation.waits.quorum
    simulation.submit("client-00")  # again: the same bytes, and nothing new to be acknowledged
    assert simulation.store(simulation.coordinator.close_cohort()).aborted == "no-quorum"
    simulation.checkpoint()
    assert simulation.play_round().aborted is None


def test_a_clock_that_was_ahead_stops_nobody(simulation: Simulation) -> None:
    """Set right in the middle of a round, it makes the wait begin again, once: for the coordinator and for trustees."""
    ahead = 365 * DAY
    simulation.clock += ahead
    submitted(simulation)
    simulation.checkpoint()
    simulation.clock -= ahead
    with pytest.raises(Misuse, match=f"wait {simulation.waits.quorum} seconds"):
        simulation.coordinator.close_cohort()
    simulation.clock += simulation.waits.quorum
    assert simulation.store(simulation.coordinator.close_cohort()).aborted == "no-quorum"
    note = simulation.coordinator.checkpoint()
    for name in NAMES:
        assert rejected(lambda name=name: simulation.observe(name, note)) == "quorum-wait"  # type: ignore[misc]  # mypy infers no such lambda
    simulation.clock += simulation.waits.quorum
    simulation.checkpoint()
    assert simulation.play_round().aborted is None


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Simulation]:
    """Nobody waits for acknowledgements; a round is open, everybody has submitted, and too few have acknowledged."""
    simulation = Simulation(tmp_path, Setting())
    simulation.waits = replace(simulation.waits, quorum=0)
    for name in NAMES:
        simulation.restart_trustee(name)
    simulation.restart_coordinator()
    simulation.start()
    submitted(simulation)
    simulation.acknowledge(NAMES[:3])
    yield simulation
    simulation.writer.close()


@pytest.mark.parametrize("back", [0, 1000])
def test_where_nobody_waits_nobody_is_late_and_a_clock_may_be_set_back(impatient: Simulation, back: int) -> None:
    impatient.clock -= back
    assert impatient.close_cohort() == "no-quorum"
    assert impatient.play_round().aborted is None


def test_a_restarted_coordinator_waits_again(simulation: Simulation) -> None:
    submitted(simulation)
    simulation.acknowledge(NAMES[:3])
    simulation.clock += simulation.waits.quorum
    simulation.restart_coordinator()
    with pytest.raises(Misuse, match="wait"):
        simulation.coordinator.close_cohort()
    simulation.clock += simulation.waits.quorum
    assert simulation.coordinator.close_cohort().aborted == "no-quorum"


def test_too_few_submissions_is_no_way_around_the_wait(simulation: Simulation) -> None:
    """With fewer than t acknowledgements nobody knows how few are valid, unless too few clients submitted."""
    simulation.open_round()
    simulation.submit("client-00")
    current = current_of(simulation)
    few = fork(simulation, simulation.coordinator.size)
    message = RoundAborted("simulated", 1, current.entry, None, "too-few-submissions", ())
    few.append(message)
    simulation.submit("client-01")
    enough = fork(simulation, simulation.coordinator.size)
    enough.append(message)
    state = MemoryStore()
    state._values = dict(simulation.stores["trustee-2"]._values)
    assert rejected(lambda: enough.shown_to(simulation.trustees["trustee-2"])) == "abort"
    assert few.shown_to(simulation.trustee_on(state, "trustee-2"))
