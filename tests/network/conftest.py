"""For all histories that are played as tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from proofs.machine.workers import set_workers
from tests.network.many import quietly


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Parties log much, and what they compute is too small for a second thread."""
    quietly()
    yield
    logging.disable(logging.NOTSET)
    set_workers(None)
