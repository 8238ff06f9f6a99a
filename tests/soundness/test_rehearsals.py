"""Nothing that is signed in a rehearsal counts in its federation, nor the other way round (spec 8.14).

The names are the attacker's choice: where it matters the rehearsal's policy has its federation's name and log. The keys
that its parties made for it are all that is left to tell the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor import audit
from proofs.errors import Malformed, Rejected
from protocols.blobs import blob_hash
from protocols.envelopes import Entry, seal_policy
from protocols.log.checkpoint import check_note, parse_note
from protocols.log.reader import TranscriptReader
from protocols.messages import MESSAGE_TYPES
from protocols.pinned import PinnedPolicy
from protocols.receipts import make_receipts, verify_receipt
from protocols.rehearsals import StandIn, check_rehearsal_policy, open_stand_in, rehearsal_policy, seal_stand_in
from protocols.rounds.answers import answer_limit, decode_answer
from protocols.rounds.exchange import OfferKey
from protocols.rounds.follower import Follower
from protocols.rounds.proposals import draft_proposal, open_proposal, seal_proposal
from protocols.steps.step import decode_model
from tests import simulator
from tests.auditor.forge import Forge
from tests.independent.audit import audit as second_audit
from tests.simulator import Setting, Simulation, identity_of, with_seed

SETTING = Setting(clients=2, trustees=2, threshold=2, corrupt=1, dimension=8, max_cohort=4)
PARTIES = ("client-00", "client-01", "trustee-0", "trustee-1")
OTHER = 2  # the seed of the keys that stand for the parties
MODEL = bytes(8 * SETTING.dimension)


def fresh(name: str) -> bytes:
    return identity_of(name, OTHER).public_key


def rehearsed_policy(real: PinnedPolicy, **names: str) -> bytes:
    stand_ins = {name: fresh(name) for name in PARTIES}
    policy = rehearsal_policy(real, fresh("coordinator"), fresh("issuer"), MODEL, stand_ins)
    return seal_policy(replace(policy, **names), identity_of("issuer", OTHER))  # type: ignore[arg-type]  # by name


class Pair:
    """A federation and its rehearsal, of one round each, which have the same names where they are `alike`."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, alike: bool) -> None:
        self.real = self._played(Simulation(folder / "real", SETTING))
        policy = self.real.pinned.policy
        names = {"federation": policy.federation, "origin": policy.origin} if alike else {}
        data = rehearsed_policy(self.real.pinned, **names)
        patch.setattr(simulator, "make_policy", lambda _: (data, decode_model(MODEL, SETTING.dimension)))
        self.rehearsal = self._played(Simulation(folder / "rehearsal", with_seed(SETTING, OTHER)))
        patch.undo()

    @staticmethod
    def _played(simulation: Simulation) -> Simulation:
        simulation.start()
        simulation.play_round()
        simulation.settle()
        return simulation

    def directions(self) -> Iterator[tuple[Simulation, Simulation]]:
        """Who is shown something, and whose it is."""
        yield self.real, self.rehearsal
        yield self.rehearsal, self.real


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    with pytest.MonkeyPatch.context() as patch:
        return Pair(tmp_path_factory.mktemp("alike"), patch, True)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    with pytest.MonkeyPatch.context() as patch:
        return Pair(tmp_path_factory.mktemp("apart"), patch, False)


def entries_of(simulation: Simulation) -> list[bytes]:
    return simulation.coordinator.entries(0, simulation.coordinator.size)


def kinds(entries: list[bytes]) -> dict[str, int]:
    """The first entry of each kind."""
    found: dict[str, int] = {}
    for index, entry in enumerate(entries):
        found.setdefault(Entry.open(entry).envelope.type, index)
    return found


KINDS = (
    "genesis",
    "round-key",
    "round-open",
    "submission",
    "share-ack",
    "cohort-closed",
    "release",
    "aggregate",
    "round-closed",
)


def refusal(shown: Simulation, own: list[bytes], index: int, foreign: bytes) -> str:
    """Why whoever follows a log refuses a foreign entry in the place of its own."""
    follower = Follower.start().extended(shown.pinned, own[:index])
    with pytest.raises(Rejected) as caught:
        follower.extended(shown.pinned, [foreign])
    return caught.value.check


@pytest.mark.parametrize("kind", KINDS)
def test_who_follows_one_log_refuses_each_entry_of_the_other(alike: Pair, apart: Pair, kind: str) -> None:
    for pair in (apart, alike):
        for shown, other in pair.directions():
            own, foreign = entries_of(shown), entries_of(other)
            assert refusal(shown, own, kinds(own)[kind], foreign[kinds(foreign)[kind]]) == "signature"


def test_all_kinds_that_a_rehearsal_can_have_are_tried(alike: Pair) -> None:
    assert set(kinds(entries_of(alike.rehearsal))) == set(KINDS)
    others = {"round-aborted", "key-rotation", "revocation", "federation-closed"}  # signed by the same keys
    assert set(MESSAGE_TYPES.names) == {*KINDS, *others}


