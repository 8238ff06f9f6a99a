"""P6: which clients the sums of several rounds show, if they are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial

from auditor.case import Case
from auditor.checks.numbered import numbered
from auditor.checks.proofs import Proofs
from auditor.checks.verdicts import Verdicts, exempt_in, may_be_exempt_in
from auditor.findings import Findings, Result, counted
from auditor.index import Round, label
from auditor.reports.results import Kind, Place
from auditor.signed_log import SignedLog
from proofs.errors import Rejected
from protocols.privacy.differencing import (
    Cohort,
    check_consecutive,
    check_nested,
    exposed_by_three,
    exposed_by_two,
    exposed_by_weights,
)
from protocols.weights import PRIVATE

_NOTES = 20  # of exposed clients, in a report; the rest are counted
_NAMES = 8  # in one of them


@dataclass(frozen=True)
class _Opened:
    """A round that reached CohortClosed. weights: what the clients state that state any."""

    number: int
    model: bytes
    clients: Set[str]
    weights: Mapping[str, int]

    @classmethod
    def of(cls, found: Round, model: bytes) -> _Opened:
        """As the log has it; weights that nobody may state are none."""
        accepted = found.accepted()
        stated = {each.client: each.weight for each in accepted if each.weight is not None and each.weight > 0}
        return cls(found.number, model, found.clients, stated)


@dataclass(frozen=True)
class _Exposed:
    """Clients whom the sums of these rounds show, and how far."""

    rounds: str
    clients: Set[str]
    said: str


_ALIKE = "their sums show little else once training hardly moves the model, short of noise"
_WEIGHTS_TOO = "; the sums of private weights show theirs exactly, if nobody's changes"
_NOISY = "each sum has noise of its own, by {} honest adders or more: what differences show is in the account of P5"
_HIDDEN_CHANGES = "whose private weight changed from one round to the next nobody can tell: not listed"


@dataclass(frozen=True)
class Needs:
    """What P6 is handed."""

    case: Case
    log: SignedLog
    proofs: Proofs
    verdicts: Verdicts


@dataclass(frozen=True)
class Differences(Result):
    """What P6 leaves."""


@numbered("P6")
def check_differences(given: Needs, findings: Findings) -> Differences:
    """P6. The cohorts opened on one model nest, released or not: each is a subset of the one before it, and those who
    left are nobody, min_cohort clients or more, or clients whose one submission of the later round is proved at fault.
    No round is opened once more than max_aborts were aborted after CohortClosed. Notes name the clients whom the sums
    of two or three consecutive rounds on different models would show if these were alike; under `strict_consecutive`
    they are findings. Notes also name clients whose declared weight changed so that two sums show them."""
    opened: list[_Opened] = []
    reweighed: list[_Exposed] = []
    latest: dict[bytes, _Opened] = {}
    pairs = aborted = 0
    for found in given.log.rounds(findings):
        if found.open is None:
            continue
        if aborted > given.case.policy.max_aborts:
            expected = (
                f"no round once more than {given.case.policy.max_aborts} were aborted after their cohort was closed"
            )
            with findings.whether(sure=True):
                findings.add(label(found.open.index, found.open.message), expected, f"a round after {aborted}")
        if found.cohort is None:
            continue
        aborted += bool(found.aborts)
        findings.sure = findings.sure and given.log.knows_before(found)
        mine = _Opened.of(found, found.open.message.model)
        opened.append(mine)
        reweighed += _reweighed(opened[-2:-1], latest.get(mine.model), mine, given.case.policy.min_cohort)
        if given.case.policy.strict_consecutive:
            _check_strict(given, findings, found, mine)
        earlier, latest[mine.model] = latest.get(mine.model), mine
        if earlier is None:
            continue
        pairs += 1
        nests = partial(check_nested, earlier.clients, mine.clients, min_cohort=given.case.policy.min_cohort)
        _judge(given, findings, Place(f"rounds {earlier.number} and {mine.number}", round=mine.number), found, nests)
    if not given.case.policy.strict_consecutive:
        hidden = given.case.policy.weights.kind == PRIVATE.name
        _note_exposed(findings, [*_exposed(opened, given.case.policy.min_cohort, hidden), *reweighed])
        if given.case.policy.noise is not None and len(opened) > 1:
            findings.note(_NOISY.format(given.case.policy.noise.honest))
        if hidden and len(opened) > 1:
            findings.note(_HIDDEN_CHANGES)
    told = f"{counted(pairs, 'pair')} of cohorts on one model, {aborted} of {given.case.policy.max_aborts} aborts"
    return Differences(told)


def _check_strict(given: Needs, findings: Findings, found: Round, mine: _Opened) -> None:
    before, later = given.log.index.recent_before(found.number), Cohort(mine.model, mine.clients)
    hides = partial(check_consecutive, before, later, min_cohort=given.case.policy.min_cohort)
    _judge(given, findings, Place(f"round {mine.number} and those before it", round=mine.number), found, hides)


def _judge(given: Needs, findings: Findings, where: Place, found: Round, rule: Callable[..., None]) -> None:
    """A rule of exempt clients. It is broken if it does not hold either with everybody exempt who may be, for all that
    can be read."""
    try:
        rule(exempt=exempt_in(given.proofs, given.verdicts, found))
    except Rejected as error:
        findings.reject(
            where,
            error,
            Kind.BROKEN if _fails(rule, may_be_exempt_in(given.proofs, given.verdicts, found)) else Kind.UNJUDGED,
        )


def _fails(rule: Callable[..., None], exempt: Set[str]) -> bool:
    try:
        rule(exempt=exempt)
    except Rejected:
        return True
    return False


def _reweighed(
    before: Sequence[_Opened], earlier: _Opened | None, mine: _Opened, min_cohort: int
) -> Iterator[_Exposed]:
    """Who weighs otherwise than in the round before, and than in the last one on the same model, and is shown by it."""
    pairs = {each.number: each for each in (*before, *([] if earlier is None else [earlier]))}
    for other in pairs.values():
        if clients := exposed_by_weights(other.weights, mine.weights, min_cohort):
            alike = "both are on one model" if other.model == mine.model else _ALIKE
            said = f"they weigh otherwise than before, beside the others; {alike}"
            yield _Exposed(f"rounds {other.number} and {mine.number}", clients, said)


def _exposed(opened: Sequence[_Opened], min_cohort: int, hidden: bool) -> Iterator[_Exposed]:
    """Whom the sums of two and three consecutive rounds expose; on one model they nest. Of three only whom no two of
    them expose. hidden: whether weights are."""
    said = _ALIKE + (_WEIGHTS_TOO if hidden else "")
    known: Set[str] = frozenset()  # by the two before
    for position, last in enumerate(opened):
        before = opened[max(position - 2, 0) : position]
        two: Set[str] = frozenset()
        if before and before[-1].model != last.model:
            two = exposed_by_two(before[-1].clients, last.clients, min_cohort)
        if two:
            yield _Exposed(f"rounds {before[-1].number} and {last.number}", two, said)
        if len(before) == 2 and len({each.model for each in (*before, last)}) > 1:
            three = exposed_by_three([each.clients for each in (*before, last)], min_cohort) - two - known
            if three:
                rounds = f"rounds {before[0].number}, {before[1].number} and {last.number} together"
                yield _Exposed(rounds, three, said)
        known = two


def _note_exposed(findings: Findings, exposed: Sequence[_Exposed]) -> None:
    for each in exposed[:_NOTES]:
        names = sorted(each.clients)
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        findings.note(f"{each.rounds} expose {', '.join(names[:_NAMES])}{more}: {each.said}")
    if len(exposed) > _NOTES:
        findings.note(f"{counted(len(exposed) - _NOTES, 'more such difference')} between consecutive rounds")
