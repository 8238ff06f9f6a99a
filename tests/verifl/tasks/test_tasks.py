"""Built-in tasks, tasks from files, and one client's turn."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from proofs.errors import Misuse
from verifl import Federation
from verifl.config import Config
from verifl.planning.plan import make_plan
from verifl.tasks.base import Task
from verifl.tasks.breast_cancer import breast_cancer
from verifl.tasks.classification import ClassificationTask
from verifl.tasks.digits import digits
from verifl.tasks.loading import client_names, load_task
from verifl.tasks.partition import dirichlet_split
from verifl.tasks.user_code import ClientFailed
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import TensorFilter, write_vector

WHOLE = TensorFilter()


@pytest.mark.parametrize("task", [breast_cancer(), digits(5, seed=7)])
def test_sites_share_the_data_unevenly_and_without_overlap(task: ClassificationTask) -> None:
    parts = [task.data(client) for client in task.clients()]
    sizes = [len(labels) for _, labels in parts]
    assert min(sizes) >= 16
    assert 2 * max(sizes) > 3 * min(sizes)
    assert sum(sizes) in (456, 1438)  # four fifths of 569 and of 1797
    assert all(features.dtype == torch.float32 for features, _ in parts)
    metrics = task.evaluate(task.model())
    assert 0 <= metrics["accuracy"] <= 1


def test_the_split_depends_on_the_seed_only() -> None:
    first, again, other = (breast_cancer(seed=seed).data("hospital-1")[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("samples", "sites"), [(455, 24), (455, 28), (448, 28), (455, 8)])
def test_there_is_a_split_for_every_seed(samples: int, sites: int) -> None:
    """As many sites as have sixteen samples each, too, of which there may be just one."""
    labels = np.arange(samples) % 8 // 5
    for seed in range(6):
        parts = dirichlet_split(labels, sites, 1.0, 16, np.random.default_rng(seed))
        assert min(map(len, parts)) >= 16
        assert sorted(np.concatenate(parts).tolist()) == list(range(samples))
        again = dirichlet_split(labels, sites, 1.0, 16, np.random.default_rng(seed))
        assert all(map(np.array_equal, parts, again))


def test_too_many_sites() -> None:
    with pytest.raises(Misuse, match="1000 clients of at least 16 samples do not fit 456 samples; use fewer, 28 at"):
        breast_cancer(clients=1000)
    labels = np.array([0] * 10)
    assert sum(map(len, dirichlet_split(labels, 2, 1.0, 1, np.random.default_rng(0)))) == 10


def averaged(training: LocalTraining, task: Task, model: np.ndarray, rounds: int) -> np.ndarray:
    for number in range(rounds):
        deltas = [after - before for before, after in (training.train(c, model, number) for c in task.clients())]
        model = model + np.mean(deltas, axis=0)
    return model


def test_plain_averaging_learns_and_can_be_repeated() -> None:
    task = breast_cancer()
    models = []
    for _ in range(2):
        training = LocalTraining(task, WHOLE, "cpu", seed=3)
        models.append(averaged(training, task, training.initial(), 2))
        assert training.evaluate(models[-1])["accuracy"] > 0.8
    assert np.array_equal(models[0], models[1])


class Personal:
    """A task with a BatchNorm counter, an own head per client, and a note of what each turn started from."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, float]] = []

    def clients(self) -> list[str]:
        return ["a", "b"]

    def model(self) -> nn.Module:
        return nn.ModuleDict({"norm": nn.BatchNorm1d(3), "head": nn.Linear(3, 1)})

    def data(self, client: str) -> Tensor:
        return torch.full((4, 3), 1.0 if client == "a" else 2.0)

    def train(self, model: nn.Module, client: str, data: Tensor) -> None:
        norm, head = model["norm"], model["head"]
        self.seen.append((client, int(norm.num_batches_tracked), float(head.bias.detach())))
        model.train()
        norm(data)
        with torch.no_grad():
            head.bias.fill_(10.0 if client == "a" else 20.0)
        assert head.weight.grad is None
        head(data).sum().backward()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"bias": float(model["head"].bias.detach())}


