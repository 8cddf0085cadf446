"""What a user can do with a run on its page: pause it, stop it for good, download its files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from batchsend.errors import BatchsendError, BusyError, ResultsError
from batchsend.ledger.ledger import Ledger, RunRecord
from batchsend.ledger.opening import open_for_reading
from batchsend.reports.output_files import write_run, write_run_page
from batchsend.runs.api import prepare
from batchsend.runs.handover import stop_handed_over
from batchsend.runs.lookup import results_file
from batchsend.sending.locks import sending_lock
from batchsend.utils.wording import text_count
from batchsend.web.auth.middleware import session
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.queries import RunRef, existing_ledger, ledger_to_change
from batchsend.web.rendering import part
from batchsend.web.views.campaigns import ACTIVE_RUNS
from batchsend.web.views.opening import run_ref

if TYPE_CHECKING:
    from batchsend.reports.into_list import ListCopy

#: Seconds that a run may take to finish the texts under way, and to write its report after that.
_FINISHING, _REPORTING = 180.0, 15.0
#: Seconds between two attempts to take the campaign's lock.
_RETRY = 0.3
#: Address of a run whose rest is to be given up -> the task that does it.
TASKS = web.AppKey("tasks", dict[str, asyncio.Task[None]])


async def pause(request: web.Request) -> web.Response:
    """Finishes the texts under way; the rest waits until the run is continued."""
    run, _ = await _request_stop(request)
    raise web.HTTPSeeOther(run.url)


async def stop(request: web.Request) -> web.Response:
    """Finishes the texts under way and gives up the rest."""
    run, sending = await _request_stop(request, for_good=True)
    if sending:
        give_up_later(request.app, run)
    else:
        given_up = await _retry_give_up(run, _REPORTING)
        session(request).notify(f"Stopped for good: {text_count(given_up)} given up.")
    raise web.HTTPSeeOther(run.url)


async def _request_stop(request: web.Request, *, for_good: bool = False) -> tuple[RunRef, bool]:
    """Asks the run to stop; returns the run, and whether a process sends it."""
    run = await asyncio.to_thread(run_ref, request)
    active, by = request.app[ACTIVE_RUNS], session(request).user

    def ask() -> bool:
        with existing_ledger(run.folder, run.campaign) as found:
            sending = active.is_sending(found, found.run(run.number))
        with ledger_to_change(run) as ledger:
            if sending or for_good:
                ledger.request_stop(run.number, by, for_good=for_good)
            if not sending:
                stop_handed_over(ledger, run.number, by)
            return sending

    return run, await asyncio.to_thread(ask)


def give_up_later(app: web.Application, run: RunRef) -> None:
    """Gives up the rest of a run, as a person asked, once no process sends it.

    If that takes too long or the console is killed, the page of the run does this when it is loaded the next time.
    """
    tasks = app[TASKS]
    if run.url in tasks:
        return
    tasks[run.url] = asyncio.create_task(_give_up_quietly(run))
    tasks[run.url].add_done_callback(lambda _task: tasks.pop(run.url))


async def _give_up_quietly(run: RunRef) -> None:
    with suppress(BatchsendError):
        await _retry_give_up(run, _FINISHING)


async def _retry_give_up(run: RunRef, seconds: float) -> int:
    """Gives up the rest as soon as no process holds the campaign. Raises `BusyError` after so many seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        try:
            return await asyncio.to_thread(_give_up, run)
        except BusyError:
            if loop.time() > until:
                raise
        await asyncio.sleep(_RETRY)


def _give_up(run: RunRef) -> int:
    """Gives up the rest of a run, unless it was continued after that was asked. Returns the number of texts."""
    base_url = prepare(run.campaign, ledger=run.folder.ledger).settings.base_url
    with (
        ledger_to_change(run) as ledger,
        sending_lock(ledger, run.campaign.name, run.campaign.formerly, base_url) as held,
    ):
        record = ledger.run(run.number)
        if record is None or not record.is_to_be_given_up:
            return 0
        return ledger.give_up(run.number, held, record.given_up_by or "")


