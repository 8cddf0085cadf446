"""Changes single keys of a campaign file and keeps everything else, including comments. Pure functions."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from batchsend.errors import BatchsendError

#: The parts of a dotted key -> the new value; `None` removes the key.
Changes = Mapping[tuple[str, ...], Any]


def edited(content: bytes, changes: Changes) -> bytes:
    """Returns the file's content with these changes. Raises `BatchsendError` if that would change anything else."""
    by_hand = BatchsendError(
        "This form could not change the campaign file without changing other lines, so the file is unchanged. Edit "
        "the campaign file itself: on the campaign's page, open the campaign file under Advanced."
    )
    try:
        text = content.decode("utf-8-sig")
        before = tomllib.loads(text)
        document = tomlkit.parse(text)
        for key, value in changes.items():
            _change(document, key, value)
        changed = tomlkit.dumps(document)
        after = tomllib.loads(changed)
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
    return changed.encode()


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
    """Returns a table as an inline table, on one line."""
    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table()
    table.update(value)
    return table
