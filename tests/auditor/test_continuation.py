"""I14, both auditors: a federation that continues another begins with its audited final model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from auditor import Report, Status, audit
from proofs.errors import Misuse, Rejected
from protocols.continuation import LogEnd, end_of, link_to, require_lawful
from protocols.envelopes import open_envelope, seal
from protocols.hpke import generate_round_key
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import Bundle, decode_bundle, encode_bundle
from protocols.messages import CohortClosed, RoundClosed, RoundKey, RoundOpen
from protocols.noise import carried_budgets
from protocols.policy import FormerFederation, PrivacyBudget
from protocols.reasons import CONTINUED, NO_COHORT
from tests.adversaries import fork
from tests.auditor.forge import Forge
from tests.independent import case
from tests.independent.audit import audit as second_audit
from tests.independent.beginnings import check_link
from tests.independent.encoding import open_policy_file
from tests.seeded import seeded
from tests.simulator import Setting, Simulation, identity_of

SMALL = Setting(clients=4, trustees=3, threshold=2, corrupt=0, dimension=8, federation="first")


def rejected(call: Callable[[], object]) -> str:
    """The check that a call fails."""
    with pytest.raises(Rejected) as caught:
        call()
    return caught.value.check


def first_audit(path: Path, policy: Path, *previous: Path) -> Report:
    """In the place of the second auditor's own audit of a former transcript, which takes long."""
    return audit(path, policy, previous=previous)


def statuses(path: Path, policy: bytes, *previous: Path) -> tuple[Report, str]:
    """The audit, and what the second auditor finds of the link."""
    second = case.Report()
    check_link(second, open_policy_file(policy).body, previous, first_audit)  # type: ignore[arg-type]  # all that is asked of it is whether it accepts
    return audit(path, policy, previous=previous), second.status("I14")


def failed(path: Path, policy: bytes, *previous: Path) -> set[str]:
    """The checks that fail; on the link both auditors agree."""
    report, second = statuses(path, policy, *previous)
    found = {each.id for each in report.checks if each.status is Status.FAIL}
    assert ("I14" in found) == (second == "fail")
    return found


def finish(simulation: Simulation, rounds: int = 1, *, close: bool = True) -> Simulation:
    simulation.start()
    for _ in range(rounds):
        simulation.play_round()
    if close:
        simulation.end()
    simulation.writer.close()
    return simulation


def end(simulation: Simulation) -> LogEnd:
    reader = TranscriptReader(simulation.path)
    return end_of(reader.entries(0, reader.size), reader.size)


