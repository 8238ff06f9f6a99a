"""Which programs the others run, told to people: a difference explains much, and is no reason to refuse anything."""

from __future__ import annotations

import logging

from protocols.rounds.versions import SOFTWARE

_LOGGER = logging.getLogger(__name__)


class VersionsSeen:
    """Logs what a party runs whenever that is news: another program than this one, or than before."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def note(self, party: str, software: str) -> None:
        """A party says that it runs this."""
        if self._known.get(party, SOFTWARE) != software:
            fields = {"event": "software", "party": party, "software": software}
            _LOGGER.info("%s runs %s, and this is %s", party, software, SOFTWARE, extra={"fields": fields})
        self._known[party] = software
