"""What all pages share: Jinja with autoescape, one style sheet, one script, and writing the file.

A page loads nothing from other places. Its Content-Security-Policy allows its style sheet and script, by their
hashes, and nothing else: even if a customer's text got past all escaping, it would not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from batchsend.errors import ResultsError
from batchsend.messages.phones import display_phone
from batchsend.messages.sms import non_gsm7
from batchsend.utils.files import write_beside_open
from batchsend.utils.version import __version__
from batchsend.utils.wording import capitalized, ranges, row_count, segment_count, storable, text_count

#: These could end a script element or, in older browsers, a line of it.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in ("<", ">", "&", "\u2028", "\u2029")}


@dataclass(frozen=True)
class Headline:
    """The answer at the top of a page: `tone` is `go`, `attention` or `none`."""

    tone: str
    headline: str
    more: str


def render(template: str, **values: Any) -> str:
    """Renders `template` with `values` as a page."""
    style, script = source("page.css"), source("page.js")
    policy = (
        "default-src 'none'; "
        f"style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),  # noqa: S704 - our own files
            script=Markup(script),  # noqa: S704
            policy=policy,
            version=__version__,
            **values,
        )
    )


def write_page(path: Path, html: str) -> Path:
    """Writes a page that only its owner can read, and returns the path written. Raises `ResultsError`."""
    content = storable(html).encode("utf-8")
    try:
        return write_beside_open(path, lambda temporary: _write(temporary, content))
    except OSError as error:
        raise ResultsError(
            f"{path}: the page cannot be written here ({error.strerror or error}). Free some space, or have the "
            f"folder's permissions changed."
        ) from error


def script_json(value: Any) -> Markup:
    """`value` as JSON that is safe inside a script element, with any texts in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)
    return Markup(text)  # noqa: S704 - nothing in it can end the element


def marked(text: str) -> Markup:
    """`text` with each character that makes it UCS-2 marked."""
    costly = frozenset(non_gsm7(text))
    return Markup("").join(
        Markup("<mark>{}</mark>").format(character) if character in costly else character
        for character in text
    )


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


@cache
def source(name: str) -> str:
    """The text of a file of the pages: a template, the style sheet, the script."""
    return (files("batchsend.reports.pages") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    return environment(source)


def environment(load: Callable[[str], str]) -> jinja2.Environment:
    """Jinja with autoescape and the filters of the pages' templates. `load`: returns the text of a template."""
    jinja = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters.update(
        number="{:,}".format,
        row_count=row_count,
        text_count=text_count,
        segment_count=segment_count,
        phone=display_phone,
        ranges=ranges,
        script_json=script_json,
        marked=marked,
        codes=_with_code,
        place=str,
        capitalize_first=capitalized,
    )
    return jinja


def _with_code(text: str) -> Markup:
    """One of our sentences, with `backticks` turned into code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return Markup("{}").format(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )
