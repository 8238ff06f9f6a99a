"""A party's command, that leaves a copy of every answer before it is put anywhere: what was said, arrived or not.

python -P -c "from tests.verifl.carriers.exchange.journal import main; main()" FOLDER COMMAND...
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def keep(folder: Path) -> None:
    """From now on FOLDER has every answer of this process, named by its hash."""
    from protocols.blobs import blob_hash
    from verifl.carriers.exchange.public import PublicDirectory
    from verifl.carriers.exchange.website import PublicSite

    def kept(put: Callable[..., None]) -> Callable[..., None]:
        def put_and_keep(view: Any, party: str, answer: bytes) -> None:
            (folder / blob_hash(answer).hex()).write_bytes(answer)
            put(view, party, answer)

        return put_and_keep

    for kind in (PublicDirectory, PublicSite):
        kind.put = kept(kind.put)


def main() -> None:
    from proofs.machine.interrupts import stop_before_anything

    stop_before_anything()
    from verifl.commands.root import invoke

    keep(Path(sys.argv[1]))
    sys.exit(invoke(sys.argv[2:]))
