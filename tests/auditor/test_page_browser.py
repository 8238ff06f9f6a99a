"""The page in a real browser: on a screen, a phone and paper, in light and dark, to axe-core, and with hostile strings.

Where VERIFL_PICTURES names a directory, what was seen is left there, to be looked at.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditor import Report, audit
from auditor.reports.page.compose import page_of
from auditor.reports.page.render import to_html
from tests.auditor.test_page import COMMAND, MADE, long_course, report_of
from tests.auditor.test_page_html import HOSTILE, everywhere
from tests.browser import Browser, browser
from tests.required import needs, program

pytestmark = pytest.mark.organisations

GOLDEN = Path(__file__).parents[1] / "golden"
SCREENS = {"light": (1280, False), "dark": (1280, True), "phone": (360, False)}
AXE = """axe.run({resultTypes: ["violations"]}).then(found => found.violations.map(
    each => each.id + ": " + each.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" | ")))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    needs("chromium", "pdftotext", "axe_core_python")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def reports(folder: Path) -> Iterator[tuple[str, Report]]:
    """Accepted, also with noise and of a long federation; violated; damaged; of another policy."""
    for name, transcript in (("accepted", "honest"), ("noisy", "noisy"), ("violated", "rejected")):
        yield name, audit(GOLDEN / transcript / "transcript", GOLDEN / transcript / "policy.cbor", course=())
    damaged = Path(shutil.copytree(GOLDEN / "honest" / "transcript", folder / "damaged"))
    for blob in sorted((damaged / "blobs").glob("*/*"))[::2]:
        blob.unlink()
    yield "damaged", audit(damaged, GOLDEN / "honest" / "policy.cbor", course=())
    yield "other", audit(damaged, GOLDEN / "noisy" / "policy.cbor", course=())
    yield "long", report_of(long_course(300, 20, 1))


@pytest.fixture(scope="module")
def shown(tab: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages, by name."""
    folder, files = tmp_path_factory.mktemp("pages"), {}
    for name, report in reports(folder):
        files[name] = folder / f"{name}.html"
        files[name].write_text(to_html(page_of(report, COMMAND, MADE)), encoding="utf-8")
    return files


NAMES = ("accepted", "noisy", "violated", "damaged", "other", "long")


def keep(name: str, seen: Callable[[], bytes]) -> None:
    """Leave a picture where somebody wants to look at it."""
    if folder := os.environ.get("VERIFL_PICTURES"):
        Path(folder, name).write_bytes(seen())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("screen", SCREENS)
def test_it_is_seen_whole_and_loads_nothing(tab: Browser, shown: dict[str, Path], name: str, screen: str) -> None:
    width, dark = SCREENS[screen]
    tab.open(shown[name], width=width, dark=dark, mobile=screen == "phone")
    assert tab.requests == [shown[name].resolve().as_uri()]
    assert tab.complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background.strip("rgb()").split(","))) < 200) is dark
    hidden = "[...document.querySelectorAll('h1, h2, main p')].filter(each => !each.getClientRects().length).length"
    assert tab.evaluate(hidden) == 0
    assert tab.picture().startswith(b"\x89PNG")
    keep(f"{name}-{screen}.png", lambda: tab.picture(whole=True))


@pytest.mark.parametrize(
    ("name", "screen"),
    [
        *[("accepted", screen) for screen in SCREENS],
        ("noisy", "light"),
        ("violated", "light"),
        ("violated", "dark"),
        ("damaged", "phone"),
        ("damaged", "dark"),
        ("other", "dark"),
        ("long", "light"),
    ],
)
def test_axe_finds_nothing(tab: Browser, shown: dict[str, Path], name: str, screen: str) -> None:
    width, dark = SCREENS[screen]
    tab.open(shown[name], width=width, dark=dark, mobile=screen == "phone")
    assert violations(tab) == []


def test_axe_finds_what_there_is(tab: Browser, shown: dict[str, Path]) -> None:
    """It looks: a page without language and with a heading that is too faint has two faults."""
    tab.open(shown["accepted"])
    tab.evaluate("document.documentElement.removeAttribute('lang')")
    tab.evaluate("document.querySelector('h1').style.color = '#ddd'")
    assert [each.split(":")[0] for each in violations(tab)] == ["color-contrast", "html-has-lang"]


def violations(tab: Browser) -> list[str]:
    """What axe-core says of the page that is open."""
    spec = importlib.util.find_spec("axe_core_python")
    assert spec is not None
    assert spec.origin is not None
    tab.evaluate(Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8") + ";0")
    found = tab.evaluate(AXE)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("name", ["noisy", "violated", "damaged", "long"])
def test_on_paper_every_page_says_what_it_is_of(
    tab: Browser, shown: dict[str, Path], name: str, tmp_path: Path
) -> None:
    tab.open(shown[name], dark=True)  # paper is white all the same
    file = tmp_path / "page.pdf"
    file.write_bytes(tab.paper())
    keep(f"{name}.pdf", file.read_bytes)
    command = [program("pdftotext") or "pdftotext", "-layout", str(file), "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    pages = text.removesuffix("\f").split("\f")
    policy = tab.evaluate("document.querySelector('header code').textContent")
    for number, each in enumerate(pages, 1):
        assert f"page {number} of {len(pages)}" in each
        assert f"policy {policy}" in each
        assert "audited 2026-03-04 05:06 UTC by verifl-audit " in each
    assert "What this does not say" in text


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_strings_do_nothing(tab: Browser, bad: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(to_html(everywhere(bad)), encoding="utf-8")
    tab.open(file, width=1280)
    assert tab.requests == [file.as_uri()]
    assert tab.complaints == []
    assert tab.evaluate("document.scripts.length + document.images.length") == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 1280
    assert tab.evaluate("getComputedStyle(document.querySelector('main')).display") == "block"
    controls = r"/[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/"
    assert tab.evaluate(f"{controls}.test(document.body.innerText)") is False


def test_the_browser_keeps_to_the_policy(tab: Browser, shown: dict[str, Path]) -> None:
    """What would be put into the page by a mistake of ours is neither run nor loaded."""
    tab.open(shown["accepted"])
    tab.evaluate(
        """(() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const image = document.createElement("img");
            image.src = "https://example.org/picture.png";
            document.body.append(image);
            const style = document.createElement("style");
            style.textContent = "h1 { display: none }";
            document.body.append(style);
            document.body.setAttribute("style", "display: none");
        })()"""
    )
    assert tab.evaluate("window.ran === undefined")
    assert tab.evaluate("getComputedStyle(document.querySelector('h1')).display") == "block"
    assert tab.evaluate("getComputedStyle(document.body).display") == "block"
    assert len([each for each in tab.complaints if "Content Security Policy" in each]) >= 4
