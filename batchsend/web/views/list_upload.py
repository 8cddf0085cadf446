"""Takes an uploaded list: receives it, reads it in the background, and then makes it the campaign's list."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.errors import BatchsendError, ListError
from batchsend.web.auth.middleware import receives_upload, session
from batchsend.web.auth.sessions import Draft, Session
from batchsend.web.folder import CampaignFile, WebFolder, relative
from batchsend.web.jobs.list_preview import ListView
from batchsend.web.jobs.reader_pool import READERS, CanceledError, Reading
from batchsend.web.toml_edit import READ_AS_USUAL, Changes, edited
from batchsend.web.uploads import SavedList, file_of, save_upload
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, change
from batchsend.web.views.list_reading import PATIENCE, list_reading, reading_part
from batchsend.web.views.opening import OpenCampaign, campaign_file_of, open_file

#: Lists that a user can send at the same time.
_AT_ONCE = 3
_KEPT = "The campaign still uses its previous list."


@dataclass(frozen=True)
class Upload:
    """A list that was received and is being read. `page`: the page that shows it; `task`: what makes use of it."""

    file: CampaignFile
    saved: SavedList
    reading: Reading[ListView]
    page: str


#: The uploads that are being read, by user and campaign file, and how many each user is sending.
UPLOADS = web.AppKey("uploads", dict[tuple[str, Path], tuple[Upload, asyncio.Task[None]]])
RECEIVING = web.AppKey("receiving", Counter[str])


def present_upload(request: web.Request, file: CampaignFile) -> Upload | None:
    """Returns the user's upload for this campaign that is being read."""
    found = request.app[UPLOADS].get((session(request).user, file.path))
    return found[0] if found is not None else None


@receives_upload
async def upload(request: web.Request) -> web.Response:
    """Receives a list and begins to read it."""
    file = await asyncio.to_thread(campaign_file_of, request)
    current = session(request)
    try:
        saved = await _receive(request, file)
        task = await _begin(request, file, saved)
        await asyncio.wait([task], timeout=PATIENCE)
    except BatchsendError as error:
        current.keep(request.path, _refused(error))
    return _lead_to(request, f"{file.url}/list")


async def _receive(request: web.Request, file: CampaignFile) -> SavedList:
    """Saves the file next to the campaign. Raises `BatchsendError`."""
    receiving_now, user = request.app[RECEIVING], session(request).user
    if receiving_now[user] >= _AT_ONCE:
        raise BatchsendError(
            "Your other lists are still being sent. Wait until they are done, then try again."
        )
    receiving_now[user] += 1
    try:
        part = await file_of(request, "your list")
        check = partial(request.app[FOLDER].refuse_list_of_others, own=file)
        return await save_upload(request, part, file.path.parent, check)
    finally:
        receiving_now[user] -= 1


async def _begin(request: web.Request, file: CampaignFile, saved: SavedList) -> asyncio.Task[None]:
    """Begins to read a list, in place of the one that this user uploaded before. Raises `BatchsendError`."""
    uploads, key = request.app[UPLOADS], (session(request).user, file.path)
    if key in uploads:
        await request.app[READERS].cancel(uploads[key][0].reading)
    try:
        changed = await asyncio.to_thread(_with_list, file, saved.path)
        reading = await list_reading(request, changed)
        if reading.is_over and reading.future.exception() is not None:
            request.app[READERS].forget(reading)
            reading = await list_reading(request, changed)
    except BatchsendError:
        await asyncio.to_thread(saved.remove)
        raise
    begun = Upload(file, saved, reading, request.path)
    task = asyncio.create_task(_use(request.app, session(request), begun))
    uploads[key] = begun, task
    task.add_done_callback(lambda ended: uploads.pop(key) if uploads[key][1] is ended else None)
    return task


def _with_list(file: CampaignFile, saved: Path) -> OpenCampaign:
    """Returns the campaign as it will be with this list."""
    present = open_file(file)
    if present.campaign is None:
        raise BatchsendError(f"{saved.name} was not saved, because the campaign file must be fixed first.")
    content = edited(present.content, _changes(present.campaign, file, saved))
    return OpenCampaign(file, content, parse_campaign(file.path, content), ())


async def _use(app: web.Application, user: Session, upload: Upload) -> None:
    """Makes the list the campaign's list if it can be read, and deletes it if not."""
    name = upload.saved.path.name
    try:
        view = await asyncio.shield(upload.reading.future)
        if view.problems and not view.options:
            raise ListError(view.path, view.problems)
        async with app[CHANGING]:
            await asyncio.to_thread(_change, app[FOLDER], upload)
    except CanceledError:
        await asyncio.to_thread(upload.saved.remove)
        user.notify(f"{name} was not used, because you canceled it. {_KEPT}")
    except BatchsendError as error:
        await asyncio.to_thread(upload.saved.remove)
        user.keep(upload.page, _refused(error))
    else:
        upload.saved.keep()
        user.drafts.pop(upload.page, None)
        user.notify(f"{name} is now the campaign's list.")


def _change(folder: WebFolder, upload: Upload) -> None:
    present = open_file(upload.file)
    change(folder, upload.file, present.content, _changes(present.campaign, upload.file, upload.saved.path))


def _changes(campaign: Campaign | None, file: CampaignFile, saved: Path) -> Changes:
    changes: Changes = {("list",): relative(saved, file)}
    if campaign is not None and saved == campaign.list:
        return changes
    # They were chosen for another file: its header row could hide customers of this one.
    return {**changes, **READ_AS_USUAL}


def _refused(error: BatchsendError) -> Draft:
    return Draft({}, {"file": f"{error.on_page}\n{_KEPT}"})


async def progress(request: web.Request) -> web.Response:
    """Returns how much of the uploaded list is read, as a part of the page. The page is loaded again at the end."""
    file = await asyncio.to_thread(campaign_file_of, request)
    found = present_upload(request, file)
    return reading_part(found.reading if found is not None else None)


async def cancel(request: web.Request) -> web.Response:
    """Stops reading the uploaded list, and deletes it."""
    file = await asyncio.to_thread(campaign_file_of, request)
    found = request.app[UPLOADS].get((session(request).user, file.path))
    if found is not None:
        begun, task = found
        await request.app[READERS].cancel(begun.reading)
        await asyncio.wait([task])
    raise web.HTTPSeeOther(f"{file.url}/list")


def _lead_to(request: web.Request, url: str) -> web.Response:
    """Returns the way to a page, for a form or for the script that sends it."""
    if request.headers.get("HX-Request"):
        return web.Response(headers={"HX-Redirect": url})
    raise web.HTTPSeeOther(url)
