"""The page of a run: how it goes, pausing and stopping it, its rows, what to do about some, its files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError, BusyError
from batchsend.ledger.ledger import Ledger, RunRecord
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.runs import code_counts, starts_of
from batchsend.messages.phones import PhoneProblem, to_e164
from batchsend.reports.advice import meaning, what_to_do
from batchsend.reports.output_files import write_run, write_run_page
from batchsend.reports.pages.groups import shown
from batchsend.reports.run_results import STATUS_WORDS
from batchsend.runs.api import prepare
from batchsend.runs.lookup import results_file
from batchsend.sending.locks import sending_lock
from batchsend.statuses import IN_FLIGHT, NEEDS_YOU, OPTED_OUT, RESENDABLE, Code, Status
from batchsend.web.auth.middleware import session
from batchsend.web.folder import CampaignFile, WebFolder
from batchsend.web.jobs.list_process import READING
from batchsend.web.live_runs import SNAPSHOTS
from batchsend.web.queries import FILTERS, RowPage, RowQuery, Watch, ask_to_stop, known, page_of_rows
from batchsend.web.rendering import page, part, trusted
from batchsend.web.views.campaign import loaded
from batchsend.web.views.campaigns import FOLDER, WATCH

#: Seconds between two pictures of a run that is being sent; and until its browser hears that we are still there.
_EVERY, _STILL_HERE = 1.0, 15.0
#: Seconds that a run has to finish what is in flight before the rest is given up, and its report afterwards.
_FINISHING, _REPORTING = 180.0, 15.0
#: Groups that the page shows; the table has all rows.
_GROUPS = 12
ENDING = web.AppKey("ending", asyncio.Event)
TASKS = web.AppKey("tasks", set[asyncio.Task[None]])


@dataclass(frozen=True)
class OutcomeGroup:
    """Rows with one outcome: what it means, what to do. `resend`: what they are sent again by, if they can be."""

    status: str
    codes: str
    count: int
    meaning: str
    what_to_do: str
    resend: str | None
    rows_url: str


@dataclass(frozen=True)
class _Facts:
    """What the page says of a run beside its counts."""

    run: RunRecord
    groups: list[OutcomeGroup]
    more_groups: int
    starts: list[dict[str, Any]]
    rows: RowPage
    is_latest: bool
    can_resend: Mapping[str, int]


async def show(request: web.Request) -> web.Response:
    """The whole page, or only the table where a script asks for that."""
    file, campaign = await asyncio.to_thread(loaded, request)
    number = int(request.match_info["number"])
    query = _query(request)
    places, watch = request.app[FOLDER], request.app[WATCH]
    if request.headers.get("HX-Target") == "rows":
        rows, sending = await asyncio.to_thread(_rows, places, watch, campaign, number, query)
        return web.Response(text=_table(file, number, rows, sending=sending), content_type="text/html")
    snapshot = await request.app[SNAPSHOTS].now(places, watch, campaign, number)
    facts = await asyncio.to_thread(_facts, places, file, campaign, number, query, sending=snapshot.sending)
    return page(
        request,
        "run.html.j2",
        file=file,
        name=campaign.name,
        number=number,
        s=snapshot,
        facts=facts,
        table=trusted(_table(file, number, facts.rows, sending=snapshot.sending)),
        filters=_filters(),
        query=query,
        words=STATUS_WORDS,
        url=f"{file.url}/run/{number}",
    )


async def events(request: web.Request) -> web.StreamResponse:
    """The run as it goes, until it ends or nobody looks any more."""
    _, campaign = await asyncio.to_thread(loaded, request)
    number = int(request.match_info["number"])
    app = request.app
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    last, quiet = "", 0.0
    while not app[ENDING].is_set():
        snapshot = await app[SNAPSHOTS].of(app[FOLDER], app[WATCH], campaign, number)
        html = part("progress.html.j2", s=snapshot)
        try:
            if html != last:
                await response.write(_event("progress", html))
                last, quiet = html, 0.0
            elif quiet >= _STILL_HERE:
                await response.write(b": still here\n\n")
                quiet = 0.0
            if not snapshot.sending:
                await response.write(_event("ended", "ended"))
                break
        except ConnectionError:
            break
        quiet += _EVERY
        await _sleep(app)
    return response


async def _sleep(app: web.Application) -> None:
    try:
        await asyncio.wait_for(app[ENDING].wait(), _EVERY)
    except TimeoutError:
        return


def _event(name: str, data: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in data.splitlines() if line)
    return f"event: {name}\n{lines}\n".encode()


async def pause(request: web.Request) -> web.Response:
    """Lets what is in flight finish; the rest waits for somebody to go on."""
    file, started, number = await _asked_to_stop(request)
    if started is not None:
        session(request).say("Asked to pause: what is on its way is finished and recorded, the rest waits.")
    raise web.HTTPSeeOther(f"{file.url}/run/{number}")


async def stop(request: web.Request) -> web.Response:
    """Lets what is in flight finish, and gives up the rest."""
    file, started, number = await _asked_to_stop(request)
    places = request.app[FOLDER]
    _, campaign = await asyncio.to_thread(loaded, request)
    if started is None:
        given_up = await _give_up_soon(places, campaign, number)
        session(request).say(f"Stopped: {given_up:,} texts that had not left were given up.")
    else:
        task = asyncio.create_task(_give_up_later(places, campaign, number, started))
        request.app[TASKS].add(task)
        task.add_done_callback(request.app[TASKS].discard)
        session(request).say(
            "Asked to stop: what is on its way is finished and recorded, the rest is given up."
        )
    raise web.HTTPSeeOther(f"{file.url}/run/{number}")


async def _asked_to_stop(request: web.Request) -> tuple[CampaignFile, int | None, int]:
    """Asks a run to stop if it is being sent: the campaign, the number of that start, the run's."""
    file, campaign = await asyncio.to_thread(loaded, request)
    number = int(request.match_info["number"])
    places, watch = request.app[FOLDER], request.app[WATCH]

    def ask() -> int | None:
        with known(places, campaign) as found:
            if not watch.is_sending(found, found.run(number)):
                return None
            started = _latest_start(found.ledger, number)
        ask_to_stop(places, campaign, number)
        return started

    return file, await asyncio.to_thread(ask), number


