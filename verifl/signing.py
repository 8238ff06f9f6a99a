"""From the enrolment document and the training configuration to the signed policy."""

from __future__ import annotations

from pathlib import Path

from proofs.errors import Misuse, Rejected
from protocols.envelopes import seal_policy
from protocols.identities import SigningKey
from protocols.pinned import PinnedPolicy
from protocols.server_steps import encode_model
from verifl.config import read_config
from verifl.enrolment import TrainedModel, make_policy
from verifl.plan import Plan, plan_policy, tensor_filter
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
