"""Reads the files of a template: itself, and those of its folder that it refers to."""

from __future__ import annotations

from pathlib import Path

from jinja2 import TemplateNotFound
from jinja2.loaders import split_template_path

from batchsend.errors import unreadable
from batchsend.utils.near_files import nearest_file
from batchsend.utils.protected_files import refusal

_MAX_BYTES = 1_000_000
#: Usual endings of templates; any other will do.
_ENDINGS = (".txt", ".j2", ".jinja", ".tmpl", ".template", ".text", ".md")


def read(path: Path) -> tuple[bytes, str | None]:
    """The file's bytes, and the problem that prevents its use as a template, if any."""
    if (why := refusal(path)) is not None:
        return b"", f"{why}; name another file"
    try:
        if not path.is_file():
            return b"", "this is not a file" if path.exists() else _no_such_file(path)
        if path.stat().st_size > _MAX_BYTES:
            return b"", f"the file is too large for a template: it has more than {_MAX_BYTES:,} bytes"
        content = path.read_bytes()
    except OSError as error:
        return b"", unreadable(error)
    if content.startswith((b"PK\x03\x04", b"{\\rtf", b"\xd0\xcf\x11\xe0")):
        return b"", "this is a word processor document; save it as plain text in UTF-8"
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return b"", f"line {line}: the file is not in UTF-8; save it as plain text in UTF-8"
    return content, None


def _no_such_file(path: Path) -> str:
    near = nearest_file(path, _ENDINGS)
    return f"there is no such file; did you mean {near}?" if near else "there is no such file"


def nearest_name(folder: Path, name: str) -> str | None:
    """The name that a template may use for the file of `folder` that is most like `name`."""
    path = inside(folder, name)
    near = nearest_file(path, _ENDINGS) if path is not None else None
    if near is None or not near.resolve().is_relative_to(folder.resolve()):
        return None
    return near.resolve().relative_to(folder.resolve()).as_posix()


def inside(folder: Path, name: str) -> Path | None:
    """The file `name` of `folder`, or None if `..`, a root, a drive or a link leads elsewhere."""
    try:
        path = folder.joinpath(*split_template_path(name)).resolve()
    except (TemplateNotFound, OSError, ValueError):
        return None
    return path if path.is_relative_to(folder.resolve()) else None


def read_inside(folder: Path, path: Path | None) -> tuple[bytes, str | None]:
    """As `read`, for a path from `inside`."""
    if path is None:
        return b"", "it is not in the template's folder"
    if (why := refusal(path, folder)) is not None:
        return b"", why
    return read(path)
