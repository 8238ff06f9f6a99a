"""Losses on the way into fixed point are told: once a kind, with numbers and names, and again where they get worse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from protocols.policy import CoordinateRule, TensorSpec, UpdateRule
from verifl import Config, Federation
from verifl.planning.plan import make_plan
from verifl.training.local_training import LocalTraining
from verifl.training.running_statistics import local_statistics, statistics_warnings
from verifl.training.tensors import TensorFilter, TensorLayout, describe
from verifl.training.update import encode_update
from verifl.training.update_watch import UpdateWatch

LAYOUT = TensorLayout(
    (TensorSpec("first", (2,), "float64", False), TensorSpec("mean", (2,), "float64", False),
     TensorSpec("last", (1,), "float64", False))
)  # fmt: skip
PLAIN = UpdateRule(norm_bound=1 << 16, fraction_bits=16, coordinate_bound=None, groups=())
FROZEN = UpdateRule(norm_bound=1 << 16, fraction_bits=16, coordinate_bound=1 << 12, groups=(CoordinateRule(4, 5, 0),))
UNIT = 2.0**-16


class Watched:
    """A watch, and what it says of rounds whose clients move the model by these deltas."""

    def __init__(self, caplog: pytest.LogCaptureFixture, rule: UpdateRule = PLAIN, noised: bool = False) -> None:
        self._watch, self._rule, self._caplog, self._round = UpdateWatch(LAYOUT, rule, noised), rule, caplog, 0
        caplog.set_level("WARNING", "verifl")

    def round(self, *deltas: list[float]) -> list[str]:
        self._caplog.clear()
        self._round += 1
        self._watch.begin()
        for number, delta in enumerate(deltas):
            before, after = np.zeros(5), np.array(delta)
            self._watch.add(f"c{number}", before, after, encode_update(before, after, LAYOUT, self._rule, "c"))
        self._watch.end(self._round)
        return self._caplog.messages

    @property
    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = self._caplog.records[-1].fields
        return fields


GOOD = [0.1, 0.2, -0.3, 0.1, 0.05]
ZERO = [0.0] * 5


def times(factor: float, delta: list[float] = GOOD) -> list[float]:
    return [factor * value for value in delta]


def test_ordinary_updates_are_no_news(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    assert watched.round(GOOD, times(2), times(-0.01), [0.1, 0.0, 0.0, 0.0, 0.0]) == []
    assert watched.round() == []


def test_updates_that_round_to_zero(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    small = times(UNIT)
    (text,) = watched.round(small, GOOD, GOOD)
    assert text == (
        "round 1: the update of c0 rounds to zero; the resolution is 1.53e-05 (2^-16), the largest change there "
        "4.58e-06; set update.fraction_bits = 24 (`verifl plan` shows what fits), or train with larger steps"
    )
    assert watched.fields["clients"] == ["c0"]
    assert watched.round(small, GOOD, GOOD) == watched.round(GOOD, small, GOOD) == []
    (worse,) = watched.round(small, small, small)
    assert "the update of all 3 clients rounds to zero" in worse
    assert watched.round(small, small, small) == []


def test_the_advice_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    delta = times(1e-9)
    (text,) = Watched(caplog).round(delta)
    bits = int(text.partition("update.fraction_bits = ")[2].split()[0])
    finer = UpdateRule(1 << bits, bits, None, ())
    assert Watched(caplog, finer).round(delta) == []
    assert encode_update(np.zeros(5), np.array(delta), LAYOUT, finer, "c").units.all()


def test_updates_that_lose_most_of_their_norm(caplog: pytest.LogCaptureFixture) -> None:
    (text,) = Watched(caplog).round([0.7 * UNIT, *[0.49 * UNIT] * 4])
    assert "the update of c0 loses up to 85% by rounding" in text


def test_a_tensor_that_vanishes_at_every_client(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    noise, delta = [*GOOD[:4], 0.3 * UNIT], [100 * UNIT, *ZERO[:3], 0.3 * UNIT]
    assert watched.round(noise, noise) == watched.round(delta, GOOD) == []
    (text,) = watched.round(delta, [*delta[:4], 0.2 * UNIT])
    assert text.startswith("round 3: of the changes of 'last' nothing is left: they round to zero; the resolution is ")
    assert "the largest change there 4.58e-06" in text
    assert watched.round(delta, delta) == []


def test_updates_far_beyond_the_clip_norm(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    far = [1.0, 0.0, 50.0, 1.0, 0.0]
    assert watched.round(times(15), times(2)) == []
    (text,) = watched.round(far, times(2), GOOD)
    assert text.startswith(
        "round 2: updates are up to 50.02 times as long as the clip norm 1 (norms: 0.3905 at least, 0.781 in the "
        "median, 50.02 at most) and are scaled back to it, all of their tensors alike; most of it is 'mean' (99.9% of"
    )
    assert watched.fields["most"] == pytest.approx(50.02, abs=0.01)
    assert watched.round(times(9, far)) == []
    (text,) = watched.round(times(11, far))
    assert "up to 550.2 times" in text


def test_nothing_overflows(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    (first, *_) = watched.round([1e300, 1e300, 0.0, 0.0, 0.0])
    assert "up to 1.414e+300 times" in first
    assert "'first' (100.0% of the squared norm)" in first


def test_coordinates_far_beyond_their_bounds(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog, FROZEN)
    assert watched.round([0.1, 0.1, 0.1, 0.1, 0.0]) == []
    (text,) = watched.round([0.01, 0.0, 3.0, -3.0, 0.0])
    assert text.startswith("round 2: coordinates of updates are cut so much that their norms shrink up to 47.7 times")
    assert "most of what is cut is 'mean' (100.0% of the squared norm); raise the coordinate_bound" in text


def test_under_noise_no_bound_is_advised_that_follows_from_private_data(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog, FROZEN, noised=True)
    told = [
        *watched.round([0.01, 0.0, 3.0, -3.0, 0.0]),
        *watched.round([*times(UNIT)[:4], 0.0]),
        *Watched(caplog, noised=True).round(times(1e6)),
    ]
    assert len(told) == 3
    for text in told:
        assert re.search(
            "; train with (smaller|larger) steps; under noise no .* from this, but from public data$", text
        )
        assert not any(word in text for word in ("raise", "measure", "update.groups", "set update"))


def test_frozen_tensors_that_training_changes(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog, FROZEN)
    (text,) = watched.round([0.01, 0.0, 0.0, 0.0, 5.0])
    assert text.startswith("round 1: training changed 'last', frozen by coordinate_bound = 0: that is thrown away; ")
    assert watched.round([0.01, 0.0, 0.0, 0.0, 5.0]) == []


def test_training_that_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(caplog)
    (text,) = watched.round(GOOD, ZERO, GOOD)
    assert text.startswith("round 1: training of c1 changed nothing that is sent; train() changes the model that it")
    assert watched.fields == {"event": "unchanged", "round": 1, "clients": ["c1"]}
    assert watched.round(GOOD, GOOD, ZERO) == []
    (text,) = watched.round(ZERO, ZERO, ZERO)
    assert text.startswith("round 3: training of all 3 clients changed nothing")


def normed(affine: bool = True) -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(4, affine=affine), nn.Linear(4, 1))


@pytest.mark.parametrize(
    ("rule", "local"),
    [
        (TensorFilter(), ()),
        (TensorFilter(trainable_only=True), ("0.running_mean", "0.running_var")),
        (TensorFilter(exclude=("*running_var",)), ("0.running_var",)),
        (TensorFilter(exclude=("0.*",)), ("0.running_mean", "0.running_var")),
    ],
)
def test_which_statistics_stay(rule: TensorFilter, local: tuple[str, ...]) -> None:
    model = normed()
    assert local_statistics(model, describe(model, rule)) == local


def test_statistics_are_warned_of_where_they_surprise() -> None:
    names = ("a.running_mean", "a.running_var", "b.running_mean", "b.running_var")
    (local,) = statistics_warnings(names)
    shown = "'a.running_mean', 'a.running_var', 'b.running_mean' and 1 more"
    assert local.startswith(
        f"running statistics stay with each client: {shown}; the global model is evaluated and saved"
    )
    assert not statistics_warnings(())


class Averaging(nn.Linear):
    """A buffer of no usual name, which a forward pass moves."""

    def __init__(self) -> None:
        super().__init__(4, 1)
        self.register_buffer("average", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.average.lerp_(x.mean(0), 0.5)
        return super().forward(x)


class Task:
    """Three clients, features that are not standardised."""

    def __init__(self, make: Any) -> None:
        self.model = make

    def clients(self) -> list[str]:
        return ["a", "b", "c"]

    def data(self, client: str) -> Tensor:
        return 300 * torch.randn(20, 4) + 1000

    def train(self, model: nn.Module, client: str, data: Tensor) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-8)
        for _ in range(3):
            optimizer.zero_grad()
            model(data).square().mean().backward()
            optimizer.step()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {}


def test_a_run_says_what_became_of_its_updates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = Config.of(
        federation={"rounds": 3},
        trustees={"count": 2, "corrupt": 0, "threshold": 2},
        update={"encryption_proof": False},
        server={"rule": "fedadam"},
    )
    with caplog.at_level("WARNING", "verifl"):
        Federation(Task(normed), config, tmp_path / "out", device="cpu").run()
    events = [record.fields["event"] for record in caplog.records]
    assert events == ["beyond-clip"]
    assert "most of it is '0.running_var' (100.0% of the squared norm)" in caplog.messages[0]
    assert not make_plan(Task(normed), config).notes
    local = Config.of(tensors={"trainable_only": True})
    assert any("running statistics stay with each client" in note for note in make_plan(Task(normed), local).notes)


def test_buffers_of_any_name_that_stay_with_clients(caplog: pytest.LogCaptureFixture) -> None:
    training = LocalTraining(Task(Averaging), TensorFilter(exclude=("average",)), "cpu", seed=1)
    start, watch = training.initial(), UpdateWatch(training.layout, PLAIN)
    for number in (1, 2):
        watch.begin()
        before, after = training.train("a", start, number)
        watch.add("a", before, after, encode_update(before, after, training.layout, PLAIN, "a"))
        watch.add_measured(training.changed_buffers("a"))
        with caplog.at_level("WARNING", "verifl"):
            watch.end(number)
    (text,) = [text for text in caplog.messages if "buffers that stay" in text]
    assert text.startswith("round 1: training changed buffers that stay with each client: 'average'; the global model")
