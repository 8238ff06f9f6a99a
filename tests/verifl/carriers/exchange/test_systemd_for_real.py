"""What units say, done: each party as a user of its own, on a system that it sees read-only, with what root hands over.

Where systemd does not run, its part is done by `unshare` and `setpriv`: directories and credentials made as it makes
them, a mount namespace in which nothing can be written but what the unit names, no capabilities, no new privileges.
Filters of system calls are left out; `test_systemd` has systemd itself read them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.required import needs, needs_root, program
from tests.verifl.carriers.exchange.consortium import CLIENTS, CONFIG, ROOT, TRUSTEES, Consortium, gathered
from tests.verifl.carriers.exchange.consortium import run_in_one_process as run_alone
from tests.verifl.carriers.exchange.test_consortium import settled
from tests.verifl.carriers.exchange.website import TOKENS, USER, Website, published
from verifl.carriers.exchange.systemd import Unit, systemd_unit

pytestmark = pytest.mark.organisations
USERS = {"coordinator": 61_901, "trustee": 61_902, "client": 61_903, "auditor": 61_904}  # that nobody is
# As root, in namespaces of its own: everything read-only, then what may be written, then what the unit starts.
ENTERED = """
set -eu
mount --make-rprivate /
{opened}
for place in {lib} {cache} {writable}; do mount --bind "$place" "$place"; done
mount --bind {lib} /var/lib
mount --bind {cache} /var/cache
mount -t tmpfs -o mode=1777,size=64m none /var/tmp
mount -o remount,bind,ro /
export TMPDIR=/var/tmp
cd /
exec setpriv --reuid {user} --regid {user} --groups {groups} \\
    --inh-caps=-all --bounding-set=-all --no-new-privs {command}
"""


@dataclass
class Started:
    """A unit's settings, by name, each with all its values."""

    settings: dict[str, list[str]]
    role: str

    @property
    def user(self) -> int:
        return USERS[self.role]

    def one(self, name: str) -> str:
        [value] = self.settings[name]
        return value

    def script(self, place: Path) -> str:
        """What has to be typed in the namespace; the directories of the unit are made here."""
        lib, cache, handed = place / "lib", place / "cache", place / "credentials"
        for folder in (lib, cache, handed):
            folder.mkdir(mode=0o755)
        for above, kind in ((lib, "State"), (cache, "Cache")):
            own = above / self.one(f"{kind}Directory")
            own.mkdir(mode=int(self.one(f"{kind}DirectoryMode"), 8))
            os.chown(own, self.user, self.user)
        for each in self.settings["LoadCredential"]:
            name, _, source = each.partition(":")
            shutil.copyfile(source, handed / name)
            os.chown(handed / name, self.user, self.user)
            (handed / name).chmod(0o400)
        command = self.one("ExecStart").replace("%S", "/var/lib").replace("%C", "/var/cache").replace("%d", str(handed))
        groups = ",".join(str(_group(each)) for each in self.settings["SupplementaryGroups"]) or str(self.user)
        return ENTERED.format(
            opened="\n".join(_opened()),
            lib=lib, cache=cache, writable=" ".join(self.settings["ReadWritePaths"]),
            user=self.user, groups=groups, command=command,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """A unit's, which has little of its own."""
        path = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}
        added = (each.replace("%C", "/var/cache").partition("=") for each in self.settings["Environment"])
        return path | {name: value for name, _, value in added}


def _group(name: str) -> int:
    import grp

    return grp.getgrnam(name).gr_gid


def _opened() -> Iterator[str]:
    """What runs, in directories that nobody else enters, is moved to where they do, by the same paths."""
    places = sorted({Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT})
    closed = {above for place in places for above in place.parents if not above.stat().st_mode & 0o001}
    aside = {place: f"/run/verifl-test/{number}" for number, place in enumerate(places)}
    for place, kept in aside.items():
        yield f"mkdir -p {kept} && mount --bind {place} {kept}"
    for above in sorted(closed):
        yield f"mount -t tmpfs -o mode=755 none {above}"
        for place in places:
            if above in place.parents:
                yield f"mkdir -p {place} && mount --bind {aside[place]} {place}"
        yield f"mount -o remount,ro {above}"


