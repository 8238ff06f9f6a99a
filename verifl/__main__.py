"""Entry point of the `verifl` command, also as `python -m verifl`."""

from __future__ import annotations

from proofs.interrupts import run_command


def main() -> None:
    """Run the command."""
    run_command("verifl.cli", "verifl", 130)


if __name__ == "__main__":
    main()
