"""`verifl rehearse`: a consortium's dry run, over the machines and by the keys that it will be run with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proofs.errors import Misuse
from verifl.commands.keys import passphrase_option, passphrase_source
from verifl.commands.parties import ADDRESS_OPTIONS, config_option, key_option, policy_option, state_option
from verifl.commands.shared import FAILED, OK, dump, log_format_option, log_level_option

if TYPE_CHECKING:
    from protocols.identities import SigningKey
    from protocols.key_files import Passphrase
    from protocols.pinned import PinnedPolicy
    from verifl.carriers.exchange.access import WebAccess
    from verifl.carriers.exchange.public import PublicView
    from verifl.carriers.exchange.rehearsing import Rehearsing
    from verifl.carriers.exchange.stopping import Stop
    from verifl.progress import Progress


@dataclass(frozen=True)
class _Place:
    """A party at a rehearsal. state: a directory for it alone."""

    pinned: PinnedPolicy
    name: str
    key: SigningKey
    public: str
    access: WebAccess
    state: Path


def _address_options(command: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(ADDRESS_OPTIONS):
        command = option(command)
    return command


@click.command()
@config_option(None)
@_address_options
@state_option
@policy_option
@key_option
@passphrase_option
@click.option("--as", "name", help="The party that this is, where its key may be wrong; else found by the key.")
@click.option(
    "--wait",
    type=click.FloatRange(1, 86_400),
    default=600.0,
    show_default=True,
    help="Seconds for which who is missing is waited for.",
)
@click.option(
    "--poll", type=click.FloatRange(0.01, 3600), default=2.0, show_default=True, help="Seconds between two looks."
)
@click.option("--format", "style", type=click.Choice(["txt", "json"]), default="txt", show_default=True)
@log_format_option
@log_level_option
def rehearse(
    public: str,
    state: Path,
    policy_file: Path,
    keys: tuple[Path, ...],
    passphrase_file: Path | None,
    name: str | None,
    wait: float,
    poll: float,
    style: str,
    log_format: str,
    log_level: str,
    **access: Any,
) -> int:
    """Play one round on made-up data, over the machines and by the keys that the federation will be run with.

    Every party calls this, with what it tells its own command, at the same time: which party it is its key says. The
    coordinator's report says who was not reached, and who was refused what. No data is read; nothing that is signed is
    valid anywhere else. Status 0: all is well. 1: somebody is missing, or was refused.
    """
    from verifl.carriers.exchange.stopping import Stopped, stopping_on_sigterm
    from verifl.reports.logs import logged

    source = passphrase_source(passphrase_file)
    with (
        logged(log_format, log_level) as progress,
        stopping_on_sigterm() as stop,
        _taken_place(public, access, state, policy_file, keys, source, name) as place,
    ):
        try:
            if place.name == "coordinator":
                text, document, well = _conduct(place, wait, poll, stop, progress)
            else:
                text, document, well = _attend(place, wait, poll, stop, progress)
        except Stopped:
            return FAILED
    click.echo(dump(document, style) if style == "json" else text)
    return OK if well else FAILED


def _conduct(
    place: _Place, wait: float, poll: float, stop: Stop, progress: Progress
) -> tuple[str, dict[str, object], bool]:
    from verifl.carriers.exchange.rehearsal import Rehearsal
    from verifl.reports.rehearsal import describe_rehearsal, rehearsal_dict

    rehearsal = Rehearsal(place.pinned, place.key, Path(place.public), place.state, wait, progress)
    report = rehearsal.run(stop, poll)
    return describe_rehearsal(report), rehearsal_dict(report), report.well


def _attend(
    place: _Place, wait: float, poll: float, stop: Stop, progress: Progress
) -> tuple[str, dict[str, object], bool]:
    outcome = _attendant(place, progress).run(stop, poll, 6 * wait)  # as long as the coordinator may take for all steps
    document = {"party": place.name, "outcome": outcome, "well": outcome == "closed"}
    return (
        f"{place.name}: the round {'closed' if outcome == 'closed' else f'was aborted, {outcome}'}",
        document,
        (outcome == "closed"),
    )


def _attendant(place: _Place, progress: Progress) -> Rehearsing:
    from verifl.carriers.exchange.public import REHEARSAL, REHEARSED_ROUND
    from verifl.carriers.exchange.rehearsing import Rehearsing

    call = _below(place, REHEARSAL, place.state)
    return Rehearsing(
        place.pinned, place.name, place.key, place.state / "round", call,
        lambda own: _below(place, REHEARSED_ROUND, own), progress.note,
    )  # fmt: skip


def _below(place: _Place, path: str, own: Path) -> PublicView:
    """The exchange below the federation's, which may not be there yet. own: where to keep what is fetched."""
    from verifl.carriers.exchange.access import exchange_at, is_address
    from verifl.carriers.exchange.public import PublicDirectory

    if not is_address(place.public):
        return PublicDirectory(Path(place.public) / path)
    return exchange_at(f"{place.public.rstrip('/')}/{path}", place.access, own)


@contextmanager
def _taken_place(
    public: str,
    access: Mapping[str, Any],
    state: Path,
    policy_file: Path,
    key_files: tuple[Path, ...],
    passphrase: Passphrase | None,
    name: str | None,
) -> Iterator[_Place]:
    """The place of the party with this key, which no other rehearsal has during the block. Raises Misuse."""
    import shutil

    from protocols.key_files import read_key
    from protocols.locks import locked
    from protocols.messages import COORDINATOR
    from protocols.pinned import PinnedPolicy
    from protocols.rehearsals import enrolled_keys
    from verifl.carriers.exchange.access import WebAccess, check_place
    from verifl.enrolment.policies import read_policy_file
    from verifl.storage.party_directory import PartyDirectory
    from verifl.storage.stores import make_private_directory

    pinned = PinnedPolicy.open(read_policy_file(policy_file))
    key = read_key((key_files or (PartyDirectory(state).identity,))[0], passphrase)
    enrolled = enrolled_keys(pinned.policy)
    owners = {public_key: owner for owner, public_key in enrolled.items()}
    found = name or owners.get(key.public_key)
    if found is None:
        raise Misuse(
            f"key: the policy has no party with the public key {key.public_key.hex()}; say which one this is by --as"
        )
    if found not in enrolled:
        raise Misuse(f"--as: expected a party of the policy, {', '.join(enrolled)[:500]}, found {found}")
    check_place(public, WebAccess(**access), writes=found == COORDINATOR)
    make_private_directory(state)
    with locked(state / "rehearsal.lock", f"{state}: another rehearsal of {found} goes on; wait for it to end"):
        try:
            yield _Place(pinned, found, key, public, WebAccess(**access), state / "rehearsal")
        finally:
            shutil.rmtree(state / "rehearsal", ignore_errors=True)
