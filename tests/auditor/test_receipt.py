"""A client's receipt: what it proves by itself, and against a transcript."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor.cli import main
from proofs.errors import Malformed, Rejected
from protocols.envelopes import entry_hash, open_envelope, seal
from protocols.invitation import LoggedEntry
from protocols.log.merkle import inclusion_proof, inclusion_proofs, leaf_hash
from protocols.log.reader import TranscriptReader
from protocols.messages import CohortClosed, RoundClosed, RoundOpen, Submission
from protocols.pinned import PinnedPolicy
from protocols.reasons import DISPUTED, INVALID_PROOF
from protocols.receipts import (
    CLOSED,
    Receipt,
    decode_receipt,
    encode_receipt,
    make_receipts,
    verify_receipt,
)
from protocols.verdicts import ACCEPTED
from tests.auditor.conftest import flipped
from tests.simulator import Simulation, identity_of


def receipts(simulation: Simulation, number: int) -> dict[str, Receipt]:
    """Of a round, under the latest checkpoint."""
    reader = TranscriptReader(simulation.path)
    return make_receipts(simulation.pinned, reader.latest(), reader.entries(0, reader.size), number)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["receipt", *map(str, arguments)])


@pytest.fixture
def policy(simulations, tmp_path: Path) -> Path:
    path = tmp_path / "policy.cbor"
    path.write_bytes(simulations("changed").policy_data)
    return path


@pytest.fixture
def receipt(simulations) -> Receipt:
    """Of a client that rotated its key, under a checkpoint of trustees of whom one rotated and one was revoked."""
    return receipts(simulations("changed"), 2)["client-00"]


@pytest.fixture
def file(receipt: Receipt, tmp_path: Path) -> Path:
    path = tmp_path / "round-2.cbor"
    path.write_bytes(encode_receipt(receipt))
    return path


def test_every_client_is_told_its_verdict(simulations) -> None:
    simulation = simulations("eventful")
    made = receipts(simulation, 1)
    verdicts = {name: verify_receipt(simulation.pinned, each).verdict for name, each in made.items()}
    assert verdicts == {
        **dict.fromkeys(["client-00", "client-01", "client-02", "client-03"], ACCEPTED),
        "client-04": INVALID_PROOF,
        "client-05": DISPUTED,
    }
    found = verify_receipt(simulation.pinned, made["client-02"])
    assert (found.client, found.round, found.outcome) == ("client-02", 1, CLOSED)
    reader = TranscriptReader(simulation.path)
    assert reader.entries(found.index, found.index + 1) == [found.entry]
    assert found.entry_hash == entry_hash(found.entry)
    assert found.checkpoint == reader.head()


def test_an_aborted_round(simulations) -> None:
    simulation = simulations("eventful")
    found = verify_receipt(simulation.pinned, receipts(simulation, 2)["client-00"])
    assert (found.verdict, found.outcome) == (ACCEPTED, "missing-releases")


def test_a_round_that_is_not_over(simulations) -> None:
    simulation = simulations("quiet")
    reader = TranscriptReader(simulation.path)
    sizes = reader.checkpoints()
    made = make_receipts(simulation.pinned, reader.note(sizes[2]), reader.entries(0, reader.size), 1)
    found = verify_receipt(simulation.pinned, made["client-00"])
    assert (found.verdict, found.outcome) == (None, None)
    assert make_receipts(simulation.pinned, reader.note(sizes[0]), reader.entries(0, reader.size), 1) == {}
    assert receipts(simulation, 7) == {}


def test_rotated_keys(simulations, receipt: Receipt) -> None:
    found = verify_receipt(simulations("changed").pinned, receipt)
    assert found.client == "client-00"
    assert found.cosigners == ("trustee-0", "trustee-1", "trustee-2", "trustee-3")
    assert len(receipt.changes) == 4


def test_a_receipt_from_before_a_change(simulations) -> None:
    """Its checkpoint is cosigned by those who are in force now; the round was under the old keys."""
    simulation = simulations("changed")
    made = receipts(simulation, 1)["client-03"]
    assert verify_receipt(simulation.pinned, made).verdict == ACCEPTED
    assert (len(made.changes), len(made.later_changes)) == (0, 2)  # those of clients are not needed
    first, *others = made.later_changes
    for later, check in (
        ((), "checkpoint-unknown-signature"),
        ((*others, first), "changes"),
        ((replace(first, inclusion=first.inclusion[:-1]), *others), "inclusion-proof"),
    ):
        with pytest.raises(Rejected) as excinfo:
            verify_receipt(simulation.pinned, replace(made, later_changes=later))
        assert excinfo.value.check == check


def test_later_changes_are_those_of_trustees(simulations) -> None:
    simulation = simulations("changed")
    reader = TranscriptReader(simulation.path)
    entries = reader.entries(0, reader.size)
    index = next(i for i, entry in enumerate(entries) if open_envelope(entry).type == "key-rotation")
    made = receipts(simulation, 1)["client-03"]
    proof = tuple(inclusion_proof([leaf_hash(entry) for entry in entries], index))
    shown = (LoggedEntry(index, entries[index], proof), *made.later_changes)
    with pytest.raises(Rejected) as excinfo:
        verify_receipt(simulation.pinned, replace(made, later_changes=shown))
    assert (excinfo.value.check, excinfo.value.expected) == ("changes", "those of trustees")


def test_encoding(receipt: Receipt) -> None:
    assert decode_receipt(encode_receipt(receipt)) == receipt
    with pytest.raises(Malformed):
        decode_receipt(encode_receipt(receipt)[:-1])


def test_proofs_in_one_pass() -> None:
    for size in (1, 2, 3, 7, 8, 13):
        hashes = [leaf_hash(bytes([index])) for index in range(size)]
        proofs = inclusion_proofs(hashes, range(0, size, 2))
        assert proofs == {index: inclusion_proof(hashes, index) for index in range(0, size, 2)}
    assert inclusion_proofs([], []) == {}


def signed(message: object, name: str) -> bytes:
    return seal(message, name, identity_of(name))


Lie = Callable[[Receipt], Receipt]

LIES: dict[str, tuple[Lie, str]] = {
    "withheld change": (lambda r: replace(r, changes=r.changes[1:]), "changes"),
    "withheld revocation": (lambda r: replace(r, changes=r.changes[:-1]), "changes"),
    "no changes": (lambda r: replace(r, changes=()), "checkpoint-unknown-signature"),
    "twice the same change": (lambda r: replace(r, changes=(r.changes[0], *r.changes)), "rotation-previous"),
    "changes in another order": (lambda r: replace(r, changes=r.changes[::-1]), "changes"),
    "a change that came before": (
        lambda r: replace(r, later_changes=(replace(r.round_open, entry=r.changes[1]),)),
        "changes",
    ),
    "a later change that is not in the log": (
        lambda r: replace(r, later_changes=(replace(r.submission, entry=r.changes[1]),)),
        "inclusion-proof",
    ),
    "another index": (
        lambda r: replace(r, submission=replace(r.submission, index=r.submission.index + 1)),
        "inclusion-proof",
    ),
    "another path": (
        lambda r: replace(r, submission=replace(r.submission, inclusion=(bytes(32), *r.submission.inclusion[1:]))),
        "inclusion-proof",
    ),
    "another entry": (
        lambda r: replace(r, submission=replace(r.submission, entry=flipped(r.submission.entry, -1))),
        "inclusion-proof",
    ),
    "another cohort": (
        lambda r: r if r.cohort is None else replace(r, cohort=replace(r.cohort, entry=flipped(r.cohort.entry, -1))),
        "inclusion-proof",
    ),
    "no cohort": (lambda r: replace(r, cohort=None), "cohort"),
    "the end for the cohort": (lambda r: replace(r, cohort=r.end), "order"),
    "a cosignature less": (lambda r: replace(r, note=r.note[: r.note[:-1].rindex(b"\n") + 1]), "checkpoint-quorum"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused(simulations, receipt: Receipt, name: str) -> None:
    lie, check = LIES[name]
    with pytest.raises((Rejected, Malformed)) as excinfo:
        verify_receipt(simulations("changed").pinned, lie(receipt))
    assert isinstance(excinfo.value, Rejected), excinfo.value
    assert excinfo.value.check == check


def test_parts_of_other_types_and_versions(simulations, receipt: Receipt) -> None:
    pinned = simulations("changed").pinned
    for wrong, where in (
        (replace(receipt, version=2), "Receipt.version"),
        (replace(receipt, round_open=receipt.submission), "Receipt.round_open"),
        (replace(receipt, submission=receipt.cohort, cohort=None), "Receipt.submission"),
    ):
        with pytest.raises(Malformed) as excinfo:
            verify_receipt(pinned, wrong)
        assert excinfo.value.where == where


def test_another_round_in_the_same_log(simulations, receipt: Receipt) -> None:
    simulation = simulations("changed")
    first = receipts(simulation, 1)["client-00"]
    for wrong, check in (
        (replace(receipt, round_open=first.round_open, cohort=None, end=None), "changes"),
        (replace(first, later_changes=(), changes=receipt.changes), "changes"),
        (replace(first, cohort=receipt.cohort, end=None), "round"),
        (replace(first, end=receipt.end), "round"),
    ):
        with pytest.raises(Rejected) as excinfo:
            verify_receipt(simulation.pinned, wrong)
        assert excinfo.value.check == check


@pytest.mark.parametrize(
    ("kind", "changes", "check"),
    [
        (CohortClosed, {"accepted": ()}, "cohort"),
        (CohortClosed, {"round_open": bytes(32)}, "round-open"),
        (Submission, {"round_open": bytes(32)}, "round-open"),
        (Submission, {"federation": "another"}, "federation"),
        (RoundClosed, {"federation": "another"}, "federation"),
        (RoundOpen, {"policy": bytes(32)}, "policy-hash"),
        (RoundOpen, {"changes": bytes(32)}, "changes"),
    ],
)
def test_a_log_in_which_everybody_lies(forge, simulations, kind: type, changes: dict, check: str) -> None:
    forged = forge("quiet")
    forged.edit(forged.find(kind, 1), **changes)
    pinned = simulations("quiet").pinned
    made = made_by(forged, pinned)
    with pytest.raises(Rejected) as excinfo:
        verify_receipt(pinned, made["client-00"])
    assert excinfo.value.check == check


@pytest.mark.parametrize(("kind", "check"), [(Submission, "signature"), (CohortClosed, "signature")])
def test_a_log_in_which_somebody_else_signs(forge, simulations, kind: type, check: str) -> None:
    forged = forge("quiet")
    forged.edit(forged.find(kind, 1), signer="trustee-0")
    pinned = simulations("quiet").pinned
    made = made_by(forged, pinned)
    with pytest.raises(Rejected) as excinfo:
        verify_receipt(pinned, made["client-00"])
    assert excinfo.value.check == check


def made_by(forged, pinned: PinnedPolicy) -> dict[str, Receipt]:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        reader = TranscriptReader(forged.write(Path(place) / "t"))
        return make_receipts(pinned, reader.latest(), reader.entries(0, reader.size), 1)


def test_the_command_needs_the_policy_only(file: Path, policy: Path, receipt: Receipt) -> None:
    result = run(file, "--policy", policy)
    assert result.exit_code == 0, result.output
    assert "submission  of client-00 in round 2" in result.stdout
    assert "verdict     accepted" in result.stdout
    assert entry_hash(receipt.submission.entry).hex() in result.stdout
    plain = json.loads(run(file, "--policy", policy, "--format", "json").stdout)
    assert plain["accepted"] is True
    assert plain["proves"]["outcome"] == "closed"


def test_the_transcript_contains_it(simulations, file: Path, policy: Path) -> None:
    result = run(file, "--policy", policy, "--transcript", simulations("changed").path)
    assert result.exit_code == 0
    assert "ACCEPTED: the transcript contains it" in result.stdout
    result = run(file, "--unpinned", "--transcript", simulations("changed").path)
    assert result.exit_code == 0
    assert "UNPINNED" in result.stdout


def test_a_rolled_back_transcript(forge, file: Path, policy: Path, tmp_path: Path) -> None:
    forged = forge("changed")
    forged.cut(forged.find(RoundClosed, 1) + 1)
    result = run(file, "--policy", policy, "--transcript", forged.write(tmp_path / "t"))
    assert result.exit_code == 1
    assert "rollback: the receipt's log has" in result.stdout
    assert "is from: it is damaged, incomplete or too old; fetch it again" in result.stdout
    assert "signed in the transcript:" in result.stdout


def test_a_transcript_without_it_is_a_fork(forge, receipt: Receipt, file: Path, policy: Path, tmp_path: Path) -> None:
    forged = forge("changed")
    forged.edit(receipt.submission.index, proof=bytes(32))
    path = forged.write(tmp_path / "t")
    result = run(file, "--policy", policy, "--transcript", path, "--format", "json")
    assert result.exit_code == 1
    wrong = json.loads(result.stdout)["contradiction"]
    assert (wrong["kind"], json.loads(result.stdout)["outcome"]) == ("fork", "rule-broken")
    assert wrong["checkpoints"][0]["note"].encode() == receipt.note
    size = wrong["checkpoints"][1]["size"]
    assert wrong["checkpoints"][1]["note"].encode() == (path / "checkpoints" / str(size)).read_bytes()


@pytest.mark.parametrize("damage", ["a cosignature", "the entries"])
def test_a_fork_is_not_hidden_by_damage(
    forge, receipt: Receipt, file: Path, policy: Path, tmp_path: Path, damage: str
) -> None:
    forged = forge("changed")
    forged.edit(receipt.submission.index, proof=bytes(32))
    path = forged.write(tmp_path / "t")
    places = (path / "tile" / "entries").rglob("*") if damage == "the entries" else [path / "checkpoints" / "5"]
    for place in [each for each in places if each.is_file()]:
        place.write_bytes(place.read_bytes()[:-1])
    result = run(file, "--policy", policy, "--transcript", path, "--format", "jsonl")
    plain = json.loads(result.stdout)
    assert (result.exit_code, plain["event"], plain["contradiction"]["kind"]) == (1, "receipt", "fork")
    assert plain["outcome"] == "rule-broken"


def test_a_fork_elsewhere(forge, file: Path, policy: Path, tmp_path: Path) -> None:
    forged = forge("changed")
    forged.edit(forged.find(RoundClosed, 2), model=bytes(32))
    result = run(file, "--policy", policy, "--transcript", forged.write(tmp_path / "t"))
    assert result.exit_code == 1
    assert "are not those of the receipt's checkpoint" in result.stdout


def test_unsigned_and_foreign(simulations, copied, file: Path, policy: Path, tmp_path: Path) -> None:
    path = copied("changed")
    (path / "checkpoint").unlink()
    result = run(file, "--policy", policy, "--transcript", path)
    assert result.exit_code == 1
    assert "refused: file-missing" in result.stdout
    (tmp_path / "other.cbor").write_bytes(simulations("eventful").policy_data)
    foreign = run(file, "--policy", tmp_path / "other.cbor")
    assert foreign.exit_code == 1
    assert "REJECTED: this is no receipt of this federation: it is of another federation or policy" in foreign.stdout
    against = run(file, "--policy", policy, "--transcript", simulations("eventful").path, "--format", "json")
    assert (against.exit_code, json.loads(against.stdout)["outcome"]) == (1, "other-federation")


def test_a_damaged_receipt_is_no_other_federations(file: Path, policy: Path) -> None:
    honest = file.read_bytes()
    for position in range(0, len(honest), len(honest) // 40):
        file.write_bytes(flipped(honest, position))
        result = run(file, "--policy", policy, "--format", "json")
        assert (result.exit_code, json.loads(result.stdout)["outcome"]) == (1, "damaged"), position
    file.write_bytes(honest[:-1])
    assert "no receipt of this federation: it is damaged, or no receipt" in run(file, "--policy", policy).stdout


@pytest.mark.parametrize("arguments", [[], ["--unpinned"], ["--policy", "/nowhere"], ["--policy", "P", "--unpinned"]])
def test_wrong_usage_is_status_2(file: Path, policy: Path, arguments: list[str]) -> None:
    result = run(file, *(str(policy) if each == "P" else each for each in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""


def test_unpinned_says_what_it_needs(file: Path) -> None:
    assert "a receipt does not hold the policy" in run(file, "--unpinned").stderr
    assert run(file.parent / "nothing", "--policy", file).exit_code == 2
