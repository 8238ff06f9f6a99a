"""A trustee from cron: it looks once, answers what is asked, and ends; how long it keeps what is secret, it is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.key_files import write_key
from protocols.rounds.answers import answer_limit, decode_answer
from protocols.rounds.conductor import Stage
from protocols.rounds.exchange import RoundKeyOffer
from protocols.rounds.waits import DAY
from tests.verifl.carriers.exchange.consortium import ROOT
from tests.verifl.carriers.exchange.stepping import Meeting
from verifl.agents import clock
from verifl.carriers.exchange.public import INBOX
from verifl.commands.root import invoke

NAME = "trustee-3"


class Crontab:
    """A meeting at which one trustee is a command that is run now and then."""

    def __init__(self, folder: Path) -> None:
        self.meeting = Meeting(folder)
        home = self.meeting.home(NAME)
        home.path.mkdir(parents=True, mode=0o700)
        write_key(home.identity, self.meeting.keys[NAME][0])
        self.meeting.convene()
        self.meeting.present.pop(NAME)
        places = ("--public", self.meeting.public.path, "--state", home.path, "--policy", self.meeting.policy_file)
        self.command = ["trustee", "run", "--once", *map(str, places)]

    def answers(self) -> dict[str, bytes]:
        """What is in its inbox, by name."""
        return {path.name: path.read_bytes() for path in (self.meeting.public.path / INBOX / NAME).iterdir()}

    def offered(self, *more: str) -> bytes:
        """The round key that it offers."""
        for path in (self.meeting.public.path / INBOX / NAME).iterdir():
            path.unlink()
        assert invoke([*self.command, *more]) == 0
        [data] = self.answers().values()
        answer = decode_answer(data, answer_limit(self.meeting.pinned, NAME)).answer
        assert isinstance(answer, RoundKeyOffer)
        return answer.entry


@pytest.fixture
def crontab(tmp_path: Path) -> Iterator[Crontab]:
    made = Crontab(tmp_path)
    yield made
    made.meeting.close()


def test_a_process_that_looks_once(crontab: Crontab) -> None:
    """It answers what it is asked and ends with 0, as it does where nothing is asked; what it refuses is status 1."""

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "verifl", *crontab.command]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    crontab.meeting.until_asked(Stage.KEYS)
    first = run()
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    answers = crontab.answers()
    assert len(answers) == 1
    assert run().returncode == 0
    assert crontab.answers() == answers  # the same bytes: a restart says nothing else
    crontab.meeting.public.withdraw()
    assert run().returncode == 0
    (crontab.meeting.public.path / "exchange/proposal").write_bytes(b"nonsense")
    refused = run()
    assert refused.returncode == 1
    [line] = [each for each in refused.stderr.splitlines() if each.startswith("verifl: ")]
    assert "expected" in line


def test_what_it_is_told_to_keep_for_how_long(crontab: Crontab, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.seconds()
    monkeypatch.setattr(clock, "seconds", lambda: now)
    crontab.meeting.until_asked(Stage.KEYS)
    first = crontab.offered()
    now += DAY
    assert crontab.offered("--keep-secrets", str(DAY + 1)) == first
    assert crontab.offered() == first  # three days
    second = crontab.offered("--keep-secrets", str(DAY))
    assert second != first
    now += 3 * DAY
    assert crontab.offered() not in (first, second)
