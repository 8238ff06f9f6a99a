"""The verifiable random function of RFC 9381, against its vectors and the second implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Rejected
from protocols import vrf
from protocols.identities import SigningKey
from tests.independent.draws import vrf_value

# RFC 9381, appendix B.3, examples 16 and 17: seed, input, proof, value
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        (
            "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f26f8a57ccaed74ee1b190bed1f479d97"
            "27d2d0f9b005a6e456a35d4fb0daab1268a1b0db10836d9826a528ca76567805"
        ),
        (
            "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d03450451af02679"
            "8e8f81cd2e333de5cdf4f3e140fdd8ae"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        (
            "f3141cd382dc42909d19ec5110469e4feae18300e94f304590abdced48aed5933bf0864a62558b3ed7f2fea45c92a465"
            "301b3bbf5e3e54ddf2d935be3b67926da3ef39226bbc355bdc9850112c8f4b02"
        ),
        (
            "eb4440665d3891d668e7e0fcaf587f1b4bd7fbfe99d0eb2211ccec90496310eb5e33821bc613efb94db5e5b54c70a848"
            "a0bef4553a41befc57663b56373a5031"
        ),
    ),
]
KEY = SigningKey(bytes(32))


@pytest.mark.parametrize(("seed", "data", "proof", "value"), VECTORS)
def test_the_vectors_of_the_standard(seed: str, data: str, proof: str, value: str) -> None:
    key = SigningKey(bytes.fromhex(seed))
    assert vrf.prove(key, bytes.fromhex(data)).hex() == proof
    assert vrf.verify(key.public_key, bytes.fromhex(data), bytes.fromhex(proof)).hex() == value
    assert vrf_value(key.public_key, bytes.fromhex(data), bytes.fromhex(proof)) == bytes.fromhex(value)


@pytest.mark.parametrize("place", [0, 31, 32, 47, 48, 79])
def test_no_other_proof_is_accepted(place: int) -> None:
    proof = bytearray(vrf.prove(KEY, b"data"))
    proof[place] ^= 1
    with pytest.raises(Rejected) as excinfo:
        vrf.verify(KEY.public_key, b"data", bytes(proof))
    assert excinfo.value.check == "draw"
    assert vrf_value(KEY.public_key, b"data", bytes(proof)) is None


def test_a_proof_is_of_one_key_and_one_input() -> None:
    proof, other = vrf.prove(KEY, b"data"), SigningKey(bytes([1]) * 32)
    for key, data in ((KEY, b"date"), (other, b"data")):
        with pytest.raises(Rejected):
            vrf.verify(key.public_key, data, proof)
        assert vrf_value(key.public_key, data, proof) is None


def test_a_response_that_is_too_large_is_refused() -> None:
    """s + L would verify, too: one proof has one spelling."""
    proof = vrf.prove(KEY, b"data")
    order = 2**252 + 27742317777372353535851937790883648493
    response = int.from_bytes(proof[48:], "little") + order
    longer = proof[:48] + response.to_bytes(32, "little")
    with pytest.raises(Rejected):
        vrf.verify(KEY.public_key, b"data", longer)
    assert vrf_value(KEY.public_key, b"data", longer) is None


@given(st.binary(min_size=70, max_size=90) | st.binary(min_size=80, max_size=80))
def test_verification_is_total(proof: bytes) -> None:
    with pytest.raises(Rejected):
        vrf.verify(KEY.public_key, b"data", proof)
    if len(proof) == 80:
        assert vrf_value(KEY.public_key, b"data", proof) is None
