"""The public Python API: `Federation(task, config, out).run()`."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proofs.errors import Misuse
from proofs.machine.command_line import command_name
from proofs.randomness import Randomness
from protocols.identities import SigningKey
from protocols.key_files import read_key, write_key
from protocols.noise_trustees import noise_trustees, training_clients
from protocols.steps.doubles import Doubles
from protocols.steps.step import encode_model
from verifl.agents.inspection import check_kinds, inspect_run
from verifl.agents.summation import resolve_device
from verifl.carriers.base import Carrier, Parties, RunResult, Session
from verifl.carriers.in_process import InProcess
from verifl.carriers.spending import promised
from verifl.carriers.turns import closed_and_aborted
from verifl.config import Config, checked_config
from verifl.enrolment.approvals import require_approvals
from verifl.enrolment.changes import NONE_LOGGED, logged_changes
from verifl.enrolment.policies import Enrolment, TrainedModel, enrol, enrolled
from verifl.formatting import format_metrics
from verifl.planning.plan import Plan, plan_policy
from verifl.progress import NoProgress, Progress, RoundSummary, Together, finite_or_none
from verifl.reports.console import describe_rounds
from verifl.reports.trackers import require_trackers, tracked
from verifl.storage.party_directory import IDENTITY_FILE
from verifl.storage.run_directory import RunDirectory, require_unused
from verifl.storage.stores import make_private_directory, replacing
from verifl.strategies.weights import weighs
from verifl.tasks.base import StatefulTask, Task
from verifl.tasks.loading import checked_task, client_names
from verifl.training.local_training import LocalTraining
from verifl.training.model_files import AUDITED, model_metadata, write_adapter, write_final
from verifl.training.running_statistics import personal_warnings, statistics_warnings
from verifl.training.tensors import tensor_filter
from verifl.training.workers import Apart, Workers, trained_apart

if TYPE_CHECKING:
    from torch import nn

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class FederationResult:
    """What a run left behind, how its rounds went, and the metrics of the model before the first.

    adapter: for peft, where an adapter is all that was trained. ended: in one line, why the federation was closed
    early; None if it was not. stopped: in one line, why the run stopped early, as [stopping] says; None if it did not.
    spent: in one line, what of the privacy budget is; None without one.
    """

    directory: Path
    policy: Path
    transcript: Path
    model: Path
    metrics: Path
    state: Path
    rounds: tuple[RoundSummary, ...]
    initial_metrics: Mapping[str, float]
    adapter: Path | None = None
    ended: str | None = None
    stopped: str | None = None
    spent: str | None = None

    @property
    def audit_arguments(self) -> list[str]:
        """The command line that audits this transcript against its policy."""
        return audit_command(RunDirectory(self.directory))

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`."""
        names = ("policy", "transcript", "model", *(["adapter"] if self.adapter else []), "metrics", "state")
        return {
            "ended": self.ended,
            "stopped": self.stopped,
            "spent": self.spent,
            "initial_metrics": finite_or_none(self.initial_metrics),
            "rounds": [summary.to_dict() for summary in self.rounds],
            "written": {name: str(getattr(self, name)) for name in names},
            "audit_command": shlex.join(self.audit_arguments),
        }

    def describe(self) -> str:
        """What was written where, and the command that audits it."""
        told = f"{self.spent}\n\n" if self.spent else ""
        return f"{told}{self.describe_files()}\n\naudit it: {shlex.join(self.audit_arguments)}"

    def __str__(self) -> str:
        ended = [why for why in (self.ended, self.stopped) if why is not None]
        return "\n\n".join([describe_rounds(self.initial_metrics, self.rounds), *ended, self.describe()])

    def __repr__(self) -> str:
        return f"<federation in {self.directory}: {closed_and_aborted(self.rounds)}>"

    def _repr_html_(self) -> str:
        """For notebooks."""
        return f"<pre>{escape(str(self))}</pre>"

    def _describe_model(self) -> list[str]:
        audited = self.model.with_name(AUDITED)
        if not audited.exists():
            return [f"{self.model}  the trained model"]
        return [
            f"{self.model}  the trained model as the task finished it: what was evaluated, not what is audited",
            f"{audited}  the trained model as the log has it",
        ]

    def describe_files(self) -> str:
        """What was written where."""
        return "\n".join(
            [
                f"{self.policy}  signed policy: keep it, auditors pin it",
                f"{self.transcript}  the transcript: publish it, it holds no secret",
                *self._describe_model(),
                *([f"{self.adapter}  the adapter by itself, for peft"] if self.adapter else []),
                f"{self.metrics}  metrics of each round",
                f"{self.state}  every party's secrets: publish nothing of it",
            ]
        )


