"""Reads the list while a campaign is edited. Runs in the processes of `reader_pool`.

A list can be large or malicious. In a separate process, it cannot hold up the pages.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pandas as pd

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.campaigns.tables import Lookup
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError, ColumnsError, FileError, ListError
from batchsend.lists.customer_list import CustomerList
from batchsend.lists.newest import newest_match
from batchsend.lists.source import is_made_anew
from batchsend.messages.template_choice import TemplateChoice
from batchsend.planning.columns import Roles, find_columns, guess_columns
from batchsend.planning.list_checks import look_like_dms_numbers
from batchsend.planning.lookup_columns import find_lookup_columns
from batchsend.planning.optout_files import read_opt_outs
from batchsend.planning.sources import open_campaign_list
from batchsend.runs.start import refuse_sample_ids

#: Lists that are kept, and how many of their rows are in memory: the first ones, and as many from the whole list.
LISTS_KEPT, ROWS_KEPT = 4, 2000
#: Values of a column that the page shows.
_SAMPLES = 3
#: Rows of a list that the page shows.
_ROWS_SHOWN = 5


@dataclass(frozen=True)
class ListView:
    """A list as the page shows it.

    `problems`: why the list cannot be used; then only `path` and perhaps `headers` are set. `roles`: our name for a
    column -> the list's header, for the columns that were found.

    The rest is for people who choose: `options`, the list options that solve all of its problems; `sheets`, those
    that could be the list; `hidden_rows`, how many are hidden; `top`, the first rows of the file; `header_row`, the
    number of the row with the headers; `title`: that row is probably a title; `guesses`: as `roles`, of what the
    columns are called; `samples`: a header -> different values below it; `lookup_by`: which columns customers can be
    looked up by, in words, if the list has no ids.
    """

    path: Path
    headers: tuple[str, ...] = ()
    rows: int = 0
    saved_at: str = ""
    notes: tuple[str, ...] = ()
    first: list[tuple[int, Sequence[str]]] = field(default_factory=list)
    problems: tuple[str, ...] = ()
    column_problems: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    options: frozenset[str] = frozenset()
    sheets: tuple[str, ...] = ()
    hidden_rows: int = 0
    top: tuple[tuple[int, tuple[str, ...]], ...] = ()
    header_row: int | None = None
    title: bool = False
    guesses: Mapping[str, str] = field(default_factory=dict)
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lookup_by: str = ""


@dataclass(frozen=True)
class ReadList:
    """A list that was read a moment ago.

    `rows`: its first rows by their numbers; `starts`: the number of the first row of each block; `sample`: all of its
    rows, or some from all of its parts, without those that are left out because they are hidden; `scale`: rows of the
    list for each of the sample.
    """

    customers: CustomerList
    rows: Mapping[int, Sequence[str]]
    starts: Sequence[int]
    sample: pd.DataFrame
    scale: float


_lists: OrderedDict[tuple[object, ...], ReadList] = OrderedDict()


def read_list(path: Path, content: bytes) -> ListView:
    """Reads the list of a campaign file. Raises `BatchsendError` if the campaign file is wrong.

    `path` and `content`: the campaign file's.
    """
    campaign = parse_campaign(path, content)
    try:
        cached = list_of(campaign)
    except ListError as error:
        return ListView(
            error.path,
            error.headers or (),
            problems=error.page_problems,
            options=error.options,
            sheets=error.sheets,
            hidden_rows=error.hidden_rows,
            top=error.top,
            header_row=campaign.list_options.header_row,
            title="header_row" in error.options,
        )
    customers = cached.customers
    roles, problems = roles_of(campaign, customers.headers)
    return ListView(
        path=customers.path,
        headers=customers.headers,
        rows=customers.rows,
        saved_at=customers.saved_at.isoformat(),
        notes=customers.notes,
        first=list(islice(cached.rows.items(), _ROWS_SHOWN)),
        column_problems=problems,
        roles=_found(roles, customers.headers),
        hidden_rows=customers.hidden_rows,
        top=customers.top,
        header_row=customers.header.row,
        title=campaign.list_options.header_row is None and _is_title(customers.headers, customers.top),
        guesses=guess_columns(customers.headers),
        samples=_samples(cached),
        lookup_by=_lookup_by(campaign, cached),
    )


def _lookup_by(campaign: Campaign, cached: ReadList) -> str:
    """Returns which columns customers can be looked up by, in words; "" if the list has ids or no such columns."""
    headers = cached.customers.headers
    named = campaign.columns.customer_uuid
    has_id = named if named in headers else guess_columns(headers).get("customer_uuid")
    if campaign.columns.lookup is not None or (has_id is not None and not _has_numbers(cached, has_id)):
        return ""
    try:
        found = find_lookup_columns(
            cached.customers.path, headers, Lookup(), lambda position: _has_numbers(cached, headers[position])
        )
    except ColumnsError:
        return ""
    return found.described(headers)


def _has_numbers(cached: ReadList, header: str) -> bool:
    """Whether a column has customer numbers of the dealership instead of ids."""
    return look_like_dms_numbers(
        cells[cached.customers.headers.index(header)] for cells in cached.rows.values()
    )


def _samples(cached: ReadList) -> dict[str, tuple[str, ...]]:
    """Returns the first different values of each column."""
    found: dict[str, tuple[str, ...]] = {}
    for position, header in enumerate(cached.customers.headers):
        values = dict.fromkeys(cells[position] for cells in cached.rows.values() if cells[position])
        found[header] = tuple(islice(values, _SAMPLES))
    return found


def _is_title(headers: Sequence[str], top: Sequence[tuple[int, Sequence[str]]]) -> bool:
    """Whether a row has too few values to be the headers of the rows below it."""
    widest = max((sum(map(bool, cells)) for _, cells in top), default=0)
    return 2 * sum(map(bool, headers)) <= widest


def count_opt_outs(path: Path, region: str) -> int:
    """Returns how many rows of a file name someone to skip. Raises `ListError` if the file could lose one."""
    return sum(not row.is_empty for row in read_opt_outs(path, region).rows)


def file_problems(path: Path, content: bytes) -> list[str]:
    """Returns what the command line would say is wrong with a campaign file of this content."""
    try:
        campaign = parse_campaign(path, content)
    except FileError as error:
        return list(error.problems)
    found: list[str] = []
    try:
        refuse_sample_ids(campaign)
    except FileError as error:
        found += error.problems
    try:
        headers = list_of(campaign).customers.headers
    except BatchsendError as error:
        return [*found, *error.on_page.splitlines()]
    found += roles_of(campaign, headers)[1]
    try:
        TemplateChoice.load(campaign, headers)
    except BatchsendError as error:
        found += error.on_page.splitlines()
    return found


def _list_file(campaign: Campaign) -> Path:
    return newest_match(campaign.list, campaign.allows_list) if is_pattern(campaign.list) else campaign.list


def list_key(campaign: Campaign) -> tuple[object, ...]:
    """Returns a value that changes with the campaign's list, without reading it."""
    try:
        return _key(campaign, _list_file(campaign))
    except ListError as error:
        return (error.on_page,)


