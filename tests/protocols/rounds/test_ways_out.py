"""There is a way out of every state that entries can lead to: by the rules alone, whoever wrote the entries.

A walk takes random steps, lawful ones by parties that submit, dispute, stay away, rotate or are revoked as they like,
and by a coordinator that closes, aborts and waits as it likes. From wherever it stands, some lawful entries lead to the
end of the open round, and then to another round or to the end of the federation.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from proofs.errors import Malformed, Rejected
from protocols import cohorts, hpke, messages, verdicts
from protocols.cohorts import ack_digest
from protocols.envelopes import required_signer, seal, seal_rotation
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint
from protocols.messages import (
    ISSUER,
    Aggregate,
    Dispute,
    EncryptedShare,
    Genesis,
    Message,
    MissingParty,
    Release,
    Revocation,
    RoundAborted,
    RoundClosed,
    RoundKey,
    ShareAck,
    Submission,
)
from protocols.pinned import PinnedPolicy
from protocols.reasons import (
    DIFFERENCING,
    ENDINGS,
    LEFT,
    MISSING_RELEASES,
    NO_QUORUM,
    OPENING_FAILED,
    TOO_FEW_SUBMISSIONS,
)
from protocols.rounds import closing, drafts, ledger, rules
from protocols.rounds.closing import unacknowledged, unreleased
from protocols.rounds.drafts import draft_abort, draft_cohort, draft_end, draft_open
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import CurrentRound
from protocols.submissions import Fault
from tests.simulator import Setting, identity_of, make_policy
from tests.spelling import answering
from tests.work import lines_run

SETTING = Setting(
    clients=4, trustees=3, threshold=2, corrupt=0, dimension=4, min_cohort=2, max_cohort=3, max_rounds=4, max_aborts=1
)
ABORTS = (TOO_FEW_SUBMISSIONS, NO_QUORUM, DIFFERENCING, MISSING_RELEASES, OPENING_FAILED)


@dataclass
class Walk:
    """A log, with everybody's keys, and random choices."""

    chance: random.Random
    pinned: PinnedPolicy
    follower: Follower
    keys: dict[str, SigningKey]

    @classmethod
    def start(cls, seed: int, setting: Setting = SETTING) -> Walk:
        pinned = PinnedPolicy.open(make_policy(setting)[0])
        members = (*pinned.policy.trustees, *pinned.policy.roster)
        keys = {name: identity_of(name) for name in ("coordinator", ISSUER, *(member.id for member in members))}
        return cls(random.Random(seed), pinned, Follower.start(), keys)

    def octets(self, count: int = 32) -> bytes:
        return self.chance.randbytes(count)

    def sealed(self, message: Message) -> bytes:
        name = required_signer(message)
        return seal(message, name, self.keys[name])

    def admits(self, *messages: Message) -> Follower | None:
        try:
            return self.follower.extended(self.pinned, map(self.sealed, messages))
        except (Malformed, Rejected):
            return None

    def step(self, *messages: Message) -> bool:
        """Whether these entries, all or none, may follow; then they do."""
        after = self.admits(*messages)
        self.follower = after or self.follower
        return after is not None

    # ---- entries ----

    def opening(self) -> list[Message]:
        """Keys of all trustees who may give one and have not, and RoundOpen."""
        ledger, federation = self.follower.ledger, self.pinned.policy.federation
        given = {key.trustee for key in ledger.keys} | set(ledger.barred)
        names = [each.id for each in ledger.membership.trustees(self.pinned.policy) if each.id not in given]
        made = [
            RoundKey(federation, self.pinned.hash, ledger.next_round, name, self.public_key(), None, None)
            for name in names
        ]
        entries = [self.sealed(key) for key in made]
        whole = self.follower.extended(self.pinned, entries).ledger
        indices, hashes = tuple(key.index for key in whole.keys), [key.entry for key in whole.keys]
        return [*made, replace(draft_open(self.pinned, ledger, self.head(), hashes), round_keys=indices)]

    def head(self) -> Checkpoint:
        """A checkpoint of the whole log, for the next round's seed."""
        return Checkpoint(self.pinned.policy.origin, self.follower.size, self.follower.root())

    def public_key(self) -> bytes:
        return hpke.generate_round_key(self.octets)[1]

    def submission(self, current: CurrentRound, client: str) -> Submission:
        shares = tuple(EncryptedShare(key.trustee, self.octets()) for key in current.keys)
        federation, blobs = self.pinned.policy.federation, [self.octets() for _ in range(4)]
        return Submission(federation, current.number, current.entry, client, *blobs[:3], shares, blobs[3], *[None] * 5)

    def ack(self, current: CurrentRound, trustee: str) -> ShareAck:
        """Of a random part of the submissions, some of the others disputed."""
        firsts = list(current.first_submissions())
        held = [each for each in firsts if self.chance.random() < 0.8]
        rest = [each for each in firsts if each not in held]
        disputed = [Dispute(each.index, "share-opening") for each in rest if self.chance.random() < 0.5]
        digest = ack_digest(current.entry, trustee, [(each.message.client, each.entry) for each in held])
        answers = answering(current.index + 1, [each.index for each in held], disputed)
        federation = self.pinned.policy.federation
        return ShareAck(federation, current.number, current.entry, trustee, *answers, digest)

    def release(self, current: CurrentRound, trustee: str) -> Release | None:
        cohort, federation = current.cohort, self.pinned.policy.federation
        if cohort is None:
            return None
        return Release(federation, current.number, cohort.entry, cohort.message.digest, trustee, self.octets())

    def aggregate(self, current: CurrentRound) -> Aggregate | None:
        cohort, used = current.cohort, current.releases[: self.pinned.policy.threshold]
        if cohort is None:
            return None
        blobs, indices = [self.octets() for _ in range(4)], tuple(each.index for each in used)
        federation = self.pinned.policy.federation
        return Aggregate(federation, current.number, cohort.entry, indices, *blobs, None, None)

    def end(self, current: CurrentRound) -> RoundClosed | None:
        if current.aggregate is None:
            return None
        model = self.chance.choice([self.octets(), current.message.model])  # a server may keep the model
        return RoundClosed(self.pinned.policy.federation, current.number, current.aggregate, model, None)

    def aborts(self, current: CurrentRound) -> Iterator[RoundAborted]:
        """Every reason, with those whom it may name."""
        wrong = frozenset(each.message.trustee for each in current.releases)
        some = frozenset(name for name in sorted(wrong) if self.chance.random() < 0.5)
        named: dict[str, Sequence[Sequence[MissingParty]]] = {
            NO_QUORUM: [unacknowledged(current)],
            MISSING_RELEASES: [unreleased(current, each) for each in (frozenset[str](), some, wrong)],
        }
        for reason in ABORTS:
            for missing in named.get(reason, [()]):
                yield draft_abort(self.pinned, current, reason, tuple(missing))

    # ---- the walk ----

    def wander(self) -> None:
        """One random step, if it is lawful."""
        ledger = self.follower.ledger
        if ledger.model is None:
            policy = self.pinned.policy
            assert self.step(Genesis(policy.federation, self.pinned.hash, policy.initial_model, None, None))
        elif ledger.current is None:
            self.chance.choices([self.open, self.some_keys, self.rotate, self.revoke, self.close], [6, 1, 1, 1, 1])[0]()
        else:
            self.go_on(ledger.current)

    @property
    def may_open(self) -> bool:
        ledger, policy = self.follower.ledger, self.pinned.policy
        return ledger.rounds < policy.max_rounds and ledger.aborts <= policy.max_aborts and ledger.closed is None

    def open(self) -> None:
        if self.may_open:
            self.step(*self.opening())

    def some_keys(self) -> None:
        """A server logs fewer keys than a round needs."""
        if self.may_open:
            self.step(*self.opening()[: self.chance.randrange(2)])

    def rotate(self) -> None:
        name = self.chance.choice([name for name in self.keys if name not in ("coordinator", ISSUER)])
        new = SigningKey(self.octets())
        entry = seal_rotation(self.pinned.policy.federation, self.pinned.hash, name, self.keys[name], new)
        try:
            self.follower = self.follower.extended(self.pinned, [entry])
        except Rejected:
            return
        self.keys[name] = new

    def revoke(self) -> None:
        members = (*self.pinned.policy.trustees, *self.pinned.policy.roster)
        self.step(Revocation(self.pinned.policy.federation, self.pinned.hash, self.chance.choice(members).id, LEFT))

    def close(self) -> None:
        for reason in ENDINGS.names:
            self.step(draft_end(self.pinned, self.follower.ledger, reason))

    def go_on(self, current: CurrentRound) -> None:
        clients, trustees = self.pinned.policy.roster, self.pinned.policy.trustees
        client, trustee = self.chance.choice(clients).id, self.chance.choice(trustees).id
        steps: list[tuple[int, Callable[[], Message | None]]] = [
            (8, lambda: self.submission(current, client)),
            (6, lambda: self.ack(current, trustee)),
            (2, lambda: self.cohort(current)),
            (6, lambda: self.release(current, trustee)),
            (3, lambda: self.aggregate(current)),
            (6, lambda: self.end(current)),
            (1, lambda: self.chance.choice(list(self.aborts(current)))),
        ]
        (make,) = self.chance.choices([make for _, make in steps], [weight for weight, _ in steps])
        message = make()
        if message is not None:
            self.step(message)

    def cohort(self, current: CurrentRound) -> Message:
        """By the rule, for random verdicts."""
        seen: set[str] = set()
        faults = {}
        for each in current.submissions:
            if each.message.client in seen:
                faults[each.index] = Fault("duplicate", "")
            elif self.chance.random() < 0.1:
                faults[each.index] = Fault("invalid-proof", "")
            seen.add(each.message.client)
        return draft_cohort(self.pinned, current, faults)

    # ---- the way out ----

    def leaves(self, current: CurrentRound) -> Iterator[Message]:
        """What may end the open round, or bring it nearer to its end."""
        for message in (self.end(current), *self.aborts(current)):
            if message is not None:
                yield message

    def way_out(self) -> list[str]:
        """The types of lawful entries that end the open round and then open another or end the federation."""
        other = replace(self, chance=random.Random("aside"), keys=dict(self.keys))
        taken: list[str] = []
        current = other.follower.ledger.current
        if current is not None:
            message = next((each for each in other.leaves(current) if other.admits(each)), None)
            assert message is not None, f"nothing ends {current}"
            assert other.step(message)
            taken.append(type(message).__name__)
        ledger = other.follower.ledger
        if ledger.closed is not None or ledger.model is None:
            return taken
        if any(other.step(draft_end(other.pinned, ledger, reason)) for reason in ENDINGS.names):
            return [*taken, "FederationClosed"]
        assert other.step(*other.opening()), "neither a round nor an end may follow"
        return [*taken, "RoundOpen"]