def continued(folder: Path, former: Simulation, **changes: object) -> Simulation:
    """A federation that begins with the final model of another."""
    found = end(former)
    model = np.frombuffer(former.blob(found.model, 64), dtype="<f8")
    link = link_to(former.pinned.policy, former.pinned.hash, found)
    name = f"after-{former.setting.federation}"
    setting = replace(SMALL, federation=name, previous=link, start=tuple(model), **changes)  # type: ignore[arg-type]  # of Setting
    return finish(Simulation(folder, setting))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> list[Simulation]:
    """Three federations, each from the final model of the one before; the second has other members."""
    first = finish(Simulation(tmp_path_factory.mktemp("one"), SMALL), rounds=2)
    second = continued(tmp_path_factory.mktemp("two"), first, clients=5, seed=3, max_cohort=5)
    return [first, second, continued(tmp_path_factory.mktemp("three"), second)]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A federation of one round that was closed so that another may go on."""
    return finish(Simulation(tmp_path_factory.mktemp("closed"), SMALL))


def link(report: Report) -> tuple[str, str]:
    (check,) = (each for each in report.checks if each.id == "I14")
    return check.status.value, check.reason


def test_a_chain_of_three(chain: list[Simulation]) -> None:
    first, second, third = chain
    for simulation, previous in ((first, []), (second, [first]), (third, [second, first])):
        report, others = statuses(simulation.path, simulation.policy_data, *(each.path for each in previous))
        assert report.accepted
        assert link(report)[0] == others == ("pass" if previous else "not-applicable")
        assert not any(each.notes for each in report.checks if each.id == "I14")
    report, others = statuses(third.path, third.policy_data, second.path)
    assert report.accepted
    assert (link(report)[0], others) == ("skipped", "skipped")
    expected = "the transcript of first, which after-first continues, was not given by --previous: what was spent in it"
    assert link(report)[1].startswith(expected)
    assert not audit(third.path, third.policy_data, required=["I14"], previous=[second.path]).accepted


def test_without_the_former_transcript_it_is_said_what_is_not_checked(chain: list[Simulation]) -> None:
    report, others = statuses(chain[1].path, chain[1].policy_data)
    assert report.accepted
    assert (link(report)[0], others) == ("skipped", "skipped")
    assert "that its audited final model is the initial model here is not checked" in link(report)[1]
    assert not audit(chain[1].path, chain[1].policy_data, required=["I14"]).accepted


def test_a_federation_that_continues_none_has_no_former_one(chain: list[Simulation]) -> None:
    first, second, third = chain
    with pytest.raises(Misuse, match="first continues no federation"):
        audit(first.path, first.policy_data, previous=[second.path])
    with pytest.raises(Misuse, match="first continues no federation"):
        audit(second.path, second.policy_data, previous=[first.path, third.path])


def words(report: Report) -> list[tuple[str, str | None]]:
    """The name of each rule that I14 finds broken, and who answers for it."""
    return [
        (str(each.expected).partition(":")[0], each.by)
        for check in report.checks
        for each in check.findings
        if check.id == "I14"
    ]


def refused(simulation: Simulation, previous: Path) -> list[tuple[str, str | None]]:
    assert failed(simulation.path, simulation.policy_data, previous) == {"I14"}
    return words(audit(simulation.path, simulation.policy_data, previous=[previous]))


def test_another_former_transcript(chain: list[Simulation]) -> None:
    assert refused(chain[1], chain[2].path) == [("previous-policy", None)]


def test_a_former_transcript_that_was_rolled_back(chain: list[Simulation], tmp_path: Path) -> None:
    first = chain[0]
    forged = Forge.load(first.path, first.pinned.policy, first.policy_data, identity_of)
    forged.cut(forged.find(RoundClosed) + 1)
    shorter = forged.write(tmp_path / "shorter")
    assert audit(shorter, first.policy_data).accepted
    assert refused(chain[1], shorter) == [("previous-size", None)]


def test_a_former_transcript_that_is_forked(chain: list[Simulation], tmp_path: Path) -> None:
    other = finish(Simulation(tmp_path, replace(SMALL)), rounds=1, close=False)
    other.restart_coordinator()
    other.play_round(updates={name: other.random_update(f"fork {name}") for name in other.clients})
    other.end()
    other.writer.close()
    assert audit(other.path, other.policy_data).accepted
    assert refused(chain[1], other.path) == [("previous-root", "issuer, or the former coordinator")]


def test_a_former_transcript_that_is_not_accepted(chain: list[Simulation], tmp_path: Path) -> None:
    first = chain[0]
    damaged = tmp_path / "damaged"
    shutil.copytree(first.path, damaged)
    blob = max(damaged.glob("blobs/*/*"), key=lambda path: path.stat().st_size)
    blob.write_bytes(bytes(blob.stat().st_size))
    assert ("an audit that accepts it", None) in refused(chain[1], damaged)


def test_a_former_log_that_goes_on_to_break_a_rule(tmp_path: Path) -> None:
    """The issuer took up an end that was lawful; whoever answers for what came after it, it need not be the issuer."""
    former = finish(Simulation(tmp_path / "former", SMALL))
    following = naming(former, tmp_path / "next", end(former))
    forged = Forge.load(former.path, former.pinned.policy, former.policy_data, identity_of)
    forged.insert(len(forged.slots), forged.message(0))  # a second Genesis, with all signatures
    later = forged.write(tmp_path / "later")
    assert audit(later, former.policy_data).outcome.value == "rule-broken"
    assert refused(following, later) == [("an audit that accepts it", "issuer, or the former coordinator")]
    report = audit(following.path, following.policy_data, previous=[later])
    assert report.check("I14").notes[0].startswith("first went on: its log has")


def test_what_is_put_there_after_the_former_audit_accuses_nobody(
    chain: list[Simulation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that no checkpoint signs, served once the audit of the former transcript is done."""
    first, second = chain[:2]
    served = tmp_path / "served"
    shutil.copytree(first.path, served)

    def then_changed(path: Path, *arguments: object, **named: object) -> Report:
        report = audit(path, *arguments, **named)  # type: ignore[arg-type]  # as they came
        size = TranscriptReader(served).size
        bundle = served / "tile/entries/000.p" / str(size)
        entries = decode_bundle(bundle.read_bytes(), Bundle(0, size))
        closed = next(entry for entry in entries if isinstance(open_envelope(entry).message, CohortClosed))
        open_now = next(entry for entry in entries if isinstance(open_envelope(entry).message, RoundOpen))
        final = replace(open_envelope(open_now).message, model=end(first).model)
        bundle.write_bytes(encode_bundle([*entries[:-2], seal(final, "coordinator", identity_of("x")), closed]))
        if isinstance(reader := named.get("reader"), TranscriptReader):
            reader._bundle = None  # as where the log has several, and the last one read is another
        return report

    monkeypatch.setattr("auditor.auditing.audit", then_changed)
    report = audit(second.path, second.policy_data, previous=[served])
    assert report.outcome.value == "damaged"
    assert [(name, by) for name, by in words(report)] == [("tile-mismatch", None)]


