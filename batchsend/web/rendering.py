"""Renders the console's pages from templates: its own, and those of the preview and the report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import jinja2
from aiohttp import web
from markupsafe import Markup

from batchsend.lists.source import UPLOAD_ENDINGS
from batchsend.reports.pages import html as base
from batchsend.utils.timestamps import from_text
from batchsend.utils.version import __version__
from batchsend.web.auth.middleware import AUTH

_HTMX, _SSE = "htmx-2.0.11.min.js", "htmx-ext-sse-2.2.4.min.js"
#: The static files: name in the address -> content type.
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
_REPORT_FILES = frozenset({"page.css", "page.js"})
#: Separates the parts of a page in `fragments.html.j2`. Escaped text cannot contain it.
_SEPARATOR = "<!-- part -->"


def page(
    request: web.Request, name: str, /, *, status: int = 200, reloads: bool = False, **values: Any
) -> web.Response:
    """Renders a page as a response to this request. `reloads`: it loads itself again, so its notices are kept."""
    session = request.get("session")
    html = _render(
        name,
        session=session,
        csrf=session.csrf if session else "",
        notices=[] if session is None else session.notices if reloads else session.take_notices(),
        shared=bool(request.app[AUTH].users.names()),
        path=request.path,
        **values,
    )
    response = web.Response(text=html, content_type="text/html", status=status)
    response.enable_compression()
    return response


def download(path: Path, name: str) -> web.FileResponse:
    """Returns a file as a download that the browser saves under this name."""
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    return web.FileResponse(path, headers=headers)


def part(name: str, /, **values: Any) -> str:
    """Renders a part of a page, as HTML."""
    return _render(name, **values)


def fragments(name: str, /, **values: Any) -> list[str]:
    """Renders the header, the main part and the data of a report page, to be put into a page of the console."""
    html = _fragment_environment().get_template(name).render(version=__version__, **values)
    return html.split(_SEPARATOR)


def trusted(html: str) -> Markup:
    """Marks HTML that `fragments` or `part` rendered, so that it is not escaped again."""
    return Markup(html)  # noqa: S704 - it was escaped when it was rendered


@cache
def static(name: str) -> bytes:
    """Returns the content of one of `STATIC_FILES`."""
    if name in _REPORT_FILES:
        return base.source(name).encode()
    return (files("batchsend.web") / "static" / name).read_bytes()


def _static_url(name: str) -> str:
    """Returns an address that changes with the file, so that browsers can cache the file for good."""
    return f"/static/{name}?{hashlib.sha256(static(name)).hexdigest()[:12]}"


def _render(name: str, /, **values: Any) -> str:
    return _environment().get_template(name).render(version=__version__, **values)


def _source(name: str) -> str:
    template = files("batchsend.web") / "templates" / name
    return template.read_text(encoding="utf-8") if template.is_file() else base.source(name)


@cache
def _environment() -> jinja2.Environment:
    environment = base.environment(_source)
    environment.globals.update(static=cache(_static_url), htmx=_HTMX, sse=_SSE, list_endings=UPLOAD_ENDINGS)
    environment.filters.update(time=_time, first_line=first_line, place=_names)
    return environment


@cache
def _fragment_environment() -> jinja2.Environment:
    """Renders the report pages in parts, without their own style sheet and script."""
    environment = base.environment(
        lambda name: _source("fragments.html.j2" if name == "base.html.j2" else name)
    )
    environment.filters.update(place=_names)
    return environment


def _names(files: object) -> str:
    """Returns the names of files, which "; " separates, without the folders of the server."""
    return "; ".join(PurePath(file).name for file in str(files).split("; "))


def first_line(ending: str | None) -> str:
    """Returns why sending stopped, without the lines for the person who looks after batchsend."""
    return (ending or "").partition("\n")[0]


def _time(moment: str | None) -> Markup:
    """Renders a UTC time of the ledger. A script in the browser shows it in the user's time zone."""
    if not moment:
        return Markup("–")
    utc = f"{from_text(moment):%Y-%m-%d %H:%M} UTC"
    return Markup('<time datetime="{}">{}</time>').format(moment, utc)
