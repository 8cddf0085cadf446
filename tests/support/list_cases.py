"""The types and the common parts of the lists in `odd_lists`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batchsend.lists.customer_list import ListOptions
from batchsend.lists.source import NO_OPTIONS

HERE = Path(__file__).parents[1] / "lists" / "formats" / "odd_lists"

Content = bytes | Callable[[Path], object]


@dataclass(frozen=True)
class Read:
    """A list that can be read. `rows` has the rows below the header by row number."""

    name: str
    content: Content
    rows: dict[int, list[str]]
    options: ListOptions = NO_OPTIONS
    headers: tuple[str, ...] | None = None
    notes: tuple[str, ...] | None = None
    hidden: frozenset[int] = frozenset()
    malformed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A list that cannot be read, with the exact sentences that say why."""

    name: str
    content: Content
    sentences: tuple[str, ...]
    options: ListOptions = NO_OPTIONS


def made(name: str) -> bytes:
    """A file that `make_files.py` made."""
    return (HERE / name).read_bytes()


def write(folder: Path, odd: Read | Refused) -> Path:
    path = folder / odd.name
    if isinstance(odd.content, bytes):
        path.write_bytes(odd.content)
    else:
        odd.content(path)
    return path


SKIP, INCLUDE = ListOptions(hidden_rows="skip"), ListOptions(hidden_rows="include")

EMPTY = ("It is empty. Export the list again, with its header and its rows.",)
ONLY_HEADER = (
    (
        "It has only a header and no rows. Export the list again, with its rows. If an empty list is normal, "
        "allow it with the guard `empty_list`."
    ),
)
DAMAGED = (
    "It is a workbook that was cut short or damaged. Open it in Excel and save it again, or export it again.",
)


def three_hidden(rows: str) -> tuple[str]:
    """The message for a list with three hidden rows."""
    return (
        (
            f"3 rows are hidden or filtered out ({rows}). Choose under [list_options]: "
            'hidden_rows = "skip" leaves them out, hidden_rows = "include" texts them.'
        ),
    )
