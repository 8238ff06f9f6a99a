"""What is written of the trained model: every name, in a form that other libraries read; what cannot be is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from proofs.errors import Misuse
from verifl import Config, Federation
from verifl.storage.run_directory import RunDirectory
from verifl.training.initial_files import bare_model
from verifl.training.model_files import HEADER_LIMIT, file_names, header_size, write_model
from verifl.training.patterns import matches


class Block(nn.Module):
    """A layer that its owner calls `module`, as its own choice and no wrapper's."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(2, 2)

    def forward(self, batch: Tensor) -> Tensor:
        output: Tensor = self.module(batch)
        return output


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="eager")


WRAPPED = {
    "plain": (lambda: nn.Linear(2, 2), {"weight", "bias"}),
    "compiled": (lambda: compiled(nn.Linear(2, 2)), {"weight", "bias"}),
    "parallel": (lambda: nn.DataParallel(nn.Linear(2, 2)), {"weight", "bias"}),
    "both": (lambda: nn.DataParallel(compiled(nn.Linear(2, 2))), {"weight", "bias"}),
    "within": (lambda: nn.Sequential(compiled(nn.Linear(2, 2)), nn.BatchNorm1d(2, affine=False)),
               {"0.weight", "0.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}),
    "own name": (Block, {"module.weight", "module.bias"}),
    "own name, wrapped": (lambda: nn.DataParallel(compiled(Block())), {"module.weight", "module.bias"}),
    "named like a part": (lambda: nn.ModuleDict({"net_orig_mod": nn.Linear(1, 1)}),
                          {"net_orig_mod.weight", "net_orig_mod.bias"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPED)
def test_names_are_those_of_the_bare_modules(kind: str, tmp_path: Path) -> None:
    build, expected = WRAPPED[kind]
    model = build()
    write_model(model, tmp_path / "model.safetensors", {})
    written = load_file(tmp_path / "model.safetensors")
    assert set(written) == expected
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, written[file_names(model)[name]])


class Crowded(nn.Module):
    """Ties under two names, a transposed tie, rows of one memory, an expanded scalar, an empty tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3, bias=False)
        self.second = nn.Linear(2, 3, bias=False)
        self.second.weight = self.first.weight
        memory = torch.arange(12.0).reshape(3, 4)
        self.register_buffer("turned", self.first.weight.detach().t())
        self.register_buffer("row", memory[1])
        self.register_buffer("column", memory[:, 2])
        self.register_buffer("wide", torch.tensor(7.0).expand(2, 5))
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("count", torch.tensor(5))


def test_whatever_shares_memory_is_written_whole_under_each_name(tmp_path: Path) -> None:
    model, path = Crowded(), tmp_path / "model.safetensors"
    write_model(model, path, {"federation": "tests"})
    written, state = load_file(path), model.state_dict()
    assert set(written) == set(state)
    assert all(torch.equal(written[name], state[name]) for name in state)
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"format": "pt", "federation": "tests"}


def test_whoever_writes_a_model_writes_the_same_bytes(tmp_path: Path) -> None:
    """Also with metadata that the library has in another order each time, and in another process."""
    metadata = {name: f'{name} \u00e9"' for name in ("federation", "policy_hash", "round", "model", "a", "b")}
    model, written = Crowded(), set[bytes]()
    for each in range(8):
        write_model(model, tmp_path / str(each), {**metadata}, 0o600)
        written.add((tmp_path / str(each)).read_bytes())
        assert (tmp_path / str(each)).stat().st_mode & 0o777 == 0o600
    assert len(written) == 1
    with safe_open(tmp_path / "7", "pt") as opened:
        assert opened.metadata() == {**metadata, "format": "pt"}
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.fill_(0.5)
        linear.bias.fill_(0.25)
    write_model(linear, tmp_path / "here", metadata)
    code = (
        "import sys, torch; from pathlib import Path; from verifl.training.model_files import write_model\n"
        "model = torch.nn.Linear(2, 2)\n"
        "with torch.no_grad(): model.weight.fill_(0.5); model.bias.fill_(0.25)\n"
        f"write_model(model, Path(sys.argv[1]), {metadata!r})"
    )
    subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path / "there")], check=True)
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


def test_a_header_is_not_read_before_its_size_is_known(tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    write_model(nn.Linear(2, 2), path, {})
    honest = path.read_bytes()
    assert header_size(path) == len(honest) - 8 - 6 * 4
    for claimed, size in ((HEADER_LIMIT + 1, 1 << 25), (1 << 62, 64), (57, 64), (0, 7)):
        with path.open("wb") as file:
            file.write(claimed.to_bytes(8, "little")[:size])
            file.truncate(size)
        with pytest.raises(Misuse, match="expected a safetensors file, with a header of at most"):
            header_size(path)
        with pytest.raises(Misuse, match="expected a safetensors file, with a header of at most"):
            bare_model(path, (), ["x"])


class Clash(nn.DataParallel):
    """Has a tensor of its own where the wrapped module's would go."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 2))
        self.register_buffer("bias", torch.zeros(2))


class Unwritable(nn.Linear):
    """Keeps a buffer of a type for which the file format has no name."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("phase", torch.zeros(2, dtype=torch.complex128))


class Never:
    """A task whose training must not begin."""

    def __init__(self, kind: type[nn.Module]) -> None:
        self.model = kind

    def clients(self) -> list[str]:
        return ["a", "b", "c"]

    def data(self, client: str) -> None:
        raise AssertionError

    def train(self, model: nn.Module, client: str, data: None) -> None:
        raise AssertionError

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        raise AssertionError


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Clash, r"model: 'bias' and 'module\.bias' would both be 'bias' in model\.safetensors.*rename one of them"),
        (Unwritable, r"model: 'phase' is complex128, which model\.safetensors cannot hold; convert it"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_first_round(
    kind: type[nn.Module], message: str, tmp_path: Path
) -> None:
    config = Config.of(tensors={"include": ["*weight"]})
    with pytest.raises(Misuse, match=message):
        Federation(Never(kind), config, tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


def test_the_patterns_that_the_example_names_for_peft_fit_what_peft_trains() -> None:
    """peft_names.json holds what peft calls its tensors; where peft is installed, a test compares."""
    recorded = json.loads(Path(__file__).with_name("peft_names.json").read_text())
    example = files("verifl").joinpath("templates", "config.toml").read_text()
    adapters, with_heads = (json.loads(found) for found in re.findall(r'\["\*lora_[^]]*]', example))
    for kind, patterns in (("lora", adapters), ("lora with head", with_heads)):
        names = [*recorded[kind]["trained"], *recorded[kind]["frozen"]]
        assert [name for name in names if matches(name, patterns)] == recorded[kind]["trained"]


def test_what_a_kill_left_of_an_adapter_is_tidied_away(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    (directory.adapter / "second").mkdir(parents=True)
    kept = directory.adapter / "second" / "adapter_config.json"
    kept.write_text("{}")
    for folder in (directory.adapter, kept.parent):
        (folder / ".adapter_model.safetensors.0f.tmp").touch()
        (folder / ".adapter_config.json.0f.tmp").touch()
    directory.tidy()
    assert [path for path in directory.adapter.rglob("*") if path.is_file()] == [kept]
