"""What becomes of the clients' updates on their way into fixed point, told where little of the training is left of it.

Each kind of loss is told once, with numbers, names and what to do, and again where it has become much worse: updates
that round to zero, updates far beyond the bounds, changes of frozen tensors, and training that changed nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.policy import UpdateRule
from protocols.steps.doubles import Doubles
from protocols.weights import weight_of
from verifl.formatting import format_names
from verifl.training.running_statistics import some
from verifl.training.tensors import TensorLayout
from verifl.training.update import EncodedUpdate, clip_norm, coordinate_bounds, l2_norm, scaled_down

FAR = 10.0  # times its bound: from there on less than a tenth is left of an update
COARSE = 0.5  # of an update's norm lost by rounding
VISIBLE = 1e-3  # of an update's norm: less in a tensor may be the noise of its arithmetic
ROOM = 64.0  # units that the largest change should have
_SHOWN = 3
_LOGGER = logging.getLogger(__name__)

Norms = NDArray[np.float64]


@dataclass(frozen=True)
class _Turn:
    """One client's update. trained, cut: norms before and after its coordinates were cut, frozen ones left out; lost:
    share of the norm that rounding took; parts, peaks: by tensor, the norm as trained, and the largest change of a
    coordinate before it was rounded; vanished, frozen: tensors of whose visible change rounding left nothing, and that
    changed although they may not."""

    client: str
    trained: float
    cut: float
    lost: float
    parts: Norms
    peaks: Norms
    vanished: tuple[str, ...]
    frozen: tuple[str, ...]


@dataclass(frozen=True)
class _Piece:
    """One tensor of an update: norms as trained, as it should have been sent, and of what rounding took from that; the
    largest coordinate; whether nothing is left of it; whether it changed where it may not."""

    tensor: str
    trained: float
    ideal: float
    lost: float
    peak: float
    zero: bool
    frozen: bool


class UpdateWatch:
    """Looks at the updates of the rounds that this process runs. noised: the policy has noise, so that no advice may
    make a policy out of what private data said."""

    def __init__(self, layout: TensorLayout, rule: UpdateRule, noised: bool = False) -> None:
        self._noised = noised
        self._layout, self.rule = layout, rule
        bounds = coordinate_bounds(rule, layout.dimension)
        self._limits = None if bounds is None else np.ldexp(bounds.astype(np.float64), -rule.fraction_bits)
        self._turns: list[_Turn] = []
        self._measured: set[str] = set()
        self._told: dict[str, float] = {}

    def begin(self) -> None:
        """A round's turns begin."""
        self._turns, self._measured = [], set()

    def add_measured(self, names: Iterable[str]) -> None:
        """Float buffers that stay with a client, and that its training changed."""
        self._measured |= set(names)

    def add(self, client: str, before: Doubles, after: Doubles, update: EncodedUpdate) -> None:
        """A client trained from one vector to the other, and this is its update. Looks at one tensor at a time."""
        scale = clip_norm(self.rule) / update.norm if update.clipped else 1.0
        pieces = [
            self._piece(spec.name, where, self._delta(before, after, where), update, scale)
            for spec, where in self._layout.slices()
        ]
        wanted = l2_norm(np.array([each.ideal for each in pieces]))
        lost = l2_norm(np.array([each.lost for each in pieces]))
        self._turns.append(
            _Turn(
                client,
                l2_norm(np.array([each.trained for each in pieces])),
                update.norm,
                lost / wanted if wanted > 0 else 0.0,
                np.array([each.trained for each in pieces]),
                np.array([each.peak for each in pieces]),
                tuple(each.tensor for each in pieces if each.zero and each.ideal > VISIBLE * wanted),
                tuple(each.tensor for each in pieces if each.frozen),
            )
        )

    def _delta(self, before: Doubles, after: Doubles, where: slice) -> Doubles:
        return scaled_down(after[where] - before[where], self.rule, where.start)

    def _piece(self, tensor: str, where: slice, delta: Doubles, update: EncodedUpdate, scale: float) -> _Piece:
        moved, frozen = delta, False
        if self._limits is not None:
            limits = self._limits[where]
            moved, frozen = np.where(limits > 0, delta, 0.0), bool(delta[limits == 0].any())
        ideal = moved if self._limits is None else np.clip(moved, -self._limits[where], self._limits[where])
        ideal = ideal * scale
        units = update.units[where]
        rounded = np.ldexp(units.astype(np.float64), -self.rule.fraction_bits) / weight_of(update.weight)
        peak = float(np.abs(ideal).max(initial=0.0))
        return _Piece(tensor, l2_norm(moved), l2_norm(ideal), l2_norm(rounded - ideal), peak, not units.any(), frozen)

    def end(self, number: int) -> None:
        """Tell what is to be told of round `number`."""
        if self._turns:
            for look in (self._unchanged, self._local, self._frozen, self._far, self._cut, self._coarse):
                look(number)

    def _unchanged(self, number: int) -> None:
        idle = [turn for turn in self._turns if turn.trained == 0 and not turn.frozen]
        self._tell(
            "unchanged",
            len(idle),
            2,
            f"round {number}: training of {self._who(idle)} changed nothing that is sent; train() changes the model "
            "that it is given, in place, and that is another object in every turn: make the optimiser in train()",
            {"round": number, "clients": [turn.client for turn in idle]},
        )

    def _local(self, number: int) -> None:
        names = sorted(self._measured)
        self._tell(
            "measured-locally",
            len(names),
            2,
            f"round {number}: training changed buffers that stay with each client: {some(names)}; the global model is "
            "evaluated and saved with those of model(); let them travel if it needs them",
            {"round": number, "tensors": names},
        )

    def _frozen(self, number: int) -> None:
        names = sorted({name for turn in self._turns for name in turn.frozen})
        self._tell(
            "frozen-changed",
            len(names),
            2,
            f"round {number}: training changed {some(names)}, frozen by coordinate_bound = 0: that is thrown away; "
            "freeze them in model() with requires_grad_(False), or give them a bound",
            {"round": number, "tensors": names},
        )

    def _far(self, number: int) -> None:
        """Beyond the clip norm: what all of an update is scaled back by."""
        clip, norms = clip_norm(self.rule), [turn.cut for turn in self._turns]
        ratio, names = max(norms) / clip, self._dominating()
        self._tell(
            "beyond-clip",
            ratio if ratio >= FAR else 0.0,
            FAR,
            f"round {number}: updates are up to {ratio:,.4g} times as long as the clip norm {clip:,.4g} (norms: "
            f"{_quantiles(norms)}) and are scaled back to it, all of their tensors alike; most of it is {names}; "
            + self._remedy(
                "raise update.clip_norm, give those tensors a scale in [[update.groups]] "
                "(`verifl measure` proposes both)"
            ),
            {"round": number, "clip_norm": clip, **_summary(norms)},
        )

    def _cut(self, number: int) -> None:
        """Beyond the bounds on single coordinates."""
        shares = [turn.trained / turn.cut if turn.cut > 0 else 1.0 for turn in self._turns]
        worst = max(shares)
        self._tell(
            "beyond-coordinate-bound",
            worst if worst >= FAR else 0.0,
            FAR,
            f"round {number}: coordinates of updates are cut so much that their norms shrink up to {worst:,.4g} times "
            f"({_quantiles(shares)}); most of what is cut is {self._dominating()}; "
            + self._remedy("raise the coordinate_bound of these tensors"),
            {"round": number, **_summary(shares)},
        )

    def _coarse(self, number: int) -> None:
        """Below the resolution of fixed point."""
        coarse = [turn for turn in self._turns if turn.lost > COARSE]
        near = [turn for turn in self._turns if 0 < turn.cut < FAR * clip_norm(self.rule)]
        vanished = _in_all([turn.vanished for turn in near])
        if coarse:
            gone = all(turn.lost == 1.0 for turn in coarse)
            how = "rounds to zero" if gone else f"loses up to {max(turn.lost for turn in coarse):.0%} by rounding"
            text, severity = f"the update of {self._who(coarse)} {how}", 1e6 * len(coarse)
        else:
            text, severity = f"of the changes of {some(vanished)} nothing is left: they round to zero", len(vanished)
        largest, unit = self._largest(coarse, vanished), math.ldexp(1.0, -self.rule.fraction_bits)
        self._tell(
            "rounds-to-zero",
            severity,
            2,
            f"round {number}: {text}; the resolution is {unit:.3g} (2^-{self.rule.fraction_bits}), the largest change "
            f"there {largest:.3g}; {self._advice(largest)}",
            {"round": number, "clients": [turn.client for turn in coarse], "tensors": vanished, "largest": largest},
        )

    def _largest(self, coarse: Sequence[_Turn], vanished: Sequence[str]) -> float:
        """The largest change of a coordinate: of the coarse updates, or in the tensors that vanished."""
        if coarse:
            return max(float(turn.peaks.max(initial=0.0)) for turn in coarse)
        chosen = [index for index, spec in enumerate(self._layout.specs) if spec.name in vanished]
        return max(float(turn.peaks[chosen].max(initial=0.0)) for turn in self._turns)

    def _advice(self, largest: float) -> str:
        if self._noised:
            return "train with larger steps; under noise no resolution may follow from this, but from public data"
        if largest <= 0:
            return "raise update.fraction_bits"
        bits = min(math.ceil(math.log2(ROOM / largest)), LARGEST_FRACTION_BITS)
        wanted = max(bits, self.rule.fraction_bits + 1)
        return f"set update.fraction_bits = {wanted} (`verifl plan` shows what fits), or train with larger steps"

    def _remedy(self, bounds: str) -> str:
        """bounds: how to have others. With noise none may follow from private data: the policy publishes them."""
        if self._noised:
            return "train with smaller steps; under noise no bound or scale may follow from this, but from public data"
        return f"{bounds}, or train with smaller steps"

    def _dominating(self) -> str:
        """The tensors that make up most of the squared norm, largest first, with their share."""
        squares = np.zeros(len(self._layout.specs))
        largest = max(float(turn.parts.max(initial=0.0)) for turn in self._turns) or 1.0
        for turn in self._turns:
            squares += (turn.parts / largest) ** 2
        order, total = np.argsort(-squares, kind="stable"), float(squares.sum()) or 1.0
        names: list[str] = []
        share = 0.0
        for index in order[:_SHOWN]:
            names.append(repr(self._layout.specs[index].name))
            share += float(squares[index]) / total
            if share > 0.9:
                break
        return f"{', '.join(names)} ({share:.1%} of the squared norm)"

    def _who(self, turns: Sequence[_Turn]) -> str:
        if len(turns) == len(self._turns) > 1:
            return f"all {len(turns)} clients"
        return format_names([turn.client for turn in turns])

    def _tell(self, kind: str, severity: float, factor: float, text: str, fields: Mapping[str, object]) -> None:
        """Once a kind, and again where it is `factor` times as bad as when it was told."""
        if severity > 0 and severity >= factor * self._told.get(kind, 0.0):
            self._told[kind] = severity
            _LOGGER.warning("%s", text, extra={"fields": {"event": kind, **fields}})


def _quantiles(values: Sequence[float]) -> str:
    return f"{min(values):,.4g} at least, {median(values):,.4g} in the median, {max(values):,.4g} at most"


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {"least": min(values), "median": median(values), "most": max(values)} if values else {}


def _in_all(groups: Sequence[tuple[str, ...]]) -> list[str]:
    return [name for name in groups[0] if all(name in group for group in groups)] if groups else []
