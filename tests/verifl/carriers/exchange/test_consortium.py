"""Real processes, each with its own key and directory, that meet in nothing but a public directory."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from safetensors.torch import load_file

from auditor import audit
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import CohortClosed, RoundClosed
from tests.verifl.agents.alone import strangers
from tests.verifl.carriers.exchange.consortium import CLIENTS, TRUSTEES, Consortium, gathered, run_in_one_process
from verifl.carriers.exchange.public import INBOX
from verifl.commands.root import invoke
from verifl.federation import FederationResult


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


def status(consortium: Consortium, capsys: pytest.CaptureFixture[str], *parties: str) -> dict[str, Any]:
    """What `verifl status` says while everybody is at work: of the federation, and of these parties."""
    told: dict[str, Any] = {}
    for name in parties or ("",):
        own = ["--state", str(consortium.home(name))] if name else []
        place = [str(consortium.public), "--policy", str(consortium.policy), *own]
        assert invoke(["status", *place, "--format", "json"]) == 0, capsys.readouterr().err
        document = json.loads(capsys.readouterr().out)
        told |= document["federation"] | ({name: document["state"]} if name else {})
    return told


def scraped(port: int) -> dict[str, float]:
    """What a process says to Prometheus: values by name and labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    return {
        f"{sample.name}{''.join(sorted(sample.labels.values()))}": sample.value
        for family in families
        for sample in family.samples
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def settled(consortium: Consortium) -> bool:
    """Whether the coordinator has ended."""
    return consortium.running["coordinator"].poll() is not None


def check_outcome(consortium: Consortium, alone: FederationResult) -> None:
    """The audit accepts, nothing was refused, and the models are those of the run in one process."""
    transcript = consortium.public / "transcript"
    assert audit(transcript, consortium.policy).accepted
    assert models(transcript) == models(alone.transcript)
    written, expected = (load_file(path) for path in (consortium.home("coordinator") / alone.model.name, alone.model))
    assert {name: tensor.numpy().tobytes() for name, tensor in written.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in expected.items()
    }
    assert not consortium.events("coordinator", "refused")
    assert not (consortium.public / "exchange/proposal").exists()


def test_two_rounds_with_a_trustee_off_and_parties_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gathered(tmp_path) as consortium:
        alone, here = run_in_one_process(consortium), TRUSTEES[:2]
        consortium.start("coordinator")
        consortium.wait(lambda: consortium.asked_for("cosignatures") == 1)
        assert consortium.stop("coordinator") == 0  # by SIGTERM, with a checkpoint shown and not published
        asking = status(consortium, capsys)["asking"]
        assert (asking["stage"], tuple(asking["awaited"])) == ("cosignatures", TRUSTEES)
        ports = {name: free_port() for name in ("coordinator", CLIENTS[0], here[1])}
        for name in ("coordinator", *CLIENTS, *here):
            consortium.start(name, *(["--metrics-port", str(ports[name])] if name in ports else []))
        consortium.wait(lambda: consortium.asked_for("releases") == 1)
        check_metrics({name: scraped(port) for name, port in ports.items()}, here[1])
        assert status(consortium, capsys, *here, *CLIENTS)[CLIENTS[0]]["said"] == "its submission to round 1"
        consortium.stop(here[0], signal.SIGKILL)
        consortium.start(here[0])
        consortium.wait(lambda: consortium.asked_for("submissions") == 2)
        assert consortium.stop("coordinator", signal.SIGKILL) == -signal.SIGKILL
        consortium.start("coordinator")
        consortium.wait(lambda: settled(consortium))
        assert consortium.end("coordinator") == 0
        consortium.wait(lambda: all((consortium.home(name) / "receipts/round-2.cbor").exists() for name in CLIENTS))
        assert [consortium.stop(name) for name in (*CLIENTS, *here)] == [0] * 5
        check_outcome(consortium, alone)
        assert not [line for name in ("coordinator", *CLIENTS, *here) for line in consortium.breaches(name)]
        told = status(consortium, capsys, "coordinator", here[1])
        assert (told["asking"], told["rounds"]["closed"], told["coordinator"]["role"]) == (None, 2, "coordinator")
        assert told[here[1]]["said"].startswith("its cosignature of ")
        assert cohorts(consortium.public / "transcript") == [(3, here)] * 2
        for name in ("coordinator", *CLIENTS, *here):
            check_opened(consortium, name)
            check_lengths(consortium, name)


def check_lengths(consortium: Consortium, name: str) -> None:
    """A client's own log says how long its updates were beside the clip norm; nobody else's does, of anybody."""
    told = consortium.events(name, "trained")
    assert {each["client"] for each in told} == ({name} if name in CLIENTS else set())
    for each in told:
        assert each["norm"] > 0
        assert each["used"] == min(each["norm"] / each["clip_norm"], 1.0)
        assert each["kept"] == min(each["clip_norm"] / each["norm"], 1.0)


def check_opened(consortium: Consortium, name: str) -> None:
    """A party's processes opened its own directory, the policy, the public directory, libraries; a client and the
    coordinator their configuration and task; of the inboxes a trustee or client its own alone."""
    paths, folder = consortium.opened(name), consortium.folder
    own = [consortium.home(name), consortium.policy, consortium.public]
    task = [] if name in TRUSTEES else [folder / "config.toml", folder / "task.py"]
    metrics = "socket.bind: "
    assert strangers([path for path in paths if not path.startswith(metrics)], [*own, *task]) == []
    assert str(consortium.home(name) / "identity.pem") in paths
    inboxes = consortium.public / INBOX
    entered = {Path(path).relative_to(inboxes).parts[:1] for path in paths if Path(path).is_relative_to(inboxes)}
    assert name == "coordinator" or entered <= {(name,)}
    if name in TRUSTEES:
        assert consortium.imported(name).isdisjoint({"torch", "flwr", "sklearn"})


def check_metrics(found: dict[str, dict[str, float]], trustee: str) -> None:
    """Of processes that are at the releases of round 1; the coordinator was started again before it."""
    coordinator, client = found["coordinator"], found[CLIENTS[0]]
    assert coordinator["verifl_round"] == 1
    assert coordinator["verifl_stagereleases"] == 1
    assert coordinator["verifl_answers_totalsubmission"] == len(CLIENTS)
    assert coordinator["verifl_answers_totalshare-ack"] == 2
    assert coordinator["verifl_awaited_parties"] <= 2
    assert client["verifl_answers_totalsubmission"] == 1
    assert client["verifl_answer_bytes_total"] * len(CLIENTS) < coordinator["verifl_answer_bytes_total"]
    assert found[trustee]["verifl_answers_totalshare-ack"] == 1
    for values in found.values():
        assert values["verifl_last_look_timestamp_seconds"] >= values["verifl_last_success_timestamp_seconds"] - 60
        assert not [name for name in values if name.startswith("verifl_refusals_total")]


@pytest.mark.exhaustive
def test_the_coordinator_is_killed_in_every_stage(tmp_path: Path) -> None:
    with gathered(tmp_path) as consortium:
        alone = run_in_one_process(consortium)
        for name in ("coordinator", *CLIENTS, *TRUSTEES):
            consortium.start(name)
        for stage in ("cosignatures", "round keys", "submissions", "acknowledgements", "releases"):
            before = consortium.asked_for(stage)
            consortium.wait(lambda stage=stage, before=before: consortium.asked_for(stage) > before)
            consortium.stop("coordinator", signal.SIGKILL)
            consortium.start("coordinator")
        consortium.wait(lambda: settled(consortium))
        assert consortium.end("coordinator") == 0
        check_outcome(consortium, alone)
