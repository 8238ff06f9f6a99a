"""Enrolment: from who takes part and what is trained to the signed policy that everybody pins (spec 4.1).

There is one way to a policy, `make_policy`. In a deployment each party makes its own key, the roster names the public
halves, and the issuer signs (`verifl roster sign`). Where nobody was enrolled, `enrol` makes all keys itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected
from proofs.parameters import LEAST_PROJECTIONS
from proofs.randomness import Randomness
from protocols.derivation import derive_lattice, derive_update
from protocols.encoding import POLICY_LIMIT
from protocols.envelopes import open_policy, seal_policy
from protocols.identities import SigningKey
from protocols.membership import Membership
from protocols.messages import COORDINATOR, ISSUER
from protocols.noise_derivation import with_noise
from protocols.noise_trustees import TRUSTEES, noise_trustees
from protocols.pinned import PinnedPolicy
from protocols.policy import FormerBudget, Member, Policy, TensorSpec
from verifl.config import Config, LimitsConfig
from verifl.enrolment.changes import NONE_LOGGED, LoggedChanges, follow_changes, keys_of, membership_of
from verifl.enrolment.coordinate_groups import bounded, scaled
from verifl.enrolment.pins import NOTHING_PINNED, Pins
from verifl.enrolment.policy_words import decided_by, in_words
from verifl.enrolment.roster import LogTable, Roster, ThresholdsTable, make_roster, roster_of
from verifl.strategies.privacy import PrivacyConfig, honest_among, noisy_fraction_bits, privacy_budget
from verifl.strategies.rules import check_step, step_rule
from verifl.strategies.weights import weight_rule


@dataclass(frozen=True)
class TrainedModel:
    """What a policy says of the model: its travelling tensors, d coordinates in all, and SHA-256 of the initial one."""

    tensors: tuple[TensorSpec, ...]
    dimension: int
    initial: bytes

    @classmethod
    def of(cls, tensors: Sequence[TensorSpec], dimension: int, model: bytes) -> TrainedModel:
        """model: the encoded initial model."""
        return cls(tuple(tensors), dimension, hashlib.sha256(model).digest())


@dataclass(frozen=True)
class Enrolment:
    """policy_file: the signed policy byte for byte. The keys are secret; those of trustees and clients are by id.

    issuer: None where the policy came from elsewhere. own_keys: whether all keys were made for this run. Whoever was
    revoked is missing, and of the clients who is about to be: it is asked for nothing more; successors are the further
    keys of parties that rotated theirs. changes: rotations and revocations that are to be logged.
    """

    policy: Policy
    policy_file: bytes
    issuer: SigningKey | None
    coordinator: SigningKey
    trustees: Mapping[str, SigningKey]
    clients: Mapping[str, SigningKey]
    own_keys: bool = True
    successors: Mapping[str, tuple[SigningKey, ...]] = field(default_factory=dict)
    changes: tuple[bytes, ...] = ()


def make_policy(
    roster: Roster, config: Config, model: TrainedModel, issuer_key: bytes, pins: Pins = NOTHING_PINNED
) -> Policy:
    """The policy of these parties for this training, not signed yet.

    The roster decides on names, thresholds and limits. Raises Misuse, naming the field, where the configuration
    explicitly says otherwise, where the roster lacks somebody, or where the bit budget does not fit.
    """
    _check_agreement(roster, config)
    trustees, clients = roster.trustee_members(), roster.client_members()
    if roster.log is None:
        raise Misuse("roster: log: missing; `verifl roster add log ORIGIN PUBLICKEY --roster FILE` names it")
    if len(clients) < roster.limits.min_cohort:
        raise Misuse(
            f"limits.min_cohort: expected at most the number of clients, {len(clients)}, found "
            f"{roster.limits.min_cohort}"
        )
    if (roster.limits.per_round or 0) > len(clients):
        raise Misuse(
            f"limits.per_round: expected at most the number of clients, {len(clients)}, found {roster.limits.per_round}"
        )
    if len(trustees) < roster.thresholds.threshold:
        raise Misuse(f"thresholds.threshold: expected at most the {len(trustees)} trustees, found "
                     f"{roster.thresholds.threshold}")  # fmt: skip
    maximum, rule = roster.limits.largest_cohort(len(clients)), config.update
    if config.privacy is not None and config.privacy.by == TRUSTEES:
        _check_apart(clients, trustees, roster.limits)
        clients, maximum = _with_trustees(clients, trustees), maximum + len(trustees)
    with _field("update.clip_norm, update.fraction_bits"):
        plain = derive_update(model.dimension, rule.clip_norm, _fraction_bits(config, model.dimension))
    weights = weight_rule(config.weights)
    update = bounded(scaled(plain, rule, model.tensors), rule, model.tensors, weights.largest)
    with _field("limits.max_cohort"):
        lattice = derive_lattice(update, maximum, rule.encryption_proof, weights.largest)
    policy = Policy(
        federation=roster.federation.name,
        origin=roster.log.origin,
        log_key=roster.log.key,
        issuer_key=issuer_key,
        trustees=trustees,
        threshold=roster.thresholds.threshold,
        corrupt=roster.thresholds.corrupt,
        roster=clients,
        min_cohort=roster.limits.min_cohort,
        max_cohort=maximum,
        per_round=roster.limits.per_round,
        max_rounds=roster.limits.max_rounds,
        max_aborts=roster.limits.max_aborts,
        strict_consecutive=roster.limits.strict_consecutive,
        tensors=model.tensors,
        dimension=model.dimension,
        initial_model=model.initial,
        update=update,
        lattice=lattice,
        step=step_rule(config.server, config.federation.rounds),
        projections=LEAST_PROJECTIONS,
        required_checks=config.audit.required,
        approvals=roster.approvals.demanded,
        task=pins.task,
        initial_file=pins.initial_file,
        previous=pins.previous,
        weights=weights,
        noise=None,
        privacy_budget=None,
    )
    if config.privacy is not None:
        policy = _noisy(policy, config.privacy, config.federation.rounds, pins.former_budgets)
    check_step(policy)
    return policy


def _fraction_bits(config: Config, dimension: int) -> int | None:
    if config.privacy is None or config.update.fraction_bits is not None:
        return config.update.fraction_bits
    return noisy_fraction_bits(dimension, config.update.clip_norm)


def _noisy(policy: Policy, rule: PrivacyConfig, rounds: int, former: tuple[FormerBudget, ...]) -> Policy:
    """With the noise that `rounds` rounds of every client need that spent nothing by `former` budgets."""
    honest = honest_among(rule, policy)
    with _field("privacy"):
        return with_noise(policy, replace(privacy_budget(rule), former=former), honest, rounds, rule.by)


def _check_apart(clients: Sequence[Member], trustees: Sequence[Member], limits: LimitsConfig) -> None:
    """What has to hold of those who take part where trustees add the noise."""
    if both := {each.id for each in clients} & {each.id for each in trustees}:
        raise Misuse(f"roster: {min(both)} is trustee and client: trustees who add the noise do not train")
    asked = limits.per_round or len(clients)
    if (found := limits.largest_cohort(len(clients))) < asked:
        raise Misuse(f"limits.max_cohort: expected all {asked} clients of a round with trustees' noise, found {found}")


def _with_trustees(clients: tuple[Member, ...], trustees: tuple[Member, ...]) -> tuple[Member, ...]:
    """The roster where trustees submit noise, too."""
    members = {each.id: each for each in (*clients, *trustees)}
    return tuple(members[name] for name in sorted(members))


def enrol(
    config: Config,
    tensors: Sequence[TensorSpec],
    dimension: int,
    clients: Sequence[str],
    model: bytes,
    rand: Randomness,
) -> Enrolment:
    """Fresh keys for everybody, and a policy for a model of these `tensors`, `dimension` coordinates in all.

    clients: ids, ascending. model: the encoded initial model. Raises Misuse, naming the field of the configuration,
    where the bit budget or the numbers of parties do not fit together.
    """
    trustees = [f"trustee-{number}" for number in range(1, config.trustees.count + 1)]
    _check_clients(config, clients, trustees)
    issuer, coordinator = SigningKey.generate(rand), SigningKey.generate(rand)
    trustee_keys = {name: SigningKey.generate(rand) for name in trustees}
    client_keys = {name: SigningKey.generate(rand) for name in clients}
    public = coordinator.public_key.hex()
    roster = make_roster(
        config.federation.name,
        ThresholdsTable(threshold=config.trustees.threshold, corrupt=config.trustees.corrupt),
        config.limits,
        LogTable(origin=f"verifl.log/{config.federation.name}/{public[:16]}", public_key=public),
        _members(trustee_keys),
        _members(client_keys),
    )
    policy = make_policy(roster, config, TrainedModel.of(tensors, dimension, model), issuer.public_key)
    client_keys |= {name: trustee_keys[name] for name in trustees if name in noise_trustees(policy)}
    return Enrolment(policy, seal_policy(policy, issuer), issuer, coordinator, trustee_keys, client_keys)


def enrolled(
    policy_file: bytes,
    keys: Mapping[bytes, SigningKey],
    config: Config,
    model: TrainedModel,
    clients: Sequence[str],
    logged: LoggedChanges = NONE_LOGGED,
    changes: Sequence[bytes] = (),
) -> Enrolment:
    """The parties of a signed policy, each with its own of `keys` (by public key), about to train `model`.

    clients: those that the task has. logged: the changes in the log that is gone on with; changes: those to come,
    which may be among them. Raises Malformed or Rejected for what is no policy, Misuse where a key is
    missing or the policy was signed for something else than the configuration describes.
    """
    pinned = PinnedPolicy.open(policy_file)
    policy = pinned.policy
    check_training(policy, config, model)
    if config.federation.rounds > policy.max_rounds:
        raise Misuse(f"federation.rounds: the policy allows {policy.max_rounds}, found {config.federation.rounds}")
    coming = tuple(each for each in changes if each not in logged.entries)
    before = membership_of(pinned, logged.entries)
    after = follow_changes(pinned, before, coming, since=logged.settled)
    if strangers := sorted({member.id for member in after.clients(policy)} - set(clients) - noise_trustees(policy)):
        raise Misuse(f"task: has no client {strangers[0]!r}, whom the policy enrols; it has {', '.join(clients)}")
    held = {
        member.id: _keys(keys, member, before, after, (*logged.entries, *coming))
        for member in (*policy.trustees, *policy.roster)
    }
    return Enrolment(
        policy,
        policy_file,
        None,
        _key(keys, "the coordinator", policy.log_key),
        {member.id: held[member.id][0] for member in before.trustees(policy) if held[member.id]},
        {member.id: held[member.id][0] for member in after.clients(policy)},
        own_keys=False,
        successors={party: own[1:] for party, own in held.items() if len(own) > 1},
        changes=coming,
    )


def check_training(policy: Policy, config: Config, model: TrainedModel) -> None:
    """Raises Misuse where a policy was signed for something else than this configuration, task and seed."""
    _check_agreement(roster_of(policy), config, "policy")
    described = make_policy(roster_of(policy), config, model, policy.issuer_key, Pins.of(policy))
    _check_same_training(policy, described)


def read_policy_file(path: Path) -> bytes:
    """A signed policy, byte for byte, from a file or from `policy.cbor` of a directory.

    Raises Misuse, Malformed or Rejected("signature"); the latter two name the file.
    """
    file = path / "policy.cbor" if path.is_dir() else path
    if not file.is_file():
        raise Misuse(f"{file}: no such file, expected a policy (policy.cbor of a run or a transcript)")
    with file.open("rb") as stream:
        data = stream.read(POLICY_LIMIT + 1)
    try:
        open_policy(data)
    except Malformed as error:
        raise Malformed(f"{file}: {error.where}", error.expected, error.found) from None
    except Rejected as error:
        raise Rejected(error.check, error.expected, f"{error.found}, in {file}") from None
    return data


def _keys(
    keys: Mapping[bytes, SigningKey], member: Member, before: Membership, after: Membership, changes: Sequence[bytes]
) -> tuple[SigningKey, ...]:
    """Those of a party's keys, past and future, that are at hand; raises Misuse if one in force is not.

    Of whoever is revoked, or is about to be, none has to be.
    """
    standing = after.standing(member.id)
    if standing is None or standing.public_key is not None:
        for members in (before, after):
            _key(keys, member.id, members.key(member.id, member.public_key))
    return tuple(keys[each] for each in keys_of(member.id, member.public_key, changes) if each in keys)


def _key(keys: Mapping[bytes, SigningKey], whose: str, public_key: bytes) -> SigningKey:
    if public_key not in keys:
        raise Misuse(f"keys: none is that of {whose}, whose public key is {public_key.hex()}")
    return keys[public_key]


def _check_agreement(roster: Roster, config: Config, source: str = "roster") -> None:
    """What the configuration says expressly about the parties is what the roster says, or the policy made of it."""
    both = {
        "federation.name": (config.federation, roster.federation.name),
        "trustees.count": (config.trustees, len(roster.trustees)),
        "trustees.threshold": (config.trustees, roster.thresholds.threshold),
        "trustees.corrupt": (config.trustees, roster.thresholds.corrupt),
        "limits.min_cohort": (config.limits, roster.limits.min_cohort),
        "limits.max_cohort": (config.limits, roster.limits.largest_cohort(len(roster.clients))),
        "limits.per_round": (config.limits, roster.limits.per_round),
        "limits.max_rounds": (config.limits, roster.limits.max_rounds),
        "limits.max_aborts": (config.limits, roster.limits.max_aborts),
        "limits.strict_consecutive": (config.limits, roster.limits.strict_consecutive),
    }
    for where, (table, decided) in both.items():
        name = where.partition(".")[2]
        said = getattr(table, name)
        if name in table.model_fields_set and said not in (decided, None):
            raise Misuse(f"{where}: the {source} decides and says {decided}, found {said}; remove it or make it equal")


def _check_same_training(signed: Policy, described: Policy) -> None:
    for each in dataclasses.fields(Policy):
        there, here = getattr(signed, each.name), getattr(described, each.name)
        if there != here:
            said, found = in_words(each.name, there, here)
            raise Misuse(
                f"policy: {each.name}: signed for {said}, found {found}; the policy was made for another "
                f"configuration, task or seed{decided_by(each.name)}"
            )


def _members(keys: Mapping[str, SigningKey]) -> tuple[Member, ...]:
    return tuple(Member(name, key.public_key) for name, key in keys.items())


@contextmanager
def _field(names: str) -> Iterator[None]:
    """Begin the message of Misuse with the fields of the configuration that it is about."""
    try:
        yield
    except Misuse as error:
        raise Misuse(f"{names}: {error}") from None


def _check_clients(config: Config, clients: Sequence[str], trustees: Sequence[str]) -> None:
    minimum = config.limits.min_cohort
    if len(clients) < minimum:
        raise Misuse(
            f"limits.min_cohort: expected at most the task's {len(clients)} clients, found {minimum}; "
            f"{'lower it, or ' if len(clients) > 1 else ''}add clients to the task"
        )
    taken = sorted({COORDINATOR, ISSUER, *trustees} & set(clients))
    if taken:
        raise Misuse(f"task: client name {taken[0]!r} belongs to another party of the federation; rename the client")
