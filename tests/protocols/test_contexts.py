from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.contexts import frame, round_seed, share_info, sign_context, submission_context
from protocols.messages import EncryptedShare, Submission

SUBMISSION = Submission(
    federation="simulated",
    round=3,
    round_open=b"\x01" * 32,
    client="client-00",
    commitments=b"\x02" * 32,
    ciphertext=b"\x03" * 32,
    share_commitments=b"\x04" * 32,
    shares=(EncryptedShare("trustee-0", b"\x05" * 32), EncryptedShare("trustee-1", b"\x06" * 32)),
    proof=b"\x07" * 32,
    range_commitments=None,
    weight_commitments=None,
    noise_commitments=None,
    privacy_noise_commitments=None,
    weight=None,
)
OTHER_VALUES = {
    "federation": "another",
    "round": 4,
    "round_open": bytes(32),
    "client": "client-01",
    "commitments": bytes(32),
    "ciphertext": bytes(32),
    "share_commitments": bytes(32),
    "shares": SUBMISSION.shares[::-1],
    "range_commitments": bytes(32),
    "weight_commitments": bytes(32),
    "noise_commitments": bytes(32),
    "privacy_noise_commitments": bytes(32),
}


@pytest.mark.parametrize("name", sorted(OTHER_VALUES))
def test_the_context_binds_every_field_but_the_proof(name: str) -> None:
    changed = replace(SUBMISSION, **{name: OTHER_VALUES[name]})
    assert submission_context(changed) != submission_context(SUBMISSION)


def test_signs_depend_on_all_that_is_known_before_the_noise() -> None:
    base: tuple[Any, ...] = (bytes(32), "simulated", 3, bytes(32), "client-00")
    others = [(b"p" * 32, "other", 4, b"r" * 32, "client-01")[place] for place in range(5)]
    changed = {sign_context(*(*base[:place], other, *base[place + 1 :])) for place, other in enumerate(others)}
    assert len(changed | {sign_context(*base)}) == 6
    parts = (b"verifl/v1/sign-context", bytes(32), b"simulated", bytes(7) + b"\x03", bytes(32), b"client-00")
    assert sign_context(*base) == b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def test_the_context_leaves_only_the_proof_and_the_weight_out() -> None:
    assert {field.name for field in fields(Submission)} == set(OTHER_VALUES) | {"weight", "proof"}
    assert submission_context(replace(SUBMISSION, proof=bytes(32))) == submission_context(SUBMISSION)


def test_a_share_is_bound_to_federation_round_client_and_trustee() -> None:
    base = ("simulated", 3, bytes(32), "client-00", "trustee-0")
    others = [
        ("simulate", 3, bytes(32), "client-00", "trustee-0"),
        ("simulated", 4, bytes(32), "client-00", "trustee-0"),
        ("simulated", 3, b"\x01" * 32, "client-00", "trustee-0"),
        ("simulated", 3, bytes(32), "client-01", "trustee-0"),
        ("simulated", 3, bytes(32), "client-00", "trustee-1"),
        ("simulated", 3, bytes(32), "client-00trustee", "-0"),
    ]
    assert len({share_info(*each) for each in (base, *others)}) == 7


def test_a_seed_is_of_one_log_one_round_and_its_keys() -> None:
    keys = [bytes([each]) * 32 for each in range(3)]
    others = [(bytes(32), 2, keys), (b"\x01" * 32, 1, keys), (bytes(32), 1, keys[:2]), (bytes(32), 1, keys[::-1])]
    assert len({round_seed(*each) for each in [(bytes(32), 1, keys), *others]}) == 5


@settings(deadline=None)
@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_a_frame_has_one_reading(first: list[bytes], second: list[bytes]) -> None:
    assert (frame(b"t", first) == frame(b"t", second)) == (first == second)
