"""Two copies of a transcript: the same history, or a fork with the evidence for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor import audit
from auditor.cli import main
from auditor.comparison import compare, text
from auditor.copies import open_copy
from proofs.errors import Rejected
from protocols.envelopes import open_envelope, seal_policy
from protocols.log.checkpoint import Checkpoint, check_note, parse_note, render_note, sign_checkpoint
from protocols.log.merkle import verify_consistency
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import blob_path
from protocols.messages import Aggregate, Genesis, KeyRotation, RoundClosed, RoundOpen, Submission
from tests.auditor.conftest import flipped, last_bundle
from tests.simulator import identity_of


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@pytest.fixture
def policy(simulations, tmp_path: Path) -> Path:
    path = tmp_path / "policy.cbor"
    path.write_bytes(simulations("changed").policy_data)
    return path


@pytest.fixture
def earlier(forge, tmp_path: Path) -> Path:
    """The same federation as of the end of its first round."""
    forged = forge("changed")
    forged.cut(forged.find(RoundClosed) + 1)
    return forged.write(tmp_path / "earlier")


@pytest.fixture
def other(forge, tmp_path: Path) -> Path:
    """Another history with everybody's signature: its second round is the first with another seed."""
    forged = forge("changed")
    forged.edit(forged.find(RoundOpen, 2), seed=bytes(32))
    return forged.write(tmp_path / "other")


def test_a_transcript_is_consistent_with_itself(simulations, policy: Path) -> None:
    path = simulations("changed").path
    result = run(path, path, "--policy", policy)
    assert result.exit_code == 0, result.output
    assert "CONSISTENT: both are the same history" in result.stdout


def test_a_prefix_is_consistent(simulations, earlier: Path, policy: Path) -> None:
    path = simulations("changed").path
    size = parse_note((earlier / "checkpoint").read_bytes()).checkpoint.size
    for pair, said in (((path, earlier), "B is A as of"), ((earlier, path), "A is B as of")):
        result = run(*pair, "--policy", policy)
        assert result.exit_code == 0
        assert f"{said} its first {size} entries" in result.stdout


def test_a_fork_is_shown_with_both_signed_checkpoints(simulations, other: Path, policy: Path) -> None:
    path = simulations("changed").path
    result = run(path, other, "--policy", policy)
    assert result.exit_code == 1
    report = json.loads(run(path, other, "--policy", policy, "--format", "json").stdout)
    fork = report["fork"]
    assert report["consistent"] is False
    assert f"FORK: the histories differ from entry {fork['index']} on" in result.stdout
    assert all("(round-open, round 2)" in entry for entry in fork["entries"])
    assert fork["entries"][0] != fork["entries"][1]
    first, second = fork["checkpoints"]
    assert first["size"] == second["size"] > fork["index"]
    assert first["root"] != second["root"]
    for head, place in zip(fork["checkpoints"], (path, other), strict=True):
        assert (place / "checkpoints" / str(head["size"])).read_bytes() == head["note"].encode()
        assert head["note"] in result.stdout
    log_key = simulations("changed").pinned.policy.log_key.hex()
    assert fork["signed_both"] == {"party": "coordinator", "log_key": log_key}
    assert fork["cosigned_both"] == ["trustee-0", "trustee-1", "trustee-2", "trustee-3"]
    assert "evidence against the coordinator, whoever holds the log's key: it signed both" in result.stdout
    assert "against trustees: trustee-0, trustee-1, trustee-2, trustee-3 cosigned both" in result.stdout


def test_forks_of_different_sizes(simulations, forge, tmp_path: Path, policy: Path) -> None:
    forged = forge("changed")
    position = forged.find(RoundOpen, 2)
    forged.edit(position, seed=bytes(32))
    forged.checkpoints = [size for size in forged.checkpoints if size <= position or size == len(forged.slots)]
    other = forged.write(tmp_path / "other")
    found = compare(simulations("changed").path, other, simulations("changed").pinned)
    assert found.fork is not None
    assert found.fork.index == position
    assert {head.head.size for head in found.fork.heads} == {len(forged.slots)}


def test_unpinned_takes_the_policy_from_the_first(simulations, policy: Path) -> None:
    path, other = simulations("changed").path, simulations("eventful").path
    result = run(path, path, "--unpinned")
    assert result.exit_code == 0
    assert f"UNPINNED: policy {simulations('changed').pinned.hash.hex()}" in result.stdout
    assert "the keys in it were taken from A" in result.stdout
    assert run(path, other, "--unpinned").exit_code == 1


