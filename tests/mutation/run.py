"""Mutation testing of the verifier modules: `python -m tests.mutation.run [MODULE ...]` from the repository's root.

Every mutant of `operators` is put in place of its module in a forked child, which runs the module's tests until the
first failure. Those that survive must be listed with a reason in justified.json, next to this file; the exit status is
1 if one is not, or if one that is listed does not survive. Minutes a module, on one core: not a part of the test suite.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.mutation.operators import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
JUSTIFIED = Path(__file__).parent / "justified.json"
MODULUS = 0xFFFFFDC001  # of 40 bits
MEMORY = 8 << 30  # bytes of address space: a mutant may ask for any amount

# What is imported, and compiled code loaded, once, before the forks. Nothing here may import a module under test.
FOUNDATION = ("numba", "pytest", "hypothesis", "py_ecc.secp256k1", "Crypto.Hash.cSHAKE256", "proofs.native.engine")
SHARED = ("proofs.polynomials",)  # the native engine keeps the original for one function
ARGUMENT = (*FOUNDATION, "proofs.generators", "proofs.reference")
FEDERATION = (*FOUNDATION, "proofs.prover", "proofs.verifier", "protocols.lattice.encryption", "protocols.sharing")

# Tests in the order in which they are run, those that notice most first; on the native engine, as a mutant is the same
# for both.
VECTORS = ("tests/vectors/test_forgery_vectors.py", "tests/vectors/test_argument_vectors.py")
NOISY = ("tests/proofs/test_privacy_noise.py",)
PARAMETERS = ("tests/proofs/test_basics.py", "tests/proofs/test_parameters.py", *NOISY)
HOSTILE = ("tests/soundness/test_malformed.py", "tests/soundness/test_edges.py", "tests/soundness/test_tampering.py")
FORMS = (
    "tests/proofs/test_forms.py",
    *VECTORS,
    "tests/proofs/test_relations.py",
    "tests/soundness/test_frozen_heart.py",
    "tests/soundness/test_derivation.py",
    *NOISY,
)
TESTS: dict[str, tuple[str, ...]] = {
    "proofs.shape": ("tests/proofs/test_basics.py", *VECTORS),
    "proofs.layout": ("tests/proofs/test_layout.py", *VECTORS, *PARAMETERS, "tests/proofs/test_relations.py"),
    "proofs.noise": (
        "tests/proofs/test_layout.py",
        *VECTORS,
        "tests/proofs/test_relations.py",
        "tests/soundness/test_encryption_attacks.py",
    ),
    "proofs.ranges": (*PARAMETERS, *VECTORS, "tests/soundness/test_range_attacks.py"),
    "proofs.encryption": (
        "tests/proofs/test_encryption_parameters.py",
        *PARAMETERS,
        *VECTORS,
        "tests/soundness/test_tampering.py",
    ),
    "proofs.parameters": (*VECTORS, *PARAMETERS, "tests/soundness/test_edges.py"),
    "proofs.challenger": ("tests/proofs/test_challenger.py", *VECTORS),
    "proofs.polynomials": ("tests/proofs/test_polynomials.py", *VECTORS),
    "proofs.transcript": ("tests/proofs/test_transcript.py", *VECTORS, "tests/soundness/test_frozen_heart.py"),
    "proofs.relations.terms": FORMS,
    "proofs.relations.relation": (*PARAMETERS, *FORMS),
    "proofs.relations.norm": ("tests/proofs/test_layout.py", *FORMS, *PARAMETERS),
    "proofs.relations.padding": FORMS,
    "proofs.relations.range": ("tests/proofs/test_layout.py", *FORMS, *PARAMETERS),
    "proofs.relations.noise": ("tests/proofs/test_layout.py", *FORMS, *PARAMETERS),
    "proofs.relations.packing": (*FORMS, *PARAMETERS),
    "proofs.relations.scale": ("tests/proofs/test_client_weight.py", *FORMS),
    "proofs.relations.client_weight": (
        "tests/proofs/test_client_weight.py",
        "tests/soundness/test_weight_attacks.py",
        *FORMS,
    ),
    "proofs.privacy_noise": (*NOISY, "tests/soundness/test_frozen_signs.py"),
    "proofs.noise_witness": (*NOISY, "tests/soundness/test_noise_attacks.py"),
    "proofs.signed_rounds": (*NOISY, *FORMS),
    "proofs.relations.privacy_noise": (
        *NOISY,
        "tests/soundness/test_noise_attacks.py",
        *FORMS,
    ),
    "proofs.relations.encryption": (*FORMS, *PARAMETERS, *HOSTILE),
    "proofs.linear_form": (*FORMS, "tests/soundness/test_tampering.py"),
    "proofs.folding": ("tests/proofs/test_folding.py", *PARAMETERS, *VECTORS),
    "proofs.proof": (*VECTORS, *HOSTILE),
    "proofs.verifier": (
        *VECTORS,
        "tests/proofs/test_batch.py",
        "tests/soundness/test_batch_weights.py",
        *HOSTILE,
        "tests/proofs/test_relations.py",
        "tests/soundness/test_encryption_statement.py",
        "tests/soundness/test_false_witness.py",
        "tests/soundness/test_range_attacks.py",
        "tests/soundness/test_encryption_attacks.py",
        "tests/soundness/test_frozen_heart.py",
        "tests/soundness/test_derivation.py",
    ),
    "protocols.privacy.differencing": ("tests/protocols/test_differencing.py",),
    "protocols.cohorts": ("tests/protocols/test_cohorts.py", "tests/protocols/test_contexts.py"),
    "protocols.opening": ("tests/protocols/test_opening.py", "tests/protocols/test_opening_checks.py"),
    "protocols.submissions": ("tests/protocols/test_submissions.py", "tests/protocols/rounds/test_rules.py"),
}
SELECTION = "not exhaustive", "not reference"
OPTIONS = ("-x", "-q", "--tb=line", "--assert=plain", "-p", "no:cacheprovider")  # rewriting costs most


@dataclass(frozen=True)
class Outcome:
    """status: killed, survived, or timeout, which counts as killed."""

    module: str
    line: int
    source: str
    before: str
    after: str
    status: str
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies a mutant when lines move."""
        return self.module, self.source, self.before, self.after


