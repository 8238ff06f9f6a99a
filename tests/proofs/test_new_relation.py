"""Relations that nothing but this file knows, proved and verified by the prover and the verifier as they are.

A coordinate equals a public value: one linear form. A coordinate is at least a public value: a table of squares with
commitments, weights and a form of its own, in force beside all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from proofs.curve import ORDER
from proofs.engine import Engine, Table
from proofs.errors import Misuse
from proofs.polynomials import eq_index
from proofs.relations.norm import NORM_COMMITMENTS, PRIVATE, UPDATE
from proofs.relations.range import RANGE
from proofs.relations.relation import DirectRelation, OwnTable, Sent, Weights, WrapBound
from proofs.relations.terms import ColumnWeights, RankOneForm, Single, Terms
from proofs.shape import TableShape
from proofs.squares import four_squares
from proofs.transcript import statement_bytes
from proofs.verifier import verify_batch
from proofs.witness import WitnessInputs, commit_update, filled_tables
from tests.proofs.arguments import (
    RING,
    Honest,
    WeakParameters,
    bounded_update,
    honest,
    judge,
    name_of,
    native,
    pruned,
    reference,
)
from tests.proofs.test_parameters import refused_at_its_edge
from tests.seeded import seeded
from tests.soundness.forgery import another_point, forge_tables
from tests.soundness.test_tampering import ENCRYPTION_TAMPERS, TAMPERS, refused_once_tampered

ENGINES = pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])


@dataclass(frozen=True)
class Equals(DirectRelation):
    """Coordinate `index` is `value`."""

    shape: TableShape
    index: int
    value: int

    name = "equals"
    label = "equals-weight"

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.index, self.value % ORDER

    @property
    def scalars(self) -> int:
        return 1

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        return [WrapBound("equals", 2 * (entry + abs(self.value)))]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        (theta,), (row, column) = weights.scalars, divmod(self.index, self.shape.columns)
        return Terms(total=theta * self.value, forms=[RankOneForm(Single(row), Single(column), {UPDATE: 1}, theta)])


@dataclass(frozen=True)
class AtLeast(DirectRelation):
    """Coordinate `index` minus `value` is the sum of the four squares in a table of one row."""

    shape: TableShape
    index: int
    value: int

    name = "at-least"
    commitments = "at-least-commitments"
    label = "at-least-weight"

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        return (OwnTable("excess", 1, 4),)

    @property
    def classes(self) -> Mapping[str, str]:
        return {"excess": "excess"}

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.index, self.value % ORDER

    @property
    def squares_bound(self) -> int:
        return 2 * 2**20

    @property
    def scalars(self) -> int:
        return 1

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        return [WrapBound("at-least", 2 * (4 * entry**2 + entry + abs(self.value)))]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """u - sum of squares = value, times theta and the factor that squares in the first row have."""
        (theta,), (row, column) = weights.scalars, divmod(self.index, self.shape.columns)
        factor = theta * eq_index(weights.row_point, 0) % ORDER
        return Terms(
            total=factor * self.value,
            squares={"excess": ColumnWeights(-theta % ORDER, 2, [])},
            forms=[RankOneForm(Single(row), Single(column), {UPDATE: 1}, factor)],
        )


@dataclass(frozen=True)
class Energy(DirectRelation):
    """The squares of update and private row sum to `value`, by weights beside the 1 that the norm gives them."""

    shape: TableShape
    value: int

    name = "energy"
    label = "energy-weight"

    @property
    def numbers(self) -> tuple[int, ...]:
        return (self.value,)

    @property
    def scalars(self) -> int:
        return 1

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        return [WrapBound("energy", 2 * (self.shape.cells * entry**2 + self.value))]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        (theta,) = weights.scalars
        return Terms(total=theta * self.value, plain={UPDATE: theta, PRIVATE: theta})


class EnergyAgain(Energy):
    """Of the same tables."""

    name = "energy-again"
    label = "energy-again-weight"


@filled_tables.register
def _(relation: AtLeast, secrets: WitnessInputs) -> list[Table]:
    excess = int(secrets.update[relation.index]) - relation.value
    return [np.array([four_squares(excess, secrets.rand)], dtype=np.int64)]


Kind = type[Equals] | type[AtLeast]


def wanted(kind: Kind, *, everything: bool, index: int = 19, value: int = -3) -> WeakParameters:
    """One of these relations, beside the norm alone or beside all others."""
    bounds = (9, (), RING) if everything else (None, (), None)
    return WeakParameters(20, 50, 4, *bounds, (kind(TableShape(20), index, value),))


def update_of(parameters: WeakParameters, value: int) -> np.ndarray:
    """With this value at the place."""
    (relation,) = parameters.further
    assert isinstance(relation, Equals | AtLeast)
    update = bounded_update(parameters, 1) // 2
    update[relation.index] = value
    return update


def made_with(parameters: WeakParameters, value: int, engine: Engine | None = None) -> Honest:
    return honest(engine or native(), parameters, update_of(parameters, value))


KINDS = pytest.mark.parametrize("kind", [Equals, AtLeast])
EVERYTHING = pytest.mark.parametrize("everything", [False, True], ids=["norm", "everything"])


@KINDS
@EVERYTHING
@ENGINES
@pytest.mark.parametrize("index", [0, 17, 19])
def test_accepted(engine: Engine, kind: Kind, everything: bool, index: int) -> None:
    parameters = wanted(kind, everything=everything, index=index)
    made = made_with(parameters, -3, engine)
    assert judge(native(), parameters, made.claim) == judge(reference(), parameters, made.claim) == "accepted"


@pytest.mark.parametrize("value", [-2, 0, 4, 8])
def test_more_than_the_least(value: int) -> None:
    parameters = wanted(AtLeast, everything=True)
    assert judge(native(), parameters, made_with(parameters, value).claim) == "accepted"


def test_less_than_the_least_is_refused() -> None:
    parameters = wanted(AtLeast, everything=False)
    with pytest.raises(Misuse, match="four squares"):
        commit_update(native(), parameters, update_of(parameters, -4), seeded(0))


@EVERYTHING
@pytest.mark.parametrize("value", [-4, -2, 3])
def test_another_value_is_not_proved(value: int, everything: bool) -> None:
    """All the honest prover's steps over an update for which only this relation does not hold."""
    parameters = wanted(Equals, everything=everything)
    claim = made_with(parameters, value).claim
    assert judge(native(), parameters, claim) == judge(reference(), parameters, claim) == "linear-relation"


