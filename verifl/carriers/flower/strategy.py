"""The coordinator in Flower: `Verified(FedAvg(...), context)` in the place of `FedAvg(...)`.

The strategy decides whom to ask. What is summed, and how the model moves, is the host's, by the signed policy: the same
host as with every other carrier. It stores what it does before anybody sees it, so a ServerApp that was killed goes on
where it was when it is run again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import nullcontext

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from proofs.errors import Misuse
from protocols.key_files import passphrase_of
from protocols.pinned import PinnedPolicy
from protocols.steps.doubles import Doubles
from verifl.carriers.exchange.seat import taken_seat
from verifl.carriers.exchange.serving import HostPlan, opened_host, write_final_model
from verifl.carriers.flower.agreement import check_agreement
from verifl.carriers.flower.app_training import arrays_of, flower_layout, whole_model
from verifl.carriers.flower.home import Home
from verifl.carriers.flower.running import AppHost, AppMeans, AppRun, EvaluateFn, nothing_measured
from verifl.carriers.flower.simulation import is_simulation, local_trustees
from verifl.enrolment.policies import read_policy_file
from verifl.progress import Progress
from verifl.reports.logs import logged

_LOGGER = logging.getLogger(__name__)


class Verified(Strategy):
    """Any strategy that agrees with the policy, with verified rounds."""

    def __init__(
        self,
        strategy: Strategy,
        context: Context,
        *,
        weighting: str | None = None,
        evaluate: bool = False,
        public_data: bool = False,
    ) -> None:
        """context: of the ServerApp; its run's configuration names the coordinator's directory (`verifl-coordinator`).
        weighting: "equal" says that all clients count alike, whatever the strategy weights them by. evaluate: clients
        may be asked for metrics of their data, in the clear; each of them has to allow it. public_data: everybody may
        know what is measured of clients' data, without which a policy with noise admits neither metrics nor declared
        weights; each client has to say it, too.

        Raises Misuse where the directory is not as it has to be, or the strategy contradicts the policy.
        """
        self._home = Home.of(context.run_config)
        self._pinned = PinnedPolicy.open(read_policy_file(self._home.policy))
        check_agreement(strategy, self._pinned.policy, weighting, evaluate, public_data)
        self._strategy, self._evaluates = strategy, evaluate
        self._layout = flower_layout(self._pinned.policy)

    def summary(self) -> None:
        """See `Strategy.summary`."""
        policy = self._pinned.policy
        _LOGGER.info(
            "verified: %s, %d clients, %d trustees of whom %d open a sum, %d coordinates",
            policy.federation, len(policy.roster), len(policy.trustees), policy.threshold, policy.dimension,
        )  # fmt: skip
        self._strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """See `Strategy.configure_train`: the messages of the strategy itself."""
        messages: Iterable[Message] = self._strategy.configure_train(server_round, arrays, config, grid)
        return messages

    def aggregate_train(
        self,
        server_round: int,  # noqa: ARG002
        replies: Iterable[Message],  # noqa: ARG002
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Never: raises Misuse. Only the host sums, and `start` hands it the replies."""
        raise Misuse("aggregate_train: replies are verified and summed by start(); call that")

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """See `Strategy.configure_evaluate`."""
        return self._strategy.configure_evaluate(server_round, arrays, config, grid) if self._evaluates else ()

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """See `Strategy.aggregate_evaluate`."""
        return self._strategy.aggregate_evaluate(server_round, replies)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFn | None = None,
    ) -> Result:
        """Run until `num_rounds` rounds have closed, those of earlier runs included; see `Strategy.start`.

        initial_arrays: of the policy's tensors; the model that the policy pins takes their place. timeout: seconds for
        which clients are waited for in a round, unless the coordinator's configuration says fewer. Raises as
        `CoordinatorHost.advance`.
        """
        train = ConfigRecord() if train_config is None else train_config
        evaluate = ConfigRecord() if evaluate_config is None else evaluate_config
        means = AppMeans(train, evaluate, evaluate_fn, timeout)
        with logged("txt", "info") as progress:
            self._check_arrays(initial_arrays)
            self.summary()
            return self._run(num_rounds, grid, means, progress)

    def _run(self, wanted: int, grid: Grid, means: AppMeans, progress: Progress) -> Result:
        home, config = self._home, self._home.config()
        deadlines, close = config.deadlines, config.federation.close
        if config.stopping is not None:
            raise Misuse("stopping: an application measures its models itself, and runs num_rounds; remove [stopping]")
        if means.timeout < deadlines.clients:
            deadlines = deadlines.model_copy(update={"clients": float(means.timeout)})
        training, initial = whole_model(home.initial, self._pinned)
        approvals = home.approvals(self._pinned)
        plan = HostPlan(wanted, deadlines, initial, nothing_measured, progress, approvals=approvals, close=close)
        with (
            taken_seat("coordinator", home.public, home.state, home.policy, (), passphrase_of(home.passphrase)) as seat,
            opened_host(seat, plan, AppHost) as (host, server),
            local_trustees(home) if is_simulation(home) else nullcontext(_nobody) as look,
        ):
            result = AppRun(host, server, seat, deadlines, grid, self, means, look).result()
            write_final_model(seat, training, server.model())
            return result

    def _check_arrays(self, arrays: ArrayRecord) -> None:
        """The application's model is the policy's, its values aside."""
        for spec in self._pinned.policy.tensors:
            array = arrays.get(spec.name)
            found = None if array is None else (tuple(array.shape), array.dtype)
            if found != (spec.shape, spec.dtype):
                raise Misuse(
                    f"initial_arrays: {spec.name!r}: the policy has {spec.dtype} of shape {spec.shape}, found "
                    f"{found or 'nothing'}; the policy is of another model"
                )

    @property
    def least_nodes(self) -> int:
        """How many nodes the strategy waits for before it asks any."""
        own = (getattr(self._strategy, name, 0) for name in ("min_train_nodes", "min_available_nodes"))
        return max(1, *own)

    def record(self, model: Doubles) -> ArrayRecord:
        """A model, float64 (d,), as the application's arrays."""
        return ArrayRecord(
            {name: Array(np.ascontiguousarray(each)) for name, each in arrays_of(self._layout, model)[1].items()}
        )


def _nobody() -> None:
    """Trustees are elsewhere."""