def _spoiled(note: bytes, position: int) -> bytes:
    """A note with one bit of a signature changed, at position 0 the log's."""
    parsed = parse_note(note)
    signatures = list(parsed.signatures)
    wrong = signatures[position]
    signatures[position] = replace(wrong, signature=flipped(wrong.signature, -1))
    return render_note(replace(parsed, signatures=tuple(signatures)))


@pytest.mark.parametrize("position", [0, -1])
def test_what_the_log_did_not_sign_is_no_fork(simulations, other: Path, policy: Path, position: int) -> None:
    (other / "checkpoint").write_bytes(_spoiled((other / "checkpoint").read_bytes(), position))
    result = run(simulations("changed").path, other, "--policy", policy)
    assert result.exit_code == 1
    assert f"{other} is no copy of this federation's log" in result.stdout
    if position == 0:
        assert "REJECTED: no two signed histories to compare" in result.stdout
        assert "evidence" not in result.stdout
    else:
        assert "evidence against the coordinator" in result.stdout


def test_the_same_history_badly_cosigned_is_no_fork(simulations, copied, policy: Path) -> None:
    path = copied("changed")
    (path / "checkpoint").write_bytes(_spoiled((path / "checkpoint").read_bytes(), -1))
    result = run(simulations("changed").path, path, "--policy", policy)
    assert result.exit_code == 1
    assert "checkpoint-cosignature" in result.stdout
    assert "REJECTED: no two signed histories to compare" in result.stdout
    assert "evidence" not in result.stdout


def test_too_few_cosigners_are_no_copy(simulations, forge, tmp_path: Path) -> None:
    forged = forge("changed")
    forged.cosigners = ["trustee-0", "trustee-1", "trustee-2"]
    with pytest.raises(Rejected) as excinfo:
        open_copy(forged.write(tmp_path / "t"), simulations("changed").pinned)
    assert excinfo.value.check == "checkpoint-quorum"


@pytest.mark.parametrize("cosigners", [[], ["trustee-1", "trustee-2"]])
def test_a_fork_below_the_quorum_is_evidence_against_the_log_key(
    simulations, forge, tmp_path: Path, policy: Path, cosigners: list[str]
) -> None:
    forged = forge("changed")
    forged.edit(forged.find(RoundOpen, 2), seed=bytes(32))
    forged.cosigners = cosigners
    pinned = simulations("changed").pinned
    pair = (simulations("changed").path, forged.write(tmp_path / "other"))
    result = run(*pair, "--policy", policy)
    assert result.exit_code == 1
    assert f"{pair[1]} is no copy of this federation's log: checkpoint-quorum" in result.stdout
    assert "evidence against the coordinator, whoever holds the log's key: it signed both" in result.stdout
    named = ", ".join(cosigners) or "none, no trustee"
    assert f"evidence against trustees: {named} cosigned both" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("FORK: the histories differ from entry")
    found = compare(*pair, pinned)
    assert found.fork is not None
    assert not found.consistent
    assert found.fork.liars == tuple(cosigners)
    for head in found.fork.heads:  # as anybody can check who has the policy
        note = parse_note(head.note)
        alone = replace(note, signatures=note.signatures[:1])
        check_note(alone, pinned.policy.log_key, (), 0, origin=pinned.policy.origin)
    first, second = (head.head for head in found.fork.heads)
    assert first.size == second.size
    assert first.root != second.root


def test_the_three_formats_say_the_same_of_a_fork(simulations, other: Path, policy: Path) -> None:
    pair = (simulations("changed").path, other, "--policy", policy)
    whole, lines = run(*pair, "--format", "json"), run(*pair, "--format", "jsonl")
    assert (whole.exit_code, lines.exit_code) == (1, 1)
    report = json.loads(whole.stdout)
    events = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [event.pop("event") for event in events] == ["copy", "copy", "fork", "compare"]
    assert events == [
        *report["copies"],
        report["fork"],
        {name: report[name] for name in ("consistent", "outcome", "refused", "policy_believed")},
    ]
    same = run(pair[0], *pair[:1], *pair[2:], "--format", "jsonl")
    assert same.exit_code == 0
    assert [json.loads(line)["event"] for line in same.stdout.splitlines()] == ["copy", "copy", "compare"]


