"""Whatever a round may need to say fits into its entry, and what a party has to remember into its store: under the
largest policy that the conditions allow, with everything as long as it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from proofs.errors import Misuse, Rejected
from protocols.cohorts import EXCLUSIONS
from protocols.encoding import ENTRY_LIMIT, INTEGER_LIMIT, ITEM_LIMIT
from protocols.envelopes import open_policy, seal
from protocols.membership import ENROLLED
from protocols.messages import (
    CohortClosed,
    Dispute,
    EncryptedShare,
    Exclusion,
    KeyShare,
    Message,
    MissingParty,
    RoundAborted,
    RoundOpen,
    ShareAck,
    Submission,
)
from protocols.parameters import COHORT_BYTES, MOST_ROUNDS, MOST_TRUSTEES, check_policy
from protocols.policy import Member
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import (
    EMPTY,
    CurrentRound,
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
DISPUTES = ("share-decryption", "share-encoding", "share-commitments", "share-opening")  # of honest trustees (spec 8.5)


def clients_with(trustees: int) -> int:
    for_client, for_trustee, rest = COHORT_BYTES
    return (ENTRY_LIMIT - rest - for_trustee * trustees) // for_client


CLIENTS = clients_with(MOST_TRUSTEES)
INDICES = range(INTEGER_LIMIT - 2 * CLIENTS, INTEGER_LIMIT)


def size(message: Message, signer: str = "coordinator") -> int:
    return len(seal(message, signer, identity_of(signer)))


def everybody_excluded(clients: int, trustees: int) -> CohortClosed:
    reason = max(EXCLUSIONS, key=len)
    indices = range(INTEGER_LIMIT - 2 * clients, INTEGER_LIMIT)
    excluded = tuple(Exclusion(index, reason, "") for index in indices)
    return CohortClosed(FEDERATION, INTEGER_LIMIT - 1, HASH, (), NAMES[:trustees], excluded, HASH)


@pytest.mark.parametrize("trustees", [1, 5, MOST_TRUSTEES])
def test_a_cohort_that_excludes_everybody_twice_fits(trustees: int) -> None:
    clients = clients_with(trustees)
    assert clients == {1: 700, 5: 697, 16: 689}[trustees]
    assert size(everybody_excluded(clients, trustees)) <= ENTRY_LIMIT
    with pytest.raises(Misuse, match="65535"):
        size(everybody_excluded(clients + 12, trustees))  # the bound is not far from what is needed


def test_the_policy_condition_is_that_bound() -> None:
    policy, _ = open_policy(make_policy(Setting())[0])
    members = tuple(Member(f"c{number:05}", number.to_bytes(32, "big")) for number in range(698))
    for clients, holds in ((697, True), (698, False)):
        failing = {each.name for each in check_policy(replace(policy, roster=members[:clients])) if not each.holds}
        assert ("cohort-entry" not in failing) == holds
    assert [each.name for each in check_policy(replace(policy, max_rounds=MOST_ROUNDS + 1)) if not each.holds] == [
        "max-rounds-limit"
    ]


def largest_submission() -> Submission:
    shares = tuple(EncryptedShare(name, HASH) for name in NAMES)
    return Submission(FEDERATION, INTEGER_LIMIT - 1, HASH, "c" * 64, *[HASH] * 3, shares, *[HASH] * 3, None, None)


def largest_open() -> RoundOpen:
    last = INTEGER_LIMIT - 1
    indices, hashes = tuple(range(last - MOST_TRUSTEES, last)), (HASH,) * MOST_TRUSTEES
    return RoundOpen(FEDERATION, last, HASH, HASH, last, HASH, HASH, HASH, indices, hashes, last, None)


def largest_ack(trustee: str) -> ShareAck:
    disputed = tuple(Dispute(index, max(DISPUTES, key=len)) for index in INDICES[:CLIENTS])
    return ShareAck(FEDERATION, INTEGER_LIMIT - 1, HASH, trustee, (), disputed, HASH)


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


def fullest_ledger() -> Ledger:
    """The last of 2^16 rounds, in which everybody submitted twice, all trustees answered, and a step came before it."""
    submission = largest_submission()
    submissions = tuple(LoggedSubmission(index, HASH, submission) for index in INDICES)
    keys = tuple(LoggedKey(index, HASH, name, bytes(1216)) for index, name in enumerate(NAMES))
    cohort = LoggedCohort(1, HASH, everybody_excluded(CLIENTS, MOST_TRUSTEES))
    releases = tuple(LoggedRelease(1, KeyShare(FEDERATION, 1, HASH, HASH, name, HASH)) for name in NAMES)
    acks = tuple(map(largest_ack, NAMES))
    opened = tuple(OpenedCohort(number, HASH, bytes(-(-CLIENTS // 8)), ()) for number in range(MOST_ROUNDS))
    said = (submissions, acks, cohort, releases)
    current = CurrentRound(1, HASH, largest_open(), keys, *said, HASH, (HASH, HASH), opened[-1], opened[-2:])
    step = LoggedStep(HASH, (HASH,) * 3, (HASH,) * 3, (submission,) * CLIENTS, HASH, HASH)
    used = bytes(16 * MOST_TRUSTEES * MOST_ROUNDS)
    return replace(
        EMPTY, opened=opened, used_keys=used, current=current, members=ENROLLED, step=step, recent=opened[-2:]
    )


def test_the_fullest_ledger_can_be_stored() -> None:
    follower = replace(Follower.start(), ledger=fullest_ledger())
    data = follower.encode()  # Misuse for more than ITEM_LIMIT items
    assert len(data) < 1 << 26
    assert Follower.decode(data).ledger.opened[-1].round == MOST_ROUNDS - 1
    assert ITEM_LIMIT == 1 << 20


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
