"""What noise costs in accuracy, beside central differential privacy of the same epsilon.

`python noised.py --results noised.jsonl --svg noise.svg`: logistic regression on breast cancer and digits, of which
every training sample is a client, 456 and 1438 of them. In each of 30 rounds each takes a step of gradient descent;
steps are clipped, and

- *central*: a server that is trusted adds one Gaussian to their sum, in plain PyTorch, of the variance that the
  analytic Gaussian mechanism needs (Balle and Wang 2018; so many rounds as one of sqrt(rounds) times the sensitivity);
- *verified, all honest*: every client rounds its step and adds a discrete Gaussian of its own, by this project's
  encoding, accounting and sampler, so that all of them together hide one: h = n;
- *verified, half honest*: the same where half of the clients may collude with the server, so h = n / 2.

Nothing is encrypted or proved, which changes no sum. No noise is epsilon "none".
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from statistics import NormalDist, mean

import numpy as np
import torch
from panels import Curve, Panel, drawing

from protocols.fixed_point import norm_bound, quantize
from protocols.noise_derivation import least_norm_bound
from protocols.privacy.accounting import LEAST_VARIANCE, NoiseRule
from protocols.privacy.normal import exponential_bound
from protocols.privacy.sampler import sample

ROUNDS, RATE, CLIP, DELTA = 30, 2.0, 1.0, Fraction(1, 10**5)
EPSILONS = (1, 3, 8, None)
ARMS = ("central", "verified, all honest", "verified, half honest")
COLOURS = {
    "central": ("#0072b2", ""),
    "verified, all honest": ("#d55e00", "7 4"),
    "verified, half honest": ("#009e73", ""),
}
Sum = Callable[[torch.Tensor], torch.Tensor]  # clients' clipped steps (n, d) -> what the server knows of their sum (d,)


def data(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features with a constant one, in double precision, and labels, of training and of evaluation."""
    from sklearn.datasets import load_breast_cancer, load_digits

    features, labels = (load_digits if name == "digits" else load_breast_cancer)(return_X_y=True)
    features = (
        (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9) / math.sqrt(features.shape[1])
    )
    order = np.random.default_rng(1).permutation(len(labels))
    x = torch.tensor(np.hstack([features, np.ones((len(labels), 1))])[order])
    y = torch.tensor(labels[order].astype(np.int64))
    cut = len(labels) // 5
    return x[cut:], y[cut:], x[:cut], y[:cut]


def train(name: str, add: Sum) -> float:
    """Accuracy after all rounds."""
    x, y, held_x, held_y = data(name)
    classes = int(y.max()) + 1
    weights = torch.zeros(classes, x.shape[1], dtype=torch.float64)
    for _ in range(ROUNDS):
        errors = torch.nn.functional.one_hot(y, classes) - torch.softmax(x @ weights.T, dim=1)
        steps = (errors[:, :, None] * x[:, None, :]).reshape(len(y), -1)
        steps = steps * (CLIP / steps.norm(dim=1, keepdim=True)).clamp(max=1)
        weights = weights + RATE * add(steps).reshape(weights.shape) / len(y)
    return float(((held_x @ weights.T).argmax(dim=1) == held_y).double().mean())


def central(epsilon: float | None, seed: int) -> Sum:
    """One Gaussian for the sum."""
    generator = torch.Generator().manual_seed(seed)
    deviation = 0.0 if epsilon is None else analytic(epsilon)

    def add(steps: torch.Tensor) -> torch.Tensor:
        total = steps.sum(dim=0)
        return total + deviation * torch.randn(total.shape, generator=generator, dtype=torch.float64)

    return add


def analytic(epsilon: float) -> float:
    """The least standard deviation, by bisection, of a Gaussian on sums of sensitivity CLIP in all rounds."""

    def delta(deviation: float) -> float:
        mu, normal = math.sqrt(ROUNDS) * CLIP / deviation, NormalDist()
        return normal.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal.cdf(-mu / 2 - epsilon / mu)

    low, high = 1e-3, 1e3
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if delta(middle) <= float(DELTA) else (middle, high)
    return high


