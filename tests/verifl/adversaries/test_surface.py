"""Liars play parties through what is public of them: nothing private is overridden, called or read."""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import ModuleType

import pytest

import tests.adversaries
from protocols.rounds.client import Client
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.trustee import Trustee
from verifl.adversaries import clients, coordinators, forged_log, forgeries, noise, provers, trustees, weights

PARTIES = (Client, Trustee, Coordinator)
MODULES = (clients, coordinators, forged_log, forgeries, noise, provers, trustees, weights, tests.adversaries)


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def attributes(tree: ast.AST, of: str = "") -> set[str]:
    """Private names that are read or written: of the variable `of`, or of everything else."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and private(node.attr)]
    own = {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == "self"}
    return own if of == "self" else {node.attr for node in nodes} - own


def private_names(party: type) -> set[str]:
    """Methods and attributes that a party keeps for itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(party)))
    return attributes(tree, "self") | {name for name in vars(party) if private(name)}


PRIVATE = {party: private_names(party) for party in PARTIES}
LIARS = [
    liar
    for module in MODULES
    for _, liar in inspect.getmembers(module, inspect.isclass)
    if issubclass(liar, PARTIES) and liar.__module__ == module.__name__
]


def test_there_are_liars_and_secrets() -> None:
    assert {"BadShare", "OversizedError", "FalseSum", "Colluding", "ComposedClient"} <= {
        each.__name__ for each in LIARS
    }
    assert {"_identity", "_store"} <= PRIVATE[Client]
    assert {"_check_published", "_secrets"} <= PRIVATE[Trustee]
    assert {"_log", "_seal"} <= PRIVATE[Coordinator]


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.__name__)
def test_liars_neither_override_nor_use_what_is_private(liar: type) -> None:
    (party,) = (each for each in PARTIES if issubclass(liar, each))
    tree = ast.parse(textwrap.dedent(inspect.getsource(liar)))
    assert (attributes(tree, "self") | set(vars(liar))) & PRIVATE[party] == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_nobody_reaches_into_a_party(module: ModuleType) -> None:
    assert attributes(ast.parse(inspect.getsource(module))) & set().union(*PRIVATE.values()) == set()
