"""A page as HTML: one file, without scripts and without anything from elsewhere. All strings are hostile here."""

from __future__ import annotations

import base64
import re
from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

from auditor.reports.page.values import Page
from auditor.reports.results import MAX_COMMAND, printable
from protocols.hashes import sha256

PLAIN = re.compile(r"[0-9A-Za-z.:+ _-]{1,128}")  # what may stand in a style sheet
DIGEST = re.compile("[0-9a-f]{64}")
PATH = re.compile(r"[MmLCchvz0-9 .e-]*")
POLICY = "default-src 'none'; style-src '{style}'; base-uri 'none'; form-action 'none'"


def to_html(page: Page) -> str:
    """The whole file. Every string that the template writes is escaped, and its unprintable characters, among them
    those that control direction, are shown as escapes; it has MAX_COMMAND characters at most."""
    style = Markup(_source("page.css") + "\n" + _margins(page))  # noqa: S704  no string of a transcript is in it
    digest = base64.b64encode(sha256(style.encode())).decode()
    policy = POLICY.format(style=f"sha256-{digest}")
    return (
        _environment()
        .get_template("page.html")
        .render(page=page, style=style, content_policy=policy, cited={each.index for each in page.entries})
    )


def visible(value: object) -> object:
    """What stands for a value on the page: itself where it is markup of ours, else text that is safe to look at."""
    if isinstance(value, Markup | int | float) or value is None:
        return "" if value is None else value
    return printable(str(value), MAX_COMMAND)


def _margins(page: Page) -> str:
    """What every printed page has at its foot."""
    shown = page.identity
    foot = f"policy {shown.policy}"
    made = f"audited {shown.made} by verifl-audit {shown.version}"
    left, middle = (text if PLAIN.fullmatch(text) else "" for text in (foot, made))
    return (
        f'@page{{@bottom-left{{content:"{left}\\A {middle}";white-space:pre}}'
        '@bottom-right{content:"page " counter(page) " of " counter(pages)}}'
    )


def _epsilon(text: str) -> bool:
    """Whether a text has the word, which never stands without its unit."""
    return "epsilon" in text.lower()


def _path(path: str) -> Markup:
    """A path of ours, however long it is."""
    return Markup(path if PATH.fullmatch(path) else "")  # noqa: S704  numbers and letters of commands alone


def _source(name: str) -> str:
    return files("auditor.reports.page").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.tests["epsilon"] = _epsilon
    made.tests["digest"] = lambda text: DIGEST.fullmatch(text) is not None
    made.globals["whole"] = _path
    return made
