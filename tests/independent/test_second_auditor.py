"""A second auditor, written from docs/spec alone, and the first give every check the same status."""

from __future__ import annotations

import ast
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import auditor
from protocols.envelopes import entry_hash, open_policy, seal_policy, seal_rotation
from protocols.hashes import sha256
from protocols.messages import (
    MESSAGE_TYPES,
    Aggregate,
    CohortClosed,
    Exclusion,
    KeyRotation,
    Release,
    RoundAborted,
    RoundClosed,
    RoundKey,
    RoundOpen,
    ShareAck,
    Submission,
)
from protocols.steps.fedopt import fedadam
from tests.auditor.forge import Forge
from tests.independent.audit import audit
from tests.independent.case import Report
from tests.independent.lattice import public_element
from tests.independent.policies import MODULI
from tests.simulator import Setting, Simulation, identity_of

GOLDEN = Path(__file__).parents[1] / "golden"
HONEST = GOLDEN / "honest"
PRODUCT = {"proofs", "protocols", "auditor", "verifl"}


def statuses(report: auditor.Report) -> dict[str, str]:
    return {result.id: result.status.value for result in report.checks}


def agreed(transcript: Path, policy: Path) -> Report:
    """What the second auditor says, which is what the first says."""
    first, second = auditor.audit(transcript, policy), audit(transcript, policy)
    assert second.checks == statuses(first), {name: found for name, found in second.findings.items() if found}
    assert second.accepted == first.accepted
    return second


def failing(report: Report) -> set[str]:
    return {name for name, status in report.checks.items() if status == "fail"}


@pytest.mark.parametrize("name", ["honest", "rejected", "noisy", "trustees"])
def test_the_golden_transcripts_are_judged_alike(name: str) -> None:
    place = GOLDEN / name
    expected = json.loads((place / "expected.json").read_text())
    report = agreed(place / "transcript", place / "policy.cbor")
    assert report.checks == expected["checks"]
    assert report.accepted == expected["accepted"]


def test_it_shares_nothing_with_the_product() -> None:
    """Only tests import the product: to compare with it, and to write what both are to judge. Nor do the two share a
    library's signatures, or its sponge."""
    for path in Path(__file__).parent.glob("*.py"):
        if path.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in PRODUCT, path
                assert not name.startswith("tests.") or name.startswith("tests.independent"), path
                assert name.split(".")[0] != "cryptography", path
                # pycryptodome's SHAKE128 is another than the product's, which is hashlib's
                assert path.name == "lattice.py" or name.split(".")[0] != "Crypto", path


def test_the_example_of_a_public_element() -> None:
    element = public_element(bytes(range(32)), 1, MODULI[0], 4096)
    assert element[:3] == (560813504466, 341406397088, 645618404287)
    assert sum(element) == 2224687012986133


# --- bytes changed by somebody without keys ---------------------------------------------------------