def test_local_tensors_are_each_clients_own() -> None:
    task = Personal()
    training = LocalTraining(task, TensorFilter(exclude=("head.*",)), "cpu", seed=1)
    model = training.initial()
    initial_bias = training.evaluate(model)["bias"]
    for number in range(2):
        for client in ("a", "b"):
            before, after = training.train(client, model, number)
            assert np.array_equal(before, model)
            assert not np.array_equal(before, after)  # the running statistics moved
    expected = [("a", 0, initial_bias), ("b", 0, initial_bias), ("a", 1, 10.0), ("b", 1, 20.0)]
    assert task.seen == [(client, count, pytest.approx(bias)) for client, count, bias in expected]
    assert training.evaluate(model)["bias"] == pytest.approx(initial_bias)


def test_the_turn_starts_from_the_dtype_the_client_has() -> None:
    class Half(Personal):
        def model(self) -> nn.Module:
            return super().model().bfloat16()

        def train(self, model: nn.Module, client: str, data: Tensor) -> None:
            return None

    training = LocalTraining(Half(), WHOLE, "cpu", seed=1)
    model = training.initial() + 1e-5
    before, after = training.train("a", model, 1)
    assert np.array_equal(before, after)


COMPLETE = """
import torch

class Mine:
    def clients(self): return ["x", "y", "z"]
    def model(self): return torch.nn.Linear(2, 1)
    def data(self, client): return None
    def train(self, model, client, data): {train}
    def evaluate(self, model): return {{"loss": {loss}}}

def task():
    return Mine()
"""


WRONG = (
    COMPLETE.replace("self, model, client, data)", "self, {}) -> None")
    .replace("{train}", "pass")
    .replace("{loss}", "1")
)


def from_file(tmp_path: Path, text: str) -> Task:
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    return load_task(Config.of(task={"file": "mine.py"}), tmp_path)


