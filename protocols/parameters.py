"""Which parameters fit together: every condition on a policy (spec 4.2), and what follows from one.

B norm bound in units, W largest weight, n largest cohort, T plaintext scale, E tail of the noise, q modulus, N degree,
d dimension, m trustees, t threshold, f corrupt trustees, k projections.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from proofs.curve import ORDER
from proofs.encryption import EncryptionParameters
from proofs.errors import Malformed, Misuse, Rejected
from proofs.parameters import LEAST_PROJECTIONS, MAXIMUM_NORM_BOUND, ArgumentParameters
from proofs.privacy_noise import NoiseBounds
from proofs.ranges import CoordinateGroup
from protocols.audit_checks import AUDIT_CHECKS, in_words
from protocols.cohorts import MOST_TRUSTEES
from protocols.conditions import Inequality
from protocols.encoding import CHANGES_LIMIT, ENTRY_LIMIT
from protocols.envelopes import RESERVED_NAMES
from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.lattice.parameters import DEGREE, MODULI, SIGMA_TENTHS, SMALL_MODULI, TAIL, noise_bound
from protocols.messages import DETAILS
from protocols.noise import MARGIN_BITS, guesses_of
from protocols.noise_conditions import noise_conditions
from protocols.noise_trustees import training_clients
from protocols.policy import (
    APPROVING,
    LARGEST_EXPONENT,
    ROLES,
    SCALE_BIAS,
    AddedNoise,
    LatticeRule,
    Member,
    NoiseLaw,
    Policy,
    UpdateRule,
)
from protocols.registry import one_of
from protocols.steps.doubles import parse_double
from protocols.steps.registry import step_constants
from protocols.steps.step import step_ceiling, step_floor
from protocols.weights import EQUAL, EQUAL_WEIGHTS, LARGEST_WEIGHT, PRIVATE, WEIGHT_KINDS

KEY_DIGIT_LIMIT = 2**23  # a summed key digit is a signed 24-bit number
LARGEST_COHORT = (KEY_DIGIT_LIMIT - 1) // TAIL
LARGEST_DIMENSION = 2**28  # keeps every table, ciphertext and byte count far inside 64 bits
# Bytes of a CohortClosed on two submissions of every client (spec 8.11): a character for each; a character and a name
# for each trustee; details and the rest of the entry with its envelope.
COHORT_BYTES = (2, 1 + 66, DETAILS * 280 + 1024)
# Bytes of an invitation or a receipt (spec 2.5): 16 rotations and the revocation of every party; all else.
CHANGES_BYTES = (16 * 544 + 340, 2**21)
MOST_ROUNDS = 2**16  # a party's memory of a log holds something of each
DTYPES = ("float16", "bfloat16", "float32", "float64")

# Bits of classical security of the ring-LWE instance left by Hint-RLWE: primal attack, core-SVP 2^(0.292 beta) with
# sigma 3.3 for secret and error (spec 6.2 has the model, 11.1 small moduli). Largest modulus bits -> estimate.
SECURITY_BITS = {24: 727, 26: 661, 28: 605, 30: 556, 32: 514, 34: 477, 36: 444, 38: 414, 40: 388, 50: 291, 62: 218}
SECURITY_FLOOR = 190


def largest_cohort(
    update: UpdateRule, lattice: LatticeRule, largest_weight: int = 1, added: AddedNoise | None = None
) -> int:
    """The largest n for which no sum can wrap: plaintext, modulus and key digits; 0 where one client is too many."""
    bound, noise = largest_weight * message_bound(update), noise_bound(lattice)
    if added is not None:
        return min((lattice.modulus - 1) // (2 * (bound + widest_noise(added))), (KEY_DIGIT_LIMIT - 1) // noise)
    by_plaintext = (lattice.plaintext_scale - 1) // (2 * bound)
    by_modulus = (lattice.modulus - 1) // (2 * (noise * lattice.plaintext_scale + bound))
    return min(by_plaintext, by_modulus, (KEY_DIGIT_LIMIT - 1) // noise)


def argument_parameters(policy: Policy) -> ArgumentParameters:
    """What every validity proof of an update of weight 1 is made with; raises Misuse where the argument refuses it."""
    update, lattice, hidden = policy.update, policy.lattice, policy.weights.kind == PRIVATE.name
    encryption, noise = None, policy.noise
    if lattice.encryption_proof:
        encryption = EncryptionParameters(
            lattice.degree, lattice.modulus, lattice.plaintext_scale, noise_bound(lattice)
        )
    return ArgumentParameters(
        policy.dimension + int(hidden),
        update.norm_bound,
        policy.projections,
        update.coordinate_bound,
        tuple(CoordinateGroup(group.start, group.stop, group.bound) for group in update.groups),
        encryption,
        largest_weight=1 if hidden else policy.weights.largest,
        hidden_weight=policy.weights.largest if hidden else None,
        privacy_noise=None if noise is None else _bounds(noise),
        update_noise=None if noise is None or noise.error is None else _bounds(noise.error),
    )


def _bounds(noise: AddedNoise | NoiseLaw) -> NoiseBounds:
    return NoiseBounds(noise.group_bound, noise.floor, noise.ceiling)


def message_bound(update: UpdateRule) -> int:
    """max|m|, the proved bound on one coordinate of an update of weight 1: beta with the range relation where it is
    smaller, else B."""
    if update.coordinate_bound is None:
        return update.norm_bound
    largest = max(update.coordinate_bound, *(group.bound for group in update.groups), 0)
    return max(1, min(update.norm_bound, largest))


def widest_noise(noise: AddedNoise) -> int:
    """E_n, of whoever has more."""
    return noise.group_bound if noise.error is None else max(noise.group_bound, noise.error.group_bound)


def sum_bound(policy: Policy, count: int, weight: int) -> int:
    """Bounds every value of an opened sum of `count` updates of this weight in all: weight max|m|, and with noise E_n
    for each."""
    added = 0 if policy.noise is None else count * widest_noise(policy.noise)
    return weight * message_bound(policy.update) + added


def check_policy(policy: Policy) -> list[Inequality]:
    """Every condition a policy must meet, in a fixed order, whether it holds or not. Total on any decoded policy."""
    return [
        *_trustee_conditions(policy),
        *_identity_conditions(policy),
        *_round_conditions(policy),
        *_start_conditions(policy),
        *_model_conditions(policy),
        *_weight_conditions(policy),
        *_update_conditions(policy),
        *_lattice_conditions(policy),
        *_error_conditions(policy),
        *noise_conditions(policy),
        *_step_conditions(policy),
    ]


def require_sound(policy: Policy) -> None:
    """Raise Rejected("policy-<name>") at the first condition that fails."""
    for condition in check_policy(policy):
        if not condition.holds:
            raise Rejected(
                f"policy-{condition.name}",
                f"{condition.explanation} (left {condition.relation} {condition.right})",
                f"left = {condition.left}",
            )


def _trustee_conditions(policy: Policy) -> list[Inequality]:
    m, t, f = len(policy.trustees), policy.threshold, policy.corrupt
    return [
        Inequality("trustees", m, "<=", MOST_TRUSTEES, "the trustees are enumerated by subsets and by cosignatures"),
        Inequality("threshold-reachable", t, "<=", m, "t trustees must exist"),
        Inequality("quorum-intersection", 2 * t, ">", m + f, "2t > m + f: two quorums share an honest trustee"),
        Inequality("corrupt-below-threshold", f, "<=", t - 1, "f <= t - 1: the corrupt trustees cannot open a round"),
    ]


def _identity_conditions(policy: Policy) -> list[Inequality]:
    clients, trustees = policy.roster, policy.trustees
    everybody = {*clients, *trustees}
    ids, keys = {member.id for member in everybody}, {member.public_key for member in everybody}
    ascending = sum(a.id < b.id for a, b in pairwise(clients))
    return [
        *_distinct("trustee", trustees),
        *_distinct("client", clients),
        Inequality("roster-order", ascending, "=", max(len(clients) - 1, 0), "clients ascend by id"),
        Inequality("one-key-per-id", len(ids), "=", len(everybody), "an id that is trustee and client has one key"),
        Inequality("one-id-per-key", len(keys), "=", len(everybody), "a key that is trustee and client has one id"),
        Inequality("role-names", len(ids & RESERVED_NAMES), "=", 0, "coordinator and issuer name roles, not members"),
        Inequality("log-key", int(policy.log_key in keys), "=", 0, "the coordinator is neither trustee nor client"),
        Inequality(
            "issuer-key", int(policy.issuer_key in {*keys, policy.log_key}), "=", 0, "the issuer has a key of its own"
        ),
    ]


def _distinct(role: str, members: Sequence[Member]) -> list[Inequality]:
    ids, keys = {member.id for member in members}, {member.public_key for member in members}
    return [
        Inequality(f"{role}-ids", len(ids), "=", len(members), f"no two {role}s share an id"),
        Inequality(f"{role}-keys", len(keys), "=", len(members), f"no two {role}s share a key"),
    ]


def _round_conditions(policy: Policy) -> list[Inequality]:
    for_client, for_trustee, rest = COHORT_BYTES
    cohort = for_client * len(policy.roster) + for_trustee * len(policy.trustees) + rest
    for_party, other = CHANGES_BYTES
    changes = for_party * (len(policy.roster) + len(policy.trustees)) + other
    unknown, training = sum(name not in AUDIT_CHECKS for name in policy.required_checks), training_clients(policy)
    return [
        Inequality("min-cohort", policy.min_cohort, ">=", 2, "a sum over one client is that client's update"),
        Inequality("cohort-range", policy.max_cohort, ">=", policy.min_cohort, "max_cohort is at least min_cohort"),
        *_draw_conditions(policy),
        Inequality("roster-size", len(training), ">=", policy.min_cohort, "a smallest cohort can be met"),
        Inequality("max-rounds", policy.max_rounds, ">=", 1, "a federation has a round"),
        Inequality("max-rounds-limit", policy.max_rounds, "<=", MOST_ROUNDS, "a party can remember the whole log"),
        Inequality("cohort-entry", cohort, "<=", ENTRY_LIMIT, "an entry judges two submissions of every client"),
        Inequality("roster-changes", changes, "<=", CHANGES_LIMIT, "an invitation has room for every change of keys"),
        Inequality("required-checks", unknown, "=", 0, f"required checks are named {in_words('and')}"),
    ]


def _start_conditions(policy: Policy) -> list[Inequality]:
    known = [role for role in APPROVING if role in policy.approvals]
    found = [Inequality("approvals", int(policy.approvals != tuple(known)), "=", 0, "client, trustee, both or neither")]
    if policy.previous is not None:
        carried = () if policy.privacy_budget is None else policy.privacy_budget.former
        former = {policy.previous.federation, *(each.federation for each in carried)}
        same = int(policy.federation in former)
        found += [
            Inequality("previous-size", policy.previous.size, ">=", 1, "the log that is continued has an entry"),
            Inequality("previous-name", same, "=", 0, "no federation has the name of one that it goes on from"),
        ]
    return found


def _model_conditions(policy: Policy) -> list[Inequality]:
    names = {tensor.name for tensor in policy.tensors}
    unknown = sum(tensor.dtype not in DTYPES for tensor in policy.tensors)
    size = sum(math.prod(tensor.shape) for tensor in policy.tensors)
    other = sum(tensor.role not in ROLES for tensor in policy.tensors)
    return [
        Inequality("tensor-names", len(names), "=", len(policy.tensors), "no two tensors share a name"),
        Inequality("tensor-types", unknown, "=", 0, f"tensors are {', '.join(DTYPES)}"),
        Inequality("tensor-roles", other, "=", 0, f"a tensor's role is {' or '.join(ROLES)}"),
        Inequality("dimension", policy.dimension, "=", size, "the tensors together are the vector"),
        Inequality("dimension-positive", policy.dimension, ">=", 1, "an update has a coordinate"),
        Inequality("dimension-limit", policy.dimension, "<=", LARGEST_DIMENSION, "sizes stay within their fields"),
    ]


def _weight_conditions(policy: Policy) -> list[Inequality]:
    rule = policy.weights
    alike = rule == replace(EQUAL_WEIGHTS, kind=rule.kind)
    fits = alike if rule.kind == EQUAL.name else rule.unit is not None and _positive(rule.unit)
    changed = "a client whose weight changes shows in the difference of two sums of the same clients"
    return [
        Inequality("weights-kind", int(rule.kind in WEIGHT_KINDS), "=", 1, f"weights are {one_of(WEIGHT_KINDS.names)}"),
        Inequality("weights-least", rule.largest, ">=", 1, "a weight is at least 1"),
        Inequality("weights-limit", rule.largest, "<=", LARGEST_WEIGHT, "W is at most 2^20"),
        Inequality("weights-unit", int(fits), "=", 1, "equal weights are 1; others have a unit above zero"),
        Inequality("weights-consecutive", int(policy.strict_consecutive and rule.kind != EQUAL.name), "=", 0, changed),
    ]


def _positive(text: str) -> bool:
    try:
        return parse_double(text) > 0
    except Malformed:
        return False


def _update_conditions(policy: Policy) -> list[Inequality]:
    bits, bound = policy.update.fraction_bits, policy.weights.largest * policy.update.norm_bound
    plaintext = policy.max_cohort * bound
    return [
        Inequality("norm-bound-positive", policy.update.norm_bound, ">=", 1, "B is at least one unit"),
        Inequality("norm-bound-limit", bound, "<=", MAXIMUM_NORM_BOUND, "W B is at most 2^40"),
        Inequality("fraction-bits", bits, "<=", LARGEST_FRACTION_BITS, "one unit is 2^-fraction_bits"),
        Inequality("coordinate-scales", _misplaced_scales(policy), "=", 0, "scales are other powers of two, in order"),
        Inequality("plaintext-int64", plaintext, "<", 2**63, "the published aggregate fits an int64: n W B < 2^63"),
        Inequality("projections", policy.projections, ">=", LEAST_PROJECTIONS, "(3/4)^k is at most 2^-149"),
        _wrap_condition(policy),
    ]


def _misplaced_scales(policy: Policy) -> int:
    """How many scales are out of their range, empty, of no coordinate, or begin before the one before ends."""
    wrong, end = 0, 0
    for each in policy.update.scales:
        wrong += not end <= each.start < each.stop <= policy.dimension
        wrong += each.exponent > LARGEST_EXPONENT or each.exponent == SCALE_BIAS
        end = each.stop
    return wrong


def _draw_conditions(policy: Policy) -> list[Inequality]:
    if policy.per_round is None:
        return []
    apart = "whom a draw leaves out is not in the cohort after it: consecutive cohorts differ by a few"
    most = min(policy.max_cohort, len(training_clients(policy)))
    within = int(policy.min_cohort <= policy.per_round <= most)
    return [
        Inequality("per-round", within, "=", 1, f"a draw of {policy.min_cohort} to {most} clients makes a cohort"),
        Inequality("per-round-consecutive", int(policy.strict_consecutive), "=", 0, apart),
    ]


def _wrap_condition(policy: Policy) -> Inequality:
    """The argument's own limits, from the argument (spec 5.3); the largest of them is shown."""
    explanation = "the argument's relations hold over the integers: both sides of each stay below ord / 2"
    try:
        argument = argument_parameters(policy)
    except Misuse as error:
        return Inequality("argument", 1, "=", 0, str(error))
    return Inequality("argument", max(bound.left for bound in argument.wrap_bounds), "<", ORDER, explanation)


