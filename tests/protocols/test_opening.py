from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from proofs.curve import ORDER
from proofs.errors import Malformed, Rejected
from protocols.lattice.encryption import unpack
from protocols.messages import Aggregate
from protocols.opening import (
    check_opening,
    check_release,
    decode_blindings,
    decode_key,
    decode_plaintext,
    decrypt,
    encode_blindings,
    encode_key,
    encode_plaintext,
    open_sum,
)
from protocols.rounds.ledger import CurrentRound
from protocols.sharing import Share
from protocols.submissions import read_blob
from protocols.summation import add_residues
from protocols.weights import Summands
from tests.simulator import Setting, Simulation


class ClosedCohort:
    """A round of three clients with all releases in the log, and what an auditor would read of it."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation, self.pinned, self.engine = simulation, simulation.pinned, simulation.engine
        simulation.open_round()
        for name in simulation.clients:
            simulation.submit(name)
        simulation.acknowledge()
        simulation.close_cohort()
        simulation.release()
        current = simulation.coordinator.ledger.current
        assert current is not None
        self.current: CurrentRound = current
        self.commitments = self.blobs("commitments", self.pinned.commitments_size)
        self.share_commitments = self.blobs("share_commitments", self.pinned.share_commitments_size)
        ciphertexts = self.blobs("ciphertext", self.pinned.ciphertext_size)
        arrays = [unpack(self.pinned.lattice, each, self.pinned.cells) for each in ciphertexts]
        self.ciphertext = add_residues(arrays, self.pinned.lattice.modulus)
        self.releases = {
            each.message.trustee: read_blob(simulation.blob, each.message.share, self.pinned.share_size)
            for each in current.releases
        }
        publication = simulation.coordinator.aggregate()
        message = publication.entries[0].message
        assert isinstance(message, Aggregate)
        self.plaintext = decode_plaintext(self.pinned, publication.blobs[message.plaintext])
        self.blindings = decode_blindings(self.pinned, publication.blobs[message.blindings])
        self.key = decode_key(self.pinned, publication.blobs[message.key])

    def blobs(self, field: str, size: int) -> list[bytes]:
        return [
            read_blob(self.simulation.blob, getattr(each.message, field), size)
            for each in self.current.accepted_submissions()
        ]

    def shares(self, *trustees: str) -> dict[str, Share]:
        return {
            name: check_release(self.engine, self.pinned, name, self.releases[name], self.share_commitments)
            for name in trustees
        }


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClosedCohort]:
    simulation = Simulation(tmp_path_factory.mktemp("closed"), Setting(clients=3, dimension=40))
    simulation.start()
    yield ClosedCohort(simulation)
    simulation.writer.close()


def opening_fails(closed: ClosedCohort, plaintext: object, blindings: object, commitments: list[bytes]) -> bool:
    with pytest.raises(Rejected) as excinfo:
        check_opening(closed.engine, closed.pinned, plaintext, blindings, commitments)
    return excinfo.value.check == "opening"


def test_any_t_releases_open_the_same_sum(closed: ClosedCohort) -> None:
    for names in (
        ("trustee-0", "trustee-1", "trustee-2", "trustee-3"),
        ("trustee-4", "trustee-3", "trustee-1", "trustee-0"),
    ):
        shares = closed.shares(*names)
        opened = open_sum(closed.pinned, closed.current.message.seed, shares, closed.ciphertext, Summands(3, 3))
        assert np.array_equal(opened.plaintext, closed.plaintext)
        assert np.array_equal(opened.key, closed.key)
        assert opened.blindings == closed.blindings
    check_opening(closed.engine, closed.pinned, closed.plaintext, closed.blindings, closed.commitments)


def test_the_order_of_clients_does_not_matter_to_the_opening(closed: ClosedCohort) -> None:
    check_opening(closed.engine, closed.pinned, closed.plaintext, closed.blindings, closed.commitments[::-1])


@pytest.mark.parametrize("coordinate", [0, 15, 16, 39])
@pytest.mark.parametrize("change", [1, -1, 1 << 20])
def test_a_term_added_by_the_aggregator(closed: ClosedCohort, coordinate: int, change: int) -> None:
    plaintext = closed.plaintext.copy()
    plaintext[coordinate] += change
    assert opening_fails(closed, plaintext, closed.blindings, closed.commitments)


def test_values_moved_between_coordinates_and_rows(closed: ClosedCohort) -> None:
    assert opening_fails(closed, np.roll(closed.plaintext, 1), closed.blindings, closed.commitments)
    rows = np.roll(np.resize(closed.plaintext, 48), 16)[:40]
    assert opening_fails(closed, rows, closed.blindings[-1:] + closed.blindings[:-1], closed.commitments)


def test_blindings_of_others(closed: ClosedCohort) -> None:
    changed = ((closed.blindings[0] + 1) % ORDER, *closed.blindings[1:])
    assert opening_fails(closed, closed.plaintext, changed, closed.commitments)


def test_a_client_dropped_or_counted_twice(closed: ClosedCohort) -> None:
    assert opening_fails(closed, closed.plaintext, closed.blindings, closed.commitments[:2])
    doubled = [*closed.commitments, closed.commitments[0]]
    assert opening_fails(closed, closed.plaintext, closed.blindings, doubled)


def test_the_private_row_takes_no_part(closed: ClosedCohort) -> None:
    first, *others = closed.commitments
    changed = first[:-33] + closed.commitments[1][-33:]
    check_opening(closed.engine, closed.pinned, closed.plaintext, closed.blindings, [changed, *others])


def test_shapes_are_checked_before_anything_else(closed: ClosedCohort) -> None:
    for plaintext, blindings, commitments in (
        (closed.plaintext[:-1], closed.blindings, closed.commitments),
        (closed.plaintext, closed.blindings[:-1], closed.commitments),
        (closed.plaintext, closed.blindings, []),
        (closed.plaintext, closed.blindings, [each[:-33] for each in closed.commitments]),
        (closed.plaintext, closed.blindings, [bytes(len(each)) for each in closed.commitments]),
    ):
        with pytest.raises(Malformed):
            check_opening(closed.engine, closed.pinned, plaintext, blindings, commitments)


def test_a_release_of_another_trustee_or_cohort(closed: ClosedCohort) -> None:
    for trustee, share, commitments in (
        ("trustee-0", closed.releases["trustee-1"], closed.share_commitments),
        ("trustee-0", closed.releases["trustee-0"], closed.share_commitments[:2]),
        ("trustee-0", bytes(len(closed.releases["trustee-0"])), closed.share_commitments),
    ):
        with pytest.raises(Rejected) as excinfo:
            check_release(closed.engine, closed.pinned, trustee, share, commitments)
        assert excinfo.value.check == "summed-share"
    with pytest.raises(Malformed):
        check_release(
            closed.engine, closed.pinned, "trustee-0", b"\xff" * closed.pinned.share_size, closed.share_commitments
        )


@pytest.mark.parametrize("count", [3, 5])
def test_exactly_t_releases(closed: ClosedCohort, count: int) -> None:
    shares = closed.shares(*list(closed.releases)[:count])
    with pytest.raises(Rejected) as excinfo:
        open_sum(closed.pinned, closed.current.message.seed, shares, closed.ciphertext, Summands(3, 3))
    assert excinfo.value.check == "releases"


def test_another_key_does_not_decrypt(closed: ClosedCohort) -> None:
    key = closed.key.copy()
    key[0] += 1
    with pytest.raises(Rejected) as excinfo:
        decrypt(closed.pinned, closed.current.message.seed, key, closed.ciphertext, Summands(3, 3))
    assert excinfo.value.check in {"decryption-noise", "decryption-message"}


def test_a_value_in_the_padding(closed: ClosedCohort) -> None:
    ciphertext = closed.ciphertext.copy()
    ciphertext[40] = (ciphertext[40] + 1) % closed.pinned.lattice.modulus
    with pytest.raises(Rejected) as excinfo:
        decrypt(closed.pinned, closed.current.message.seed, closed.key, ciphertext, Summands(3, 3))
    assert excinfo.value.check == "padding"


def test_blobs_of_an_aggregate_have_one_spelling(closed: ClosedCohort) -> None:
    assert encode_plaintext(decode_plaintext(closed.pinned, encode_plaintext(closed.plaintext))) == encode_plaintext(
        closed.plaintext
    )
    assert len(encode_key(closed.key)) == 4096 * 4
    for decode in (decode_plaintext, decode_key, decode_blindings):
        with pytest.raises(Malformed):
            decode(closed.pinned, b"")
    with pytest.raises(Malformed):
        decode_blindings(closed.pinned, ORDER.to_bytes(32, "big") + encode_blindings(closed.blindings)[32:])
