"""What issuer and parties sign around a run: the policy before it, revocations and rotations while it goes on."""

from __future__ import annotations

from pathlib import Path

from proofs.errors import Misuse, Rejected
from protocols.envelopes import ISSUER, open_envelope, seal, seal_policy
from protocols.identities import SigningKey
from protocols.membership import ENROLLED, changed_by
from protocols.messages import Revocation
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from protocols.server_steps import encode_model
from verifl.config import read_config
from verifl.enrolment import TrainedModel, make_policy
from verifl.plan import Plan, plan_policy, tensor_filter
from verifl.policy_report import read_policy
from verifl.roster import Roster
from verifl.tasks.loading import load_task


def sign_policy(roster: Roster, config_file: Path, key: SigningKey) -> Plan:
    """The policy of `roster` for the training in `config_file`, signed by its issuer.

    The task's model is built as a run builds it, to know tensors and initial weights; nothing is trained. Raises
    Misuse naming what is missing or which condition fails.
    """
    from verifl.local_training import LocalTraining

    config = read_config(config_file)
    task = load_task(config, config_file.parent)
    training = LocalTraining(task, tensor_filter(config), "cpu", config.federation.seed)
    model = TrainedModel.of(training.layout.specs, training.layout.dimension, encode_model(training.initial()))
    policy = make_policy(roster, config, model, key.public_key)
    plan = plan_policy(seal_policy(policy, key))
    plan.require()
    try:
        PinnedPolicy.open(plan.pinned.data)
    except Rejected as error:
        raise Misuse(f"roster: {error}") from None
    return plan


def policy_in(path: Path) -> Policy:
    """The policy in a file, or in the directory of a run."""
    return read_policy(path).policy


def seal_revocation(policy: Policy, party: str, reason: str, key: SigningKey) -> bytes:
    """The entry that revokes a party; raises Misuse for a key that is not the issuer's, or a party it cannot revoke."""
    if key.public_key != policy.issuer_key:
        raise Misuse(f"key: expected that of the policy's issuer, {policy.issuer_key.hex()}")
    entry = seal(Revocation(policy.federation, party, reason), ISSUER, key)
    _check(policy, entry)
    return entry


def check_rotation(policy: Policy, party: str, old: SigningKey, entry: bytes) -> None:
    """Whether a log could take this rotation; one after an earlier rotation can only be judged by whoever has the log.

    Raises Misuse.
    """
    member = next((each for each in (*policy.trustees, *policy.roster) if each.id == party), None)
    if member is None or member.public_key == old.public_key:
        _check(policy, entry)


def _check(policy: Policy, entry: bytes) -> None:
    try:
        changed_by(policy, ENROLLED, 0, entry, open_envelope(entry))
    except Rejected as error:
        raise Misuse(str(error)) from None
