"""Questions about what the ledger remembers: who got what before, what a run looks like now. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Subquery, and_, func, or_, select, union_all

from batchsend.ledger.ledger import REPLACED, CampaignRecord, Ledger
from batchsend.ledger.plan_import import UNTRIED
from batchsend.ledger.schema import campaigns, messages, runs, starts, superseded
from batchsend.planning.duplicates import Taken
from batchsend.statuses import IN_FLIGHT, MAY_HAVE_REACHED, TRIED, Code, Status
from batchsend.utils.timestamps import to_text

T = TypeVar("T")

#: Told `messages` or `superseded`, picks rows of it.
_Condition = Callable[[Any], ColumnElement[bool]]
#: Values in one `IN (...)`; SQLite takes 32,766 parameters.
_VALUES = 5000


@dataclass(frozen=True, slots=True)
class Earlier:
    """The outcome of a key in another run of the same campaign."""

    run_id: int
    status: str
    codes: str
    message_uuid: str | None
    sent_at: str | None


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
    counts: Mapping[str, int]


class History:
    """What one ledger remembers, for one campaign (`None`: the ledger does not know it) and one run of it."""

    def __init__(
        self, ledger: Ledger, campaign: CampaignRecord | None, run_id: int | None, base_url: str
    ) -> None:
        self._ledger = ledger
        self._campaign = campaign
        self._run_id = run_id
        self._base_url = base_url

    def earlier(self, keys: Sequence[str]) -> dict[str, list[Earlier]]:
        """What other runs of this campaign made of these keys, latest run first; only tried rows count."""
        found: dict[str, list[Earlier]] = {}
        if self._campaign is None:
            return found
        columns = ("key", "run_id", "status", "codes", "message_uuid", "sent_at")
        for part in _parts(keys):
            outcomes = _last_outcomes(columns, _keys_elsewhere(self._campaign.id, self._run_id or 0, part))
            with self._ledger.read() as connection:
                for key, *outcome in connection.execute(select(outcomes).order_by(outcomes.c.run_id.desc())):
                    found.setdefault(key, []).append(Earlier(*outcome))
        return found

    def reached(self, customer_uuids: Sequence[str], since: datetime) -> dict[str, int]:
        """How many texts each customer may have had since then, over all campaigns of this API base URL."""
        counts: dict[str, int] = {}
        for part in _parts(customer_uuids):
            tables = [self._reached(table, part, since) for table in (messages, superseded)]
            texts = union_all(*tables).subquery()
            query = select(texts.c.customer_uuid, func.sum(texts.c.texts)).group_by(texts.c.customer_uuid)
            with self._ledger.read() as connection:
                counts.update({customer: int(count) for customer, count in connection.execute(query)})
        return counts

    def _reached(self, table: Any, customer_uuids: Sequence[str], since: datetime) -> Select[Any]:
        return (
            select(table.c.customer_uuid, func.count().label("texts"))
            .join(campaigns, campaigns.c.id == table.c.campaign_id)
            .where(
                campaigns.c.base_url == self._base_url,
                table.c.customer_uuid.in_(customer_uuids),
                table.c.status.in_([*MAY_HAVE_REACHED, IN_FLIGHT]),
                table.c.sent_at >= to_text(since),
            )
            .group_by(table.c.customer_uuid)
        )

    def texts_since(self, since: datetime) -> int:
        """How many texts of this campaign may have reached somebody since then."""
        if self._campaign is None:
            return 0
        count = 0
        with self._ledger.read() as connection:
            for table in (messages, superseded):
                count += (
                    connection.scalar(
                        select(func.count()).where(
                            table.c.campaign_id == self._campaign.id,
                            table.c.status.in_([*MAY_HAVE_REACHED, IN_FLIGHT]),
                            table.c.sent_at >= to_text(since),
                        )
                    )
                    or 0
                )
        return count

    def texts_by_run(self) -> list[int]:
        """How many rows each other run of this campaign tried; runs that tried none are left out."""
        if self._campaign is None:
            return []
        query = (
            select(func.count())
            .where(
                messages.c.campaign_id == self._campaign.id,
                messages.c.run_id != (self._run_id or 0),
                messages.c.status.in_(TRIED),
            )
            .group_by(messages.c.run_id)
        )
        with self._ledger.read() as connection:
            return list(connection.scalars(query))

    def tried_rows(self, first: int, last: int) -> dict[int, dict[str, Any]]:
        """The continued run's rows from `first` to `last` that a request was made for, whole."""
        outcomes = _last_outcomes(
            messages.columns.keys(),
            lambda table: and_(table.c.run_id == self._run_id, table.c.row.between(first, last)),
        )
        with self._ledger.read() as connection:
            return {row["row"]: dict(row) for row in connection.execute(select(outcomes)).mappings()}

    def chosen(self, first: int, last: int) -> dict[int, str]:
        """Row -> what an earlier start's `--resend` asked for, where that start chose the row and did not send it."""
        query = select(messages.c.row, messages.c.resend).where(
            messages.c.run_id == self._run_id,
            messages.c.row.between(first, last),
            messages.c.resend.is_not(None),
            UNTRIED,
        )
        with self._ledger.read() as connection:
            return dict(connection.execute(query).all())

    def unfinished(self, resend: str) -> bool:
        """Did an earlier start of the continued run choose rows by `resend`, and not come to its end with them?

        Then the same command goes on with its choice: what it sent is not chosen a second time.
        """
        waiting = select(messages.c.row).where(
            messages.c.run_id == self._run_id,
            messages.c.resend == resend,
            messages.c.status == Status.PENDING,
        )
        last_ended = (
            select(func.coalesce(func.max(starts.c.id), 0))
            .where(starts.c.run_id == self._run_id, starts.c.ended_at.is_not(None))
            .scalar_subquery()
        )
        killed = select(starts.c.id).where(
            starts.c.run_id == self._run_id, starts.c.resend == resend, starts.c.id > last_ended
        )
        with self._ledger.read() as connection:
            return connection.scalar(select(or_(waiting.exists(), killed.exists()))) or False

    def tried_keys(self) -> Iterator[tuple[int, str, str | None]]:
        """Row, key and phone of the continued run's tried rows, streamed."""
        outcomes = _last_outcomes(("row", "key", "phone"), lambda table: table.c.run_id == self._run_id)
        with self._ledger.read() as connection:
            found = connection.execution_options(yield_per=1000).execute(select(outcomes))
            yield from ((row, key, phone) for row, key, phone in found)

    def tried(self, rows: Sequence[int]) -> Iterator[Taken]:
        """Those of the continued run's rows with these numbers that were tried."""
        for part in _parts(rows):
            outcomes = _last_outcomes(Taken._fields, _rows_of(self._run_id, part))
            with self._ledger.read() as connection:
                yield from map(Taken._make, connection.execute(select(outcomes)))

    def sent_with_other_template(self, template_sha256: str) -> int:
        """How many texts of the continued run were made by a template that has changed since."""
        query = (
            select(func.count())
            .select_from(messages.join(starts, starts.c.id == messages.c.start_id))
            .where(
                messages.c.run_id == self._run_id,
                messages.c.status.in_([*MAY_HAVE_REACHED, IN_FLIGHT]),
                starts.c.template_sha256 != template_sha256,
            )
        )
        with self._ledger.read() as connection:
            return connection.scalar(query) or 0


