"""What was measured of updates, and what is proposed, as text and as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from verifl.formatting import counted, format_metrics
from verifl.planning.config_files import scale_lines
from verifl.planning.measured import Measurement
from verifl.planning.proposals import QUANTILES, ProposedBounds, quantiles, share_beyond

_SHOWN = 16  # tensors, those of the longest updates; `--format json` has all


def describe_measurement(measured: Measurement, proposal: ProposedBounds) -> str:
    """Norms by round and by tensor, then the proposal, and what other clip norms would do."""
    rounds, clients = {turn.round for turn in measured.turns}, {turn.client for turn in measured.turns}
    trained = f"{counted(len(rounds), 'round')} of {counted(len(clients), 'client')}"
    lines = [
        f"Measured {counted(len(measured.turns), 'update')}: {trained}, in the clear",
        f"  before  {format_metrics(measured.initial)}",
        f"  after   {format_metrics(measured.reached)}",
        "",
        *_round_lines(measured),
        "",
        *_tensor_lines(measured),
        "",
        *_weight_lines(measured, proposal),
        *_proposal_lines(measured, proposal),
    ]
    return "\n".join(lines)


def measurement_dict(measured: Measurement, proposal: ProposedBounds) -> dict[str, Any]:
    """For `--format json`."""
    return {
        "updates": len(measured.turns),
        "norms_by_round": {number: quantiles(measured.lengths({})[which]) for number, which in _rounds(measured)},
        "norms_by_tensor": [
            {
                "tensor": tensor.label,
                "coordinates": tensor.size,
                "statistic": tensor.statistic,
                "norms": quantiles(measured.norms[:, place]),
                "largest_coordinate": float(measured.peaks[:, place].max()),
            }
            for place, tensor in enumerate(measured.tensors)
        ],
        "weights": [
            {
                "client": each.client,
                "weight": each.weight,
                "share": each.share,
                "norm": each.norm,
                "bound": each.weight * proposal.clip_norm,
            }
            for each in measured.weighed(proposal.lengths)
        ],
        "proposal": proposal.to_dict(),
    }


def _rounds(measured: Measurement) -> Iterator[tuple[int, Any]]:
    numbers = np.array([turn.round for turn in measured.turns])
    return ((int(number), numbers == number) for number in np.unique(numbers))


def _numbers(values: Mapping[str, float]) -> str:
    return "  ".join(f"{value:>10.4g}" for value in values.values())


def _round_lines(measured: Measurement) -> Iterator[str]:
    heads = "  ".join(f"{share:>10.0%}" for share in QUANTILES)
    lengths = measured.lengths({})
    yield f"Norms of updates, quantiles        {heads}"
    for number, which in _rounds(measured):
        yield f"  round {number:<27}{_numbers(quantiles(lengths[which]))}"


def _tensor_lines(measured: Measurement) -> Iterator[str]:
    yield "Norms of their tensors"
    norms = measured.norms
    order = np.argsort(-norms.max(axis=0), kind="stable")
    for place in order[:_SHOWN]:
        tensor = measured.tensors[place]
        name = f"{tensor.label}{' (statistic)' if tensor.statistic else ''}"
        yield f"  {name:<33}{_numbers(quantiles(norms[:, place]))}"
    if len(order) > _SHOWN:
        yield f"  ... {len(order) - _SHOWN} tensors more, whose changes are shorter"


def _weight_lines(measured: Measurement, proposal: ProposedBounds) -> Iterator[str]:
    """What each client counts, and its longest update beside its bound, both times the weight."""
    weighed = measured.weighed(proposal.lengths)
    if not weighed:
        return
    scaled = " in these scales" if proposal.scales else ""
    yield f"Clients {'weight':>29}{'share':>9}  its longest update{scaled} and the clip norm, both times the weight"
    for each in weighed[:_SHOWN]:
        bound = each.weight * proposal.clip_norm
        yield f"  {each.client:<27}{each.weight:>8}{each.share:>9.1%}  {each.norm:.4g} of {bound:.4g}"
    if len(weighed) > _SHOWN:
        yield f"  ... {len(weighed) - _SHOWN} clients more, no heavier"
    yield ""


def _proposal_lines(measured: Measurement, proposal: ProposedBounds) -> Iterator[str]:
    units = math.ldexp(proposal.largest, proposal.fraction_bits)
    scaled = "; in these scales" if proposal.scales else ""
    yield "Proposed"
    yield "  [update]"
    yield f"  clip_norm = {proposal.clip_norm!r}"
    yield from (f"  {line}" for line in scale_lines(proposal.scales))
    yield f"  it scales back {proposal.touched(proposal.clip_norm):.1%} of these updates{scaled}"
    for factor in (0.5, 0.25):
        other = factor * proposal.clip_norm
        yield f"  clip_norm = {other:g} would scale back {share_beyond(proposal.lengths, other):.1%}"
    if proposal.finer:
        yield f"  fraction_bits = {proposal.fraction_bits}"
        yield f"  that is finer than by itself, for the statistics; the largest coordinate is {units:,.0f} units"
    else:
        yield f"  resolution  2^-{proposal.fraction_bits} by itself; the largest coordinate is {units:,.0f} units"
    if proposal.coordinate_bound is None:
        yield "  coordinate_bound: none below the clip norm leaves these updates as they are"
    else:
        yield f"  coordinate_bound = {proposal.coordinate_bound!r} would leave these updates as they are"
    if proposal.unit is not None:
        yield "  [weights]"
        yield f"  unit = {proposal.unit!r}"
        yield f"  the heaviest data weighed {max(measured.data.values()):g}"
