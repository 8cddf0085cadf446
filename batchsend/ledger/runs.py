"""Queries about runs: their rows, counts and starts. Only `note_undelivered` changes something."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ARRAY, ColumnElement, Text, exists, false, func, select, union, union_all, update

from batchsend.ledger.bulk import in_chunks
from batchsend.ledger.cluster_schema import COUNTED, handovers, leases
from batchsend.ledger.ledger import Identity, Ledger
from batchsend.ledger.schema import campaigns, messages, runs, starts, superseded
from batchsend.statuses import IN_FLIGHT, TRIED, Code, Status

if TYPE_CHECKING:
    import pandas as pd

#: Values in one `IN (...)`; SQLite allows 32,766 parameters.
IN_VALUES = 5000
#: Of the facts about a run: a line for each notice about its end that was not delivered.
UNDELIVERED = "undelivered_notices"
#: Rows of a frame.
_FRAME_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One line of `batchsend runs`."""

    run_id: int
    campaign: str
    base_url: str
    created_at: str
    ended_at: str | None
    os_user: str
    host: str
    ending: str | None
    list_file: str
    given_up_at: str | None
    given_up_by: str | None
    counts: Mapping[str, int]


class SharedState(NamedTuple):
    """What the processes of a run on PostgreSQL do and have done, for the start `start_id`.

    `open`: whether workers may send it. `leased`: whether a process may still send it; once a closed run has no such
    process, it never has one again. `senders`: the processes that send it now, `helpers`: those of them that are
    workers, `workers`: the workers that could send it. `open_rows` can be sent now, `quiet_rows` wait for quiet hours
    to end, rows `in_flight` have no outcome yet. `outcomes`: status -> number of texts, of this start.
    """

    start_id: int
    open: bool
    stop_requested: bool
    stopped_because: str | None
    open_rows: bool
    quiet_rows: bool
    in_flight: bool
    leased: bool
    senders: tuple[str, ...]
    helpers: tuple[str, ...]
    workers: tuple[str, ...]
    outcomes: Mapping[str, int]

    @property
    def done(self) -> bool:
        """Whether nothing of it can be sent now and all outcomes are known."""
        return not self.open_rows and not self.in_flight


class TakenRow(NamedTuple):
    """A row that is sent now, or was tried before. `cells`: a JSON list, as the ledger has it.

    `phone`: its hash if it was purged.
    """

    row: int
    key: str
    phone: str | None
    customer_uuid: str
    cells: str

    def texts(self) -> list[str]:
        """The row's cells."""
        cells: list[str] = json.loads(self.cells)
        return cells


class CodeCount(NamedTuple):
    """How many rows of a run have this status with these codes."""

    status: str
    codes: str
    rows: int


class Departures(NamedTuple):
    """The requests of one start in one tenth of a second; first and last time as UTC text."""

    start_id: int
    first: str
    last: str
    requests: int