def walk(seed: int, steps: int) -> tuple[Walk, set[str]]:
    """A walk of so many steps, with a way out found behind each; and what the ways began with."""
    walk, ways = Walk.start(seed), set[str]()
    for _ in range(steps):
        before = walk.follower
        walk.wander()
        if walk.follower is not before:
            ways.update(walk.way_out()[:1])
    return walk, ways


def test_every_state_of_a_walk_has_a_way_out() -> None:
    ways, ended, opened = set[str](), 0, 0
    for seed in range(16):
        taken, found = walk(seed, 300)
        ways |= found
        ledger = taken.follower.ledger
        ended += ledger.closed is not None
        opened = max(opened, ledger.rounds)
    assert ways == {"RoundOpen", "FederationClosed", "RoundAborted", "RoundClosed"}  # the walks went everywhere
    assert ended > 0
    assert opened == SETTING.max_rounds


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", range(0, 400, 50))
def test_every_state_of_many_walks_has_a_way_out(start: int) -> None:
    for seed in range(start + 100, start + 150):
        walk(seed, 200)


def test_with_the_aborts_spent_nothing_follows_but_the_end() -> None:
    """The walk that looks least like a way out: every abort is taken, and one more."""
    taken = Walk.start(0)
    taken.wander()
    for _ in range(SETTING.max_aborts + 1):
        assert taken.step(*taken.opening())
        current = taken.follower.ledger.current
        assert current is not None
        for name in ("client-00", "client-01", "client-02"):
            assert taken.step(taken.submission(current, name))
        for name in ("trustee-0", "trustee-1"):
            state = taken.follower.ledger.current
            assert state is not None
            firsts = [(each.message.client, each.entry) for each in state.first_submissions()]
            answers = answering(state.index + 1, [each.index for each in state.first_submissions()])
            digest = ack_digest(state.entry, name, firsts)
            assert taken.step(ShareAck("simulated", state.number, state.entry, name, *answers, digest))
        state = taken.follower.ledger.current
        assert state is not None
        assert taken.step(draft_cohort(taken.pinned, state, {}))
        state = taken.follower.ledger.current
        assert state is not None
        assert taken.step(draft_abort(taken.pinned, state, MISSING_RELEASES, unreleased(state, frozenset())))
        assert taken.way_out()
    assert taken.way_out() == ["FederationClosed"]
    with pytest.raises(Rejected) as excinfo:
        taken.opening()
    assert excinfo.value.check == "abort-cap"


