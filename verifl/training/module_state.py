"""The state of a module: its own parameters and persistent buffers by name, and what cannot be worked with.

verifl reads and writes these tensors themselves. What `state_dict()` gives must be just them: of a copy that a hook or
an override returns, nothing that is written into it reaches the module.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from proofs.errors import Misuse
from verifl.tasks.user_code import user_code

State = dict[str, Tensor]

_PIECE = 1 << 24  # bytes that are compared at a time


def state_of(model: nn.Module) -> State:
    """Every parameter and persistent buffer under every one of its names, in the order of `state_dict`."""
    state: State = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        passing: set[str] = getattr(module, "_non_persistent_buffers_set", set())
        own = [
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *((name, each) for name, each in module.named_buffers(recurse=False, remove_duplicate=False)
              if name not in passing),
        ]  # fmt: skip
        state |= {f"{prefix}.{name}" if prefix else name: tensor for name, tensor in own}
    return state


def checked_state(model: nn.Module) -> State:
    """`state_of` a model that can be worked with; a frozen tensor that `state_dict()` leaves out is left out.

    Raises Misuse naming the first tensor that has no values of its own, or that is not what `state_dict()` gives.
    """
    own = state_of(model)
    for name, tensor in own.items():
        _check_kind(name, tensor)
    with user_code("task: state_dict() of the model failed"):
        given: Mapping[str, object] = model.state_dict()
    for name, value in given.items():
        _check_given(name, value, own)
    for name, tensor in own.items():
        if name not in given and tensor.requires_grad:
            raise Misuse(
                f"tensors: {name!r} is trained, but the model's state_dict() leaves it out, so that it would be lost; "
                "freeze it, or remove the override or hook that leaves it out"
            )
    return {name: tensor for name, tensor in own.items() if name in given}


def check_loading(model: nn.Module, travelling: Collection[str]) -> None:
    """Whether the model takes back what it gives, where code of its own has a part in that; its values change.

    Raises Misuse naming the tensor that `load_state_dict()` leaves as it was: the trained model could not be loaded.
    """
    if not any(map(_loads_its_own_way, model.modules())):
        return
    given = {
        name: tensor.detach() + 1 if tensor.is_floating_point() else tensor.detach().clone()
        for name, tensor in checked_state(model).items()
    }
    with user_code("task: load_state_dict() of the model fails on what its state_dict() gives"):
        model.load_state_dict(dict(given))
    found = checked_state(model)
    for name in travelling:
        tensor = found[name]
        if not same_bits(tensor, given[name]):
            raise Misuse(
                f"tensors: {name!r} is not what load_state_dict() was given for it, so that the trained model could "
                "not be loaded; remove the override or hook of load_state_dict()"
            )


def same_bits(one: Tensor, other: Tensor, after: Callable[[], None] = lambda: None) -> bool:
    """Whether two tensors on whatever devices have one shape, dtype and content, NaN included.

    after: called for each piece that was compared.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    pieces = zip(bits_of(one).split(_PIECE), bits_of(other).split(_PIECE), strict=True)
    for mine, theirs in pieces:
        same = torch.equal(mine, theirs)
        after()
        if not same:
            return False
    return True


def bits_of(tensor: Tensor) -> Tensor:
    """The bytes of a tensor's elements, uint8 (n,), in the CPU's memory."""
    return tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8)


def unusual(tensor: Tensor) -> str:
    """In words, why a tensor has no values of its own in plain memory; empty where it has."""
    if is_lazy(tensor):
        return "without a shape"
    if tensor.is_meta:
        return "on the meta device, without values"
    if tensor.layout != torch.strided:
        return f"in {str(tensor.layout).removeprefix('torch.')}"
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return f"in a {type(tensor).__name__}"
    return ""


def kind_of(tensor: Tensor) -> str:
    """In words, what may not change of a tensor: "float32 of shape (2, 3)", and what is unusual about it."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = "" if is_lazy(tensor) else f" of shape {tuple(tensor.shape)}"
    return f"{dtype}{shape} {unusual(tensor)}".rstrip()


def _loads_its_own_way(module: nn.Module) -> bool:
    own = (type(module).load_state_dict, type(module)._load_from_state_dict)
    hooks = (module._load_state_dict_pre_hooks, module._load_state_dict_post_hooks)
    return any(hooks) or not all(each.__module__.startswith("torch.") for each in own)


def hidden_parameters(model: nn.Module) -> Iterator[str]:
    """Names of trainable tensors that the model holds where no module registers them: in lists and dictionaries."""
    registered = {id(tensor) for tensor in model.parameters()} | {id(tensor) for tensor in model.buffers()}
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in nn.Module().__dict__:
                for place, tensor in _held(f"{prefix}.{name}" if prefix else name, value):
                    if tensor.requires_grad and tensor.is_leaf and id(tensor) not in registered:
                        yield place


def _held(place: str, value: object, depth: int = 2) -> Iterator[tuple[str, Tensor]]:
    """Parameters in a value: itself, its items, or those of a module among them."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, nn.Module):
        yield from ((f"{place}.{name}", tensor) for name, tensor in value.named_parameters())
    elif depth and isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _held(f"{place}[{number}]", each, depth - 1)
    elif depth and isinstance(value, dict):
        for key, each in value.items():
            yield from _held(f"{place}[{key!r}]", each, depth - 1)


def _check_kind(name: str, tensor: Tensor) -> None:
    if is_lazy(tensor):
        raise Misuse(f"tensors: {name!r} has no shape yet; run one forward pass in the task's model()")
    if tensor.is_meta:
        raise Misuse(f"tensors: {name!r} is on the meta device, expected real values; materialise the model first")
    if tensor.is_inference():
        raise Misuse(f"tensors: {name!r} was made in inference mode and cannot be trained; build the model outside it")
    if tensor.layout != torch.strided:
        raise Misuse(f"tensors: {name!r} is {tensor.layout}, expected dense tensors only; convert it with to_dense()")
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        raise Misuse(f"tensors: {name!r} is quantised ({kind}); keep it as float in model(), and quantise afterwards")
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise Misuse(f"tensors: {name!r} is a {type(tensor).__name__}, expected plain tensors; convert it in model()")


def _check_given(name: str, value: object, own: State) -> None:
    if not isinstance(value, Tensor) or name.endswith("_extra_state"):
        raise Misuse(
            f"tensors: {name!r} is a {type(value).__name__} of the model's own making, expected parameters and buffers "
            "only; return a model without get_extra_state()"
        )
    if name not in own:
        raise Misuse(
            f"tensors: {name!r} is in the model's state_dict(), but is none of its parameters and persistent buffers; "
            "register it under that name, or remove the override or hook that adds it"
        )
    if _place(value) != _place(own[name]):
        raise Misuse(
            f"tensors: {name!r} in the model's state_dict() is a copy, or another tensor than the module's own; what "
            "is written there never reaches the model: remove the override or hook of state_dict()"
        )


def _place(tensor: Tensor) -> tuple[object, ...]:
    start = tensor.data_ptr() if tensor.numel() else 0
    return (tensor.device, tensor.dtype, start, tuple(tensor.shape), tensor.stride() if tensor.numel() else ())
