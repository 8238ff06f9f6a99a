"""Enrolment: everybody's keys, and the signed policy that all of them and every auditor pin (spec 4.1).

In one process the issuer makes all keys. In a deployment each party makes its own and sends the public half; the
policy is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proofs.errors import Misuse
from protocols.envelopes import COORDINATOR, ISSUER, seal_policy
from protocols.identities import SigningKey
from protocols.parameters import PROJECTIONS, derive
from protocols.policy import Member, Policy, StepRule, TensorSpec
from protocols.server_steps import fedadam, fedavg
from verifl.config import Config, ServerConfig

Randomness = Callable[[int], bytes]


@dataclass(frozen=True)
class Enrolment:
    """policy_file: the signed policy byte for byte. The keys are secret; those of trustees and clients are by id."""

    policy: Policy
    policy_file: bytes
    issuer: SigningKey
    coordinator: SigningKey
    trustees: Mapping[str, SigningKey]
    clients: Mapping[str, SigningKey]


def enrol(
    config: Config,
    tensors: Sequence[TensorSpec],
    dimension: int,
    clients: Sequence[str],
    model: bytes,
    rand: Randomness,
) -> Enrolment:
    """Fresh keys and a policy for a model of these `tensors`, `dimension` coordinates in all.

    clients: ids, ascending. model: the encoded initial model. Raises Misuse, naming the field of the configuration,
    where the bit budget or the numbers of parties do not fit together.
    """
    trustees = [f"trustee-{number}" for number in range(1, config.trustees.count + 1)]
    _check_clients(config, clients, trustees)
    issuer, coordinator = SigningKey.generate(rand), SigningKey.generate(rand)
    trustee_keys = {name: SigningKey.generate(rand) for name in trustees}
    client_keys = {name: SigningKey.generate(rand) for name in clients}
    maximum = config.limits.max_cohort or len(clients)
    update, lattice = derive(dimension, config.update.clip_norm, config.update.fraction_bits, maximum)
    policy = Policy(
        federation=config.federation.name,
        origin=f"verifl.log/{config.federation.name}/{coordinator.public_key.hex()[:16]}",
        log_key=coordinator.public_key,
        issuer_key=issuer.public_key,
        trustees=_members(trustee_keys),
        threshold=config.trustees.threshold,
        corrupt=config.trustees.corrupt,
        roster=_members(client_keys),
        min_cohort=config.limits.min_cohort,
        max_cohort=maximum,
        max_rounds=config.limits.max_rounds,
        max_aborts=config.limits.max_aborts,
        tensors=tuple(tensors),
        dimension=dimension,
        initial_model=hashlib.sha256(model).digest(),
        update=update,
        lattice=lattice,
        step=_step(config.server),
        projections=PROJECTIONS,
        required_checks=config.audit.required,
        weights=None,
        noise=None,
        privacy_budget=None,
    )
    return Enrolment(policy, seal_policy(policy, issuer), issuer, coordinator, trustee_keys, client_keys)


def _members(keys: Mapping[str, SigningKey]) -> tuple[Member, ...]:
    return tuple(Member(name, key.public_key) for name, key in keys.items())


def _check_clients(config: Config, clients: Sequence[str], trustees: Sequence[str]) -> None:
    minimum = config.limits.min_cohort
    if len(clients) < minimum:
        raise Misuse(f"limits.min_cohort: expected at most the task's {len(clients)} clients, found {minimum}")
    taken = sorted({COORDINATOR, ISSUER, *trustees} & set(clients))
    if taken:
        raise Misuse(f"task: client name {taken[0]!r} belongs to another party of the federation; rename the client")


def _step(config: ServerConfig) -> StepRule:
    names = ("learning_rate",) if config.rule == "fedavg" else ("learning_rate", "beta1", "beta2", "epsilon")
    given = {name: value for name in names if (value := getattr(config, name)) is not None}
    return fedavg(**given) if config.rule == "fedavg" else fedadam(**given)
