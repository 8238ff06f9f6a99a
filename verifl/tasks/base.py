"""The one interface between a user's PyTorch code and the federation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import nn

Data = TypeVar("Data")


class Task(Protocol[Data]):
    """A model, a client's data, local training and evaluation. The training loop stays entirely the user's.

    verifl builds one model, writes the global tensors into it before each client trains, and reads them back after:
    what a client submits is the difference. Integer buffers and filtered tensors of that model are the client's own.
    Torch's global generators are seeded from the configuration before every call of `model` and `train`, so a run on
    one machine can be repeated; nothing of the protocol depends on those generators.

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


METHODS = ("clients", "model", "data", "train", "evaluate")
