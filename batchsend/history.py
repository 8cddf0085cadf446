"""Questions about what the ledger remembers: who got what before, what a run looks like now. Reads only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, or_, select, union_all

from batchsend.ledger import CampaignRecord, Ledger
from batchsend.schema import campaigns, messages, runs, starts, superseded
from batchsend.statuses import IN_FLIGHT, MAY_HAVE_REACHED, TRIED, Status
from batchsend.timestamps import to_text

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
class Mark:
    """What an untried row of a continued run carries from its earlier starts."""

    generation: int
    resend: str | None


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
        query = (
            select(messages.c.key, messages.c.run_id, messages.c.status, messages.c.codes,
                   messages.c.message_uuid, messages.c.sent_at)
            .where(messages.c.campaign_id == self._campaign.id, messages.c.status.in_([*TRIED, IN_FLIGHT]))
            .order_by(messages.c.run_id.desc())
        )  # fmt: skip
        if self._run_id is not None:
            query = query.where(messages.c.run_id != self._run_id)
        for part in _parts(keys):
            with self._ledger.read() as connection:
                for key, *outcome in connection.execute(query.where(messages.c.key.in_(part))):
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

    def tried_rows(self, first: int, last: int) -> dict[int, dict[str, Any]]:
        """The continued run's rows from `first` to `last` that a request was made for, whole."""
        query = select(messages).where(
            messages.c.run_id == self._run_id,
            messages.c.row.between(first, last),
            messages.c.status.in_([*TRIED, IN_FLIGHT]),
        )
        with self._ledger.read() as connection:
            return {row["row"]: dict(row) for row in connection.execute(query).mappings()}

    def marks(self, first: int, last: int) -> dict[int, Mark]:
        """What the continued run's untried rows carry with them, where they carry anything."""
        query = select(messages.c.row, messages.c.generation, messages.c.resend).where(
            messages.c.run_id == self._run_id,
            messages.c.row.between(first, last),
            messages.c.status.not_in([*TRIED, IN_FLIGHT]),
            or_(messages.c.generation > 0, messages.c.resend.is_not(None)),
        )
        with self._ledger.read() as connection:
            return {row: Mark(generation, resend) for row, generation, resend in connection.execute(query)}

    def tried_keys(self) -> Iterator[tuple[int, str, str | None, str, list[str]]]:
        """Row, key, phone, customer UUID and cells of the continued run's tried rows, in the list's order."""
        query = (
            select(
                messages.c.row, messages.c.key, messages.c.phone, messages.c.customer_uuid, messages.c.cells
            )
            .where(messages.c.run_id == self._run_id, messages.c.status.in_([*TRIED, IN_FLIGHT]))
            .order_by(messages.c.row)
        )
        with self._ledger.read() as connection:
            for row, key, phone, customer_uuid, cells in connection.execute(query):
                yield row, key, phone, customer_uuid, json.loads(cells)

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


def run_rows(ledger: Ledger, run_id: int, statuses: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """A run's rows in the list's order, streamed; `statuses` narrows them."""
    query = select(messages).where(messages.c.run_id == run_id).order_by(messages.c.row)
    if statuses is not None:
        query = query.where(messages.c.status.in_(statuses))
    with ledger.read() as connection:
        for row in connection.execution_options(yield_per=1000).execute(query).mappings():
            yield dict(row)


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


def segments_to_send(ledger: Ledger, run_id: int) -> tuple[int, int]:
    """(texts, segments) that are waiting to be sent now."""
    query = select(func.count(), func.coalesce(func.sum(messages.c.segments), 0)).where(
        messages.c.run_id == run_id, messages.c.status == Status.PENDING, messages.c.codes == "STOPPED"
    )
    with ledger.read() as connection:
        texts, segments = connection.execute(query).one()
        return texts, int(segments)


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _VALUES):
        yield values[start : start + _VALUES]