def _lattice_conditions(policy: Policy) -> list[Inequality]:
    rule, moduli = policy.lattice, MODULI if policy.noise is None else (*SMALL_MODULI, *MODULI)
    return [
        Inequality("degree", rule.degree, "=", DEGREE, "N is fixed"),
        Inequality("modulus", int(rule.modulus in moduli), "=", 1, "q is one of the fixed list of spec 6.1"),
        Inequality("lattice-security", security_of(rule), ">=", SECURITY_FLOOR, "classical bits by core-SVP, spec 6.2"),
        *_hiding_conditions(policy),
        *_scale_conditions(policy),
    ]


def _hiding_conditions(policy: Policy) -> list[Inequality]:
    """That the proof of privacy says something of every server (spec 11.4)."""
    if policy.noise is None or policy.privacy_budget is None:
        return []
    try:
        guesses = guesses_of(policy)
    except Misuse as error:
        return [Inequality("noise-hiding", 1, "=", 0, str(error))]
    left = (
        f"the proof against a server that chooses the cohort last makes 2^{guesses} guesses, of which the estimate of "
        f"RLWE is to leave {MARGIN_BITS} bits: lower or raise min_cohort, or draw fewer clients by per_round"
    )
    return [Inequality("noise-hiding", guesses + MARGIN_BITS, "<=", security_of(policy.lattice), left)]


