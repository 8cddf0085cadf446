"""Queries for monitoring: how many texts have which outcome, what waits, and how the last starts ended.

They read campaign names, statuses, codes, times and numbers only: nothing about a person.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, case, func, select, union_all

from batchsend.ledger.cluster_schema import SERVER_CLOCK, handovers, paces
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import campaigns, messages, planned_starts, runs, starts, superseded
from batchsend.statuses import IN_FLIGHT, TRIED, Status

K = TypeVar("K")
V = TypeVar("V")


class Sender(NamedTuple):
    """A campaign: its name and API base URL."""

    campaign: str
    base_url: str


class RowGroup(NamedTuple):
    """Rows of one campaign with one status; `codes` of `pending` rows only, else empty."""

    sender: Sender
    status: str
    codes: str


class LastStart(NamedTuple):
    """The last start of `send`. Times are UTC text; `ended_at` is `None` while it runs, or if it was killed."""

    started_at: str
    ended_at: str | None
    exit_code: int | None


class PlannedStarts(NamedTuple):
    """How many starts a schedule made or missed, and the last one's planned time as UTC text."""

    starts: int
    last: str

    def plus(self, other: PlannedStarts) -> PlannedStarts:
        return PlannedStarts(self.starts + other.starts, max(self.last, other.last))


class Pace(NamedTuple):
    """Requests a second of an open run on PostgreSQL, and how many seconds it still pauses at the API's request."""

    configured: float
    present: float
    pause: float


@dataclass(frozen=True)
class LedgerFigures:
    """The figures of one ledger. `waiting_since`: when the oldest run with such `pending` rows began, as UTC text."""

    rows: Mapping[RowGroup, int]
    waiting_since: Mapping[RowGroup, str]
    last_starts: Mapping[Sender, LastStart]
    planned: Mapping[tuple[Sender, str], PlannedStarts]
    paces: Mapping[Sender, Pace]


def merged(ledgers: Iterable[LedgerFigures]) -> LedgerFigures:
    """The figures of several ledgers. Of one campaign in two, rows are added and the later start counts."""
    every = LedgerFigures({}, {}, {}, {}, {})
    for one in ledgers:
        every = LedgerFigures(
            _combined(every.rows, one.rows, operator.add),
            _combined(every.waiting_since, one.waiting_since, min),
            _combined(every.last_starts, one.last_starts, _later),
            _combined(every.planned, one.planned, PlannedStarts.plus),
            _combined(every.paces, one.paces, max),
        )
    return every


def _combined(some: Mapping[K, V], more: Mapping[K, V], combine: Callable[[V, V], V]) -> dict[K, V]:
    both = {key: combine(some[key], more[key]) for key in some.keys() & more.keys()}
    return {**some, **more, **both}


def _later(one: LastStart, other: LastStart) -> LastStart:
    return max(one, other, key=lambda start: start.started_at)


