"""What the transcript draws where a relation is not in force: nothing, and zero for its weights."""

from __future__ import annotations

from proofs.parameters import ArgumentParameters
from proofs.transcript import ArgumentTranscript, Commitments, RelationWeights
from tests.proofs.arguments import CONTEXT, RING, WeakParameters


def drawn(parameters: ArgumentParameters) -> RelationWeights:
    transcript = ArgumentTranscript(parameters, CONTEXT)
    transcript.projection_signs(Commitments(b"", b"", b"", b""))
    combinations = [0] * parameters.quotients
    return transcript.relation_weights([0] * parameters.projections, combinations, combinations)


def test_no_weights_of_relations_that_are_not_in_force() -> None:
    alone = drawn(WeakParameters(40, 500, 4))
    assert (alone.range, alone.error, alone.key, alone.packing, alone.packing_base) == (0, 0, 0, 0, 0)
    assert alone.quotients == []
    ranged = drawn(WeakParameters(40, 500, 4, 100))
    assert ranged.range > 0
    assert (ranged.error, ranged.key, ranged.packing, ranged.packing_base, ranged.quotients) == (0, 0, 0, 0, [])
    encrypted = drawn(WeakParameters(40, 500, 4, None, (), RING))
    assert encrypted.range == 0
    weights = [encrypted.error, encrypted.key, encrypted.packing, encrypted.packing_base, *encrypted.quotients]
    assert len(set(weights)) == len(weights) == 4 + 4
    assert min(weights) > 0


def test_no_weights_of_cells_without_encryption() -> None:
    weights = ArgumentTranscript(WeakParameters(40, 500, 4, 100), CONTEXT).cell_weights()
    assert (weights.rows.shape, weights.columns.shape) == ((0, 3), (0, 16))
