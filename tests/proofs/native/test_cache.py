"""The disk cache of compiled kernels, seen from fresh processes."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import pwd
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proofs.machine import jit, kernel_cache

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
from proofs.native import NativeEngine, differences, exact, jacobian, narrow, points, residues, scalars, weighted
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
modules = (differences, exact, jacobian, narrow, points, residues, scalars, weighted)
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
    sources = copied_sources(tmp_path / "sources")
    code = "from pathlib import Path; import proofs; from proofs.machine import jit; "
    code += "print(jit._cache_directory(Path(proofs.__file__).parent / 'native').name)"
    before, again = (run(code, sources, VERIFL_CACHE_DIR=str(tmp_path / "cache")).stdout for _ in range(2))
    with (sources / "proofs" / "wide.py").open("a") as file:
        file.write("\n# edited\n")
    after = run(code, sources, VERIFL_CACHE_DIR=str(tmp_path / "cache")).stdout
    assert before == again != after


def test_without_a_writable_directory_one_line_and_no_cache(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the directory should be")
    finished = run(USE_ONE_KERNEL, VERIFL_CACHE_DIR=str(blocked))
    assert finished.stdout.split() == ["misses", "1", "hits", "0"]
    assert finished.stderr == f"verifl: {uncached(f'{blocked}: Not a directory')}\n"


def uncached(because: str) -> str:
    advice = (
        "so every process compiles for up to half a minute; set VERIFL_CACHE_DIR to a writable directory of your own"
    )
    return f"compiled code is not cached ({because}), {advice}"


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What is said of the directory that the environment now gives."""
    said: list[str] = []
    monkeypatch.setattr(jit, "_say_once", lambda line, *level: said.append(line))

    def refused() -> str:
        said.clear()
        assert jit._cache_directory.__wrapped__(ROOT / "proofs" / "native") is None
        (line,) = said
        return line

    return refused


