"""The page as markup: one file that loads nothing and runs nothing, whatever a transcript says, and that people can
read who see, hear or print it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from auditor import Report, audit
from auditor.cli import main
from auditor.reports.course import (
    NOISE,
    RELEASED,
    SUMMED,
    Blob,
    CitedEntry,
    Course,
    Node,
    Offence,
    OpenDispute,
    RoundCourse,
    RoundEvidence,
    Row,
    Run,
)
from auditor.reports.page.compose import MOST_EVENTS, page_of
from auditor.reports.page.render import to_html
from auditor.reports.page.values import Conflict, Page
from auditor.reports.results import MAX_FINDINGS, Event, Finding, Kind, Place, Status, Story
from protocols.messages import Aggregate, Submission
from tests.auditor.conftest import Forged
from tests.auditor.test_page import COMMAND, MADE, report_of
from tests.auditor.test_page import policy as some_policy
from tests.simulator import Simulation

Simulations = Callable[[str], Simulation]
VOID = {"meta", "input", "br", "img", "link", "hr", "col", "path", "circle", "rect"}
FORBIDDEN = {
    "script",
    "iframe",
    "object",
    "embed",
    "link",
    "img",
    "base",
    "form",
    "input",
    "video",
    "audio",
    "foreignobject",
}
RAW = "\u202e\u2066\u200b\x00\x07\x1b\x7f\u0085\ufeff\ud800"
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'\"></title></style></svg><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "]]><!--",
    RAW,
    "\u05d0\u05d1\u05d2 \u0627\u0628",
    "a\u0300" * 50,
    "w" * 100_000,
    "}*{display:none}",
    "\n\r\t  ",
)


@dataclass
class Element:
    """One element, with its attributes and all text in it."""

    name: str
    attributes: dict[str, str | None]
    text: list[str] = field(default_factory=list)
    inside: list[Element] = field(default_factory=list)

    @property
    def said(self) -> str:
        return " ".join("".join(self.text).split())


class Reader(HTMLParser):
    """Reads a page strictly: whatever is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[Element] = []
        self._open: list[Element] = []
        self.feed(text)
        assert not self._open, [each.name for each in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, dict(attrs), inside=list(self._open))
        assert len(made.attributes) == len(attrs), f"an attribute twice: {attrs}"
        self.all.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append(Element(tag, dict(attrs), inside=list(self._open)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self._open, f"</{tag}> of nothing"
        assert self._open[-1].name == tag, f"</{tag}> in {self._open[-1].name}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for each in self._open:
            each.text.append(data)

    def named(self, *names: str) -> list[Element]:
        return [each for each in self.all if each.name in names]

    def value(self, name: str) -> Iterator[str]:
        """Of an attribute, wherever it is."""
        yield from (each.attributes[name] or "" for each in self.all if name in each.attributes)


def html_of(report: Report, **others: Any) -> str:
    return to_html(page_of(report, COMMAND, MADE, **others))


def read(simulations: Simulations, name: str) -> Reader:
    return Reader(html_of(audit(simulations(name).path, simulations(name).policy_data, course=())))


@pytest.fixture(scope="module")
def pages(simulations: Simulations) -> dict[str, Reader]:
    return {name: read(simulations, name) for name in NAMES}


NAMES = ("quiet", "eventful", "noisy")


# ---- nothing runs, nothing is loaded ----


def loads_nothing(page: Reader) -> None:
    assert not [each.name for each in page.all if each.name in FORBIDDEN]
    assert not [name for each in page.all for name in each.attributes if name.startswith("on") or name == "style"]
    for name in ("src", "srcset", "action", "data", "poster", "xlink:href", "background", "formaction", "ping"):
        assert not list(page.value(name))
    assert all(re.fullmatch(r"#[A-Za-z0-9-]+", link) for link in page.value("href"))
    (style,) = page.named("style")
    assert not re.search(r"url\(|@import|expression|\\0", style.said, re.IGNORECASE)


def the_policy_holds(text: str, page: Reader) -> None:
    """A content-security policy stands before anything that it is about, and allows the one style sheet by its hash."""
    (policy,) = [each for each in page.named("meta") if each.attributes.get("http-equiv") == "Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.attributes["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert text.index("Content-Security-Policy") < text.index("<title>")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_loads_nothing(pages: dict[str, Reader], simulations: Simulations, name: str) -> None:
    loads_nothing(pages[name])


def test_the_content_security_policy(simulations: Simulations) -> None:
    text = html_of(audit(simulations("quiet").path, simulations("quiet").policy_data, course=()))
    the_policy_holds(text, Reader(text))


@pytest.mark.parametrize("bad", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_a_transcript_says_is_text(bad: str) -> None:
    """Every string of a page is the hostile one: it makes no element and no attribute, and cannot act on its reader."""
    honest, hostile = (Reader(to_html(everywhere(text))) for text in ("harmless", bad))
    text = to_html(everywhere(bad))
    loads_nothing(hostile)
    the_policy_holds(text, hostile)
    assert shape(hostile) == shape(honest)
    seen = "".join(each for each in text if not each.isprintable() and each not in "\n")
    assert seen == ""
    assert len(text) < 1_500_000


def shape(page: Reader) -> list[tuple[str, list[str]]]:
    """Elements with their attributes, but for the lines of checkpoints, of which there are as many as there are."""
    quoted = [each for each in page.all if not any(outer.name == "pre" for outer in each.inside)]
    return [(each.name, sorted(each.attributes)) for each in quoted]


def everywhere(text: str) -> Page:
    """A page whose strings that a transcript can choose are all this one, with at least one of whatever there is."""
    finding = Finding(Place(text, entry=3, party=text, field=text), text, text, Kind.BROKEN, "coordinator")
    course = Course(
        policy=some_policy(),
        rounds=(RoundCourse(1, 3, 1, 1, 1, 1, 1, 1, "aborted", text, text, 1, 4, ((text, text),)),),
        clients=(Row(text, (Run(SUMMED, 0, 1, text),)),),
        trustees=(Row(text, (Run(RELEASED, 0, 1, text),)),),
        noise=(Row(text, (Run(NOISE, 0, 1, text),)),),
        drawable=(1, 2),
        offences=(Offence(text, text, 1, 3, text, text, (Blob(text, text),)),),
        disputes=(OpenDispute(text, text, 1, 3, text),),
        evidence=(RoundEvidence(1, (Node(3, 0, text, text), Node(4, 1, text, text)), ((3, 4, True),), (2, 1)),),
        cited=(CitedEntry(3, text, text, 1, text, text, 3),),
        changes=((3, text, text),),
        ending=(4, text),
    )
    report = report_of(course, I1=Status.FAIL)
    checks = tuple(
        replace(each, checked=text, reason=text, notes=(text,), warnings=(text,), findings=(finding,))
        for each in report.checks
    )
    story = Story(text, (text,), (Event(1, 3, text, holds=False),), (("I1", finding),))
    report = replace(
        report, checks=checks, transcript=text, federation=text, trusted=(text,), pinned=False, story=story
    )
    conflict = Conflict(text, text, ((text, text),))
    page = page_of(
        report, [text], MADE, conflict=conflict, statement=text, metrics_from=text, metrics={text: [(1, 1.0)]}
    )
    assert all(getattr(page, each.name) not in (None, ()) for each in fields(page))
    return page


def test_thousands_of_findings_and_events_have_an_end() -> None:
    """Whatever there is no room for is counted."""
    report = report_of(I1=Status.FAIL)
    found = tuple(Finding(Place("w" * 10_000, field="w"), "w" * 10_000, "w" * 10_000) for _ in range(MAX_FINDINGS))
    checks = tuple(replace(each, findings=found, omitted=12_345) for each in report.checks)
    story = Story("somebody", ("client",), tuple(Event(1, None, "w") for _ in range(MOST_EVENTS + 7)), ())
    text = html_of(replace(report, checks=checks, story=story))
    assert len(text) < 3_000_000
    page = Reader(text)
    assert [each.said for each in page.named("p")].count("and 12345 more findings of this check") == len(checks)
    assert "and 7 more" in [each.said for each in page.named("p")]


def test_what_controls_direction_is_seen() -> None:
    text = to_html(everywhere("\u202eevil\u202c"))
    assert "\\u202eevil\\u202c" in text


def test_names_stand_in_isolation(pages: dict[str, Reader]) -> None:
    """Letters that run from right to left reorder nothing around them."""
    for each in pages["eventful"].named("th"):
        if each.attributes.get("scope") == "row" and each.said.startswith("client-"):
            assert any(inner.name == "bdi" and each in inner.inside for inner in pages["eventful"].all)


# ---- references ----


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(pages: dict[str, Reader], name: str) -> None:
    ids = list(pages[name].value("id"))
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in pages[name].value("href")} <= set(ids)


def test_findings_lead_to_their_entries(forge: Forged, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = forged.find(Aggregate)
    forged.edit(position, plaintext=forged.put(bytes(8 * forged.policy.dimension)))
    page = Reader(html_of(audit(forged.write(tmp_path / "t"), forged.policy_data, course=())))
    links = [each for each in page.named("a") if each.attributes["href"] == f"#e{position}"]
    assert any(any(outer.name == "dl" for outer in each.inside) for each in links)


def test_epsilon_never_stands_alone(pages: dict[str, Reader]) -> None:
    """Wherever the word is, there is its unit with its assumptions, or the way to them."""
    for name in NAMES:
        page = pages[name]
        found = 0
        for each in page.named("p", "li", "dd", "caption", "h3", "th"):
            if "epsilon" not in each.said.lower() or any(
                outer.attributes.get("id") == "epsilon" for outer in each.inside
            ):
                continue
            links = [link for link in page.named("a") if each in link.inside and link.attributes["href"] == "#epsilon"]
            assert links, each.said
            found += 1
        assert found or name != "noisy"
    assert (
        "one client with all its data"
        in next(each for each in pages["noisy"].all if each.attributes.get("id") == "epsilon").said
    )


# ---- for everybody ----


@pytest.mark.parametrize("name", NAMES)
def test_rules_of_accessibility(pages: dict[str, Reader], name: str) -> None:
    page = pages[name]
    (html,) = page.named("html")
    assert html.attributes["lang"] == "en"
    assert len(page.named("h1")) == len(page.named("main")) == len(page.named("header")) == 1
    (title,) = [each for each in page.named("title") if any(outer.name == "head" for outer in each.inside)]
    assert title.said.endswith("audit of simulated")
    levels = [int(each.name[1]) for each in page.named("h1", "h2", "h3", "h4")]
    assert all(b <= a + 1 for a, b in pairwise(levels))
    for table in page.named("table"):
        assert any(each.name == "caption" and table in each.inside for each in page.all)
    assert all(each.attributes.get("scope") in ("col", "row") for each in page.named("th"))
    for svg in page.named("svg"):
        assert svg.attributes.get("aria-hidden") == "true" or (
            svg.attributes.get("role"),
            bool(svg.attributes.get("aria-label")),
        ) == ("img", True)
    for each in page.named("section", "nav"):
        assert each.attributes["aria-labelledby"] in set(page.value("id"))
    for each in page.all:
        if each.attributes.get("class", "") and "wide" in (each.attributes["class"] or "").split():
            assert (each.attributes["tabindex"], each.attributes["role"]) == ("0", "region")
    assert all(each.said or each.name == "bdi" for each in page.named("a", "h1", "h2", "h3", "summary", "li"))


def contrast(first: str, second: str) -> float:
    """WCAG 2.2: of two colours, written as #rgb or #rrggbb."""

    def light(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
        linear = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in linear]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    a, b = sorted((light(first), light(second)), reverse=True)
    return (a + 0.05) / (b + 0.05)


PAIRS = [
    *[(text, back) for text in ("ink", "soft", "link") for back in ("paper", "card", "faint")],
    *[("ink", f"{tone}-back") for tone in ("yes", "no", "maybe", "other")],
    *[(tone, back) for tone in ("yes", "no", "maybe", "other") for back in ("paper", "card", f"{tone}-back")],
    *[(f"{part}-ink", part) for part in ("summed", "half", "out", "odd", "pale", "none", "lilac")],
]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_colours_can_be_read(pages: dict[str, Reader], dark: bool) -> None:
    (style,) = pages["quiet"].named("style")
    light, night = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", each)) for each in re.findall(r":root \{(.*?)\}", style.said)
    )
    colours = {**light, **night} if dark else light
    for text, back in PAIRS:
        assert contrast(colours[text], colours[back]) >= 4.5, (text, back)
    assert contrast(colours["bad-ink"], colours["bad"]) >= 3  # a sign alone, and large


# ---- the option ----


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def policy(simulations: Simulations, tmp_path: Path) -> Path:
    path = tmp_path / "policy.cbor"
    path.write_bytes(simulations("quiet").policy_data)
    return path


@pytest.mark.parametrize("form", ["txt", "json", "jsonl"])
def test_beside_every_format(simulations: Simulations, policy: Path, tmp_path: Path, form: str) -> None:
    quiet, file = simulations("quiet").path, tmp_path / "page.html"
    alone = run(quiet, "--policy", policy, "--format", form)
    found = run(quiet, "--policy", policy, "--format", form, "--html", file)
    assert (found.exit_code, alone.exit_code) == (0, 0)
    assert re.sub(r"[0-9.]+ s|\"seconds\": [0-9.]+", "", found.stdout) == re.sub(
        r"[0-9.]+ s|\"seconds\": [0-9.]+", "", alone.stdout
    )
    assert f"page: Accepted, in {file}" in found.stderr
    assert Reader(file.read_text(encoding="utf-8")).named("h2")[0].said == "Accepted"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_beside_a_statement_and_metrics(simulations: Simulations, policy: Path, tmp_path: Path) -> None:
    """The page names the statement that is signed in the same run, and says whose the metrics are."""
    key, statement, file, metrics = (tmp_path / name for name in ("key.pem", "statement", "page.html", "metrics.jsonl"))
    metrics.write_text('{"round": 0, "metrics": {"accuracy": 0.5}}\n')
    assert run("keygen", key).exit_code == 0
    options = ["--statement", statement, "--key", key, "--metrics", metrics, "--graph", 1, "--html", file]
    assert run(simulations("quiet").path, "--policy", policy, *options).exit_code == 0
    page = Reader(file.read_text(encoding="utf-8"))
    digest = hashlib.sha256(statement.read_bytes()).hexdigest()
    assert any(
        each.said == f"the verdict was signed, too, in a file with the SHA-256 {digest}" for each in page.named("dd")
    )
    assert any(each.said.startswith("accuracy: 0.5 at first") for each in page.named("figcaption"))
    assert any("no check verifies them" in each.said for each in page.named("p"))
    assert "is what this audit reads or signs" in refused(
        simulations, policy, key, "--statement", statement, "--key", key
    )


def refused(simulations: Simulations, policy: Path, file: Path, *more: object) -> str:
    """What is said at once, before any check."""
    found = run(simulations("quiet").path, "--policy", policy, "--html", file, *more)
    assert (found.exit_code, found.stdout) == (2, "")
    (line,) = found.stderr.splitlines()
    return line


def test_files_that_cannot_be_written_are_refused_first(simulations: Simulations, policy: Path, tmp_path: Path) -> None:
    def say(*others: object) -> str:
        return refused(simulations, policy, *others)

    assert "there is no directory" in say(tmp_path / "nowhere" / "page.html")
    assert "is no file that could be replaced" in say(tmp_path)
    assert "lies inside the transcript" in say(simulations("quiet").path / "page.html")
    before = policy.read_bytes()
    assert "is what this audit reads or signs" in say(policy)
    assert policy.read_bytes() == before
    metrics = tmp_path / "metrics.jsonl"
    assert "cannot read" in say(tmp_path / "page.html", "--metrics", metrics)
    metrics.write_text("no metrics\n")
    assert "metrics, line 1: expected a JSON object" in say(tmp_path / "page.html", "--metrics", metrics)
    assert not (tmp_path / "page.html").exists()


def test_what_belongs_to_a_page_needs_one(simulations: Simulations, policy: Path) -> None:
    found = run(simulations("quiet").path, "--policy", policy, "--graph", 1)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "--graph and --metrics are about the page: give --html FILE, too" in found.stderr


def test_an_older_page_stays_whole(simulations: Simulations, policy: Path, tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "page.html"
    file.write_text("an older page")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    found = run(simulations("quiet").path, "--policy", policy, "--html", file)
    assert found.exit_code == 2
    assert "No space left on device" in found.stderr.splitlines()[-1]
    assert "ACCEPTED" in found.stdout
    assert file.read_text() == "an older page"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["page.html", "policy.cbor"]


def test_following_refreshes_the_page(simulations: Simulations, forge: Forged, tmp_path: Path) -> None:
    policy, file, state = tmp_path / "policy.cbor", tmp_path / "page.html", tmp_path / "state"
    policy.write_bytes(simulations("aborted").policy_data)

    def follow(path: Path) -> tuple[int, Reader]:
        found = run("follow", path, "--policy", policy, "--state", state, "--once", "--html", file)
        return found.exit_code, Reader(file.read_text(encoding="utf-8"))

    status, page = follow(simulations("aborted").path)
    assert (status, page.named("h2")[0].said) == (0, "Accepted")
    forged = forge("aborted")
    forged.edit(forged.find(Submission), proof=bytes(32))
    status, page = follow(forged.write(tmp_path / "fork"))
    assert (status, page.named("h2")[0].said) == (1, "Rejected: a rule was broken")
    assert len(page.named("pre")) >= 2
    assert any("does not continue what was accepted before" in each.said for each in page.named("p"))
