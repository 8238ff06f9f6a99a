"""Clients that cheat over what they have to prove: what each could gain, and where there is no occasion for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditor import audit
from proofs.engines import get_engine
from proofs.errors import Misuse, Rejected
from protocols.envelopes import open_envelope
from protocols.lattice.parameters import MODULI, LatticeParameters
from protocols.log.reader import TranscriptReader
from protocols.messages import Aggregate
from protocols.opening import OpenedSum, check_opening, decode_plaintext, open_sum
from protocols.rounds.aggregation import row_commitments, sum_ciphertexts
from protocols.sharing import Share
from protocols.summation import add_residues
from tests.verifl.adversaries.conftest import ABOUT_NOISE, ABOUT_WEIGHTS, CLIENTS, CONFIG, Means, Play, Played
from verifl import Federation
from verifl.adversaries.carrier import InjectedCarrier
from verifl.adversaries.cast import CLIENTS as LIARS
from verifl.adversaries.injections import parse_injection
from verifl.adversaries.provers import ProvesAnything, mixed_up, shifting_error
from verifl.adversaries.registry import KINDS, Role


def opened(played: Played, number: int) -> OpenedSum:
    """The sum of a round, opened from the transcript without any check against the commitments."""
    reader, pinned = TranscriptReader(played.transcript), played.pinned
    last = played.rounds()[number].last
    releases = {
        each.message.trustee: Share.decode(reader.blob(each.message.share, pinned.share_size), pinned.secret_length)
        for each in last.releases[: pinned.policy.threshold]
    }
    ciphertext = sum_ciphertexts(pinned, last, add_residues, reader.blob)
    return open_sum(pinned, last.message.seed, releases, ciphertext, last.summands)


def commitments(played: Played, number: int) -> list[bytes]:
    return row_commitments(played.pinned, played.rounds()[number].last, TranscriptReader(played.transcript).blob)


def cohort(played: Played, number: int) -> set[str]:
    return {each.message.client for each in played.rounds()[number].last.accepted_submissions()}


def test_an_oversized_error_shifts_the_sum_where_no_proof_stands_against_it(play: Play) -> None:
    """Decryption finds nothing: the sum is off by the shift. Only the opening of the commitments tells, not who."""
    played = play("oversized-error", encryption_proof=False)
    pinned = played.pinned
    assert cohort(played, 2) == cohort(played, 3) == set(CLIENTS)
    assert played.rounds()[2].aborted == "opening-failed"
    spoilt, honest = opened(played, 2), opened(played, 3)  # round 3 repeats it, and everybody is honest
    difference = spoilt.plaintext - honest.plaintext
    assert 0 < abs(int(difference[0])) <= pinned.policy.update.coordinate_bound // 2
    assert not difference[1:].any()
    engine = get_engine("native")
    check_opening(engine, pinned, honest.plaintext, honest.blindings, commitments(played, 3))
    with pytest.raises(Rejected) as excinfo:
        check_opening(engine, pinned, spoilt.plaintext, spoilt.blindings, commitments(played, 2))
    assert excinfo.value.check == "opening"
    report = audit(played.transcript, played.policy)
    assert report.accepted
    assert not any(CLIENTS[0] in note for check in report.checks for note in check.notes)


def test_the_proof_of_encryption_names_who_made_an_oversized_error(play: Play) -> None:
    played = play("oversized-error")
    assert played.rounds()[2].aborted is None
    assert cohort(played, 2) == set(CLIENTS[1:])
    spoilt = opened(played, 2)
    reader = TranscriptReader(played.transcript)
    published = [each for each in map(open_message, played.entries()) if isinstance(each, Aggregate)]
    size = 8 * played.pinned.policy.dimension
    assert np.array_equal(spoilt.plaintext, decode_plaintext(played.pinned, reader.blob(published[1].plaintext, size)))


def open_message(entry: bytes) -> object:
    return open_envelope(entry).message


@given(modulus=st.sampled_from(MODULI), scale=st.integers(8, 24), bound=st.integers(0, 20))
@settings(deadline=None)
def test_an_error_that_shifts(modulus: int, scale: int, bound: int) -> None:
    if 2 * 86 << scale >= modulus or bound > scale - 2:
        return
    lattice = LatticeParameters(4096, modulus, 1 << scale)
    error, shift = shifting_error(lattice, 1 << bound)
    assert (lattice.plaintext_scale * error - shift) % modulus == 0
    assert 0 < abs(shift) <= 1 << bound
    assert error > lattice.noise_bound
    assert error <= (modulus >> scale) << scale  # far below q


@pytest.mark.parametrize(
    ("count", "degree", "expected"),
    [
        (16, 4096, [*range(8, 16), *range(8)]),
        (7, 4, [3, 4, 5, 0, 1, 2, 6]),
        (8, 4, [4, 5, 6, 7, 0, 1, 2, 3]),
        (11, 4, [4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10]),
    ],
)
def test_chunks_are_exchanged_whole(count: int, degree: int, expected: list[int]) -> None:
    assert mixed_up(np.arange(count), degree).tolist() == expected


class Filling(Means):
    """A model whose coordinates leave no padding."""

    def model(self) -> nn.Module:
        model = nn.Linear(16, 1, bias=False)
        nn.init.zeros_(model.weight)
        return model


@pytest.mark.parametrize(
    ("kind", "task", "update", "message"),
    [
        ("out-of-range", Means(), {"coordinate_bound": None}, "inject: out-of-range needs a bound on coordinates, and"),
        ("out-of-range", Means(), {"coordinate_bound": 1.0}, "needs a bound on coordinates below that on the norm"),
        ("quotient-out-of-range", Means(), {"encryption_proof": False}, "needs the proof of encryption, and the pol"),
        (
            "wrong-weight",
            Means(),
            {},
            "inject: wrong-weight needs weights that are stated, and the policy has equal",
        ),
        ("server-ignores-weights", Means(), {}, "needs weights that are stated, and the policy has equal ones up to 1"),
        ("value-in-padding", Filling(), {}, "needs padding, and this model's 16 coordinates fill their rows"),
        ("poison-noise", Means(), {}, "inject: poison-noise needs noise for privacy, and the policy has none; set"),
    ],
)
def test_no_occasion_for_the_lie(
    tmp_path: Path, kind: str, task: Means, update: dict[str, object], message: str
) -> None:
    config = CONFIG.model_copy(update={"update": CONFIG.update.model_copy(update=update)})
    with pytest.raises(Misuse, match=message):
        Federation(task, config, tmp_path / "out", carrier=InjectedCarrier([parse_injection(kind)])).run()
    assert not (tmp_path / "out").exists()


def test_nothing_is_wrong_with_what_tells_no_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The road that all these clients take, with all true: so what excludes them is their one lie."""
    monkeypatch.setitem(LIARS, "wrong-key", ProvesAnything)
    carrier = InjectedCarrier([parse_injection("wrong-key")])
    result = Federation(Means(), CONFIG, tmp_path / "out", carrier=carrier).run()
    assert set(result.rounds[1].accepted) == set(CLIENTS)