def test_checkpoints_of_two_sizes_convict_by_a_consistency_proof(simulations, forge, copied, tmp_path: Path) -> None:
    forged = forge("changed")
    position = forged.find(RoundOpen, 2)
    forged.edit(position, seed=bytes(32))
    forged.cut(position + 1)
    forged.cosigners = []
    whole, other = copied("changed"), forged.write(tmp_path / "other")
    (whole / "checkpoints" / str(position + 1)).unlink()
    for pair in ((whole, other), (other, whole)):
        found = compare(*pair, simulations("changed").pinned)
        assert found.fork is not None
        (evidence,) = found.fork.evidence
        shorter, longer = sorted((head.head for head in evidence.heads), key=lambda head: head.size)
        assert position + 1 == shorter.size < longer.size
        assert evidence.root != shorter.root
        verify_consistency(shorter.size, evidence.root, longer.size, longer.root, list(evidence.proof))
        assert f"the longer has the root {evidence.root.hex()} at size {shorter.size}" in "\n".join(text(found))


def test_trustees_who_took_turns_are_all_named(simulations, forge, tmp_path: Path, policy: Path) -> None:
    """Each cosigned another checkpoint of the fork, so no two notes of one size have them all."""
    forged = forge("changed")
    position = forged.find(RoundOpen, 2)
    forged.edit(position, seed=bytes(32))
    turns = ["trustee-1", "trustee-2", "trustee-3"]
    forged.checkpoints = forged.sizes()
    sizes = [size for size in forged.sizes() if size > position]
    for number, size in enumerate(sizes):
        forged.notes[size] = partial(_only, name=turns[min(number, 2)])
    pair = (simulations("changed").path, forged.write(tmp_path / "other"))
    result = run(*pair, "--policy", policy)
    found = compare(*pair, simulations("changed").pinned)
    assert found.fork is not None
    assert [each.trustees for each in found.fork.evidence] == [("trustee-1",), ("trustee-2",), ("trustee-3",)]
    assert [each.heads[1].head.size for each in found.fork.evidence] == sizes[:3]
    assert found.fork.liars == tuple(turns)
    for turn in turns:
        assert f"evidence against trustees: {turn} cosigned both" in result.stdout
    assert len(found.to_dict()["fork"]["further"]) == 2


def _only(note: bytes, name: str) -> bytes:
    """A note with the log's signature and one cosignature."""
    kept = [line for number, line in enumerate(note.splitlines(keepends=True)) if number < 5 or name.encode() in line]
    return b"".join(kept)


def test_who_cosigned_with_two_keys_is_told_apart(simulations, forge, tmp_path: Path, policy: Path) -> None:
    """A fork without the rotation of a key is cosigned with the key that was replaced: by its owner, or by a thief."""
    forged = forge("changed")
    changes = [position for position, slot in enumerate(forged.slots) if isinstance(slot.message, KeyRotation)]
    (position,) = [each for each in changes if forged.message(each).party == "trustee-0"]
    forged.remove(position)
    pair = (simulations("changed").path, forged.write(tmp_path / "other"))
    found = compare(*pair, simulations("changed").pinned)
    assert found.fork is not None
    assert found.fork.index == position
    assert found.fork.liars == ("trustee-1", "trustee-2", "trustee-3", "trustee-4")
    assert found.to_dict()["fork"]["cosigned_both_with_two_keys"] == ["trustee-0"]
    assert "trustee-0 cosigned each with another key" in run(*pair, "--policy", policy).stdout


def test_an_honest_log_under_another_policy_is_no_fork(simulations, forge, tmp_path: Path, policy: Path) -> None:
    """The issuer signed two policies for one log key and origin, and both federations ran: nobody forked anything."""
    first = simulations("changed")
    again = seal_policy(replace(first.pinned.policy, max_rounds=51), identity_of("issuer"))
    forged = forge("changed")
    for position, slot in enumerate(forged.slots):
        if isinstance(slot.message, Genesis | RoundOpen):
            forged.edit(position, policy=forged.put(again))
    forged.policy_data = again
    other = forged.write(tmp_path / "other")
    for pair in ((first.path, other), (other, first.path)):
        result = run(*pair, "--policy", policy)
        assert result.exit_code == 1
        assert f"{other} is no copy of this federation's log: genesis: expected the log of " in result.stdout
        assert "evidence" not in result.stdout
    with pytest.raises(Rejected) as excinfo:
        open_copy(other, first.pinned)
    assert excinfo.value.check == "genesis"


