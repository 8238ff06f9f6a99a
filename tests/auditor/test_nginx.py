"""An audit of what a stock web server publishes, by its address."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor import audit
from protocols.log.connection import Remote
from tests.nginx import HOST, free_port, nginx
from tests.required import needs
from tests.web import certificates

pytestmark = pytest.mark.organisations

GOLDEN = Path(__file__).parents[1] / "golden"
SITE = """
server {{
    listen {host}:{port} ssl;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.pem;
    root {root};
}}
"""


@pytest.mark.parametrize("name", ["honest", "rejected"])
def test_the_report_is_that_of_the_directory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("nginx")
    monkeypatch.setenv("NO_PROXY", HOST)
    transcript, policy = GOLDEN / name / "transcript", GOLDEN / name / "policy.cbor"
    authority, _ = certificates(tmp_path)
    port = free_port()
    with nginx(tmp_path / "nginx", port, SITE.format(host=HOST, port=port, folder=tmp_path, root=transcript)):
        fetched = audit(Remote(f"https://{HOST}:{port}", authority), policy)
    copied = audit(transcript, policy)
    assert fetched.accepted == copied.accepted
    assert [(each.id, each.status) for each in fetched.checks] == [(each.id, each.status) for each in copied.checks]