def audit_command(directory: RunDirectory) -> list[str]:
    """How to audit a run from here."""
    return [command_name("verifl-audit"), str(directory.transcript), "--policy", str(directory.policy)]


@dataclass(frozen=True)
class IssuedPolicy:
    """Whom an issuer enrolled: the policy file byte for byte, and the keys of its parties, by public key.
    approvals: those that the policy demands, needed to begin."""

    policy_file: bytes
    keys: Mapping[bytes, SigningKey]
    approvals: bytes = b""


class Federation:
    """A task under a configuration, to be run once into a new directory.

    device: `auto`, `cpu` or `cuda`, for training and summation. progress: see `verifl.progress`; silent by default.
    callbacks: further ones, which hear the same; see `verifl.Callback`.
    carrier: how the parties are asked; all in this process by default. rand: where keys, masks and noise come from.
    issued: a signed policy and its parties' keys; by default all are made for this run. changes: rotations and
    revocations, signed entries, to be logged before the next round. promise: a line that is told before the first round
    that this run plays, when all that a resumption needs is there. apart: processes that train the clients of the
    configuration's task, if this one does not. `began`: whether the run was not refused.
    """

    def __init__(
        self,
        task: Task[Any] | StatefulTask[Any],
        config: Config,
        out: Path | str,
        *,
        device: str = "auto",
        progress: Progress | None = None,
        callbacks: Sequence[Progress] = (),
        carrier: Carrier | None = None,
        rand: Randomness = os.urandom,
        issued: IssuedPolicy | None = None,
        changes: Sequence[bytes] = (),
        promise: str = "",
        apart: Apart | None = None,
    ) -> None:
        self._apart = apart
        self._promise, self.began = promise, False
        self._issued, self._changes = issued, tuple(changes)
        self._task = checked_task(task, "task")
        self._config = checked_config(config)
        self._directory = RunDirectory(Path(out))
        self._device = device
        self._progress = Together((progress or NoProgress(), *callbacks))
        self._carrier = carrier or InProcess()
        self._rand = rand

    def run(self, resume: bool = False) -> FederationResult:
        """Train all rounds and write policy, transcript, model, metrics and each party's state.

        resume: go on in a directory where a run was killed or failed, from the last complete step; or begin, where
        there is none. Task and configuration must be what they were, but for the number of rounds.
        Everything that can be wrong with the configuration raises Misuse before anything is written. A client whose
        training fails, or that abstains, drops out of the round. If a new run fails by its task before any client has
        submitted anything, nothing is left behind; whatever else happens, all that was done stays. Raises
        Rejected("too-few-submissions") where too few clients could take part twice in a row.
        """
        directory = self._directory
        require_trackers(self._config.report)
        if resume:
            directory.require_honest()
            directory.require_policy()
        if resume and directory.begun:
            return self._resume()
        if resume and directory.is_abandoned():
            _clear_abandoned(directory)
        require_unused(directory.path)
        device = resolve_device(self._device)
        training = self._training(device)
        initial = training.initial()
        enrolment, plan = self._enrol(training, encode_model(initial), self._issued)
        if self._issued is not None:
            require_approvals(plan.pinned, self._issued.approvals)
        self._begin(training, plan, device)
        existed = directory.path.exists()
        directory.create()
        with directory.locked():
            try:
                _write_enrolment(directory, enrolment)
                return self._engage(training, initial, enrolment, plan, device)
            except Misuse as error:
                if _clear_unless_useful(directory, existed, enrolment.own_keys):
                    self._progress.note(f"kept: {directory.path}, with all that its parties have said")
                else:
                    path = directory.path
                    error.add_note(
                        f"nobody had submitted anything, so {path} is left as it was; correct task or configuration"
                    )
                raise

    def _resume(self) -> FederationResult:
        directory = self._directory
        policy_file = directory.policy.read_bytes()
        device = resolve_device(self._device)
        check_kinds(directory)
        with directory.locked():
            inspect_run(directory, self._changes)
            training = self._training(device)
            initial = training.initial()
            issued = self._earlier_policy(policy_file)
            enrolment, plan = self._enrol(training, encode_model(initial), issued)
            directory.tidy()
            self._begin(training, plan, device)
            return self._engage(training, initial, enrolment, plan, device)

    def _training(self, device: str) -> LocalTraining:
        config = self._config
        return LocalTraining(
            self._task,
            tensor_filter(config),
            device,
            config.federation.seed,
            weighed=weighs(config.weights),
            rounds=config.federation.rounds,
        )

    def _earlier_policy(self, policy_file: bytes) -> IssuedPolicy:
        """Of the run to be resumed: those given again, or those whose keys it made itself."""
        where = self._directory
        if self._issued is not None:
            if self._issued.policy_file != policy_file:
                raise Misuse(f"{where.path}: was begun under another policy than the one given; give {where.policy}")
            return self._issued
        files = sorted(where.state.rglob(IDENTITY_FILE))
        if not files:
            raise Misuse(f"{where.path}: its keys are not here; give --policy {where.policy} and --keys as before")
        keys = [read_key(path) for path in files]
        return IssuedPolicy(policy_file, {key.public_key: key for key in keys})

    def _engage(
        self, training: LocalTraining, initial: Doubles, enrolment: Enrolment, plan: Plan, device: str
    ) -> FederationResult:
        with (
            tracked(self._config.report, plan.pinned, self._progress) as progress,
            self._trained_apart(training, enrolment) as apart,
        ):
            return self._play(training, initial, enrolment, plan, device, progress, apart)

    def _trained_apart(self, training: LocalTraining, enrolment: Enrolment) -> AbstractContextManager[Workers | None]:
        if self._apart is None:
            return nullcontext()
        training_names = [name for name in enrolment.clients if name not in noise_trustees(enrolment.policy)]
        return trained_apart(training, self._config, self._apart, training_names)

    def _play(
        self,
        training: LocalTraining,
        initial: Doubles,
        enrolment: Enrolment,
        plan: Plan,
        device: str,
        progress: Progress,
        apart: Workers | None,
    ) -> FederationResult:
        directory = self._directory
        session = Session(
            config=self._config,
            training=training,
            initial=initial,
            pinned=plan.pinned,
            changes=enrolment.changes,
            directory=directory,
            device=device,
            progress=progress,
            rand=self._rand,
            promise=self._promise,
            approvals=b"" if self._issued is None else self._issued.approvals,
            apart=apart,
        )
        result = self._carrier.run(session, Parties.of(enrolment, directory))
        adapter = _write_model(directory, training, result, plan, progress)
        return self._result(result, adapter)

    def _enrol(self, training: LocalTraining, model: bytes, issued: IssuedPolicy | None) -> tuple[Enrolment, Plan]:
        layout, clients = training.layout, client_names(self._task)
        if issued is None and self._changes:
            raise Misuse("change: there is no policy yet that it could change; give --policy and --keys")
        if issued is None:
            enrolment = enrol(self._config, layout.specs, layout.dimension, clients, model, self._rand)
        else:
            described = TrainedModel.of(layout.specs, layout.dimension, model)
            logged = logged_changes(self._directory) if self._directory.begun else NONE_LOGGED
            given = (issued.policy_file, issued.keys)
            enrolment = enrolled(*given, self._config, described, clients, logged, self._changes)
        plan = plan_policy(enrolment.policy_file)
        plan.require()
        return enrolment, plan

    def _begin(self, training: LocalTraining, plan: Plan, device: str) -> None:
        """Nothing is refused from here on."""
        self.began = True
        policy, clients = plan.policy, training_clients(plan.policy)
        self._progress.note(
            f"federation {policy.federation}: {len(clients)} clients, {len(policy.trustees)} trustees of whom "
            f"{policy.threshold} open a sum, model of {policy.dimension:,} coordinates on {device}"
        )
        for line in promised(plan.pinned, self._config.says_who_colludes):
            self._progress.note(line)
        for note in plan.privacy.notes() if plan.privacy is not None else ():
            _LOGGER.warning("%s", note, extra={"fields": {"event": "privacy"}})
        told = statistics_warnings(training.statistics, training.finishes)
        for warning in (*told, *personal_warnings(training.personal, training.finishes)):
            _LOGGER.warning("%s", warning, extra={"fields": {"event": "statistics"}})

    def _result(self, result: RunResult, adapter: Path | None) -> FederationResult:
        where = self._directory
        return FederationResult(
            where.path,
            where.policy,
            where.transcript,
            where.model,
            where.metrics,
            where.state,
            result.rounds,
            result.initial,
            adapter,
            result.ended,
            result.stopped,
            result.spent,
        )


