"""The pages' queries to a campaign's ledger. They block: call them from a thread."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, or_, select

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.ledger.approvals import Approval, open_request
from batchsend.ledger.ledger import CampaignRecord, Ledger, RunRecord
from batchsend.ledger.location import resolve_ledger_url
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.purged_phones import spellings
from batchsend.ledger.runs import shared_state, starts_of
from batchsend.ledger.schema import messages, optouts, runs, starts
from batchsend.runs.api import prepare
from batchsend.runs.lookup import Found, is_running
from batchsend.settings import load_settings
from batchsend.statuses import IN_FLIGHT, NEEDS_YOU, TAKEN, Code, Status
from batchsend.utils.files import current_folder
from batchsend.web.folder import CampaignFile, NotFoundError, WebFolder

#: Rows of one page of a table.
PAGE = 50
#: The name of a table's filter in an address -> the statuses that it shows.
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
class RunRef:
    """The run that a page's address names. It may not exist."""

    folder: WebFolder
    file: CampaignFile
    campaign: Campaign
    number: int

    @property
    def url(self) -> str:
        return f"{self.file.url}/run/{self.number}"


@dataclass(frozen=True)
class CampaignLedger:
    """A campaign's ledger, open for reading. `record` is `None` if the ledger has no such campaign.

    `base_url`: the API that the campaign is sent to.
    """

    ledger: Ledger
    record: CampaignRecord | None
    base_url: str

    def run(self, number: int) -> RunRecord:
        """Returns a run of this campaign. Raises `NotFoundError`."""
        run = self.ledger.run(number)
        if run is None or self.record is None or run.campaign_id != self.record.id:
            raise NotFoundError(f"This campaign has no run {number}. Its page lists the runs that it has.")
        return run

    def runs(self) -> list[RunRecord]:
        """Returns the campaign's runs, the latest first."""
        return self.ledger.runs_of(self.record.id) if self.record is not None else []


def ledgers_of(folder: WebFolder) -> dict[str, list[str]]:
    """Returns the ledgers of the folder's campaigns, or of its first one: URL -> the campaigns that use it.

    Raises `BatchsendError`.
    """
    users: dict[Path, list[str]] = {}
    for file in (*folder.campaigns(), *folder.archived()):
        users.setdefault(file.home.parent, []).append(file.stem)
    found: dict[str, list[str]] = {}
    for directory, stems in sorted(users.items()) or [(folder.new_folder, [])]:
        settings = load_settings(directory, folder.root, os.environ)
        found.setdefault(resolve_ledger_url(folder.ledger, settings, directory), []).extend(stems)
    return found


class OpenLedgers:
    """The ledgers of a folder's campaigns, each opened once, for reading, until all are closed."""

    def __init__(self, folder: WebFolder) -> None:
        self._folder = folder
        self._places: dict[Path, tuple[str, str]] = {}
        self._opened: dict[str, Ledger | BatchsendError | None] = {}

    def of(self, campaign: Campaign) -> CampaignLedger | None:
        """Returns the campaign's ledger; `None` if there is none yet. Raises `BatchsendError`."""
        url, base_url = self._place(campaign.directory)
        if url not in self._opened:
            self._opened[url] = self._open(url)
        ledger = self._opened[url]
        if isinstance(ledger, BatchsendError):
            raise ledger
        if ledger is None:
            return None
        record = ledger.campaign(campaign.name, base_url)
        if record is None and campaign.formerly is not None:
            record = ledger.campaign(campaign.formerly, base_url)
        return CampaignLedger(ledger, record, base_url)

    def close(self) -> None:
        for ledger in self._opened.values():
            if isinstance(ledger, Ledger):
                ledger.close()

    def _place(self, directory: Path) -> tuple[str, str]:
        """Returns the URLs of the ledger and of the API for the campaigns of a directory."""
        if directory not in self._places:
            settings = load_settings(directory, current_folder(directory), os.environ)
            url = resolve_ledger_url(self._folder.ledger, settings, directory)
            self._places[directory] = url, settings.base_url
        return self._places[directory]

    @staticmethod
    def _open(url: str) -> Ledger | BatchsendError | None:
        # An error is kept: a server that does not answer would hold up the page once for each campaign.
        try:
            return open_for_reading(url)
        except BatchsendError as error:
            return error


@contextmanager
def campaign_ledger(folder: WebFolder, campaign: Campaign) -> Iterator[CampaignLedger | None]:
    """Opens the campaign's ledger for reading; `None` if there is no ledger yet. Raises `BatchsendError`."""
    with closing(OpenLedgers(folder)) as ledgers:
        yield ledgers.of(campaign)