def test_less_than_the_least_is_not_proved() -> None:
    """The norm is right, and the squares are those of the least."""
    parameters = wanted(AtLeast, everything=False)
    update, _, excess = made_with(parameters, -3).committed.tables
    lower = update.copy()
    lower[1, 3] = -4
    private = np.zeros((1, 16), dtype=np.int64)
    for table, verdict in ((lower, "linear-relation"), (update, "accepted")):
        private[0, :4] = four_squares(50**2 - int((table**2).sum()), seeded(1))
        claim = forge_tables(native(), parameters, [table, private, excess], seeded(2))
        assert judge(native(), parameters, claim) == judge(reference(), parameters, claim) == verdict


@KINDS
@EVERYTHING
@pytest.mark.parametrize("changes", [{"value": -4}, {"index": 18}])
def test_another_statement(kind: Kind, everything: bool, changes: dict[str, int]) -> None:
    """The verifier's own parameters count, whatever the proof was made for."""
    parameters = wanted(kind, everything=everything)
    other = wanted(kind, everything=everything, **changes)
    assert statement_bytes(other) != statement_bytes(parameters)
    claim = made_with(parameters, -3).claim
    expected = "ciphertext-combination" if everything else "linear-relation"
    assert judge(native(), other, claim) == judge(reference(), other, claim) == expected
    if everything:
        assert judge(native(), other, pruned(claim)) == "linear-relation"


@KINDS
def test_without_the_relation(kind: Kind) -> None:
    """A proof for more, or for less, than is asked for."""
    parameters = wanted(kind, everything=False)
    base = WeakParameters(20, 50, 4)
    more, less = made_with(parameters, -3).claim, honest(native(), base, update_of(parameters, -3)).claim
    length = "linear-relation" if kind is Equals else "at-least-commitments-length"
    assert judge(native(), base, more) == judge(native(), parameters, less) == length


@pytest.mark.parametrize("beta", [None, 9])
@pytest.mark.parametrize(
    ("values", "verdict"),
    [((2500, 2500), "accepted"), ((2499, 2500), "linear-relation"), ((2500, 2501), "linear-relation")],
)
def test_weights_of_all_squares_are_those_of_all_relations(
    beta: int | None, values: tuple[int, int], verdict: str
) -> None:
    """Of tables that have others beside them, and of such as have none."""
    shape = TableShape(20)
    further = (Energy(shape, values[0]), EnergyAgain(shape, values[1]))
    parameters = WeakParameters(20, 50, 4, beta, further=further)
    claims = [honest(engine, parameters).claim for engine in (native(), reference())]
    assert claims[0] == claims[1]
    assert [judge(engine, parameters, claims[0]) for engine in (native(), reference())] == [verdict] * 2


@pytest.fixture(scope="module")
def full() -> Mapping[Kind, Honest]:
    return {kind: made_with(wanted(kind, everything=True), -3) for kind in (Equals, AtLeast)}


