"""Writes tests/golden/{honest,rejected,weighed,private,noisy,trustees}/: `python -m tests.golden.regenerate`, from the
root.

Each is a transcript of format version 1, `policy.cbor`, and `expected.json`: what an auditor has to say of it. They are
made once for a version of the format and then stay (docs/compatibility.md): a change that needs them made again is a
change of the format.

honest: under a policy with a coordinate bound and the proof of encryption, which everybody approves, a client rotates
its key; round 1 is aborted for want of submissions; round 2 is closed. rejected: the same, but the published aggregate
is one unit off in one coordinate, and everything after it follows, rightly signed. weighed: one round with the same
proofs, of updates that state their weights. private: one of updates that hide them. noisy: one of updates with noise.
trustees: one with noise of trustees.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from auditor import Report, audit
from protocols.messages import Aggregate
from protocols.noise_trustees import TRUSTEES
from protocols.policy import PrivacyBudget, WeightRule
from protocols.steps.doubles import format_double
from tests.auditor.forge import Forge
from tests.simulator import Setting, Simulation, identity_of

DIRECTORY = Path(__file__).parent
FORMAT = 1
NAMES = ("honest", "rejected", "weighed", "private", "noisy", "trustees")
SETTING = Setting(
    clients=2,
    trustees=2,
    threshold=2,
    corrupt=1,
    dimension=8,
    max_cohort=4,
    coordinate_clip=0.5,
    encryption_proof=True,
    approvals=("client", "trustee"),
)


WEIGHED = replace(SETTING, weights=WeightRule("declared", 9, format_double(2.5)), approvals=(), seed=2)


PRIVATE = replace(
    SETTING,
    weights=WeightRule("private", 9, format_double(2.5)),
    approvals=(),
    coordinate_clip=None,
    encryption_proof=False,
    seed=3,
)


NOISY = replace(SETTING, approvals=(), max_rounds=3, budget=PrivacyBudget(8_000_000, 10_000_000), seed=4)


TRUSTED = replace(NOISY, by=TRUSTEES, honest=1, seed=5)


def play(directory: Path) -> Simulation:
    """The honest federation."""
    simulation = Simulation(directory, SETTING)
    simulation.start()
    simulation.change(simulation.rotation("client-00"))
    simulation.open_round()
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.play_round()
    simulation.writer.close()
    return simulation


def weigh(directory: Path, setting: Setting) -> Simulation:
    """One honest round."""
    simulation = Simulation(directory, setting)
    simulation.start()
    simulation.play_round()
    simulation.writer.close()
    return simulation


def lie(simulation: Simulation) -> Forge:
    """The same transcript with another sum in it."""
    forged = Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)
    position = forged.find(Aggregate)
    plaintext = bytearray(forged.blob(forged.message(position).plaintext))
    plaintext[0] ^= 1
    forged.edit(position, plaintext=forged.put(bytes(plaintext)))
    return forged


def verdicts(report: Report) -> dict[str, Any]:
    """What every later auditor has to repeat of a report: not its words."""
    return {
        "format": FORMAT,
        "accepted": report.accepted,
        "policy": report.policy_hash,
        "checkpoint": None if report.checkpoint is None else report.checkpoint.to_dict(),
        "checks": {result.id: result.status.value for result in report.checks},
    }


def write(target: Path) -> None:
    """All of them, in the directory `target`."""
    with tempfile.TemporaryDirectory() as place:
        simulation, weighed = play(Path(place) / "plain"), weigh(Path(place) / "weighed", WEIGHED)
        private, noisy = weigh(Path(place) / "private", PRIVATE), weigh(Path(place) / "noisy", NOISY)
        trusted = weigh(Path(place) / "trustees", TRUSTED)
        made = (
            (simulation.path, simulation),
            (lie(simulation).write(Path(place) / "forged"), simulation),
            (weighed.path, weighed),
            (private.path, private),
            (noisy.path, noisy),
            (trusted.path, trusted),
        )
        for name, (path, of) in zip(NAMES, made, strict=True):
            shutil.rmtree(target / name, ignore_errors=True)
            shutil.copytree(path, target / name / "transcript")
            (target / name / "policy.cbor").write_bytes(of.policy_data)
            expected = verdicts(audit(target / name / "transcript", of.policy_data))
            (target / name / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="ascii")


if __name__ == "__main__":
    write(DIRECTORY)
