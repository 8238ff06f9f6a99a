"""A plan as text for people."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from fractions import Fraction

from proofs.errors import Rejected
from protocols.conditions import Inequality
from protocols.noise_trustees import noise_needed, training_clients
from protocols.policy import Policy
from protocols.weights import PRIVATE
from verifl.enrolment.coordinate_groups import TensorBound, tensor_scales
from verifl.enrolment.policy_words import step_in_words
from verifl.planning.costs import PeakMemory, SubmissionSize
from verifl.planning.options import Option
from verifl.planning.plan import JudgedPolicy, Plan
from verifl.planning.weights import WeightPlan
from verifl.reports.privacy import privacy_lines
from verifl.strategies.weights import unit_of

_WIDTH = 120
_SHOWN = 24  # names of tensors of one bound; `--format json` has all


def describe_plan(plan: Plan) -> str:
    """The plan as text of a few dozen lines."""
    sections = [
        _heading(plan),
        _scale_lines(plan),
        _bound_lines(plan),
        _weight_lines(plan.weights),
        [describe_conditions(plan)],
        ["Bytes per submission", *_size_lines(plan.size)],
        ["Peak memory, about", *_memory_lines(plan.memory)],
        _option_lines(plan.options),
        privacy_lines(plan.privacy, plan.policy.update.fraction_bits),
        [] if plan.policy.noise is not None else ["What remains without noise", *_wrapped([plan.without_noise], "  ")],
        _wrapped([f"note: {note}" for note in plan.notes], ""),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def describe_conditions(judged: JudgedPolicy) -> str:
    """Every condition with its numbers."""
    return "\n".join(["Conditions", *_condition_lines(judged.conditions)])


def _heading(plan: Plan) -> list[str]:
    policy, update, lattice = plan.policy, plan.policy.update, plan.policy.lattice
    shape = plan.pinned.argument.shape
    clip = math.ldexp(update.norm_bound, -update.fraction_bits)
    table = f"{shape.data_rows} + 1 rows of {shape.columns}"
    trustees = f"m = {len(policy.trustees)} trustees, f = {policy.corrupt} corrupt, t = {policy.threshold} to open"
    training, noise = training_clients(policy), noise_needed(policy)
    drawn = "" if policy.per_round is None else f", of whom {policy.per_round} are drawn for each round"
    most = policy.max_cohort - len(policy.roster) + len(training)
    cohorts = f"cohorts of {policy.min_cohort} to {most}{f' with noise of {noise} trustees or more' if noise else ''}"
    bound = f"B = {update.norm_bound:,} units of 2^-{update.fraction_bits}"
    modulus = f"q = {lattice.modulus} ({lattice.modulus.bit_length()} bits)"
    scale = _number(lattice.plaintext_scale)
    room = f"n_max = {plan.largest_cohort:,} {'' if lattice.encryption_proof else 'honest '}clients"
    return [
        f"Plan of federation {policy.federation!r}",
        f"  model       d = {policy.dimension:,} coordinates in {len(policy.tensors)} tensors; table of {table}",
        f"  parties     {len(training)} clients{drawn}, {cohorts}; {trustees}",
        *_wrapped_behind("  server      ", _step(policy)),
        f"  update      L2 norm at most {clip:.6g}: {bound} (resolution {math.ldexp(1.0, -update.fraction_bits):.2g})",
        f"  encryption  N = {lattice.degree}, {modulus}, T = {scale}; room for {room}",
    ]


def _step(policy: Policy) -> str:
    try:
        return step_in_words(policy.step)
    except Rejected:  # among the conditions that fail
        return policy.step.rule


def _scale_lines(plan: Plan) -> list[str]:
    """Which tensors have a scale."""
    scales = tensor_scales(plan.policy)
    if not scales:
        return []
    lines = ["Scales: bounds and resolution are of changes divided by these", f"  {'scale':>12}  tensors"]
    for scale, names in scales.items():
        lines += _wrapped_behind(f"  {scale:>12g}  ", _few(names))
    return lines


def _bound_lines(plan: Plan) -> list[str]:
    """Which tensors have which bound, by bound in the order of the model."""
    if not plan.bounds:
        return []
    update = plan.policy.update
    lines = ["Bounds on each coordinate, exact", f"  {'at most':>12}  {'units':>9}  {'coordinates':>12}  tensors"]
    for units in dict.fromkeys(bound.units for bound in plan.bounds):
        members = [bound for bound in plan.bounds if bound.units == units]
        value = f"{math.ldexp(units, -update.fraction_bits):.4g}" if units else "0, frozen"
        count = sum(bound.stop - bound.start for bound in members)
        start = f"  {value:>12}  {units:>9,}  {count:>12,}  "
        suffix = " (bounded by the norm alone)" if units >= update.norm_bound else ""
        lines += _wrapped_behind(start, _names(plan, members) + suffix)
    return lines


def _wrapped_behind(start: str, names: str) -> list[str]:
    return textwrap.wrap(
        names, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _names(plan: Plan, members: Sequence[TensorBound]) -> str:
    sizes = {spec.name: math.prod(spec.shape) for spec in plan.policy.tensors}
    if len(members) == len(sizes) == len(plan.bounds):
        return f"all {len(sizes)}"
    names = [
        bound.tensor + ("" if bound.stop - bound.start == sizes[bound.tensor] else f"[{bound.start}:{bound.stop}]")
        for bound in members
    ]
    return _few(names)


def _few(names: Sequence[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _weight_lines(weights: WeightPlan | None) -> list[str]:
    """What weights cost and mean, then what each client's data weigh, where that is known."""
    if weights is None:
        return []
    rule, unit = weights.rule, unit_of(weights.rule)
    without = "for none" if weights.without is None else f"instead of {weights.without}"
    lines = [
        f"Weights: {rule.kind}, from 1 to {rule.largest:,}",
        f"  cost        {weights.bits} bits of T and q: q has {weights.modulus_bits} bits {without}",
        f"  share       one client is at most {float(weights.share):.0%} of a smallest cohort's weight",
        f"  rounding    to the nearest multiple of {unit:g}, off by half of it; less weighs 1, more the largest",
    ]
    if rule.kind == PRIVATE.name:
        lines.append(
            "  opened      their sum in each cohort, exactly: two cohorts that differ by one client show its weight"
        )
    known = [each for each in weights.clients if each.measured is not None]
    if not known:
        return lines
    total = sum(each.weight for each in known) or 1
    exact = sum(Fraction(each.measured or 0.0) for each in known) or Fraction(1)
    lines.append(f"  {'data':>12}  {'weight':>9}  {'of the mean':>11}  {'unrounded':>9}  client")
    for each in known[:_SHOWN]:
        data, share = each.measured or 0.0, each.weight / total
        wanted = float(Fraction(data) / exact)
        lines.append(f"  {data:>12,g}  {each.weight:>9,}  {share:>11.2%}  {wanted:>9.2%}  {each.client}")
    return [*lines, f"  and {len(known) - _SHOWN} more"] if len(known) > _SHOWN else lines