@KINDS
@ENGINES
@pytest.mark.parametrize("name", [*TAMPERS, *ENCRYPTION_TAMPERS])
def test_tampered_field(full: Mapping[Kind, Honest], engine: Engine, kind: Kind, name: str) -> None:
    """The manifest of the proof's fields, with the relation in force."""
    refused_once_tampered(engine, full[kind], name)


@ENGINES
def test_every_row_and_evaluation_of_its_table_counts(full: Mapping[Kind, Honest], engine: Engine) -> None:
    made, label = full[AtLeast], "at-least-commitments"
    evaluations = made.proof.evaluations
    assert len(evaluations) == len(made.parameters.layout.tables) == 10
    bent = made.edited(evaluations=(*evaluations[:-1], (evaluations[-1] + 1) % ORDER))
    assert judge(engine, made.parameters, bent) == "linear-relation"
    for data, verdict in (
        (another_point(), "ciphertext-combination"),
        (b"", f"{label}-length"),
        (bytes(33), "point-encoding"),
    ):
        claim = replace(made.claim, rows={**made.claim.rows, label: data})
        assert judge(engine, made.parameters, claim) == verdict
    moved = replace(made.claim, rows={**made.claim.rows, label: another_point()})
    assert judge(engine, made.parameters, pruned(moved)) == "linear-relation"


@KINDS
def test_batches_name_the_one_at_fault(kind: Kind) -> None:
    parameters = wanted(kind, everything=False)
    claims = [honest(native(), parameters, update_of(parameters, -3), seed=seed).claim for seed in range(3)]
    proof = honest(native(), parameters, update_of(parameters, -3), seed=1)
    claims[1] = proof.off_by(1)
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), parameters, claims)]
    assert verdicts == ["accepted", "opening", "accepted"]


@pytest.mark.parametrize(("kind", "name"), [(Equals, "equals"), (AtLeast, "at-least")])
def test_its_inequality_at_its_edge(kind: Kind, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused_at_its_edge(wanted(kind, everything=False), name, monkeypatch)


def test_a_relation_that_does_not_go_with_the_others_is_refused() -> None:
    twice = wanted(Equals, everything=False).further * 2
    with pytest.raises(Misuse, match="distinct names of relations, found equals 2 times"):
        WeakParameters(20, 50, 4, further=twice)


class Shared(Equals):
    """A scalar under E_0, whose opening is that of another relation, or none's."""

    @property
    def shared(self) -> int:
        return 1


class Apart(AtLeast):
    """Rows opened apart, with blindings that nothing shares."""

    @property
    def apart(self) -> tuple[str, ...]:
        return ("excess",)


class Plain(AtLeast):
    """Squares that no weight tells from those of the norm."""

    @property
    def plain(self) -> tuple[str, ...]:
        return ("excess",)


class OfTheRange(AtLeast):
    """A table in the class of another relation's weights."""

    @property
    def classes(self) -> Mapping[str, str]:
        return {"excess": RANGE}


class Labelled(Equals):
    """The label of another relation's commitments, and no table."""

    commitments = NORM_COMMITMENTS


ODD = [
    (Shared, False, "both in one relation or in none, found equals"),
    (Shared, True, "both in one relation or in none, found packing, equals"),
    (Apart, False, "both in one relation or in none, found at-least"),
    (Apart, True, "both in one relation or in none, found packing, at-least"),
    (Plain, False, "without weights in one at most, found in norm, at-least"),
    (OfTheRange, True, "distinct classes of weights, found range 2 times"),
    (Labelled, False, "distinct labels of commitments, found commitments 2 times"),
]


@pytest.mark.parametrize(("kind", "everything", "found"), ODD)
def test_a_relation_that_the_opening_would_not_bind_is_refused(kind: Kind, everything: bool, found: str) -> None:
    """Before anything is proved: the verifier would take what it says without holding the prover to it."""
    with pytest.raises(Misuse, match=found):
        wanted(kind, everything=everything)


def test_the_proof_grows_by_what_the_relation_brings() -> None:
    """A form brings nothing; a table its evaluation, wider projections for more squares, and its pad under A, of which
    no more is left than the folded vector grows."""
    plain = WeakParameters(20, 50, 4, 9, (), RING)
    form, table = (wanted(kind, everything=True) for kind in (Equals, AtLeast))
    assert form.proof_size == plain.proof_size
    assert (table.folded.folds, plain.folded.folds) == (2, 2)
    wider = table.projections * (table.response_width - plain.response_width)
    assert table.proof_size == plain.proof_size + wider + 32 * (1 + table.folded.last - plain.folded.last)