def test_the_list_says_what_a_kind_needs() -> None:
    needy = {"out-of-range": "a bound on coordinates", "quotient-out-of-range": "the proof of encryption"}
    needy |= {"value-in-padding": "padding", "two-aborts": "more than twice min_cohort clients"}
    needy |= dict.fromkeys(ABOUT_WEIGHTS, "weights that are stated")
    needy |= dict.fromkeys(("oversized-weight", "split-weight"), "private weights")
    needy |= dict.fromkeys(ABOUT_NOISE, "noise for privacy") | {"unnoised-padding": "noise for privacy and padding"}
    needy |= dict.fromkeys(("other-draw", "server-asks-undrawn"), "clients that are drawn for each round")
    assert {name: kind.needs for name, kind in KINDS.items() if kind.needs} == needy


def test_a_kind_that_needs_more_clients_is_refused_with_fewer(tmp_path: Path) -> None:
    carrier = InjectedCarrier([parse_injection("two-aborts")])
    with pytest.raises(Misuse, match="two-aborts needs 7 clients, found 4"):
        Federation(Means(), CONFIG, tmp_path / "out", carrier=carrier).run()


def test_every_client_of_the_list_can_be_played() -> None:
    assert set(LIARS) == {kind.name for kind in KINDS.values() if kind.by is Role.CLIENT}


@pytest.mark.parametrize(("kind", "check"), [("wrong-key", "opening"), ("quotient-out-of-range", "quotient-range")])
def test_the_story_of_a_liar_names_the_check_that_failed(play: Play, kind: str, check: str) -> None:
    played = play(kind)
    story = audit(played.transcript, played.policy, explain=CLIENTS[0]).story
    assert story is not None
    (verdict,) = [event for event in story.events if event.text.startswith("excluded")]
    assert (verdict.round, verdict.text, verdict.holds) == (2, f"excluded: invalid-proof ({check})", True)
