"""Real processes, each with its own key and directory, that meet in nothing but a public directory."""

from __future__ import annotations

import signal
from pathlib import Path

from auditor import audit
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import CohortClosed, RoundClosed
from tests.verifl.exchange.consortium import CLIENTS, TRUSTEES, gathered, run_in_one_process


def models(transcript: Path) -> list[bytes]:
    """The hash of the model after each round that closed."""
    reader = TranscriptReader(transcript)
    messages = (open_envelope(entry).message for entry in reader.entries(0, reader.size))
    return [message.model for message in messages if isinstance(message, RoundClosed)]


def cohorts(transcript: Path) -> list[tuple[int, tuple[str, ...]]]:
    """How many clients were in each cohort, and which trustees were asked to release."""
    reader = TranscriptReader(transcript)
    messages = (open_envelope(entry).message for entry in reader.entries(0, reader.size))
    return [(len(each.accepted), each.trustees) for each in messages if isinstance(each, CohortClosed)]


def test_two_rounds_with_a_trustee_off_and_the_coordinator_killed(tmp_path: Path) -> None:
    with gathered(tmp_path) as consortium:
        alone = run_in_one_process(consortium)
        consortium.public.mkdir()
        parties = ("coordinator", *CLIENTS, *TRUSTEES[:2])
        for name in parties:
            consortium.start(name)
        consortium.wait(lambda: consortium.asked_for("submissions") == 2)
        assert consortium.stop("coordinator", signal.SIGKILL) == -signal.SIGKILL
        consortium.start("coordinator")
        consortium.wait(
            lambda: "coordinator" in consortium.running and consortium.running["coordinator"].poll() is not None
        )
        assert consortium.end("coordinator") == 0
        consortium.wait(lambda: all((consortium.home(name) / "receipts/round-2.cbor").exists() for name in CLIENTS))
        assert {name: consortium.stop(name) for name in (*CLIENTS, *TRUSTEES[:2])} == dict.fromkeys(parties[1:], 0)
        transcript = consortium.public / "transcript"
        assert audit(transcript, consortium.policy).accepted
        assert cohorts(transcript) == [(3, TRUSTEES[:2])] * 2
        assert models(transcript) == models(alone.transcript)
        written = (consortium.home("coordinator") / "model.safetensors").read_bytes()
        assert written == alone.model.read_bytes()
        assert not [each for name in parties for each in consortium.events(name, "refused")]
        assert not (consortium.public / "exchange/proposal").exists()
