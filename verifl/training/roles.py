"""Which tensors of a model are statistics: measured by forward passes, and trained by no optimiser (spec 4.1).

They are found by the type of the module that holds them, never by name. Of the modules that torch has, these are the
normalisations with running statistics. A module of your own says so itself, by an attribute of its class:

    class MyNorm(nn.Module):
        verifl_statistics = ("mean", "variance")  # names of its own buffers or parameters
        verifl_variances = ("variance",)          # those among them that are never below zero

and for the modules of a library there is `register_statistics`. Every other float buffer is a statistic, too: what no
optimiser of a client trains, none of the server should. Every other parameter is a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from proofs.errors import Misuse
from protocols.policy import PARAMETER, STATISTIC


@dataclass(frozen=True)
class StatisticsOf:
    """What modules of a type measure: names of their own tensors, and of those that are never below zero."""

    module: type[nn.Module]
    names: tuple[str, ...]
    variances: tuple[str, ...]


_KNOWN = [StatisticsOf(_NormBase, ("running_mean", "running_var", "num_batches_tracked"), ("running_var",))]


def register_statistics(module: type[nn.Module], *names: str, variances: tuple[str, ...] = ()) -> None:
    """Say that modules of this type, and of those derived from it, measure the tensors of these names.

    variances: those among them that are never below zero. Call it where the model is made known, in the task's file.
    Raises Misuse for something else than a type of modules, or without names.
    """
    if not (isinstance(module, type) and issubclass(module, nn.Module)):
        raise Misuse(f"register_statistics: expected a class of modules, found {module!r}")
    if not names or not set(variances) <= set(names):
        raise Misuse("register_statistics: expected names of tensors, and `variances` among them")
    entry = StatisticsOf(module, names, variances)
    if entry not in _KNOWN:
        _KNOWN.append(entry)


@dataclass(frozen=True)
class Roles:
    """Of the tensors of one model, by their identity: what is measured, what of that is a variance, and what belongs
    to a normalisation with running statistics, its weights included."""

    measured: frozenset[int]
    variances: frozenset[int]
    normalisations: frozenset[int]

    def role(self, tensor: Tensor) -> str:
        """As the policy has it."""
        return STATISTIC if self.is_statistic(tensor) else PARAMETER

    def is_statistic(self, tensor: Tensor) -> bool:
        """Whether a tensor is measured, or a float buffer of unknown purpose."""
        unknown = tensor.is_floating_point() and not isinstance(tensor, nn.Parameter)
        return unknown or id(tensor) in self.measured


def roles_of(model: nn.Module) -> Roles:
    """The roles of a model's tensors, as long as it lives."""
    measured, variances, normalisations = set[int](), set[int](), set[int]()
    for module in model.modules():
        names, never_negative = _statistics(module)
        measured |= set(_ids(module, names))
        variances |= set(_ids(module, never_negative))
        if names:
            normalisations |= {id(each) for each in (*module.parameters(recurse=False), *module.buffers(recurse=False))}
    return Roles(frozenset(measured), frozenset(variances), frozenset(normalisations))


def _statistics(module: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = [(each.names, each.variances) for each in _KNOWN if isinstance(module, each.module)]
    found.append((tuple(getattr(module, "verifl_statistics", ())), tuple(getattr(module, "verifl_variances", ()))))
    return tuple(name for names, _ in found for name in names), tuple(name for _, names in found for name in names)


def _ids(module: nn.Module, names: tuple[str, ...]) -> Iterator[int]:
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    return (id(own[name]) for name in names if name in own)