def _write_enrolment(directory: RunDirectory, enrolment: Enrolment) -> None:
    """The keys that were made for this run (those that came from elsewhere stay there), and last the policy: with it,
    everything is there that a resumption needs."""
    if enrolment.own_keys:
        parties = {directory.coordinator: enrolment.coordinator}
        parties |= {directory.trustee(name): key for name, key in enrolment.trustees.items()}
        parties |= {directory.client(name): key for name, key in enrolment.clients.items()}
        if enrolment.issuer is not None:
            parties[directory.issuer] = enrolment.issuer
        for party, key in parties.items():
            make_private_directory(party.path)
            write_key(party.identity, key)
    with replacing(directory.policy) as temporary:
        temporary.write_bytes(enrolment.policy_file)


def _write_model(
    directory: RunDirectory, training: LocalTraining, result: RunResult, plan: Plan, progress: Progress
) -> Path | None:
    """The model as the participants' dtypes hold it; and an adapter, where nothing else was trained: its folder."""
    model = write_final(training, result.model, directory.model, model_metadata(plan.pinned))
    adapter = None
    try:
        adapter = write_adapter(model, training.layout, directory)
    except Misuse as error:
        progress.note(f"no {directory.adapter}: {error}")
    if training.finishes:
        _check_reported(training, model, result)
    return adapter