class _Mutated(importlib.machinery.SourceFileLoader):
    """Loads compiled code in place of its file's."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, mutated."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, str(path), code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Mutated(fullname, self._path, self._code)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def path_of(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def warm_up() -> None:
    """One worker, so that no thread is lost in a fork; every kernel of the engine loaded; generators computed."""
    import numpy as np

    from proofs.engine import Block
    from proofs.machine.workers import set_workers
    from proofs.native.engine import NativeEngine

    set_workers(1)
    engine = NativeEngine()
    table = np.arange(-40, 40).reshape(5, 16) * 1000
    signs = np.ones((3, 5), np.int8), np.ones((3, 16), np.int8)
    points = engine.decode_points(engine.commit_rows(table, [1] * 5))
    engine.combination_is_zero(points, [1] * 5, [2] * 500, 4)
    engine.weighted_columns(table, [1] * 5)
    engine.weighted_rows(table, [1] * 16)
    engine.ternary_products(signs[0], [1] * 5)
    engine.ternary_combination(signs[0], [1] * 3)
    engine.residue_combinations(table + 10**6, table[:, :5] + 10**6, table[:, :16] + 10**6, MODULUS)
    engine.adjoint_combinations(table + 10**6, table[:, :5] + 10**6, table[:, :16] + 10**6, MODULUS)
    blocks = [Block(table, signs[0], True, 0), Block(table[:1], signs[0][:, :1], False, 1)]
    projection = engine.project(blocks, signs[1])
    projection.values()
    sumcheck = projection.row_sumcheck([1, 2, 3], [[4] * 16, [5] * 16], [6, 7, 8], {1: [9] * 16})
    for _ in range(3):
        sumcheck.sums()
        sumcheck.bind(9)
    gc.freeze()  # pytest collects garbage when it ends: in each child only the child's own


def run_tests(tests: Sequence[str]) -> int:
    """In a child: pytest's exit status, 0 if no file of tests fails."""
    import hypothesis
    import pytest

    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a failure is not shrunk
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutation")
    arguments = [*OPTIONS, "-m", SELECTION[0], "-k", SELECTION[1]]
    for test in tests:  # one after the other: most mutants are noticed by the first, and the others are not collected
        status = pytest.main([*arguments, test])
        if status != pytest.ExitCode.OK:
            return int(status)
    return 0


