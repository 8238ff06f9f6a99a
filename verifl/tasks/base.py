"""The one interface between a user's PyTorch code and the federation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from torch import nn

Data = TypeVar("Data")
Data_contra = TypeVar("Data_contra", contravariant=True)


class Task(Protocol[Data]):
    """A model, a client's data, local training and evaluation. The training loop stays entirely the user's.

    verifl gives every turn a model of its own, as `model` makes it, with the global tensors in it, and reads these back
    after `train`: what a client submits is the difference. Integer buffers and filtered tensors are the client's own
    from turn to turn; nothing else of a turn's model is kept (hooks, modes, attributes, gradients, buffers outside
    `state_dict`). A model that can be deep-copied is made once; another is made by `model` for every turn.

    The global generators of torch, numpy and `random` are seeded from the configuration for every call of `model`,
    `data`, `train` and `evaluate`, each for its client and round, so a run on one machine can be repeated, and a
    resumed one is the same; nothing of the protocol depends on them. Generators of your own, such as
    numpy.random.default_rng(), need a seed: np.random.randint(2**31) gives one that follows from the configuration.

    `train` may take a fourth argument `state`: a dict of the client's own, empty in its first turn, that is stored with
    the client and given again in the next turn, also after a kill: `state["optimizer"] = optimizer.state_dict()`, or
    what a privacy engine has spent. It holds numbers, text, bytes, None, lists, tuples, dicts, tensors and numpy
    arrays, tensors on the device that they were left on; what else is put into it is refused by name. A turn that comes
    to nothing leaves it as it was.

    A task may have a further method `weight(client, data)`, how much the client's data count in the mean: a number, the
    samples as a rule. The configuration's [weights] says whether it is asked; a client whose data weigh 0 abstains.

    A task may have a method `finish(model)`, too: what is done to the global model before it is evaluated, and before
    it is written, in place and on data that everybody may see. It recomputes running statistics, for example, where
    these stay with the clients. What it makes is no more what the log has, so that both models are written.

    It may also take an argument `turn`, a `verifl.Turn`: the number of the round and how many there are, the seed of
    the configuration, the device of the model.

    A task may say `processes = n`: its `train` runs in n processes of the client's machine at once, in a process group
    of torch, on copies of the model; see docs/training.md.

    A client whose `data` or `train` raises drops out of that round, and is asked again in the next; with
    `verifl.Abstain` it does so on purpose. If the turns of all clients raise, the run ends.
    """

    def clients(self) -> Sequence[str]:
        """Names of the clients: lower-case letters, digits, `.`, `_`, `-`; at most 64 characters each."""
        ...

    def model(self) -> nn.Module:
        """A freshly initialised model, the starting point of the federation."""
        ...

    def data(self, client: str) -> Data:
        """The private data of one client, in whatever form `train` wants. Called in every round: load lazily."""
        ...

    def train(self, model: nn.Module, client: str, data: Data) -> None:
        """Train `model` in place on `data`. The model is on the device of its parameters; move the data there."""
        ...

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Metrics of the global model by name, on data that everybody may see; shown and recorded each round."""
        ...


class StatefulTask(Protocol[Data]):
    """A `Task` whose `train` keeps something for each client."""

    def clients(self) -> Sequence[str]:
        """As of `Task`."""
        ...

    def model(self) -> nn.Module:
        """As of `Task`."""
        ...

    def data(self, client: str) -> Data:
        """As of `Task`."""
        ...

    def train(self, model: nn.Module, client: str, data: Data, state: dict[str, Any]) -> None:
        """As of `Task`; `state` is the client's own, empty in its first turn."""
        ...

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """As of `Task`."""
        ...


@runtime_checkable
class WeighingTask(Protocol[Data_contra]):
    """What a `Task` has beside, where its clients' updates are weighed."""

    def weight(self, client: str, data: Data_contra) -> float:
        """How much the client's data count: 0 or more and finite, the number of samples as a rule."""
        ...


METHODS = {  # and with what they are called
    "clients": (),
    "model": (),
    "data": ("client",),
    "train": ("model", "client", "data"),
    "evaluate": ("model",),
}
