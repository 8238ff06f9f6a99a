"""The three families of failure, shared by every package (spec 1.5).

`Malformed`: bytes that are not the one spelling of any value. `Rejected`: well-formed, but a named check fails.
`Misuse`: the caller's own mistake (a bad parameter, a step out of order). A verifier given hostile bytes raises only
the first two; each carries which check, what was expected and what was found.
"""

from __future__ import annotations


class VeriflError(Exception):
    """Base of every error this project raises on purpose."""


class Malformed(VeriflError):
    """Bytes that do not decode: `where` names the item, `expected` and `found` say why, in a few words each."""

    def __init__(self, where: str, expected: str, found: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}")
        self.where = where
        self.expected = expected
        self.found = found


class Rejected(VeriflError):
    """A decoded item fails `check`, a stable kebab-case name that tests and reports compare."""

    def __init__(self, check: str, expected: str, found: str) -> None:
        super().__init__(f"{check}: expected {expected}, found {found}")
        self.check = check
        self.expected = expected
        self.found = found


class Misuse(VeriflError):
    """The caller broke a precondition; the message names the argument and says what to do."""
