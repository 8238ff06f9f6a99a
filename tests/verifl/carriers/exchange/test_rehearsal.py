"""A rehearsal over files: who is there plays a round, and of everybody else the report says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor import audit
from proofs.errors import Malformed, Rejected
from protocols.blobs import blob_hash
from protocols.envelopes import seal_policy
from protocols.identities import SigningKey
from protocols.key_files import write_key
from protocols.pinned import PinnedPolicy
from protocols.policy import CoordinateRule, Policy, UpdateRule
from protocols.rehearsals import StandIn, open_stand_in, seal_stand_in
from protocols.rounds.versions import SOFTWARE
from tests.required import needs
from tests.simulator import Setting, identity_of, make_policy
from tests.verifl.carriers.exchange.website import TOKENS, Website, published
from verifl.carriers.exchange import rehearsal
from verifl.carriers.exchange.public import REHEARSAL, REHEARSED_ROUND, PublicDirectory
from verifl.carriers.exchange.rehearsal import REFUSALS_TOLD
from verifl.carriers.exchange.rehearsing import Rehearsing, made_up_update
from verifl.carriers.exchange.stopping import Stop, Stopped
from verifl.carriers.exchange.website import PublicSite
from verifl.commands.root import invoke

SETTING = Setting(clients=5, trustees=4, threshold=3, corrupt=0, dimension=8, max_cohort=5)
PINNED = PinnedPolicy.open(make_policy(SETTING)[0])
ANOTHER = PinnedPolicy.open(seal_policy(replace(PINNED.policy, max_rounds=7), identity_of("issuer")))
ABSENT, WRONG, OUTDATED = ("client-02", "trustee-3"), "client-03", "client-04"
NAMES = [member.id for member in (*PINNED.policy.trustees, *PINNED.policy.roster)]
PATIENCE = 6.0


def party(folder: Path, name: str, pinned: PinnedPolicy = PINNED, key: SigningKey | None = None) -> Rehearsing:
    call, played = PublicDirectory(folder / REHEARSAL), PublicDirectory(folder / REHEARSED_ROUND)
    own = key or identity_of(name)
    return Rehearsing(pinned, name, own, folder / "homes" / name / "rehearsal", call, lambda _: played, str)


class Company:
    """Parties in threads of their own; outcomes: how each ended, in words."""

    def __init__(self, *parties: tuple[str, Rehearsing]) -> None:
        self.stop, self.outcomes = Stop(), dict[str, str]()
        self._threads = [threading.Thread(target=self._run, args=each) for each in parties]
        for thread in self._threads:
            thread.start()

    def _run(self, name: str, attendant: Rehearsing) -> None:
        try:
            self.outcomes[name] = attendant.run(self.stop, 0.02, 10 * PATIENCE)
        except Rejected as error:
            self.outcomes[name] = error.check
        except Stopped:
            self.outcomes[name] = "stopped"

    def end(self) -> dict[str, str]:
        for thread in self._threads:
            thread.join()
        return self.outcomes


def coordinate(
    folder: Path, capsys: pytest.CaptureFixture[str], wait: float = PATIENCE, public: Path | None = None
) -> tuple[int, dict[str, Any]]:
    """What the coordinator's command says, in both forms of which one is read here."""
    (folder / "policy.cbor").write_bytes(PINNED.data)
    state = folder / "homes/coordinator"
    if not state.exists():
        state.mkdir(parents=True, mode=0o700)
        write_key(state / "identity.pem", identity_of("coordinator"))
    places = ["--public", str(public or folder), "--state", str(state), "--policy", str(folder / "policy.cbor")]
    status = invoke(["rehearse", *places, "--wait", str(wait), "--poll", "0.02", "--format", "json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, document


def test_who_is_missing_has_a_wrong_key_or_another_policy_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = [f"client-0{index}" for index in range(2)] + [f"trustee-{index}" for index in range(3)]
    parties = [(name, party(tmp_path, name)) for name in here]
    parties.append((WRONG, party(tmp_path, WRONG, key=identity_of("stranger"))))
    parties.append((OUTDATED, party(tmp_path, OUTDATED, pinned=ANOTHER)))
    company = Company(*parties)
    status, report = coordinate(tmp_path, capsys)
    outcomes = company.end()
    assert status == 1
    assert report["outcome"] == "closed"
    found = {each["party"]: each for each in report["parties"]}
    assert [name for name, each in found.items() if each["well"]] == sorted(here)
    for name in ABSENT:
        assert (found[name]["reached"], found[name]["refused"]) == (None, [])
    assert [each["check"] for each in found[WRONG]["refused"]] == ["signature"]
    assert [each["check"] for each in found[OUTDATED]["refused"]] == ["policy-hash"]
    assert set(found["trustee-1"]["answered"]) >= {"cosignature", "round-key", "share-ack"}
    assert set(found["client-00"]["answered"]) == {"submission"}
    assert outcomes == dict.fromkeys(here, "closed") | {WRONG: "rehearsal", OUTDATED: "policy-hash"}
    assert not [path for path in (tmp_path / "homes").rglob("*") if path.name == "store" or path.name == "rehearsal"]
    rehearsed = tmp_path / REHEARSED_ROUND / "transcript"
    assert audit(rehearsed, rehearsed / "policy.cbor").accepted
    assert audit(rehearsed, PINNED.data).outcome.value == "other-federation"


def test_everybody_is_well_and_an_old_rehearsal_is_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second one is another: what was signed in the first is refused there."""
    identifiers = []
    for _ in range(2):
        company = Company(*((name, party(tmp_path, name)) for name in NAMES))
        status, report = coordinate(tmp_path, capsys, wait=60)
        assert (status, report["well"]) == (0, True)
        assert company.end() == dict.fromkeys(NAMES, "closed")
        identifiers.append(report["rehearsal"])
    assert len(set(identifiers)) == 2


@pytest.mark.organisations
def test_over_a_web_server_the_parties_put_their_answers_there_too(capsys: pytest.CaptureFixture[str]) -> None:
    needs("nginx")
    with tempfile.TemporaryDirectory(prefix="verifl-rehearsal-") as name:
        place = Path(name)
        place.chmod(0o755)  # for the web server's user
        policy = place / "policy.cbor"
        policy.write_bytes(PINNED.data)
        with published(place / "web", TOKENS, policy, place / "public", NAMES) as website:
            company = Company(*((name, remote_party(place, website, name)) for name in NAMES))
            status, report = coordinate(place, capsys, 120, place / "public")
            assert company.end() == dict.fromkeys(NAMES, "closed")
    assert (status, report["well"]) == (0, True)


def remote_party(place: Path, website: Website, name: str) -> Rehearsing:
    home = place / "homes" / name

    def below(path: str, own: Path) -> PublicSite:
        own.mkdir(parents=True, exist_ok=True)
        return PublicSite(website.remote(name).below(path), own)

    call = below(REHEARSAL, home / "fetched")
    played = partial(below, REHEARSED_ROUND)
    return Rehearsing(
        PINNED, name, identity_of(name), home / "rehearsal", call, lambda own: played(own / "fetched"), str
    )


def test_where_too_few_are_there_no_round_is_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = coordinate(tmp_path, capsys, wait=1)
    assert (status, report["well"]) == (1, False)
    assert report["outcome"].startswith("no round was played: policy-threshold-reachable: ")
    assert not (tmp_path / REHEARSAL / "exchange/proposal").exists()


class OnlyThere(Rehearsing):
    """Says that it is there, and nothing more."""

    def look(self) -> str | None:
        return "gone" if self._rehearsal else super().look()


def test_who_leaves_before_the_round_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where too few trustees are left for any round, there is a report all the same."""
    monkeypatch.setattr(rehearsal, "_LEAST_PATIENCE", 1.0)
    left = ("trustee-0", "trustee-1")
    company = Company(*((name, (only_there if name in left else party)(tmp_path, name)) for name in NAMES))
    status, report = coordinate(tmp_path, capsys, wait=2)
    company.stop.ask()
    company.end()
    assert (status, report["well"]) == (1, False)
    assert report["outcome"].startswith("it came to no end: ")
    found = {each["party"]: each for each in report["parties"]}
    assert all(each["reached"] is not None for each in found.values())
    for name in left:
        assert found[name]["missing"] == ["cosignature", "round-key", "share-ack"]
    assert "cosignature" in found["trustee-2"]["answered"]


def only_there(folder: Path, name: str) -> Rehearsing:
    call = PublicDirectory(folder / REHEARSAL)
    place = folder / "homes" / name / "rehearsal"
    return OnlyThere(PINNED, name, identity_of(name), place, call, lambda _: call, str)


def test_a_party_that_floods_its_inbox_is_told_of_in_a_few_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By stand-ins for other rehearsals, and by ones without end, of which the last one counts."""
    inboxes = tmp_path / REHEARSAL / "exchange/inbox"
    done = threading.Event()

    def put(name: str, data: bytes) -> None:
        unfinished = inboxes / name / ".unfinished"
        unfinished.write_bytes(data)
        unfinished.replace(inboxes / name / blob_hash(data).hex())

    def flood() -> None:
        while not (inboxes / "client-01").is_dir() or not (tmp_path / REHEARSAL / "exchange/proposal").exists():
            done.wait(0.01)
        call = open_stand_in(PINNED, (tmp_path / REHEARSAL / "exchange/proposal").read_bytes())
        for number in range(30):
            say("client-00", call, bytes([number]) * 32)
            say("client-01", call, call.rehearsal)

    def say(name: str, call: StandIn, rehearsal: bytes) -> None:
        own = SigningKey.generate(os.urandom).public_key
        value = StandIn(call.federation, PINNED.hash, name, own, rehearsal, None, SOFTWARE)
        put(name, seal_stand_in(value, identity_of(name)))

    flooding = threading.Thread(target=flood)
    flooding.start()
    status, report = coordinate(tmp_path, capsys, wait=3)
    flooding.join()
    assert status == 1
    found = {each["party"]: each for each in report["parties"]}
    assert len(found["client-00"]["refused"]) == REFUSALS_TOLD
    assert found["client-01"]["reached"] is not None
    assert not list((inboxes / "client-01").iterdir())


def test_a_party_that_nobody_calls_says_so_and_one_without_a_name_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.cbor").write_bytes(PINNED.data)
    (tmp_path / "state").mkdir(mode=0o700)
    write_key(tmp_path / "state/identity.pem", identity_of("stranger"))
    places = ["--public", str(tmp_path), "--state", str(tmp_path / "state"), "--policy", str(tmp_path / "policy.cbor")]
    assert invoke(["rehearse", *places]) == 2
    assert "say which one this is by --as" in capsys.readouterr().err
    assert invoke(["rehearse", *places, "--as", "nobody"]) == 2
    assert "--as: expected a party of the policy" in capsys.readouterr().err
    with pytest.raises(Rejected, match="nobody called one"):
        party(tmp_path, "client-00").run(Stop(), 0.01, 0.05)


def stand_in(**changed: object) -> StandIn:
    fresh = SigningKey.from_seed(bytes(range(32))).public_key
    value = StandIn(PINNED.policy.federation, PINNED.hash, "trustee-1", fresh, bytes(32), None, "verifl")
    return replace(value, **changed)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("changed", "signer", "check"),
    [
        ({"federation": "another"}, "trustee-1", "federation"),
        ({"policy": bytes(32)}, "trustee-1", "policy-hash"),
        ({"party": "nobody"}, "trustee-1", "unknown-party"),
        ({}, "trustee-2", "signature"),
        ({"public_key": bytes(32)}, "trustee-1", "public-key"),
        ({"public_key": identity_of("trustee-2").public_key}, "trustee-1", "stand-in"),
        ({"public_key": identity_of("coordinator").public_key}, "trustee-1", "stand-in"),
        ({"public_key": identity_of("issuer").public_key}, "trustee-1", "stand-in"),
        ({"party": "coordinator"}, "coordinator", "rehearsal"),
    ],
)
def test_each_rule_of_a_stand_in_refuses_by_its_name(changed: dict[str, object], signer: str, check: str) -> None:
    with pytest.raises(Rejected) as caught:
        open_stand_in(PINNED, seal_stand_in(stand_in(**changed), identity_of(signer)))
    assert caught.value.check == check


def test_what_is_no_stand_in_is_malformed() -> None:
    good = seal_stand_in(stand_in(), identity_of("trustee-1"))
    assert open_stand_in(PINNED, good) == stand_in()
    for place in range(len(good)):
        with pytest.raises((Malformed, Rejected)):
            open_stand_in(PINNED, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(Malformed):
            open_stand_in(PINNED, good[:place])
    with pytest.raises(Malformed, match="rehearsed"):
        open_stand_in(PINNED, seal_stand_in(stand_in(rehearsed=bytes(32)), identity_of("trustee-1")))


def bounded(**changed: object) -> Policy:
    rule = UpdateRule(**{"norm_bound": 100, "fraction_bits": 4, "coordinate_bound": None, "groups": (), **changed})
    return replace(PINNED.policy, update=rule)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, [1, -1, 1, -1, 1, -1, 1, -1]),
        ({"norm_bound": 2}, [1, -1, 1, -1, 0, 0, 0, 0]),
        ({"coordinate_bound": 5, "groups": (CoordinateRule(1, 3, 0),)}, [1, 0, 0, -1, 1, -1, 1, -1]),
        ({"coordinate_bound": 0, "groups": (CoordinateRule(2, 4, 9),)}, [0, 0, 1, 1, 0, 0, 0, 0]),
    ],
)
def test_what_is_made_up_is_within_all_bounds(rule: dict[str, object], expected: list[int]) -> None:
    assert np.array_equal(made_up_update(bounded(**rule)), expected)


def test_a_rehearsal_needs_no_torch() -> None:
    """A trustee has none, and neither has what it calls before and after."""
    modules = ["verifl.carriers.exchange.rehearsing", "verifl.commands.rehearse"]
    modules += [f"verifl.reports.{name}" for name in ("status", "policy", "roster")]
    modules += ["verifl.carriers.exchange.standing", "verifl.enrolment.approvals", "verifl.enrolment.requests"]
    code = (
        "import importlib, sys; sys.modules['torch'] = None; [importlib.import_module(each) for each in sys.argv[1:]]"
    )
    subprocess.run([sys.executable, "-c", code, *modules], check=True, cwd=Path(__file__).parents[4])
