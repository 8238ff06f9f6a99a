"""Requests to be enrolled, as files: made where a key is, taken into the enrolment document where the issuer is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import STATEMENT_LIMIT
from protocols.requests import KeyRequest, open_request
from verifl.enrolment.roster import NewMember, add_members, read_roster


def read_request(path: Path) -> KeyRequest:
    """The request in a file that `verifl keys request` wrote; raises Misuse, naming the file, for any other."""
    try:
        return open_request(read_statement(path))
    except (Malformed, Rejected) as error:
        raise Misuse(f"{path}: {error}") from None


def read_statement(path: Path) -> bytes:
    """A file's bytes, at most one more than a signed statement may have."""
    with path.open("rb") as file:
        return file.read(STATEMENT_LIMIT + 1)


def admit(document: Path, files: Sequence[Path]) -> list[KeyRequest]:
    """Take the parties of all these requests into the document, or none.

    Raises Misuse, naming the file, for a request to another federation; as `read_request`, and as `add_members` for a
    name or a key that is there already.
    """
    federation = read_roster(document).federation.name
    requests = []
    for path in files:
        request = read_request(path)
        if request.federation != federation:
            raise Misuse(
                f"{path}: federation: expected a request to {federation}, found one to {request.federation}: it may be "
                "an old one; have the party make another"
            )
        requests.append(request)
    add_members(document, [NewMember(each.role, each.name, each.public_key.hex()) for each in requests])
    return requests
