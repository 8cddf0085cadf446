"""Changes single keys of a campaign file and leaves everything else as it stands, comments too. Pure functions."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from batchsend.errors import BatchsendError

#: A dotted key as its parts -> its new value; `None` takes it out.
Changes = Mapping[tuple[str, ...], Any]


def edited(content: bytes, changes: Changes) -> bytes:
    """The file's content with these changes. Raises `BatchsendError` where that cannot be done safely."""
    by_hand = BatchsendError(
        "The campaign file could not be changed here without changing more than was asked for, so it was left as it "
        "is. Change it in the editor for the campaign file, at the end of the page."
    )
    try:
        text = content.decode("utf-8-sig")
        before = tomllib.loads(text)
        document = tomlkit.parse(text)
        for key, value in changes.items():
            _change(document, key, value)
        made = tomlkit.dumps(document)
        after = tomllib.loads(made)
    except (
        UnicodeDecodeError,
        tomllib.TOMLDecodeError,
        TOMLKitError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise by_hand from error
    for key, value in changes.items():
        _change(before, key, value)
    if after != before:
        raise by_hand
    return made.encode()


def _change(table: Any, key: tuple[str, ...], value: Any) -> None:
    *parents, last = key
    for parent in parents:
        if parent not in table:
            if value is None:
                return
            table[parent] = tomlkit.table() if isinstance(table, tomlkit.TOMLDocument) else {}
        table = table[parent]
    if value is None:
        table.pop(last, None)
    elif table.get(last) != value:
        table[last] = _inline(value) if hasattr(table, "as_string") else value


def _inline(value: Any) -> Any:
    """A table on one line, as campaign files have them."""
    if not isinstance(value, dict):
        return value
    made = tomlkit.inline_table()
    made.update(value)
    return made
