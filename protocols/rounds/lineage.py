"""Whether the model that a round opened on is what the last round made of it (spec 8.9).

A server that could close a round with any model could repeat it on one that differs by a bit, where the differencing
rule does not see the first cohort, or have all clients train on a model that betrays them. So nobody releases a share
of a round before having replayed the step to its model: the cohort's proofs, the opening of its sum, the server step.
With proofs, as a cohort with a commitment that nobody can open could sum to anything.
"""

from __future__ import annotations

from proofs.engine import Engine
from proofs.errors import Malformed, Rejected
from proofs.verifier import verify_batch
from protocols.blobs import blob_hash
from protocols.opening import check_opening, decode_blindings, decode_plaintext
from protocols.pinned import PinnedPolicy
from protocols.rounds.ledger import LoggedStep
from protocols.steps.step import (
    StepState,
    apply_step,
    decode_model,
    decode_optimizer,
    encode_model,
    encode_optimizer,
    initial_state,
)
from protocols.submissions import BlobSource, claim_of, named_extras, read_blob
from protocols.weights import WeighedSum


def check_step(engine: Engine, pinned: PinnedPolicy, step: LoggedStep, blobs: BlobSource) -> None:
    """Raise Rejected("lineage") unless the step follows from its cohort; Rejected("blob-...") without the evidence."""
    try:
        _check_cohort(engine, pinned, step, blobs)
        plaintext = decode_plaintext(pinned, read_blob(blobs, step.plaintext, pinned.plaintext_size))
        blindings = decode_blindings(pinned, read_blob(blobs, step.blindings, pinned.blindings_size))
        commitments = [read_blob(blobs, each.commitments, pinned.commitments_size) for each in step.submissions]
        check_opening(engine, pinned, plaintext, blindings, commitments)
        total = WeighedSum.of(pinned.policy, plaintext, step.summands)
        before = _state_before(pinned, step, blobs)
        state = apply_step(pinned.policy, before, total.update, total.weight, step.number)
    except Malformed as error:
        raise Rejected("lineage", f"{error.where}: {error.expected}", error.found) from error
    except Rejected as error:
        if error.check.startswith("blob-"):
            raise
        raise Rejected("lineage", f"{error.check}: {error.expected}", error.found) from error
    optimizer = encode_optimizer(state)
    made = (encode_model(state.model),) if optimizer is None else (encode_model(state.model), optimizer)
    found = tuple(blob_hash(each) for each in made)
    if found != step.after:
        raise Rejected("lineage", f"the model {found[0].hex()}", f"{step.after[0].hex()}, or another optimizer state")


def step_blobs(step: LoggedStep) -> tuple[bytes, ...]:
    """What `check_step` reads: of each member all but the ciphertext and the shares."""
    names = [*step.before, step.plaintext, step.blindings]
    for each in step.submissions:
        names += [each.commitments, each.proof, *(name for _, name in named_extras(each))]
        names += [each.share_commitments] if each.noise_commitments is not None else []
    return tuple(names)


def _check_cohort(engine: Engine, pinned: PinnedPolicy, step: LoggedStep, blobs: BlobSource) -> None:
    """Every proof, without its ciphertext: the sum of the commitments is of updates within their bounds."""
    claims = [claim_of(pinned, each, step.seed, blobs, pruned=True) for each in step.submissions]
    for verdict in verify_batch(engine, pinned.argument, claims):
        if verdict is not None:
            raise verdict


def _state_before(pinned: PinnedPolicy, step: LoggedStep, blobs: BlobSource) -> StepState:
    size, dimension = pinned.model_size, pinned.policy.dimension
    model = decode_model(read_blob(blobs, step.before[0], size), dimension)
    if len(step.before) == 1:
        return initial_state(pinned.policy, model)
    moments = decode_optimizer(pinned.policy, read_blob(blobs, step.before[1], pinned.optimizer_size))
    return StepState(model, moments)
