"""The disk cache of compiled kernels, seen from fresh processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

USE_ONE_KERNEL = """
import numpy as np
from proofs.native import NativeEngine
from proofs.native.weighted import ternary_sums
assert NativeEngine().ternary_products(np.array([[1, -1]], np.int8), [5, 3]) == [2]
stats = ternary_sums.stats
print("misses", sum(stats.cache_misses.values()), "hits", sum(stats.cache_hits.values()))
"""

USE_EVERYTHING = """
import numpy as np
from proofs.engine import Block
from proofs.native import NativeEngine, differences, exact, jacobian, points, residues, scalars, weighted
engine = NativeEngine()
table = np.arange(-40, 40).reshape(5, 16) * 1000
frozen = np.frombuffer(table.tobytes(), np.int64).reshape(5, 16)  # not writable
signs = np.ones((3, 5), np.int8), np.frombuffer(bytes(48), np.int8).reshape(3, 16)
for case in (table, frozen, np.asfortranarray(table), np.repeat(table, 2, axis=0)[::2]):
    engine.weighted_columns(case, [1] * 5), engine.weighted_rows(case, [1] * 16)
    decoded = engine.decode_points(engine.commit_rows(case, [1] * 5))
    engine.combination_is_zero(engine.concatenate([decoded, decoded]), [1] * 10, [2] * 3, 4)
    blocks = [Block(case, signs[0], True, 0), Block(frozen[:1], signs[0][:, :1], False, 1)] * 2
    sumcheck = engine.project(blocks, signs[1]).row_sumcheck([1, 2, 3], [[4] * 16, [5] * 16], [6, 7, 8], {1: [9] * 16})
    for _ in range(3):
        sumcheck.sums(), sumcheck.bind(9)
    engine.residue_combinations(abs(case), abs(case[:, :5]), abs(case), 100003)
    engine.adjoint_combinations(abs(case), abs(case[:, :5]), abs(case), 100003)
frozen = np.frombuffer(signs[0].tobytes(), np.int8).reshape(3, 5)
engine.project([Block(table[:1], frozen[:, :1], True, None)], signs[1]).row_sumcheck([1, 2, 3], [], [1], {}).sums()
for case in (signs[0], frozen, np.asfortranarray(signs[0]), np.repeat(signs[0], 2, axis=1)[:, ::2]):
    engine.ternary_products(case, [1] * 5), engine.ternary_combination(case, [1] * 3)
engine.decode_points(bytearray(engine.commit([1, 2], 3)))
modules = (differences, exact, jacobian, points, residues, scalars, weighted)
kernels = [value for module in modules for value in vars(module).values() if hasattr(value, "signatures")]
print([(kernel.__name__, kernel.signatures) for kernel in kernels if len(kernel.signatures) > 1])
"""


def run(code: str, root: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def copied_sources(destination: Path) -> Path:
    shutil.copytree(ROOT / "proofs", destination / "proofs", ignore=shutil.ignore_patterns("__pycache__"))
    return destination


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    first = run(USE_ONE_KERNEL, VERIFL_CACHE_DIR=str(tmp_path / "cache"))
    assert first.stdout.split() == ["misses", "1", "hits", "0"]
    second = run(USE_ONE_KERNEL, VERIFL_CACHE_DIR=str(tmp_path / "cache"))
    assert second.stdout.split() == ["misses", "0", "hits", "1"]
    (line,) = first.stderr.splitlines()
    assert line.startswith("verifl: compiling kernels for this machine, once")
    assert second.stderr == ""


def test_the_cache_directory_is_private(tmp_path: Path) -> None:
    run("import proofs.native.scalars", VERIFL_CACHE_DIR=str(tmp_path / "cache"))
    (keyed,) = (tmp_path / "cache").iterdir()
    assert keyed.stat().st_mode & 0o777 == 0o700


def test_an_edit_in_another_kernel_module_empties_the_cache(tmp_path: Path) -> None:
    """numba itself would miss an edit of proofs/wide.py, and run the old machine code."""
    sources, cache = copied_sources(tmp_path / "sources"), str(tmp_path / "cache")
    run(USE_ONE_KERNEL, sources, VERIFL_CACHE_DIR=cache)
    assert run(USE_ONE_KERNEL, sources, VERIFL_CACHE_DIR=cache).stdout.split()[1] == "0"
    with (sources / "proofs" / "wide.py").open("a") as file:
        file.write("\n# edited\n")
    assert run(USE_ONE_KERNEL, sources, VERIFL_CACHE_DIR=cache).stdout.split()[1] == "1"


def test_without_a_writable_directory_one_line_and_no_cache(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the directory should be")
    finished = run(USE_ONE_KERNEL, VERIFL_CACHE_DIR=str(blocked))
    assert finished.stdout.split() == ["misses", "1", "hits", "0"]
    (line,) = finished.stderr.splitlines()
    assert line.startswith("verifl: compiled code is not cached")
    assert "every process compiles" in line
    assert "VERIFL_CACHE_DIR" in line


def test_other_users_of_numba_compile_in_silence(tmp_path: Path) -> None:
    code = "import numba, proofs.native.points; print(numba.njit(lambda x: x + 1)(1))"
    finished = run(code, VERIFL_CACHE_DIR=str(tmp_path / "cache"))
    assert (finished.stdout, finished.stderr) == ("2\n", "")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no POSIX permissions")
def test_a_directory_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    """The cache is machine code: whoever can write it can run anything as us."""
    run("import proofs.native.scalars", VERIFL_CACHE_DIR=str(tmp_path))
    (keyed,) = tmp_path.iterdir()
    keyed.chmod(0o777)
    finished = run(USE_ONE_KERNEL, VERIFL_CACHE_DIR=str(tmp_path))
    assert "writable by others" in finished.stderr
    assert not list(keyed.rglob("*.nbc"))


@pytest.mark.skipif(sys.platform != "linux", reason="the directory's name is the platform's")
def test_the_default_is_the_users_cache_directory(tmp_path: Path) -> None:
    environment = {"VERIFL_CACHE_DIR": "", "HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    run("import proofs.native.scalars", **environment)
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["verifl"]
    assert not (tmp_path / ".cache" / "numba").exists()


def test_other_users_of_numba_keep_their_settings(tmp_path: Path) -> None:
    code = "import numba; c = numba.config; old = c.CACHE_DIR; import proofs.native.points; print(old == c.CACHE_DIR)"
    assert run(code, VERIFL_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=str(tmp_path / "own")).stdout.strip() == "True"
    assert not (tmp_path / "own").exists()


def test_importing_the_package_compiles_and_imports_nothing(tmp_path: Path) -> None:
    code = "import sys, proofs.native, proofs.workers; print('numba' in sys.modules, 'numpy' in sys.modules)"
    assert run(code, VERIFL_CACHE_DIR=str(tmp_path / "cache")).stdout.split() == ["False", "False"]
    assert not (tmp_path / "cache").exists()
    run("from proofs.native import NativeEngine; NativeEngine()", VERIFL_CACHE_DIR=str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("*.nbc"))


def test_every_kernel_is_compiled_once_whatever_the_memory_layout() -> None:
    """Read-only, transposed and strided arguments are brought into one form: each form would be one compilation."""
    assert run(USE_EVERYTHING).stdout.strip() == "[]"