def _last_outcomes(names: Iterable[str], where: _Condition) -> Subquery:
    """What the last request for each row came to; `where`, told a table, picks rows.

    A row that was opened again and not sent since has the outcome that was replaced.
    """
    names = tuple(names)
    return union_all(
        select(*(messages.c[name] for name in names)).where(
            messages.c.status.in_([*TRIED, IN_FLIGHT]), where(messages)
        ),
        select(*(superseded.c[name] for name in names))
        .join(messages, REPLACED)
        .where(UNTRIED, where(superseded)),
    ).subquery()


def _rows_of(run_id: int | None, rows: Sequence[int]) -> _Condition:
    return lambda table: and_(table.c.run_id == run_id, table.c.row.in_(rows))


def _keys_elsewhere(campaign_id: int, run_id: int, keys: Sequence[str]) -> _Condition:
    return lambda table: and_(
        table.c.campaign_id == campaign_id, table.c.run_id != run_id, table.c.key.in_(keys)
    )


def run_rows(
    ledger: Ledger, run_id: int, statuses: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """A run's rows in the list's order, streamed; `statuses` narrows them, `columns` what is read of each."""
    names = messages.columns.keys() if columns is None else columns
    for row in run_tuples(ledger, run_id, statuses, names):
        yield dict(zip(names, row, strict=True))


def run_tuples(
    ledger: Ledger, run_id: int, statuses: Sequence[str] | None, columns: Sequence[str]
) -> Iterator[Sequence[Any]]:
    """The values of these columns of a run's rows in the list's order, streamed; `statuses` narrows the rows."""
    query = (
        select(*(messages.c[name] for name in columns))
        .where(messages.c.run_id == run_id)
        .order_by(messages.c.row)
    )
    if statuses is not None:
        query = query.where(messages.c.status.in_(statuses))
    with ledger.read() as connection:
        yield from connection.execution_options(yield_per=1000).execute(query)


def taken_rows(ledger: Ledger, run_id: int, rows: Sequence[int]) -> Iterator[Taken]:
    """Those of a run's rows with these numbers that have a key, whatever became of them."""
    for part in _parts(rows):
        query = select(*(messages.c[name] for name in Taken._fields)).where(
            messages.c.run_id == run_id, messages.c.row.in_(part), messages.c.key.is_not(None)
        )
        with ledger.read() as connection:
            yield from map(Taken._make, connection.execute(query))


def code_counts(ledger: Ledger, run_id: int) -> list[tuple[str, str, int]]:
    """(status, codes, rows) of a run, the most frequent first."""
    query = (
        select(messages.c.status, messages.c.codes, func.count())
        .where(messages.c.run_id == run_id)
        .group_by(messages.c.status, messages.c.codes)
        .order_by(func.count().desc(), messages.c.status, messages.c.codes)
    )
    with ledger.read() as connection:
        return [(status, codes, count) for status, codes, count in connection.execute(query)]


def rows_with(ledger: Ledger, run_id: int, status: str, codes: str, limit: int) -> list[int]:
    """The first row numbers with this status and these codes."""
    query = (
        select(messages.c.row)
        .where(messages.c.run_id == run_id, messages.c.status == status, messages.c.codes == codes)
        .order_by(messages.c.row)
        .limit(limit)
    )
    with ledger.read() as connection:
        return list(connection.scalars(query))


def first_with(ledger: Ledger, run_id: int, status: str, codes: str) -> dict[str, Any] | None:
    """The first row with this status and these codes, whole."""
    query = (
        select(messages)
        .where(messages.c.run_id == run_id, messages.c.status == status, messages.c.codes == codes)
        .order_by(messages.c.row)
        .limit(1)
    )
    with ledger.read() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def overview(ledger: Ledger, campaign_name: str | None = None) -> list[RunOverview]:
    """All runs, the latest first, each with its counts and its latest start."""
    latest = select(func.max(starts.c.id)).group_by(starts.c.run_id)
    query = (
        select(runs.c.id, campaigns.c.name, campaigns.c.base_url, runs.c.created_at, starts.c.ended_at,
               starts.c.os_user, starts.c.host, starts.c.ending, runs.c.list_file)
        .join(campaigns, campaigns.c.id == runs.c.campaign_id)
        .join(starts, starts.c.run_id == runs.c.id)
        .where(starts.c.id.in_(latest))
        .order_by(runs.c.id.desc())
    )  # fmt: skip
    if campaign_name is not None:
        query = query.where(campaigns.c.name == campaign_name)
    by_run = select(messages.c.run_id, messages.c.status, func.count()).group_by(
        messages.c.run_id, messages.c.status
    )
    counts: dict[int, dict[str, int]] = {}
    with ledger.read() as connection:
        for run_id, status, count in connection.execute(by_run):
            counts.setdefault(run_id, {})[status] = count
        return [RunOverview(*row, counts=counts.get(row[0], {})) for row in connection.execute(query)]


def starts_of(ledger: Ledger, run_id: int) -> list[dict[str, Any]]:
    """All starts of a run, the first one first, whole."""
    query = select(starts).where(starts.c.run_id == run_id).order_by(starts.c.id)
    with ledger.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def departures(ledger: Ledger, run_id: int) -> Iterator[tuple[int, str, str, int]]:
    """How many requests of a run left in each tenth of a second, replaced ones too, where the outcome is recorded.

    Gives start, first and last moment (UTC text) and requests; streamed.
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
        found = connection.execution_options(yield_per=1000).execute(query)
        yield from ((start, first, last, requests) for start, first, last, requests in found)


def segments_to_send(ledger: Ledger, run_id: int, codes: Sequence[str] = (Code.STOPPED,)) -> tuple[int, int]:
    """(texts, segments) that are waiting to be sent, with these codes."""
    query = select(func.count(), func.coalesce(func.sum(messages.c.segments), 0)).where(
        messages.c.run_id == run_id, messages.c.status == Status.PENDING, messages.c.codes.in_(codes)
    )
    with ledger.read() as connection:
        texts, segments = connection.execute(query).one()
        return texts, int(segments)


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _VALUES):
        yield values[start : start + _VALUES]
