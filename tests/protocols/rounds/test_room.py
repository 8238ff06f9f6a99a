"""Whatever a round may need to say fits into its entry, and what a party has to remember into its store: under the
largest policy that the conditions allow, with everything as long as it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from proofs.errors import Misuse, Rejected
from protocols.encoding import CHANGES_LIMIT, ENTRY_LIMIT, INTEGER_LIMIT, encode
from protocols.envelopes import open_policy, seal
from protocols.invitation import Invitation, LoggedEntry, encode_invitation
from protocols.log.checkpoint import NOTE_LIMIT
from protocols.membership import ENROLLED, MOST_ROTATIONS, Changed, Membership
from protocols.messages import (
    DETAILS,
    CohortClosed,
    Detail,
    EncryptedShare,
    Message,
    MissingParty,
    Release,
    RoundAborted,
    RoundOpen,
    ShareAck,
    Submission,
)
from protocols.parameters import CHANGES_BYTES, COHORT_BYTES, MOST_ROUNDS, MOST_TRUSTEES, check_policy
from protocols.policy import Member
from protocols.receipts import Receipt, encode_receipt
from protocols.rounds.client_holdings import WEIGHED, Weighed, WeighedModel
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import (
    CHARGE_BYTES,
    EMPTY,
    LEDGER_ITEMS,
    WEIGHT_BYTES,
    CurrentRound,
    ExcusedSubmission,
    Ledger,
    LoggedCohort,
    LoggedKey,
    LoggedRelease,
    LoggedStep,
    LoggedSubmission,
    OpenedCohort,
)
from tests.adversaries import resigned
from tests.simulator import Setting, Simulation, identity_of, make_policy

HASH, FEDERATION = bytes(32), "f" * 64
NAMES = tuple(f"{number:02}".ljust(64, "t") for number in range(MOST_TRUSTEES))


def most_clients(trustees: int) -> int:
    """Of whom every change of keys fits into an invitation: the smallest of the limits."""
    for_party, rest = CHANGES_BYTES
    return (CHANGES_LIMIT - rest) // for_party - trustees


CLIENTS = most_clients(MOST_TRUSTEES)
ENTRIES = 2 * CLIENTS + MOST_TRUSTEES  # of a round between RoundOpen and CohortClosed
INDICES = range(INTEGER_LIMIT - 2 * CLIENTS, INTEGER_LIMIT)


def size(message: Message, signer: str = "coordinator") -> int:
    return len(seal(message, signer, identity_of(signer)))


def everybody_judged(clients: int, trustees: int) -> CohortClosed:
    """On two submissions of everybody, with details as long as a coordinator makes them."""
    verdicts = "u" * (2 * clients) + "-" * trustees
    details = tuple(Detail(INTEGER_LIMIT - 1 - each, "x" * 256) for each in range(DETAILS))
    head = (FEDERATION, INTEGER_LIMIT - 1, HASH, INTEGER_LIMIT - 1)
    return CohortClosed(*head, verdicts, details, NAMES[:trustees], HASH)


@pytest.mark.parametrize("trustees", [1, 5, MOST_TRUSTEES])
def test_a_cohort_has_room_for_two_submissions_of_everybody(trustees: int) -> None:
    for_client, for_trustee, rest = COHORT_BYTES
    clients = (ENTRY_LIMIT - rest - for_trustee * trustees) // for_client
    assert clients == {1: 18222, 5: 18088, 16: 17719}[trustees] > most_clients(trustees)
    assert size(everybody_judged(clients, trustees)) <= ENTRY_LIMIT
    with pytest.raises(Misuse, match="65535"):
        size(everybody_judged(clients + 400, trustees))  # the bound is not far from what is needed


def test_an_invitation_and_a_receipt_have_room_for_every_change_of_keys() -> None:
    """16 rotations and a revocation of everybody, of the sizes of spec 2.5, and all else at its largest."""
    assert (CLIENTS, most_clients(5)) == (7172, 7183)
    changes = (bytes(541),) * (MOST_ROTATIONS * (CLIENTS + MOST_TRUSTEES)) + (bytes(337),) * (CLIENTS + MOST_TRUSTEES)
    path = (HASH,) * 64
    logged = LoggedEntry(INTEGER_LIMIT - 1, bytes(ENTRY_LIMIT), path)
    later = (LoggedEntry(INTEGER_LIMIT - 1, bytes(541), path),) * ((MOST_ROTATIONS + 1) * MOST_TRUSTEES)
    head = (bytes(NOTE_LIMIT), logged, (replace(logged, entry=bytes(2048)),) * MOST_TRUSTEES, path, 0, path)
    encode_invitation(Invitation(*head, changes))
    encode_receipt(Receipt(1, bytes(NOTE_LIMIT), changes, later, logged, logged, logged, logged))
    many = changes[: len(changes) // 30]
    with pytest.raises(Misuse, match="limit"):
        encode_invitation(Invitation(*head, changes + many))  # nor is this bound far from what is needed
    with pytest.raises(Misuse, match="limit"):
        encode_receipt(Receipt(1, bytes(NOTE_LIMIT), changes + many, later, logged, logged, logged, logged))


@pytest.mark.parametrize(("name", "most"), [("roster-changes", most_clients(5)), ("cohort-entry", 18088)])
def test_the_policy_conditions_are_these_bounds(name: str, most: int) -> None:
    policy, _ = open_policy(make_policy(Setting())[0])
    members = tuple(Member(f"c{number:05}", number.to_bytes(32, "big")) for number in range(most + 1))
    for clients, holds in ((most, True), (most + 1, False)):
        failing = {each.name for each in check_policy(replace(policy, roster=members[:clients])) if not each.holds}
        assert (name not in failing) == holds


def test_the_policy_limits_the_rounds() -> None:
    policy, _ = open_policy(make_policy(Setting())[0])
    assert [each.name for each in check_policy(replace(policy, max_rounds=MOST_ROUNDS + 1)) if not each.holds] == [
        "max-rounds-limit"
    ]


def largest_submission() -> Submission:
    shares = tuple(EncryptedShare(name, HASH) for name in NAMES)
    last = INTEGER_LIMIT - 1
    return Submission(FEDERATION, last, HASH, "c" * 64, *[HASH] * 3, shares, *[HASH] * 5, last)


def largest_open() -> RoundOpen:
    last = INTEGER_LIMIT - 1
    indices, hashes = tuple(range(last - MOST_TRUSTEES, last)), (HASH,) * MOST_TRUSTEES
    return RoundOpen(FEDERATION, last, HASH, HASH, last, HASH, HASH, HASH, indices, hashes, last, HASH, None)


def largest_ack(trustee: str) -> ShareAck:
    return ShareAck(FEDERATION, INTEGER_LIMIT - 1, HASH, trustee, INTEGER_LIMIT - 1, "o" * ENTRIES, HASH)


@pytest.mark.parametrize(
    ("make", "signer"),
    [
        (lambda: largest_ack(NAMES[0]), NAMES[0]),
        (largest_submission, "c" * 64),
        (largest_open, "coordinator"),
        (
            lambda: RoundAborted(
                FEDERATION,
                INTEGER_LIMIT - 1,
                HASH,
                HASH,
                "r" * 64,
                tuple(MissingParty(name, "no-acknowledgement") for name in NAMES),
            ),
            "coordinator",
        ),
    ],
    ids=["share-ack", "submission", "round-open", "round-aborted"],
)
def test_every_other_list_fits(make: Callable[[], Message], signer: str) -> None:
    assert size(make(), signer) < ENTRY_LIMIT // 2


def fullest_membership() -> Membership:
    """Everybody has changed as often as can be."""
    parties = [f"{number:05}".ljust(64, "p") for number in range(CLIENTS + MOST_TRUSTEES)]
    changed = tuple(Changed(party, HASH, HASH, INTEGER_LIMIT - 1, MOST_ROTATIONS) for party in parties)
    return Membership(changed, (HASH,) * ((MOST_ROTATIONS + 1) * len(parties)), ENROLLED.tree)


def fullest_ledger() -> Ledger:
    """The last of 2^16 rounds, in which everybody submitted twice and all trustees answered; a step came before it, and
    its cohort rests on everybody."""
    submission = largest_submission()
    body = encode(submission)
    submissions = tuple(LoggedSubmission(index, HASH, body) for index in INDICES)
    keys = tuple(LoggedKey(index, HASH, name, bytes(1216), bytes(64)) for index, name in enumerate(NAMES))
    cohort = LoggedCohort(1, HASH, everybody_judged(CLIENTS, MOST_TRUSTEES))
    releases = tuple(LoggedRelease(1, Release(FEDERATION, 1, HASH, HASH, name, HASH)) for name in NAMES)
    acks = tuple(map(largest_ack, NAMES))
    excused = (ExcusedSubmission("c" * 64, MOST_ROUNDS, HASH, body),) * CLIENTS
    opened = [OpenedCohort(number, HASH, bytes(-(-CLIENTS // 8)), ()) for number in range(MOST_ROUNDS)]
    opened[-1] = replace(opened[-1], excused=excused, weights=bytes(WEIGHT_BYTES * CLIENTS))
    said = (submissions, bytes(CLIENTS), acks, cohort, releases)
    cohorts = (opened[-1].clients, opened[-1], tuple(opened[-3:-1]))
    current = CurrentRound(1, HASH, largest_open(), keys, *said, HASH, (HASH, HASH), *cohorts)
    step = LoggedStep(1, HASH, (HASH,) * 3, (HASH,) * 3, (body,) * CLIENTS, HASH, HASH)
    used = bytes(16 * MOST_TRUSTEES * MOST_ROUNDS)
    return replace(
        EMPTY,
        opened=tuple(opened),
        used_keys=used,
        current=current,
        membership=fullest_membership(),
        step=step,
        draw=HASH,
        recent=tuple(opened[-3:-1]),
        charges=MOST_ROUNDS.to_bytes(CHARGE_BYTES, "little") * CLIENTS,
    )


def test_the_fullest_ledger_can_be_stored() -> None:
    follower = replace(Follower.start(), ledger=fullest_ledger())
    data = follower.encode()  # Misuse for more than LEDGER_ITEMS items
    assert len(data) < 1 << 28
    assert Follower.decode(data).ledger.opened[-1].round == MOST_ROUNDS - 1
    assert LEDGER_ITEMS == 1 << 21


def test_the_weights_of_all_rounds_can_be_stored() -> None:
    """What a client keeps of every model on which it ever submitted."""
    rounds = range(MOST_ROUNDS)
    weighed = Weighed(tuple(WeighedModel(each.to_bytes(32, "big"), MOST_ROUNDS - each, 2**20) for each in rounds))
    assert WEIGHED.read(WEIGHED.write(weighed)) == weighed  # Misuse for more than the limit


def test_a_third_submission_is_refused_by_everybody(simulation: Simulation) -> None:
    """A copy of the first counts too: a coordinator that logs it without end would leave the cohort no room."""
    simulation.open_round()
    first = simulation.package("client-00")
    second, third = (resigned(simulation, first, {"proof": bytes(proof)}) for proof in (1, 2))
    entries = [first.entry, second.entry]
    follower = Follower.start().extended(
        simulation.pinned, [*simulation.coordinator.entries(0, simulation.coordinator.size), *entries]
    )
    for entry in (third.entry, first.entry, second.entry):
        with pytest.raises(Rejected) as excinfo:
            follower.extended(simulation.pinned, [entry])
        assert excinfo.value.check == "duplicate"
