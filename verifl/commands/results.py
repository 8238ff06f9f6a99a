"""What a run says on stdout when it has ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from verifl.federation import FederationResult


def report_run(result: FederationResult, style: str) -> None:
    """Print a result to stdout as txt, json, or jsonl (a line for each round, then one for the run)."""
    if style == "txt":
        click.echo(result.describe())
    elif style == "json":
        click.echo(json.dumps(result.to_dict(), indent=2, allow_nan=False))
    else:
        for summary in result.rounds:
            click.echo(json.dumps({"event": "round", **summary.to_dict()}, allow_nan=False))
        click.echo(json.dumps({"event": "run", **result.to_dict()}, allow_nan=False))
