"""A task changes the model that it is given; one that it returns instead would be lost without a word."""

from __future__ import annotations

from itertools import chain

from torch import nn

from proofs.errors import Misuse


def check_in_place(model: nn.Module, returned: object) -> None:
    """Raise Misuse where what train() or finish() returns is a model that has nothing of the one that was given to it,
    as a copy, or a pipeline's result. What wraps that one has its tensors."""
    if not isinstance(returned, nn.Module):
        return
    mine, others = ({id(each) for each in chain(part.parameters(), part.buffers())} for part in (model, returned))
    if others and not mine & others:
        raise Misuse("it returned another model, which nobody looks at; it is to change the model that it is given")