def flip(path: Path, position: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def blob_path(transcript: Path, kind: str, field: str) -> Path:
    """The blob that the first entry of a type names in a field."""
    forge = honest_forge()
    name: str = getattr(forge.message(forge.find(MESSAGE_TYPES.find(kind).cls)), field).hex()
    return transcript / "blobs" / name[:2] / name


def of_blob(kind: str, field: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda transcript: change(blob_path(transcript, kind, field))


def of_file(path: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda transcript: change(transcript / path)


def swap_notes(transcript: Path) -> None:
    first, second = (transcript / "checkpoints" / size for size in ("11", "13"))
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def unnamed_blob(transcript: Path) -> None:
    (transcript / "blobs" / "00").mkdir()
    (transcript / "blobs" / "00" / ("0" * 64)).write_bytes(b"more")


def linked(path: Path) -> None:
    path.symlink_to(path.rename(path.parent.parent / "elsewhere"))


def checkpoint_removed(transcript: Path) -> None:
    for path in ("checkpoints/11", "tile/0/000.p/11", "tile/entries/000.p/11"):
        (transcript / path).unlink()


def removed(*fields: str) -> Callable[[Path], None]:
    """Blobs of the first aggregate."""

    def remove(transcript: Path) -> None:
        for field in fields:
            blob_path(transcript, "aggregate", field).unlink()

    return remove


def no_ciphertexts_nor_plaintext(transcript: Path) -> None:
    forge = honest_forge()
    named = [slot.message.ciphertext for slot in forge.slots if isinstance(slot.message, Submission | Aggregate)]
    for name in named:
        (transcript / "blobs" / name.hex()[:2] / name.hex()).unlink()
    removed("plaintext")(transcript)


def key_and_release(transcript: Path) -> None:
    removed("key")(transcript)
    blob_path(transcript, "release", "share").unlink()


BUNDLE = "tile/entries/000.p/20"
TAMPERED: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "a proof": (of_blob("submission", "proof", lambda path: flip(path, 5_000)), {"I1", "I6"}),
    "a ciphertext": (of_blob("submission", "ciphertext", flip), {"I1", "I6", "I9"}),
    "a pruned ciphertext": (of_blob("submission", "ciphertext", Path.unlink), set()),
    "share commitments": (of_blob("submission", "share_commitments", flip), {"I1", "I6", "I8", "I10"}),
    "a release": (of_blob("release", "share", flip), {"I1", "I8", "I10"}),
    "the plaintext": (of_blob("aggregate", "plaintext", Path.unlink), {"I1"}),
    "the key": (of_blob("aggregate", "key", flip), {"I1"}),
    "the blindings": (of_blob("aggregate", "blindings", flip), {"I1"}),
    "all that is opened": (removed("plaintext", "key", "blindings"), {"I1"}),
    "the plaintext and the sum": (removed("plaintext", "ciphertext"), {"I1"}),
    "the plaintext and all ciphertexts": (no_ciphertexts_nor_plaintext, {"I1", "I10", "I11"}),
    "the key and a release": (key_and_release, {"I1", "I8", "I9", "I10"}),
    "the last model": (of_blob("round-closed", "model", flip), {"I1"}),
    "the first model": (of_blob("genesis", "model", flip), {"I1", "I2", "I11"}),
    "the last entry": (of_file(BUNDLE, lambda path: flip(path, -1)), {"I1"}),
    "half of the entries": (of_file(BUNDLE, lambda path: path.write_bytes(path.read_bytes()[:3000])), {"I1"}),
    "the checkpoint removed": (of_file("checkpoint", Path.unlink), {"I1"}),
    "the checkpoint's line ends": (
        of_file("checkpoint", lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))),
        {"I1"},
    ),
    "what a desktop left": (lambda transcript: (transcript / "tile" / ".DS_Store").touch(), set()),
    "what nobody left": (lambda transcript: (transcript / "tile" / "DS_Store").touch(), {"I1"}),
    "a tile": (of_file("tile/0/000.p/20", flip), {"I1"}),
    "a checkpoint's root": (of_file("checkpoints/8", lambda path: flip(path, 26)), {"I1"}),
    "a cosignature": (of_file("checkpoint", lambda path: flip(path, -8)), {"I1"}),
    "checkpoints swapped": (swap_notes, {"I1", "I4"}),
    "a tile of an earlier checkpoint": (of_file("tile/0/000.p/11", flip), {"I1"}),
    "a bundle of an earlier checkpoint": (of_file("tile/entries/000.p/13", flip), {"I1"}),
    "a bundle of an earlier checkpoint removed": (of_file("tile/entries/000.p/13", Path.unlink), {"I1"}),
    "a checkpoint removed": (checkpoint_removed, {"I4"}),
    "a checkpoint removed, not its tiles": (of_file("checkpoints/11", Path.unlink), {"I1", "I4"}),
    "the policy's copy": (of_file("policy.cbor", flip), {"I2"}),
    "the policy's copy a link": (of_file("policy.cbor", linked), {"I1", "I2"}),
    "a blob of no entry": (unnamed_blob, {"I12", "P7"}),
}
EVERY_RUN = (
    "half of the entries",
    "the checkpoint removed",
    "a proof",
    "share commitments",
    "a release",
    "the first model",
    "all that is opened",
    "the plaintext and the sum",
    "the plaintext and all ciphertexts",
    "the last entry",
    "a checkpoint removed",
    "a bundle of an earlier checkpoint",
    "a checkpoint removed, not its tiles",
    "the policy's copy a link",
)