def parsed(text: str, role: str) -> Started:
    """The [Service] section of a unit."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.split("[Service]\n")[1].split("[Install]", maxsplit=1)[0].splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return Started(found, role)


class Units(Consortium):
    """Some parties are started by their units."""

    units: dict[str, Started]

    def begin(self, name: str) -> None:
        unit = self.units[name]
        umask = int(unit.one("UMask"), 8)
        place = self.folder / f"unit-{name}"
        place.mkdir(mode=0o755)
        script = unit.script(place)
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                [str(program("unshare")), "--mount", "--ipc", "--propagation", "private", "/bin/sh", "-c", script],
                stdout=log, stderr=log, env=unit.environment(), umask=umask, start_new_session=True,
            )  # fmt: skip


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    needs("nginx", "unshare", "setpriv", "systemd-analyze")
    needs_root()
    probe = [str(program("unshare")), "--mount", "sh", "-c", "mount -t tmpfs none /mnt && mount -o remount,bind,ro /"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs a machine that lets root make mount namespaces")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = Path(tempfile.mkdtemp(prefix="verifl-units-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def unit_of(consortium: Consortium, website: Website, role: str, name: str) -> Unit:
    """As `verifl exchange systemd ROLE` makes it, for a party whose files are root's."""
    etc = consortium.folder / "etc"
    etc.mkdir(exist_ok=True)
    at = consortium.public if role == "coordinator" else website.url
    lines = [f'role = "{role}"', f'public = "{at}"', f'policy = "{consortium.policy}"']
    if role != "coordinator":
        lines += [f'ca_file = "{website.authority.file}"', "poll = 0.05"]
    if role != "trustee":
        lines.append(f'training = "{consortium.folder / "config.toml"}"')
    (etc / f"{role}.toml").write_text("\n".join([*lines, "[logs]", 'format = "json"', ""]))
    key = etc / f"{role}.pem"
    shutil.copyfile(consortium.home(name) / "identity.pem", key)
    key.chmod(0o600)
    command = Path(sys.executable).with_name("verifl")
    token = None if role == "coordinator" else website.file(name)
    own = {"public": consortium.public, "group": USER} if role == "coordinator" else {}
    return Unit(role, command, etc / f"{role}.toml", f"verifl-{role}", key, token=token, **own)


def test_parties_run_as_their_units_say(place: Path) -> None:
    with gathered(place, CONFIG.replace("rounds = 2", "rounds = 1").replace("trustees = 1.0", "trustees = 120")) as old:
        run_alone(old)
        user = USERS["coordinator"]
        with published(place / "web", TOKENS, old.policy, old.public, coordinator=(user, user)) as website:
            parties = Units(place, way=website.way, running=old.running)
            roles = {"coordinator": "coordinator", TRUSTEES[0]: "trustee", CLIENTS[0]: "client"}
            texts = {name: systemd_unit(unit_of(old, website, role, name)) for name, role in roles.items()}
            parties.units = {name: parsed(texts[name], role) for name, role in roles.items()}
            os.chown(old.public, user, user)
            for name in roles:
                parties.begin(name)
            for name in (*CLIENTS[1:], *TRUSTEES[1:]):
                parties.start(name)
            parties.wait(lambda: settled(parties))
            assert parties.end("coordinator") == 0, parties.log("coordinator").read_text()[-2000:]
            receipt = place / f"unit-{CLIENTS[0]}/lib/verifl-client/receipts/round-1.cbor"
            parties.wait(receipt.exists)
            for name in (TRUSTEES[0], CLIENTS[0]):
                assert parties.stop(name, signal.SIGTERM) == 0, parties.log(name).read_text()[-2000:]
            check_owned(parties, roles)
            follow(parties)


def check_owned(parties: Units, roles: dict[str, str]) -> None:
    """All that a unit wrote is its user's, and nobody else's but what is published."""
    for name, role in roles.items():
        for folder in ("lib", "cache"):
            for path in (parties.folder / f"unit-{name}" / folder).glob("*/**/*"):
                status = path.lstat()
                assert status.st_uid == USERS[role], path
                assert folder == "cache" or role == "coordinator" or not status.st_mode & 0o077, path
        assert not parties.breaches(name)
        assert "Permission denied" not in parties.log(name).read_text()
        assert "Read-only" not in parties.log(name).read_text()
        assert "compiled code is not" not in parties.log(name).read_text()


def follow(parties: Units) -> None:
    """An auditor's unit, on what was published: it has a user of its own, and keeps what it has seen."""
    command, name = Path(sys.executable).with_name("verifl-audit"), "auditor"
    unit = Unit(
        "auditor", command, Path("/none"), "none", place=str(parties.public / "transcript"), policy=parties.policy
    )
    parties.units["auditor"] = parsed(systemd_unit(unit), "auditor")
    parties.begin(name)
    followed = '"event": "follow", "accepted": true'
    parties.wait(lambda: followed in parties.log(name).read_text() or parties.running[name].poll() is not None)
    assert parties.running[name].poll() is None, parties.log(name).read_text()
    parties.running[name].send_signal(signal.SIGTERM)
    parties.running.pop(name).wait(60)
    kept = [path for path in (parties.folder / "unit-auditor/lib/verifl-auditor").rglob("*") if path.is_file()]
    assert kept
    assert {path.stat().st_uid for path in kept} == {USERS["auditor"]}


def test_the_command_line_of_a_unit_has_no_quotes() -> None:
    """Which the shell here would read in another way than systemd does."""
    unit = Unit("trustee", Path("/usr/bin/verifl"), Path("/etc/verifl/trustee.toml"), "verifl-trustee", Path("/etc/k"))
    started = parsed(systemd_unit(unit), "trustee").one("ExecStart")
    assert shlex.split(started) == started.split(" ")