class FigureReader:
    """Reads one ledger's figures again and again.

    Counting reads every row of a run, and takes about a second for a million rows. So finished runs are counted less
    often than the latest run of each campaign: for at most a twentieth of the time, by `clock` (in seconds).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[int, list[tuple[str, str, int]]] = {}
        self._all_due = 0.0

    def read(self, ledger: Ledger) -> LedgerFigures:
        """Raises `LedgerError`."""
        with ledger.read() as connection:
            self._count(connection)
            rows, since = self._by_campaign(connection)
            return LedgerFigures(
                rows, since, _last_starts(connection), _planned(connection), _paces(connection)
            )

    def _count(self, connection: Connection) -> None:
        began = self._clock()
        query = select(messages.c.run_id, messages.c.status, _WAITING_CODES, func.count())
        if began < self._all_due:
            latest = select(func.max(runs.c.id)).group_by(runs.c.campaign_id)
            query = query.where(messages.c.run_id.in_(list(connection.scalars(latest))))
        found: dict[int, list[tuple[str, str, int]]] = {}
        counted = query.group_by(messages.c.run_id, messages.c.status, _WAITING_CODES)
        for run_id, status, codes, count in connection.execute(counted):
            found.setdefault(run_id, []).append((status, codes, count))
        if began >= self._all_due:
            self._counts.clear()
            self._all_due = began + _SHARE * (self._clock() - began) + _LEAST_SECONDS
        self._counts.update(found)

    def _by_campaign(self, connection: Connection) -> tuple[dict[RowGroup, int], dict[RowGroup, str]]:
        query = select(runs.c.id, runs.c.created_at, campaigns.c.name, campaigns.c.base_url)
        rows: dict[RowGroup, int] = {}
        since: dict[RowGroup, str] = {}
        for run_id, created_at, name, base_url in connection.execute(query.join(campaigns)):
            for status, codes, count in self._counts.get(run_id, ()):
                group = RowGroup(Sender(name, base_url), status, codes)
                rows[group] = rows.get(group, 0) + count
                if status == Status.PENDING:
                    since[group] = min(created_at, since.get(group, created_at))
        return rows, since


#: Finished runs are counted once in so many times the seconds that it takes, and these seconds at the least.
_SHARE, _LEAST_SECONDS = 20.0, 60.0
_WAITING_CODES = case((messages.c.status == Status.PENDING, messages.c.codes), else_="")


def _last_starts(connection: Connection) -> dict[Sender, LastStart]:
    last = select(func.max(starts.c.id)).join(runs).group_by(runs.c.campaign_id)
    query = (
        select(
            campaigns.c.name, campaigns.c.base_url, starts.c.started_at, starts.c.ended_at, starts.c.exit_code
        )
        .select_from(starts.join(runs).join(campaigns))
        .where(starts.c.id.in_(last))
    )
    return {Sender(name, url): LastStart(*facts) for name, url, *facts in connection.execute(query)}


def _planned(connection: Connection) -> dict[tuple[Sender, str], PlannedStarts]:
    groups = (planned_starts.c.campaign, planned_starts.c.base_url, planned_starts.c.outcome)
    query = select(*groups, func.count(), func.max(planned_starts.c.planned_at)).group_by(*groups)
    return {
        (Sender(name, url), outcome): PlannedStarts(*facts)
        for name, url, outcome, *facts in connection.execute(query)
    }


def _paces(connection: Connection) -> dict[Sender, Pace]:
    if connection.dialect.name == "sqlite":
        return {}
    query = (
        select(
            campaigns.c.name,
            campaigns.c.base_url,
            paces.c.configured_rate,
            paces.c.rate,
            func.greatest(paces.c.paused_until - SERVER_CLOCK, 0.0),
        )
        .select_from(paces.join(runs).join(campaigns).join(handovers, handovers.c.run_id == runs.c.id))
        .where(handovers.c.open)
        .order_by(runs.c.id)
    )
    return {Sender(name, url): Pace(*facts) for name, url, *facts in connection.execute(query)}


def facts_of_runs(ledger: Ledger, run_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """The facts about their campaigns that these runs keep: run -> name -> text."""
    query = select(runs.c.id, runs.c.about).where(runs.c.id.in_(run_ids))
    with ledger.read() as connection:
        return {run_id: json.loads(about) for run_id, about in connection.execute(query)}


def segments_sent(ledger: Ledger, run_ids: Sequence[int]) -> dict[int, int]:
    """The segments of all texts that these runs have sent, or may have: run -> number. Runs without any are missing.

    Outcomes that `--resend` replaced count, too.
    """
    sent = [*TRIED - {Status.FAILED}, IN_FLIGHT]
    parts = [
        select(table.c.run_id, table.c.segments).where(
            table.c.run_id.in_(run_ids), table.c.status.in_(sent), table.c.segments.is_not(None)
        )
        for table in (messages, superseded)
    ]
    every = union_all(*parts).subquery()
    query = select(every.c.run_id, func.sum(every.c.segments)).group_by(every.c.run_id)
    if not run_ids:
        return {}
    with ledger.read() as connection:
        return {run_id: int(segments) for run_id, segments in connection.execute(query)}
