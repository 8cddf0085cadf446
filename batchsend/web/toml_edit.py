"""Changes single keys of a campaign file and keeps everything else, including comments. Pure functions."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, Array, Item, Table, Whitespace

from batchsend.campaigns.tables import ListOptionsTable
from batchsend.errors import BatchsendError

#: The parts of a dotted key -> the new value; `None` removes the key.
Changes = Mapping[tuple[str, ...], Any]
#: Forgets what was chosen about how the list is read.
READ_AS_USUAL: Changes = {("list_options", name): None for name in ListOptionsTable.model_fields}


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
        # A key is added where the others are, so before they are removed.
        for key, value in sorted(changes.items(), key=lambda change: change[1] is None):
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
    """Changes a key of a document, or of a plain dictionary."""
    *parents, last = key
    for parent in parents:
        if parent not in table:
            if value is None:
                return
            table[parent] = tomlkit.table() if isinstance(table, tomlkit.TOMLDocument) else {}
        table = table[parent]
    if value is None:
        _remove(table, last)
    elif last not in table and isinstance(table, Table):
        _add(table, last, value)
    elif last not in table and isinstance(table, tomlkit.TOMLDocument) and not isinstance(value, dict):
        _add_above_sections(table, last, value)
    elif isinstance(table.get(last), Array) and isinstance(value, list):
        _change_entries(table[last], value)
    elif table.get(last) != value:
        table[last] = _inline(value) if hasattr(table, "as_string") else value


def _change_entries(array: Array, value: list[Any]) -> None:
    """Changes the entries of a list. Those that stay keep their lines and comments."""
    for index in reversed(range(len(array))):
        if array[index] not in value:
            del array[index]
    for entry in value:
        if entry not in array:
            array.append(entry)
    if array != value:
        array.clear()
        array.extend(value)


def _remove(table: Any, last: str) -> None:
    """Removes a key. The lines between a section and the next one stay, as they may be about the next one."""
    section = table.get(last)
    if not (isinstance(table, tomlkit.TOMLDocument) and isinstance(section, Table)):
        table.pop(last, None)
        return
    index = next(number for number, (_, item) in enumerate(table.body) if item is section)
    tail = "".join(item.as_string() for _, item in _tail(section))
    table.remove(last)
    table.body[index] = (None, Whitespace(tail))


def _add(table: Table, last: str, value: Any) -> None:
    """Adds a key below the others of a section, above the lines before the next section."""
    tail = _tail(table)
    body = table.value.body
    del body[len(body) - len(tail) :]
    table.append(last, _inline(value))
    body.extend(tail)


def _add_above_sections(document: tomlkit.TOMLDocument, last: str, value: Any) -> None:
    """Adds a key below the others above the first section, and above that section's comments."""
    items = [item for key, item in document.body if key is not None]
    above = next((number for number, item in enumerate(items) if isinstance(item, AbstractTable)), len(items))
    if not above:
        document.append(last, value)
        return
    trivia = items[above - 1].trivia
    trivia.trail = f"{trivia.trail or chr(10)}{last} = {tomlkit.item(value).as_string()}\n"


def _tail(table: Table) -> list[tuple[Any, Item]]:
    """Returns the comments and blank lines after the last key of a section."""
    body = table.value.body
    filled = [number for number, (key, _) in enumerate(body) if key is not None]
    return body[filled[-1] + 1 if filled else 0 :]


def _inline(value: Any) -> Any:
    """Returns a table as an inline table, on one line."""
    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table()
    table.update(value)
    return table
