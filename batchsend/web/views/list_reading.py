"""The campaign's list for the pages. It is read in the background, so that no page waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from urllib.parse import urlsplit

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.web.auth.middleware import local_path, session
from batchsend.web.folder import WebFolder
from batchsend.web.jobs.list_preview import ListView, list_key, read_list
from batchsend.web.jobs.reader_pool import READERS, Reading
from batchsend.web.rendering import part
from batchsend.web.uploads import fingerprint
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.opening import OpenCampaign
from batchsend.web.views.step_page import open_step

#: Seconds that a page waits for its list. Then it shows how much of it is read.
PATIENCE = 0.4


async def list_reading(request: web.Request, found: OpenCampaign) -> Reading[ListView]:
    """Returns the reading of the list of a campaign that can be used; begins it if the list has changed.

    Raises `BatchsendError` if the campaign names files that may not be shown.
    """
    key = await asyncio.to_thread(_key, request.app[FOLDER], found)
    user = session(request).user
    return request.app[READERS].keep(key, user, read_list, found.file.path, found.content)


def _key(folder: WebFolder, found: OpenCampaign) -> Hashable:
    if found.campaign is None:
        raise TypeError("only a campaign that can be used has a list")
    folder.check(found.campaign)
    return found.file.path, fingerprint(found.content), list_key(found.campaign)


async def view_of(request: web.Request, campaign: Campaign, reading: Reading[ListView]) -> ListView | None:
    """Returns the list; `None` if it takes longer or was canceled."""
    if not await reading.wait(PATIENCE) or reading.was_canceled:
        return None
    try:
        return reading.future.result()
    except BatchsendError as error:
        # The next page tries again.
        request.app[READERS].forget(reading)
        return ListView(campaign.list, problems=(error.on_page,))


def page_before(request: web.Request, otherwise: str) -> str:
    """Returns the page from which the user came to this one."""
    try:
        before = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return otherwise
    path = local_path(before._replace(scheme="", netloc="").geturl())
    return otherwise if path == "/" or before.path == request.rel_url.raw_path else path


async def progress(request: web.Request) -> web.Response:
    """Returns how much of the list is read, as a part of the page. At the end, the page is loaded again.

    A page that asks with `within` replaces only the part that shows the list.
    """
    found, _ = await open_step(request)
    return reading_part(await list_reading(request, found), within="within" in request.query)


def reading_part(reading: Reading[ListView] | None, *, within: bool = False) -> web.Response:
    """Returns how much of a list is read, or what makes the browser load its page, or the part, again."""
    if reading is None or reading.is_over:
        over = {"HX-Trigger": "list-read", "HX-Reswap": "none"}
        return web.Response(headers=over if within else {"HX-Refresh": "true"})
    return web.Response(text=part("reading.html.j2", reading=reading), content_type="text/html")


async def cancel(request: web.Request) -> web.Response:
    """Stops reading the list, and leads back to where the user was."""
    found, _ = await open_step(request)
    await request.app[READERS].cancel(await list_reading(request, found))
    raise web.HTTPSeeOther(local_path(str((await request.post()).get("back", ""))))


async def read_again(request: web.Request) -> web.Response:
    """Reads the list whose reading was canceled."""
    found, _ = await open_step(request)
    reading = await list_reading(request, found)
    if reading.was_canceled:
        request.app[READERS].forget(reading)
    raise web.HTTPSeeOther(local_path(str((await request.post()).get("back", ""))))
