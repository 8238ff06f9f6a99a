"""Cheating over the encryption: each by name, with everything else done honestly."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest

from proofs.curve import ORDER
from proofs.decompositions import four_square_table
from proofs.encryption import EncryptionStatement, RingElements
from proofs.parameters import ArgumentParameters
from proofs.prover import Encrypted, complete, project
from proofs.relations.encryption import DrawnEncryption, Encryption
from proofs.relations.noise import ERROR, ERROR_SLACK, KEY, KEY_SLACK
from proofs.relations.relation import MaskedIntegers, Relation
from proofs.squares import four_squares
from proofs.verifier import Claim
from proofs.witness import CommittedUpdate, Noise, packed_key
from tests.proofs.arguments import (
    CONTEXT,
    MODULUS,
    RING,
    WeakParameters,
    claim_of,
    encrypted_by,
    encryption_of,
    honest,
    judge,
    native,
    noise_relation,
    pruned,
    quotients_of,
    residues_of,
    restated,
    ring_elements,
)
from tests.seeded import seeded
from tests.soundness.forgery import Encrypt, another_point, forge
from tests.soundness.test_tampering import without_ciphertext

PARAMETERS = ArgumentParameters(40, 500, 360, None, (), RING)  # 3 data rows of 16: three chunks of N = 16
UPDATE = np.array([*range(-20, 20), *[0] * 8])
T = RING.plaintext_scale


def noise() -> Noise:
    generator = np.random.default_rng(0)
    return Noise(generator.integers(-11, 12, 16), generator.integers(-11, 12, 48))


def slack_of(parameters: ArgumentParameters, values: np.ndarray, name: str) -> np.ndarray:
    """Four squares for every group, zeros where there are none."""
    groups = noise_relation(parameters).errors if name == ERROR else noise_relation(parameters).key
    sums = groups.square_sums(values.reshape(groups.rows, groups.columns))
    return groups.slack_table(four_square_table(128**2)[np.maximum(128**2 - sums, 0)])


def cheat(
    parameters: ArgumentParameters = PARAMETERS,
    true: Noise | None = None,
    update: np.ndarray = UPDATE,
    encrypt: Encrypt | None = None,
    **tables: np.ndarray,
) -> Claim:
    """Committed tables from `true` noise but for `tables`; the encryption is of what is committed, or `encrypt`'s."""
    layout, columns = parameters.layout, parameters.shape.columns
    true = true or noise()
    cells = {ERROR: true.errors, KEY: true.key}
    cells[ERROR_SLACK] = slack_of(parameters, true.errors, ERROR)
    cells[KEY_SLACK] = slack_of(parameters, true.key, KEY)
    cells.update({name.replace("_", "-"): table for name, table in tables.items()})
    places = {table.name: (table.rows, table.columns) for table in layout.tables}
    others = {name: table.reshape(places[name]).astype(np.int64) for name, table in cells.items()}
    slack = four_squares(parameters.norm_bound**2 - int((update**2).sum()), seeded(0))
    rows = [*update.reshape(-1, columns).tolist(), list(slack)]
    honestly: Encrypt = lambda committed: encrypted_by(native(), parameters, committed, true)  # noqa: E731
    return forge(native(), parameters, rows, others=others, encrypt=encrypt or honestly)


def encrypting(errors: np.ndarray | None = None, key: np.ndarray | None = None, shift: int = 0) -> Encrypt:
    """E_0 as it should be, but the ciphertext under another key or other errors, or shifted."""

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        made = encrypted_by(native(), PARAMETERS, committed, noise())
        parts = (noise().key if key is None else key, noise().errors if errors is None else errors)
        message = [int(u) + shift for u in committed.message]
        key_used, errors_used = (part.tolist() for part in parts)
        ciphertext = encryption_of(PARAMETERS, made.statement.elements, key_used, errors_used, message)
        return replace(made, statement=restated(made.statement, ciphertext=ciphertext))

    return encrypt


def judged(claim: Claim) -> str:
    """The verdict, which is the same without the ciphertext: these provers send the combinations of what they show."""
    verdict = judge(native(), PARAMETERS, claim)
    assert judge(native(), PARAMETERS, pruned(claim)) == without_ciphertext(verdict)
    return verdict


def changed(values: np.ndarray, index: int, value: int) -> np.ndarray:
    result = values.copy()
    result[index] = value
    return result


def shifted(statement: EncryptionStatement, x: int, step: int) -> EncryptionStatement:
    """One residue moved by `step`."""
    ciphertext = residues_of(statement)
    ciphertext[x] = (ciphertext[x] + step) % MODULUS
    return restated(statement, ciphertext=ciphertext)


