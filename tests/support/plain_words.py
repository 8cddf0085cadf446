"""Finds terms on the console's pages that people who use no command line do not know."""

from __future__ import annotations

import html
import re

#: What must not be read on a page, each with a name.
TERMS = {
    "a command": r"\bbatchsend (approve|callbacks|history|ledger|new|optouts|preview|purge|results|runs|sandbox|"
    r"schedule|schema|send|stop|web|web-users|worker)\b(?! [a-z]+s\b)",
    "an option": r"(?<![\w-])--[a-z][a-z-]+",
    "a setting's name": r"\b(MYKAARMA|BATCHSEND)_[A-Z_]+",
    "a backtick": r"`",
    "a table of the campaign file": r"\[(columns|recipients|message|sending|guards|notify|schedule|list_options)\]",
    "a line of the campaign file": r"\b[a-z]+(_[a-z]+)+ = |\b[a-z_]+ = (\"|true\b|false\b|\[|\{)",
    "TOML": r"\bTOML\b",
    ".env": r"(?<!\w)\.env\b",
    "a path": r"(?<![\w:/.])(/(tmp|root|home|Users|var|etc|usr|opt|srv|work|private)/|[A-Z]:\\)",
    "the command line": r"(?i)\b(command line|terminal|exit code|ctrl-c|traceback|stderr|stdin)\b",
    "an inner term": r"(?i)\b(ledger|septets?|needs? you|make it|mend(ed)?|whoever|whatever|scratch|digest)\b",
}
_TERMS = {name: re.compile(pattern) for name, pattern in TERMS.items()}
#: Not prose: scripts, what people typed themselves, and source texts.
_NOT_PROSE = re.compile(r"<(script|style|textarea|pre|noscript)\b.*?</\1>|<!--.*?-->", re.DOTALL)
_ATTRIBUTES = re.compile(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"')


def prose(page: str) -> str:
    """Returns what people read on an HTML page, or hear."""
    rest = _NOT_PROSE.sub(" ", page)
    heard = " ".join(_ATTRIBUTES.findall(rest))
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", rest) + " " + heard).split())


def terms_on(page: str) -> list[str]:
    """Returns each term on an HTML page, with the words around it."""
    return terms_in(prose(page))


def terms_on_page(path: str, page: str) -> list[str]:
    """Returns the terms on a page of the console, except where people edit or repair the campaign file itself."""
    on_file = any(one.endswith(("/file", "/file/try", "/conflict")) for one in (path, path.partition("?")[0]))
    on_file = on_file or "Fix the campaign file first" in page
    return [] if on_file else terms_on(page)


def terms_in(text: str) -> list[str]:
    """Returns each term in a text, with the words around it."""
    return [
        f"{name}: …{text[max(0, found.start() - 90) : found.end() + 60]}…"
        for name, term in _TERMS.items()
        for found in term.finditer(text)
    ]
