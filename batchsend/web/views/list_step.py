"""The step "List": the file with the customers."""

from __future__ import annotations

import asyncio

from aiohttp import web

from batchsend.campaigns.sample import is_sample_list
from batchsend.campaigns.types import is_pattern
from batchsend.web.steps import LIST, Page
from batchsend.web.views import list_upload
from batchsend.web.views.list_reading import (
    cancel,
    list_reading,
    page_before,
    progress,
    read_again,
    view_of,
)
from batchsend.web.views.list_upload import present_upload
from batchsend.web.views.step_page import open_step, step_page


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
        view=view,
        reading=reading,
        upload=upload,
        before=page_before(request, found.file.url),
        is_pattern=is_pattern(campaign.list),
        is_sample=view is not None and await asyncio.to_thread(is_sample_list, view.path),
    )


PAGES = (
    Page("GET", "", show),
    Page("POST", "", list_upload.upload),
    Page("GET", "/upload/progress", list_upload.progress),
    Page("POST", "/upload/cancel", list_upload.cancel),
    Page("GET", "/progress", progress),
    Page("POST", "/cancel", cancel),
    Page("POST", "/read", read_again),
)
