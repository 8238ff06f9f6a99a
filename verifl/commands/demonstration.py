"""`verifl demo`: a federation on real data, then its audit, as a user would do the two."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import click

from auditor import Report, audit, write_report
from proofs.errors import Misuse, Rejected
from protocols.weights import EQUAL
from verifl.built_in import BUILT_IN_TASKS, FIRST, PRIVATE_DATASET
from verifl.carriers.base import Carrier
from verifl.commands.demo import COLLUDING, DELTA
from verifl.commands.results import report_run
from verifl.config import Config
from verifl.federation import Federation, FederationResult, audit_command
from verifl.reports.logs import logged
from verifl.storage.run_directory import RunDirectory, fresh_sibling
from verifl.tasks.loading import load_task

USUAL_SITES, PRIVATE_SITES = 8, 24


@dataclass(frozen=True)
class Demonstration:
    """What of a demonstration can be chosen. sites: at least 5. coordinate_bound: of every coordinate, or None.
    weights: of what kind. epsilon: of the privacy of a site, or None for no noise."""

    dataset: str = FIRST
    rounds: int = 4
    seed: int = 1
    sites: int = 8
    coordinate_bound: float | None = None
    weights: str = EQUAL.name
    epsilon: float | None = None

    @classmethod
    def of(
        cls,
        dataset: str | None,
        rounds: int,
        seed: int,
        sites: int | None,
        coordinate_bound: float | None,
        weights: str,
        epsilon: float | None,
    ) -> Demonstration:
        """With data, and as many sites, as suit it where none are given: noise wants many, and few coordinates."""
        usual = (FIRST, USUAL_SITES) if epsilon is None else (PRIVATE_DATASET, PRIVATE_SITES)
        return cls(dataset or usual[0], rounds, seed, sites or usual[1], coordinate_bound, weights, epsilon)

    def config(self) -> Config:
        """Cohorts of at least 5, with noise of five sixths of the sites; trustees (m, f, t) = (5, 2, 4)."""
        bound = {} if self.coordinate_bound is None else {"coordinate_bound": self.coordinate_bound}
        return Config.of(
            federation={"name": f"demo-{self.dataset}", "rounds": self.rounds, "seed": self.seed},
            task={"name": self.dataset, "clients": self.sites},
            trustees={"count": 5, "corrupt": 2, "threshold": 4},
            update={"clip_norm": BUILT_IN_TASKS.find(self.dataset).clip_norm, **bound},
            weights={"kind": self.weights},
            **self._limits(),
        )

    def _limits(self) -> dict[str, dict[str, object]]:
        if self.epsilon is None:
            return {"limits": {"min_cohort": 5}}
        privacy: dict[str, object] = {"epsilon": self.epsilon, "delta": DELTA, "colluding": COLLUDING}
        return {"limits": {"min_cohort": max(5, self.sites * 5 // 6), "max_rounds": self.rounds}, "privacy": privacy}


def run_demo(
    out: Path | None,
    chosen: Demonstration,
    device: str,
    style: str,
    logs: tuple[str, str] = ("txt", "info"),
    carrier: Carrier | None = None,
) -> int:
    """Run, audit, report on stdout; returns 0 if the audit accepts and all rounds were closed, else 1.

    logs: their style and level. carrier: for parties that misbehave. Where honest ones then end the run, what it left
    behind is audited, and the result is 1.
    """
    started = time.perf_counter()
    config = chosen.config()
    directory = out or fresh_sibling(Path("verifl-demo"))
    if RunDirectory(directory).resumable:
        raise Misuse(f"{directory}: holds a run already, and a demonstration begins anew; choose another --out")
    with logged(*logs) as progress:
        progress.stage("loading PyTorch and the data")
        task = load_task(config, Path())
        federation = Federation(task, config, directory, device=device, progress=progress, carrier=carrier)
        try:
            result = federation.run()
        except Rejected as error:
            if carrier is None:
                raise
            return _report_stopped(RunDirectory(directory), error, style)
        except (OSError, KeyboardInterrupt) as error:
            _explain_unfinished(RunDirectory(directory), error)
            raise
        progress.stage("auditing the transcript")
        report = audit(result.transcript, result.policy)
    _report(result, report, style, time.perf_counter() - started)
    return 0 if report.accepted and result.ended is None else 1


def _explain_unfinished(directory: RunDirectory, error: OSError | KeyboardInterrupt) -> None:
    """Name the directory in the error, and what to do with what is in it: a demonstration begins anew each time."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(directory.path)  # the system does not say which file it could not write
    if directory.resumable:
        error.add_note(f"{directory.path} holds an unfinished demonstration: remove it, or choose another --out")


def _report_stopped(directory: RunDirectory, error: Rejected, style: str) -> int:
    """The audit of what a run left that honest parties ended, and on stderr why they did."""
    report = audit(directory.transcript, directory.policy)
    write_report(report, style, audit_command(directory))
    click.echo(f"verifl: the run was stopped: {error}", err=True)
    return 1


def _report(result: FederationResult, report: Report, style: str, seconds: float) -> None:
    if style == "json":
        document = {**result.to_dict(), "audit": report.to_dict(), "seconds": round(seconds, 3)}
        click.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    if style == "jsonl":
        report_run(result, style)
        write_report(report, style, result.audit_arguments)
        return
    write_report(report, style, result.audit_arguments)
    click.echo(f"\nwritten in {seconds:.0f} s, audit included:\n{result.describe_files()}")
