"""A coordinator's host, set up on its directories and run until its rounds are done."""

from __future__ import annotations

from protocols.rounds.waits import Waits
from protocols.steps.doubles import Doubles
from verifl.agents.clock import MachineClock, seconds
from verifl.agents.server import open_server
from verifl.carriers.exchange.changing import ChangesFolder
from verifl.carriers.exchange.host import CoordinatorHost
from verifl.carriers.exchange.inbox import Inbox, Refusals
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.exchange.stopping import Stop
from verifl.carriers.rounds import Measures, RunTerms
from verifl.config import Config
from verifl.progress import Progress
from verifl.storage.history import MetricsFile
from verifl.training.local_training import LocalTraining
from verifl.training.model_files import model_metadata, write_model


def serve(
    seat: Seat, config: Config, training: LocalTraining, initial: Doubles, device: str, progress: Progress, stop: Stop
) -> str | None:
    """Run the rounds that the configuration wants, and write the model; why they ended early, else None.

    In its state directory: model.safetensors, metrics.jsonl, refusals.jsonl. Raises as `CoordinatorHost.run`.
    """
    pinned, own, public, clock = seat.pinned, seat.party.directory, seat.public, MachineClock()
    waits = Waits(seconds, quorum=config.deadlines.quorum)
    measures = Measures(MetricsFile(own.path / "metrics.jsonl"), training.evaluate, progress)
    inbox = Inbox(public.path, pinned, Refusals(own.path / "refusals.jsonl", clock.wall))
    public.create()
    with open_server(pinned, seat.party, public.transcript, initial, device, waits) as server:
        changes = ChangesFolder(own.changes, pinned.policy, server.logged)
        terms = RunTerms(config.federation.rounds, pinned.policy.max_aborts, changes.due)
        host = CoordinatorHost(server, terms, public, inbox, config.deadlines, measures, clock, initial)
        host.run(stop)
        model = server.model()
    write_model(training.load(model), own.model, model_metadata(pinned))
    return host.ended
