"""The border to code that is not ours: whatever a user's task raises becomes one line that says why and where."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from proofs.errors import Misuse, VeriflError
from verifl.tasks.causes import causes, explain


class Abstain(Exception):
    """Raised by a task's data() or train(): this client takes no part in this round. Its text says why."""


class ClientFailed(Misuse):
    """A client's turn came to nothing by its own code: it drops out of the round. `reason` does not name the client.

    abstained: because it said so, with `Abstain`.
    """

    def __init__(self, client: str, reason: str, abstained: bool = False, text: str = "") -> None:
        super().__init__(text or f"client {client}: {reason}")
        self.client, self.reason, self.abstained = client, reason, abstained


@contextmanager
def user_code(what: str, failure: Callable[[str], Misuse] = Misuse) -> Iterator[None]:
    """Turn an exception of the enclosed call into Misuse: `what`, and the exception as `explain` tells it.

    failure: what makes the error of the text, for every exception but SystemExit. Errors of this project pass
    unchanged; the original stays as the cause, for `--debug`. KeyboardInterrupt passes, and what a framework made of it
    (a SystemExit, say) becomes one again. A process that the call forked ends with the block.
    """
    parent = os.getpid()
    try:
        yield
    except VeriflError:
        _end_child(parent, 1)
        raise
    except (Exception, SystemExit) as error:  # a user's code may raise anything; it is chained, not lost
        _end_child(parent, 1)
        if any(isinstance(each, KeyboardInterrupt) for each in causes(error)):
            raise KeyboardInterrupt from error
        failed = failure(f"{what}: {explain(error)}")
        raise (Misuse(str(failed)) if isinstance(error, SystemExit) else failed) from error
    _end_child(parent, 0)


@contextmanager
def client_code(client: str, method: str) -> Iterator[None]:
    """`user_code` of a client's turn: raises ClientFailed, also for Abstain."""

    def failed(reason: str) -> Misuse:
        return ClientFailed(client, reason)

    with user_code(f"{method}() failed", failed):
        try:
            yield
        except Abstain as error:
            text = " ".join(str(error).split())
            raise ClientFailed(client, f"abstains: {text}" if text else "abstains", abstained=True) from error
        except VeriflError as error:
            raise failed(f"{method}() failed: {error}") from error


@contextmanager
def whole_turn(client: str) -> Iterator[None]:
    """All of a client's turn, with what becomes of a task between two calls of it: whatever ends it, ClientFailed does.

    So does a SystemExit, or what a library raises that is no Exception; KeyboardInterrupt passes.
    """
    parent = os.getpid()
    try:
        yield
    except (KeyboardInterrupt, ClientFailed):
        raise
    except VeriflError as error:
        raise ClientFailed(client, str(error).removeprefix(f"client {client}: ")) from error
    except BaseException as error:  # of a user's code, or of a library that it calls; it is chained, not lost
        _end_child(parent, 1)
        if any(isinstance(each, KeyboardInterrupt) for each in causes(error)):
            raise KeyboardInterrupt from error
        raise ClientFailed(client, f"its turn ended: {explain(error)}") from error


def _end_child(parent: int, status: int) -> None:
    """A child that comes back from the user's code would go on as a second run, with the parties' secrets."""
    if os.getpid() != parent:
        if status:
            traceback.print_exc()
        os._exit(status)
