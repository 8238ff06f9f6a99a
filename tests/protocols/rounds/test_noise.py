"""Rounds under a policy with noise: what is summed, published and kept, and noise that nobody accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor import Status, audit
from proofs import noise_witness, witness
from proofs.engines import get_engine
from proofs.errors import Misuse, Rejected
from proofs.privacy_noise import NoiseSigns
from proofs.relations.privacy_noise import PRIVACY_COMMITMENTS
from protocols.blobs import blob_hash
from protocols.envelopes import open_envelope
from protocols.lattice import encryption
from protocols.messages import Submission
from protocols.noise import variance_of
from protocols.parameters import sum_bound
from protocols.policy import PrivacyBudget
from protocols.rounds import submitting
from protocols.rounds.exchange import SubmissionPackage
from protocols.rounds.submitting import ClientRound, DrawnNoise
from protocols.submissions import judge
from protocols.weights import WeightRule
from tests.seeded import seeded
from tests.simulator import Setting, Simulation, identity_of
from verifl.adversaries.provers import ANYTHING

BUDGET = PrivacyBudget(8_000_000, 10_000_000)
NOISY = Setting(clients=3, budget=BUDGET, encryption_proof=True, max_rounds=4)
NAME = "client-00"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Two rounds, the second after one client fell silent and all restarted."""
    simulation = Simulation(tmp_path_factory.mktemp("noisy"), NOISY)
    simulation.start()
    assert simulation.play_round().aborted is None
    for name in simulation.clients:
        simulation.restart_client(name)
    simulation.restart_coordinator()
    assert simulation.play_round(clients=["client-00", "client-02"]).aborted is None
    return simulation


def audited(simulation: Simulation) -> dict[str, Status]:
    policy = simulation.path.parent / "policy.cbor"
    policy.write_bytes(simulation.policy_data)
    return {result.id: result.status for result in audit(simulation.path, policy).checks}


def message_of(package: SubmissionPackage) -> Submission:
    message = open_envelope(package.entry).message
    assert isinstance(message, Submission)
    return message


def test_the_transcript_is_accepted(played: Simulation) -> None:
    found = audited(played)
    assert {number for number, status in found.items() if status is not Status.PASS} <= {"I13", "I14"}


def test_the_sum_has_the_noise_of_all_who_are_in_it(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, replace(NOISY, dimension=250))
    simulation.start()
    result = simulation.play_round()
    assert result.plaintext is not None
    policy, cells = simulation.pinned.policy, simulation.pinned.cells
    assert policy.noise is not None
    assert result.plaintext.shape == (cells,) == (256,)
    exact = np.concatenate([simulation.expected_sum(result), np.zeros(cells - 250, dtype=np.int64)])
    noise = result.plaintext - exact
    deviation = float(noise @ noise) / cells / float(3 * variance_of(policy.noise))
    assert 0.5 < deviation < 2  # of 256 cells: beyond with probability 2^-30 or less
    assert np.count_nonzero(noise[250:]) > 0
    assert int(np.abs(result.plaintext).max()) <= sum_bound(policy, 3, 3)


def test_a_heavy_client_adds_as_much_noise(tmp_path: Path) -> None:
    weights = WeightRule("declared", 5, "3ff0000000000000")
    simulation = Simulation(tmp_path, replace(NOISY, weights=weights, coordinate_clip=0.5))
    simulation.start()
    result = simulation.play_round()
    assert result.plaintext is not None
    assert audited(simulation)["I10"] is Status.PASS
    noise = result.plaintext[:40] - simulation.expected_sum(result)
    policy = simulation.pinned.policy
    assert policy.noise is not None
    assert float(noise @ noise) / 40 < 4 * 3 * float(variance_of(policy.noise))


def test_noise_is_never_the_same(tmp_path: Path) -> None:
    """Round by round, try by try; what was sent once is sent again as it was."""
    simulation = Simulation(tmp_path, NOISY)
    simulation.start()
    update = simulation.random_update(NAME)
    names, keys = set[bytes | None](), set[bytes]()
    for _ in range(2):
        simulation.open_round()
        first = simulation.package(NAME, update)
        simulation.restart_client(NAME)
        assert simulation.package(NAME, update) == first
        names.add(message_of(first).privacy_noise_commitments)
        keys.add(message_of(first).ciphertext)
        simulation.store(simulation.coordinator.abort())
        simulation.checkpoint()
    assert len(names) == len(keys) == 2
    assert None not in names


def test_a_crash_before_an_answer_is_kept_draws_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and noise both: the same noise under two keys would be as bad as two noises under one."""
    simulation = Simulation(tmp_path, NOISY)
    simulation.start()
    simulation.open_round()
    drawn: list[DrawnNoise] = []
    real = submitting.commit_to

    def crash(engine: Any, at: Any, noise: DrawnNoise, *given: Any) -> Any:
        assert noise.privacy is not None
        drawn.append(replace(noise, key=noise.key.copy(), privacy=None))
        drawn_noise.append(noise.privacy.committed.noise.copy())
        if len(drawn) == 1:
            raise KeyboardInterrupt
        return real(engine, at, noise, *given)

    drawn_noise: list[np.ndarray] = []
    monkeypatch.setattr(submitting, "commit_to", crash)
    with pytest.raises(KeyboardInterrupt):
        simulation.package(NAME)
    simulation.restart_client(NAME)
    simulation.package(NAME)
    assert not np.array_equal(drawn[0].key, drawn[1].key)
    assert not np.array_equal(*drawn_noise)


def recorded(monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> list[Any]:
    """Whatever this function returns from now on."""
    made, real = list[Any](), getattr(place, name)
    monkeypatch.setattr(place, name, lambda *given: made.append(real(*given)) or made[-1])
    return made


def test_secrets_are_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what else tells the noise: its cells under public signs, what its squares leave, and a k, which is y - m."""
    simulation = Simulation(tmp_path, NOISY)
    simulation.start()
    simulation.open_round()
    made = recorded(monkeypatch, submitting, "commit_to")
    slack = recorded(monkeypatch, noise_witness, "_slack")
    places = (submitting, "sample"), (NoiseSigns, "times"), (noise_witness, "four_square_roots")
    copies = [recorded(monkeypatch, *place) for place in (*places, (encryption, "multiply"))]
    simulation.package(NAME)
    [secrets] = made
    assert secrets.noise.privacy is not None
    assert len(slack) == 2  # as it is drawn, and as it is committed to
    assert [len(each) for each in copies] == [1] * 4
    for array in (*(each for each, _, _ in slack), *(each for kind in copies for each in kind)):
        assert array.size > 0
        assert not array.any()
    for array in (secrets.noise.key, *secrets.committed.tables, *secrets.noise.privacy.committed.tables):
        assert not array.any()