def test_a_task_from_a_file_imports_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text("NAMES = ['x', 'y']", encoding="utf-8")
    text = COMPLETE.format(train="pass", loss="1").replace("import torch", "import torch, neighbour_of_mine")
    assert list(from_file(tmp_path, text).clients()) == ["x", "y", "z"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "mine.py has no function task(); define `def task():` that returns a task"),
        ("task = 3", "mine.py has no function task()"),
        ("def task(: pass", "mine.py does not run: SyntaxError"),
        ("import does_not_exist", "mine.py does not run: ModuleNotFoundError: No module named 'does_not_exist'"),
        ("raise SystemExit(0)", "mine.py does not run: SystemExit: 0"),
        ("def task():\n    return 1 / 0", "task() failed: ZeroDivisionError: division by zero (at "),
        ("def task():\n    return 3", "the task is a int without the method clients()"),
        ("class T:\n    clients = model = data = print\ndef task(): return T()", "without the method train()"),
        (
            f"{COMPLETE.format(train='pass', loss='1')}\nMine.finish = 3",
            "mine.py: finish: expected a method that is called with (model), found 3",
        ),
        ("def task():\n    pass", "mine.py: task() returned None, expected a task; does it end with `return`?"),
        (
            WRONG.format("model, data"),
            "train(model, data): expected a method that is called with (model, client, data), and",
        ),
        (
            WRONG.format("model, client, data, state, more"),
            "mine.py: train(model, client, data, state, more): expected",
        ),
    ],
)
def test_task_files_that_do_not_work(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        from_file(tmp_path, text)
    assert message in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_a_missing_task_file(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"task.file: no file .*gone.py"):
        load_task(Config.of(task={"file": "gone.py"}), tmp_path)
    (tmp_path / "task.txt").write_text("", encoding="utf-8")
    with pytest.raises(Misuse, match=r"is not a Python file"):
        load_task(Config.of(task={"file": "task.txt"}), tmp_path)


def test_errors_of_the_users_code_name_client_and_line(tmp_path: Path) -> None:
    task = from_file(tmp_path, COMPLETE.format(train="raise ValueError('two\\nlines')", loss="'high'"))
    training = LocalTraining(task, WHOLE, "cpu", seed=1)
    with pytest.raises(Misuse, match=r"client x: train\(\) failed: ValueError: two lines \(at .*mine.py:8\)"):
        training.train("x", training.initial(), 1)
    with pytest.raises(Misuse, match=r"task: evaluate\(\) returned 'high' for 'loss', expected one number"):
        training.evaluate(training.initial())


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        ("None", "clients() returned None, expected a list of names"),
        ("3", "clients() returned 3, expected a list of names"),
        ("'abc'", "clients() returned 'abc', expected a list of names"),
        ("[]", "clients() returned no names, expected one for every client"),
        ("1 / 0", "clients() failed: ZeroDivisionError: division by zero (at "),
        ("(1 / 0 for _ in 'ab')", "clients() failed: ZeroDivisionError: division by zero (at "),
        ("['a', 'b', 'c' * 300]", "client name 'cccccccccccc...ccccccccccccc' is not usable"),
        ("['a', '../b', 'c']", "client name '../b' is not usable"),
    ],
)
def test_clients_that_are_no_names(tmp_path: Path, clients: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(
        f"class Mine:\n    def clients(self): return {clients}\n    model = data = train = evaluate = print\n"
        "def task(): return Mine()\n",
        encoding="utf-8",
    )
    with pytest.raises(Misuse) as excinfo:
        client_names(load_task(Config.of(task={"file": "mine.py"}), tmp_path))
    assert message in str(excinfo.value)


class Site(str, Enum):  # noqa: UP042  its str() is not its value
    """Names as an enumeration has them."""

    NORTH = "north"
    SOUTH = "south"


@pytest.mark.parametrize("given", [np.array(["south", "north"]), list(Site), (np.str_("north"), Site.SOUTH)])
def test_names_of_other_classes_become_plain_text(given: Iterable[str]) -> None:
    task = Personal()
    task.clients = lambda: given
    names = client_names(task)
    assert names == ("north", "south")
    assert {type(name) for name in names} == {str}


def test_the_place_of_an_error_is_the_users_own_line(tmp_path: Path) -> None:
    """Neither Python's json, nor an installed package: the last line that the user wrote, in whatever file."""
    (tmp_path / "helper_of_mine.py").write_text("import json\n\ndef read(): return json.loads('{broken')\n")
    text = COMPLETE.format(train="helper_of_mine.read()", loss="torch.zeros(2) @ torch.zeros(3)")
    task = from_file(tmp_path, text.replace("import torch", "import torch, helper_of_mine"))
    training = LocalTraining(task, WHOLE, "cpu", seed=1)
    with pytest.raises(Misuse, match=r"train\(\) failed: JSONDecodeError: .*helper_of_mine.py:3\)$"):
        training.train("x", training.initial(), 1)
    with pytest.raises(Misuse, match=r"evaluate\(\) failed: RuntimeError: .*mine.py:9\)$"):
        training.evaluate(training.initial())


class Changing(Personal):
    """A network with tied weights; `change` is what training does to it."""

    def __init__(self, change: Callable[[nn.Sequential], object], made: object = None) -> None:
        super().__init__()
        self._change, self._made = change, made

    def model(self) -> nn.Module:
        if self._made is not None:
            return self._made
        network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
        network[2].weight = network[0].weight
        return network

    def train(self, model: nn.Module, client: str, data: Tensor) -> None:
        self._change(model)


def untie(model: nn.Sequential) -> None:
    model[2].weight = nn.Parameter(torch.zeros(3, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.append(nn.Linear(3, 1)), "'3.weight': expected no such tensor, found float32 of shape (1, 3)"),
        (lambda m: m.pop(1), "'1.weight': expected float32 of shape (3,), found float32 of shape (3, 3), tied to "),
        (lambda m: m.pop(2), "'2.weight': expected float32 of shape (3, 3), tied to '0.weight', found no such tensor"),
        (lambda m: m.half(), "'0.weight': expected float32 of shape (3, 3), found float16 of shape (3, 3)"),
        (untie, "'2.weight': expected float32 of shape (3, 3), tied to '0.weight', found float32 of shape (3, 3)"),
        (lambda m: m[1].register_buffer("more", torch.zeros(2)), "'1.more': expected no such tensor"),
    ],
)
def test_training_may_not_change_the_architecture(change: Callable[[nn.Sequential], object], message: str) -> None:
    training = LocalTraining(Changing(change), WHOLE, "cpu", seed=1)
    with pytest.raises(Misuse) as excinfo:
        training.train("a", training.initial(), 1)
    assert str(excinfo.value).startswith("client a: train() changed the architecture of the model: ")
    assert message in str(excinfo.value)