def _key(campaign: Campaign, file: Path) -> tuple[object, ...]:
    try:
        stat = file.stat()
    except OSError:
        stat = None
    # The rows of a query can change though its file does not.
    minute = time.monotonic() // 60 if is_made_anew(file) else None
    options = campaign.list_options.model_dump_json()
    return minute, file, stat and stat.st_mtime_ns, stat and stat.st_size, options


def list_of(campaign: Campaign) -> ReadList:
    """Reads the campaign's list, unless it was read a moment ago. Raises `ListError`."""
    file = _list_file(campaign)
    key = _key(campaign, file)
    if key in _lists:
        _lists.move_to_end(key)
        return _lists[key]
    _lists[key] = _kept(open_campaign_list(campaign, file))
    while len(_lists) > LISTS_KEPT:
        _lists.popitem(last=False)
    return _lists[key]


def _kept(customers: CustomerList) -> ReadList:
    starts = [block.numbers[0] for block in customers.blocks()]
    blocks = max(1, len(starts) * ROWS_KEPT // max(1, customers.rows))
    first = customers.chunk_of(list(customers.blocks(slice(blocks)))).frame
    step = -(-len(starts) // blocks)
    some = customers.chunk_of(list(customers.blocks(slice(None, None, step))))
    return ReadList(
        customers,
        rows={row: cells for row, *cells in first.itertuples()},
        starts=starts,
        sample=some.frame.drop(index=list(some.hidden)),
        scale=customers.rows / max(1, len(some.frame)),
    )


def roles_of(campaign: Campaign, headers: Sequence[str]) -> tuple[Roles | None, tuple[str, ...]]:
    """Returns the columns' roles, or the problems in finding them."""
    try:
        return find_columns(campaign, headers), ()
    except ListError as error:
        return None, error.page_problems


def _found(roles: Roles | None, headers: Sequence[str]) -> dict[str, str]:
    """Returns our names for columns -> the headers that were found for them."""
    if roles is None:
        return {}
    names = ("customer_uuid", "phone", "department_uuid", "user_uuid", "timezone", "zip", "state", "consent")
    positions = {name: getattr(roles, name) for name in names}
    # An id that is looked up is in no column.
    return {
        name: headers[position]
        for name, position in positions.items()
        if position is not None and position < len(headers)
    }
