"""Reads our HTML pages."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = frozenset({"meta", "input", "br", "link"})


@dataclass
class Page:
    """A page's text without scripts and styles, all its start tags, and its JSON data."""

    source: str
    text: str = ""
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    data: Any = None

    @classmethod
    def read(cls, path: Path) -> Page:
        return cls.of(path.read_text(encoding="utf-8"))

    @classmethod
    def of(cls, source: str) -> Page:
        page = cls(source)
        reader = _Reader(page)
        reader.feed(source)
        reader.close()
        assert page.open_tags == [], "every tag is closed"
        page.text = " ".join(page.text.split())
        return page

    def row(self, number: int) -> list[Any]:
        """Returns what the page has for the row look-up."""
        return next(row for row in self.data["rows"] if row[0] == number)


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._page.tags.append((tag, attributes))
        if attributes.get("id"):
            self._page.ids.append(str(attributes["id"]))
        if tag not in VOID:
            self._page.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._page.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._page.open_tags[-1] if self._page.open_tags else ""
        if inside == "script":
            tag, attributes = self._page.tags[-1]
            if tag == "script" and attributes.get("type") == "application/json":
                self._page.data = json.loads(data)
        elif inside != "style":
            self._page.text += data if inside in ("code", "a", "b", "mark") else f" {data}"


def outside_addresses(source: str) -> list[str]:
    """Attributes that make a browser load something."""
    return [
        value
        for name, value in re.findall(r"\b(src|href|action|srcset|data)=[\"']([^\"']*)", source)
        if name != "href" or not value.startswith("#")
    ]
