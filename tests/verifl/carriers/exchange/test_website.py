"""Parties that meet over HTTPS: stock nginx between them, and the model is that of one process, bit by bit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor.cli import main
from tests.required import needs
from tests.verifl.carriers.exchange.consortium import (
    CLIENTS,
    CONFIG,
    TRUSTEES,
    Consortium,
    gathered,
    run_in_one_process,
)
from tests.verifl.carriers.exchange.test_consortium import check_outcome, settled
from tests.verifl.carriers.exchange.website import CERTIFICATES, TOKENS, Website, published

PATIENT = CONFIG.replace("trustees = 1.0", "trustees = 120")  # nobody is late, however busy the machine
pytestmark = pytest.mark.organisations


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that other users can reach."""
    needs("nginx")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = Path(tempfile.mkdtemp(prefix="verifl-web-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("how", "rounds"), [(CERTIFICATES, 2), (TOKENS, 1)])
def test_a_federation_over_https(how: str, rounds: int, place: Path) -> None:
    with gathered(place, PATIENT.replace("rounds = 2", f"rounds = {rounds}")) as consortium:
        alone = run_in_one_process(consortium)
        with published(place / "web", how, consortium.policy, consortium.public) as website:
            consortium.way = website.way
            run(consortium, website, rounds)
            check_outcome(consortium, alone)
            trusted = ["--ca-file", str(website.authority.file), "--policy", str(consortium.policy)]
            audited = CliRunner().invoke(main, [website.url + "/transcript", *trusted])
            assert audited.exit_code == 0, audited.output
            assert f"{website.url}/transcript" in audited.stdout


def run(consortium: Consortium, website: Website, rounds: int) -> None:
    """So many rounds; the web server is away for a while when clients train."""
    for name in ("coordinator", *CLIENTS, *TRUSTEES):
        consortium.start(name)
    consortium.wait(lambda: consortium.asked_for("submissions") == 1)
    website.server.stop()
    consortium.wait(lambda: all(consortium.events(name, "unreachable") for name in (*CLIENTS, *TRUSTEES)))
    website.server.start()
    consortium.wait(lambda: settled(consortium))
    assert consortium.end("coordinator") == 0
    consortium.wait(lambda: all((consortium.home(name) / f"receipts/round-{rounds}.cbor").exists() for name in CLIENTS))
    assert [consortium.stop(name) for name in (*CLIENTS, *TRUSTEES)] == [0] * 6