def test_an_entry_0_that_no_honest_log_begins_with_excuses_nobody(
    simulations, forge, tmp_path: Path, policy: Path
) -> None:
    forged = forge("changed")
    forged.edit(forged.find(Genesis), policy=bytes(32), signer="issuer")
    forged.cosigners = []
    result = run(simulations("changed").path, forged.write(tmp_path / "other"), "--policy", policy)
    assert "FORK: the histories differ from entry 0 on" in result.stdout
    assert "evidence against the coordinator" in result.stdout


def test_another_origin_is_no_fork(simulations, forge, tmp_path: Path, policy: Path) -> None:
    forged = forge("changed")
    forged.edit(forged.find(RoundOpen, 2), seed=bytes(32))
    forged.policy = replace(forged.policy, origin="example.org/another")
    other = forged.write(tmp_path / "other")
    result = run(simulations("changed").path, other, "--policy", policy)
    assert result.exit_code == 1
    assert "checkpoint-origin" in result.stdout
    assert "evidence" not in result.stdout


@pytest.mark.parametrize("lie", ["truncated", "entries", "note of another log", "note of a longer log"])
def test_an_outsider_cannot_frame_an_honest_server(
    simulations, copied, earlier: Path, policy: Path, tmp_path: Path, lie: str
) -> None:
    """Who holds no log key can only rearrange what it signed; cut or mixed, that is no second history."""
    path, whole = copied("changed"), simulations("changed").path
    if lie == "truncated":  # the entries of an earlier state under the note of the latest
        (earlier / "checkpoint").write_bytes((whole / "checkpoint").read_bytes())
        path = earlier
    elif lie == "entries":
        bundle = last_bundle(path)
        bundle.write_bytes(flipped(bundle.read_bytes(), -1))
    elif lie == "note of another log":  # of another policy under the same key, put among the checkpoints
        (path / "checkpoints" / "5").write_bytes(_signed(simulations("changed"), 5, bytes(32)))
    else:
        size = int(sorted((path / "checkpoints").iterdir(), key=lambda each: int(each.name))[-1].name)
        (path / "checkpoints" / str(size + 9)).write_bytes(_signed(simulations("changed"), size + 9, bytes(32)))
    for pair in ((whole, path), (path, whole)):
        result = run(*pair, "--policy", policy)
        assert "evidence" not in result.stdout
        assert result.exit_code == (0 if lie == "note of a longer log" else 1)


def _signed(simulation, size: int, root: bytes) -> bytes:
    head = Checkpoint(simulation.pinned.policy.origin, size, root)
    return sign_checkpoint(head, head.origin, identity_of("coordinator"))


def test_a_checkpoint_that_its_own_log_contradicts(simulations, other: Path) -> None:
    size = max(int(path.name) for path in (other / "checkpoints").iterdir())
    note = (simulations("changed").path / "checkpoints" / str(size)).read_bytes()
    for path in (other / "checkpoints" / str(size), other / "checkpoint"):
        path.write_bytes(note)
    with pytest.raises(Rejected) as excinfo:
        open_copy(other, simulations("changed").pinned)
    assert excinfo.value.check == "checkpoint-root"


def test_a_checkpoint_under_another_size(simulations, copied) -> None:
    path = copied("changed")
    sizes = sorted(int(each.name) for each in (path / "checkpoints").iterdir())
    (path / "checkpoints" / str(sizes[0])).write_bytes((path / "checkpoints" / str(sizes[1])).read_bytes())
    with pytest.raises(Rejected) as excinfo:
        open_copy(path, simulations("changed").pinned)
    assert excinfo.value.check == "checkpoint-size"


