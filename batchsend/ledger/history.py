"""Queries about the past of a campaign and of the run that a start continues. They change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from batchsend.exits import Exit
from batchsend.ledger.bulk import in_chunks
from batchsend.ledger.dismissals import dismissed_keys
from batchsend.ledger.ledger import CampaignRecord, Ledger
from batchsend.ledger.plan_import import REPLACED, UNTRIED
from batchsend.ledger.purged_phones import PhoneHash, phone_hash
from batchsend.ledger.runs import IN_VALUES, TakenRow
from batchsend.ledger.schema import campaigns, messages, runs, starts, superseded
from batchsend.statuses import IN_FLIGHT, MAY_HAVE_REACHED, TRIED, Code, Status
from batchsend.utils.timestamps import from_text, to_text

#: Selects rows of a table: `messages` or `superseded`.
_Condition = Callable[[Any], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The outcome of a key in another run of the same campaign."""

    run_id: int
    status: str
    codes: str
    message_uuid: str | None
    sent_at: str | None


class TriedRow(NamedTuple):
    """A row for which a request was made, without its cells. `phone`: its hash if it was purged."""

    row: int
    key: str
    phone: str | None


class Waited(NamedTuple):
    """How long a key waits: UTC text of its last request, "" without one; the first run that left it waiting."""

    tried_at: str
    since_run: int | None


class History:
    """The history of one campaign (`None`: not in the ledger) and of the run that continues, if there is one."""

    def __init__(
        self, ledger: Ledger, campaign: CampaignRecord | None, run_id: int | None, base_url: str
    ) -> None:
        self._ledger = ledger
        self._campaign = campaign
        self._run_id = run_id
        self._base_url = base_url

    def earlier(self, keys: Sequence[str]) -> dict[str, list[Earlier]]:
        """The outcomes of these keys in other runs of this campaign, latest run first; only of tried rows."""
        found: dict[str, list[Earlier]] = {}
        if self._campaign is None:
            return found
        columns = ("key", *Earlier.__slots__)
        for chunk in in_chunks(keys, IN_VALUES):
            outcomes = _last_outcomes(columns, _keys_elsewhere(self._campaign.id, self._run_id or 0, chunk))
            with self._ledger.read() as connection:
                query = select(outcomes).order_by(outcomes.c.run_id.desc())
                for key, *outcome in connection.execute(query):
                    found.setdefault(key, []).append(Earlier(*outcome))
        return found

    def dismissed(self) -> set[tuple[int, str]]:
        """Run and key of each row whose outcome a person dismissed."""
        return dismissed_keys(self._ledger, self._campaign.id) if self._campaign is not None else set()

    def waited(self, keys: Sequence[str]) -> dict[str, Waited]:
        """How long each of these keys waits for a text of this campaign; keys without a history are left out."""
        found: dict[str, Waited] = {}
        if self._campaign is None:
            return found
        for chunk in in_chunks(keys, IN_VALUES):
            every = union_all(
                *(_waited(table, self._campaign.id, chunk) for table in (messages, superseded))
            ).subquery()
            query = select(
                every.c.key, func.coalesce(func.max(every.c.tried_at), ""), func.min(every.c.since_run)
            ).group_by(every.c.key)
            with self._ledger.read() as connection:
                found.update({key: Waited(*waited) for key, *waited in connection.execute(query)})
        return found

    def reached(self, customer_uuids: Sequence[str], since: datetime) -> dict[str, int]:
        """How many texts each customer may have received since then, over all campaigns of this API base URL."""
        counts: dict[str, int] = {}
        for chunk in in_chunks(customer_uuids, IN_VALUES):
            tables = [self._reached(table, chunk, since) for table in (messages, superseded)]
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

    def texts_between(self, since: datetime, before: datetime) -> tuple[int, int]:
        """How many texts, and segments, of this campaign may have reached customers since then and before then.

        A clock that was ahead leaves texts with times in the future.
        """
        texts = segments = 0
        for table in (messages, superseded) if self._campaign is not None else ():
            query = select(func.count(), func.coalesce(func.sum(table.c.segments), 0)).where(
                *self._may_have_reached(table, since, before)
            )
            with self._ledger.read() as connection:
                found = connection.execute(query).one()
            texts, segments = texts + found[0], segments + found[1]
        return texts, segments

    def last_texts(self, since: datetime, before: datetime, count: int) -> list[datetime]:
        """When this campaign's last texts between these times left, `count` of them at most, the latest first."""
        if self._campaign is None:
            return []
        query = union_all(
            *(
                select(table.c.sent_at).where(*self._may_have_reached(table, since, before))
                for table in (messages, superseded)
            )
        ).order_by(literal_column("1").desc())
        with self._ledger.read() as connection:
            return [from_text(at) for at in connection.scalars(query.limit(count))]

    def _may_have_reached(
        self, table: Any, since: datetime, before: datetime
    ) -> tuple[ColumnElement[bool], ...]:
        return (
            table.c.campaign_id == (self._campaign.id if self._campaign is not None else None),
            table.c.status.in_([*MAY_HAVE_REACHED, IN_FLIGHT]),
            table.c.sent_at >= to_text(since),
            table.c.sent_at < to_text(before),
        )

    def texts_by_run(self) -> list[int]:
        """How many rows each other run of this campaign tried, without runs that tried none."""
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
        """All columns of the continued run's tried rows from `first` to `last`."""
        outcomes = _last_outcomes(
            messages.columns.keys(),
            lambda table: and_(table.c.run_id == self._run_id, table.c.row.between(first, last)),
        )
        with self._ledger.read() as connection:
            return {row["row"]: dict(row) for row in connection.execute(select(outcomes)).mappings()}

    def chosen(self, first: int, last: int) -> dict[int, str]:
        """Row -> the `--resend` value of an earlier start that chose the row and did not send it."""
        query = select(messages.c.row, messages.c.resend).where(
            messages.c.run_id == self._run_id,
            messages.c.row.between(first, last),
            messages.c.resend.is_not(None),
            UNTRIED,
        )
        with self._ledger.read() as connection:
            return dict(connection.execute(query).all())

    def unfinished(self, resend: str) -> bool:
        """Whether an earlier start of the continued run chose rows by `resend` and did not finish them.

        The same command then continues with that choice, so that no row is chosen a second time.
        """
        waiting = select(messages.c.row).where(
            messages.c.run_id == self._run_id,
            messages.c.resend == resend,
            messages.c.status == Status.PENDING,
        )
        of_run = starts.c.run_id == self._run_id
        # A killed start has no exit code. A start of another run closes this one with its choices.
        completed = starts.c.exit_code.not_in([Exit.STOPPED, Exit.INTERRUPTED])
        this = select(runs.c.campaign_id).where(runs.c.id == self._run_id).scalar_subquery()
        in_campaign = select(runs.c.id).where(runs.c.campaign_id == this)
        ended = or_(and_(of_run, completed), and_(~of_run, starts.c.run_id.in_(in_campaign)))
        last_ended = select(func.coalesce(func.max(starts.c.id), 0)).where(ended)
        cut_short = select(starts.c.id).where(
            of_run, starts.c.resend == resend, starts.c.id > last_ended.scalar_subquery()
        )
        with self._ledger.read() as connection:
            return connection.scalar(select(or_(waiting.exists(), cut_short.exists()))) or False

    def tried_keys(self) -> Iterator[TriedRow]:
        """Streams the keys and phones of the continued run's tried rows."""
        query = _guarding(TriedRow._fields, lambda table: table.c.run_id == self._run_id)
        with self._ledger.read() as connection:
            found = connection.execution_options(yield_per=1000).execute(query)
            yield from map(TriedRow._make, found)

    def tried(self, rows: Sequence[int]) -> Iterator[TakenRow]:
        """The tried rows of the continued run with these numbers."""
        for chunk in in_chunks(rows, IN_VALUES):
            query = _guarding(TakenRow._fields, _rows_of(self._run_id, chunk))
            with self._ledger.read() as connection:
                yield from map(TakenRow._make, connection.execute(query))

    def phone_hash(self) -> PhoneHash | None:
        """The hash that stands for the phones of purged rows; `None` if nothing was purged."""
        with self._ledger.read() as connection:
            return phone_hash(connection)

    def sent_with_other_template(self, template_sha256: str) -> int:
        """How many texts of the continued run were rendered from a template that has changed since."""
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