def sampled(names: list[str], chosen: tuple[str, ...]) -> list[Any]:
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.exhaustive) for name in names]


@pytest.mark.parametrize("name", sampled(list(TAMPERED), EVERY_RUN))
def test_tampered_copies_are_judged_alike(name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(HONEST / "transcript", tmp_path / "transcript"))
    tamper, expected = TAMPERED[name]
    tamper(copy)
    assert failing(agreed(copy, HONEST / "policy.cbor")) == expected


@pytest.mark.parametrize("same_key", [True, False])
def test_logs_of_other_policies_are_judged_alike(same_key: bool, tmp_path: Path) -> None:
    """Signed by the very log key, and by another that only the transcript's own policy has."""
    policy, _ = open_policy((HONEST / "policy.cbor").read_bytes())
    changed = replace(policy, max_rounds=policy.max_rounds + 1)
    other = changed if same_key else replace(changed, log_key=identity_of("another log").public_key)
    (tmp_path / "policy.cbor").write_bytes(seal_policy(other, identity_of("issuer")))
    assert failing(agreed(HONEST / "transcript", tmp_path / "policy.cbor")) == {"I2"}


# --- other parameters ------------------------------------------------------------------------------

SETTINGS = {
    "coordinates bounded": Setting(dimension=300, coordinate_clip=0.1),
    "two ring elements": Setting(
        clients=2, dimension=5000, fraction_bits=14, coordinate_clip=0.05, encryption_proof=True
    ),
    "FedAdam": Setting(clients=3, dimension=37, step=fedadam()),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SETTINGS)
def test_fresh_transcripts_are_judged_alike(name: str, tmp_path: Path) -> None:
    """An honest round, one that is aborted for missing releases, and its retry."""
    simulation = Simulation(tmp_path, SETTINGS[name])
    simulation.start()
    simulation.play_round()
    simulation.play_round(silent=["trustee-0", "trustee-1"])
    simulation.play_round()
    policy = tmp_path / "pinned.cbor"
    policy.write_bytes(simulation.policy_data)
    assert agreed(simulation.path, policy).accepted


# --- several cohorts on one model, and the end --------------------------------------------------------

