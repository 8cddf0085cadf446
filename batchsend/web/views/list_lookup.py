"""The page that finds the customers' ids for a list without them. The list with ids becomes the campaign's list."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.utils.wording import duration
from batchsend.web.auth.middleware import session
from batchsend.web.auth.sessions import Draft, Session
from batchsend.web.folder import WebFolder, relative
from batchsend.web.jobs.list_lookup import LookedUp, look_up_customers
from batchsend.web.jobs.reader_pool import READERS, CanceledError, Reading
from batchsend.web.rendering import part
from batchsend.web.steps import LIST, Page
from batchsend.web.toml_edit import READ_AS_USUAL, Changes
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, change
from batchsend.web.views.list_reading import PATIENCE, list_reading, view_of
from batchsend.web.views.opening import OpenCampaign, campaign_file_of, open_file
from batchsend.web.views.step_page import open_step, step_page

#: The look-ups that are under way, by user and campaign file, each with the task that makes use of it.
LOOKUPS = web.AppKey("lookups", dict[tuple[str, Path], tuple[Reading[LookedUp], asyncio.Task[None]]])


async def show(request: web.Request) -> web.Response:
    """Shows what a look-up would do, or how far it has come."""
    found, campaign = await open_step(request)
    reading = _present(request, found.file.path)
    view = await view_of(request, campaign, await list_reading(request, found)) if reading is None else None
    if reading is None and view is not None and not view.lookup_by:
        raise web.HTTPSeeOther(f"{found.file.url}/{LIST}")
    return await step_page(
        request,
        found,
        campaign,
        LIST,
        "list_lookup.html.j2",
        reloads=reading is not None or view is None,
        heading="Find the customers in myKaarma",
        reading=reading,
        view=view,
        lasts=duration(view.rows / campaign.sending.rate) if view is not None else "",
    )


def _present(request: web.Request, file: Path) -> Reading[LookedUp] | None:
    found = request.app[LOOKUPS].get((session(request).user, file))
    return found[0] if found is not None else None


async def begin(request: web.Request) -> web.Response:
    """Begins a look-up, unless the user has one for this campaign."""
    found, _ = await open_step(request)
    without_answer = "without" in await request.post()
    key = session(request).user, found.file.path
    running = request.app[LOOKUPS]
    if key not in running:
        folder = request.app[FOLDER]
        look_up = partial(look_up_customers, without_answer=without_answer)
        reading = request.app[READERS].begin(key[0], look_up, found.file.path, found.content, folder.ledger)
        task = asyncio.create_task(_use(request.app, session(request), found, reading, request.path))
        running[key] = reading, task
        task.add_done_callback(lambda _: running.pop(key))
        await asyncio.wait([task], timeout=PATIENCE)
    raise web.HTTPSeeOther(request.rel_url.raw_path)


async def _use(
    app: web.Application, user: Session, found: OpenCampaign, reading: Reading[LookedUp], page: str
) -> None:
    """Makes the list with ids the campaign's list."""
    try:
        looked_up = await asyncio.shield(reading.future)
        if looked_up.path is None:
            user.keep(page, Draft({}, {"without": looked_up.found}))
            return
        async with app[CHANGING]:
            await asyncio.to_thread(_change, app[FOLDER], found, looked_up.path)
    except CanceledError:
        user.notify("The look-up was canceled, and the list is unchanged. What was found so far is kept.")
    except BatchsendError as error:
        user.keep(page, Draft({}, {"lookup": error.on_page}))
    else:
        name = looked_up.path.name
        user.notify(f"{name} is now the campaign's list. {looked_up.found}")


def _change(folder: WebFolder, found: OpenCampaign, copy: Path) -> None:
    """Raises `BatchsendError` if the campaign has another list by now; then the copy is deleted."""
    try:
        _use_copy(folder, found, copy)
    except BatchsendError:
        with suppress(OSError):
            copy.unlink()
        raise


def _use_copy(folder: WebFolder, found: OpenCampaign, copy: Path) -> None:
    present = open_file(found.file)
    if present.campaign is None or found.campaign is None or present.campaign.list != found.campaign.list:
        raise BatchsendError("The campaign got another list in the meantime. Look that one up.")
    folder.refuse_list_of_others(copy, found.file)
    changes: Changes = {("list",): relative(copy, found.file), ("columns", "customer_uuid"): None}
    change(folder, found.file, present.content, {**changes, **READ_AS_USUAL})


async def progress(request: web.Request) -> web.Response:
    """Returns how far the look-up has come, as a part of the page. The page is loaded again at the end."""
    file = await asyncio.to_thread(campaign_file_of, request)
    reading = _present(request, file.path)
    if reading is None:
        return web.Response(headers={"HX-Refresh": "true"})
    return web.Response(text=part("looking_up.html.j2", reading=reading), content_type="text/html")


async def cancel(request: web.Request) -> web.Response:
    """Stops a look-up. Its answers so far are kept."""
    file = await asyncio.to_thread(campaign_file_of, request)
    found = request.app[LOOKUPS].get((session(request).user, file.path))
    if found is not None:
        reading, task = found
        await request.app[READERS].cancel(reading)
        await asyncio.wait([task])
    raise web.HTTPSeeOther(f"{file.url}/{LIST}")


PAGES = (
    Page("GET", "/lookup", show),
    Page("POST", "/lookup", begin),
    Page("GET", "/lookup/progress", progress),
    Page("POST", "/lookup/cancel", cancel),
)
