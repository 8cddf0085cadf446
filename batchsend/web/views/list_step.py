"""The step "List": the file with the customers."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from batchsend.campaigns.sample import is_sample_list
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError
from batchsend.web.steps import LIST, Page
from batchsend.web.toml_edit import READ_AS_USUAL
from batchsend.web.views import list_lookup, list_rows, list_upload
from batchsend.web.views.editing import change_keys, errors_of
from batchsend.web.views.list_reading import (
    cancel,
    list_reading,
    page_before,
    progress,
    read_again,
    view_of,
)
from batchsend.web.views.list_upload import present_upload
from batchsend.web.views.step_page import open_step, refuse, step_page


async def show(request: web.Request) -> web.Response:
    """Shows the list as it was read, and the form for another one."""
    found, campaign = await open_step(request)
    upload = present_upload(request, found.file)
    reading = upload.reading if upload is not None else await list_reading(request, found)
    view = await view_of(request, campaign, reading) if upload is None else None
    return await step_page(
        request,
        found,
        campaign,
        LIST,
        "list_step.html.j2",
        # A list that was read is still to be made the campaign's list.
        reloads=upload is not None or not reading.is_over,
        view=view,
        reading=reading,
        upload=upload,
        before=page_before(request, found.file.url),
        is_pattern=is_pattern(campaign.list),
        is_missing=view is not None and not await asyncio.to_thread(view.path.exists),
        is_sample=view is not None and await asyncio.to_thread(is_sample_list, view.path),
    )


async def choose_reading(request: web.Request) -> web.Response:
    """Saves how the list is read: its sheet, the row with the headers, and what happens to hidden rows."""
    found, _ = await open_step(request)
    form = await request.post()
    page = f"{found.file.url}/{LIST}"
    changes: dict[tuple[str, ...], Any] = {}
    if "again" in form:
        changes.update(READ_AS_USUAL)
    for name in ("sheet", "hidden_rows", "header_row"):
        if value := str(form.get(name, "")):
            changes["list_options", name] = (
                int(value) if value.isdecimal() and name == "header_row" else value
            )
    try:
        await change_keys(request, found.file, lambda _: changes, form)
    except BatchsendError as error:
        raise refuse(request, {}, errors_of(error, form), page) from error
    raise web.HTTPSeeOther(page)


PAGES = (
    *list_rows.PAGES,
    *list_lookup.PAGES,
    Page("GET", "", show),
    Page("POST", "", list_upload.upload),
    Page("GET", "/upload/progress", list_upload.progress),
    Page("POST", "/upload/cancel", list_upload.cancel),
    Page("POST", "/how", choose_reading),
    Page("GET", "/progress", progress),
    Page("POST", "/cancel", cancel),
    Page("POST", "/read", read_again),
)
