"""The policy every party and auditor pins (spec 4.1): made at enrolment, signed by its issuer, read by all.

The policy is a signed envelope of type `policy` around one canonical CBOR body, kept as `policy.cbor`. Its hash is the
SHA-256 of that file. Every parameter a verifier uses is read from here, never from what it verifies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated

from protocols.messages import AtMost, Hash32, PartyId, PublicKey, Text

PARAMETER = "parameter"  # trained: moved by the server rule
STATISTIC = "statistic"  # measured: always averaged, whatever the server rule
ROLES = (PARAMETER, STATISTIC)
SCALE_BIAS = 64  # the scale of a ScaleRule is 2^(exponent - 64)
LARGEST_EXPONENT = 2 * SCALE_BIAS


@dataclass(frozen=True)
class Member:
    """A trustee or a client, with the key that is in force until the log says otherwise."""

    id: PartyId
    public_key: PublicKey  # Ed25519


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of the model: its place in the vector follows from those before it."""

    name: Text
    shape: Annotated[tuple[int, ...], AtMost(16)]
    dtype: Annotated[str, AtMost(16)]  # of the participant's tensor: float32, float16, bfloat16, float64
    nonnegative: bool  # a variance: the server step clamps it at zero from below, and the spec says so
    role: Annotated[str, AtMost(16)] = PARAMETER  # one of ROLES


@dataclass(frozen=True)
class CoordinateRule:
    """Coordinates start <= i < stop are at most `bound` units in magnitude; 0 freezes them."""

    start: int
    stop: int
    bound: int


@dataclass(frozen=True)
class ScaleRule:
    """Coordinates start <= i < stop have the scale 2^(exponent - 64): a unit of theirs is that many of the others'."""

    start: int
    stop: int
    exponent: int


@dataclass(frozen=True)
class UpdateRule:
    """What an accepted update is bound to: an L2 norm, and bounds on coordinates where there are any.

    All bounds are on the integers, in which each coordinate is counted in units of its own.
    """

    norm_bound: int  # B, in fixed-point units: exact L2 bound of every accepted update
    fraction_bits: int  # one unit is 2^-fraction_bits, times the scale of its coordinate
    coordinate_bound: int | None  # beta, in units: exact bound of every coordinate outside the groups; null for none
    groups: Annotated[tuple[CoordinateRule, ...], AtMost(4096)]  # ascending, disjoint; empty without coordinate_bound
    scales: Annotated[tuple[ScaleRule, ...], AtMost(4096)] = ()  # ascending, disjoint; 1 outside of them


@dataclass(frozen=True)
class LatticeRule:
    """Parameters of the encryption of updates (spec 6.1)."""

    degree: int  # N = 4096
    modulus: int  # q, from the fixed list of spec 6.1
    plaintext_scale: int  # T, a power of two
    sigma_tenths: int  # 66: discrete Gaussian of sigma 6.6
    tail: int  # 86: samples are truncated to [-tail, tail]
    encryption_proof: bool  # every ciphertext is proved to encrypt what was committed, with bounded noise


@dataclass(frozen=True)
class StepRule:
    """Hyper-parameters are IEEE doubles written as 16 hexadecimal digits of their big-endian bytes."""

    rule: Annotated[str, AtMost(16)]  # see protocols.steps.registry
    learning_rates: Annotated[
        tuple[Annotated[str, AtMost(16)], ...], AtMost(65_536)
    ]  # of round 1, 2, ...; then the last
    beta1: Annotated[str, AtMost(16)] | None
    beta2: Annotated[str, AtMost(16)] | None
    epsilon: Annotated[str, AtMost(16)] | None


@dataclass(frozen=True)
class WeightRule:
    """By what updates are weighed in the sum."""

    kind: Annotated[str, AtMost(16)]  # see protocols.weights
    largest: int  # W: weights are integers from 1 to this; 1 where all are equal
    unit: (
        Annotated[str, AtMost(16)] | None
    )  # a double, as in StepRule: what of a client's data weighs 1; null for equal


@dataclass(frozen=True)
class NoiseLaw:
    """Noise that hides a client's key, and counts for nothing else: its law and bounds, as in AddedNoise."""

    variance: int
    variance_divisor: int
    group_bound: int
    floor: int
    ceiling: int


