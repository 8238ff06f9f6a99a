"""Writes tests/golden/{honest,rejected}/: `python -m tests.golden.regenerate` from the repository's root.

Each is a transcript of format version 1, `policy.cbor`, and `expected.json`: what an auditor has to say of it. They are
made once for a version of the format and then stay (docs/compatibility.md): a change that needs them made again is a
change of the format.

honest: under a policy with a coordinate bound and the proof of encryption, which everybody approves, a client rotates
its key; round 1 is aborted for want of submissions; round 2 is closed. rejected: the same, but the published aggregate
is one unit off in one coordinate, and everything after it follows, rightly signed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from auditor import Report, audit
from protocols.messages import Aggregate
from tests.auditor.forge import Forge
from tests.simulator import Setting, Simulation, identity_of

DIRECTORY = Path(__file__).parent
FORMAT = 1
NAMES = ("honest", "rejected")
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
    """Both, in the directory `target`."""
    with tempfile.TemporaryDirectory() as place:
        simulation = play(Path(place))
        forged = lie(simulation).write(Path(place) / "forged")
        for name, made in zip(NAMES, (simulation.path, forged), strict=True):
            shutil.rmtree(target / name, ignore_errors=True)
            shutil.copytree(made, target / name / "transcript")
            (target / name / "policy.cbor").write_bytes(simulation.policy_data)
            expected = verdicts(audit(target / name / "transcript", simulation.policy_data))
            (target / name / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="ascii")


if __name__ == "__main__":
    write(DIRECTORY)
