"""The peak memory that `verifl plan` states is that of runs and audits as they were measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocols.envelopes import open_policy
from protocols.policy import Policy, TensorSpec
from tests.seeded import seeded
from verifl.config import Config
from verifl.enrolment.policies import enrol
from verifl.planning.costs import peak_memory

ROOT = Path(__file__).parents[3]
MEASURED = [  # d, clients, proof of encryption, range; bytes of the run, of the audit
    (1_000_000, 3, True, False, 577_703_936, 275_419_136),
    (3_000_000, 3, True, False, 936_861_696, 467_677_184),
    (1_000_000, 8, True, False, 582_410_240, 316_567_552),
    (1_000_000, 16, True, False, 643_747_840, 382_222_336),
    (1_000_000, 3, False, False, 523_059_200, 260_788_224),
    (3_000_000, 3, False, False, 801_325_056, 425_107_456),
    (1_000_000, 3, True, True, 702_222_336, 275_488_768),
    (3_000_000, 3, True, True, 1_163_497_472, 467_791_872),
    (1_000_000, 3, False, True, 652_484_608, 260_935_680),
    (3_000_000, 3, False, True, 1_084_035_072, 425_377_792),
]
RUN = """
import sys
from torch import nn
from verifl import Config, Federation

class Wide:
    def clients(self): return ["a", "b", "c"]
    def model(self): return nn.Linear(999_999, 1)
    def data(self, client): return None
    def train(self, model, client, data): model.weight.data += 1e-6
    def evaluate(self, model): return {}

config = Config.of(federation={"rounds": 1}, trustees={"count": 2, "corrupt": 0, "threshold": 2})
Federation(Wide(), config, sys.argv[1], device="cpu").run()
"""
AUDIT = """
import sys
from auditor import audit
assert audit(sys.argv[1] + "/transcript", sys.argv[1] + "/policy.cbor").accepted
"""


def policy(dimension: int, clients: int, proof: bool, ranged: bool) -> Policy:
    bound = {"coordinate_bound": 0.01} if ranged else {}
    config = Config.of(update={"encryption_proof": proof, **bound})
    tensors = (TensorSpec("weights", (dimension,), "float32", nonnegative=False),)
    names = [f"client-{number:02}" for number in range(clients)]
    return open_policy(enrol(config, tensors, dimension, names, b"", seeded("memory")).policy_file)[0]


@pytest.mark.parametrize(("dimension", "clients", "proof", "ranged", "run", "audit"), MEASURED)
def test_the_plan_is_as_measured(dimension: int, clients: int, proof: bool, ranged: bool, run: int, audit: int) -> None:
    stated = peak_memory(policy(dimension, clients, proof, ranged))
    assert stated.run == pytest.approx(run, rel=0.06)
    assert stated.audit == pytest.approx(audit, rel=0.06)


def peak_of(program: str, *arguments: str) -> int:
    """Bytes that a process has at its peak."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    measured = f"{program}\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    done = subprocess.run(
        [sys.executable, "-c", measured, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    return int(done.stdout.splitlines()[-1])


@pytest.mark.exhaustive
def test_a_run_and_an_audit_have_the_peak_that_is_stated(tmp_path: Path) -> None:
    stated = peak_memory(policy(1_000_000, 3, proof=True, ranged=False))
    assert peak_of(RUN, str(tmp_path / "out")) == pytest.approx(stated.run, rel=0.25)
    assert peak_of(AUDIT, str(tmp_path / "out")) == pytest.approx(stated.audit, rel=0.25)