@contextmanager
def existing_ledger(folder: WebFolder, campaign: Campaign) -> Iterator[CampaignLedger]:
    """Opens the campaign's ledger for reading. Raises `NotFoundError` if there is no ledger yet."""
    with campaign_ledger(folder, campaign) as found:
        if found is None:
            raise NotFoundError(f'"{campaign.name}" has never been sent from this folder.')
        yield found


def open_approval(found: CampaignLedger | None, campaign: Campaign) -> Approval | None:
    """Returns the campaign's request for approval that waits for an answer. Raises `BatchsendError`."""
    if found is None or not campaign.guards.approval:
        return None
    return open_request(found.ledger, campaign.name, found.base_url)


@contextmanager
def ledger_to_change(run: RunRef) -> Iterator[Ledger]:
    """Opens the ledger of a run for a change. Raises `BatchsendError`."""
    ledger = open_ledger(prepare(run.campaign, ledger=run.folder.ledger).ledger_url)
    try:
        yield ledger
    finally:
        ledger.close()


class ActiveRuns:
    """Knows which runs are being sent, by any process.

    To find out, it takes the campaign's lock for an instant if the lock is free. A process that wants the lock at
    that moment is refused. So a start is checked only until it has ended, and never again once it was found dead.
    """

    def __init__(self) -> None:
        self._dead: set[tuple[str, int]] = set()

    def is_sending(self, found: CampaignLedger, run: RunRecord) -> bool:
        starts = starts_of(found.ledger, run.id)
        if not starts or starts[-1]["ended_at"] is not None or found.record is None:
            return False
        key = (found.ledger.where, int(starts[-1]["id"]))
        if key not in self._dead and is_running(Found(found.ledger, found.record, run)):
            return True
        self._dead.add(key)
        # Workers may have continued the run since its own process died or handed it over.
        shared = shared_state(found.ledger, run.id, rows=False)
        return shared is not None and bool(shared.senders)


@dataclass(frozen=True)
class RowQuery:
    """Which rows of a run to show. `status`: a key of `FILTERS` or ''; `find`: a row number, phone or customer id.

    `after` and `before` are row numbers: the page begins after the one or ends before the other.
    """

    status: str = ""
    code: str = ""
    find: str = ""
    after: int = 0
    before: int | None = None


@dataclass(frozen=True)
class RowPage:
    """One page of rows. `earlier` and `later`: where the pages next to it end and begin, if any."""

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
    messages.c.looked_for_at,
    messages.c.message_uuid,
    messages.c.attempts,
    messages.c.earlier_run,
    messages.c.purged_at,
)


def page_of_rows(ledger: Ledger, run_id: int, query: RowQuery, phone: str | None) -> RowPage:
    """Returns one page of a run's rows.

    Pages are found by row number, so the last page is as fast as the first. `phone`: the search text as E.164, if it
    is a phone number.
    """
    phones: list[str] = []
    if phone is not None:
        with ledger.read() as connection:
            phones = spellings(connection, phone)
    statement = _narrowed(select(*_SHOWN).where(messages.c.run_id == run_id), query, phones)
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


def _narrowed(statement: Select[Any], query: RowQuery, phones: Sequence[str]) -> Select[Any]:
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
        wanted += [messages.c.phone.in_(phones), messages.c.phone_hash.in_(phones)]
        statement = statement.where(or_(*wanted))
    return statement


def tried(counts: Mapping[str, int]) -> int:
    """How many rows have had a request made for them. `counts`: status -> rows."""
    return sum(
        counts.get(status, 0) for status in (*TAKEN, Status.UNDELIVERED, Status.FAILED, Status.UNCONFIRMED)
    )


def history_version(folder: WebFolder, campaign: Campaign) -> tuple[int | str, ...]:
    """Returns values that change with the ledger's starts, stops and opt-outs; empty if there is no ledger yet.

    Raises `BatchsendError`.
    """
    with campaign_ledger(folder, campaign) as found:
        if found is None:
            return ()
        query = select(
            select(func.count(starts.c.id)).scalar_subquery(),
            select(func.count(starts.c.ended_at)).scalar_subquery(),
            select(func.count(runs.c.given_up_at)).scalar_subquery(),
            select(func.max(optouts.c.id)).scalar_subquery(),
            select(func.count(optouts.c.removed_at)).scalar_subquery(),
        )
        with found.ledger.read() as connection:
            return tuple(value or 0 for value in connection.execute(query).one())