def _scale_conditions(policy: Policy) -> list[Inequality]:
    rule, n, bound = policy.lattice, policy.max_cohort, policy.weights.largest * message_bound(policy.update)
    scale = rule.plaintext_scale
    if policy.noise is not None:
        widest = 2 * n * (bound + widest_noise(policy.noise))
        return [
            Inequality("noise-scale", scale, "=", 1, "T = 1: the noise is the error of the encryption"),
            Inequality("decryption", widest, "<", rule.modulus, "n (W max|m| + E_n) < q / 2: no sum wraps around q"),
        ]
    error = noise_bound(rule) * scale + bound
    return [
        Inequality("scale-power", scale.bit_count(), "=", 1, "T is a power of two"),
        Inequality("scale", scale, ">", 2 * n * bound, "T > 2 n W max|m|: the summed message is read modulo T"),
        Inequality("decryption", 2 * n * error, "<", rule.modulus, "n (E T + W max|m|) < q / 2: no sum wraps around q"),
    ]


def _error_conditions(policy: Policy) -> list[Inequality]:
    rule = policy.lattice
    digits = policy.max_cohort * noise_bound(rule)
    return [
        Inequality("sigma", rule.sigma_tenths, "=", SIGMA_TENTHS, "sigma is fixed at 6.6"),
        Inequality("tail", rule.tail, "=", TAIL, "samples are truncated to [-86, 86]"),
        Inequality("key-digits", digits, "<", KEY_DIGIT_LIMIT, "n E < 2^23: a summed key digit is 24 bits, signed"),
    ]


def _step_conditions(policy: Policy) -> list[Inequality]:
    explanation = "the server step's rule is known and its constants are in range"
    floor = "the step after a mean update of full length moves the model by 2^-16 of it, and by 2^-16, or more"
    ceiling = "learning rates <= 2^16, and with an epsilon learning rate B <= 2^64 epsilon: no step overflows"
    try:
        step_constants(policy.step)
        moves, stays = step_floor(policy), step_ceiling(policy)
    except Rejected as error:
        return [Inequality("step", 1, "=", 0, f"{explanation}: expected {error.expected}, found {error.found}")]
    return [
        Inequality("step", 0, "=", 0, explanation),
        Inequality("step-floor", int(moves), "=", 1, floor),
        Inequality("step-ceiling", int(stays), "=", 1, ceiling),
    ]


def security_of(rule: LatticeRule) -> int:
    """Bits of the estimate of 6.2 and 11.1; 0 where there is none."""
    if rule.degree != DEGREE:
        return 0
    bits = rule.modulus.bit_length()
    return next((estimate for largest, estimate in SECURITY_BITS.items() if bits <= largest), 0)
