"""`verifl demo`: a federation on real data, then its audit, as a user would do the two."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from auditor import audit
from verifl.config import Config
from verifl.federation import Federation, FederationResult
from verifl.progress import console_progress
from verifl.run_directory import fresh_sibling
from verifl.tasks.loading import load_task

CLIP_NORMS = {"breast-cancer": 1.0, "digits": 4.0}
SITES = 8


def demo_config(dataset: str, rounds: int, seed: int) -> Config:
    """8 sites, cohorts of at least 5, trustees (m, f, t) = (5, 2, 4)."""
    return Config.of(
        federation={"name": f"demo-{dataset}", "rounds": rounds, "seed": seed},
        task={"name": dataset, "clients": SITES},
        cohort={"minimum": 5},
        trustees={"count": 5, "corrupt": 2, "threshold": 4},
        update={"clip_norm": CLIP_NORMS[dataset]},
    )


def run_demo(out: Path | None, dataset: str, rounds: int, seed: int, device: str, style: str) -> int:
    """Run, audit, report on stdout; returns 0 if the audit accepts and 1 if it does not."""
    started = time.perf_counter()
    config = demo_config(dataset, rounds, seed)
    directory = out or fresh_sibling(Path("verifl-demo"))
    with console_progress() as progress:
        progress.stage("loading PyTorch and the data")
        task = load_task(config, Path())
        result = Federation(task, config, directory, device=device, progress=progress).run()
        progress.stage("auditing the transcript")
        report = audit(result.transcript, result.policy)
    ...