def naming(former: Simulation, folder: Path, found: LogEnd, **changes: object) -> Simulation:
    """A policy that names an end as it is, whatever that is."""
    link = FormerFederation(former.pinned.policy.federation, former.pinned.hash, found.size, found.root)
    model = tuple(np.frombuffer(former.blob(found.model, former.pinned.model_size), dtype="<f8"))
    values = {"federation": "next", "previous": link, "start": model, **changes}
    simulation = Simulation(folder, replace(SMALL, **values))  # type: ignore[arg-type]  # of Setting
    simulation.start()
    simulation.writer.close()
    return simulation


def open_round(simulation: Simulation) -> None:
    simulation.open_round()


def abort_early(simulation: Simulation) -> None:
    simulation.give_up_round()


def abort_late(simulation: Simulation) -> None:
    """A cohort on what is to be the final model, which is never released."""
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.clock += 3600
    simulation.store(simulation.coordinator.abort())
    simulation.settle()


def close_without(simulation: Simulation) -> None:
    """The last round came to nothing before its cohort, and then the federation was closed."""
    abort_early(simulation)
    simulation.end(NO_COHORT)


ENDS: dict[str, tuple[Callable[[Simulation], None], str]] = {
    "a round that is open": (open_round, "previous-end"),
    "a last round that was aborted": (abort_early, "previous-end"),
    "a last round that closed": (lambda _: None, "previous-end"),
    "a federation closed behind a round": (Simulation.end, ""),
    "a federation closed without a cohort": (close_without, ""),
}


@pytest.mark.parametrize("what", ENDS)
def test_ends_that_may_be_taken_up_or_not(tmp_path: Path, what: str) -> None:
    last, name = ENDS[what]
    former = Simulation(tmp_path / "former", SMALL)
    former.start()
    former.play_round()
    last(former)
    former.writer.close()
    found = end(former)
    assert audit(former.path, former.policy_data).accepted
    following = naming(former, tmp_path / "next", found)
    if not name:
        require_lawful(found)
        assert failed(following.path, following.policy_data, former.path) == set()
        return
    assert rejected(lambda: require_lawful(found)) == name
    assert refused(following, former.path) == [(name, "issuer")]


def test_a_cohort_on_the_final_model_is_in_the_way(tmp_path: Path) -> None:
    """Its round was aborted, and so was the repetition; then the federation was closed."""
    former = Simulation(tmp_path / "former", SMALL)
    former.start()
    former.play_round()
    abort_late(former)
    close_without(former)
    former.writer.close()
    assert end(former).opened == (2,)
    assert rejected(lambda: require_lawful(end(former))) == "previous-cohort"
    following = naming(former, tmp_path / "next", end(former))
    assert refused(following, former.path) == [("previous-cohort", "issuer")]


