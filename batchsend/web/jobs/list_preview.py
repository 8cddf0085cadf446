"""What is read and tried while somebody edits a campaign. Runs in a process of its own; see `reading`.

A list can be large or hostile, and a template slow: none of that may hold up the pages or end them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError, FileError, ListError
from batchsend.lists.customer_list import CustomerList
from batchsend.lists.headers import ColumnIndex, variable_name
from batchsend.lists.newest import newest_match
from batchsend.messages.sms import counted, normalize, smart_encode
from batchsend.messages.template import MessageTemplate, RowProblem
from batchsend.messages.template_check import ROW
from batchsend.messages.template_choice import TemplateChoice
from batchsend.planning.columns import Roles, find_columns
from batchsend.planning.row_judge import RowIssue, RowJudge
from batchsend.planning.sources import open_campaign_list
from batchsend.reports.advice import meaning, what_to_do
from batchsend.runs.start import refuse_sample_ids
from batchsend.statuses import Status

#: Rows of a list that are kept in memory, and lists.
_ROWS_KEPT, _LISTS_KEPT = 2000, 4
#: Rows of a list that its page shows.
_ROWS_SHOWN = 5


@dataclass(frozen=True)
class ListView:
    """A list as its page shows it. `problems`: why it cannot be used; then only `path` and perhaps `headers` hold.

    `roles`: our name for a column -> the list's header, of those that were found.
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
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowText:
    """The text of one row, or what is in its way. `problems` are the template's, `problem` is the row's.

    `row` is `None` where the list has no rows; `earlier` and `later` are the rows beside it.
    """

    problems: tuple[str, ...] = ()
    row: int | None = None
    earlier: int | None = None
    later: int | None = None
    phone: str | None = None
    body: str | None = None
    segments: int = 0
    encoding: str = ""
    units: int = 0
    opt_out_line: str | None = None
    code: str = ""
    problem: str = ""
    cells: tuple[tuple[str, str], ...] = ()


@dataclass
class _CachedList:
    """A list that was read a moment ago, and its first rows."""

    customers: CustomerList
    rows: dict[int, Sequence[str]]
    malformed: dict[int, str]
    hidden: frozenset[int]


_lists: OrderedDict[tuple[object, ...], _CachedList] = OrderedDict()


def read_list(path: Path, content: bytes) -> ListView:
    """The list of the campaign file `path` with this content. Raises `BatchsendError` for the campaign's own."""
    campaign = parse_campaign(path, content)
    try:
        file = _list_file(campaign)
        kept = _list(campaign, file)
    except ListError as error:
        return ListView(error.path, error.headers or (), problems=error.problems)
    customers = kept.customers
    problems = _roles(campaign, customers.headers)[1]
    return ListView(
        path=file,
        headers=customers.headers,
        rows=customers.rows,
        saved_at=customers.saved_at.isoformat(),
        notes=customers.notes,
        first=list(islice(kept.rows.items(), _ROWS_SHOWN)),
        column_problems=problems,
        roles=_found(campaign, customers.headers),
        variables=tuple(_variables(customers.headers)),
    )


def check_list(path: Path, campaign_path: Path, content: bytes) -> None:
    """Raises `ListError` where this file could not be the campaign's list, whatever its columns are called."""
    _list(parse_campaign(campaign_path, content), path)


def render_row(path: Path, content: bytes, template: Path, source: str, wanted: int | None) -> RowText:
    """What this template, as it stands in the editor, makes of a row; `None`: of the first one."""
    campaign = parse_campaign(path, content)
    try:
        kept = _list(campaign, _list_file(campaign))
    except ListError as error:
        return RowText(problems=error.problems)
    headers = kept.customers.headers
    try:
        made = MessageTemplate.of(template, source, headers)
    except FileError as error:
        return RowText(problems=error.problems)
    row, cells, malformed, hidden = _row(kept, wanted)
    if row is None:
        return RowText()
    numbers = list(kept.rows)
    earlier = max((number for number in numbers if number < row), default=None)
    later = min(
        (number for number in numbers if number > row), default=row + 1 if row >= numbers[-1] else None
    )
    if row - 1 > numbers[-1]:
        earlier = row - 1
    if later is not None and row >= numbers[-1] and len(numbers) == kept.customers.rows:
        later = None
    line = campaign.message.opt_out_line if campaign.message.add_tcpa_footer else None
    beside = RowText(
        row=row,
        earlier=earlier,
        later=later,
        opt_out_line=line,
        cells=tuple((headers[index], cells[index]) for index in sorted(made.uses)),
    )
    roles, _ = _roles(campaign, headers)
    if roles is None:
        return _text_alone(campaign, made, cells, beside)
    judge = RowJudge(campaign, headers, roles, TemplateChoice(made), phones_needed=False)
    judged = judge.judge(row, cells, malformed, hidden=hidden)
    problem = judged.first or judged.then
    if judged.body is None and judged.first is not None and not malformed:
        # Left out before a text is made; somebody who edits the text wants to see it all the same.
        alone = _text_alone(campaign, made, cells, beside)
        return alone if alone.code else _with_problem(alone, problem)
    size = judged.size
    shown = _with_body(
        beside, judged.body, (size.segments, size.encoding, size.units) if size else (0, "", 0)
    )
    return _with_problem(replace(shown, phone=judged.phone), problem)