def forget(module: str) -> None:
    """Of a shared module, also where `from package import module` finds it."""
    if sys.modules.pop(module, None) is not None:
        package, _, name = module.rpartition(".")
        delattr(sys.modules[package], name)


def judge(
    module: str, code: CodeType | None, tests: Sequence[str], limit: float, quiet: bool = True
) -> tuple[str, float]:
    """(status, seconds) of the tests in a forked child, with the module's code replaced if any is given."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            if quiet:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            if code is not None:
                forget(module)
                sys.meta_path.insert(0, _Finder(module, path_of(module), code))
            status = run_tests(tests)
        except BaseException:  # noqa: BLE001  whatever a mutant does, it is noticed, and must not leave the child
            status = 1
        os._exit(0 if status == 0 else 1)
    while time.monotonic() - started < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return ("survived" if status == 0 else "killed"), time.monotonic() - started
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout", time.monotonic() - started


def compiled(mutant: Mutant, path: Path) -> CodeType | None:
    """None where the change is not a program."""
    try:
        return compile(mutant.tree, str(path), "exec")
    except (SyntaxError, ValueError):
        return None


def outcomes(module: str, only: frozenset[int] | None = None) -> Iterator[Outcome]:
    """Of every mutant of a module, or of those with these numbers; raises RuntimeError if the tests fail without."""
    path = path_of(module)
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    tests = TESTS[module]
    for name in FEDERATION if module.startswith("protocols.") else ARGUMENT:
        importlib.import_module(name)
    warm_up()
    if module in sys.modules and module not in SHARED:
        raise RuntimeError(f"{module} was imported before it could be changed")
    status, seconds = judge(module, compile(source, str(path), "exec"), tests, 600.0, quiet=False)
    if status != "survived":
        raise RuntimeError(f"{module}: the tests do not pass on the module as it is")
    limit = 3 * seconds + 20
    for mutant in mutants(source):
        if only is not None and mutant.number not in only:
            continue
        code = compiled(mutant, path)
        if code is None:
            continue
        status, seconds = judge(module, code, tests, limit)
        line = lines[mutant.line - 1].strip()
        yield Outcome(module, mutant.line, line, mutant.before, mutant.after, status, round(seconds, 2))


def justified() -> dict[tuple[str, str, str, str], str]:
    """The reason for each mutant that may survive."""
    if not JUSTIFIED.exists():
        return {}
    listed: list[dict[str, Any]] = json.loads(JUSTIFIED.read_text(encoding="utf-8"))
    return {(each["module"], each["source"], each["before"], each["after"]): each["why"] for each in listed}


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutation testing of the verifier modules.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--log", type=Path, help="write every outcome here, one JSON object a line")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of mutants")
    arguments = parser.parse_args()
    reasons, unexplained = justified(), 0
    for module in arguments.modules or TESTS:
        counts: Counter[str] = Counter()
        expected = {key for key in reasons if key[0] == module}
        for outcome in outcomes(module, frozenset(arguments.only) if arguments.only else None):
            counts[outcome.status] += 1
            if arguments.log:
                with arguments.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(vars(outcome)) + "\n")
            if outcome.status != "survived":
                continue
            if outcome.key in reasons:
                expected.discard(outcome.key)
                continue
            unexplained += 1
            print(f"{module}:{outcome.line}: {outcome.before}  ->  {outcome.after or 'dropped'}", flush=True)
        print(f"{module}: {dict(counts)}", flush=True)
        if arguments.only is None:
            unexplained += len(expected)
            for key in expected:
                print(f"{module}: listed, but it does not survive: {key[2]}  ->  {key[3]}", flush=True)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