def has_regional_keys(ledger: Ledger, campaign_id: int) -> bool:
    """Whether keys of this campaign have dates or phones, which another region may read differently."""
    key = messages.c.key
    found = select(messages.c.row).where(
        messages.c.campaign_id == campaign_id, or_(key.like('%"____-__-__%'), key.like('%"+%'))
    )
    with ledger.read() as connection:
        return connection.scalar(select(found.exists())) or False


def _waited(table: Any, campaign_id: int, keys: Sequence[str]) -> Select[Any]:
    was_tried = table.c.status.in_([*TRIED, IN_FLIGHT])
    was_waiting = or_(table.c.status == Status.PENDING, table.c.codes == Code.CLOSED)
    return (
        select(
            table.c.key,
            func.max(case((was_tried, table.c.sent_at))).label("tried_at"),
            func.min(case((was_waiting, table.c.run_id))).label("since_run"),
        )
        .where(table.c.campaign_id == campaign_id, table.c.key.in_(keys))
        .group_by(table.c.key)
    )


def _last_outcomes(names: Iterable[str], where: _Condition) -> Subquery:
    """The outcome of the last request for each row that `where` selects.

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


def _guarding(names: Iterable[str], where: _Condition) -> Select[Any]:
    """These columns of `_last_outcomes`, with the hash in place of a phone that was purged."""
    names = tuple(names)
    outcomes = _last_outcomes((*names, "phone_hash"), where)
    phone = func.coalesce(outcomes.c.phone, outcomes.c.phone_hash)
    return select(*(phone if name == "phone" else outcomes.c[name] for name in names))


def _rows_of(run_id: int | None, rows: Sequence[int]) -> _Condition:
    return lambda table: and_(table.c.run_id == run_id, table.c.row.in_(rows))


def _keys_elsewhere(campaign_id: int, run_id: int, keys: Sequence[str]) -> _Condition:
    return lambda table: and_(
        table.c.campaign_id == campaign_id, table.c.run_id != run_id, table.c.key.in_(keys)
    )
