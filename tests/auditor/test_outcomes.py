"""Three kinds of no: a rule was broken, this copy is damaged, this is another federation's."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditor import Kind, Outcome, Report, Status, audit
from protocols.log.tiles import blob_path
from protocols.messages import MESSAGE_TYPES, Submission
from tests.auditor.attacks import ATTACKS
from tests.auditor.conftest import flipped
from tests.auditor.forge import Forge
from tests.simulator import identity_of

FILES = ["checkpoint", "latest", "earlier", "bundle", "tile", "policy"]
BLOBS = [
    "genesis.model",
    "submission.commitments",
    "submission.ciphertext",
    "submission.share_commitments",
    "submission.proof",
    "submission.shares",
    "release.share",
    "aggregate.ciphertext",
    "aggregate.key",
    "aggregate.plaintext",
    "aggregate.blindings",
    "round-closed.model",
    "round-closed.optimizer",
]
CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda data: flipped(data, len(data) // 2),
    "flipped at the start": flipped,
    "flipped at the end": lambda data: flipped(data, -2),
    "cut": lambda data: data[:-1],
    "halved": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "longer": lambda data: data + b"\0",
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
}
# What a copy may lack without a word: a checkpoint that no rule needs, and ciphertexts and sums of closed rounds.
NOT_MISSED = {"submission.ciphertext", "aggregate.ciphertext"}


def blob_of(forge: Forge, where: str) -> bytes:
    kind, field = where.split(".")
    message = forge.message(forge.find(MESSAGE_TYPES.find(kind).cls))
    found = message.shares[0].blob if field == "shares" else getattr(message, field)
    assert isinstance(found, bytes)
    return found


def place(forge: Forge, path: Path, name: str) -> Path:
    """The file of this kind in a transcript."""
    if "." in name:
        return path / blob_path(blob_of(forge, name))
    size = len(forge.slots)
    simple = {
        "checkpoint": "checkpoint",
        "policy": "policy.cbor",
        "latest": f"checkpoints/{size}",
        "earlier": f"checkpoints/{forge.message(forge.find(MESSAGE_TYPES.find('round-open').cls)).checkpoint_size}",
        "bundle": f"tile/entries/000.p/{size}",
        "tile": f"tile/0/000.p/{size}",
    }
    return path / simple[name]


@pytest.fixture(scope="module")
def honest(simulations, tmp_path_factory: pytest.TempPathFactory) -> tuple[Forge, Path]:
    """A transcript with FedAdam, an invalid proof, a dispute, a duplicate, an abort and its repetition."""
    simulation = simulations("eventful")
    path = Path(shutil.copytree(simulation.path, tmp_path_factory.mktemp("outcomes") / "t"))
    return Forge.load(path, simulation.pinned.policy, simulation.policy_data, identity_of), path


@pytest.fixture
def kept(honest: tuple[Forge, Path]) -> Iterator[Callable[[Path], bytes]]:
    """Says what a file was, and puts all of these back."""
    before: dict[Path, bytes] = {}

    def keep(file: Path) -> bytes:
        return before.setdefault(file, file.read_bytes())

    yield keep
    for file, data in before.items():
        file.write_bytes(data)


def judged(honest: tuple[Forge, Path]) -> Report:
    forge, path = honest
    return audit(path, forge.policy_data)


def kinds(report: Report) -> set[Kind]:
    return {finding.kind for result in report.checks for finding in result.findings}


def test_the_copy_is_accepted(honest) -> None:
    report = judged(honest)
    assert (report.outcome, report.broken, report.unjudged) == (Outcome.ACCEPTED, (), ())


EVERY = [(name, change) for name in [*FILES, *BLOBS] for change in [*CHANGES, "missing"]]
# Each file gone, flipped and in two other ways or three, so that each way is tried on several files; each blob flipped.
SOME = {(name, change) for name in FILES for change in ("flipped", "missing")}
SOME |= {(FILES[n % len(FILES)], change) for n, change in enumerate([c for c in CHANGES if c != "flipped"] * 2)}
SOME |= {("checkpoint", "CRLF"), ("policy", "CRLF")} | {(name, "flipped") for name in BLOBS}


@pytest.mark.parametrize(
    ("name", "change"), [each if each in SOME else pytest.param(*each, marks=pytest.mark.exhaustive) for each in EVERY]
)
def test_every_file_damaged_in_every_way(honest, kept, name: str, change: str) -> None:
    """Nobody is accused, and the finding of I1 (I2 for the policy) is damage."""
    file = place(*honest, name)
    data = kept(file)
    now = None if change == "missing" else CHANGES[change](data)
    if now is None:
        file.unlink()
    else:
        file.write_bytes(now)
    report = judged(honest)
    if now == data or (now is None and name in NOT_MISSED):
        assert report.accepted
        return
    assert report.outcome is Outcome.DAMAGED
    assert kinds(report) <= {Kind.DAMAGED, Kind.UNJUDGED}
    assert report.broken == ()
    failing = {result.id for result in report.checks if result.status is Status.FAIL}
    assert ("I2" if name == "policy" else "I4" if (name, now) == ("earlier", None) else "I1") in failing


def test_line_ends_of_another_system_are_told(honest, kept) -> None:
    file = place(*honest, "checkpoint")
    file.write_bytes(CHANGES["CRLF"](kept(file)))
    (finding,) = judged(honest).check("I1").findings
    assert finding.found == "CRLF: it was copied as text, copy it as bytes"


def test_what_could_not_be_judged_is_listed(honest, kept) -> None:
    """A spoilt proof of an excluded submission: nobody knows whether the exclusion was right."""
    forge, path = honest
    cohort = forge.message(forge.find(MESSAGE_TYPES.find("cohort-closed").cls))
    excluded = next(each.index for each in cohort.excluded if each.reason == "invalid-proof")
    file = path / blob_path(forge.message(excluded).proof)
    file.write_bytes(flipped(kept(file)))
    report = judged(honest)
    assert report.outcome is Outcome.DAMAGED
    by_check = {line.split(" ")[0]: line for line in report.unjudged}
    assert by_check["I6"] == f"I6 validity proofs: entry {excluded} (submission by client-04, round 1)"
    assert by_check["I7"].startswith(f"I7 verdicts: entry {excluded} ")
    assert {"I8"} <= set(by_check)


def test_what_comes_after_damage_is_not_judged_and_what_is_before_is(honest, kept) -> None:
    """The last entry is another, and the tile gone that says so: the log up to the last checkpoint before it stands,
    and is no reason to accept."""
    forge, path = honest
    file, tile = place(forge, path, "bundle"), place(forge, path, "tile")
    kept(tile)
    tile.unlink()
    file.write_bytes(flipped(kept(file), -1))
    report = judged(honest)
    whole = forge.sizes()[-2]
    assert report.outcome is Outcome.DAMAGED
    assert report.check("I4").status is Status.SKIPPED
    expected = f"because I1 failed: of the first {whole} entries, which are whole, none is wrong"
    assert report.check("I4").reason == expected
    assert f"I4 rounds: {expected}" in report.unjudged


DAMAGE: dict[str, Callable[[Forge, Path], None]] = {
    "a blob": lambda forge, path: place(forge, path, "submission.shares").write_bytes(b""),
    "the checkpoint's signature": lambda forge, path: spoil(place(forge, path, "checkpoint"), -5),
    "a tile": lambda forge, path: place(forge, path, "tile").unlink(),
    "the policy": lambda forge, path: place(forge, path, "policy").unlink(),
    "a stranger's file": lambda _, path: (path / "extra").touch(),
    "the entry after": lambda forge, path: spoil(place(forge, path, "bundle"), -1),
}


def spoil(path: Path, position: int) -> None:
    path.write_bytes(flipped(path.read_bytes(), position))


ATTACKED = ("a false duplicate", "the server's own term", "a fork")
# Each damage beside one attack in turn: which attack it is beside makes no difference to the code that ranks them.
BESIDE = [
    pytest.param(attack, damage, marks=() if number % len(ATTACKED) == which else pytest.mark.exhaustive)
    for which, attack in enumerate(ATTACKED)
    for number, damage in enumerate(DAMAGE)
]


@pytest.mark.parametrize(("attack", "damage"), BESIDE)
def test_a_broken_rule_outranks_damage(attack: str, damage: str, forge, tmp_path: Path) -> None:
    forged = forge("quiet")
    change, _, _ = ATTACKS[attack]
    change(forged)
    if damage == "the entry after":
        forged.insert_raw(len(forged.slots), b"\xa0")
    path = forged.write(tmp_path / "t")
    DAMAGE[damage](forged, path)
    report = audit(path, forged.policy_data)
    assert report.outcome is Outcome.BROKEN
    assert {finding.by for _, finding in report.broken} == {"coordinator"}


NOT_SIGNED = {  # what a copy may have lost
    "too few cosigners",
    "a stranger cosigns",
    "another origin",
    "answers before anybody cosigned",
    "releases before anybody cosigned",
}


@pytest.mark.parametrize("name", [*sorted(NOT_SIGNED), "a fork", "garbage for an entry", "a round key used twice"])
def test_what_only_the_log_key_can_do_is_a_broken_rule(name: str, forge, tmp_path: Path) -> None:
    attack, _, which = ATTACKS[name]
    forged = forge(which)
    attack(forged)
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert report.outcome is (Outcome.DAMAGED if name in NOT_SIGNED else Outcome.BROKEN)
    assert report.unjudged or name not in NOT_SIGNED


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(set(ATTACKS) - NOT_SIGNED))
def test_every_signed_lie_is_a_broken_rule(name: str, forge, tmp_path: Path) -> None:
    attack, _, which = ATTACKS[name]
    forged = forge(which)
    attack(forged)
    assert audit(forged.write(tmp_path / "t"), forged.policy_data).outcome is Outcome.BROKEN


def test_a_large_blob_that_was_signed_is_no_damage(forge, tmp_path: Path) -> None:
    """It has the hash that the entry names, so the entry is wrong; with a hole in it, it is not even read."""
    forged = forge("quiet")
    position = forged.find(Submission)
    name = forged.put(forged.blob(forged.message(position).proof) + bytes(1 << 20))
    forged.edit(position, proof=name)
    path = forged.write(tmp_path / "t")
    assert audit(path, forged.policy_data).outcome is Outcome.BROKEN
    blob = path / blob_path(name)
    blob.write_bytes(b"")
    with blob.open("r+b") as file:
        file.truncate(1 << 40)
    assert audit(path, forged.policy_data).outcome is Outcome.DAMAGED


def test_the_json_says_which(honest, kept) -> None:
    file = place(*honest, "tile")
    file.write_bytes(flipped(kept(file)))
    plain = json.loads(json.dumps(judged(honest).to_dict()))
    assert (plain["accepted"], plain["outcome"]) == (False, "damaged")
    assert (plain["broken"], plain["unjudged"]) == ([], [])
    assert [finding["kind"] for finding in plain["checks"][0]["findings"]] == ["damaged"]


def crossed(rand: random.Random, files: list[Path], file: Path) -> None:
    """One of the things that can become of a file in a copy."""
    data = file.read_bytes()
    match rand.randrange(5):
        case 0:
            file.unlink()
        case 1:
            file.write_bytes(flipped(data, rand.randrange(len(data))) if data else b"x")
        case 2:
            file.write_bytes(data[: rand.randrange(len(data) + 1)])
        case 3:
            other = rand.choice(files)
            file.write_bytes(other.read_bytes() if other.exists() else b"")
        case _:
            file.write_bytes(data.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("times", [3, pytest.param(60, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", ["aborted", "changed", "eventful", "outage"])
def test_nobody_without_a_key_makes_anybody_a_liar(simulations, tmp_path: Path, name: str, times: int) -> None:
    """Several files at once cut, changed, exchanged or gone, in every kind of history."""
    simulation, rand = simulations(name), random.Random(f"{name} {times}")
    for number in range(times):
        path = Path(shutil.copytree(simulation.path, tmp_path / str(number)))
        files = sorted(file for file in path.rglob("*") if file.is_file())
        for file in rand.sample(files, rand.choice([1, 1, 2, 6])):
            crossed(rand, files, file)
        assert audit(path, simulation.policy_data).broken == ()
        assert audit(path, None).broken == ()
        shutil.rmtree(path)