def test_checkpoints_cosignatures_proposals_and_receipts_are_refused(alike: Pair, apart: Pair) -> None:
    for pair, expected in ((apart, "checkpoint-origin"), (alike, "checkpoint-signature")):
        for shown, other in pair.directions():
            policy, note = shown.pinned.policy, other.coordinator.note
            with pytest.raises(Rejected) as caught:
                check_note(parse_note(note), policy.log_key, policy.trustees, policy.threshold, origin=policy.origin)
            assert caught.value.check == expected
            with pytest.raises(Rejected) as caught:
                shown.trustees["trustee-0"].head(note)
            assert caught.value.check == expected
            line = next(line for line in note.splitlines(keepends=True) if b"trustee-0" in line)
            assert shown.coordinator.cosigner(shown.coordinator.note, line) is None
            seed = shown.setting.seed ^ OTHER ^ 1
            question = OfferKey(2, note)
            proposal, _ = draft_proposal(other.pinned, question, (), [], 0, 0)
            file = seal_proposal(proposal, identity_of("coordinator", seed))
            with pytest.raises(Rejected, match="signature"):
                open_proposal(shown.pinned, file)
            receipt = make_receipts(other.pinned, note, entries_of(other), 1)["client-00"]
            verify_receipt(other.pinned, receipt)
            with pytest.raises(Rejected) as caught:
                verify_receipt(shown.pinned, receipt)
            assert caught.value.check == expected


def test_a_stand_in_is_nothing_else_and_nothing_else_is_one(alike: Pair) -> None:
    real = alike.real
    own = StandIn(
        real.pinned.policy.federation, real.pinned.hash, "trustee-0", fresh("trustee-0"), bytes(32), None, "verifl"
    )
    data = seal_stand_in(own, identity_of("trustee-0"))
    assert open_stand_in(real.pinned, data) == own
    with pytest.raises(Rejected, match="policy-hash"):
        open_stand_in(alike.rehearsal.pinned, data)  # no rehearsal of a rehearsal
    for opener in (
        lambda: open_proposal(real.pinned, data),
        lambda: PinnedPolicy.open(data),
        lambda: Entry.open(data),
        lambda: decode_answer(data, answer_limit(real.pinned, "trustee-0")),
    ):
        with pytest.raises((Malformed, Rejected)):
            opener()
    proposal = seal_proposal(
        draft_proposal(real.pinned, OfferKey(2, real.coordinator.note), (), [], 0, 0)[0], identity_of("coordinator")
    )
    for other in (proposal, real.policy_data, *entries_of(real)):
        with pytest.raises(Malformed):
            open_stand_in(real.pinned, other[:4096])


def test_a_policy_that_differs_in_more_is_no_rehearsals(apart: Pair) -> None:
    real, rehearsed = apart.real.pinned, apart.rehearsal.pinned
    own = fresh("coordinator")
    call = StandIn(real.policy.federation, real.hash, "coordinator", own, own, rehearsed.hash, "verifl")
    check_rehearsal_policy(real, rehearsed, call, MODEL)
    key = identity_of("issuer", OTHER)
    for changed in (
        {"federation": real.policy.federation},
        {"origin": real.policy.origin},
        {"max_rounds": 2},
        {"log_key": fresh("somebody")},
        {"max_cohort": 3},
    ):
        other = PinnedPolicy.open(seal_policy(replace(rehearsed.policy, **changed), key))
        with pytest.raises(Rejected, match="rehearsed"):
            check_rehearsal_policy(real, other, call, MODEL)  # not the named one
        with pytest.raises(Rejected, match="rehearsed"):
            check_rehearsal_policy(real, other, replace(call, rehearsed=other.hash), MODEL)
    with pytest.raises(Rejected, match="rehearsed"):
        check_rehearsal_policy(real, rehearsed, call, b"another model")


def both_audits(transcript: Path, policy: Path) -> list[Any]:
    return [audit(transcript, policy), second_audit(transcript, policy)]


def test_both_auditors_refuse_the_log_of_the_other(alike: Pair, apart: Pair, tmp_path: Path) -> None:
    for pair in (alike, apart):
        for number, (shown, other) in enumerate(pair.directions()):
            policy = tmp_path / f"{number}.cbor"
            policy.write_bytes(shown.policy_data)
            assert all(report.accepted for report in both_audits(shown.path, policy))
            assert not any(report.accepted for report in both_audits(other.path, policy))
            assert audit(other.path, policy).outcome.value == "other-federation"


@pytest.mark.parametrize("kind", KINDS)
def test_both_auditors_refuse_an_entry_of_the_other(alike: Pair, tmp_path: Path, kind: str) -> None:
    """The coordinator's own key logs it, in the place of the one that belongs there, and trustees cosign that."""
    shown, foreign = alike.real, entries_of(alike.rehearsal)
    forged = Forge.load(shown.path, shown.pinned.policy, shown.policy_data, identity_of)
    position = kinds(entries_of(shown))[kind]
    forged.remove(position)
    forged.insert_raw(position, foreign[kinds(foreign)[kind]])
    for path in (alike.rehearsal.path / "blobs").rglob("*"):
        if path.is_file():
            forged.blobs.setdefault(blob_hash(path.read_bytes()), path.read_bytes())
    transcript, policy = forged.write(tmp_path / "forged"), tmp_path / "policy.cbor"
    policy.write_bytes(shown.policy_data)
    assert TranscriptReader(transcript).entries(position, position + 1) == [foreign[kinds(foreign)[kind]]]
    first, second = both_audits(transcript, policy)
    assert not first.accepted
    assert not second.accepted
    places = [finding.where for result in first.checks for finding in result.findings]
    assert [place for place in places if place.startswith(f"entry {position} (") and place.endswith(", signature")]