def run_rows(
    ledger: Ledger, run_id: int, statuses: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Streams a run's rows in list order; `statuses` limits the rows, `columns` the columns."""
    names = messages.columns.keys() if columns is None else columns
    for row in run_tuples(ledger, run_id, statuses, names):
        yield dict(zip(names, row, strict=True))


def run_tuples(
    ledger: Ledger, run_id: int, statuses: Sequence[str] | None, columns: Sequence[str]
) -> Iterator[Sequence[Any]]:
    """Streams the values of these columns in list order; `statuses` limits the rows."""
    query = (
        select(*(messages.c[name] for name in columns))
        .where(messages.c.run_id == run_id)
        .order_by(messages.c.row)
    )
    if statuses is not None:
        query = query.where(messages.c.status.in_(statuses))
    with ledger.read() as connection:
        yield from connection.execution_options(yield_per=1000).execute(query)


def run_frames(ledger: Ledger, run_id: int, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Streams the values of these columns in list order, some thousand rows at a time, as `object` columns."""
    import pandas as pd

    # pandas takes plain tuples ten times as fast as the rows of SQLAlchemy.
    rows = map(tuple, run_tuples(ledger, run_id, None, columns))
    while some := list(islice(rows, _FRAME_ROWS)):
        yield pd.DataFrame(some, columns=list(columns), dtype=object)


def taken_rows(ledger: Ledger, run_id: int, rows: Sequence[int]) -> Iterator[TakenRow]:
    """The rows of a run with these numbers that have a key, in any status."""
    for chunk in in_chunks(rows, IN_VALUES):
        query = select(*(messages.c[name] for name in TakenRow._fields)).where(
            messages.c.run_id == run_id, messages.c.row.in_(chunk), messages.c.key.is_not(None)
        )
        with ledger.read() as connection:
            yield from map(TakenRow._make, connection.execute(query))


def code_counts(ledger: Ledger, run_id: int) -> list[CodeCount]:
    """How many rows of a run have which status and codes, most frequent first."""
    query = (
        select(messages.c.status, messages.c.codes, func.count())
        .where(messages.c.run_id == run_id)
        .group_by(messages.c.status, messages.c.codes)
        .order_by(func.count().desc(), messages.c.status, messages.c.codes)
    )
    with ledger.read() as connection:
        return [CodeCount._make(row) for row in connection.execute(query)]


def recorded_codes(ledger: Ledger) -> set[str]:
    """The codes that any row of any run has, or had before it was sent again."""
    query = union(select(messages.c.codes), select(superseded.c.codes))
    with ledger.read() as connection:
        return {code for codes in connection.scalars(query) for code in codes.split("; ")}


def rows_with(ledger: Ledger, run_id: int, status: str, codes: str, limit: int) -> list[int]:
    """The numbers of the first `limit` rows with this status and these codes."""
    query = (
        select(messages.c.row)
        .where(messages.c.run_id == run_id, messages.c.status == status, messages.c.codes == codes)
        .order_by(messages.c.row)
        .limit(limit)
    )
    with ledger.read() as connection:
        return list(connection.scalars(query))


def first_with(ledger: Ledger, run_id: int, status: str, codes: str) -> dict[str, Any] | None:
    """All columns of the first row with this status and these codes."""
    query = (
        select(messages)
        .where(messages.c.run_id == run_id, messages.c.status == status, messages.c.codes == codes)
        .order_by(messages.c.row)
        .limit(1)
    )
    with ledger.read() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def overview(
    ledger: Ledger, campaign_name: str | None = None, run_id: int | None = None
) -> list[RunOverview]:
    """All runs, or those of a campaign or with this number, latest first. Each has its counts and latest start."""
    which = []
    if campaign_name is not None:
        which.append(campaigns.c.name == campaign_name)
    if run_id is not None:
        which.append(runs.c.id == run_id)
    latest = select(func.max(starts.c.id)).group_by(starts.c.run_id)
    query = (
        select(
            runs.c.id.label("run_id"),
            campaigns.c.name.label("campaign"),
            campaigns.c.base_url,
            runs.c.created_at,
            starts.c.ended_at,
            starts.c.os_user,
            starts.c.host,
            starts.c.ending,
            runs.c.list_file,
            runs.c.given_up_at,
            runs.c.given_up_by,
        )
        .join(campaigns, campaigns.c.id == runs.c.campaign_id)
        .join(starts, starts.c.run_id == runs.c.id)
        .where(starts.c.id.in_(latest), *which)
        .order_by(runs.c.id.desc())
    )
    by_run = select(messages.c.run_id, messages.c.status, func.count()).group_by(
        messages.c.run_id, messages.c.status
    )
    if which:
        # Other runs can have millions of rows.
        numbers = select(runs.c.id).join(campaigns, campaigns.c.id == runs.c.campaign_id).where(*which)
        by_run = by_run.where(messages.c.run_id.in_(numbers))
    counts: dict[int, dict[str, int]] = {}
    with ledger.read() as connection:
        for number, status, count in connection.execute(by_run):
            counts.setdefault(number, {})[status] = count
        found = connection.execute(query).mappings()
        return [RunOverview(**row, counts=counts.get(row["run_id"], {})) for row in found]


def shared_state(ledger: Ledger, run_id: int, *, rows: bool = True) -> SharedState | None:
    """What the processes of a run do; `None` for a run that had nothing to send or is in a file.

    Without `rows`, it does not look at the run's rows, which takes long in a large run: they count as done.
    """
    if ledger.file is not None:
        return None
    from batchsend.ledger.leases import ALIVE

    of_run = leases.c.run_id == run_id
    waits = (leases.c.worker, leases.c.run_id.is_(None), leases.c.base_url == handovers.c.base_url)
    facts = (
        select(
            handovers.c.start_id,
            handovers.c.open,
            runs.c.stop_requested_at.is_not(None),
            handovers.c.stopped_because,
            *(_rows_left(run_id) if rows else [false()] * 3),
            exists().where(of_run),
            _holders(ALIVE, of_run),
            _holders(ALIVE, of_run, leases.c.worker),
            _holders(ALIVE, *waits),
            *(
                handovers.c[name]
                + select(func.coalesce(func.sum(leases.c[name]), 0)).where(of_run).scalar_subquery()
                for name in COUNTED
            ),
        )
        .join(runs, runs.c.id == handovers.c.run_id)
        .where(handovers.c.run_id == run_id)
    )
    with ledger.read() as connection:
        found = connection.execute(facts).one_or_none()
    if found is None:
        return None
    outcomes = {name: n for name, n in zip(COUNTED, found[-len(COUNTED) :], strict=True) if n}
    return SharedState._make((*found[: -len(COUNTED)], outcomes))


def _rows_left(run_id: int) -> list[ColumnElement[bool]]:
    """Whether rows of a run are open, wait for quiet hours to end, and are in flight."""
    of_run, pending = messages.c.run_id == run_id, messages.c.status == Status.PENDING
    return [
        exists().where(of_run, pending, messages.c.codes == Code.STOPPED),
        exists().where(of_run, pending, messages.c.codes == Code.QUIET_HOURS),
        exists().where(of_run, messages.c.status == IN_FLIGHT),
    ]


def _holders(*which: ColumnElement[bool]) -> ColumnElement[Any]:
    """The names of the processes that hold such leases, as an array."""
    names = select(leases.c.holder).where(*which).order_by(leases.c.holder)
    return func.array(names.correlate(handovers).scalar_subquery(), type_=ARRAY(Text, as_tuple=True))


class RecordedFiles(NamedTuple):
    """The campaign files of a ledger, and the lists and templates that their starts have read."""

    campaigns: frozenset[str]
    inputs: frozenset[str]


def recorded_files(ledger: Ledger) -> RecordedFiles:
    """The files of all campaigns, as their starts recorded them. Some may be on another computer or gone."""
    columns = (starts.c.campaign_file, starts.c.list_file, starts.c.template_file)
    with ledger.read() as connection:
        found = connection.execute(select(*columns).distinct()).all()
        named = connection.scalars(select(campaigns.c.file)).all()
    # Several templates are one text.
    inputs = {name for _, list_file, templates in found for name in (list_file, *templates.split("; "))}
    return RecordedFiles(frozenset({*named, *(row[0] for row in found)}), frozenset(inputs))


def starts_of(ledger: Ledger, run_id: int) -> list[dict[str, Any]]:
    """All columns of a run's starts, first start first."""
    query = select(starts).where(starts.c.run_id == run_id).order_by(starts.c.id)
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def departures(ledger: Ledger, run_id: int) -> Iterator[Departures]:
    """Streams how many requests of a run were sent in each tenth of a second.

    Counts requests that have an outcome or are in flight, including those that `--resend` replaced.
    """
    tables = [
        select(table.c.start_id, table.c.sent_at).where(
            table.c.run_id == run_id,
            table.c.sent_at.is_not(None),
            table.c.start_id.is_not(None),
            table.c.status.in_([*TRIED, IN_FLIGHT]),
        )
        for table in (messages, superseded)
    ]
    sent = union_all(*tables).subquery()
    tenth = func.substr(sent.c.sent_at, 1, len("2026-11-22T10:00:00.1"))
    query = select(
        sent.c.start_id, func.min(sent.c.sent_at), func.max(sent.c.sent_at), func.count()
    ).group_by(sent.c.start_id, tenth)
    with ledger.read() as connection:
        yield from map(Departures._make, connection.execution_options(yield_per=1000).execute(query))


def segments_to_send(ledger: Ledger, run_id: int, codes: Sequence[str] = (Code.STOPPED,)) -> tuple[int, int]:
    """How many texts and segments wait to be sent, with these codes."""
    query = select(func.count(), func.coalesce(func.sum(messages.c.segments), 0)).where(
        messages.c.run_id == run_id, messages.c.status == Status.PENDING, messages.c.codes.in_(codes)
    )
    with ledger.read() as connection:
        texts, segments = connection.execute(query).one()
        return texts, int(segments)


def special_texts(ledger: Ledger, run_id: int, codes: Sequence[str]) -> tuple[int, int]:
    """How many of the texts that wait to be sent, with these codes, have no phone, and how many are sent again."""
    query = select(func.count() - func.count(messages.c.phone), func.count(messages.c.resend)).where(
        messages.c.run_id == run_id, messages.c.status == Status.PENDING, messages.c.codes.in_(codes)
    )
    with ledger.read() as connection:
        without_phone, again = connection.execute(query).one()
        return without_phone, again


def note_undelivered(ledger: Ledger, run_id: int, sentences: Sequence[str]) -> None:
    """Records which notices about the end of a run were not delivered, until it is continued."""
    with ledger.write() as connection:
        of_run = runs.c.id == run_id
        about = json.loads(connection.execute(select(runs.c.about).where(of_run)).scalar_one())
        noted = "\n".join([*about.get(UNDELIVERED, "").splitlines(), *sentences])
        connection.execute(update(runs).where(of_run).values(about=json.dumps({**about, UNDELIVERED: noted})))


def last_run_id(ledger: Ledger) -> int:
    """The number of the ledger's latest run; 0 if it has none."""
    with ledger.read() as connection:
        return connection.scalar(select(func.max(runs.c.id))) or 0


def last_start(ledger: Ledger, campaign: Identity) -> tuple[int, int]:
    """The numbers of the run and the start that began last in a campaign; zeros if there is none."""
    query = (
        select(starts.c.run_id, starts.c.id)
        .join(runs, runs.c.id == starts.c.run_id)
        .join(campaigns, campaigns.c.id == runs.c.campaign_id)
        .where(campaigns.c.name == campaign.name, campaigns.c.base_url == campaign.base_url)
        .order_by(starts.c.id.desc())
        .limit(1)
    )
    with ledger.read() as connection:
        found = connection.execute(query).one_or_none()
        return (0, 0) if found is None else (found.run_id, found.id)
