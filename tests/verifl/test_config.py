"""Configuration errors: each is one line that names file, field, what was expected and what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from proofs.errors import Misuse
from protocols.audit_checks import in_words
from protocols.registry import one_of
from protocols.steps.registry import SERVER_RULES
from verifl.built_in import BUILT_IN_TASKS
from verifl.config import Config, read_config

TASK = '[task]\nname = "digits"\n'
TASKS, RULES = one_of(map(repr, BUILT_IN_TASKS.names)), one_of(map(repr, SERVER_RULES.names))


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def test_defaults_are_the_demonstration(tmp_path: Path) -> None:
    config = read(tmp_path, TASK)
    assert (config.trustees.count, config.trustees.corrupt, config.trustees.threshold) == (5, 2, 4)
    assert config.tensors.include == ("*",)
    assert config.limits.max_cohort is None


def test_a_full_file(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        federation = { name = "clinics", rounds = 7, seed = 3 }
        task = { file = "task.py" }
                trustees = { count = 7, corrupt = 2, threshold = 5 }
        update = { clip_norm = 2, fraction_bits = 16, groups = [{ tensors = ["*.bias"], coordinate_bound = 0 }] }
        server = { rule = "fedadam", learning_rate = 0.01, beta1 = 0.9, beta2 = 0.99, epsilon = 1e-3 }
        tensors = { include = ["head.*"], exclude = ["*.bias"], trainable_only = true, nonnegative = [] }
        limits = { min_cohort = 3, max_cohort = 20, max_rounds = 10, max_aborts = 0 }
        """,
    )
    assert config.update.clip_norm == 2.0
    assert [(group.tensors, group.coordinate_bound) for group in config.update.groups] == [(("*.bias",), 0.0)]
    assert config.tensors.include == ("head.*",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "task: missing, expected a table [task]"),
        ("[task", "not valid TOML"),
        (TASK + "[federation]\nround = 3", "unknown key 'federation.round'; did you mean 'rounds'?"),
        (TASK + "[trustee]\ncount = 3", "unknown key 'trustee'; did you mean 'trustees'?"),
        (TASK + "[update]\nzzz = 3", "unknown key 'update.zzz'; known here: clip_norm, fraction_bits"),
        ('[task]\nname = "digits"\nclient = 4', "unknown key 'task.client'; did you mean 'clients'?"),
        (TASK + '[federation]\nrounds = "3"', "federation.rounds: expected a valid integer, found '3'"),
        (TASK + "[federation]\nrounds = 3.0", "federation.rounds: expected a valid integer, found 3.0"),
        (TASK + "[federation]\nrounds = true", "federation.rounds: expected a valid integer, found True"),
        (TASK + "[federation]\nrounds = 0", "federation.rounds: expected greater than or equal to 1, found 0"),
        (TASK + '[federation]\nname = "My Clinic"', "federation.name: expected 1 to 64 of a-z, 0-9"),
        (TASK + "federation = 3", "unknown key 'task.federation'"),
        ("federation = 3\n" + TASK, "federation: expected a table [federation], found 3"),
        ('[task]\nname = "mnist"', f"task.name: expected {TASKS}, found 'mnist'"),
        (
            "[task]",
            f"task: expected exactly one of `name` ({', '.join(BUILT_IN_TASKS.names)}) and `file` (a Python file)",
        ),
        ('[task]\nfile = ""', "task.file: expected at least one character, found none"),
        (TASK + "[update]\nclip_norm = 1e300", "update.clip_norm: expected less than or equal to 1099511627776, found"),
        (
            TASK + f'[federation]\nname = "{"a" * 300}"',
            "starting with a letter or digit, found '" + "a" * 37 + "..." + "a" * 38 + "'",
        ),
        ('[task]\nname = "digits"\nfile = "task.py"', "task: expected exactly one of `name`"),
        ('[task]\nfile = "task.py"\nclients = 4', "task: `clients` belongs to the built-in tasks"),
        (TASK + "[limits]\nmin_cohort = 1", "limits.min_cohort: expected greater than or equal to 2, found 1"),
        (
            TASK + "[limits]\nmin_cohort = 9\nmax_cohort = 4",
            "limits: expected max_cohort >= min_cohort, found max_cohort 4",
        ),
        (
            TASK + "[trustees]\nthreshold = 6",
            "trustees: expected threshold <= count, found threshold 6 of 5 trustees; l",
        ),
        (TASK + "[trustees]\nthreshold = 3", "found threshold 3, count 5, corrupt 2; use threshold 4 or more"),
        (TASK + "[trustees]\ncount = 3\ncorrupt = 3\nthreshold = 3", "3 trustees cannot withstand 3 corrupt ones"),
        (TASK + "[update]\nclip_norm = 0", "update.clip_norm: expected greater than 0, found 0"),
        (TASK + "[update]\nclip_norm = nan", "update.clip_norm: expected a finite number, found nan"),
        (TASK + "[update]\nclip_norm = inf", "update.clip_norm: expected a finite number, found inf"),
        (TASK + "[update]\nfraction_bits = 999", "update.fraction_bits: expected less than or equal to"),
        (TASK + "[update]\ncoordinate_bound = -1", "update.coordinate_bound: expected greater than or equal to 0"),
        (TASK + "[update]\ncoordinate_bound = nan", "update.coordinate_bound: expected a finite number, found nan"),
        (TASK + "[update]\ncoordinate_bound = 0", "update: expected coordinate_bound > 0, found 0, which freezes"),
        (
            TASK + '[update]\ncoordinate_bound = 0\ngroups = [{ tensors = ["a"], coordinate_bound = 0 }]',
            "update: expected coordinate_bound > 0, found 0, which freezes",
        ),
        (
            TASK + '[[update.groups]]\ntensor = ["a"]\ncoordinate_bound = 1',
            "unknown key 'update.groups.0.tensor'; did you mean 'tensors'?",
        ),
        (
            TASK + '[[update.groups]]\ntensors = ["a"]\ncoordinate_bound = -1',
            "update.groups.0.coordinate_bound: expected greater than or equal to 0, found -1",
        ),
        (
            TASK + '[[update.groups]]\ntensors = ["a"]\ncoordinate_bound = nan',
            "update.groups.0.coordinate_bound: expected a finite number, found nan",
        ),
        (TASK + '[[update.groups]]\ntensors = ["a"]', "update.groups.0: expected a scale or a coordinate_bound"),
        (
            TASK + '[[update.groups]]\ntensors = ["a"]\nscale = 1000.0',
            "update.groups.0.scale: expected a power of two, 2^-64 to 2^64, such as 1024, found 1000",
        ),
        (
            TASK + '[[update.groups]]\ntensors = ["a"]\nscales = [2.0, 3.0]',
            "update.groups.0.scales.1: expected a power of two, 2^-64 to 2^64, such as 4, found 3",
        ),
        (
            TASK + '[[update.groups]]\ntensors = ["a"]\nscales = [2.0]\nscale = 2.0',
            "update.groups.0: expected `scales` without `scale` and without coordinate_bound",
        ),
        (
            TASK + "[[update.groups]]\ntensors = []\ncoordinate_bound = 1",
            "update.groups.0.tensors: expected at least one, found none",
        ),
        (
            TASK + '[[update.groups]]\ntensors = "a"\ncoordinate_bound = 1',
            "update.groups.0.tensors: expected an array, found 'a'",
        ),
        (
            TASK + '[update.groups]\ntensors = ["a"]\ncoordinate_bound = 1',
            "update.groups: expected tables [[update.groups]], found {",
        ),
        (TASK + "[server]\nbeta1 = 0.9", "server: `beta1` belongs to rule fedavgm, fedadagrad, fedadam or fedyogi"),
        (TASK + '[server]\nrule = "sgd"', f"server.rule: expected {RULES}, found 'sgd'"),
        (TASK + "[tensors]\ninclude = []", "tensors.include: "),
        (TASK + "[tensors]\ninclude = [3]", "tensors.include.0: expected a valid string, found 3"),
        (
            TASK + '[audit]\nrequired = ["I99"]',
            f"audit.required.0: expected a check, {in_words('or')}, found 'I99'",
        ),
        (
            TASK + '[limits]\nstrict_consecutive = true\n[weights]\nkind = "private"\nlargest = 9\nunit = 1.0',
            'expected limits.strict_consecutive with weights.kind "equal" alone, found "private"',
        ),
        (
            TASK + "[federation]\nrounds = 9\n[limits]\nmax_rounds = 8",
            "expected federation.rounds <= limits.max_rounds",
        ),
    ],
)
def test_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        read(tmp_path, text)
    found = str(excinfo.value)
    assert found.startswith(str(tmp_path / "config.toml"))
    assert message in found
    assert "\n" not in found


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbf" + TASK.encode())
    assert read_config(tmp_path / "config.toml") == read(tmp_path, TASK)


def test_several_errors_are_counted(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"\(and 1 more\)"):
        read(tmp_path, TASK + '[federation]\nrounds = 0\nseed = "x"')


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="no such file"):
        read_config(tmp_path / "missing.toml")
    with pytest.raises(Misuse, match="is a directory"):
        read_config(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Misuse, match="expected UTF-8 text, found byte 0xff"):
        read_config(tmp_path / "binary.toml")
