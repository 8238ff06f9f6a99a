"""I4: the rounds follow each other, each opened on what the one before closed with, under keys made for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from auditor.case import Case
from auditor.checks.numbered import numbered
from auditor.findings import Findings, Result, counted
from auditor.index import MISSING, Heading, Record, Round, label
from auditor.reports.results import Kind, Place
from auditor.signed_log import SignedLog
from proofs.errors import Rejected
from protocols import hpke
from protocols.contexts import round_seed
from protocols.ending import Past, endings
from protocols.membership import Membership
from protocols.messages import FederationClosed, RoundOpen
from protocols.noise_trustees import noise_needed, noise_trustees, without_noise
from protocols.participation import draw_seed, draw_value

BETWEEN, OPEN, CLOSED, SUMMED = "between rounds", "an open round", "a closed cohort", "an aggregate"
OVER = "the end of the federation"

# state -> type of the next entry -> next state (spec 9.5): everything else is out of order
GRAMMAR: dict[str, dict[str, str]] = {
    BETWEEN: {"round-key": BETWEEN, "round-open": OPEN, "federation-closed": OVER},
    OPEN: {"submission": OPEN, "share-ack": OPEN, "cohort-closed": CLOSED, "round-aborted": BETWEEN},
    CLOSED: {"release": CLOSED, "aggregate": SUMMED, "round-aborted": BETWEEN},
    SUMMED: {"round-closed": BETWEEN},
    OVER: {},
}
ENDS = frozenset({"round-closed", "round-aborted"})
NONE_HERE = "none here; if nobody has one, the coordinator never published it"
CHANGES = frozenset({"key-rotation", "revocation"})  # between rounds, before the first key of the next


@dataclass
class _Thread:
    """What one round hands to the next. ended: size of the log when the last round ended."""

    model: bytes
    retry_of: int | None = None
    draw: bytes | None = None  # of the round that hands it on
    known: bool = True  # whether it is so whatever entries are missing
    number: int = 0  # of the round that hands it on
    barred: frozenset[str] = frozenset()
    ended: int = 1
    seen_keys: set[bytes] = field(default_factory=set)


@dataclass(frozen=True)
class Needs:
    """What I4 is handed."""

    case: Case
    log: SignedLog


@dataclass(frozen=True)
class RoundsInOrder(Result):
    """What I4 leaves."""


@numbered("I4")
def check_rounds(given: Needs, findings: Findings) -> RoundsInOrder:
    """I4. 1. Entries come in the order of the grammar, rounds numbered 1, 2, ... up to max_rounds. For each RoundOpen:
    2. it names the policy and the model that the last finished round left; 3. it names the last checkpoint published
    before it, with its root, made after the last round ended; 4. its seed follows from that root; 5. a published
    checkpoint covers it before anybody answers; 6. its round keys are all of the round's RoundKey entries, by index
    and hash, by t or more distinct trustees, none of them barred; 7. no key was used before and each can be used;
    8. retry_of names the aborted round before it, or nothing. 11. Where the policy draws clients and the round repeats
    none, each value that a round key gives is the one under the key that its trustee had when the last round closed,
    and draw follows from these, more than f of them; one that repeats a round has its draw and no values; else there
    are neither. 9. Every signature of round keys, of RoundOpen and of
    FederationClosed holds. 10. What FederationClosed says of the rounds before it is true: their number, the reason.
    """
    index = given.log.index
    index.report(findings)
    with findings.whether(sure=True):
        last = _check_order(given, findings, index.headings)
    thread = _Thread(given.case.policy.initial_model)
    opened = 0
    for found in given.log.rounds(findings):
        thread.known = thread.known and not given.log.torn.touches(thread.number + 1, found.number - 1)
        if found.open is not None:
            opened += 1
            _check_open(given, findings, found, found.open, thread)
        _hand_on(given, found, thread)
        thread.known, thread.number = thread.known and given.log.is_whole(found.number), found.number
    if index.ending is not None:
        _check_end(given, findings, *index.ending)
    if last not in (BETWEEN, OVER, MISSING):
        findings.note(f"the log ends inside a round, after {last}: what is not there yet is not judged")
    keys = sum(len(found.keys) for found in index.rounds.values())
    entries = len(index.headings)
    return RoundsInOrder(
        f"{counted(opened, 'round')} opened, {counted(keys, 'round key')}, the order of {entries} entries"
    )


def _check_order(given: Needs, findings: Findings, headings: Sequence[Heading]) -> str:
    """Rule 1. Returns the state at the end."""
    state, number, keyed = BETWEEN, 1, False
    for position, heading in enumerate(headings):
        if not heading.type or (heading.type == "genesis" and position == 0):
            continue
        if heading.type == MISSING or (state == MISSING and heading.type in CHANGES):
            state, keyed = (OVER if state == OVER else MISSING), False
            continue
        if state == MISSING:  # whatever comes next is in its place; but rounds never go back
            if 0 < heading.round < number:
                expected = f"round {number} or a later one"
                findings.add(Place(entry=position), expected, f"{heading.type} of round {heading.round}")
            state, number = _place_of(heading, number)
        if heading.type in CHANGES:
            if state != BETWEEN or keyed or position == 0:
                where = f"{state} of round {number}" if state != BETWEEN or keyed else "the start of the log"
                findings.add(Place(entry=position), f"{heading.type} between rounds, before their first key", where)
            continue
        keyed = heading.type == "round-key"
        after = GRAMMAR[state].get(heading.type)
        if after is None or heading.round != (number if after != OVER else 0):
            findings.add(Place(entry=position), _allowed(state, number), f"{heading.type} of round {heading.round}")
            continue
        if after == OVER:
            state = OVER
            continue
        if number > given.case.policy.max_rounds:
            findings.add(Place(entry=position), f"at most {given.case.policy.max_rounds} rounds", f"round {number}")
        state, number = after, number + (heading.type in ENDS)
    return state


def _place_of(heading: Heading, number: int) -> tuple[str, int]:
    """A state in which an entry may come, and the number of its round; `number` if it has none."""
    state = next((state for state, allowed in GRAMMAR.items() if heading.type in allowed), BETWEEN)
    return state, heading.round or number


def _allowed(state: str, number: int) -> str:
    if state == OVER:
        return f"nothing after {OVER}"
    return f"{' or '.join(GRAMMAR[state])} of round {number}, after {state}"


def _check_end(given: Needs, findings: Findings, entry: Record[FederationClosed], membership: Membership) -> None:
    """Rule 10: by the rounds before it."""
    name, message, policy = label(entry.index, entry.message), entry.message, given.case.policy
    rounds = [
        found for found in given.log.index.in_order() if found.open is not None and found.open.index < entry.index
    ]
    findings.expect(name.at("rounds"), len(rounds), message.rounds)
    last = rounds[-1].number if rounds else 0
    without_cohort = [found.cohort is None for found in rounds if found.aborts]
    present = [member.id for member in membership.clients(policy)]
    enough = len(noise_trustees(policy).intersection(present)) >= noise_needed(policy)
    clients = without_noise(policy, present) if enough else frozenset[str]()
    past = Past(
        aborts=without_cohort.count(False),
        rounds=len(rounds),
        aborted=bool(rounds and rounds[-1].aborts),
        failed=bool(rounds and rounds[-1].aborts and rounds[-1].cohort is None),
        clients=clients,
        able=_able(given, clients, entry.index),
        earlier=given.log.index.opened_before(
            last + 1, given.log.index.model_before(entry.index, policy.initial_model)
        ),
    )
    true = endings(policy, past)
    if message.reason not in true:
        findings.add(
            name.at("reason"), " or ".join(true) or "another round: nothing ends the federation", message.reason
        )


def _able(given: Needs, clients: Set[str], size: int) -> Set[str]:
    """Those of these clients who may be in another cohort, by what they spent in the first `size` entries."""
    budget = given.case.budget
    return clients if budget is None else clients - budget.exhausted(given.log.index.charges_before(size), clients)


def _check_open(given: Needs, findings: Findings, found: Round, entry: Record[RoundOpen], thread: _Thread) -> None:
    name, message = label(entry.index, entry.message), entry.message
    with findings.whether(sure=True):
        findings.expect(name.at("policy"), given.case.policy_hash, message.policy.hex())
    with findings.whether(findings.sure and thread.known):
        findings.expect(name.at("model"), thread.model, message.model)
        findings.expect(name.at("retry_of"), thread.retry_of, message.retry_of)
    _check_checkpoint(given, findings, name, entry, thread)
    seed = round_seed(message.checkpoint_root, found.number, message.round_key_hashes)
    findings.expect(name.at("seed"), seed, message.seed)
    _check_covered(given, findings, name, found, entry.index)
    _check_keys(given, findings, name, found, message, thread)
    _check_draw(given, findings, name, found, message, thread)
    thread.draw = message.draw


def _check_checkpoint(given: Needs, findings: Findings, name: Place, entry: Record[RoundOpen], thread: _Thread) -> None:
    """Rule 3."""
    last, said = given.log.last_published(entry.index), entry.message.checkpoint_size
    # the one it names may be missing in this copy; a larger one counts against it only if the log signed that
    sure = last == said or (last is not None and last > said and given.log.is_signed(last))
    kind = Kind.BROKEN if sure else Kind.UNJUDGED
    findings.expect(name.at("checkpoint_size"), last, said, kind)
    if last is not None:
        findings.expect(name.at("checkpoint_root"), given.log.roots[last], entry.message.checkpoint_root, kind)
    if last is None or last < thread.ended:
        kind = Kind.BROKEN if said < thread.ended else Kind.UNJUDGED
        with findings.whether(findings.sure and thread.known):
            findings.add(name.at("checkpoint_size"), f"a checkpoint of {thread.ended} entries or more", str(last), kind)


def _check_covered(given: Needs, findings: Findings, name: Place, found: Round, opened: int) -> None:
    """Rule 5: whoever answers has seen the round in a checkpoint that t trustees cosigned."""
    answers = [*found.submissions, *(entry.index for entry in found.acks)]
    if answers and not given.log.is_covered(opened, min(answers)):
        expected = f"a published checkpoint that covers it before entry {min(answers)} answers it"
        findings.add(name, expected, NONE_HERE, Kind.UNJUDGED)


def _check_keys(
    given: Needs, findings: Findings, name: Place, found: Round, message: RoundOpen, thread: _Thread
) -> None:
    """Rules 6 and 7."""
    indices = tuple(entry.index for entry in found.keys)
    findings.expect(name.at("round_keys"), indices, message.round_keys)
    if message.round_key_hashes != tuple(entry.hash for entry in found.keys):
        findings.add(name.at("round_key_hashes"), "the entry hashes of the round's keys, in order", "others")
    trustees = [entry.message.trustee for entry in found.keys]
    thread.barred = _still_barred(given, thread.barred, found.opens[0].index)
    if len(set(trustees)) != len(trustees) or len(trustees) < given.case.policy.threshold:
        expected = f"keys of {given.case.policy.threshold} or more trustees, one each"
        findings.add(name.at("round_keys"), expected, ", ".join(trustees) or "none")
    for entry in found.keys:
        where, key = label(entry.index, entry.message), entry.message.public_key
        if entry.message.trustee in thread.barred:
            with findings.whether(
                findings.sure and thread.known and found.opens[0].index not in given.log.index.unsettled
            ):
                findings.add(where, "a trustee that released in the rounds this one repeats", entry.message.trustee)
        with findings.whether(sure=True):
            _check_key(findings, where, key, thread.seen_keys)
        thread.seen_keys.add(key)


def _check_key(findings: Findings, where: Place, key: bytes, seen: Set[bytes]) -> None:
    """Rule 7."""
    if key in seen:
        findings.add(where.at("public_key"), "a key of this round only", "the key of an earlier round")
    try:
        hpke.check_public_key(key)
    except Rejected as error:
        findings.reject(where.at("public_key"), error)


def _check_draw(
    given: Needs, findings: Findings, name: Place, found: Round, message: RoundOpen, thread: _Thread
) -> None:
    """Rule 11."""
    pinned = given.case.pinned_policy
    if pinned is None:
        return
    repeats, opened = message.retry_of is not None, found.opens[0].index
    known = given.log.knows_settled(opened)
    values = _values(given, findings, found, {} if repeats else _draw_keys(given, opened), known)
    with findings.whether(findings.sure and (thread.known if repeats else known)):
        try:
            expected = thread.draw if repeats else draw_seed(pinned, found.number, values)
        except Rejected as error:
            findings.reject(name.at("draw"), error)
            return
        findings.expect(name.at("draw"), expected, message.draw)


def _draw_keys(given: Needs, opened: int) -> dict[str, bytes]:
    """By which key each trustee draws for a round that repeats none."""
    index = given.log.index
    trustees = index.trustees_at(given.case.policy, index.settled_before(opened))
    return {member.id: member.public_key for member in trustees}


def _values(
    given: Needs, findings: Findings, found: Round, rightful: Mapping[str, bytes], known: bool
) -> dict[str, bytes]:
    """What the round's keys give to its draw, by trustee. known: whether `rightful` is, whatever is missing."""
    values = dict[str, bytes]()
    for entry in found.keys:
        key = rightful.get(entry.message.trustee)
        try:
            value = draw_value(given.case.pinned, entry.message, () if key is None else (key,))
        except Rejected as error:
            with findings.whether(known or not rightful):
                findings.reject(label(entry.index, entry.message).at("draw"), error)
            continue
        if value is not None:
            values[entry.message.trustee] = value
    return values


def _hand_on(given: Needs, found: Round, thread: _Thread) -> None:
    """What the next round starts from. Where too few trustees would be left, nobody is barred."""
    if found.closed is not None:
        thread.known = True
        thread.model, thread.retry_of, thread.barred = found.closed.message.model, None, frozenset()
        thread.ended = found.closed.index + 1
    elif found.aborted is not None:
        thread.retry_of, thread.ended = found.number, found.aborted.index + 1
        if found.cohort is not None:
            missing = {each.party for each in found.aborted.message.missing}
            trustees = {
                member.id for member in given.case.policy.trustees
            }  # only they can be barred, whatever a log says
            thread.barred = _still_barred(given, thread.barred | missing & trustees, found.aborted.index)


def _still_barred(given: Needs, barred: frozenset[str], size: int) -> frozenset[str]:
    """`barred`, unless fewer than t of the trustees in force after `size` entries would be left."""
    left = {member.id for member in given.log.index.trustees_at(given.case.policy, size)} - barred
    return barred if len(left) >= given.case.policy.threshold else frozenset()
