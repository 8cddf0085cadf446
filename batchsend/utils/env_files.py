"""Reads and writes `.env` files. No message shows a value, because it may be a password."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import parse_stream

from batchsend.errors import SettingsError, unreadable
from batchsend.utils.files import write_private

_NAME = re.compile(r"\s*(?:export\s+|set\s+|setx\s+|\$env:)?(\w[\w .-]*?)\s*[=:]", re.IGNORECASE)


class Entry(NamedTuple):
    """A name that the environment or a `.env` file sets. `place` never contains the value."""

    name: str
    value: str
    place: str


def read_env_file(path: Path, variables: Sequence[str]) -> list[Entry]:
    """Returns the lines of a `.env` file in order. A line that cannot be read has no value.

    Raises `SettingsError` if the file cannot be read, or a line with one of `variables`.
    """
    entries = []
    for binding in parse_stream(StringIO(_text(path))):
        line = binding.original.string.lstrip()
        blank = binding.original.string.removesuffix(line)
        number = binding.original.line + blank.count("\n")
        if binding.error and any(variable in line for variable in variables):
            raise SettingsError(
                f"{path}: line {number} cannot be read. Write NAME=value; a value that begins with"
                " a quote must end with the same one."
            )
        named = _NAME.match(line)
        name = binding.key or (named[1] if named else None)
        if name is not None:
            entries.append(Entry(name, binding.value or "", f"{path}, line {number}"))
    return entries


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Sets these variables in a `.env` file, which then only its owner can read. Other lines stay.

    Raises `SettingsError` if that is not possible; then the file is unchanged.
    """
    content = "".join([*_lines_without(_text(path), values), *map(_line, values, values.values())])
    again = {binding.key: binding.value for binding in parse_stream(StringIO(content))}
    if any(again.get(variable) != value for variable, value in values.items()):
        raise SettingsError(f"{path}: these values cannot be written into it. Nothing was changed.")
    try:
        write_private(path, lambda file: file.write_text(content, encoding="utf-8", newline=""))
    except OSError as error:
        raise SettingsError(
            f"{path}: it cannot be written: {error.strerror or error}. Nothing was changed. Close it in other "
            f"programs, or fix its permissions."
        ) from error


def _text(path: Path) -> str:
    try:
        if path.is_dir() or not path.exists():  # some virtual environments are folders of this name
            return ""
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {unreadable(error)}") from error
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in content and not utf16:
        raise SettingsError(f"{path}: it is saved as UTF-16. Save the file again with the encoding UTF-8.")
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        # `from None`, because the cause contains the content of the file, including passwords.
        raise SettingsError(
            f"{path}: line {line} has a character that is not UTF-8. "
            "Save the file again with the encoding UTF-8."
        ) from None


def _lines_without(text: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Yields the parts of a `.env` file that do not set these variables."""
    for binding in parse_stream(StringIO(text)):
        if binding.key not in variables and (part := binding.original.string):
            yield part if part.endswith("\n") else f"{part}\n"


def _line(variable: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{variable}='{escaped}'\n"
