"""The numbered checks of spec 9, in the modules of this package: `numbered` says above each which one it is."""

from __future__ import annotations

from auditor.checks.numbered import all_numbered

CHECKS = all_numbered(__name__, __path__)
