"""What the files of an exchange say of whoever wrote them: which version they are of, and which program it was.

The version decides whether two parties understand each other: it changes with whatever is asked, answered or logged,
and with nothing else. The program is for people: which one somebody runs is no reason to refuse anything.
"""

from __future__ import annotations

from typing import Annotated

from proofs import VERSION
from proofs.errors import Rejected
from protocols.messages import AtMost

EXCHANGE_VERSION = 1
Software = Annotated[str, AtMost(64)]
SOFTWARE = f"verifl {VERSION}"


def check_version(found: int) -> None:
    """Raise Rejected("exchange-version") for another version, before anything else of the file is believed."""
    if found != EXCHANGE_VERSION:
        advice = (
            "install a newer verifl here" if found > EXCHANGE_VERSION else "whoever wrote this needs a newer verifl"
        )
        expected = f"version {EXCHANGE_VERSION} of the exchange, as {SOFTWARE} has it"
        raise Rejected("exchange-version", expected, f"version {found}; {advice}")
