"""Trustees whose time for a round's secrets is over, by their own clocks, while a run waits: the round closes without
them, or is aborted and repeated, and the run goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import audit
from protocols.log.writer import DiskWatch
from protocols.rounds.evidence import Evidence
from protocols.rounds.waits import DAY, Waits
from tests.verifl.failing import Killed, Line, lines
from verifl import Config, Federation
from verifl.agents.client import ClientAgent
from verifl.agents.clock import ONE_PROCESS, CosignatureClock
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.base import Parties, Session
from verifl.carriers.company import Company
from verifl.carriers.in_process import InProcess
from verifl.federation import FederationResult
from verifl.progress import NoProgress

TRUSTEES = ("trustee-1", "trustee-2", "trustee-3", "trustee-4")  # three of them open a sum
BEGINNING = 1_700_000_000
LATER = ONE_PROCESS.secrets  # 30 days
SAID = f"has erased what it had of this round, which it keeps for {LATER // DAY} days"


class Notes(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Years:
    """A run whose trustees each have a clock of their own, and how far it is ahead of the others'."""

    def __init__(self, out: Path) -> None:
        self.out, self.ahead, self.notes = out, defaultdict[str, int](int), Notes()
        self.seen: list[str] = []  # steps on disk

    def cast(
        self,
        session: Session,
        parties: Parties,
        evidence: Mapping[str, Evidence],
        clock: CosignatureClock,
        watch: DiskWatch,
    ) -> Company:
        """As honest parties, but for the clocks."""
        pinned, rand = session.pinned, session.rand
        return Company(
            {
                name: TrusteeAgent.open(pinned, party, self.waits(name), clock, evidence[name], rand, watch)
                for name, party in parties.trustees.items()
            },
            {
                name: ClientAgent.open(pinned, party, session.training, evidence[name], rand, watch)
                for name, party in parties.clients.items()
            },
        )

    def waits(self, name: str) -> Waits:
        return replace(ONE_PROCESS, clock=lambda: BEGINNING + self.ahead[name])

    def run(self, until: str = "", nth: int = 1, then: Mapping[str, int] | None = None) -> FederationResult:
        """Two rounds. At the nth step of this description the process is killed, or these clocks go ahead."""

        def step(text: str) -> None:
            self.seen.append(text)
            if text == until and self.seen.count(until) == nth:
                if then is None:
                    raise Killed
                self.ahead.update(then)

        config = Config.of(
            federation={"rounds": 2, "seed": 5},
            trustees={"count": 4, "corrupt": 1, "threshold": 3},
            update={"encryption_proof": False},
            limits={"min_cohort": 3, "max_aborts": 3},
        )
        carrier = InProcess(step, self.cast)
        return Federation(Line(), config, self.out, device="cpu", carrier=carrier, progress=self.notes).run(resume=True)

    def kill(self, until: str, nth: int) -> None:
        with pytest.raises(Killed):
            self.run(until, nth)


@pytest.fixture
def years(tmp_path: Path) -> Years:
    return Years(tmp_path / "out")


def kept(out: Path, name: str) -> set[str]:
    """What a trustee has of the rounds that are not over."""
    store = out / "state" / "trustees" / name / "store"
    keys = {bytes.fromhex(path.stem).decode() for path in store.glob("*.value")}
    return {key for key in keys if key.startswith(("round-key/", "share/"))}


MOMENTS = {"before it acknowledges": ("write ack/1", 1), "before it releases": ("write release/1", 1)}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("killed", [True, False])
def test_a_round_closes_without_a_trustee_whose_secrets_expired(years: Years, moment: str, killed: bool) -> None:
    """In a run that was killed and is resumed a month later, and in one whose clock goes ahead under it."""
    until, nth = MOMENTS[moment]
    if killed:
        years.kill(until, nth)
        years.ahead["trustee-4"] = LATER
        result = years.run()
    else:
        result = years.run(until, nth, {"trustee-4": LATER})
    assert [each.aborted for each in result.rounds] == [None, None]
    assert f"round 1: trustee-4 {SAID}" in years.notes.notes
    assert ["trustee-4" in each.trustees for each in result.rounds] == [False, True]
    assert audit(result.transcript, result.policy).accepted
    assert [kept(years.out, name) for name in TRUSTEES] == [set()] * 4


@pytest.mark.parametrize(
    ("until", "reason", "expired"),
    [
        ("write answer", "no-quorum", TRUSTEES[2:]),
        ("write ack/1", "no-quorum", TRUSTEES),
        ("write release/1", "missing-releases", TRUSTEES[2:]),
        ("write release/1", "missing-releases", TRUSTEES),
    ],
)
def test_with_too_few_others_the_round_is_aborted_and_repeated(
    years: Years, until: str, reason: str, expired: tuple[str, ...]
) -> None:
    years.kill(until, 1)
    for name in expired:
        years.ahead[name] = LATER
    result = years.run()
    assert [each.aborted for each in result.rounds] == [reason, None, None]
    assert [each.closed for each in result.rounds] == [0, 1, 2]
    assert [note for note in years.notes.notes if SAID in note] == [f"round 1: {name} {SAID}" for name in expired]
    assert [each["aborted"] for each in lines(years.out)] == [reason, None, None]
    assert audit(result.transcript, result.policy).accepted
    assert [kept(years.out, name) for name in TRUSTEES] == [set()] * 4


def test_what_was_released_before_counts_after_it(years: Years) -> None:
    """All four release, the third and fourth after a kill and a month: what the others said is in the log or is said
    again, and two are too few."""
    years.kill("write release/1", 3)
    years.ahead.update(dict.fromkeys(TRUSTEES, LATER))
    result = years.run()
    assert [each.aborted for each in result.rounds] == ["missing-releases", None, None]
    assert result.rounds[0].trustees == ("trustee-1", "trustee-2")
    assert audit(result.transcript, result.policy).accepted


def test_a_second_expiry_in_the_repetition_is_an_abort_too(years: Years) -> None:
    years.kill("write release/1", 1)
    years.ahead.update(dict.fromkeys(TRUSTEES, LATER))
    years.kill("write release/2", 1)
    years.ahead.update(dict.fromkeys(TRUSTEES, 2 * LATER))
    result = years.run()
    assert [each.aborted for each in result.rounds] == ["missing-releases", "missing-releases", None, None]
    assert audit(result.transcript, result.policy).accepted