async def _give_up_soon(places: WebFolder, campaign: Campaign, number: int) -> int:
    """Where nothing is sent any more; its process may still be writing the report, and holds the campaign."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _REPORTING
    while True:
        try:
            return await asyncio.to_thread(_give_up, places, campaign, number)
        except BusyError:
            if loop.time() > until:
                raise
        await asyncio.sleep(0.3)


async def _give_up_later(places: WebFolder, campaign: Campaign, number: int, started: int | None) -> None:
    """Once that start has ended; if that takes too long the run is only paused, which loses nothing."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _FINISHING
    while loop.time() < until:
        await asyncio.sleep(0.3)
        try:
            await asyncio.to_thread(_give_up, places, campaign, number, started)
        except BusyError:
            continue
        except BatchsendError:
            return
        return


def _latest_start(ledger: Ledger, number: int) -> int | None:
    starts = starts_of(ledger, number)
    return int(starts[-1]["id"]) if starts else None


def _give_up(places: WebFolder, campaign: Campaign, number: int, started: int | None = None) -> int:
    """Gives up the rest of a run, unless somebody has gone on with it since the start `started`."""
    start = prepare(campaign, ledger=places.ledger)
    ledger = open_ledger(start.ledger_url)
    try:
        with sending_lock(ledger, campaign.name, campaign.formerly, start.settings.base_url):
            gone_on = started is not None and _latest_start(ledger, number) != started
            return 0 if gone_on else ledger.give_up(number)
    finally:
        ledger.close()


async def workbook(request: web.Request) -> web.StreamResponse:
    """The results as they are now."""
    return await _download(request, ".xlsx")


async def report(request: web.Request) -> web.StreamResponse:
    """The report page, as a file that stands alone."""
    return await _download(request, ".html")


async def _download(request: web.Request, ending: str) -> web.StreamResponse:
    file, campaign = await asyncio.to_thread(loaded, request)
    number = int(request.match_info["number"])
    places = request.app[FOLDER]
    with_ledger = prepare(campaign, ledger=places.ledger)

    def find() -> None:
        with known(places, campaign) as found:
            found.run(number)

    await asyncio.to_thread(find)
    made = await request.app[READING].ask(write_results_again, with_ledger.ledger_url, number, ending)
    if not made.resolve().is_relative_to(campaign.directory.resolve()):
        raise BatchsendError(
            f"{made}: is not beside the campaign, so that it is not shown here. Open it there."
        )
    name = quote(f"{file.stem}-{number}{ending}", safe="")
    return web.FileResponse(made, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})


def write_results_again(ledger_url: str, number: int, ending: str) -> Path:
    """Writes a run's results, or its report, where they belong. Runs in the process that reads for us."""
    ledger = open_for_reading(ledger_url)
    run = ledger.run(number) if ledger is not None else None
    if ledger is None or run is None:
        raise BatchsendError(f"There is no run {number} (any more).")
    try:
        path = results_file(run, (), as_list=False)
        if ending == ".html":
            return write_run_page(ledger, run, path.with_suffix(".html"), path)
        return write_run(ledger, run, path, None)
    finally:
        ledger.close()


