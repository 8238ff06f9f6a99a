"""Refuses a wheel that ships anything but the four packages, or misses one: `python check_wheel.py DIST`."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

PACKAGES = {"proofs", "protocols", "verifl", "auditor"}
COMMANDS = {"verifl = verifl.__main__:main", "verifl-audit = auditor.__main__:main"}


def problems(wheel: Path) -> list[str]:
    """What is wrong with the wheel, one line each."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name.split("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
        scripts = set(archive.read(f"{metadata}/entry_points.txt").decode().splitlines())
    tops = {name.split("/")[0] for name in names}
    found = [f"unexpected top-level entry {top}" for top in sorted(tops - PACKAGES - {metadata})]
    found += [f"missing package {package}" for package in sorted(PACKAGES - tops)]
    found += [f"missing py.typed in {package}" for package in sorted(PACKAGES) if f"{package}/py.typed" not in names]
    found += [f"missing command {command}" for command in sorted(COMMANDS - scripts)]
    if not any(name.startswith("verifl/templates/") for name in names):
        found.append("missing verifl/templates")
    pages = ("page.html", "page.css")
    found += [f"missing {name}" for name in pages if f"auditor/reports/page/templates/{name}" not in names]
    return found


def main() -> int:
    """Checks the one wheel in the directory given."""
    wheels = list(Path(sys.argv[1]).glob("*.whl"))
    if len(wheels) != 1:
        print(f"expected one wheel in {sys.argv[1]}, found {len(wheels)}")
        return 2
    found = problems(wheels[0])
    print("\n".join(found) or f"{wheels[0].name}: the four packages and nothing else")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
