"""What the commands of one party in a process of its own have in common: its options, and its place at the exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verifl.commands.keys import passphrase_option, passphrase_source
from verifl.commands.shared import PATH, log_format_option, log_level_option

if TYPE_CHECKING:
    from protocols.key_files import Passphrase
    from verifl.carriers.exchange.seat import Seat
    from verifl.carriers.exchange.stopping import Stop
    from verifl.progress import Progress

_Command = Callable[..., int]


@dataclass(frozen=True)
class PartyOptions:
    """What every such command is told. role: coordinator, trustee or client. poll: seconds between two looks. once: to
    look but once. A coordinator's configuration says its poll, and it never looks but once. access: the fields of
    `verifl.carriers.exchange.access.WebAccess`; a coordinator has none."""

    role: str
    public: str | Path
    state: Path
    policy: Path
    keys: tuple[Path, ...]
    passphrase: Passphrase | None
    log_format: str
    log_level: str
    metrics_port: int | None
    metrics_address: str
    poll: float = 5.0
    once: bool = False
    access: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Attendance:
    """A party at the exchange: what it has there, who asks it to stop, and whom it tells what it does."""

    seat: Seat
    stop: Stop
    progress: Progress


public_option = click.option(
    "--public", type=PATH, required=True, help="The directory in which the parties meet; all of it may be published.",
)  # fmt: skip
state_option = click.option(
    "--state", type=PATH, required=True, help="This party's own directory, which nobody else reads.",
)  # fmt: skip
policy_option = click.option(
    "--policy", "policy_file", type=PATH, required=True, help="The signed policy that this party pinned.",
)  # fmt: skip
key_option = click.option(
    "--key", "keys", type=PATH, multiple=True,
    help="This party's key file; identity.pem in --state when absent. While it is rotated: --key OLD --key NEW.",
)  # fmt: skip
_PLACES = (state_option, policy_option, key_option, passphrase_option)
ADDRESS_OPTIONS = (
    click.option(
        "--public", required=True,
        help="Where the parties meet: a directory, or the https:// address at which a web server publishes it.",
    ),
    click.option("--ca-file", type=PATH, help="Trust the certificates in this file, in PEM, in place of the system's."),
    click.option("--client-certificate", type=PATH, help="Show the web server this certificate, in PEM."),
    click.option("--client-key", type=PATH, help="Its key, in PEM, without a passphrase, mode 0600."),
    click.option("--token-file", type=PATH, help="Show the web server the token in this file, mode 0600."),
    click.option("--plain-http", is_flag=True, help="Allow an http:// address of another machine."),
)  # fmt: skip
ACCESS = ("ca_file", "client_certificate", "client_key", "token_file", "plain_http")
_LOOKS = (
    click.option("--once", is_flag=True, help="Look once, answer what is asked, and end; for cron."),
    click.option(
        "--poll", type=click.FloatRange(0.01, 3600), default=5.0, show_default=True, help="Seconds between two looks.",
    ),
)  # fmt: skip
_LOGS = (
    log_format_option,
    log_level_option,
    click.option(
        "--metrics-port", type=click.IntRange(1, 65_535), help="Let Prometheus ask for metrics at this port.",
    ),
    click.option(
        "--metrics-address", default="127.0.0.1", show_default=True, help="The address of this machine to listen at.",
    ),
)  # fmt: skip


def config_option(role: str | None) -> Callable[[_Command], _Command]:
    """`--config FILE`: what the file says are defaults of the other options. role: of whom it has to be; None for a
    command that any party calls, and that leaves out what it does not need."""

    def read(context: click.Context, _: click.Parameter, file: Path | None) -> None:
        if file is None:
            return
        from verifl.party_config import read_party_config

        parameters = [each.name for each in context.command.params if each.name]
        context.default_map = read_party_config(file, role, parameters)

    return click.option(
        "--config", "config_file", type=PATH, is_eager=True, expose_value=False, callback=read,
        help="This party's own file, which says what options say; options override it.",
    )  # fmt: skip


def party_options(role: str) -> Callable[[_Command], _Command]:
    """The options of a party of this role, which the command is handed as one value, `options`."""

    def with_options(command: _Command) -> _Command:
        @wraps(command)
        def decorated(*arguments: Any, policy_file: Path, passphrase_file: Path | None, **told: Any) -> int:
            common = {each.name: told.pop(each.name) for each in fields(PartyOptions) if each.name in told}
            access = {name: told.pop(name) for name in ACCESS if name in told}
            source = passphrase_source(passphrase_file)
            common |= {"role": role, "policy": policy_file, "access": access}
            options = PartyOptions(passphrase=source, **common)
            return command(*arguments, options=options, **told)

        own = ((public_option,), ()) if role == "coordinator" else (ADDRESS_OPTIONS, _LOOKS)
        for option in reversed((config_option(role), *own[0], *_PLACES, *own[1], *_LOGS)):
            decorated = option(decorated)
        return decorated

    return with_options


@contextmanager
def attending(options: PartyOptions) -> Iterator[Attendance]:
    """The party's place, which no other process has during the block, and what it needs there: logs on stderr, and
    SIGTERM as a request to stop, which ends the block as if it were done."""
    from contextlib import suppress

    from verifl.carriers.exchange.access import WebAccess
    from verifl.carriers.exchange.seat import taken_seat
    from verifl.carriers.exchange.stopping import Stopped, stopping_on_sigterm
    from verifl.commands.streams import printing_to_stderr
    from verifl.reports.logs import logged
    from verifl.reports.metrics import metrics_served

    place = (options.role, options.public, options.state, options.policy, options.keys, options.passphrase)
    access = WebAccess(**options.access)
    with (
        logged(options.log_format, options.log_level) as progress,
        printing_to_stderr(),
        metrics_served(options.role, options.metrics_address, options.metrics_port),
        suppress(Stopped),
        stopping_on_sigterm() as stop,
        taken_seat(*place, access) as seat,
    ):
        yield Attendance(seat, stop, progress)
