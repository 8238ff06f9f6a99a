"""The configuration of a stock nginx that publishes an exchange, and lets each party put files into its own inbox.

The web server is trusted with nothing that an audit rests on. What it keeps away is what no signature can: that a
stranger fills the disk, or that a client reads another's answer before it is published.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proofs.errors import Misuse
from protocols.hashes import sha256
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import answer_limit
from verifl.carriers.exchange.public import INBOX, REHEARSAL, REHEARSED_ROUND

INCOMING = (
    "exchange/.incoming"  # where the web server writes what is not complete; on the same file system as the inboxes
)
_CIPHERS = tuple(
    f"ECDHE-{signed}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for signed in ("ECDSA", "RSA")
)  # of TLS 1.2; those of TLS 1.3 are all good
_PARTY = "[a-z0-9][a-z0-9._-]{0,63}"
_NAME = "[0-9a-f]{64}"
_PLACES = ("", f"{REHEARSAL}/", f"{REHEARSED_ROUND}/")  # where parties meet, below the root
_ANYWHERE = "|".join(_PLACES)
_UNQUOTED = re.compile(r'[\x00-\x1f"\\$\x7f]')


@dataclass(frozen=True)
class Site:
    """What a configuration is made for. Either tokens is given, a file of lines as `token_line` makes them, or
    client_ca, certificates in PEM that issue the parties'; subjects: of parties whose certificate has another than
    CN=<party>, by party, as RFC 2253 writes it. listen: addresses and ports, as nginx writes them. user: as whom nginx
    works, coordinator: as whom the coordinator runs."""

    public: Path
    server_name: str
    certificate: Path
    certificate_key: Path
    tokens: Path | None = None
    client_ca: Path | None = None
    subjects: dict[str, str] = field(default_factory=dict)
    listen: tuple[str, ...] = ("443", "[::]:443")
    user: str = "www-data"
    coordinator: str = "verifl"


def nginx_configuration(pinned: PinnedPolicy, site: Site) -> str:
    """Text for http {} of nginx 1.18 or newer; raises Misuse for what cannot be written there, or is not of the
    policy."""
    if (site.tokens is None) == (site.client_ca is None):
        raise Misuse("expected one of --tokens and --client-ca: how parties show who they are")
    if re.fullmatch(r"[A-Za-z0-9.-]{1,253}", site.server_name) is None:
        raise Misuse(f"--server-name: expected a host's name or address, found {site.server_name!a}")
    for each in site.listen:
        if re.fullmatch(r"([0-9a-z.*-]+:|\[[0-9a-f:.]+\]:)?[0-9]{1,5}", each) is None:
            raise Misuse(f"--listen: expected PORT or ADDRESS:PORT, found {each!a}")
    return "\n".join([*_preparation(pinned, site), *_outside(pinned, site), *_server(pinned, site)]) + "\n"


def _preparation(pinned: PinnedPolicy, site: Site) -> list[str]:
    public, inbox, incoming = site.public, site.public / INBOX, site.public / INCOMING
    user, coordinator = site.user, site.coordinator
    group = f'"$(id -gn {user})"'  # not on every system has it the user's name
    return [
        f"# The exchange of the federation {pinned.policy.federation}, for nginx 1.18 or newer.",
        f"# Printed by `verifl exchange nginx` for the policy {pinned.hash.hex()}.",
        "# It belongs into http {}, on Debian as a file of /etc/nginx/sites-enabled/.",
        "#",
        f"# Once, as root, where {coordinator} is the user of `verifl coordinator run`, and {user} that of nginx:",
        f"#   usermod --append --groups {group} {coordinator}",
        f"#   install -d -o {coordinator} -g {coordinator} -m 0755 {_word(public)} {_word(inbox.parent)}",
        f"#   install -d -o {coordinator} -g {group} -m 2730 {_word(inbox)}",
        f"#   install -d -o {user} -g {group} -m 0700 {_word(incoming)}",
        "# An inbox takes its rights from the directory that holds it: nginx writes there, and can list nothing.",
        "",
    ]


def _outside(pinned: PinnedPolicy, site: Site) -> list[str]:
    own = _prefix(pinned)
    lines = [
        f"limit_req_zone $binary_remote_addr zone={own}_get:10m rate=200r/s;",
        f"limit_req_zone $binary_remote_addr zone={own}_put:10m rate=10r/s;",
        f"limit_conn_zone $binary_remote_addr zone={own}_connections:10m;",
    ]
    if site.client_ca is None:
        return [*lines, ""]
    subjects = _subjects(pinned, site)
    if max(map(len, subjects)) > 40:
        lines.append("map_hash_bucket_size 512;")
    return [
        *lines,
        "# Whose certificate it is.",
        f"map $ssl_client_s_dn ${own}_party {{",
        '    default "";',
        *(f"    {_subject(subject)} {party};" for subject, party in subjects.items()),
        "}",
        "",
    ]


def _subjects(pinned: PinnedPolicy, site: Site) -> dict[str, str]:
    """Parties by the subject of their certificate."""
    parties = list(dict.fromkeys(member.id for member in (*pinned.policy.trustees, *pinned.policy.roster)))
    if strangers := sorted(set(site.subjects) - set(parties)):
        raise Misuse(f"--subject {strangers[0]}=...: the policy has no such party")
    subjects = {site.subjects.get(party, f"CN={party}"): party for party in parties}
    if len(subjects) != len(parties):
        raise Misuse("--subject: expected another for each party")
    return subjects


def _server(pinned: PinnedPolicy, site: Site) -> list[str]:
    own = _prefix(pinned)
    client_ca = [] if site.client_ca is None else [
        f"ssl_client_certificate {_quoted(site.client_ca)};",
        "ssl_verify_client optional;  # who only reads has none",
        "ssl_verify_depth 3;",
    ]  # fmt: skip
    inside = [
        *(f"listen {each} ssl;" for each in site.listen),
        f"server_name {site.server_name};",
        "",
        f"ssl_certificate {_quoted(site.certificate)};",
        f"ssl_certificate_key {_quoted(site.certificate_key)};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        f"ssl_ciphers {':'.join(_CIPHERS)};",
        "ssl_prefer_server_ciphers off;",
        f"ssl_session_cache shared:{own}:2m;",
        "ssl_session_tickets off;",
        *client_ca,
        "",
        f"root {_quoted(site.public)};",
        "disable_symlinks on from=$document_root;",
        "autoindex off;",
        "server_tokens off;",
        "gzip off;  # a reader counts bytes before it has them",
        "etag on;  # a proposal that is the same costs no more than its headers",
        "sendfile on;",
        "types { }",
        "default_type application/octet-stream;",
        "",
        "# A line of 1 Mbit/s may take as long as it needs; one that stands still may not.",
        "client_header_timeout 20s;",
        "client_body_timeout 60s;",
        "send_timeout 60s;",
        "keepalive_timeout 75s;",
        "client_max_body_size 1k;",
        f"client_body_temp_path {_quoted(site.public / INCOMING)};",
        "",
        "limit_req_status 429;",
        "limit_conn_status 429;",
        f"limit_conn {own}_connections 64;",
        f"limit_req zone={own}_get burst=1000;",
        "",
        "if ($request_method !~ ^(GET|HEAD|PUT)$) {",
        "    return 405;",
        "}",
        "",
        "# Files that are being written.",
        *_location(r"~ /\.", ["return 404;"]),
        *_inboxes(pinned, site),
        *_reading(),
    ]
    return ["server {", *(f"    {line}" if line else "" for line in inside), "}"]


def _inboxes(pinned: PinnedPolicy, site: Site) -> list[str]:
    """A client's answers are longer than a trustee's, so each trustee's inbox has a limit of its own."""
    lines = ["# Nobody reads or lists an inbox."]
    for place in _PLACES:
        lines += _location(f"/{place}{INBOX}", ["return 404;"])
    for trustee in pinned.policy.trustees:
        limit = answer_limit(pinned, trustee.id)
        lines += _location(_inbox(pinned, trustee.id.replace(".", r"\.")), _putting(pinned, site, limit))
    limits = [answer_limit(pinned, member.id) for member in pinned.policy.roster]
    return [*lines, *_location(_inbox(pinned, _PARTY), _putting(pinned, site, max(limits)))]


