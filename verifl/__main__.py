"""`python -m verifl` is the `verifl` command."""

from __future__ import annotations

from verifl.cli import main

main()
