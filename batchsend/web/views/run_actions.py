"""What a user can do with a run on its page: pause it, stop it for good, download its files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from batchsend.errors import BatchsendError, BusyError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.runs import starts_of
from batchsend.reports.output_files import write_run, write_run_page
from batchsend.runs.api import prepare
from batchsend.runs.lookup import results_file
from batchsend.sending.locks import sending_lock
from batchsend.utils.wording import text_count
from batchsend.web.auth.middleware import session
from batchsend.web.jobs.list_process import LIST_READER
from batchsend.web.queries import RunRef, existing_ledger, request_stop
from batchsend.web.views.campaigns import ACTIVE_RUNS
from batchsend.web.views.run import run_ref

#: Seconds that a run may take to finish the texts under way, and to write its report after that.
_FINISHING, _REPORTING = 180.0, 15.0
#: Seconds between two attempts to take the campaign's lock.
_RETRY = 0.3
TASKS = web.AppKey("tasks", set[asyncio.Task[None]])


async def pause(request: web.Request) -> web.Response:
    """Finishes the texts under way; the rest waits until the run is continued."""
    run, started = await _request_stop(request)
    if started is not None:
        session(request).notify("Pausing: texts under way are finished and recorded, the rest waits.")
    raise web.HTTPSeeOther(run.url)


async def stop(request: web.Request) -> web.Response:
    """Finishes the texts under way and gives up the rest."""
    run, started = await _request_stop(request)
    if started is None:
        given_up = await _retry_give_up(run, _REPORTING)
        session(request).notify(f"Stopped: {text_count(given_up)} given up.")
    else:
        task = asyncio.create_task(_give_up_later(run, started))
        request.app[TASKS].add(task)
        task.add_done_callback(request.app[TASKS].discard)
        session(request).notify("Stopping: texts under way are finished and recorded, the rest is given up.")
    raise web.HTTPSeeOther(run.url)


async def _request_stop(request: web.Request) -> tuple[RunRef, int | None]:
    """Asks the run to stop; returns the run, and the number of the start that is being stopped, if there is one."""
    run = await asyncio.to_thread(run_ref, request)
    active = request.app[ACTIVE_RUNS]

    def ask() -> int | None:
        with existing_ledger(run.folder, run.campaign) as found:
            if not active.is_sending(found, found.run(run.number)):
                return None
            started = _latest_start(found.ledger, run.number)
        request_stop(run)
        return started

    return run, await asyncio.to_thread(ask)


async def _give_up_later(run: RunRef, started: int | None) -> None:
    """Gives up the rest once that start has ended. If that takes too long, the run stays paused."""
    try:
        await _retry_give_up(run, _FINISHING, started)
    except BatchsendError:
        return


async def _retry_give_up(run: RunRef, seconds: float, started: int | None = None) -> int:
    """Gives up the rest as soon as no process holds the campaign. Raises `BusyError` after so many seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        try:
            return await asyncio.to_thread(_give_up, run, started)
        except BusyError:
            if loop.time() > until:
                raise
        await asyncio.sleep(_RETRY)


def _give_up(run: RunRef, started: int | None) -> int:
    """Gives up the rest of a run, unless it was continued after the start `started`. Returns the number of texts."""
    start = prepare(run.campaign, ledger=run.folder.ledger)
    ledger = open_ledger(start.ledger_url)
    try:
        with sending_lock(ledger, run.campaign.name, run.campaign.formerly, start.settings.base_url):
            continued = started is not None and _latest_start(ledger, run.number) != started
            return 0 if continued else ledger.give_up(run.number)
    finally:
        ledger.close()


def _latest_start(ledger: Ledger, number: int) -> int | None:
    starts = starts_of(ledger, number)
    return int(starts[-1]["id"]) if starts else None


async def workbook(request: web.Request) -> web.StreamResponse:
    """Sends the results workbook as of now."""
    return await _download(request, ".xlsx")


async def report(request: web.Request) -> web.StreamResponse:
    """Sends the report page as of now, as a single file."""
    return await _download(request, ".html")


async def _download(request: web.Request, ending: str) -> web.StreamResponse:
    run = await asyncio.to_thread(run_ref, request)
    url = prepare(run.campaign, ledger=run.folder.ledger).ledger_url

    def check_run() -> None:
        with existing_ledger(run.folder, run.campaign) as found:
            found.run(run.number)

    await asyncio.to_thread(check_run)
    path = await request.app[LIST_READER].run(write_run_file, url, run.number, ending)
    if not path.resolve().is_relative_to(run.campaign.directory.resolve()):
        raise BatchsendError(
            f"{path}: this file is not in the campaign's folder, so open it on the computer itself."
        )
    name = quote(f"{run.file.stem}-{run.number}{ending}", safe="")
    return web.FileResponse(path, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})


def write_run_file(ledger_url: str, number: int, ending: str) -> Path:
    """Writes a run's workbook or report to its usual place. Runs in the process that reads lists."""
    ledger = open_for_reading(ledger_url)
    run = ledger.run(number) if ledger is not None else None
    if ledger is None or run is None:
        raise BatchsendError(f"There is no run {number}. Go back to the campaign; its page lists the runs.")
    try:
        path = results_file(run, (), as_list=False)
        if ending == ".html":
            return write_run_page(ledger, run, path.with_suffix(".html"), path)
        return write_run(ledger, run, path, None)
    finally:
        ledger.close()
