"""Real processes: a SuperLink with TLS that authenticates its SuperNodes, and trustees who know nothing of Flower.

Whoever is killed, whenever: the rounds close, and an auditor accepts the one log that there is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from safetensors.numpy import load_file

from auditor.auditing import audit
from tests.required import needs
from tests.verifl.agents.alone import strangers
from tests.verifl.carriers.flower.network import APPS, CLIENTS, GUARDED, TRUSTEES, Network, libraries, network
from verifl.federation import FederationResult

pytestmark = pytest.mark.organisations


@dataclass
class Running:
    """A network whose first two rounds have closed, though the ServerApp was killed while shares of the first were
    verified; and what the in-process carrier made of the same."""

    network: Network
    alone: FederationResult


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    needs("flwr", "nginx")
    with network(Network) as net, ExitStack() as site:
        alone = net.enrol()
        site.enter_context(net.published())
        net.configure()
        net.start_superlink()
        net.register()
        for name in TRUSTEES:
            net.start_trustee(name)
        for name in CLIENTS:
            net.start_node(name)
        net.run(2)
        server_app_at("share-ack")(net)
        net.kill("operator")  # which Flower tells only after a minute that its run is dead
        assert net.closed() == 0
        net.run(2)
        net.wait(net.ended, "superlink", *TRUSTEES, *CLIENTS)
        yield Running(net, alone)


def accepted(net: Network, rounds: int) -> None:
    """As many rounds have closed in the published log, and the auditor accepts it."""
    report = audit(net.transcript, net.policy)
    assert report.accepted, report
    assert net.closed() == rounds


def test_the_model_is_that_of_the_other_carriers(running: Running) -> None:
    net = running.network
    accepted(net, 2)
    expected = load_file(running.alone.model)
    for home in (net.coordinator / "state", *map(net.home, CLIENTS)):  # each client ends with it, too
        found = load_file(home / "model.safetensors")
        assert found.keys() == expected.keys()
        assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


def test_each_client_has_its_receipts_and_nobody_elses_state(running: Running) -> None:
    net = running.network
    for name in CLIENTS:
        home = net.home(name)
        assert sorted(path.name for path in (home / "receipts").iterdir()) == ["round-1.cbor", "round-2.cbor"]
        events = [line for line in net.text(name).splitlines() if '"event": "answered"' in line]
        assert len(events) == 2
        assert all(name in line for line in events)
        lengths = [json.loads(line) for line in net.text(name).splitlines() if '"event": "trained"' in line]
        assert {(each["client"], each["round"]) for each in lengths} == {(name, 1), (name, 2)}
    website = net.website
    assert website is not None
    asked = website.server.requests()
    assert {each.uri.split("/")[3] for each in asked if each.method == "PUT"} == set(TRUSTEES)  # who is a client puts
    assert not [each for each in asked if each.status >= 500]
    refusals = net.coordinator / "state" / "refusals.jsonl"
    refused = [json.loads(line)["party"] for line in refusals.read_text().splitlines()] if refusals.exists() else []
    assert not set(refused) & set(CLIENTS)


def test_each_process_opens_its_own_key_and_state_and_nobody_elses(running: Running) -> None:
    net = running.network
    assert net.website is not None
    site, nodes = net.website, net.folder / "nodes"
    own = {name: [net.home(name), nodes / name, net.authority, site.authority.file] for name in CLIENTS}
    own |= {name: [net.home(name), site.file(name), site.authority.file] for name in TRUSTEES}
    own |= {"superlink": [net.coordinator, net.certificate, net.authority]}
    keys = {name: net.home(name) / "identity.pem" for name in (*CLIENTS, *TRUSTEES)}
    keys |= {"superlink": net.coordinator / "state" / "identity.pem"}
    for name, places in own.items():
        paths = [path for path in net.opened(name) if ": " not in path]
        assert strangers(paths, [*places, net.flower_home(name)]) == [], name
        assert [each for each, key in keys.items() if str(key) in paths] == [name]
        assert libraries(paths) & {"torch", "flwr"} == (set() if name in TRUSTEES else {"torch", "flwr"})


def close_another(net: Network, disturb: Callable[[Network], None], again: bool) -> None:
    """One more round, disturbed; again: the run has to be started a second time."""
    rounds = net.closed() + 1
    net.run(rounds, **({"local-epochs": 200} if disturb is node_while_training else {}))
    disturb(net)
    if again:
        net.kill("operator")
        assert net.closed() < rounds
        net.run(rounds)
    net.wait(net.ended, "superlink", *TRUSTEES, kept=CLIENTS)
    accepted(net, rounds)


def node_while_training(net: Network) -> None:
    before = net.text("client-2").count("client-2 trains")
    net.wait(lambda: net.text("client-2").count("client-2 trains") > before)
    net.kill("client-2")
    net.start_node("client-2")


def node_after_its_answer(net: Network) -> None:
    before = net.text("client-3").count("client-3 answers")
    net.wait(lambda: net.text("client-3").count("client-3 answers") > before)
    net.kill("client-3")
    net.start_node("client-3")


def server_app_at(question: str) -> Callable[[Network], None]:
    def disturb(net: Network) -> None:
        net.wait(lambda: net.asked() == question, *TRUSTEES)
        net.kill_server_app()

    return disturb


def superlink_at(question: str) -> Callable[[Network], None]:
    def disturb(net: Network) -> None:
        net.wait(lambda: net.asked() == question, *TRUSTEES)
        net.kill("superlink")
        net.start_superlink()

    return disturb


@pytest.mark.exhaustive
def test_a_node_refuses_an_application_that_it_does_not_name(running: Running) -> None:
    """By its hash, before anything of it runs. With the one that it names, the round goes on."""
    net, rounds = running.network, running.network.closed() + 1
    changed = net.folder / "changed"
    shutil.copytree(APPS / "verified", changed)
    with (changed / "digits_app" / "task.py").open("a") as file:
        file.write("\nimport sys\nprint('another application runs', file=sys.stderr, flush=True)\n")
    net.run(rounds, changed)
    refused = "app: expected one of verifl-apps in the node's configuration, found "
    ran = "another application runs"
    net.wait(lambda: refused in net.text("operator") and ran in net.text("client-2"), "superlink", *TRUSTEES)
    net.kill_server_app()
    net.kill("operator")
    assert refused in net.text(GUARDED)
    assert ran not in net.text(GUARDED)
    net.run(rounds)
    net.wait(net.ended, "superlink", *TRUSTEES, kept=CLIENTS)
    accepted(net, rounds)


ASKED = ("round-key", "observe", "submission", "share-ack", "release")


@pytest.mark.exhaustive
def test_a_node_is_killed_while_it_trains(running: Running) -> None:
    close_another(running.network, node_while_training, again=False)


@pytest.mark.exhaustive
def test_a_node_is_killed_after_its_answer(running: Running) -> None:
    close_another(running.network, node_after_its_answer, again=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("question", ASKED)
def test_the_server_app_is_killed_in_each_phase(question: str, running: Running) -> None:
    close_another(running.network, server_app_at(question), again=True)


@pytest.mark.exhaustive
@pytest.mark.parametrize("question", ASKED)
def test_the_superlink_is_killed_in_each_phase(question: str, running: Running) -> None:
    close_another(running.network, superlink_at(question), again=True)
