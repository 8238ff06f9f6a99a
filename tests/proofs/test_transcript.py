"""What the transcript draws where a relation is not in force: nothing."""

from __future__ import annotations

import pytest

from proofs.challenger import Challenger
from proofs.parameters import ArgumentParameters
from proofs.transcript import ArgumentTranscript, RelationWeights
from tests.proofs.arguments import CONTEXT, RING, WeakParameters, honest, native

ALONE = WeakParameters(40, 500, 4)
RANGED = WeakParameters(40, 500, 4, 100)
ENCRYPTED = WeakParameters(40, 500, 4, None, (), RING)


def drawn(parameters: ArgumentParameters) -> RelationWeights:
    claim = honest(native(), parameters).claim
    transcript = ArgumentTranscript(parameters, CONTEXT, claim.statements)
    transcript.projection_signs(claim.rows, b"")
    transcript.draw(native())
    combinations = [0] * parameters.combinations
    sent = parameters.sent(combinations, combinations)
    return transcript.relation_weights([0] * parameters.projections, sent)


def test_weights_of_the_relations_in_force_only() -> None:
    counts = {"norm": 0, "padding": 1}
    for parameters, others in (
        (ALONE, {}),
        (RANGED, {"range": 1}),
        (ENCRYPTED, {"noise": 2, "packing": 2, "encryption": 4}),
    ):
        weights = drawn(parameters)
        assert {name: len(own) for name, own in weights.scalars.items()} == {**counts, **others}
        flat = [scalar for own in weights.scalars.values() for scalar in own]
        assert len(set(flat)) == len(flat)
        assert min(flat) > 0
        for relation in parameters.relations:
            own = weights.of(relation)
            assert (own.scalars, own.row_point) == (weights.scalars[relation.name], weights.row_point)
            assert own.column_point == weights.column_point


def test_draws_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spec 5.5, step 3: theta_p before tau, theta_r behind it, and all of the encryption at once."""
    found: list[tuple[str, int]] = []

    class Recording(Challenger):
        def scalars(self, label: str, count: int) -> list[int]:
            found.append((label, count))
            return super().scalars(label, count)

    everything = WeakParameters(40, 500, 4, 100, (), RING)
    claim = honest(native(), everything).claim
    monkeypatch.setattr("proofs.transcript.Challenger", Recording)
    transcript = ArgumentTranscript(everything, CONTEXT, claim.statements)
    transcript.relation_weights([0] * 4, everything.sent([0] * 4, [0] * 4))
    labels = [("projection-weights", 4), ("padding-weight", 1), ("cube-point", 6), ("range-weight", 1)]
    assert found == [*labels, ("encryption-weights", 2 + 2 + 4)]