async def workbook(request: web.Request) -> web.StreamResponse:
    """Sends the results workbook as of now."""
    run, url = await _run_and_ledger(request)
    return _as_download(
        run, await request.app[READERS].run(session(request).user, write_workbook, url, run.number)
    )


async def report(request: web.Request) -> web.StreamResponse:
    """Sends the report page as of now, as a single file."""
    run, url = await _run_and_ledger(request)
    return _as_download(
        run, await request.app[READERS].run(session(request).user, write_report, url, run.number)
    )


async def list_copy(request: web.Request) -> web.StreamResponse:
    """Sends a copy of the list with the results as of now. The next page says what the copy lacks."""
    run, url = await _run_and_ledger(request)
    copy = await request.app[READERS].run(session(request).user, write_list_copy, url, run.number)
    for note in copy.notes:
        session(request).notify(f"{copy.path.name}: {note}")
    return _as_download(run, copy.path)


async def offer_list_copy(request: web.Request) -> web.Response:
    """Sends the part of the page that offers the copy of the list, or says why there is none."""
    run, url = await _run_and_ledger(request)
    problem = await request.app[READERS].run(session(request).user, why_no_list_copy, url, run.number)
    return web.Response(
        text=part("list_copy.html.j2", url=run.url, problem=problem), content_type="text/html"
    )


async def _run_and_ledger(request: web.Request) -> tuple[RunRef, str]:
    """Returns the run, which exists, and the URL of its ledger."""
    run = await asyncio.to_thread(run_ref, request)

    def find() -> str:
        with existing_ledger(run.folder, run.campaign) as found:
            found.run(run.number)
        return prepare(run.campaign, ledger=run.folder.ledger).ledger_url

    return run, await asyncio.to_thread(find)


def _as_download(run: RunRef, path: Path) -> web.FileResponse:
    if not path.resolve().is_relative_to(run.campaign.directory.resolve()):
        raise BatchsendError(
            f"{path}: this file is not in the campaign's folder, so open it on the computer itself."
        )
    name = quote(path.name, safe="")
    return web.FileResponse(path, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})


# These run in the process that reads lists.


def write_workbook(ledger_url: str, number: int) -> Path:
    """Writes a run's workbook to its usual place."""
    with _opened(ledger_url, number) as (ledger, run):
        return write_run(ledger, run, results_file(run, (), as_list=False), None)


def write_report(ledger_url: str, number: int) -> Path:
    """Writes a run's report to its usual place."""
    with _opened(ledger_url, number) as (ledger, run):
        path = results_file(run, (), as_list=False)
        return write_run_page(ledger, run, path.with_suffix(".html"), path)


def write_list_copy(ledger_url: str, number: int) -> ListCopy:
    """Writes a copy of a run's list to its usual place. Raises `ResultsError`."""
    from batchsend.reports.into_list import find_list, write_into_list

    with _opened(ledger_url, number) as (ledger, run):
        with _named_without_folder(run):
            found = find_list(ledger, run)
        return write_into_list(ledger, run, found, results_file(run, (), as_list=True, ending=found.ending))


def why_no_list_copy(ledger_url: str, number: int) -> str | None:
    """Why a run's list cannot be copied, in a sentence; `None` if it can be."""
    from batchsend.reports.into_list import find_list

    with _opened(ledger_url, number) as (ledger, run):
        try:
            with _named_without_folder(run):
                find_list(ledger, run)
        except ResultsError as error:
            return error.on_page
        return None


@contextmanager
def _named_without_folder(run: RunRecord) -> Iterator[None]:
    """Lets pages name a run's list, not its folder on the server."""
    try:
        yield
    except ResultsError as error:
        name = PurePath(run.list_file).name
        raise ResultsError(str(error), on_page=error.on_page.replace(run.list_file, name)) from error


@contextmanager
def _opened(ledger_url: str, number: int) -> Iterator[tuple[Ledger, RunRecord]]:
    ledger = open_for_reading(ledger_url)
    run = ledger.run(number) if ledger is not None else None
    if ledger is None or run is None:
        raise BatchsendError(f"There is no run {number}. Go back to the campaign; its page lists the runs.")
    try:
        yield ledger, run
    finally:
        ledger.close()
