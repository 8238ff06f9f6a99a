"""All parties on one machine, for trying out: Flower's simulation runs the clients, and the ServerApp the trustees.

One directory has everybody's keys, so nothing is protected from whoever runs it. The federation's name begins with
`simulation`, which its log says in every checkpoint, and no other directory is taken for one.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context

from proofs.errors import Misuse
from protocols.key_files import write_key
from protocols.pinned import PinnedPolicy
from protocols.rounds.proposals import OF_TRUSTEES
from protocols.rounds.waits import Waits
from protocols.steps.step import encode_model
from verifl.agents.clock import CosignatureClock, MachineClock, seconds
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.exchange.participant import Participant, evidence_of
from verifl.carriers.exchange.seat import taken_seat
from verifl.carriers.flower.home import COORDINATOR, Home
from verifl.carriers.flower.node import DEFAULT_SEED, SEED, Node
from verifl.config import Config
from verifl.enrolment.policies import enrol, read_policy_file
from verifl.planning.plan import plan_valid
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import make_private_directory
from verifl.tasks.bare_models import BareModel
from verifl.training.initial_files import initial_file
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import tensor_filter

if TYPE_CHECKING:
    from torch import nn

NAME = "simulation"
_LOGGER = logging.getLogger(__name__)


def enrol_simulation(
    directory: str | Path, model: Callable[[], nn.Module], clients: int, config: Config | None = None
) -> None:
    """Make keys for `clients` clients and everybody else, and a policy for what `model` makes, in a new directory.

    config: its federation is named `simulation`, whatever it says; by default three trustees, of whom two open a sum.
    Raises Misuse where the directory is there, or the configuration admits no policy.
    """
    path = Path(directory)
    if path.exists():
        raise Misuse(f"{path}: exists; a simulation begins in a new directory")
    given = config or Config.of(trustees={"count": 3, "threshold": 2, "corrupt": 0})
    given = given.model_copy(update={"federation": given.federation.model_copy(update={"name": NAME})})
    width = len(str(clients))
    names = [f"client-{number:0{width}d}" for number in range(1, clients + 1)]
    training = LocalTraining(BareModel(names, model), tensor_filter(given), "cpu", given.federation.seed)
    initial, layout = training.initial(), training.layout
    made = enrol(given, layout.specs, layout.dimension, names, encode_model(initial), os.urandom)
    plan_valid(made.policy_file)
    home = Home(path)
    home.public.mkdir(parents=True)
    (path / "config.toml").write_text("[deadlines]\ntrustees = 1.0\nquorum = 0\npoll = 0.1\n")
    home.policy.write_bytes(made.policy_file)
    home.initial.write_bytes(initial_file(training, initial))
    keys = {home.state: made.coordinator}
    keys |= {_place(home, name): key for name, key in {**made.trustees, **made.clients}.items()}
    for place, key in keys.items():
        make_private_directory(place)
        write_key(PartyDirectory(place).identity, key)


def is_simulation(home: Home) -> bool:
    """Whether a directory is one of `enrol_simulation`."""
    return PinnedPolicy.open(read_policy_file(home.policy)).policy.federation == NAME


def simulated_node(context: Context) -> Node | None:
    """Which client a virtual node is; None for a real one, for which no run's configuration can say that."""
    if not _is_virtual():
        return None
    home = Home.of(context.run_config)
    policy = PinnedPolicy.open(read_policy_file(home.policy)).policy
    number = context.node_config["partition-id"]
    if policy.federation != NAME:
        raise Misuse(
            f"{COORDINATOR}: {home.path} is no directory of enrol_simulation(): a machine has one party's keys"
        )
    if not isinstance(number, int) or not 0 <= number < len(policy.roster):
        raise Misuse(f"{COORDINATOR}: {home.path} has {len(policy.roster)} clients, and no number {number}")
    seed = context.run_config.get(SEED, DEFAULT_SEED)
    return Node(
        state=_place(home, policy.roster[number].id),
        policy=home.policy,
        public=str(home.public),
        keys=(),
        initial=home.initial,
        passphrase=None,
        seed=seed if isinstance(seed, int) else DEFAULT_SEED,
        evaluates=True,
        public_data=True,  # nothing is protected from this machine
    )


@contextmanager
def local_trustees(home: Home) -> Iterator[Callable[[], None]]:
    """The trustees of a simulation, in this process: what is given has each look once at what is asked."""
    pinned = PinnedPolicy.open(read_policy_file(home.policy))
    _LOGGER.warning("simulation: %s has the keys of all parties; nothing is protected from this machine", home.path)
    with ExitStack() as seats:
        participants = []
        for member in pinned.policy.trustees:
            place = _place(home, member.id)
            seat = seats.enter_context(taken_seat("trustee", home.public, place, home.policy, (), None))
            clock, evidence = CosignatureClock(), evidence_of(seat.public, seat.pinned, seat.party)
            agent = TrusteeAgent.open(seat.pinned, seat.party, Waits(seconds), clock, evidence)
            participants.append(
                Participant(
                    seat.public, pinned, member.id, OF_TRUSTEES, agent.answer, agent.expire, MachineClock()
                )
            )  # fmt: skip

        def look() -> None:
            for participant in participants:
                participant.look()

        yield look


def _place(home: Home, party: str) -> Path:
    return home.path / "parties" / party


def _is_virtual() -> bool:
    """Whether this runs in an actor of Ray, where Flower's simulation has its clients, and no SuperNode."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized()) and ray.get_runtime_context().get_actor_id() is not None
