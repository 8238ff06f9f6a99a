"""`verifl bench`: its options, and the processes that measure. Importing this imports nothing heavy."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from verifl.bench.processes import POLICY, TRANSCRIPT, audit_apart, measure_apart
from verifl.commands.shared import format_option

_ROLES = {
    "client": ("verifl.bench.client", "measure_client"),
    "verifier": ("verifl.bench.verifier", "measure_verifier"),
    "round": ("verifl.bench.federation", "measure_round"),
    "exchange": ("verifl.bench.exchange", "measure_exchange"),
    "parties": ("verifl.bench.exchange", "measure_parties"),
    "virtual": ("verifl.bench.virtual", "measure_virtual"),
    "summation": ("verifl.bench.summation", "measure_summation"),
}

_dimension = click.option(
    "--dimension", type=click.IntRange(1, 2**28), required=True, help="Coordinates of the model, d."
)
_repeat = click.option(
    "--repeat", type=click.IntRange(1, 1000), default=5, show_default=True, help="How often each phase is measured."
)


_proved = click.option("--encryption-proof", is_flag=True, help="With the proof of encryption.")
_bounded = click.option(
    "--coordinate-bound", type=click.FloatRange(min=0, min_open=True),
    help="With the range relation: bound of every coordinate, of an update of norm 1.",
)  # fmt: skip


@click.group()
def bench() -> None:
    """Measure what the protocol costs on this machine.

    Median, smallest and largest time of each phase; bytes; peak memory, of a process of its own. First runs are left
    out, so that compiled code and generators are at hand. Other work on the machine shows in the figures.
    """


@bench.command()
@_dimension
@click.option(
    "--clients", type=click.IntRange(1, 10_000), default=8, show_default=True,
    help="Submissions in the batch that is verified; each is really made.",
)  # fmt: skip
@_repeat
@_proved
@_bounded
@click.option(
    "--private-weights", type=click.IntRange(1, 2**20), metavar="W",
    help="With hidden weights of at most W; each client's is W.",
)  # fmt: skip
@click.option("--fraction-bits", type=click.IntRange(0, 40), help="Resolution 2^-N; the default one when absent.")
@format_option
def validity(
    dimension: int,
    clients: int,
    repeat: int,
    encryption_proof: bool,
    coordinate_bound: float | None,
    private_weights: int | None,
    fraction_bits: int | None,
    style: str,
) -> int:
    """A client's submission and its verification.

    Commitments, proof, encryption, shares; then the verification of a batch, and a trustee's work.
    """
    with _scratch() as folder, _telling("measuring the client") as tell:
        made = measure_apart(
            "client",
            dimension=dimension,
            clients=clients,
            repeat=repeat,
            directory=str(folder),
            encryption_proof=encryption_proof,
            coordinate_bound=coordinate_bound,
            private_weights=private_weights,
            fraction_bits=fraction_bits,
        )
        tell("measuring the verifier")
        verified = measure_apart("verifier", directory=str(folder), repeat=repeat)
    measured = {**made.result, "phases": [*made.result["phases"], *verified.result["phases"]]}
    _report("validity", clients, measured, {"client": made.peak_memory, "verifier": verified.peak_memory}, style)
    return 0


@bench.command(name="round")
@_dimension
@click.option("--clients", type=click.IntRange(2, 10_000), default=8, show_default=True, help="All of them honest.")
@_repeat
@_proved
@_bounded
@format_option
def whole_round(
    dimension: int, clients: int, repeat: int, encryption_proof: bool, coordinate_bound: float | None, style: str
) -> int:
    """One round with its transcript, and its audit.

    Needs about 7 bytes of temporary space a coordinate and client. The audit is `verifl-audit` in a process of its own,
    from start to end.
    """
    from verifl.bench.stopwatch import Stopwatch

    watch, peaks = Stopwatch(), []
    with _scratch() as folder, _telling(f"playing a round of {clients} clients") as tell:
        played = measure_apart(
            "round",
            dimension=dimension,
            clients=clients,
            repeat=repeat,
            directory=str(folder),
            encryption_proof=encryption_proof,
            coordinate_bound=coordinate_bound,
        )
        tell("auditing the transcript")
        for _ in range(repeat):
            audited = audit_apart(folder / TRANSCRIPT, folder / POLICY)
            watch.add("audit", audited.seconds, audited.cpu)
            peaks.append(audited.peak_memory)
    measured = {**played.result, "phases": [*played.result["phases"], *watch.phases()]}
    _report("round", clients, measured, {"round": played.peak_memory, "audit": max(peaks)}, style)
    return 0


@bench.command()
@_dimension
@click.option("--clients", type=click.IntRange(2, 10_000), default=8, show_default=True, help="All of them honest.")
@click.option("--https", is_flag=True, help="With a stock nginx between the parties, and TLS; needs nginx.")
@format_option
def exchange(dimension: int, clients: int, https: bool, style: str) -> int:
    """One round over a public directory, and the memory of the coordinator's process.

    All other parties are one further process; nobody trains. Of a trustee and a client: what it spends, and over HTTPS
    its bytes. Needs about 20 bytes of temporary space a coordinate and client.
    """
    with _scratch() as folder, _telling(f"playing a round of {clients} clients"):
        played = measure_apart("exchange", dimension=dimension, clients=clients, directory=str(folder), https=https)
    peaks = {**played.result.pop("peaks"), "host": played.peak_memory}
    _report("exchange", clients, played.result, peaks, style)
    return 0


@bench.command()
@_dimension
@click.option("--clients", type=click.IntRange(2, 10_000), default=8, show_default=True, help="All of them honest.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many are to close.")
@format_option
def virtual(dimension: int, clients: int, rounds: int, style: str) -> int:
    """Rounds of virtual clients in Flower's simulation, with trustees and audit; needs 'flwr[simulation]'.

    `whole run` has what Flower needs to start and to end, and the clients' last receipts.
    """
    with _scratch() as folder, _telling(f"playing {rounds} rounds of {clients} virtual clients"):
        arguments = {"dimension": dimension, "clients": clients, "rounds": rounds, "directory": str(folder)}
        played = measure_apart("virtual", **arguments)
    _report("virtual", clients, played.result, played.result.pop("peaks"), style)
    return 0


@bench.command()
@_dimension
@click.option("--clients", type=click.IntRange(1, 90_000), default=32, show_default=True, help="Ciphertexts to add.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
    help="Where to add; auto is CUDA where there is any.",
)  # fmt: skip
@_repeat
@format_option
def summation(dimension: int, clients: int, device: str, repeat: int, style: str) -> int:
    """Adding ciphertexts, on the CPU or with CUDA.

    Bytes a second, against the device's own copy bandwidth. Fails unless the sum is numpy's, bit for bit.
    """
    with _telling("adding ciphertexts"):
        added = measure_apart("summation", dimension=dimension, clients=clients, repeat=repeat, device=device)
    _report("summation", clients, added.result, {"summation": added.peak_memory}, style)
    return 0


@bench.command(hidden=True)
@click.argument("role", type=click.Choice(list(_ROLES)))
@click.argument("arguments")
def measure(role: str, arguments: str) -> int:
    """Measure ROLE in this process and print JSON: what the other commands start apart."""
    module, name = _ROLES[role]
    function = getattr(import_module(module), name)
    click.echo(json.dumps(function(**json.loads(arguments)), allow_nan=False))
    return 0


def _report(benchmark: str, clients: int, measured: dict[str, Any], peaks: dict[str, int], style: str) -> None:
    from verifl.bench.machine import describe_machine
    from verifl.bench.report import describe

    setting = {**measured["setting"], "clients": clients}
    head = {"benchmark": benchmark, "machine": describe_machine(), "threads": measured["threads"]}
    click.echo(describe({**head, **measured, "setting": setting, "peak_memory": peaks}, style))


@contextmanager
def _scratch() -> Iterator[Path]:
    """A temporary directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="verifl-bench-") as name:
        yield Path(name)


@contextmanager
def _telling(first: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr that says what is being measured."""
    from verifl.reports.console import console_progress

    with console_progress() as progress:
        progress.stage(first)
        yield progress.stage