def _inbox(pinned: PinnedPolicy, party: str) -> str:
    return f'~ "^/({_ANYWHERE}){INBOX}/(?<{_prefix(pinned)}_inbox>{party})/{_NAME}$"'


def _putting(pinned: PinnedPolicy, site: Site, limit: int) -> list[str]:
    own = _prefix(pinned)
    if site.tokens is None:
        shown = f"${own}_party"
        who = ["if ($ssl_client_verify != SUCCESS) {", "    return 403;", "}"]
        asked = list[str]()
    else:
        shown, who = "$remote_user", []
        asked = ['auth_basic "verifl";', f"auth_basic_user_file {_quoted(site.tokens)};"]
    return [
        "if ($request_method != PUT) {",
        "    return 405;",
        "}",
        *who,
        f"if ({shown} != ${own}_inbox) {{  # another's inbox",
        "    return 403;",
        "}",
        "if (-e $request_filename) {  # nothing is replaced",
        "    return 412;",
        "}",
        *asked,
        "dav_methods PUT;  # it has its name when it is complete",
        "dav_access user:rw group:r;",
        "create_full_put_path off;",
        f"client_max_body_size {limit};",
        f"limit_req zone={own}_put burst=40;",
    ]


def _reading() -> list[str]:
    lasting, fresh = "public, max-age=31536000, immutable", "no-store"
    lines = ["# What has a name of its own never changes; the newest of something is never kept."]
    for path in ("/transcript/tile/", "/transcript/blobs/", "/exchange/bundles/"):
        lines += _location(path, _headers(lasting))
    for path in ("= /transcript/checkpoint", "= /exchange/proposal"):
        lines += _location(path, _headers(fresh))
    return [*lines, *_location("/", _headers("no-cache"))]


def _headers(caching: str) -> list[str]:
    return [f'add_header Cache-Control "{caching}";', "add_header X-Content-Type-Options nosniff;"]


def _location(where: str, lines: Sequence[str]) -> list[str]:
    return [f"location {where} {{", *(f"    {line}" for line in lines), "}"]


def _prefix(pinned: PinnedPolicy) -> str:
    """Of names that have to differ from those of another federation on the same web server; with what follows it at
    most the 32 characters that a name in a regular expression may have (PCRE)."""
    federation = pinned.policy.federation
    return f"verifl_{re.sub('[^a-z0-9]', '_', federation[:10])}_{sha256(federation.encode()).hex()[:6]}"


def _quoted(text: str | Path) -> str:
    """A value of a directive, as it is."""
    if _UNQUOTED.search(str(text)) is not None:
        raise Misuse(f"{str(text)!a}: nginx cannot be told a name with quotes, backslashes, $ or control characters")
    return f'"{text}"'


def _subject(text: str) -> str:
    """A subject as a key of `map`, as it is: its backslashes escape nothing there."""
    if re.fullmatch(r"[A-Za-z0-9.]+=[^\x00-\x1f\x7f]*", text) is None:
        raise Misuse(f"--subject: expected a name as RFC 2253 writes it, CN=... for one, found {text!a}")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _word(path: Path) -> str:
    return _quoted(path) if re.search("[^A-Za-z0-9_./-]", str(path)) else str(path)