def test_a_relative_directory_is_not_used(refusal: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIFL_CACHE_DIR", "relative")
    assert refusal() == uncached("relative: VERIFL_CACHE_DIR is not an absolute path")


@pytest.mark.skipif(sys.platform != "linux", reason="the directory's name is the platform's")
@pytest.mark.parametrize("home", [None, "", "somewhere"])
def test_a_user_without_a_home(refusal: Callable[[], str], monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    """An arbitrary user id that the system does not know, as container platforms give one."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "VERIFL_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert refusal() == uncached("there is no home directory")


@pytest.mark.skipif(sys.platform != "linux", reason="the directory's name is the platform's")
def test_a_relative_directory_of_the_environment_is_no_directory(tmp_path: Path) -> None:
    run("import proofs.native.scalars", VERIFL_CACHE_DIR="", XDG_CACHE_HOME="relative", HOME=str(tmp_path))
    assert (tmp_path / ".cache" / "verifl").is_dir()


def test_other_users_of_numba_compile_in_silence(tmp_path: Path) -> None:
    code = "import numba, proofs.native.points; print(numba.njit(lambda x: x + 1)(1))"
    finished = run(code, VERIFL_CACHE_DIR=str(tmp_path / "cache"))
    assert (finished.stdout, finished.stderr) == ("2\n", "")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no POSIX permissions")
@pytest.mark.parametrize("place", ["", "cache", "cache/inner", "link"])
def test_a_directory_that_others_can_change_is_not_used(
    tmp_path: Path, refusal: Callable[[], str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The cache is machine code: whoever can write any directory above it can put another in its place."""
    (tmp_path / "cache" / "inner").mkdir(parents=True)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "cache").symlink_to("../cache/inner")
    monkeypatch.setenv("VERIFL_CACHE_DIR", str(tmp_path / "link" / "cache"))
    assert jit._cache_directory.__wrapped__(ROOT / "proofs" / "native").parent == tmp_path / "cache" / "inner"
    (tmp_path / place).chmod(0o770)
    assert refusal() == uncached(f"{tmp_path / place}: is writable by others, mode 0770")


# ---- files that are not what was written ----


def test_damaged_code_is_thrown_away_and_made_again(tmp_path: Path) -> None:
    run(USE_ONE_KERNEL, VERIFL_CACHE_DIR=str(tmp_path))
    (file,) = tmp_path.rglob("*.kernel")
    honest = file.read_bytes()
    file.write_bytes(honest[:50])
    finished = run(USE_ONE_KERNEL, VERIFL_CACHE_DIR=str(tmp_path))
    assert finished.stdout.split() == ["misses", "1", "hits", "0"]
    advice = "compiled code that cannot be used (not what was written); it is thrown away and made again"
    assert finished.stderr == f"verifl: {file}: {advice}\n"
    assert len(file.read_bytes()) > 1000


def double(x: int) -> int:
    return 2 * x


class Machine:
    """A cache directory, and processes that use one kernel from it: each call begins with a dispatcher of its own."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.path = path
        monkeypatch.setattr(jit, "_cache_directory", lambda sources: path)
        monkeypatch.setattr(jit, "_say_once", lambda line, *level: self.said.append(line))

    def use(self) -> tuple[bool, list[str]]:
        """Whether the kernel was compiled, and the lines that were said before that was."""
        self.said.clear()
        kernel = jit.kernel(double)
        assert kernel(21) == 42
        return sum(kernel.stats.cache_misses.values()) == 1, list(self.said)

    @property
    def file(self) -> Path:
        (file,) = self.path.iterdir()
        return file

    def is_made_again(self, because: str) -> None:
        line = f"compiled code that cannot be used ({because}); it is thrown away and made again"
        assert self.use() == (True, [f"{self.file}: {line}"])
        assert self.use() == (False, [])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "kernels").mkdir(mode=0o700)
    machine = Machine(tmp_path / "kernels", monkeypatch)
    assert machine.use() == (True, [])
    assert machine.use() == (False, [])
    assert machine.file.stat().st_mode & 0o777 == 0o600
    return machine


def test_any_damage_is_noticed_before_anything_is_run(machine: Machine) -> None:
    honest = machine.file.read_bytes()
    places = [*range(0, len(honest), len(honest) // 7), len(honest) - 1]
    flipped = [honest[:place] + bytes([honest[place] ^ 1]) + honest[place + 1 :] for place in places]
    for damaged in (b"", honest[:32], honest[:50], honest[:-1], honest + b"\0", *flipped):
        machine.file.write_bytes(damaged)
        machine.is_made_again("not what was written")


def test_code_of_another_kernel_is_not_run(machine: Machine) -> None:
    """Also with the digest that its own bytes have, and under the name of this one."""
    honest = machine.file.read_bytes()
    machine.file.write_bytes(hashlib.sha256(honest[32:]).digest() + honest[32:])
    machine.is_made_again("not what was written")


@pytest.mark.parametrize("payload", [b"", b"no pickle", pickle.dumps(("another", "thing")), b"cno.such\nmodule\n."])
def test_code_that_numba_cannot_read_is_thrown_away(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, payload: bytes
) -> None:
    """Whatever the reason: here it was written so."""
    with monkeypatch.context() as patch:
        patch.setattr(kernel_cache, "_dumps", lambda reduced: payload)
        machine.file.unlink()
        assert machine.use() == (True, [])
    compiled, (line,) = machine.use()
    assert compiled
    assert line.endswith("; it is thrown away and made again")
    assert machine.use() == (False, [])


def test_files_that_somebody_else_could_have_made_are_not_read(machine: Machine, tmp_path: Path) -> None:
    name, honest = machine.file, machine.file.read_bytes()
    machine.file.chmod(0o666)
    machine.is_made_again("is writable by others, mode 0666")
    (tmp_path / "elsewhere").write_bytes(honest)
    name.unlink()
    name.symlink_to(tmp_path / "elsewhere")
    machine.is_made_again("Too many levels of symbolic links")
    assert not machine.file.is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == honest


def test_a_full_disk_costs_the_cache_and_no_more(machine: Machine) -> None:
    machine.file.unlink()
    ignored, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        compiled, lines = machine.use()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert compiled
    assert lines == ["compiled code is not kept (File too large); the next process compiles it again"]
    assert list(machine.path.iterdir()) == []
    assert machine.use() == (True, [])
    assert machine.use() == (False, [])


def test_a_kill_while_writing_leaves_no_half_of_a_file(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.file.unlink()

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            machine.use()
    assert list(machine.path.iterdir()) == []
    (machine.path / "double.kernel.0000.tmp").write_bytes(b"half")  # what a kill -9 leaves
    assert machine.use() == (True, [])
    assert machine.use() == (False, [])


def test_processes_that_write_at_once(machine: Machine) -> None:
    machine.file.unlink()
    children = []
    for _ in range(3):
        children.append(os.fork())
        if children[-1] == 0:
            try:
                os._exit(0 if machine.use()[1] == [] else 1)
            finally:
                os._exit(2)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 3
    assert machine.use() == (False, [])


@pytest.mark.parametrize("stream", [None, io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.devnull, "r+")))])
def test_a_closed_stderr_stops_nothing(monkeypatch: pytest.MonkeyPatch, stream: io.TextIOWrapper | None) -> None:
    monkeypatch.setattr(jit, "_said", set())
    monkeypatch.setattr(jit, "_LOGGER", logging.Logger("alone"))
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    jit._say_once("a line")


# ---- others ----


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
    code = "import sys, proofs.native, proofs.machine.workers; print('numba' in sys.modules, 'numpy' in sys.modules)"
    assert run(code, VERIFL_CACHE_DIR=str(tmp_path / "cache")).stdout.split() == ["False", "False"]
    assert not (tmp_path / "cache").exists()
    run("from proofs.native import NativeEngine; NativeEngine()", VERIFL_CACHE_DIR=str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("*.kernel"))


def test_every_kernel_is_compiled_once_whatever_the_memory_layout() -> None:
    """Read-only, transposed and strided arguments are brought into one form: each form would be one compilation."""
    assert run(USE_EVERYTHING).stdout.strip() == "[]"
