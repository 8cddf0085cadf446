"""The step "List": the file with the customers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import BodyPartReader, web

from batchsend.campaigns.sample import is_sample_list
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError
from batchsend.web.auth.middleware import receives_upload, session, upload_of
from batchsend.web.connections import receiving
from batchsend.web.folder import CampaignFile
from batchsend.web.jobs.list_preview import check_list
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.steps import LIST, Page
from batchsend.web.uploads import save_upload
from batchsend.web.views.editing import CHANGING, change, relative
from batchsend.web.views.list_reading import (
    cancel,
    list_reading,
    page_before,
    progress,
    read_again,
    view_of,
)
from batchsend.web.views.opening import campaign_file_of, open_file
from batchsend.web.views.step_page import open_step, refuse, step_page


async def show(request: web.Request) -> web.Response:
    """Shows the list as it was read, and the form for another one."""
    found, campaign = await open_step(request)
    reading = await list_reading(request, found)
    view = await view_of(request, reading)
    return await step_page(
        request,
        found,
        campaign,
        LIST,
        "list_step.html.j2",
        view=view,
        reading=reading,
        before=page_before(request, found.file.url),
        is_pattern=is_pattern(campaign.list),
        is_sample=view is not None and await asyncio.to_thread(is_sample_list, view.path),
    )


@receives_upload
async def upload(request: web.Request) -> web.Response:
    """Saves an uploaded list and makes it the campaign's list."""
    file = campaign_file_of(request)
    async with receiving(request):
        part = await upload_of(request).next()
    if not isinstance(part, BodyPartReader) or not part.filename:
        raise refuse(request, {}, {"file": "No file was chosen. Choose your list or drop it on the field."})
    try:
        saved = await save_upload(request, part, file.path.parent)
        await _use_list(request, file, saved)
    except BatchsendError as error:
        error_text = f"{error}\nThe campaign still uses its previous list."
        raise refuse(request, {}, {"file": error_text}) from error
    session(request).notify(f"{saved.name} is now the campaign's list.")
    raise web.HTTPSeeOther(request.path)


async def _use_list(request: web.Request, file: CampaignFile, saved: Path) -> None:
    async with request.app[CHANGING]:
        present = await asyncio.to_thread(open_file, file)
        if present.campaign is None:
            raise BatchsendError(
                f"{saved.name} was saved next to the campaign, but the campaign file must be fixed first."
            )
        try:
            await request.app[READERS].run(
                session(request).user, check_list, saved, file.path, present.content
            )
        except BatchsendError:
            if saved != present.campaign.list:
                await asyncio.to_thread(saved.unlink, missing_ok=True)
            raise
        await asyncio.to_thread(change, file, present.content, {("list",): relative(saved, file)})


PAGES = (
    Page("GET", "", show),
    Page("POST", "", upload),
    Page("GET", "/progress", progress),
    Page("POST", "/cancel", cancel),
    Page("POST", "/read", read_again),
)