def _check_reported(training: LocalTraining, written: nn.Module, result: RunResult) -> None:
    """That the last figures are of the model that was written; it may be changed by this."""
    closed = [summary for summary in result.rounds if summary.aborted is None]
    if not closed:
        return
    found = training.judge(written, closed[-1].round)
    if finite_or_none(found) != finite_or_none(closed[-1].metrics):
        _LOGGER.warning(
            "round %d: reported %s, and the model that was written has %s: finish() or evaluate() does another thing "
            "each time; take randomness from torch, numpy and random, which are seeded for each call",
            closed[-1].round,
            format_metrics(closed[-1].metrics),
            format_metrics(found),
            extra={"fields": {"event": "finished-differently", "round": closed[-1].round}},
        )


def _clear_unless_useful(directory: RunDirectory, existed: bool, own_keys: bool) -> bool:
    """After a mistake in the task: keep what is there once a client submitted, otherwise leave the place as it was.

    What parties have said with keys that outlive the directory stays: whoever began the same policy anew would sign a
    second history of its log.
    """
    if directory.has_submissions:
        return True
    if not own_keys and directory.has_spoken:
        return True
    directory.remove()
    if existed:
        directory.path.mkdir()
    return False


def _clear_abandoned(directory: RunDirectory) -> None:
    """Remove what a run left that was killed before it had a policy: keys that nobody ever heard of."""
    make_private_directory(directory.state)
    with directory.locked():
        if not directory.is_abandoned():
            raise Misuse(f"{directory.path}: another run has begun there")
        directory.remove()