def file_problems(path: Path, content: bytes) -> list[str]:
    """All that the command line would say against a campaign with this file."""
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
        kept = _list(campaign, _list_file(campaign))
    except BatchsendError as error:
        return [*found, *str(error).splitlines()]
    found += _roles(campaign, kept.customers.headers)[1]
    try:
        TemplateChoice.load(campaign, kept.customers.headers)
    except BatchsendError as error:
        found += str(error).splitlines()
    return found


def _list_file(campaign: Campaign) -> Path:
    return newest_match(campaign.list) if is_pattern(campaign.list) else campaign.list


def _list(campaign: Campaign, file: Path) -> _CachedList:
    options = campaign.list_options
    try:
        stat = file.stat()
    except OSError:
        stat = None
    key = (file, stat and stat.st_mtime_ns, stat and stat.st_size, options.model_dump_json())
    if key in _lists:
        _lists.move_to_end(key)
        return _lists[key]
    customers = open_campaign_list(campaign, file)
    rows: dict[int, Sequence[str]] = {}
    malformed: dict[int, str] = {}
    hidden: set[int] = set()
    for chunk in customers.chunks(()):
        rows.update(zip(chunk.numbers, chunk.rows, strict=True))
        malformed.update(chunk.malformed)
        hidden.update(chunk.hidden)
        if len(rows) >= _ROWS_KEPT:
            break
    _lists[key] = _CachedList(customers, rows, malformed, frozenset(hidden))
    while len(_lists) > _LISTS_KEPT:
        _lists.popitem(last=False)
    return _lists[key]


def _row(kept: _CachedList, wanted: int | None) -> tuple[int | None, Sequence[str], str | None, bool]:
    """A row by its number, or the next one that is there: its number, cells, what is malformed, is it hidden."""
    near = next((number for number in kept.rows if wanted is None or number >= wanted), None)
    if near is not None:
        return near, kept.rows[near], kept.malformed.get(near), near in kept.hidden
    for chunk in kept.customers.chunks(()):
        for number, cells in zip(chunk.numbers, chunk.rows, strict=True):
            if wanted is not None and number >= wanted:
                return number, cells, chunk.malformed.get(number), number in chunk.hidden
    last = next(reversed(kept.rows), None)
    return (None, (), None, False) if last is None else (last, kept.rows[last], None, False)


def _roles(campaign: Campaign, headers: Sequence[str]) -> tuple[Roles | None, tuple[str, ...]]:
    try:
        return find_columns(campaign, headers), ()
    except ListError as error:
        return None, error.problems


def _found(campaign: Campaign, headers: Sequence[str]) -> dict[str, str]:
    """Our names for the columns -> the headers that were found for them; whatever else is wrong with others."""
    roles, _ = _roles(campaign, headers)
    if roles is None:
        return {}
    names = ("customer_uuid", "phone", "department_uuid", "user_uuid", "timezone", "consent")
    positions = {name: getattr(roles, name) for name in names}
    return {name: headers[position] for name, position in positions.items() if position is not None}


def _variables(headers: Sequence[str]) -> list[str]:
    """How a template writes each column that has a name."""
    index = ColumnIndex(headers)
    found = []
    for header in headers:
        name = variable_name(header)
        plain = name.isidentifier() and len(index.with_variable(name)) == 1 and name != ROW
        if header:
            found.append(name if plain else f'{ROW}["{header}"]')
    return found


def _text_alone(campaign: Campaign, made: MessageTemplate, cells: Sequence[str], beside: RowText) -> RowText:
    """The text of a row whose customer cannot be known yet."""
    try:
        body = normalize(made.render(cells))
    except RowProblem as problem:
        return _with_problem(beside, RowIssue(problem.code, problem.description))
    if campaign.message.smart_encoding:
        body = smart_encode(body)
    size = counted(body, beside.opt_out_line)
    return _with_body(beside, body, (size.segments, size.encoding, size.units))


def _with_body(shown: RowText, body: str | None, size: tuple[int, str, int]) -> RowText:
    segments, encoding, units = size
    return replace(shown, body=body, segments=segments, encoding=str(encoding), units=units)


def _with_problem(shown: RowText, problem: RowIssue | None) -> RowText:
    if problem is None:
        return shown
    status = Status.INVALID
    said = problem.description or meaning(status, [problem.code])
    advice = what_to_do(status, [problem.code])
    return replace(shown, code=str(problem.code), problem=f"{said}. {advice}".replace("..", "."))