def test_the_rules_of_a_round_are_linear_in_its_clients() -> None:
    """In which everybody submits twice, every trustee answers, and the cohort has a verdict on each."""

    def played(clients: int) -> int:
        taken = Walk.start(1, replace(SETTING, clients=clients, max_cohort=clients))
        taken.wander()
        assert taken.step(*taken.opening())
        opened = current_of(taken)
        entries = [taken.sealed(taken.submission(opened, each.id)) for each in taken.pinned.policy.roster * 2]
        submitted = taken.follower.extended(taken.pinned, entries).ledger.current
        assert submitted is not None
        entries += [taken.sealed(taken.ack(submitted, key.trustee)) for key in opened.keys]

        def follow() -> None:
            taken.follower = taken.follower.extended(taken.pinned, entries)
            firsts = {each.index for each in current_of(taken).first_submissions()}
            later = (each.index for each in current_of(taken).submissions if each.index not in firsts)
            faults = {index: Fault("duplicate", "") for index in later}
            assert taken.step(draft_cohort(taken.pinned, current_of(taken), faults))

        return lines_run(follow, rules, ledger, closing, drafts, cohorts, verdicts, messages)

    assert played(98) < 2.3 * played(49)


def current_of(walk: Walk) -> CurrentRound:
    current = walk.follower.ledger.current
    assert current is not None
    return current