def verified(epsilon: float | None, honest: float) -> Sum:
    """A discrete Gaussian by each client, of which the share `honest` counts, in units."""

    def add(steps: torch.Tensor) -> torch.Tensor:
        count, dimension = steps.shape
        bits = math.ceil(math.log2(least_norm_bound(dimension) / CLIP))
        bound = norm_bound(CLIP, bits)
        total = sum(quantize(step, CLIP, bits, bound) for step in steps.numpy())
        if epsilon is not None:
            variance = least_variance(bound, Fraction(epsilon), int(honest * count))
            total = total + sample(Fraction(variance), count * dimension, os.urandom).reshape(count, -1).sum(axis=0)
        return torch.tensor(np.ldexp(total.astype(np.float64), -bits))

    return add


_VARIANCES: dict[tuple[int, Fraction, int], int] = {}


def least_variance(bound: int, epsilon: Fraction, honest: int) -> int:
    """sigma^2 of one client's noise in units^2, by the project's accounting and its allowance for noise that is not the
    ideal one."""
    key = bound, epsilon, honest
    if key not in _VARIANCES:
        rare = DELTA / (2**10 * exponential_bound(epsilon))
        low, high = LEAST_VARIANCE, 2**40
        while low < high:
            middle = (low + high) // 2
            holds = NoiseRule(bound, Fraction(middle), honest, DELTA, rare).holds(epsilon, ROUNDS)
            low, high = (low, middle) if holds else (middle + 1, high)
        _VARIANCES[key] = low
    return _VARIANCES[key]


def measured(names: Sequence[str], seeds: int) -> Iterator[dict[str, object]]:
    """A line for each data set, epsilon, arm and seed."""
    for name in names:
        for epsilon in EPSILONS:
            for arm in ARMS:
                for seed in range(1, seeds + 1):
                    add = (
                        central(epsilon, seed) if arm == "central" else verified(epsilon, 1.0 if "all" in arm else 0.5)
                    )
                    accuracy = round(train(name, add), 5)
                    yield {"dataset": name, "arm": arm, "epsilon": epsilon, "seed": seed, "accuracy": accuracy}


def table(lines: Sequence[dict[str, object]]) -> list[str]:
    """In Markdown: means over seeds, the least and the largest."""
    made = ["| data, arm | epsilon 1 | 3 | 8 | none |", "|---|" + "---|" * len(EPSILONS)]
    for name in dict.fromkeys(str(line["dataset"]) for line in lines):
        for arm in ARMS:
            found = [_accuracies(lines, name, arm, epsilon) for epsilon in EPSILONS]
            cells = " | ".join(f"{mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in found)
            made.append(f"| {name}, {arm} | {cells} |")
    return made


def panels(lines: Sequence[dict[str, object]]) -> list[Panel]:
    """A panel for each data set."""
    ticks = tuple("none" if epsilon is None else str(epsilon) for epsilon in EPSILONS)
    return [
        Panel(name, "accuracy", tuple(_curve(lines, name, arm) for arm in ARMS), "epsilon", ticks)
        for name in dict.fromkeys(str(line["dataset"]) for line in lines)
    ]


def _curve(lines: Sequence[dict[str, object]], name: str, arm: str) -> Curve:
    found = [_accuracies(lines, name, arm, epsilon) for epsilon in EPSILONS]
    return Curve(arm, *COLOURS[arm], tuple(map(mean, found)), tuple((min(each), max(each)) for each in found))


def _accuracies(lines: Sequence[dict[str, object]], name: str, arm: str, epsilon: float | None) -> list[float]:
    wanted = name, arm, epsilon
    return [float(str(each["accuracy"])) for each in lines if (each["dataset"], each["arm"], each["epsilon"]) == wanted]


def main(given: Sequence[str] | None = None) -> None:
    """Measure, unless the results are there; print the table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "noised.jsonl")
    parser.add_argument(
        "--dataset", nargs="*", choices=("breast-cancer", "digits"), default=("breast-cancer", "digits")
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args(given)
    if not arguments.results.exists():
        made = [json.dumps(line) for line in measured(arguments.dataset, arguments.seeds)]
        arguments.results.write_text("\n".join([*made, ""]))
    lines = [json.loads(line) for line in arguments.results.read_text().splitlines()]
    print("\n".join(table(lines)))
    if arguments.svg is not None:
        arguments.svg.write_text(drawing(panels(lines)))


if __name__ == "__main__":
    main()
