"""What issuer and parties sign around a run: the policy before it, revocations and rotations while it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proofs.errors import Misuse, Rejected
from protocols.envelopes import open_envelope, open_policy, seal, seal_policy, seal_rotation
from protocols.hashes import sha256
from protocols.identities import SigningKey
from protocols.membership import changed_by
from protocols.messages import ISSUER, Revocation
from protocols.noise import carried_budgets
from protocols.pinned import PinnedPolicy
from protocols.steps.step import encode_model
from verifl.config import Config, read_config
from verifl.enrolment.changes import log_in, membership_of, published_changes
from verifl.enrolment.pins import Pins, task_hash
from verifl.enrolment.policies import TrainedModel, make_policy, read_policy_file
from verifl.enrolment.roster import Roster, missing
from verifl.tasks.bare_models import named_model
from verifl.tasks.base import Task
from verifl.tasks.loading import client_names, load_task

if TYPE_CHECKING:
    from protocols.steps.doubles import Doubles
    from verifl.enrolment.former import FormerEnd
    from verifl.training.local_training import LocalTraining


@dataclass(frozen=True)
class SignedPolicy:
    """What the issuer gives out: the policy, and the model before the first round as a safetensors file."""

    policy_file: bytes
    initial_file: bytes


def sign_policy(
    roster: Roster,
    config_file: Path,
    key: SigningKey,
    model_name: str | None = None,
    *,
    pin_task: bool = False,
    former: FormerEnd | None = None,
) -> SignedPolicy:
    """The policy of `roster` for the training in `config_file`, signed by its issuer, whether its conditions hold or
    not: `verifl.planning.plan` says that.

    pin_task: whether clients may train by just this task file. former: the federation that this one continues; it
    starts from that one's final model. The model is built as a run builds it, to know tensors and initial weights;
    nothing is trained. It is the task's, or that of `model_name` (`named_model`), where the configuration has no task.
    Raises Misuse naming what is missing.
    """
    from verifl.training.initial_files import initial_file
    from verifl.training.local_training import LocalTraining
    from verifl.training.tensors import tensor_filter

    if lacking := missing(roster):
        raise Misuse(f"roster: missing: {'; '.join(lacking)}")
    config = read_config(config_file, needs_task=model_name is None)
    task = _task(roster, config, config_file.parent, model_name)
    training = LocalTraining(task, tensor_filter(config), "cpu", config.federation.seed)
    initial = training.initial() if former is None else _continued(training, former)
    file = initial_file(training, initial)
    pins = Pins(
        task_hash(config, config_file.parent) if pin_task else None,
        hashlib.sha256(file).digest(),
        None if former is None else former.link,
        () if former is None else carried_budgets(former.pinned.policy, former.end.charges),
    )
    model = TrainedModel.of(training.layout.specs, training.layout.dimension, encode_model(initial))
    policy = make_policy(roster, config, model, key.public_key, pins)
    if former is not None:
        former.check(policy)
    return SignedPolicy(seal_policy(policy, key), file)


def _continued(training: LocalTraining, former: FormerEnd) -> Doubles:
    """The final model of another federation, if this one trains such a model."""
    expected = former.pinned.policy.dimension
    if training.layout.dimension != expected:
        raise Misuse(
            f"--continues: previous-dimension: expected a model of {expected} coordinates, as the final one has, found "
            f"{training.layout.dimension}"
        )
    return former.model


def _task(roster: Roster, config: Config, folder: Path, model_name: str | None) -> Task[Any]:
    """What the configuration trains, for all clients of the roster; or a model only."""
    if model_name is not None:
        if config.task is not None:
            raise Misuse("--model: the configuration has a [task], whose model it is; give one of the two")
        names = sorted(each.id for each in roster.clients)
        return named_model(model_name, names, config.federation.seed)
    task = load_task(config, folder)
    _check_clients(roster, client_names(task))
    return task


def policy_in(path: Path) -> PinnedPolicy:
    """The policy in a file, or in the directory of a run; whether it is sound is not looked at."""
    data = read_policy_file(path)
    return PinnedPolicy(open_policy(data)[0], data, sha256(data))


def revocation(path: Path, party: str, reason: str, key: SigningKey) -> bytes:
    """The entry that revokes a party of the policy, or of the log, in `path`.

    Raises Misuse for a key that is not the issuer's, or a party it cannot revoke.
    """
    pinned = policy_in(path)
    if key.public_key != pinned.policy.issuer_key:
        raise Misuse(f"key: expected that of the policy's issuer, {pinned.policy.issuer_key.hex()}")
    entry = seal(Revocation(pinned.policy.federation, pinned.hash, party, reason), ISSUER, key)
    _check(path, pinned, entry)
    return entry


def rotation(path: Path, party: str, old: SigningKey, new: SigningKey) -> bytes:
    """The entry that replaces the key of a party of the policy, or of the log, in `path`.

    Raises Misuse where `old` is not the key in force there, or `new` is or was somebody's.
    """
    pinned = policy_in(path)
    entry = seal_rotation(pinned.policy.federation, pinned.hash, party, old, new)
    _check(path, pinned, entry)
    return entry


def _check(path: Path, pinned: PinnedPolicy, entry: bytes) -> None:
    """Whether the log could take this change, as far as `path` tells."""
    try:
        logged = published_changes(path)  # none where there is no log
        members = membership_of(pinned, logged.entries)
        changed_by(pinned, members, members.count, entry, open_envelope(entry), logged.settled)
    except Rejected as error:
        newer = error.check == "rotation-previous" and log_in(path) is None
        advice = "; if the log has changed it since, give the transcript as --policy" if newer else ""
        raise Misuse(f"{error}{advice}") from None


def _check_clients(roster: Roster, names: Sequence[str]) -> None:
    if strangers := sorted({each.id for each in roster.clients} - set(names)):
        raise Misuse(f"task: has no client {strangers[0]!r}, whom the roster enrols; it has {', '.join(names)}")
