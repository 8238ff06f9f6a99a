"""What a closed cohort rests on, over any history: trustees release what the rule of spec 8.7 chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.messages import Dispute, RoundOpen, ShareAck, Submission
from protocols.pinned import PinnedPolicy
from protocols.rounds.drafts import draft_cohort
from protocols.rounds.ledger import CurrentRound, LoggedCohort, LoggedSubmission, OpenedCohort, client_bitmap
from protocols.rounds.offences import check_hidden, disputed_clients, excused_submissions
from protocols.submissions import Fault
from tests.simulator import Setting, make_policy
from tests.spelling import answering

CLIENTS = 8
HASH = bytes(32)
MODELS = {name: name.encode() * 32 for name in "MNO"}
SETTING = Setting(clients=CLIENTS, strict_consecutive=True, min_cohort=2)
PINNED = PinnedPolicy.open(make_policy(SETTING)[0])
NAMES = [member.id for member in PINNED.policy.roster]

Past = Sequence[tuple[str, Set[int]]]  # the two cohorts before: model, and positions in the roster


def closed(minimum: int, past: Past, here: Sequence[int], called: Mapping[int, str]) -> CurrentRound | None:
    """A round on model M in which these clients submitted, and its cohort as the rule has it; None if there is none.
    called: those who are at fault, or disputed by all trustees."""
    pinned = _with_minimum(minimum)
    opened = [OpenedCohort(n, MODELS[model], _bitmap(clients), ()) for n, (model, clients) in enumerate(past, 1)]
    earlier = next((each for each in reversed(opened) if each.model == MODELS["M"]), None)
    submissions = tuple(_submission(10 + at, NAMES[who]) for at, who in enumerate(here))
    answers = {10 + at: called.get(who) for at, who in enumerate(here)}
    held = [index for index, word in answers.items() if word != "disputed"]
    disputed = [Dispute(index, "share-opening") for index, word in answers.items() if word == "disputed"]
    acks = tuple(_ack(member.id, held, disputed) for member in pinned.policy.trustees)
    current = CurrentRound(
        9, HASH, _open(), (), submissions, bytes(CLIENTS), acks, None, (), None, (), b"", earlier, tuple(opened)
    )
    faults = {index: Fault(word, "") for index, word in answers.items() if word not in (None, "disputed")}
    message = draft_cohort(pinned, current, faults)
    if len(message.accepted) < minimum:
        return None
    return replace(current, cohort=LoggedCohort(10 + len(here) + len(acks), HASH, message))


def _with_minimum(minimum: int) -> PinnedPolicy:
    return replace(PINNED, policy=replace(PINNED.policy, min_cohort=minimum))


def _bitmap(clients: Set[int]) -> bytes:
    return client_bitmap(PINNED, frozenset(NAMES[each] for each in clients))


def _submission(index: int, client: str) -> LoggedSubmission:
    message = Submission("f", 3, HASH, client, HASH, HASH, HASH, (), HASH, *[None] * 5)
    return LoggedSubmission.of(index, HASH, message)


def _ack(trustee: str, held: list[int], disputed: list[Dispute]) -> ShareAck:
    return ShareAck("f", 3, HASH, trustee, *answering(10, held, disputed), HASH)


def _open() -> RoundOpen:
    return RoundOpen("f", 3, HASH, MODELS["M"], 1, HASH, HASH, HASH, (), (), None, None, None)


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, Past, list[int], dict[int, str]]:
    minimum = draw(st.integers(2, 3))
    cohort = st.frozensets(st.integers(0, CLIENTS - 1), min_size=minimum)
    first, last = draw(st.sampled_from(["NN", "NO", "MN", "NM"]))
    past = [(first, draw(cohort)), (last, draw(cohort))]
    earlier = next((clients for model, clients in reversed(past) if model == "M"), frozenset(range(CLIENTS)))
    here = draw(st.lists(st.sampled_from(sorted(earlier)), unique=True, min_size=minimum))
    words = st.sampled_from(["malformed", "invalid-proof", "disputed"])
    return minimum, past, here, draw(st.dictionaries(st.sampled_from(here), words, max_size=3))


@settings(max_examples=300, deadline=None)
@given(histories())
@example((3, [("N", {0, 1, 2, 3, 4, 5, 6}), ("O", {0, 1, 2})], [0, 1, 2, 3, 4, 5, 6], {6: "invalid-proof"}))
@example((2, [("N", {0, 3, 4, 5, 6}), ("N", {5, 6})], [4, 3, 0], {0: "malformed"}))
@example((3, [("M", {0, 1, 2, 3, 4, 5, 6, 7}), ("N", {1, 6, 7})], [2, 4, 0, 1, 3, 5, 7, 6], {5: "invalid-proof"}))
def test_what_the_strict_rule_chooses_rests_on_enough_to_be_released(
    history: tuple[int, Past, list[int], dict[int, str]],
) -> None:
    """Whoever stayed away before, and is at fault now: all that made the choice lawful is what trustees verify."""
    current = closed(*history)
    if current is None:
        return
    pinned = _with_minimum(history[0])
    relied_on = {each.client for each in excused_submissions(pinned, current)}
    check_hidden(pinned, current, disputed_clients(current) | relied_on)


def test_a_cohort_that_nobody_is_missing_from_rests_on_nothing() -> None:
    everybody = set(range(CLIENTS))
    current = closed(3, [("N", everybody), ("O", {0, 1, 2})], [*everybody], {})
    assert current is not None
    assert excused_submissions(_with_minimum(3), current) == ()
