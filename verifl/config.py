"""The configuration of a federation: TOML read into frozen values, everything that can be checked checked at once.

Every error is one line: file, field, what was expected, what was found, and where it helps what to do. Nothing here
needs the model; what does (the bit budget) is checked by `verifl.planning.plan`, still before any training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from math import frexp, log2
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proofs.errors import Misuse
from proofs.parameters import MAXIMUM_NORM_BOUND
from protocols.audit_checks import AUDIT_CHECKS, in_words
from protocols.cohorts import MOST_TRUSTEES
from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.policy import SCALE_BIAS
from protocols.registry import one_of
from protocols.weights import PRIVATE
from verifl.built_in import BUILT_IN_TASKS, FIRST
from verifl.strategies.privacy import PrivacyConfig
from verifl.strategies.rules import ServerConfig
from verifl.strategies.stopping import StoppingConfig, direction
from verifl.strategies.weights import WeightsConfig, weighs
from verifl.tables import PARTY_ID, SHOWN, Finite, Patterns, TomlTable, parse_table, read_toml

LARGEST_CLIP_NORM = float(MAXIMUM_NORM_BOUND)  # in the model's units: without any fraction bits it is the norm bound


def _known_check(name: str) -> str:
    if name not in AUDIT_CHECKS:
        raise ValueError(f"expected a check, {in_words('or')}, found {SHOWN.repr(name)}")
    return name


def _known_task(name: str) -> str:
    if name not in BUILT_IN_TASKS:
        raise ValueError(f"expected {one_of(map(repr, BUILT_IN_TASKS.names))}, found {SHOWN.repr(name)}")
    return name


BuiltInName = Annotated[str, AfterValidator(_known_task)]
CheckId = Annotated[str, AfterValidator(_known_check)]


class FederationConfig(TomlTable):
    """name: of the federation and its log. rounds: to run. close: whether the federation is closed, for good, so that
    another may go on from it: true, behind these rounds; "now", as soon as no round is open. seed: of training only,
    never of the protocol."""

    name: str = Field(default="federation", pattern=PARTY_ID)
    rounds: int = Field(default=3, ge=1, le=65_536)
    close: bool | Literal["now"] = False
    seed: int = Field(default=1, ge=0, lt=2**32)


class TaskConfig(TomlTable):
    """Either a built-in task by `name`, for `clients` sites, or the user's `file`, relative to the configuration.

    also: further files and directories that belong to the file, beside it or below; they are pinned with it.
    public_data: whether everybody may know what is measured of the data.
    """

    name: BuiltInName | None = None
    file: str | None = Field(default=None, min_length=1)
    also: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False, max_length=1000)] = ()
    clients: int = Field(default=8, ge=2, le=1000)
    public_data: bool = False

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.name is None) == (self.file is None):
            found, names = "neither" if self.name is None else "both", ", ".join(BUILT_IN_TASKS.names)
            raise ValueError(f"expected exactly one of `name` ({names}) and `file` (a Python file), found {found}")
        if self.file is None and self.also:
            raise ValueError("`also` belongs to a task file: what is pinned with it")
        if self.file is not None and "clients" in self.model_fields_set:
            raise ValueError("`clients` belongs to the built-in tasks; a task file names its own clients")
        return self


class TrusteesConfig(TomlTable):
    """count: m trustees. corrupt: f, how many may collude with the server. threshold: t, needed to open a sum."""

    count: int = Field(default=5, ge=2, le=MOST_TRUSTEES)
    corrupt: int = Field(default=2, ge=0)
    threshold: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _thresholds(self) -> Self:
        m, f, t = self.count, self.corrupt, self.threshold
        if t > m:
            raise ValueError(
                f"expected threshold <= count, found threshold {t} of {m} trustees; lower the threshold or add trustees"
            )
        if 2 * t <= m + f or f > t - 1:
            smallest = max((m + f) // 2 + 1, f + 1)
            raise ValueError(
                f"expected 2*threshold > count + corrupt and corrupt < threshold (two quorums must share an honest "
                f"trustee), found threshold {t}, count {m}, corrupt {f}; {_advice(m, f, smallest)}"
            )
        return self


def _advice(m: int, f: int, smallest: int) -> str:
    if smallest <= m:
        return f"use threshold {smallest} or more, or fewer corrupt"
    return f"{m} trustees cannot withstand {f} corrupt ones; use corrupt {max(m - 1, 0)} or less"


def _power_of_two(scale: float) -> float:
    mantissa, exponent = frexp(scale)
    if mantissa != 0.5 or abs(exponent - 1) > SCALE_BIAS:
        nearest = min(max(round(log2(scale)) if scale > 0 else 0, -SCALE_BIAS), SCALE_BIAS)
        raise ValueError(f"expected a power of two, 2^-64 to 2^64, such as {2.0**nearest:g}, found {scale:g}")
    return scale


PowerOfTwo = Annotated[Finite, AfterValidator(_power_of_two)]


class GroupConfig(TomlTable):
    """Tensors with a scale, or a bound on every coordinate, of their own: shell patterns over the names of those that
    travel.

    scale: a power of two; the clip norm and the general coordinate_bound are of their changes divided by it, and so is
    the resolution. scales: one for each coordinate of a tensor, in its order, in the place of `scale`.
    coordinate_bound: in the model's units; 0 freezes them, and every client proves that it changes nothing there;
    absent, the general one.
    """

    tensors: Patterns = Field(min_length=1)
    scale: PowerOfTwo = 1.0
    scales: Annotated[tuple[PowerOfTwo, ...], Field(strict=False)] = ()
    coordinate_bound: Finite | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.scales and (self.scale != 1 or self.coordinate_bound is not None):
            raise ValueError("expected `scales` without `scale` and without coordinate_bound; use one of them")
        if self.scale == 1 and not self.scales and self.coordinate_bound is None:
            raise ValueError("expected a scale or a coordinate_bound for these tensors, found neither")
        return self


class UpdateConfig(TomlTable):
    """clip_norm: L2 bound of an update, in the model's units where tensors have no scale; longer ones are scaled back
    to it, and proved to be.

    fraction_bits: one fixed-point unit is 2^-fraction_bits; chosen from the clip norm and d when absent.
    coordinate_bound: bound of every single coordinate, in the model's units; coordinates beyond it are cut, and proved
    to be within it. encryption_proof: every client proves that its ciphertext is what it committed to. groups: tensors
    with another bound than the general one, or a scale; a tensor belongs to the first group that matches it. With
    bounds in groups and no general one, the norm alone bounds the other tensors.
    """

    clip_norm: Finite = Field(default=1.0, gt=0, le=LARGEST_CLIP_NORM)  # a built-in task has a default of its own
    fraction_bits: int | None = Field(default=None, ge=0, le=LARGEST_FRACTION_BITS)
    coordinate_bound: Finite | None = Field(default=None, ge=0)
    encryption_proof: bool = True
    groups: Annotated[tuple[GroupConfig, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _something_moves(self) -> Self:
        if self.coordinate_bound == 0 and not any(group.coordinate_bound for group in self.groups):
            raise ValueError(
                "expected coordinate_bound > 0, found 0, which freezes every tensor that is in no group; give those to "
                "be trained a bound in [[update.groups]], or raise it"
            )
        return self

    @property
    def bounds_coordinates(self) -> bool:
        """Whether there is any bound on coordinates."""
        return self.coordinate_bound is not None or any(each.coordinate_bound is not None for each in self.groups)


class TensorsConfig(TomlTable):
    """Shell patterns over the model's `state_dict` names: which tensors travel; see `verifl.training.tensors`.

    local: what of normalisations with running statistics stays with each client, their statistics (SiloBN) or all of
    them (FedBN). personal: tensors that each client trains for itself and keeps (FedPer).
    """

    include: Patterns = Field(default=("*",), min_length=1)
    exclude: Patterns = ()
    personal: Patterns = ()
    local: Literal["nothing", "statistics", "normalisations"] = "nothing"
    trainable_only: bool = False
    nonnegative: Patterns = ("*running_var",)


class LimitsConfig(TomlTable):
    """What the policy allows: accepted updates in one sum (max_cohort: as many as are drawn when absent), how many
    clients are drawn for a round (per_round: all when absent), rounds, rounds that opened but ended without a sum, and
    whether consecutive cohorts may expose a few clients."""

    min_cohort: int = Field(default=3, ge=2, le=1_000_000)
    max_cohort: int | None = Field(default=None, ge=2, le=1_000_000)
    per_round: int | None = Field(default=None, ge=2, le=1_000_000)
    max_rounds: int = Field(default=1000, ge=1, le=65_536)
    max_aborts: int = Field(default=8, ge=0, le=1_000_000)
    strict_consecutive: bool = False

    def largest_cohort(self, clients: int) -> int:
        """Of so many clients: max_cohort, or else as many as are drawn, or all."""
        return self.max_cohort or self.per_round or clients

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        if self.per_round is None:
            return self
        if self.strict_consecutive:
            raise ValueError(
                "expected strict_consecutive without per_round: whom a draw leaves out is missing from the next "
                "cohort; use one of them"
            )
        if self.per_round < self.min_cohort:
            raise ValueError(
                f"expected per_round >= min_cohort, found per_round {self.per_round} < min_cohort {self.min_cohort}"
            )
        if self.max_cohort is not None and self.per_round > self.max_cohort:
            raise ValueError(
                f"expected per_round <= max_cohort, found per_round {self.per_round} > max_cohort {self.max_cohort}"
            )
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_cohort is not None and self.max_cohort < self.min_cohort:
            raise ValueError(
                f"expected max_cohort >= min_cohort, found max_cohort {self.max_cohort} < min_cohort {self.min_cohort}"
            )
        return self


class AuditConfig(TomlTable):
    """required: checks, by their numbers, that no audit under this policy may skip."""

    required: Annotated[tuple[CheckId, ...], Field(strict=False)] = ()


class DeadlinesConfig(TomlTable):
    """How long a coordinator waits, in seconds from when it asks, where parties are on machines of their own.

    clients, trustees: for the others, once as many have answered as the round needs. give_up: for as many as the round
    needs; then it is given up, where the rules allow it. quorum: for acknowledgements, before a round is given up for
    want of them; no less than any trustee waits. poll: between two looks at the inbox.
    """

    clients: Finite = Field(default=3600, ge=0)
    trustees: Finite = Field(default=60, ge=0)
    give_up: Finite = Field(default=24 * 3600, ge=0)
    quorum: int = Field(default=3600, ge=0)
    poll: Finite = Field(default=1.0, gt=0, le=3600)


class ReportConfig(TomlTable):
    """Whom a run tells of its rounds, beside its own files. tensorboard: a directory, from where the command runs.
    mlflow: the address of a tracking server, or what else MLflow takes for one."""

    tensorboard: str | None = Field(default=None, min_length=1)
    mlflow: str | None = Field(default=None, min_length=1)


class Config(TomlTable):
    """A whole configuration; every table but `task` and `privacy` has defaults. Without `privacy` sums are exact."""

    federation: FederationConfig = FederationConfig()
    task: TaskConfig | None = None
    trustees: TrusteesConfig = TrusteesConfig()
    update: UpdateConfig = UpdateConfig()
    server: ServerConfig = ServerConfig()
    weights: WeightsConfig = WeightsConfig()
    privacy: PrivacyConfig | None = None
    tensors: TensorsConfig = TensorsConfig()
    limits: LimitsConfig = LimitsConfig()
    audit: AuditConfig = AuditConfig()
    deadlines: DeadlinesConfig = DeadlinesConfig()
    stopping: StoppingConfig | None = None
    report: ReportConfig = ReportConfig()

    @classmethod
    def of(cls, **tables: Mapping[str, object]) -> Config:
        """From Python, with the file's keys: Config.of(federation={"rounds": 5}, update={"clip_norm": 0.5}).

        Raises Misuse in the words of `read_config`.
        """
        return parse_config(tables, "configuration")

    @property
    def data_is_public(self) -> bool:
        """Whether everybody may know what is measured of the clients' data: it is declared, or that of a built-in
        task."""
        return self.task is not None and (self.task.public_data or self.task.name is not None)

    @property
    def says_who_colludes(self) -> bool:
        """Whether somebody has said how many clients may tell the server their noise."""
        return self.privacy is not None and "colluding" in self.privacy.model_fields_set

    def __str__(self) -> str:
        """As a TOML file has it, without what is unset."""
        return "\n\n".join(f"[{name}]\n{_toml(table)}" for name, table in self if table is not None)

    def _repr_html_(self) -> str:
        """For notebooks."""
        return f"<pre>{escape(str(self))}</pre>"

    @model_validator(mode="before")
    @classmethod
    def _suiting_the_task(cls, document: object) -> object:
        """A built-in task has a clip norm of its own."""
        if not isinstance(document, Mapping):
            return document
        task, update = document.get("task"), document.get("update", {})
        name = str(task.get("name")) if isinstance(task, Mapping) else ""
        if name in BUILT_IN_TASKS and isinstance(update, Mapping) and "clip_norm" not in update:
            return {**document, "update": {"clip_norm": BUILT_IN_TASKS.find(name).clip_norm, **update}}
        return document

    @model_validator(mode="after")
    def _strict_with_equal_weights(self) -> Self:
        if self.limits.strict_consecutive and weighs(self.weights):
            raise ValueError(
                f'expected limits.strict_consecutive with weights.kind "equal" alone, found "{self.weights.kind}": a '
                "client whose weight changes shows in the difference of two sums of the same clients; use one of them"
            )
        return self

    @model_validator(mode="after")
    def _stopping_without_leaks(self) -> Self:
        if self.stopping is None:
            return self
        try:
            direction(self.stopping.metric, self.stopping.mode, 'stopping.mode = "min" or "max"')
        except Misuse as error:
            raise ValueError(f"stopping.metric: {error}") from None
        noised = self.privacy is not None
        if noised and not (self.stopping.public_data or self.data_is_public):
            raise ValueError(
                "stopping.public_data: not declared, and with [privacy] no number of private data may decide how long "
                "the log is; evaluate on public data and say public_data = true in [stopping], or remove [stopping]"
            )
        return self

    @model_validator(mode="after")
    def _noise_with_what_it_needs(self) -> Self:
        if self.privacy is None:
            return self
        if self.weights.kind == PRIVATE.name:
            raise ValueError(
                'expected weights.kind "equal" with [privacy] (or "declared", of data that task.public_data says are '
                'public), found "private": the sum of the weights would be published without noise'
            )
        if weighs(self.weights) and not self.data_is_public:
            raise ValueError(
                "task.public_data: not declared, and with [privacy] no weight that follows from private data may be "
                'published; use weights.kind = "equal"'
            )
        if not self.update.encryption_proof:
            raise ValueError("expected update.encryption_proof with [privacy]: the noise is part of what it proves")
        return self

    @model_validator(mode="after")
    def _rounds_within_limit(self) -> Self:
        if self.federation.rounds > self.limits.max_rounds:
            raise ValueError(
                f"expected federation.rounds <= limits.max_rounds, found {self.federation.rounds} > "
                f"{self.limits.max_rounds}"
            )
        return self


def _toml(table: TomlTable) -> str:
    """The lines of a table; tables in it are inline."""
    foreign = {"clients"} if isinstance(table, TaskConfig) and table.file is not None else set[str]()
    return "\n".join(
        f"{key} = {_toml_value(value)}" for key, value in table if value is not None and key not in foreign
    )


def _toml_value(value: object) -> str:
    if isinstance(value, TomlTable):
        return f"{{ {', '.join(f'{key} = {_toml_value(each)}' for key, each in value if each is not None)} }}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)  # text, numbers and truth values are spelled alike in both


def checked_config(config: object) -> Config:
    """`config` itself; raises Misuse where it is something else."""
    if not isinstance(config, Config):
        raise Misuse(f"configuration: expected a Config, as Config.of(...) makes it, found {SHOWN.repr(config)}")
    return config


def read_config(path: Path, needs_task: bool = True) -> Config:
    """The configuration in a TOML file; raises Misuse with one line that names file and field."""
    document = read_toml(path, "`verifl init DIR` writes an example configuration", "config.toml")
    config = parse_config(document, str(path))
    if config.task is None and needs_task:
        raise Misuse(f'{path}: task: missing, expected a table [task] with name = "{FIRST}" or file = "task.py"')
    return config


def parse_config(document: Mapping[str, object], where: str) -> Config:
    """The configuration in a parsed document; raises Misuse, naming `where` and the first field that is wrong."""
    return parse_table(Config, document, where)