@pytest.mark.parametrize("arguments", [[], ["--policy", "POLICY", "--unpinned"], ["--policy", "/nowhere"], ["--x"]])
def test_wrong_usage_is_status_2(simulations, policy: Path, arguments: list[str]) -> None:
    path = simulations("changed").path
    result = run(path, path, *(str(policy) if each == "POLICY" else each for each in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""


def test_what_is_no_directory_is_status_2(simulations, policy: Path, tmp_path: Path) -> None:
    result = run(simulations("changed").path, tmp_path / "nothing", "--policy", policy)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_what_is_no_policy_is_status_2(simulations, tmp_path: Path) -> None:
    path = simulations("changed").path
    (tmp_path / "policy").write_bytes(b"no policy")
    assert run(path, path, "--policy", tmp_path / "policy").exit_code == 2


def test_a_directory_called_compare_is_a_transcript(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("compare/tile").mkdir(parents=True)
    assert CliRunner().invoke(main, ["./compare", "--unpinned"]).exit_code == 1
    assert "Further commands" in CliRunner().invoke(main, ["--help"]).stdout


BLOBS: dict[str, Callable[[bytes], bytes]] = {
    "flipped": flipped,
    "cut": lambda data: data[:-1],
    "longer": lambda data: data * 2,
}


@pytest.mark.parametrize("change", list(BLOBS))
@pytest.mark.parametrize("second", [True, False])
def test_a_copy_with_another_blob_is_damaged(simulations, copied, policy: Path, second: bool, change: str) -> None:
    """The histories are the same; which copy is at fault is said, with what to do."""
    copy, honest = copied("changed"), simulations("changed").path
    blob = next((copy / "blobs").glob("*/*"))
    blob.write_bytes(BLOBS[change](blob.read_bytes()))
    pair = (honest, copy) if second else (copy, honest)
    result = run(*pair, "--policy", policy)
    name = "B" if second else "A"
    path = blob.relative_to(copy).as_posix()
    assert result.exit_code == 1
    assert f"{name} is damaged: 1 blob with other bytes than its log names, {path} first" in result.stdout
    assert "DAMAGED: both are the same history of 47 entries, but not its blobs; fetch these again" in result.stdout
    plain = json.loads(run(*pair, "--policy", policy, "--format", "json").stdout)
    assert (plain["consistent"], plain["outcome"]) == (True, "damaged")
    assert [each["spoilt_blobs"] for each in plain["copies"]] == ([[], [path]] if second else [[path], []])


def test_a_copy_without_blobs_can_be_compared(simulations, copied, policy: Path) -> None:
    """Whoever kept the log alone can still say whether it is one history."""
    copy = copied("changed")
    count = sum(1 for _ in (copy / "blobs").glob("*/*"))
    shutil.rmtree(copy / "blobs")
    result = run(simulations("changed").path, copy, "--policy", policy)
    assert result.exit_code == 0
    pruned = len(summed(copy))
    expected = f"{pruned} ciphertexts that may be pruned, and {count - pruned} blobs without which an audit rejects"
    assert f"B lacks {expected}; fetch them" in result.stdout


def summed(path: Path) -> list[bytes]:
    """The ciphertexts of a transcript in which every round has a sum of all its submissions, and the sums."""
    reader = TranscriptReader(path)
    messages = [open_envelope(entry).message for entry in reader.entries(0, reader.size)]
    return [each.ciphertext for each in messages if isinstance(each, Submission | Aggregate)]


@pytest.mark.parametrize("needed", [True, False])
def test_what_may_be_pruned_is_told_from_what_an_audit_needs(simulations, copied, policy: Path, needed: bool) -> None:
    copy = copied("changed")
    names = [*summed(copy)[:1], *([simulations("changed").pinned.policy.initial_model] if needed else [])]
    for name in names:
        (copy / blob_path(name)).unlink()
    result = run(copy, copy, "--policy", policy)
    assert result.exit_code == 0
    expected = "A lacks 1 ciphertext that may be pruned"
    expected += ", and 1 blob without which an audit rejects; fetch it" if needed else ""
    assert expected in result.stdout.replace("  ", "").splitlines()
    plain = json.loads(run(copy, copy, "--policy", policy, "--format", "json").stdout)
    assert [(each["missing_blobs"], each["missing_prunable"]) for each in plain["copies"]] == [(1 + needed, 1)] * 2
    assert audit(copy, policy).accepted is not needed


@pytest.mark.parametrize("name", ["checkpoint", "tile/entries", "tile/0"])
def test_a_damaged_log_is_a_damaged_copy(simulations, copied, policy: Path, name: str) -> None:
    copy = copied("changed")
    files = [copy / name] if (copy / name).is_file() else [each for each in (copy / name).rglob("*") if each.is_file()]
    for file in files:
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n") if name == "checkpoint" else b"")
    result = run(simulations("changed").path, copy, "--policy", policy, "--format", "json")
    plain = json.loads(result.stdout)
    assert (result.exit_code, plain["outcome"], plain["fork"]) == (1, "damaged", None)
    assert "one is damaged or incomplete; fetch it again" in run(copy, copy, "--policy", policy).stdout


def test_which_no_a_comparison_is(simulations, other: Path, policy: Path) -> None:
    honest, foreign = simulations("changed").path, simulations("eventful").path
    for pair, outcome in (((honest, other), "rule-broken"), ((honest, foreign), "other-federation")):
        result = run(*pair, "--policy", policy, "--format", "json")
        assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (1, outcome)
