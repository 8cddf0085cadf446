"""The step "List": the file with the customers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from batchsend.campaigns.sample import is_sample_list
from batchsend.campaigns.tables import ListOptionsTable
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError, ListError
from batchsend.web.auth.middleware import receives_upload, session, upload_of
from batchsend.web.connections import receiving
from batchsend.web.folder import CampaignFile
from batchsend.web.jobs.list_preview import check_list
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.steps import LIST, Page
from batchsend.web.toml_edit import Changes, edited
from batchsend.web.uploads import save_upload
from batchsend.web.views import list_rows
from batchsend.web.views.editing import CHANGING, change, change_keys, errors_of, relative
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
        changes: Changes = {("list",): relative(saved, file)}
        if saved != present.campaign.list:
            # They were chosen for another file: its header row could hide customers of this one.
            changes = {**changes, **{("list_options", name): None for name in ListOptionsTable.model_fields}}
        try:
            changed = edited(present.content, changes)
            user = session(request).user
            await request.app[READERS].run(user, check_list, saved, file.path, changed)
        except BatchsendError as error:
            if not (isinstance(error, ListError) and error.options):
                if saved != present.campaign.list:
                    await asyncio.to_thread(saved.unlink, missing_ok=True)
                raise
        await asyncio.to_thread(change, file, present.content, changes)


async def choose_reading(request: web.Request) -> web.Response:
    """Saves how the list is read: its sheet, the row with the headers, and what happens to hidden rows."""
    found, _ = await open_step(request)
    form = await request.post()
    page = f"{found.file.url}/{LIST}"
    changes: dict[tuple[str, ...], Any] = {}
    if "again" in form:
        changes = {("list_options", name): None for name in ListOptionsTable.model_fields}
    for name in ("sheet", "hidden_rows", "header_row"):
        if value := str(form.get(name, "")):
            changes["list_options", name] = (
                int(value) if value.isdecimal() and name == "header_row" else value
            )
    try:
        await change_keys(request, found.file, changes)
    except BatchsendError as error:
        raise refuse(request, {}, errors_of(error, form), page) from error
    raise web.HTTPSeeOther(page)


PAGES = (
    *list_rows.PAGES,
    Page("GET", "", show),
    Page("POST", "", upload),
    Page("POST", "/how", choose_reading),
    Page("GET", "/progress", progress),
    Page("POST", "/cancel", cancel),
    Page("POST", "/read", read_again),
)
