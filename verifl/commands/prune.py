"""`verifl prune`: throw away the ciphertexts of a transcript that nothing rests on but the replay of the sums."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from proofs.errors import Misuse
from verifl.commands.shared import OK, PATH, dump, format_option

if TYPE_CHECKING:
    from protocols.pinned import PinnedPolicy
    from verifl.agents.pruning import Prunable

_REPLAY = "I9"  # what rests on these ciphertexts alone


@click.command()
@click.argument("out", type=PATH)
@click.option("--policy", "policy_file", type=PATH, help="The policy that you pinned; else the published one is taken.")
@click.option("--write", is_flag=True, help="Do it; else it is only said what would be done.")
@click.option("--despite", multiple=True, metavar="CHECK",
              type=click.Choice([_REPLAY]),
              help="Even if the policy requires this check of every audit: none accepts this copy then.")  # fmt: skip
@format_option
def prune(out: Path, policy_file: Path | None, write: bool, despite: tuple[str, ...], style: str) -> int:
    """Say what may be thrown away of the transcript in OUT, how much that frees, and what can no longer be checked.

    OUT is the directory of `verifl run --out`, or that in which the parties meet. What may go are ciphertexts of rounds
    that closed. Whatever is evidence stays, as do models, proofs and sums. Audits say that the copy is pruned, and
    accept it all the same unless the policy requires the replay.
    """
    from protocols.pinned import PinnedPolicy
    from verifl.agents.pruning import prunable
    from verifl.agents.published import newest, steadily
    from verifl.carriers.exchange.public import PublicDirectory
    from verifl.carriers.exchange.standing import published_policy
    from verifl.enrolment.policies import read_policy_file

    public = PublicDirectory(out)
    given = None if policy_file is None else PinnedPolicy.open(read_policy_file(policy_file))
    pinned = given or published_policy(public, str(out))
    found = steadily(lambda: prunable(pinned, public.transcript), lambda: newest(public.reader()))
    required = [each for each in pinned.policy.required_checks if each == _REPLAY]
    if write:
        if set(required) - set(despite):
            raise Misuse(
                f"{out}: the policy requires {', '.join(required)} of every audit, and none would accept this copy any "
                f"more; archive a whole copy, then add {' '.join(f'--despite {each}' for each in required)}"
            )
        found.remove()
    _report(out, pinned, found, required, write, style)
    return OK


def _report(out: Path, pinned: PinnedPolicy, found: Prunable, required: list[str], written: bool, style: str) -> None:
    if style == "txt":
        click.echo("\n".join(_lines(out, pinned, found, required, written)))
        return
    document = {
        "written": written, "ciphertexts": len(found.files), "bytes": found.size, "gone_before": found.gone,
        "rounds": list(found.rounds), "skipped": [_REPLAY], "required": required,
    }  # fmt: skip
    click.echo(dump(document, style))


def _lines(out: Path, pinned: PinnedPolicy, found: Prunable, required: list[str], written: bool) -> list[str]:
    from protocols.audit_checks import AUDIT_CHECKS
    from verifl.formatting import format_bytes

    count = len(found.files)
    before = f"; {found.gone} had gone before" if found.gone else ""
    lines = [
        f"{out}: {count} ciphertexts {'removed' if written else 'may go'}, {format_bytes(found.size)}{before}",
        *(
            f"what nobody can check {when}: {_REPLAY}, {AUDIT_CHECKS.find(_REPLAY).title} ({len(rounds)} of them)"
            for when, rounds in (("now", found.unchecked(written)), ("then", () if written else found.rounds))
            if rounds
        ),
    ]
    if pinned.policy.lattice.encryption_proof and found.rounds:
        lines.append("  and of I6 that each ciphertext holds the update that was committed to")
    lines.append("what still is: that every sum is that of the accepted updates (I10), and all else")
    lines += [f"warning: the policy requires {each}: no audit accepts a copy without them" for each in required]
    return [
        *lines,
        *([] if written or not count else ["--write does it; keep a whole copy elsewhere, unless somebody has one"]),
    ]