def _condition_lines(conditions: tuple[Inequality, ...]) -> list[str]:
    """Every inequality, and every equality that fails; those that hold (names, keys, fixed constants) are counted."""
    shown = [one for one in conditions if one.relation != "=" or not one.holds]
    numbers = [f"{_number(one.left)} {one.relation} {_number(one.right)}" for one in shown]
    names_width, numbers_width = max(len(one.name) for one in shown), max(map(len, numbers))
    lines = [
        f"  {'ok' if one.holds else 'FAILS':5}  {one.name:{names_width}}  {text:{numbers_width}}  {one.explanation}"
        for one, text in zip(shown, numbers, strict=True)
    ]
    return [*lines, f"  ok     {len(conditions) - len(shown)} more on names, keys and fixed constants"]


def _size_lines(size: SubmissionSize) -> list[str]:
    parts = {
        "commitments": size.commitments,
        "validity proof": size.proof,
        "ciphertext": size.ciphertext,
        "share commitments": size.share_commitments,
        "encrypted shares": size.shares,
        "total": size.total,
    }
    return [f"  {name:18} {count:>12,}" for name, count in parts.items()]


def _memory_lines(memory: PeakMemory) -> list[str]:
    run = f"{memory.run / 1e9:8.2f} GB  all parties in one process; your data, training and local tensors come on top"
    return [f"  run      {run}", f"  audit    {memory.audit / 1e9:8.2f} GB"]


def _option_lines(options: Sequence[Option]) -> list[str]:
    """Two lines for every option: its numbers, and what it guarantees; then how to read them."""
    if not options:
        return []
    columns = f"{'commitments':>11}  {'proof':>9}  {'submission':>12}  {'commits':>16}  {'verifies':>14}  {'q':>7}"
    lines = [f"{'Options':24}{columns}  {'n_max':>6}   {'at most':>7}"]
    for option in options:
        name = f"{'>' if option.chosen else '':>3} {option.name:20}"
        lines.append(f"{name}{_option_numbers(option, options[0])}".rstrip())
        if option.problem is not None:
            lines += _wrapped([f"does not fit: {option.problem}"], "      ")
        lines += _wrapped([option.guarantee], "      ")
    return [*lines, *_legend(options)]


def _option_numbers(option: Option, plainest: Option) -> str:
    costs = option.costs
    if costs is None:
        return ""
    size, work = costs.size, costs.work
    least = plainest.costs
    commits = _relative(work.committed_values, None if least is None else least.work.committed_values)
    verifies = _relative(work.verified_points, None if least is None else least.work.verified_points)
    mark = " " if option.encryption_proof else "*"
    return (
        f"{size.commitments:>11,}  {size.proof:>9,}  {size.total:>12,}  {commits:>16}  {verifies:>14}  "
        f"{costs.modulus.bit_length():>2} bits  {costs.largest_cohort:>6,}{mark}  {costs.largest_derivable:>7,}{mark}"
    )


def _relative(value: int, least: int | None) -> str:
    """A number, and how many times the least it is where that is known."""
    return f"{value:,} {'' if least is None else f'x{value / least:.3g}':5}"


def _legend(options: Sequence[Option]) -> list[str]:
    entries = {
        ">": "this configuration",
        "bytes of a client": "commitments, proof, and in all (submission)",
        "work, counted": "commits: short numbers that a client commits to; verifies: its points that every verifier "
        "multiplies; docs/performance.md has times",
        "largest cohort": "of which every sum decrypts, with this q (n_max) and with the largest q there is (at most)",
        "*": "only while every client in it encrypts and shares what it committed to, which nothing proves",
    }
    example = next((option.example for option in options if option.example is not None), None)
    if example is not None:
        entries["range"] = f"this configuration sets none; shown with coordinate_bound = {example:g} in [update]"
    return [
        line
        for name, text in entries.items()
        for line in textwrap.wrap(text, _WIDTH, initial_indent=f"  {name:19}", subsequent_indent=" " * 21)
    ]


def _wrapped(texts: Sequence[str], indent: str) -> list[str]:
    return [
        line
        for text in texts
        for line in textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    ]


def _number(value: int) -> str:
    """Exact up to twelve digits and for powers of two; otherwise as a power of two to one decimal, marked ~."""
    if value > 0 and value.bit_count() == 1 and value > 2**10:
        return f"2^{value.bit_length() - 1}"
    if abs(value) < 10**12:
        return f"{value:,}"
    return f"~2^{math.log2(value):.1f}"