def test_true_witness_by_the_same_road() -> None:
    assert judged(cheat()) == "accepted"


# ---- wrong ciphertext ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [0, 15, 16, 33, 47])
@pytest.mark.parametrize("step", [1, -1, T, MODULUS // 2])
def test_wrong_ciphertext(x: int, step: int) -> None:
    def encrypt(committed: CommittedUpdate) -> Encrypted:
        made = encrypted_by(native(), PARAMETERS, committed, noise())
        return replace(made, statement=shifted(made.statement, x, step))

    assert judged(cheat(encrypt=encrypt)) == "linear-relation"


def test_ciphertext_of_another_message() -> None:
    assert judged(cheat(encrypt=encrypting(shift=1))) == "linear-relation"


def test_ciphertext_of_random_residues() -> None:
    def encrypt(committed: CommittedUpdate) -> Encrypted:
        residues = np.random.default_rng(1).integers(0, MODULUS, 48)
        return encrypted_by(native(), PARAMETERS, committed, noise(), ciphertext=residues)

    assert judged(cheat(encrypt=encrypt)) == "linear-relation"


def test_padding_is_encrypted_too() -> None:
    """A residue of the padding that hides a value the commitments do not carry."""

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        made = encrypted_by(native(), PARAMETERS, committed, noise())
        return replace(made, statement=shifted(made.statement, 45, 5))

    assert judged(cheat(encrypt=encrypt)) == "linear-relation"
    assert judged(cheat(update=changed(UPDATE, 45, 5))) == "linear-relation"


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_coarsely_short_error_that_shifts_the_plaintext() -> None:
    """e near q / T: T e = q - r hides a shift by r of the sum, far within what the projections allow."""
    near = MODULUS // T
    shift = MODULUS - near * T
    moved = changed(noise().errors, 0, noise().errors[0] + near)
    claim = cheat(error=moved, encrypt=encrypting(errors=moved))
    assert judged(claim) == "linear-relation"

    plain = cheat()
    assert judged(plain) == "accepted"
    difference = int(residues_of(claim.encryption)[0] - residues_of(plain.encryption)[0])
    assert (difference + shift) % MODULUS == 0  # it looks like an encryption of u - shift with an honest error
    assert near < 4 * PARAMETERS.response_bound  # no projection would notice
    assert 0 < shift < T  # decryption would not either


@pytest.mark.parametrize("value", [129, -129, 2**20, -(2**30)])
def test_oversized_error(value: int) -> None:
    """Committed and encrypted alike: only the bound on its group is violated."""
    errors = changed(noise().errors, 20, value)
    assert judged(cheat(true=Noise(noise().key, errors))) == "linear-relation"


def test_group_of_errors_over_by_one() -> None:
    errors = np.zeros(48, dtype=np.int64)
    errors[:4] = 64
    assert judged(cheat(true=Noise(noise().key, errors))) == "accepted"
    errors[4] = 1
    assert judged(cheat(true=Noise(noise().key, errors))) == "linear-relation"


def test_slack_of_one_group_used_for_another() -> None:
    slack = slack_of(PARAMETERS, noise().errors, ERROR)
    assert slack.shape == (1, 16)
    swapped = slack[:, [4, 5, 6, 7, 0, 1, 2, 3, *range(8, 16)]]
    assert judged(cheat(error_slack=swapped)) == "linear-relation"


def test_slack_for_a_row_that_is_not_there() -> None:
    """Three rows, and room for the slack of four: what stands there must be zero."""
    slack = slack_of(PARAMETERS, noise().errors, ERROR)
    assert not slack[0, 12:].any()
    slack[0, 12] = 1
    assert judged(cheat(error_slack=slack)) == "linear-relation"


def test_groups_that_cancel() -> None:
    """One group over its bound by as much as the next is below."""
    errors = noise().errors.copy()
    slack = slack_of(PARAMETERS, errors, ERROR)
    sums = noise_relation(PARAMETERS).errors.square_sums(errors.astype(np.int64).reshape(3, 16))[:, 0]
    rest = 128**2 - sums
    slack[0, :4] = four_square_table(128**2)[rest[0] + 1]
    slack[0, 4:8] = four_square_table(128**2)[rest[1] - 1]
    assert judged(cheat(error_slack=slack)) == "linear-relation"


# ---- key -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [129, -129, 2**23, 2**24, -(2**24)])
def test_oversized_key_digit(value: int) -> None:
    """Committed, encrypted and shared alike."""
    key = changed(noise().key, 3, value)
    assert judged(cheat(true=Noise(key, noise().errors))) == "linear-relation"


def test_wrong_key_in_the_ciphertext() -> None:
    key = changed(noise().key, 15, noise().key[15] + 1)
    assert judged(cheat(encrypt=encrypting(key=key))) == "linear-relation"


def test_wrong_key_in_the_table() -> None:
    key = changed(noise().key, 0, noise().key[0] + 1)
    claim = cheat(key=key, key_slack=slack_of(PARAMETERS, key, KEY))
    assert judged(claim) == "linear-relation"


def shared(secret: list[int], committed: CommittedUpdate) -> Encrypted:
    share = native().commit([value % ORDER for value in secret], 17)
    return encrypted_by(native(), PARAMETERS, committed, noise(), share_commitment=share)


@pytest.mark.parametrize("index", [0, 1])
def test_wrong_key_in_the_shares(index: int) -> None:
    """E_0 carries another key; the prover opens the one it committed to."""

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        secret = [*packed_key(noise().key), *committed.blindings]
        secret[index] += 1
        return shared(secret, committed)

    assert judged(cheat(encrypt=encrypt)) == "opening"


def test_key_scalars_in_another_order() -> None:
    def encrypt(committed: CommittedUpdate) -> Encrypted:
        first, second = packed_key(noise().key)
        return shared([second, first, *committed.blindings], committed)

    assert judged(cheat(encrypt=encrypt)) == "opening"


def test_wrong_key_in_the_shares_and_their_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prover opens E_0 as it is: then the packing of the committed key is another."""
    wrong = changed(noise().key, 7, noise().key[7] + 1)

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        return shared([*packed_key(wrong), *committed.blindings], committed)

    monkeypatch.setattr("proofs.witness.packed_key", lambda _key: packed_key(wrong))
    assert judged(cheat(encrypt=encrypt)) == "linear-relation"


def test_same_number_packed_with_other_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits 2^24 and -1 for 0 and 1 less: the scalar is the same, the bound on the digits is not met."""
    key = noise().key.copy()
    key[2] += 2**24
    key[3] -= 1
    assert packed_key(key)[0] == packed_key(noise().key)[0]
    claim = cheat(key=key, key_slack=slack_of(PARAMETERS, noise().key, KEY), encrypt=encrypting(key=key))
    assert judged(claim) == "linear-relation"


# ---- blindings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", range(3))
def test_wrong_blinding_in_the_shares(row: int) -> None:
    """The prover opens the blindings of its rows: E_0 opens to others."""

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        secret = [*packed_key(noise().key), *committed.blindings]
        secret[2 + row] += 1
        return shared(secret, committed)

    assert judged(cheat(encrypt=encrypt)) == "opening"


@pytest.mark.parametrize("row", range(3))
def test_wrong_blinding_in_the_shares_and_their_opening(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prover opens E_0 as it is: the update's rows have other blindings, and no response may make up for it."""

    class Lying(CommittedUpdate):
        @property
        def blindings(self) -> tuple[int, ...]:
            values = list(super().blindings)
            values[row] = (values[row] + 1) % ORDER
            return tuple(values)

    made = honest(native(), PARAMETERS)
    true = made.committed
    lying = Lying(true.tables, true.row_blindings, true.rows)
    encrypted = encrypted_by(native(), PARAMETERS, lying, honest_noise(made.committed))
    projected = project(native(), PARAMETERS, lying, CONTEXT, seeded(3), encrypted)
    proof = complete(native(), PARAMETERS, lying, projected, seeded(4), encrypted)
    claim = claim_of(lying, proof.encode(PARAMETERS), CONTEXT, encrypted)
    assert judged(claim) == "linear-relation"


def honest_noise(committed: CommittedUpdate) -> Noise:
    layout = PARAMETERS.layout
    return Noise(*(committed.tables[layout.index(name)].reshape(-1) for name in (KEY, ERROR)))


def test_blindings_of_another_order_in_the_shares() -> None:
    def encrypt(committed: CommittedUpdate) -> Encrypted:
        first, *rest = committed.blindings
        return shared([*packed_key(noise().key), *rest, first], committed)

    assert judged(cheat(encrypt=encrypt)) == "opening"


def test_share_commitment_of_somebody_else() -> None:
    def encrypt(committed: CommittedUpdate) -> Encrypted:
        return encrypted_by(native(), PARAMETERS, committed, noise(), share_commitment=another_point())

    assert judged(cheat(encrypt=encrypt)) == "opening"


# ---- chunks and quotients --------------------------------------------------------------------------------------------


def test_mixed_up_chunks() -> None:
    """The right residues, in the order of other chunks; and the ring elements in another order."""

    def swapped(committed: CommittedUpdate) -> Encrypted:
        made = encrypted_by(native(), PARAMETERS, committed, noise())
        ciphertext = residues_of(made.statement).reshape(3, 16)[[1, 0, 2]].reshape(-1)
        return replace(made, statement=restated(made.statement, ciphertext=ciphertext))

    def other_elements(committed: CommittedUpdate) -> Encrypted:
        made = encrypted_by(native(), PARAMETERS, committed, noise())
        elements = RingElements(made.statement.elements.coefficients[[0, 2, 1]])
        return replace(made, statement=replace(made.statement, elements=elements))

    assert judged(cheat(encrypt=swapped)) == "linear-relation"
    assert judged(cheat(encrypt=other_elements)) == "linear-relation"


def test_elements_of_another_round() -> None:
    def encrypt(committed: CommittedUpdate) -> Encrypted:
        return encrypted_by(native(), PARAMETERS, committed, noise(), elements=ring_elements(PARAMETERS, 9))

    claim = cheat(encrypt=encrypt)
    assert judged(claim) == "accepted"
    assert claim.encryption is not None
    moved = replace(claim, encryption=replace(claim.encryption, elements=ring_elements(PARAMETERS)))
    assert judged(moved) == "ciphertext-combination"


def test_wrong_sign_on_the_wrap_around() -> None:
    """Multiplication modulo X^N - 1 instead of X^N + 1."""

    def encrypt(committed: CommittedUpdate) -> Encrypted:
        made = encrypted_by(native(), PARAMETERS, committed, noise())
        elements, key = made.statement.elements.coefficients.tolist(), noise().key.tolist()
        residues = [
            (sum(elements[x // 16][(x % 16 - i) % 16] * key[i] for i in range(16)) + T * int(e) + int(u)) % MODULUS
            for x, (e, u) in enumerate(zip(noise().errors, committed.message, strict=True))
        ]
        return replace(made, statement=restated(made.statement, ciphertext=np.array(residues)))

    assert judged(cheat(encrypt=encrypt)) == "linear-relation"


class AnyIntegers(MaskedIntegers):
    """Of any size."""

    bound = ORDER  # type: ignore[assignment]  # a constant for a property


class UnboundedEncryption(Encryption):
    """Quotients of any size."""

    @property
    def quotients(self) -> MaskedIntegers:
        made = super().quotients
        return AnyIntegers(made.count, made.honest)


class Unbounded(WeakParameters):
    """With that relation in the place of the true one."""

    wrap_bounds = ()

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        *others, true = super().relations
        assert isinstance(true, Encryption)
        return (*others, UnboundedEncryption(true.shape, true.lattice, true.message_bound))


def with_field_quotients(parameters: ArgumentParameters) -> tuple[Claim, list[int]]:
    """A residue is wrong by one; quotients modulo the group order make every equation hold there all the same."""
    made = honest(native(), PARAMETERS)
    assert made.encrypted is not None
    encrypted = replace(made.encrypted, statement=shifted(made.encrypted.statement, 5, 1))
    projected = project(native(), parameters, made.committed, CONTEXT, seeded(3), encrypted)
    assert not projected.divisible
    (cells,) = (each for each in projected.drawn if isinstance(each, DrawnEncryption))
    quotients = []
    for s, floor in enumerate(projected.quotients):
        remainder = -int(cells.rows[s][0]) * int(cells.columns[s][5]) % MODULUS
        value = (floor + remainder * pow(MODULUS, -1, ORDER)) % ORDER
        quotients.append(value - ORDER if 2 * value > ORDER else value)
    bound = quotients_of(parameters).bound
    sent = tuple(max(-bound, min(bound, value)) for value in quotients)
    cheated = replace(projected, quotients=sent)
    proof = complete(native(), parameters, made.committed, cheated, seeded(4), encrypted)
    return claim_of(made.committed, proof.encode(parameters), CONTEXT, encrypted), quotients


def test_quotient_out_of_range() -> None:
    """It is the bound on the quotients that makes a wrong ciphertext fail."""
    unbounded = Unbounded(40, 500, 360, None, (), RING)
    claim, quotients = with_field_quotients(unbounded)
    assert judge(native(), unbounded, claim) == "accepted"
    assert any(abs(value) > quotients_of(PARAMETERS).bound for value in quotients)
    claim, _ = with_field_quotients(PARAMETERS)
    assert judged(claim) == "linear-relation"
    made = honest(native(), PARAMETERS)
    beyond = (quotients_of(PARAMETERS).bound + 1, *made.proof.quotients[1:])
    assert judged(made.edited(quotients=beyond)) == "quotient-range"
