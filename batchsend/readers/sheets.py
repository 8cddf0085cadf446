"""Which sheet of a workbook is the list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from batchsend.errors import ListError
from batchsend.readers.package import Sheet

_OWN_RESULTS = re.compile(r"Results(?: \d+)?")
_OWN_SHEETS = re.compile(r"Summary|Problems|Results(?: \d+)?")


def choose_sheets(path: Path, sheets: Sequence[Sheet], wanted: str | None) -> list[Sheet]:
    """The sheet named `wanted`, else the only visible one. Raises ListError if there is no such sheet, or several."""
    if wanted is not None:
        return [_named(path, sheets, wanted)]
    visible = [sheet for sheet in sheets if sheet.is_visible]
    if not visible:
        raise ListError(path, "It has no visible sheet. Unhide the sheet that holds the list.")
    if len(visible) > 1:
        raise ListError(
            path,
            f"It has {len(visible)} visible sheets: {_quoted(visible)}. Say which one is the list: "
            f'sheet = "{visible[0].name}" under [list_options].',
        )
    return visible


def sheets_of_results(sheets: Sequence[Sheet]) -> list[Sheet]:
    """The sheets with results, if the visible sheets are named as in a results workbook of ours; else none."""
    visible = [sheet for sheet in sheets if sheet.is_visible]
    names = [sheet.name for sheet in visible]
    if names[:2] != ["Summary", "Results"] or not all(map(_OWN_SHEETS.fullmatch, names)):
        return []
    return [sheet for sheet in visible if _OWN_RESULTS.fullmatch(sheet.name)]


def _named(path: Path, sheets: Sequence[Sheet], wanted: str) -> Sheet:
    by_key = {sheet.name.strip().casefold(): sheet for sheet in sheets}
    key = wanted.strip().casefold()
    if key in by_key:
        return by_key[key]
    near = difflib.get_close_matches(key, by_key, 1)
    hint = f'Did you mean "{by_key[near[0]].name}"? ' if near else ""
    raise ListError(path, f'It has no sheet "{wanted}". {hint}Its sheets are: {_quoted(sheets)}.')


def _quoted(sheets: Sequence[Sheet]) -> str:
    return ", ".join(f'"{sheet.name}"' for sheet in sheets)
