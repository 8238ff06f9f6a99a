"""Entry point of the `verifl-audit` command, also as `python -m auditor`."""

from __future__ import annotations

from proofs.interrupts import run_command


def main() -> None:
    """Run the command."""
    run_command("auditor.cli", "verifl-audit", 2)


if __name__ == "__main__":
    main()
