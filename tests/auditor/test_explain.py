"""`--explain PARTY`: what the log has by a party and about it, and what the audit makes of that."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor import audit
from auditor.cli import main
from auditor.reports.results import Event, Story
from proofs.errors import Misuse
from protocols.messages import CohortClosed, Exclusion, Release
from tests.auditor.conftest import Forged, flipped, last_bundle
from tests.simulator import Simulation

Simulations = Callable[[str], Simulation]


def story_of(path: Path, policy: bytes, party: str) -> Story:
    story = audit(path, policy, explain=party).story
    assert story is not None
    assert story.party == party
    return story


def told(simulation: Simulation, party: str) -> Story:
    return story_of(simulation.path, simulation.policy_data, party)


def said(story: Story, number: int) -> list[str]:
    return [event.text for event in story.events if event.round == number]


def verdict(story: Story, number: int) -> Event:
    (found,) = [
        event for event in story.events if event.round == number and event.text.startswith(("accepted", "excluded"))
    ]
    return found


def test_an_accepted_client(simulations: Simulations) -> None:
    story = told(simulations("quiet"), "client-01")
    assert story.roles == ("client",)
    assert story.findings == ()
    assert said(story, 1)[:2] == [
        "submitted",
        "its share acknowledged by trustee-0, trustee-1, trustee-2, trustee-3, trustee-4",
    ]
    assert verdict(story, 1).text.startswith("accepted; its update is in the sum of entry ")
    assert verdict(story, 1).holds is True


def test_clients_that_were_left_out(simulations: Simulations) -> None:
    simulation = simulations("eventful")
    invalid, disputed = told(simulation, "client-04"), told(simulation, "client-05")
    assert re.fullmatch(r"excluded: invalid-proof \([a-z-]+\)", verdict(invalid, 1).text)
    assert verdict(invalid, 1).holds is True
    assert (verdict(disputed, 1).text, verdict(disputed, 1).holds) == ("excluded: disputed", True)
    opponents = [text for text in said(disputed, 1) if text.startswith("in dispute with ")]
    assert [text.split()[3].rstrip(",") for text in opponents] == ["trustee-0", "trustee-1", "trustee-2"]
    assert all(text.endswith("one of them lies") for text in opponents)


def test_a_client_that_submitted_twice(simulations: Simulations) -> None:
    story = told(simulations("eventful"), "client-00")
    verdicts = [event.text for event in story.events if event.round == 1 and event.holds]
    assert verdicts[0].startswith("accepted; ")
    assert verdicts[1:] == ["excluded: duplicate"]


def test_a_client_in_a_round_that_was_aborted(simulations: Simulations) -> None:
    story = told(simulations("aborted"), "client-02")
    assert "accepted; the round was aborted, missing-releases" in verdict(story, 2).text


def test_a_client_that_is_not_in_the_log(forge: Forged, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = forged.find(CohortClosed)
    forged.cut(position)
    for index in reversed(range(position)):
        if getattr(forged.message(index), "client", "") == "client-03":
            forged.remove(index)
    story = story_of(forged.write(tmp_path / "cut"), forged.policy_data, "client-03")
    assert said(story, 1) == ["no submission in the log: it sent none, or the server did not log it"]


def test_a_verdict_that_the_audit_finds_false(forge: Forged, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = forged.find(CohortClosed)
    closed = forged.message(position)
    first, *others = closed.accepted
    forged.edit(position, accepted=tuple(others), excluded=(Exclusion(first, "invalid-proof", "linear-relation"),))
    path = forged.write(tmp_path / "false")
    story = story_of(path, forged.policy_data, "client-00")
    assert verdict(story, 1).text == "excluded: invalid-proof. The audit finds: accepted"
    assert verdict(story, 1).holds is False
    assert "I7" in {check for check, _ in story.findings}
    server = story_of(path, forged.policy_data, "coordinator")
    (cohort,) = [event for event in server.events if event.text.startswith("closed a cohort")]
    assert cohort.holds is False
    assert {check for check, _ in server.findings} > {"I7", "I8"}


def test_a_trustee(simulations: Simulations) -> None:
    story = told(simulations("eventful"), "trustee-1")
    assert story.roles == ("trustee",)
    assert story.events[0].text.startswith("cosigned ")
    first = said(story, 1)
    assert first[0] == "made a round key"
    assert first[1].startswith("acknowledged its shares of ")
    assert first[2].startswith("disputes the share of client-05, ")
    assert [event.holds for event in story.events if event.text.startswith("released")] == [True, True, True]


def test_trustees_that_are_missing(simulations: Simulations) -> None:
    simulation = simulations("aborted")
    silent, absent = told(simulation, "trustee-0"), told(simulation, "trustee-4")
    assert said(silent, 2)[-2:] == [
        "was asked to release; no release in the log: it sent none, or the server did not log it",
        "the abort names it: no-release",
    ]
    assert said(absent, 2) == [
        "made a round key",
        "no acknowledgement in the log: it sent none, or the server did not log it",
    ]


def test_a_release_that_does_not_open(forge: Forged, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = forged.find(Release, nth=4)
    wrong = bytearray(forged.blob(forged.message(position).share))
    wrong[-1] ^= 1
    trustee = forged.message(position).trustee
    forged.edit(position, share=forged.put(bytes(wrong)))
    story = story_of(forged.write(tmp_path / "wrong"), forged.policy_data, trustee)
    (release,) = [event for event in story.events if event.text.startswith("released")]
    assert (release.text, release.holds) == ("released a share that does not open the cohort's sum", False)


def test_the_server(simulations: Simulations) -> None:
    story = told(simulations("eventful"), "coordinator")
    assert story.roles == ("server",)
    assert story.findings == ()
    assert said(story, 1)[0] == "opened the round for 5 trustees"
    assert "aborted the round: missing-releases, for want of" in said(story, 2)[-1]
    assert said(story, 3)[0].endswith("again after round 2")
    assert all(event.holds for event in story.events if event.text.startswith("closed a cohort"))


def test_nobody_of_that_name(simulations: Simulations) -> None:
    simulation = simulations("quiet")
    with pytest.raises(Misuse, match="knows no 'client-99'"):
        audit(simulation.path, simulation.policy_data, explain="client-99")


def test_a_log_that_cannot_be_read(copied: Callable[[str], Path], simulations: Simulations) -> None:
    path = copied("quiet")
    policy = simulations("quiet").policy_data
    bundle = last_bundle(path)
    bundle.write_bytes(flipped(bundle.read_bytes(), -1))
    assert story_of(path, policy, "client-00").events[0].text == "entries that are missing, and may be about it: 23"
    shutil.rmtree(path / "tile" / "0")
    story = story_of(path, policy, "client-00")
    assert story.events[0].text.endswith(" entries are whole: what comes after them cannot be told")
    assert len(story.events) > 1
    (path / "checkpoint").unlink()
    shutil.rmtree(path / "checkpoints")
    story = story_of(path, policy, "client-00")
    expected = "no checkpoint signs the entries that are here: nothing can be told"
    assert [event.text for event in story.events] == [expected]


def test_the_log_of_another_policy(simulations: Simulations) -> None:
    story = story_of(simulations("quiet").path, simulations("eventful").policy_data, "client-00")
    assert [event.text for event in story.events] == ["this is another policy's log: nothing can be told"]


def test_a_policy_that_does_not_open(copied: Callable[[str], Path]) -> None:
    path = copied("quiet")
    (path / "policy.cbor").write_bytes(b"no policy")
    story = audit(path, None, explain="client-00").story
    assert story is not None
    assert story.roles == ()


@pytest.mark.parametrize("form", ["txt", "json", "jsonl"])
def test_the_command(simulations: Simulations, tmp_path: Path, form: str) -> None:
    simulation = simulations("eventful")
    policy = tmp_path / "policy.cbor"
    policy.write_bytes(simulation.policy_data)
    arguments = [str(simulation.path), "--policy", str(policy), "--format", form, "--explain", "client-05"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    if form == "txt":
        assert "The story of client-05 (client)" in result.stdout
        assert "excluded: disputed [re-verified]" in result.stdout
        assert result.stdout.splitlines()[-1].endswith("--explain client-05")
        return
    lines = [json.loads(line) for line in result.stdout.splitlines()] if form == "jsonl" else []
    story = json.loads(result.stdout)["story"] if form == "json" else lines[-2]
    assert (story["party"], story["roles"]) == ("client-05", ["client"])
    assert ("excluded: disputed", True) in [(event["text"], event["holds"]) for event in story["events"]]


def test_a_stranger_is_a_usage_error(simulations: Simulations, tmp_path: Path) -> None:
    simulation = simulations("quiet")
    policy = tmp_path / "policy.cbor"
    policy.write_bytes(simulation.policy_data)
    result = CliRunner().invoke(main, [str(simulation.path), "--policy", str(policy), "--explain", "mallory"])
    assert result.exit_code == 2
    assert "the policy knows no 'mallory'" in result.stderr