SMALL = Setting(clients=5, trustees=2, threshold=2, corrupt=1, dimension=8, min_cohort=2, max_cohort=8)


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A round is opened over five and aborted; one of them is missing from the repetition, which a second leaves; it is
    aborted, too, and that is one abort more than is repeated."""
    simulation = Simulation(tmp_path_factory.mktemp("over"), replace(SMALL, max_aborts=1))
    simulation.start()
    for missing in (0, 1):
        simulation.play_round(clients=list(simulation.clients)[missing:], silent=["trustee-1"])
    simulation.store(simulation.coordinator.close_federation("aborts-spent"))
    simulation.checkpoint()
    simulation.writer.close()
    return simulation


def edited_end(**changes: Any) -> Callable[[Forge], None]:
    return lambda forge: forge.edit(len(forge.slots) - 1, **changes)


def accept_all(forge: Forge) -> None:
    """The second cohort with the one that left."""
    position = forge.find(CohortClosed, nth=1)
    message = forge.message(position)
    accepted = tuple(sorted([*message.accepted, *(each.index for each in message.excluded)]))
    forge.edit(position, accepted=accepted, excluded=())


def foreigner(forge: Forge) -> None:
    """client-00, who was in the first cohort, was in none before: now client-04 is missing from the first."""
    position = forge.find(CohortClosed)
    message = forge.message(position)
    forge.edit(position, accepted=message.accepted[:-1], excluded=(Exclusion(message.accepted[-1], "replayed", ""),))


def entry_after_the_end(forge: Forge) -> None:
    forge.insert(len(forge.slots), forge.message(forge.find(RoundKey)))


def early_end(forge: Forge) -> None:
    forge.insert(forge.find(RoundKey, nth=2), replace(forge.message(len(forge.slots) - 1), rounds=1))


ENDS: dict[str, tuple[Callable[[Forge], None], set[str]]] = {
    "nothing": (lambda forge: None, set()),
    "nobody leaves": (accept_all, {"I7", "I8", "P6"}),
    "one who was not there": (foreigner, {"I4", "I5", "I7", "I8", "P6"}),
    "a false reason": (edited_end(reason="rounds-spent"), {"I4"}),
    "a reason of no list": (edited_end(reason="enough"), {"I4", "P7"}),
    "a false number": (edited_end(rounds=1), {"I4"}),
    "of another policy": (edited_end(policy=bytes(32)), {"I4"}),
    "another model": (edited_end(model=bytes(32)), {"I1", "I11"}),
    "by another": (lambda forge: forge.edit(len(forge.slots) - 1, signer="client-00"), {"I4"}),
    "not the end": (entry_after_the_end, {"I4", "I5", "I12"}),
    "an end before": (early_end, {"I4", "I6", "I7", "I8"}),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_are_judged_alike(name: str, over: Simulation, tmp_path: Path) -> None:
    forge = Forge.load(over.path, over.pinned.policy, over.policy_data, identity_of)
    lie, expected = ENDS[name]
    lie(forge)
    policy = tmp_path / "pinned.cbor"
    policy.write_bytes(over.policy_data)
    assert failing(agreed(forge.write(tmp_path / "transcript"), policy)) == expected


# --- lies that are signed, with all that follows brought in line -------------------------------------


def honest_forge() -> Forge:
    data = (HONEST / "policy.cbor").read_bytes()
    policy, _ = open_policy(data)
    return Forge.load(HONEST / "transcript", policy, data, identity_of)


def edited(kind: type, nth: int = 0, signer: str | None = None, **changes: Any) -> Callable[[Forge], None]:
    return lambda forge: forge.edit(forge.find(kind, nth=nth), signer=signer, **changes)


def other_release(forge: Forge) -> None:
    position = forge.find(Release)
    share = forge.blob(forge.message(position).share)
    forge.edit(position, share=forge.put(bytes(31) + b"\x01" + share[32:]))


def respelled_key(forge: Forge) -> None:
    """A round key of the round before, with the bit set that X25519 ignores."""
    key = forge.message(forge.find(RoundKey)).public_key
    forge.edit(forge.find(RoundKey, nth=2), public_key=key[:-1] + bytes([key[-1] | 0x80]))


def key_of_another_policy(forge: Forge) -> None:
    """The same key, made under another policy of this name."""
    forge.edit(forge.find(RoundKey), policy=bytes(32))


def rotation_of_another_policy(forge: Forge) -> None:
    forge.edit(forge.find(KeyRotation), policy=bytes(32))


def second_rotation(forge: Forge) -> None:
    """client-00 rotates its key once more before the round."""
    first, second = identity_of("client-00 rotated 1"), identity_of("client-00 rotated 2")
    forge.insert_raw(2, seal_rotation("simulated", sha256(forge.policy_data), "client-00", first, second))


def third_submission(forge: Forge) -> None:
    position = forge.find(Submission)
    for _ in range(2):
        forge.insert(position + 1, forge.message(position))


def second_release(forge: Forge) -> None:
    position = forge.find(Release)
    forge.insert(position + 1, forge.message(position))


def other_model(forge: Forge) -> None:
    position = forge.find(RoundClosed)
    model = struct.pack("<8d", *range(8))
    forge.edit(position, model=forge.put(model))


def stale_key(forge: Forge) -> None:
    """client-00 signs with the key that it replaced in entry 1."""
    forge.edit(forge.find(Submission), signer="client-00")


def copied_proof(forge: Forge) -> None:
    first = forge.message(forge.find(Submission))
    forge.edit(forge.find(Submission, nth=1), proof=first.proof)


def failed_without_cohort(forge: Forge) -> None:
    place = forge.find(RoundAborted)
    number = forge.message(place).round
    forge.edit(place, reason="opening-failed", cohort=None, missing=())
    for kind in (Release, CohortClosed):
        for position in reversed(range(place)):
            if isinstance(forge.message(position), kind) and forge.message(position).round == number:
                forge.remove(position)


def excluded(reason: str) -> Callable[[Forge], None]:
    def lie(forge: Forge) -> None:
        position = forge.find(CohortClosed)
        first, second = forge.message(position).accepted
        forge.edit(position, accepted=(first,), excluded=(Exclusion(second, reason, ""),))

    return lie


def uncovered_cohort(forge: Forge) -> None:
    forge.checkpoints.remove(16)


def answer_to_a_submission(forge: Forge) -> None:
    """An entry hash that is in the round, but of an entry that no field names by its hash."""
    forge.edit(forge.find(ShareAck, nth=2), round_open=entry_hash(forge.honest[11]))


def second_genesis(forge: Forge) -> None:
    forge.insert(len(forge.slots), forge.message(0))


def garbage(forge: Forge) -> None:
    forge.insert_raw(8, b"\xa0")


def moments(forge: Forge) -> None:
    """Of the size that they have with another rule."""
    position = forge.find(RoundClosed)
    forge.edit(position, optimizer=forge.put(bytes(2 * len(forge.blobs[forge.message(position).model]))))


LIES: dict[str, tuple[Callable[[Forge], None], set[str]]] = {
    "a round key spelled in another way": (respelled_key, {"I4", "I6", "I7", "I8"}),
    "a round key of another policy": (key_of_another_policy, {"I4"}),
    "a rotation of another policy": (rotation_of_another_policy, {"I3", "I4", "I5", "I6", "I7", "I8"}),
    "two rotations in one gap": (second_rotation, {"I3", "I4", "I5", "I6", "I7", "I8"}),
    "a submission logged three times": (third_submission, {"I5", "I7", "I12"}),
    "a wrong seed": (edited(RoundOpen, 1, seed=bytes(32)), {"I4", "I6", "I7", "I8", "I9"}),
    "a change denied": (edited(RoundOpen, 0, changes=bytes(32)), {"I3", "I4"}),
    "a retry denied": (edited(RoundOpen, 1, retry_of=None), {"I4", "I6", "I7", "I8"}),
    "a rotation by another": (edited(KeyRotation, signer="client-01"), {"I3", "I4", "I5", "I6", "I7", "I8"}),
    "a replaced key": (stale_key, {"I3"}),
    "a stranger's submission": (edited(Submission, signer="client-01"), {"I5"}),
    "a copied proof": (copied_proof, {"I7", "I8"}),
    "an acknowledgement withheld": (edited(ShareAck, 2, answers=""), {"I7", "I8"}),
    "an acknowledgement of another opening": (answer_to_a_submission, {"I8", "I12"}),
    "a false digest": (edited(CohortClosed, digest=bytes(32)), {"I8"}),
    "a false verdict": (excluded("invalid-proof"), {"I7", "I8", "I9", "I10", "I11", "P1"}),
    "a failure to open without a cohort": (failed_without_cohort, {"I4", "I8"}),
    "a false abort": (edited(RoundAborted, reason="no-quorum"), {"I4", "I8"}),
    "a wrong release": (other_release, {"I8", "I10"}),
    "a second release": (second_release, {"P2"}),
    "another model": (other_model, {"I11"}),
    "moments of a rule that keeps none": (moments, {"I1", "I11"}),
    "a cohort nobody cosigned": (uncovered_cohort, {"I8"}),
    "a second genesis": (second_genesis, {"I2", "I4"}),
    "an entry that is none": (garbage, {"I1", "I6", "I7", "I8", "P7"}),
}
EVERY_RUN_LIES = (
    "a failure to open without a cohort",
    "a replaced key",
    "a copied proof",
    "a false verdict",
    "a wrong release",
    "another model",
)


@pytest.mark.parametrize("name", sampled(list(LIES), EVERY_RUN_LIES))
def test_signed_lies_are_judged_alike(name: str, tmp_path: Path) -> None:
    forge = honest_forge()
    lie, expected = LIES[name]
    lie(forge)
    assert failing(agreed(forge.write(tmp_path / "transcript"), HONEST / "policy.cbor")) == expected
