"""Chooses the sheet of a workbook that is the list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from batchsend.errors import ListError, Sentence
from batchsend.lists.header_row import columns_of_results
from batchsend.lists.source import ListOptions

_OWN_RESULTS = re.compile(r"Results(?: \d+)?")
_OWN_SHEETS = re.compile(r"Summary|Problems|Results(?: \d+)?")


class Tab(Protocol):
    """The properties by which a sheet is chosen."""

    @property
    def name(self) -> str: ...

    @property
    def is_visible(self) -> bool: ...


SheetT = TypeVar("SheetT", bound=Tab)


def sheets_of_list(
    path: Path,
    sheets: Sequence[SheetT],
    options: ListOptions,
    first_row: Callable[[SheetT], Sequence[str]],
) -> list[SheetT]:
    """The sheets that make up the list: one, or several in a results workbook of ours.

    `first_row` returns a sheet's first filled row. Raises ListError if no sheet or several could be the list, and for
    options that apply to text files only.
    """
    for key in ("encoding", "delimiter"):
        if getattr(options, key) is not None:
            raise ListError(
                path,
                Sentence(
                    f"It is a workbook, not a text file. Remove `{key}` from [list_options].",
                    f"It is a workbook, not a text file. Remove the {key} under When, How the list is read.",
                ),
            )
    results = _sheets_of_results(sheets) if options.sheet is None else []
    if results and columns_of_results(first_row(results[0])) is not None:
        return results
    return _choose(path, sheets, options.sheet)


def notes_of(sheets: Sequence[Tab], chosen: Sequence[Tab]) -> list[str]:
    """Notes that name the chosen sheets, if there are others."""
    return [f'sheet "{sheet.name}"' for sheet in chosen if len(sheets) > 1]


def merged_note(count: int) -> list[str]:
    """A note about the merged areas of a list, if there are any."""
    if not count:
        return []
    areas = "1 merged area" if count == 1 else f"{count:,} merged areas"
    return [f"{areas}: only the top left cell of a merged area has a value"]


def _choose(path: Path, sheets: Sequence[SheetT], wanted: str | None) -> list[SheetT]:
    """The sheet named `wanted`, else the only visible one. Raises ListError if there is none or several."""
    if wanted is not None:
        return [_named(path, sheets, wanted)]
    visible = [sheet for sheet in sheets if sheet.is_visible]
    if not visible:
        raise ListError(path, "It has no visible sheet. Unhide the sheet with the list.")
    if len(visible) > 1:
        found = f"It has {len(visible)} visible sheets: {_quoted(visible)}."
        several = ListError(
            path,
            Sentence(
                f'{found} Choose the one with the list: sheet = "{visible[0].name}" under [list_options].',
                f"{found} Choose the one with the list.",
            ),
        )
        several.options, several.sheets = frozenset({"sheet"}), tuple(sheet.name for sheet in visible)
        raise several
    return visible


def _sheets_of_results(sheets: Sequence[SheetT]) -> list[SheetT]:
    """The results sheets, if all visible sheets are named as in a results workbook of ours; else none."""
    visible = [sheet for sheet in sheets if sheet.is_visible]
    names = [sheet.name for sheet in visible]
    if names[:2] != ["Summary", "Results"] or not all(map(_OWN_SHEETS.fullmatch, names)):
        return []
    return [sheet for sheet in visible if _OWN_RESULTS.fullmatch(sheet.name)]


def _named(path: Path, sheets: Sequence[SheetT], wanted: str) -> SheetT:
    by_key = {sheet.name.strip().casefold(): sheet for sheet in sheets}
    key = wanted.strip().casefold()
    if key in by_key:
        return by_key[key]
    near = difflib.get_close_matches(key, by_key, 1)
    hint = f'Did you mean "{by_key[near[0]].name}"? ' if near else ""
    raise ListError(path, f'It has no sheet "{wanted}". {hint}Its sheets are: {_quoted(sheets)}.')


def _quoted(sheets: Sequence[Tab]) -> str:
    return ", ".join(f'"{sheet.name}"' for sheet in sheets)
