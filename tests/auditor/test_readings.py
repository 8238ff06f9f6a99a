"""What could be true of submissions that cannot be judged: bounds, against all readings one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor import Kind, Outcome, audit
from auditor.checks.readings import Doubtful, Readings
from protocols.cohorts import Judged, choose
from protocols.envelopes import open_envelope, open_policy
from protocols.log.tiles import blob_path
from protocols.messages import CohortClosed, Dispute, MissingParty, RoundAborted, ShareAck, Submission
from protocols.noise_trustees import TRUSTEES, makes_cohort
from protocols.reasons import DUPLICATE, INVALID_PROOF, REPLAYED
from tests import retries
from tests.adversaries import resigned, with_bad_ciphertext, with_bad_proof
from tests.auditor.forge import Forge
from tests.auditor.test_gaps import without
from tests.protocols.noisy_policies import BUDGET
from tests.simulator import Setting, Simulation, identity_of, make_policy
from tests.spelling import answering

POLICY, _ = open_policy(make_policy(Setting(trustees=3, threshold=2, corrupt=0, min_cohort=2, max_cohort=3))[0])
NAMES = tuple(member.id for member in POLICY.trustees)
CLIENTS = "abcdef"
_PROVED = Setting(trustees=3, threshold=2, corrupt=0, honest=1, encryption_proof=True, by=TRUSTEES, budget=BUDGET)
TRUSTED, _ = open_policy(make_policy(_PROVED)[0])  # the noise of one of three is enough


def true_reasons(given: Readings) -> set[str]:
    """In any reading, by the rule itself."""
    faults = [_faults(each) for each in given.submissions]
    true = set()
    for reading in product(*faults):
        judged = [
            Judged(each.index, each.client, fault) for each, fault in zip(given.submissions, reading, strict=True)
        ]
        choice = choose(given.policy, bytes(32), judged, given.acks, given.earlier)
        clients = {each.index: each.client for each in given.submissions}
        if makes_cohort(given.policy, [clients[index] for index in choice.accepted]):
            continue
        unanswered = len(given.acks) < given.policy.threshold
        if choice.suppressed:
            true.add("differencing")
        elif not unanswered or not makes_cohort(given.policy, set(clients.values())):
            true.add("too-few-submissions")
    return true


def _faults(each: Doubtful) -> list[str | None]:
    if not each.unread:
        return [each.fault]
    return [None, INVALID_PROOF, REPLAYED] if each.copied else [None, INVALID_PROOF]


def possible(given: Readings) -> set[str]:
    too_few = {"too-few-submissions"} if given.may_be_too_few() else set()
    return too_few | ({"differencing"} if given.may_be_differencing() else set())


@st.composite
def rounds(draw: st.DrawFn) -> Readings:
    trusted = draw(st.booleans())
    clients = draw(st.lists(st.sampled_from([*CLIENTS, *NAMES] if trusted else CLIENTS), max_size=6))
    submissions, seen = [], set[str]()
    for index, client in enumerate(clients):
        fault = DUPLICATE if client in seen else draw(st.sampled_from([None, None, None, INVALID_PROOF, REPLAYED]))
        unread = fault is None and draw(st.booleans())
        copied = unread and draw(st.integers(0, 3)) == 0
        submissions.append(Doubtful(index, client, fault, unread, copied, noise=client in NAMES))
        seen.add(client)
    acks = {}
    for name in NAMES[: draw(st.integers(1, 3))]:
        held = [index for index in range(len(clients)) if draw(st.integers(0, 5))]
        disputed = tuple(
            Dispute(index, "share-opening") for index in range(len(clients)) if not draw(st.integers(0, 7))
        )
        acks[name] = ShareAck("simulated", 1, bytes(32), name, *answering(0, held, disputed), bytes(32))
    earlier = draw(st.none() | st.sets(st.sampled_from(CLIENTS), min_size=2))
    least, most = draw(st.sampled_from([(2, 3), (2, 6), (3, 6)]))
    policy = TRUSTED if trusted else replace(POLICY, min_cohort=least, max_cohort=most)
    return Readings(policy, submissions, acks, earlier, recent=False)


@given(rounds())
@settings(max_examples=400, deadline=None)
def test_what_is_true_in_a_reading_is_never_held_impossible(given: Readings) -> None:
    assert true_reasons(given) <= possible(given)


@given(rounds())
@settings(max_examples=200, deadline=None)
def test_too_few_is_exact_where_everybody_fits(given: Readings) -> None:
    wide = replace(given, policy=replace(given.policy, max_cohort=16))
    assert wide.may_be_too_few() == ("too-few-submissions" in true_reasons(wide))


def made(count: int, unread: Sequence[int] = (), silent: Sequence[int] = (), **changes: object) -> Readings:
    """So many submissions, all acknowledged but those in `silent`."""
    submissions = [Doubtful(i, CLIENTS[i], None, i in unread, copied=False) for i in range(count)]
    held = tuple(index for index in range(count) if index not in silent)
    acks = {name: ShareAck("simulated", 1, bytes(32), name, *answering(0, held), bytes(32)) for name in NAMES}
    return replace(Readings(POLICY, submissions, acks, None, recent=False), **changes)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (made(3, unread=[0]), set()),  # two are valid, whatever the third is
        (made(2, unread=[0]), {"too-few-submissions"}),
        (made(2, unread=[0], silent=[0]), {"too-few-submissions"}),
        (made(4, unread=[0, 1], silent=[0, 1]), {"too-few-submissions"}),  # they may take the room of the others
        (made(4, unread=[0], silent=[0]), set()),
        (made(4, unread=[0, 1], silent=[0, 1], policy=replace(POLICY, max_cohort=4)), set()),
        (made(3, unread=[0], earlier={"a", "b", "c"}), set()),  # valid, or exempt
        (made(3, unread=[0], earlier={"b", "c", "d"}), {"differencing"}),
        (made(3, unread=[0], earlier=set("bcdef")), set()),  # at least as many stay as min_cohort
        (made(3, unread=[0], recent=True), {"differencing"}),
    ],
)
def test_examples(given: Readings, expected: set[str]) -> None:
    assert possible(given) == expected
    assert given.recent or true_reasons(given) == expected


# ---- the same in whole transcripts ----


def spoilt(forged: Forge, path: Path, number: int, clients: Sequence[str]) -> Path:
    """The transcript without the proofs of these clients in this round."""
    written = forged.write(path)
    for slot in forged.slots:
        message = slot.message
        if isinstance(message, Submission) and message.round == number and message.client in clients:
            (written / blob_path(message.proof)).unlink(missing_ok=True)
    return written


def aborted_in(forged: Forge, number: int, reason: str, missing: tuple[MissingParty, ...] = ()) -> None:
    """This round aborted in the place of CohortClosed."""
    position = forged.find(CohortClosed, number)
    opened = forged.message(position).round_open
    forged.cut(position)
    forged.insert(position, RoundAborted("simulated", number, opened, None, reason, missing))


@pytest.mark.parametrize(
    ("number", "reason", "gone", "kind"),
    [
        (1, "too-few-submissions", ["client-00"], Kind.BROKEN),  # of 01, 02 and 03 two are enough
        (1, "too-few-submissions", ["client-00", "client-01"], Kind.BROKEN),
        (1, "too-few-submissions", ["client-00", "client-01", "client-02"], Kind.UNJUDGED),
        (1, "differencing", ["client-00", "client-01", "client-02"], Kind.BROKEN),  # no cohort was opened before
        (3, "differencing", ["client-00"], Kind.BROKEN),  # whoever leaves, enough stay
        (3, "too-few-submissions", ["client-00"], Kind.BROKEN),
        (3, "too-few-submissions", [f"client-0{number}" for number in range(5)], Kind.UNJUDGED),
    ],
)
def test_a_false_abort_that_no_reading_makes_true(
    number: int, reason: str, gone: list[str], kind: Kind, forge, tmp_path: Path
) -> None:
    forged = forge("eventful")
    aborted_in(forged, number, reason)
    report = audit(spoilt(forged, tmp_path / "t", number, gone), forged.policy_data)
    (finding,) = report.check("I8").findings
    assert (finding.where.rpartition(", ")[2], finding.found, finding.kind) == ("reason", reason, kind)
    assert report.outcome is (Outcome.BROKEN if kind is Kind.BROKEN else Outcome.DAMAGED)


def test_whom_an_abort_blames_although_nobody_is_the_cause(forge, tmp_path: Path) -> None:
    """Whether the reason is true cannot be judged; that it has no culprit can."""
    forged = forge("eventful")
    aborted_in(forged, 1, "too-few-submissions", (MissingParty("trustee-0", "no-acknowledgement"),))
    path = spoilt(forged, tmp_path / "t", 1, ["client-00", "client-01", "client-02"])
    report = audit(path, forged.policy_data)
    found = {finding.where.rpartition(", ")[2]: finding.kind for finding in report.check("I8").findings}
    assert found == {"reason": Kind.UNJUDGED, "missing": Kind.BROKEN}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    """Three of four are needed, two have no good proof."""
    simulation = Simulation(tmp_path_factory.mktemp("short"), Setting(clients=4, min_cohort=3, dimension=8))
    simulation.start()
    simulation.open_round()
    for name in simulation.clients:
        package = simulation.package(name)
        lies = name in ("client-01", "client-03")
        simulation.store(simulation.coordinator.receive(with_bad_proof(simulation, package) if lies else package))
    simulation.acknowledge()
    assert simulation.close_cohort() == "too-few-submissions"
    simulation.checkpoint()
    yield simulation
    simulation.writer.close()


GONE = [["client-00"], ["client-01"], ["client-01", "client-03"], ["client-00", "client-03"]]


@pytest.mark.parametrize("gone", GONE, ids="+".join)
def test_an_honest_abort_is_no_broken_rule_whatever_is_missing(
    gone: list[str], honest: Simulation, tmp_path: Path
) -> None:
    """Without the two bad proofs it looks as if all four were good: they may have been."""
    forged = Forge.load(honest.path, honest.pinned.policy, honest.policy_data, identity_of)
    report = audit(spoilt(forged, tmp_path / "t", 1, gone), forged.policy_data)
    assert (report.outcome, report.broken) == (Outcome.DAMAGED, ())
    assert [finding.kind for finding in report.check("I8").findings] == [Kind.UNJUDGED] * bool(
        {"client-01", "client-03"}.intersection(gone)
    )


def repeated_beside_a_replay(directory: Path) -> Simulation:
    """A repetition in which one client copies another's submission, unreadably: a replay exempts nobody, so others of
    the cohort before leave with it."""
    simulation = Simulation(directory, Setting(clients=5, dimension=8))
    simulation.start()
    assert simulation.play_round(silent=retries.CORRUPT).aborted == "missing-releases"
    simulation.open_round()
    copied = simulation.package("client-00")
    for name in ("client-00", "client-02", "client-03", "client-04"):
        simulation.submit(name, simulation.updates[2].get(name))
    simulation.store(simulation.coordinator.receive(resigned(simulation, copied, {}, client="client-01")))
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert len(simulation.finish().accepted) == 3
    return simulation


def full_beside_a_fault(directory: Path) -> Simulation:
    """Strictly, a full cohort; then one of it with a bad ciphertext, in whose place is one who is new, and waits."""
    simulation = Simulation(directory, Setting(clients=5, dimension=8, max_cohort=4, strict_consecutive=True))
    simulation.start()
    assert len(simulation.play_round(clients=list(simulation.clients)[:4]).accepted) == 4
    simulation.open_round()
    package = with_bad_ciphertext(simulation, simulation.package("client-00"))
    simulation.store(simulation.coordinator.receive(package))
    for name in list(simulation.clients)[1:]:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().accepted == ("client-01", "client-02", "client-03")
    return simulation


@pytest.mark.parametrize(
    ("history", "client", "field", "without_cohort"),
    [
        (repeated_beside_a_replay, "client-00", "share_commitments", False),  # nobody can tell whether it was copied
        (repeated_beside_a_replay, "client-00", "share_commitments", True),
        (full_beside_a_fault, "client-00", "ciphertext", False),
        (full_beside_a_fault, "client-00", "ciphertext", True),
    ],
)
def test_an_honest_cohort_is_no_broken_rule_whatever_is_missing(
    history: Callable[[Path], Simulation], client: str, field: str, without_cohort: bool, tmp_path: Path
) -> None:
    """Where a verdict cannot be judged, what follows from it is compared with what follows from the log's own word;
    also where, besides, the cohort before is unknown."""
    simulation = history(tmp_path)
    simulation.writer.close()
    assert audit(simulation.path, simulation.policy_data).accepted
    messages = [open_envelope(each).message for each in simulation.coordinator.entries(0, simulation.coordinator.size)]
    (gone,) = [each for each in messages if isinstance(each, Submission) and (each.round, each.client) == (2, client)]
    (simulation.path / blob_path(getattr(gone, field))).unlink()
    if without_cohort:
        without(simulation.path, next(index for index, each in enumerate(messages) if isinstance(each, CohortClosed)))
    report = audit(simulation.path, simulation.policy_data)
    assert (report.outcome, report.broken) == (Outcome.DAMAGED, ())
