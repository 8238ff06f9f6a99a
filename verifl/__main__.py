"""Entry point of the `verifl` command, also as `python -P -m verifl`."""

from __future__ import annotations

import sys

_PARTIES = ("coordinator", "trustee", "client")


def main() -> None:
    """Run the command."""
    from proofs.machine.interrupts import run_command, stop_before_anything

    if _runs_a_party(sys.argv[1:]):
        stop_before_anything()
    run_command("verifl.commands.root", "verifl", 130)


def _runs_a_party(arguments: list[str]) -> bool:
    words = [each for each in arguments if not each.startswith("-")]
    return words[1:2] == ["run"] and words[0] in _PARTIES


if __name__ == "__main__":
    if not sys.flags.safe_path:  # what is named like a module of ours in the working directory would be run
        why = "without -P, Python runs files of the working directory"
        sys.stderr.write(f"verifl: type verifl, or python -P -m verifl: {why}\n")
        sys.exit(2)
    main()
