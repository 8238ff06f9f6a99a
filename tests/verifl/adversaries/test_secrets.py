"""What liars gain: no sum that fewer than t trustees released for, and nothing that the audit would not show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor import audit
from proofs.errors import Misuse, Rejected
from protocols import sharing
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import Release, RoundAborted
from protocols.rounds.follower import Follower
from tests.verifl.adversaries.conftest import CLIENTS, CONFIG, HONEST, TRUSTEES, Means, Play, Played
from verifl import Federation
from verifl.adversaries.carrier import InjectedCarrier
from verifl.adversaries.forged_log import ForgedLog
from verifl.adversaries.injections import parse_injection
from verifl.storage.stores import DirectoryStore


def releases(played: Played, path: Path, number: int) -> dict[str, sharing.Share]:
    """The shares that a transcript has for the cohort of a round, by trustee."""
    reader, pinned = TranscriptReader(path), played.pinned
    messages = [open_envelope(entry).message for entry in played.entries(path)]
    return {
        each.trustee: sharing.Share.decode(reader.blob(each.share, pinned.share_size), pinned.secret_length)
        for each in messages
        if isinstance(each, Release) and each.round == number
    }


def test_colluders_and_the_server_open_one_of_two_cohorts(play: Play) -> None:
    played = play("colluding-trustees")
    policy = played.pinned.policy
    true, other = releases(played, played.transcript, 2), releases(played, played.forged, 2)
    assert sorted(true) == ["trustee-1", "trustee-2", "trustee-3", "trustee-4"]
    assert sorted(other) == ["trustee-1", "trustee-2"]  # nobody honest: no published checkpoint covers that cohort
    first, *_ = [(each.party, each.check) for each in played.refusals if each.asked == "to release"]
    assert first == ("trustee-5", "checkpoint-quorum")
    cohorts = []
    for path in (played.transcript, played.forged):
        ledger = Follower.start().extended(played.pinned, played.entries(path)).ledger
        cohorts.append(ledger.opened[-1].clients)
    assert cohorts[0] != cohorts[1]
    points = {played.pinned.share_point(name): share for name, share in other.items()}
    packed = played.pinned.secret_length - played.pinned.argument.shape.data_rows
    with pytest.raises(Rejected) as excinfo:  # fewer than t shares reconstruct a vector that is no key
        sharing.unpack_key_sum(sharing.reconstruct(points)[:packed], policy.lattice.degree, 3 * policy.lattice.tail)
    assert excinfo.value.check == "key-sum"


@pytest.mark.parametrize("kind", ["abort-and-retry", "sybil-swap"])
def test_no_honest_trustee_releases_for_the_cohort_without_the_victim(play: Play, kind: str) -> None:
    played = play(kind)
    assert sorted(releases(played, played.transcript, 2)) == ["trustee-1", "trustee-2", "trustee-3"]
    stores = [DirectoryStore(played.directory / "state" / "trustees" / name / "store") for name in HONEST]
    assert all(store.get("release/3") is None for store in stores)


def test_withheld_releases_are_blamed_on_trustees_who_released(play: Play) -> None:
    played = play("server-withholds-releases")
    messages = [open_envelope(entry).message for entry in played.entries()]
    (aborted,) = [each for each in messages if isinstance(each, RoundAborted)]
    assert [(each.party, each.reason) for each in aborted.missing] == [
        ("trustee-4", "no-release"),
        ("trustee-5", "no-release"),
    ]


def test_a_transcript_cut_at_an_earlier_checkpoint_is_what_it_was_then(play: Play, tmp_path: Path) -> None:
    played = play("server-rolls-back")
    end = played.rounds()[1].stop
    cut = ForgedLog(played.pinned, None, played.entries()[:end])  # type: ignore[arg-type]  # it signs nothing
    cut.publish(played.transcript, tmp_path / "cut")
    report = audit(tmp_path / "cut", played.policy)
    assert report.accepted
    assert report.checkpoint is not None
    assert report.checkpoint.size == end < TranscriptReader(played.transcript).size


def test_a_private_round_keeps_the_client_silent(play: Play) -> None:
    played = play("server-private-open")
    store = DirectoryStore(played.directory / "state" / "clients" / CLIENTS[0] / "store")
    answer = store.get("answer")
    assert answer is not None
    submissions = [entry for entry in played.entries() if open_envelope(entry).type == "submission"]
    assert any(entry in answer for entry in submissions)  # its last answer is that of round 1


def test_several_liars_at_once(play: Play) -> None:
    played = play("bad-proof:clinic-2", "lying-trustee", "server-rejects-valid:clinic-4")
    assert played.rounds()[2].aborted == "too-few-submissions"  # two of four are left
    report = audit(played.transcript, played.policy)
    (note,) = [note for note in report.check("I7").notes if "clinic-2" in note]  # whatever becomes of the round
    assert note.startswith("clinic-2 is named: invalid-proof in round 2, entry ")
    lines = [json.loads(line) for line in (played.directory / "metrics.jsonl").read_text().splitlines()]
    (told,) = [line for line in lines if line["round"] == 2]
    assert told["aborted"] == "too-few-submissions"
    assert told["excluded"]["clinic-2"] == "invalid-proof"
    assert told["failed_checks"] == {"clinic-2": "linear-relation"}


def refused(tmp_path: Path, *inject: str, **limits: object) -> str:
    config = CONFIG.model_copy(update=limits)
    carrier = InjectedCarrier([parse_injection(each) for each in inject])
    with pytest.raises(Misuse) as excinfo:
        Federation(Means(), config, tmp_path / "out", carrier=carrier).run()
    assert not (tmp_path / "out").exists()
    return str(excinfo.value)


def test_injections_must_fit_the_federation(tmp_path: Path) -> None:
    one = CONFIG.federation.model_copy(update={"rounds": 1})
    assert "expected 2 or more" in refused(tmp_path, "dropout", federation=one)
    assert "one of clinic-1, clinic-2" in refused(tmp_path, "dropout:clinic-9")
    assert "one of trustee-1, trustee-2" in refused(tmp_path, f"lying-trustee:{CLIENTS[0]}")
    assert "clinic-1 has two parts" in refused(tmp_path, "dropout:clinic-1", "late:clinic-1")
    assert "one lie at a time" in refused(tmp_path, "server-adds-term", "server-skips-step")
    many = ["dropout"] * (len(CLIENTS) + 1)
    assert "no client is left for dropout" in refused(tmp_path, *many)
    four = CONFIG.limits.model_copy(update={"min_cohort": 4})
    assert "needs 5 clients" in refused(tmp_path, "server-rejects-valid", limits=four)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bad-poof", "did you mean bad-proof?"),
        ("gibberish", "`--inject list` lists the kinds"),
        ("server-adds-term:clinic-1", "expected server-adds-term, found"),
        ("bad-proof:clinic-1,clinic-2", "takes one party"),
        ("bad-share:trustee-1,trustee-1", "expected bad-share[:TRUSTEE,...]"),
        ("bad-proof:", "expected bad-proof[:CLIENT]"),
    ],
)
def test_injections_are_spelled_one_way(text: str, message: str) -> None:
    with pytest.raises(Misuse, match="inject: ") as excinfo:
        parse_injection(text)
    assert message in str(excinfo.value)


def test_the_parties_of_the_table_are_those_of_the_tests() -> None:
    assert TRUSTEES[2:] == HONEST