def _facts(
    places: WebFolder, file: CampaignFile, campaign: Campaign, number: int, query: RowQuery, *, sending: bool
) -> _Facts:
    with known(places, campaign) as found:
        run = found.run(number)
        is_latest = found.runs()[0].id == number
        counts = code_counts(found.ledger, number)
        if sending:
            counts = [one for one in counts if not _is_under_way(*one[:2])]
        groups = _groups(f"{file.url}/run/{number}", counts, is_latest=is_latest)
        can_resend: dict[str, int] = {}
        for group in groups:
            if group.resend is not None:
                can_resend[group.status] = can_resend.get(group.status, 0) + group.count
        return _Facts(
            run,
            groups[:_GROUPS],
            max(0, len(groups) - _GROUPS),
            starts_of(found.ledger, number),
            page_of_rows(found.ledger, number, query, _phone(campaign, query.find)),
            is_latest,
            can_resend,
        )


def _is_under_way(status: str, codes: str) -> bool:
    """Needs no word while a run is being sent: it leaves now, or its turn comes."""
    return status == IN_FLIGHT or (status == Status.PENDING and codes == Code.STOPPED)


def _groups(url: str, counts: list[tuple[str, str, int]], *, is_latest: bool) -> list[OutcomeGroup]:
    """Whatever is not taken, those that need somebody first."""
    merged: dict[tuple[str, str], int] = {}
    for status, codes, count in counts:
        key = shown(status, codes)
        merged[key] = merged.get(key, 0) + count
    found = []
    for (status, codes), count in merged.items():
        if status in (Status.ACCEPTED, Status.DELIVERED):
            continue
        listed = codes.split("; ") if codes else []
        again = is_latest and status in RESENDABLE and OPTED_OUT.isdisjoint(listed)
        found.append(
            OutcomeGroup(
                status,
                codes,
                count,
                meaning(status, listed),
                what_to_do(status, listed),
                status if again else None,
                f"{url}?{urlencode({'status': status, 'code': codes})}#table",
            )
        )
    order = {
        Status.UNCONFIRMED: 0,
        Status.FAILED: 1,
        Status.UNDELIVERED: 2,
        Status.INVALID: 3,
        Status.PENDING: 4,
    }
    return sorted(found, key=lambda group: (order.get(Status(group.status), 9), -group.count))


def _rows(
    places: WebFolder, watch: Watch, campaign: Campaign, number: int, query: RowQuery
) -> tuple[RowPage, bool]:
    with known(places, campaign) as found:
        sending = watch.is_sending(found, found.run(number))
        return page_of_rows(found.ledger, number, query, _phone(campaign, query.find)), sending


def _phone(campaign: Campaign, text: str) -> str | None:
    if not text:
        return None
    try:
        return to_e164(text, campaign.recipients.default_region)
    except PhoneProblem:
        return None


def _query(request: web.Request) -> RowQuery:
    given = request.query
    after, before = given.get("after", ""), given.get("before", "")
    return RowQuery(
        status=given.get("status", "") if given.get("status") in FILTERS else "",
        code=given.get("code", "")[:200],
        find=given.get("find", "").strip()[:130],
        after=int(after) if after.isdecimal() and len(after) < 10 else 0,
        before=int(before) if before.isdecimal() and len(before) < 10 else None,
    )


def _filters() -> list[tuple[str, str]]:
    return [
        ("", "All rows"),
        ("needs-you", "Need attention"),
        ("taken", "Accepted by myKaarma"),
        ("waits", "Waiting"),
        ("left-out", "Skipped"),
        *((str(status), str(status)) for status in Status if status in NEEDS_YOU),
    ]


def _table(file: CampaignFile, number: int, rows: RowPage, *, sending: bool) -> str:
    query = rows.query
    kept = {"status": query.status, "code": query.code, "find": query.find}
    kept = {name: value for name, value in kept.items() if value}
    url = f"{file.url}/run/{number}"

    def at(name: str, row: int | None) -> str | None:
        return None if row is None else f"{url}?{urlencode({**kept, name: row})}#table"

    shown_rows = [
        {
            **row,
            **dict(zip(("status", "codes"), shown(row["status"], row["codes"]), strict=True)),
            "leaving": sending and row["status"] == IN_FLIGHT,
        }
        for row in rows.rows
    ]
    return part(
        "rows.html.j2",
        rows=shown_rows,
        query=query,
        words=STATUS_WORDS,
        earlier=at("before", rows.earlier),
        later=at("after", rows.later),
        first=url,
        stopped=Code.STOPPED,
    )
