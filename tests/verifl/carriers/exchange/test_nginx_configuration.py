"""What `verifl exchange nginx` refuses to print, and what it prints of the policy."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import answer_limit
from tests.nginx import HOST, MAIN, free_port
from tests.required import needs, program
from tests.web import Authority
from verifl.carriers.exchange.nginx import Site, nginx_configuration
from verifl.commands.exchange import exchange

POLICY = Path(__file__).parents[3] / "golden/honest/policy.cbor"
PINNED = PinnedPolicy.open(POLICY.read_bytes())
CLIENT, OTHER = (member.id for member in PINNED.policy.roster[:2])


def run(folder: Path, *arguments: str) -> Result:
    fixed = ["nginx", "--policy", str(POLICY), "--public", str(folder / "public"), "--server-name", "v.example"]
    return CliRunner().invoke(exchange, [*fixed, *arguments])


WRONG = {
    "no way to show who one is": ((), "one of --tokens and --client-ca"),
    "two of them": (("--tokens", "t", "--client-ca", "c"), "one of --tokens and --client-ca"),
    "a name that ends the directive": (("--tokens", "t", "--server-name", "x; root /"), "--server-name"),
    "an address that does": (("--tokens", "t", "--listen", "443; root /"), "--listen"),
    "a path with a variable": (("--tokens", "$host"), "nginx cannot be told a name"),
    "a path with quotes": (("--tokens", 'a"b'), "nginx cannot be told a name"),
    "a path of two lines": (("--tokens", "a\nb"), "nginx cannot be told a name"),
    "a subject of a stranger": (("--client-ca", "c", "--subject", "nobody=CN=x"), "the policy has no such party"),
    "a subject of nobody": (("--client-ca", "c", "--subject", "CN"), "expected PARTY=SUBJECT"),
    "two subjects of one": (
        ("--client-ca", "c", "--subject", f"{CLIENT}=CN=a", "--subject", f"{CLIENT}=CN=b"),
        "once for a party",
    ),
    "a subject that is a pattern": (
        ("--client-ca", "c", "--subject", f"{CLIENT}=~.*"),
        "as RFC 2253 writes",
    ),
    "a subject of two": (("--client-ca", "c", "--subject", f"{CLIENT}=CN={OTHER}"), "another for each party"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_printed(what: str, tmp_path: Path) -> None:
    arguments, why = WRONG[what]
    done = run(tmp_path, *arguments)
    assert why in str(done.exception)
    assert done.stdout == ""


def test_limits_are_those_of_the_policy(tmp_path: Path) -> None:
    """Each trustee's, and the longest of a client's."""
    done = run(tmp_path, "--tokens", "tokens")
    limits = [int(each) for each in re.findall("client_max_body_size ([0-9]+);", done.stdout)]
    trustees = [answer_limit(PINNED, member.id) for member in PINNED.policy.trustees]
    assert limits == [*trustees, max(answer_limit(PINNED, member.id) for member in PINNED.policy.roster)]
    assert limits[0] < limits[-1]


def test_directories_have_the_group_of_the_user_of_nginx(tmp_path: Path) -> None:
    """Which need not have the user's name: `nobody` is of `nogroup`."""
    lines = [
        each for each in run(tmp_path, "--tokens", "t", "--user", "nobody").stdout.splitlines() if "install -d" in each
    ]
    group = '-g "$(id -gn nobody)" '
    assert [group in each for each in lines] == [False, True, True]
    [inbox] = [each.removeprefix("#   ") for each in lines if "2730" in each]
    made = subprocess.run(["sh", "-c", f"echo {inbox.split(' -g ')[1]}"], capture_output=True, text=True, check=True)
    own = subprocess.run(["id", "-gn", "nobody"], capture_output=True, text=True, check=True)
    assert made.stdout.startswith(own.stdout.strip() + " -m 2730 ")


@pytest.mark.parametrize("name", ["x", "trustee-1"])
def test_a_token_is_made_once(name: str, tmp_path: Path) -> None:
    made = CliRunner().invoke(exchange, ["token", name, str(tmp_path / "token")])
    assert made.stdout.startswith(f"{name}:{{SSHA}}")
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    again = CliRunner().invoke(exchange, ["token", name, str(tmp_path / "token")])
    assert "a token is never overwritten" in str(again.exception)
    assert "expected an id" in str(CliRunner().invoke(exchange, ["token", "a:b", str(tmp_path / "b")]).exception)


@pytest.mark.organisations
@pytest.mark.parametrize("subject", ["CN=x y", "CN=" + "a" * 200, r"CN=a\, b,O=Hospital\+1", "CN=\u00e9", 'CN=a\\"b'])
def test_nginx_takes_subjects_of_all_kinds(subject: str, tmp_path: Path) -> None:
    needs("nginx")
    authority = Authority(tmp_path)
    server = str(authority.issue(""))
    (tmp_path / "public/exchange").mkdir(parents=True)
    own = ["--certificate", server, "--certificate-key", server, "--listen", f"{HOST}:{free_port()}"]
    done = run(tmp_path, "--client-ca", str(authority.file), "--subject", f"{CLIENT}={subject}", *own)
    assert done.exit_code == 0, done.exception
    check(tmp_path, done.stdout)


@pytest.mark.organisations
def test_nginx_takes_the_longest_names(tmp_path: Path) -> None:
    needs("nginx")
    server, policy = Authority(tmp_path).issue(""), PINNED.policy
    (tmp_path / "public/exchange").mkdir(parents=True)
    longest = replace(policy.trustees[0], id="t" * 64)
    pinned = replace(PINNED, policy=replace(policy, federation="1" + "f" * 63, trustees=(longest,)))
    site = Site(tmp_path / "public", HOST, server, server, tmp_path / "tokens", listen=(f"{HOST}:{free_port()}",))
    check(tmp_path, nginx_configuration(pinned, site))


def check(folder: Path, configuration: str) -> None:
    """By nginx itself."""
    (folder / "site.conf").write_text(configuration)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=""))
    places = ["-p", str(folder), "-c", str(folder / "nginx.conf")]
    tested = subprocess.run(
        [str(program("nginx")), "-t", "-q", "-e", "stderr", *places], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stderr