@dataclass(frozen=True)
class AddedNoise:
    """What is added to every sum, for differential privacy: by each adder, a vector of its own, in units."""

    rule: Annotated[str, AtMost(32)]  # see protocols.noise
    by: Annotated[str, AtMost(16)]  # whose part it is: see protocols.noise
    variance: int  # sigma^2 of each cell, as a fraction in lowest terms: this over the next
    variance_divisor: int
    group_bound: int  # E_n: bounds the root of the sum of squares of every group of cells
    floor: int  # L and U: the sum of squares of all cells is between them
    ceiling: int
    honest: int  # h: of the adders of every cohort, those whose noise is as it should be, and secret
    error: NoiseLaw | None  # of each client where trustees add the noise; null where clients do


@dataclass(frozen=True)
class FormerCharge:
    """In how many closed cohorts of a former federation a client is, by its id."""

    client: PartyId
    cohorts: int


@dataclass(frozen=True)
class FormerBudget:
    """A former federation's rule, and whom it charged how often (spec 4.8)."""

    federation: PartyId
    sensitivity: int  # W B, in its units
    variance: int  # sigma^2 of each of its adders, as in AddedNoise
    variance_divisor: int
    honest: int  # h
    deviation_bits: int  # its eta is at most 2^-this
    own_variance: int  # sigma^2 of the noise that was each client's own, rounded down
    charges: tuple[FormerCharge, ...]  # ascending by client; without those it charged nothing


@dataclass(frozen=True)
class PrivacyBudget:
    """What the rounds of one client may amount to, with the client as the unit (spec 10.1). Decimal fractions, so that
    what people write is what is meant."""

    epsilon_millionths: int
    delta_trillionths: int
    former: Annotated[tuple[FormerBudget, ...], AtMost(1023)] = ()  # those that it goes on with, the first one first


@dataclass(frozen=True)
class FormerFederation:
    """Where another federation's log stood when this one took up its model. size, root: of a checkpoint of that log,
    between rounds."""

    federation: PartyId
    policy: Hash32  # SHA-256 of its policy file
    size: int
    root: Hash32


@dataclass(frozen=True)
class Policy:
    """Everything that is agreed before the first round (spec 4.1); sound only under the conditions of spec 4.2."""

    federation: PartyId
    origin: Text  # of the log's checkpoints, C2SP tlog-checkpoint
    log_key: PublicKey  # signs checkpoints and coordinator messages
    issuer_key: PublicKey  # signs this policy
    trustees: Annotated[tuple[Member, ...], AtMost(64)]
    threshold: int  # t
    corrupt: int  # f
    roster: tuple[Member, ...]  # clients, ascending by id
    min_cohort: int
    max_cohort: int  # n_max
    per_round: int | None  # k: how many clients are drawn for a round; null for all
    max_rounds: int
    max_aborts: int
    strict_consecutive: bool  # consecutive cohorts on different models may not expose a few clients either
    tensors: tuple[TensorSpec, ...]  # in this order the model is one vector of d coordinates
    dimension: int  # d
    initial_model: Hash32
    update: UpdateRule
    lattice: LatticeRule
    step: StepRule
    projections: int  # k of the argument
    required_checks: Annotated[tuple[Annotated[str, AtMost(8)], ...], AtMost(32)]  # may not end as skipped
    approvals: Annotated[tuple[Annotated[str, AtMost(16)], ...], AtMost(2)]  # roles whose members sign this policy, too
    task: Hash32 | None  # SHA-256 of the task file by which clients train; null where it is theirs to choose
    initial_file: Hash32 | None  # SHA-256 of the initial model as a file; null where none was given out
    previous: FormerFederation | None  # whose final model the initial model is
    weights: WeightRule
    noise: AddedNoise | None  # null: sums are exact
    privacy_budget: PrivacyBudget | None  # null without noise


APPROVING = ("client", "trustee")  # roles of which a policy may demand that all members approve it


def approvers(policy: Policy) -> tuple[Member, ...]:
    """Whose approvals the policy demands: its trustees in their order, then its clients; who is both, once."""
    trustees = policy.trustees if "trustee" in policy.approvals else ()
    clients = policy.roster if "client" in policy.approvals else ()
    by_id: dict[str, Member] = {}
    for member in (*trustees, *clients):
        by_id.setdefault(member.id, member)
    return tuple(by_id.values())


def placed(tensors: Sequence[TensorSpec]) -> Iterator[tuple[TensorSpec, int, int]]:
    """Each tensor with the coordinates start <= i < stop that it takes."""
    start = 0
    for spec in tensors:
        stop = start + prod(spec.shape)
        yield spec, start, stop
        start = stop