class Returning(Changing):
    """`change` makes what train() and finish() return."""

    def train(self, model: nn.Module, client: str, data: Tensor) -> object:
        model[0].bias.data += 1
        return self._change(model)

    def finish(self, model: nn.Module) -> object:
        return self._change(model)


def test_a_model_that_is_returned_in_the_place_of_the_one_given_is_refused() -> None:
    """What wraps that one is it, and what is no model is nobody's affair."""
    for change in (lambda m: m, nn.Sequential, lambda m: m[0], lambda _: 0.5, lambda _: nn.Sequential()):
        training = LocalTraining(Returning(change), WHOLE, "cpu", seed=1)
        training.finished(training.train("a", training.initial(), 1)[1])
    for change in (copy.deepcopy, lambda _: nn.Linear(1, 1)):
        training = LocalTraining(Returning(change), WHOLE, "cpu", seed=1)
        with pytest.raises(ClientFailed, match=r"client a: train\(\) failed: it returned another model, which nobody"):
            training.train("a", training.initial(), 1)
        with pytest.raises(Misuse, match=r"task: finish\(\): it returned another model, which nobody looks at"):
            training.finished(training.initial())


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (5, "task: model() returned 5, expected a torch.nn.Module"),
        (nn.Linear(2, 2, device="meta"), "tensors: 'weight' is on the meta device"),
    ],
)
def test_models_that_are_none(made: object, message: str) -> None:
    task = Changing(lambda _: None, made)
    for attempt in (lambda: make_plan(task, Config.of()), lambda: LocalTraining(task, WHOLE, "cpu", seed=1)):
        with pytest.raises(Misuse) as excinfo:
            attempt()
        assert message in str(excinfo.value)


def test_a_model_that_begins_with_nan_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.bias.fill_(float("nan"))
    task, config = Changing(lambda _: None, model), Config.of(limits={"min_cohort": 2})
    for attempt in (lambda: make_plan(task, config), Federation(task, config, tmp_path / "out").run):
        with pytest.raises(Misuse, match=r"tensor 'bias' holds 1 NaN .* before any training.*or exclude it"):
            attempt()
    assert not (tmp_path / "out").exists()


def test_a_configuration_is_no_dictionary(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"expected a Config, as Config.of\(...\) makes it, found {'rounds': 3}"):
        Federation(breast_cancer(), {"rounds": 3}, tmp_path / "out")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (None, "returned None, expected a mapping from names to numbers"),
        ({"loss": 1, "per_class": [0.1, 0.2]}, "returned [0.1, 0.2] for 'per_class', expected one number"),
        ({"recall": torch.ones(2)}, "returned tensor([1., 1.]) for 'recall', expected one number"),
        ({"f1": None}, "returned None for 'f1', expected one number"),
    ],
)
def test_metrics_that_are_none(metrics: object, message: str) -> None:
    task = Changing(lambda _: None)
    task.evaluate = lambda model: metrics
    training = LocalTraining(task, WHOLE, "cpu", seed=1)
    with pytest.raises(Misuse) as excinfo:
        training.evaluate(training.initial())
    assert str(excinfo.value).startswith(f"task: evaluate() {message}")


def test_the_template_is_a_task_that_learns() -> None:
    folder = Path(__file__).parents[3] / "verifl" / "templates"
    task = load_task(Config.of(task={"file": "task.py"}), folder)
    training = LocalTraining(task, WHOLE, "cpu", seed=1)
    start = training.initial()
    model = averaged(training, task, start, 3)
    assert training.evaluate(model)["loss"] < 0.7 * training.evaluate(start)["loss"]
    write_vector(task.model(), training.layout, model)
