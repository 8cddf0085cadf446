"""Pages from templates: those of the pages that people look at before and after sending, and those of the server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from aiohttp import web
from markupsafe import Markup

from batchsend.lists.source import LIST_ENDINGS
from batchsend.reports.pages import html as base
from batchsend.utils.timestamps import from_text
from batchsend.utils.version import __version__
from batchsend.web.auth.middleware import AUTH

_HTMX, _SSE = "htmx-2.0.11.min.js", "htmx-ext-sse-2.2.4.min.js"
#: What is served: name in the address -> content type.
STATIC_FILES: Mapping[str, str] = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "web.css": "text/css",
    "web.js": "text/javascript",
    _HTMX: "text/javascript",
    _SSE: "text/javascript",
    "icon.svg": "image/svg+xml",
    "LICENSES.txt": "text/plain",
}
_OF_PAGES = frozenset({"page.css", "page.js"})
#: Stands between the parts of a page that is put into ours; nothing that is escaped can hold it.
_BETWEEN = "<!-- part -->"
#: Sentences that are written for the command line -> what to do here.
_WORDS = (
    (re.compile(r" \(or with `--resend \w+` for the rows with this code only\)"), ""),
    (re.compile(r"`--resend (\w+)`"), "the button “Send again” on the page of the run"),
    (re.compile(r"`--limit` held it back"), "only the first ones were to be sent"),
    (re.compile(r"without `--limit` it sends all that are left"), "“All” sends all that are left"),
    (re.compile(r", or start it with `--wait`"), ""),
    (re.compile(r"\(the last lines of the run say what\)"), "(it stands at the top of the run’s page)"),
    (re.compile(r"Run the same command again"), "Check the campaign and send again"),
    (re.compile(r"run the same command again"), "check the campaign and send again"),
    (re.compile(r"`batchsend preview`"), "The check"),
    (
        re.compile(r"stop it with \"batchsend stop\", then run this again"),
        "pause it on its page, then check again",
    ),
)


def page(request: web.Request, name: str, /, *, status: int = 200, **values: Any) -> web.Response:
    """A whole page for whoever asks."""
    session = request.get("session")
    html = _render(
        name,
        session=session,
        csrf=session.csrf if session else "",
        notices=session.take_notices() if session else [],
        shared=bool(request.app[AUTH].users.names()),
        path=request.path,
        **values,
    )
    response = web.Response(text=html, content_type="text/html", status=status)
    response.enable_compression()
    return response


def part(name: str, /, **values: Any) -> str:
    """A part of a page, as HTML."""
    return _render(name, **values)


def fragments(name: str, /, **values: Any) -> list[str]:
    """The header, the main part and the data of one of the pages that stand alone, to be put into ours."""
    made = _alone().get_template(name).render(version=__version__, **values)
    return made.split(_BETWEEN)


def trusted(html: str) -> Markup:
    """HTML that `fragments` made."""
    return Markup(html)  # noqa: S704 - escaped when it was made


@cache
def static(name: str) -> bytes:
    """The content of one of `STATIC_FILES`."""
    if name in _OF_PAGES:
        return base.source(name).encode()
    return (files("batchsend.web") / "static" / name).read_bytes()


def _static_url(name: str) -> str:
    """An address that changes with the file, so that browsers can keep it."""
    return f"/static/{name}?{hashlib.sha256(static(name)).hexdigest()[:12]}"


def _render(name: str, /, **values: Any) -> str:
    return _environment().get_template(name).render(version=__version__, **values)


def _source(name: str) -> str:
    own = files("batchsend.web") / "templates" / name
    return own.read_text(encoding="utf-8") if own.is_file() else base.source(name)


@cache
def _environment() -> jinja2.Environment:
    made = base.environment(_source)
    made.globals.update(static=cache(_static_url), htmx=_HTMX, sse=_SSE, list_endings=LIST_ENDINGS)
    made.filters.update(time=_time, here=_in_words_of_here, percent=_percent)
    return made


@cache
def _alone() -> jinja2.Environment:
    """The pages that stand alone, in parts instead of around their own style sheet."""
    return base.environment(lambda name: _source("fragments.html.j2" if name == "base.html.j2" else name))


def _time(moment: str | None) -> Markup:
    """A moment of the ledger; a script turns it into the viewer's own time."""
    if not moment:
        return Markup("–")
    said = f"{from_text(moment):%Y-%m-%d %H:%M} UTC"
    return Markup('<time datetime="{}">{}</time>').format(moment, said)


def _in_words_of_here(text: str) -> str:
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}" if whole else "0"