def test_a_federation_that_was_taken_up_before_it_was_closed(tmp_path: Path) -> None:
    """Its charges are not final: it goes on, beside the one that has gone on from it. The issuer who took up what the
    server showed answers for it, whether the whole log is given or what was shown."""
    former = finish(Simulation(tmp_path / "former", SMALL), close=False)
    shown, early = Path(shutil.copytree(former.path, tmp_path / "shown")), end(former)
    following = naming(former, tmp_path / "next", early)
    former.restart_coordinator()
    former.play_round()
    former.end()
    former.writer.close()
    assert audit(former.path, former.policy_data).accepted
    assert refused(following, shown) == [("previous-end", "issuer")]
    assert refused(following, former.path) == [("previous-end", "issuer")]


def test_nobody_goes_on_behind_the_end(closed: Simulation) -> None:
    """Neither the coordinator nor a trustee, whatever it is that comes."""
    trustee = closed.trustees["trustee-0"]
    assert rejected(lambda: trustee.round_key(2)) == "erased"
    assert rejected(lambda: closed.coordinator.close_federation(CONTINUED)) == "order"
    assert closed.coordinator.endings() == ()
    key = RoundKey("first", closed.pinned.hash, 2, "trustee-0", generate_round_key(seeded("late"))[1], None, None)
    for entry in (
        seal(key, "trustee-0", identity_of("trustee-0")),
        closed.revocation("client-00"),
        closed.rotation("client-01"),
    ):
        log = fork(closed, closed.coordinator.size)
        log.entries.append(entry)
        assert rejected(partial(log.shown_to, trustee)) == "order"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"start": tuple([0.5] * 8)}, "previous-model"),
        ({"start": tuple([0.5] * 9), "dimension": 9}, "previous-dimension"),
    ],
)
def test_another_beginning(chain: list[Simulation], tmp_path: Path, changes: dict[str, object], name: str) -> None:
    following = naming(chain[0], tmp_path, end(chain[0]), **changes)
    assert refused(following, chain[0].path) == [(name, "issuer")]


def test_a_third_federation_with_the_name_of_the_first(chain: list[Simulation], tmp_path: Path) -> None:
    """A, B, A: found where the whole line is given."""
    first, second, _ = chain
    again = naming(second, tmp_path, end(second), federation="first")
    line = (second.path, first.path)
    assert failed(again.path, again.policy_data, *line) == {"I14"}
    assert words(audit(again.path, again.policy_data, previous=line)) == [("previous-name", "issuer")]
    assert statuses(again.path, again.policy_data, second.path)[1] == "skipped"


@pytest.mark.parametrize("rotated", [False, True])
def test_a_client_that_is_enrolled_under_another_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rotated: bool
) -> None:
    """With a key that it had where it was charged, from the beginning or since a rotation: it would begin anew."""
    budget = PrivacyBudget(8_000_000, 10_000_000)
    private = {"clients": 3, "dimension": 650, "encryption_proof": True, "max_rounds": 4, "budget": budget}
    former = Simulation(tmp_path / "former", replace(SMALL, **private))  # type: ignore[arg-type]  # of Setting
    former.start()
    if rotated:
        former.change(former.rotation("client-00"))
    former.end()
    former.writer.close()
    found, keys = end(former), {"client-02": former.key_of("client-00"), "client-00": identity_of("another")}
    private["budget"] = replace(budget, former=carried_budgets(former.pinned.policy, found.charges))
    for name in ("same ids", "other ids"):
        if name == "other ids":
            for place in ("settings", "simulator"):
                monkeypatch.setattr(f"tests.{place}.identity_of", lambda who, _=1: keys.get(who, identity_of(who)))
        following = naming(former, tmp_path / name, found, **private)
        if name == "same ids":
            assert failed(following.path, following.policy_data, former.path) == set()
        else:
            assert refused(following, former.path) == [("previous-client", "issuer")]


@pytest.mark.exhaustive
def test_the_whole_second_auditor_agrees_on_a_chain(chain: list[Simulation], tmp_path: Path) -> None:
    for place, simulation in enumerate(chain):
        file = tmp_path / f"{place}.cbor"
        file.write_bytes(simulation.policy_data)
        report = second_audit(simulation.path, file, *(each.path for each in reversed(chain[:place])))
        assert (report.accepted, report.status("I14")) == (True, "pass" if place else "not-applicable")
