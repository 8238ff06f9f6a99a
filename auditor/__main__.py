"""Entry point of the `verifl-audit` command, also as `python -P -m auditor`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command."""
    from proofs.machine.interrupts import run_command

    run_command("auditor.cli", "verifl-audit", 2)


if __name__ == "__main__":
    if not sys.flags.safe_path:  # what is named like a module of ours in the working directory would be run
        why = "without -P, Python runs files of the working directory"
        sys.stderr.write(f"verifl-audit: type verifl-audit, or python -P -m auditor: {why}\n")
        sys.exit(2)
    main()
