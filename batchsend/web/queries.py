"""What the pages ask of a campaign's ledger. Reads only; blocks, so call it from a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, func, or_, select

from batchsend.campaigns.campaign import Campaign
from batchsend.ledger.ledger import CampaignRecord, Ledger, RunRecord
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.runs import starts_of
from batchsend.ledger.schema import messages
from batchsend.runs.api import prepare
from batchsend.runs.lookup import Found, is_running
from batchsend.sending.cluster.open_runs import active_workers
from batchsend.statuses import IN_FLIGHT, NEEDS_YOU, TAKEN, Code, Status
from batchsend.web.folder import NotThereError, WebFolder

#: Rows of one page of a table.
PAGE = 50
#: What a filter of the table is called in an address -> the statuses that it shows.
FILTERS: Mapping[str, tuple[str, ...]] = {
    "taken": tuple(TAKEN),
    "needs-you": (*NEEDS_YOU, IN_FLIGHT),
    "waits": (Status.PENDING,),
    "left-out": (Status.SKIPPED,),
    **{
        str(status): (status, IN_FLIGHT) if status is Status.UNCONFIRMED else (status,)
        for status in Status
        if status is not Status.READY
    },
}


@dataclass(frozen=True)
class Remembered:
    """A campaign's ledger, open for reading; `record` is `None` where it does not know the campaign."""

    ledger: Ledger
    record: CampaignRecord | None

    def run(self, number: int) -> RunRecord:
        """A run of this campaign. Raises `NotThereError`."""
        run = self.ledger.run(number)
        if run is None or self.record is None or run.campaign_id != self.record.id:
            raise NotThereError(f"This campaign has no run {number}. Its page has the runs there are.")
        return run

    def runs(self) -> list[RunRecord]:
        """The campaign's runs, the latest first."""
        return self.ledger.runs_of(self.record.id) if self.record is not None else []


@contextmanager
def remembered(places: WebFolder, campaign: Campaign) -> Iterator[Remembered | None]:
    """What the campaign's ledger knows; `None` where there is no ledger yet. Raises `BatchsendError`."""
    start = prepare(campaign, ledger=places.ledger)
    ledger = open_for_reading(start.ledger_url)
    if ledger is None:
        yield None
        return
    try:
        record = ledger.campaign(campaign.name, start.settings.base_url)
        if record is None and campaign.formerly is not None:
            record = ledger.campaign(campaign.formerly, start.settings.base_url)
        yield Remembered(ledger, record)
    finally:
        ledger.close()


@contextmanager
def known(places: WebFolder, campaign: Campaign) -> Iterator[Remembered]:
    """The same where there has to be a ledger. Raises `NotThereError`."""
    with remembered(places, campaign) as found:
        if found is None:
            raise NotThereError(f'"{campaign.name}" was never sent from here.')
        yield found


def ask_to_stop(places: WebFolder, campaign: Campaign, number: int) -> None:
    """Lets a running run finish what is in flight, and end."""
    start = prepare(campaign, ledger=places.ledger)
    ledger = open_ledger(start.ledger_url)
    try:
        ledger.request_stop(number)
    finally:
        ledger.close()


class Watch:
    """Whether runs are being sent, by whichever process.

    Only a start that has not ended is asked about: the question takes the campaign's lock for an instant where nobody
    has it, and whoever wants it in that instant would be turned away. So a start is found dead once, and never asked
    about again.
    """

    def __init__(self) -> None:
        self._dead: set[tuple[str, int]] = set()

    def is_sending(self, found: Remembered, run: RunRecord) -> bool:
        starts = starts_of(found.ledger, run.id)
        if not starts or starts[-1]["ended_at"] is not None or found.record is None:
            return False
        key = (found.ledger.where, int(starts[-1]["id"]))
        if key in self._dead:
            # Workers may have taken up since what its own process left behind.
            return found.ledger.file is None and bool(active_workers(found.ledger, run.id))
        if is_running(Found(found.ledger, found.record, run)):
            return True
        self._dead.add(key)
        return False


@dataclass(frozen=True)
class RowQuery:
    """Which rows of a run a table shows: `status` is a key of `FILTERS` or ''; `code`; `find`: row, phone, customer.

    `after` and `before` are row numbers: the page begins behind the one or ends in front of the other.
    """

    status: str = ""
    code: str = ""
    find: str = ""
    after: int = 0
    before: int | None = None


@dataclass(frozen=True)
class RowPage:
    """One page of rows; `earlier` and `later` are where the pages beside it are, `None` where there are none."""

    rows: Sequence[Mapping[str, Any]]
    earlier: int | None
    later: int | None
    query: RowQuery = field(default_factory=RowQuery)


_SHOWN = (
    messages.c.row,
    messages.c.status,
    messages.c.codes,
    messages.c.descriptions,
    messages.c.customer_uuid,
    messages.c.phone,
    messages.c.body,
    messages.c.segments,
    messages.c.sent_at,
    messages.c.message_uuid,
    messages.c.attempts,
    messages.c.earlier_run,
    messages.c.purged_at,
)


def page_of_rows(ledger: Ledger, run_id: int, query: RowQuery, phone: str | None) -> RowPage:
    """One page of a run's rows, found by their numbers: the last page takes as long as the first.

    `phone`: what is looked for as E.164, if it is a phone.
    """
    statement = _narrowed(select(*_SHOWN).where(messages.c.run_id == run_id), query, phone)
    backwards = query.before is not None
    if backwards:
        statement = statement.where(messages.c.row < query.before).order_by(messages.c.row.desc())
    else:
        statement = statement.where(messages.c.row > query.after).order_by(messages.c.row)
    with ledger.read() as connection:
        rows = [dict(row) for row in connection.execute(statement.limit(PAGE + 1)).mappings()]
    more = len(rows) > PAGE
    rows = rows[:PAGE]
    if backwards:
        rows.reverse()
    if not rows:
        return RowPage([], None, None, query)
    has_earlier = more if backwards else query.after > 0
    has_later = True if backwards else more
    return RowPage(
        rows, rows[0]["row"] if has_earlier else None, rows[-1]["row"] if has_later else None, query
    )


def _narrowed(statement: Select[Any], query: RowQuery, phone: str | None) -> Select[Any]:
    if query.status in FILTERS:
        statement = statement.where(messages.c.status.in_(FILTERS[query.status]))
    if query.code == Code.INTERRUPTED:
        statement = statement.where(or_(messages.c.codes == query.code, messages.c.status == IN_FLIGHT))
    elif query.code:
        statement = statement.where(messages.c.codes == query.code)
    if query.find:
        wanted = [messages.c.customer_uuid == query.find]
        if query.find.isdecimal() and len(query.find) < 9:
            wanted.append(messages.c.row == int(query.find))
        if phone:
            wanted.append(messages.c.phone == phone)
        statement = statement.where(or_(*wanted))
    return statement


def tried(counts: Mapping[str, int]) -> int:
    """Rows that a request was made for."""
    return sum(
        counts.get(status, 0) for status in (*TAKEN, Status.UNDELIVERED, Status.FAILED, Status.UNCONFIRMED)
    )


def waiting_to_leave(ledger: Ledger, run_id: int) -> int:
    """Texts that would leave by themselves while the run is being sent."""
    query = (
        select(func.count())
        .select_from(messages)
        .where(
            messages.c.run_id == run_id,
            messages.c.status == Status.PENDING,
            messages.c.codes == Code.STOPPED,
        )
    )
    with ledger.read() as connection:
        return connection.scalar(query) or 0
