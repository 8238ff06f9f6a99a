"""Verifiable federated learning: train as usual, and leave a transcript that anybody can audit.

With your own model and data (any PyTorch code; nothing of it has to change):

    from pathlib import Path

    import torch
    from auditor import audit
    from verifl import Config, Federation

    class Spirals:                                    # a verifl.Task
        def clients(self):
            return ["north", "south", "west"]

        def model(self):
            return torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))

        def data(self, client):
            return torch.load(f"{client}.pt")

        def train(self, model, client, data):         # your own loop, in place
            features, labels = data
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            for _ in range(20):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(features), labels).backward()
                optimizer.step()

        def evaluate(self, model):
            features, labels = torch.load("test.pt")
            return {"accuracy": float((model(features).argmax(1) == labels).float().mean())}

    config = Config.of(federation={"rounds": 5}, update={"clip_norm": 1.0}, limits={"min_cohort": 3})
    result = Federation(Spirals(), config, Path("out")).run()
    report = audit(result.transcript, result.policy)
    print(report.accepted, result.model)

`verifl demo` shows the same from the command line; `verifl init DIR` writes a configuration and a task file.
"""

from __future__ import annotations

from importlib import import_module

from verifl.exports import HOMES

TYPE_CHECKING = False  # not from typing: of `python -m verifl`, no more than must be runs before it looks where from

if TYPE_CHECKING:
    from verifl.config import Config
    from verifl.federation import Federation, FederationResult
    from verifl.planning.plan import Plan, make_plan
    from verifl.progress import Callback, RoundSummary
    from verifl.tasks.base import StatefulTask, Task
    from verifl.tasks.proximal import Proximal
    from verifl.tasks.shares import share
    from verifl.tasks.turns import Turn
    from verifl.tasks.user_code import Abstain
    from verifl.training.roles import register_statistics
    from verifl.training.tensors import TensorFilter

__all__ = [
    "Abstain",
    "Callback",
    "Config",
    "Federation",
    "FederationResult",
    "Plan",
    "Proximal",
    "RoundSummary",
    "StatefulTask",
    "Task",
    "TensorFilter",
    "Turn",
    "make_plan",
    "register_statistics",
    "share",
]


def __getattr__(name: str) -> object:
    """Public names, imported on first use: torch takes seconds to import and the command line often needs none."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
