"""What an audit is given: a transcript, and the policy that it is audited against (spec 9.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.arguments import no_policy, read_policy
from auditor.authenticity import foreign_policy
from auditor.findings import Unavailable
from auditor.former import Former
from proofs.errors import Malformed, Misuse, Rejected
from protocols.cohorts import MOST_TRUSTEES
from protocols.conditions import Inequality
from protocols.envelopes import open_policy
from protocols.hashes import sha256
from protocols.lattice.parameters import LatticeParameters
from protocols.log.connection import Remote
from protocols.log.files import Damaged
from protocols.log.reader import TranscriptReader
from protocols.log.snapshot import SnapshotReader
from protocols.log.tiles import bundle_of
from protocols.parameters import argument_parameters, check_policy
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from protocols.privacy.budgets import Budget
from protocols.steps.registry import step_constants

if TYPE_CHECKING:
    from proofs.engine import Engine

Advance = Callable[[int, int], None]

# Conditions of spec 4.5 that may fail without making sizes and arithmetic undefined: the other checks still run.
HARMLESS = frozenset(
    {
        "quorum-intersection",
        "min-cohort",
        "cohort-range",
        "roster-size",
        "per-round",
        "per-round-consecutive",
        "weights-consecutive",
        "max-rounds",
        "max-rounds-limit",
        "cohort-entry",
        "roster-changes",
        "required-checks",
        "approvals",
        "previous-size",
        "previous-name",
        "tensor-names",
        "tensor-types",
        "lattice-security",
        "noise-hiding",
        "decryption",
    }
)
# Conditions on who the parties are; I3 reports these.
IDENTITY = frozenset(
    {
        "trustee-ids",
        "trustee-keys",
        "client-ids",
        "client-keys",
        "roster-order",
        "one-key-per-id",
        "one-id-per-key",
        "role-names",
        "log-key",
        "issuer-key",
    }
)


@dataclass(frozen=True)
class Case:
    """What is audited: the transcript, and what it is audited against. No check changes it.

    step: hears how far a check is. unpinned: whether the policy is the transcript's own. policy_fault: why it does not
    open. conditions: of spec 4, on the policy. foreign: federation and policy of the log, if these are others than the
    audit's. former: the federation that this one continues, where it was given.
    """

    path: Path | Remote
    reader: TranscriptReader
    engine_name: str
    step: Advance
    unpinned: bool
    pinned_policy: PinnedPolicy | None = None
    policy_fault: Malformed | Rejected | None = None
    conditions: tuple[Inequality, ...] = ()
    foreign: tuple[str, bytes] | None = None
    former: Former | None = None

    @classmethod
    def open(
        cls,
        path: Path | Remote,
        policy: Path | bytes | None,
        engine: str,
        step: Advance,
        reader: TranscriptReader | None = None,
    ) -> Case:
        """Open the directory and the policy. Raises OSError where either cannot be read at all, Misuse for a policy
        that was given and is none."""
        if isinstance(path, Path) and not path.is_file():
            next(path.iterdir(), None)  # raises what the system says, if there is no such directory
        reader = reader or (TranscriptReader(path) if isinstance(path, Path) else SnapshotReader(path))
        case = cls(path, reader, engine, step, policy is None)
        try:
            pinned = _pinned(_policy_bytes(case.reader, policy))
            conditions = tuple(check_policy(pinned.policy))
        except (Malformed, Rejected) as error:
            if policy is not None:
                raise no_policy(policy, error) from None
            return replace(case, policy_fault=error)
        other = foreign_policy(case.reader, pinned)
        if policy is None and other is not None:  # nothing is judged by another policy than its Genesis names
            named = f"the policy {other[1].hex()}, which Genesis names"
            return replace(case, policy_fault=Damaged("policy.cbor", named, pinned.hash.hex()))
        return replace(case, pinned_policy=pinned, conditions=conditions, foreign=other)

    @property
    def policy(self) -> Policy:
        """The policy that is audited against."""
        if self.pinned_policy is None:
            raise Unavailable("because I2 failed: the policy does not open")
        return self.pinned_policy.policy

    @cached_property
    def pinned(self) -> PinnedPolicy:
        """The policy with the sizes and parameters that follow from it, which are known to be computable."""
        policy = self.policy
        failing = [each.name for each in self.conditions if not each.holds and each.name not in HARMLESS | IDENTITY]
        if self.pinned_policy is None or failing or len(policy.trustees) > MOST_TRUSTEES:
            raise Unavailable("because I2 failed: the policy's parameters cannot be used")
        try:
            step_constants(policy.step)
            LatticeParameters.from_rule(policy.lattice)
            argument_parameters(policy)
        except (Misuse, Rejected):
            raise Unavailable("because I2 failed: the policy's parameters cannot be used") from None
        return self.pinned_policy

    @property
    def budget(self) -> Budget | None:
        """What each client may spend; None under a policy without a privacy budget."""
        return None if self.policy.privacy_budget is None else self.pinned.budget

    def entry(self, index: int) -> bytes | None:
        """The entry at `index`, as it is in the directory now; None if it cannot be had."""
        bundle = bundle_of(index, self.reader.size)
        return self.reader.some_entries(bundle)[index - bundle.start]

    @property
    def federation(self) -> str | None:
        """The federation's name, if the policy opens."""
        return None if self.pinned_policy is None else self.pinned_policy.policy.federation

    @property
    def policy_hash(self) -> str | None:
        """SHA-256 of the policy file in hexadecimal, if it opens."""
        return None if self.pinned_policy is None else self.pinned_policy.hash.hex()

    @property
    def required(self) -> frozenset[str]:
        """Numbers of the checks that the policy does not allow to be skipped."""
        return frozenset() if self.pinned_policy is None else frozenset(self.pinned_policy.policy.required_checks)

    @cached_property
    def engine(self) -> Engine:
        """The arithmetic, loaded when a check first needs it."""
        from proofs.engines import get_engine

        return get_engine(self.engine_name)

    @property
    def trusted(self) -> tuple[str, ...]:
        """What an unpinned audit takes on the transcript's word."""
        if not self.unpinned:
            return ()
        if self.pinned_policy is None:
            return ("nothing: the transcript's own policy does not open, or is another than its Genesis names",)
        policy = self.policy
        return (
            f"the policy file itself, {self.pinned_policy.hash.hex()}",
            f"its issuer's key, {policy.issuer_key.hex()}",
            f"the log's and coordinator's key, {policy.log_key.hex()}",
            *(f"the key of trustee {member.id}, {member.public_key.hex()}" for member in policy.trustees),
            f"the roster of {len(policy.roster)} clients and their keys",
            f"t = {policy.threshold} of m = {len(policy.trustees)} trustees, at most f = {policy.corrupt} corrupt",
            f"cohorts of {policy.min_cohort} to {policy.max_cohort} clients",
            f"the norm bound, {policy.update.norm_bound} units of 2^-{policy.update.fraction_bits}",
            f"the scales, {len(policy.update.scales)} slices of the vector that have one",
            f"the initial model, {policy.initial_model.hex()}",
        )


def _pinned(data: bytes) -> PinnedPolicy:
    policy, _ = open_policy(data)
    return PinnedPolicy(policy, data, sha256(data))


def _policy_bytes(reader: TranscriptReader, policy: Path | bytes | None) -> bytes:
    """The pinned file's bytes, or the transcript's own; at most one byte more than a policy can have."""
    if policy is None:
        return reader.policy()
    if isinstance(policy, bytes):
        return policy
    return read_policy(policy)
