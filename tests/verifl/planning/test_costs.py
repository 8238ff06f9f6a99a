"""The counts that `verifl plan` shows are those of a submission as it is made and verified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from proofs.engine import KnownRows, Points, Table
from proofs.native import NativeEngine
from tests.simulator import Setting, Simulation
from verifl.planning.costs import submission_size, submission_work


class Counting(NativeEngine):
    """Counts what is committed to, and the points that are decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.short = self.whole = self.points = 0

    def commit_rows(self, table: Table, blindings: Sequence[int], known: KnownRows | None = None) -> bytes:
        self.short += table.size
        return super().commit_rows(table, blindings, known)

    def commit(self, scalars: Sequence[int], blinding: int) -> bytes:
        self.whole += sum(scalar != 0 for scalar in (*scalars, blinding))
        return super().commit(scalars, blinding)

    def decode_points(self, encoded: bytes) -> Points:
        self.points += len(encoded) // 33
        return super().decode_points(encoded)


@pytest.mark.parametrize("proof", [False, True], ids=["plain", "encryption"])
@pytest.mark.parametrize("bound", [None, 0.25], ids=["norm", "range"])
def test_bytes_and_counted_work_are_those_of_a_submission(tmp_path: Path, bound: float | None, proof: bool) -> None:
    engine = Counting()
    simulation = Simulation(tmp_path, Setting(coordinate_clip=bound, encryption_proof=proof), engine)
    simulation.start()
    simulation.open_round()
    work, size = submission_work(simulation.pinned), submission_size(simulation.pinned)
    opened = simulation.accept("client-00")
    engine.short = engine.whole = 0
    package = simulation.clients["client-00"].submit(opened, simulation.random_update("update"))
    assert (engine.short, engine.whole) == (work.committed_values, work.client_multiplications)
    assert sum(map(len, package.blobs.values())) == size.total
    simulation.store(simulation.coordinator.receive(package))
    simulation.checkpoint()
    engine.points = 0
    simulation.coordinator.verdicts()
    shared = simulation.setting.threshold  # the share commitments, which are decoded to see that they are points
    assert engine.points == work.verified_points + shared