@pytest.mark.parametrize(("clip", "check"), [(None, "squared norm"), (0.01, "coordinate")], ids=["norm", "coordinate"])
def test_secrets_are_wiped_where_an_update_cannot_be_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float | None, check: str
) -> None:
    """Key and noise, and the tables that were filled before it was found: with public signs they tell the noise."""
    simulation = Simulation(tmp_path, replace(NOISY, coordinate_clip=clip))
    simulation.start()
    simulation.open_round()
    drawn, filled = recorded(monkeypatch, submitting, "draw_noise"), recorded(monkeypatch, witness, "filled_tables")
    bound, update = simulation.pinned.policy.update.norm_bound, np.zeros(40, dtype=np.int64)
    update[: 2 if clip is None else 1] = bound
    with pytest.raises(Misuse, match=check):
        simulation.package(NAME, update)
    (noise,) = drawn
    assert bool(filled) == (clip is not None)
    for array in (noise.key, *noise.privacy.committed.tables, *(each for tables in filled for each in tables)):
        assert not array.any()


def test_noise_that_breaks_a_bound_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation(tmp_path, NOISY)
    simulation.start()
    simulation.open_round()
    at = ClientRound.of(simulation.pinned, simulation.accept(NAME).verified, NAME)
    sample, tries = submitting.sample, list[int]()

    def sometimes(variance: Fraction, count: int, rand: Callable[[int], bytes]) -> np.ndarray:
        tries.append(count)
        found = sample(variance, count, rand)
        return 0 * found if len(tries) == 1 else found

    monkeypatch.setattr(submitting, "sample", sometimes)
    assert submitting.draw_privacy_noise(at, seeded("again")).any()
    assert tries == [at.pinned.cells] * 2


@pytest.mark.parametrize("factor", [0, 3], ids=["none", "too-much"])
def test_noise_out_of_bounds_cannot_be_committed_to(tmp_path: Path, factor: int) -> None:
    simulation = Simulation(tmp_path, NOISY)
    simulation.start()
    simulation.open_round()
    at = ClientRound.of(simulation.pinned, simulation.accept(NAME).verified, NAME)
    noise = factor * submitting.draw_privacy_noise(at, seeded("noise"))
    with pytest.raises(Misuse, match="draw all of it again"):
        submitting.sign_noise(simulation.engine, at, noise, seeded("noise"))


def test_whose_noise_is_left_out_is_named(tmp_path: Path) -> None:
    """A client that commits to noise and encrypts its update without it: its ciphertext is not what it proved."""
    simulation = Simulation(tmp_path, NOISY)
    simulation.start()
    simulation.open_round()
    opened = simulation.accept(NAME)
    at = ClientRound.of(simulation.pinned, opened.verified, NAME)
    key, update = identity_of(NAME), simulation.random_update(NAME)

    def bare(place: ClientRound, secrets: submitting.Secrets) -> submitting.Ciphertext:
        message = secrets.committed.message.copy()
        message[:] = 0
        message[: len(update)] = update
        lattice = place.pinned.lattice
        return submitting.pack(
            place, submitting.encryption.encrypt_noisy(lattice, place.elements, secrets.noise.key, message)
        )

    package = submitting.make(simulation.engine, at, update, key, seeded("bare"), replace(ANYTHING, encrypt=bare))
    message = message_of(package)

    def blobs(name: bytes, size: int) -> bytes:
        del size
        return package.blobs[name]

    engines = [get_engine(name) for name in ("native", "reference")]
    for engine in engines:
        [fault] = judge(engine, simulation.pinned, [message], at.seed, blobs)
        assert fault is not None
        assert (fault.reason, fault.detail) == ("invalid-proof", "linear-relation")
    honest = submitting.make(simulation.engine, at, update, key, seeded("honest"))
    package = honest
    [fault] = judge(simulation.engine, simulation.pinned, [message_of(honest)], at.seed, blobs)
    assert fault is None


def test_commitments_to_noise_are_demanded(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, NOISY)
    simulation.start()
    simulation.open_round()
    package = simulation.package(NAME)
    message = message_of(package)
    rows = [package.blobs[blob] for blob in package.blobs if blob == message.privacy_noise_commitments]
    assert [len(each) for each in rows] == [simulation.pinned.argument.commitments_size(PRIVACY_COMMITMENTS)]
    without = replace(message, privacy_noise_commitments=None)
    with pytest.raises(Rejected) as excinfo:
        judge(simulation.engine, simulation.pinned, [without], b"", lambda name, _: package.blobs[name])
    assert excinfo.value.check == "relations"
    assert blob_hash(rows[0]) == message.privacy_noise_commitments
