"""The page "People to skip" below the step "When": the campaign's files with people who get no text."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.web.auth.middleware import receives_upload, session
from batchsend.web.folder import CampaignFile, relative
from batchsend.web.jobs.list_preview import count_opt_outs
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.steps import WHEN
from batchsend.web.uploads import file_of, save_upload
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, change
from batchsend.web.views.opening import OpenCampaign, campaign_file_of, open_file
from batchsend.web.views.step_page import open_step, refuse, step_page

_KEY = ("recipients", "suppress")
_FOLDER = "people-to-skip"
_BROKEN = "The campaign file must be fixed first."


async def show(request: web.Request) -> web.Response:
    """Shows the files, and the form for another one."""
    found, campaign = await open_step(request)
    return await step_page(
        request, found, campaign, WHEN, "people_to_skip.html.j2", files=list(campaign.recipients.suppress)
    )


@receives_upload
async def upload(request: web.Request) -> web.Response:
    """Saves an uploaded file and adds it."""
    file = await asyncio.to_thread(campaign_file_of, request)
    try:
        part = await file_of(request, "a file")
    except BatchsendError as error:
        raise refuse(request, {}, {"file": error.on_page}) from error
    try:
        # A campaign that reads the newest of several files must not take it for its list.
        check = partial(request.app[FOLDER].refuse_list_of_others, own=None)
        saved = await save_upload(request, part, await asyncio.to_thread(_own_folder, file), check)
        try:
            people = await _add(request, file, saved.path)
        except BatchsendError:
            await asyncio.to_thread(saved.remove)
            raise
    except BatchsendError as error:
        raise refuse(request, {}, {"file": f"{error.on_page}\nNothing was changed."}) from error
    saved.keep()
    who = "1 person" if people == 1 else f"{people:,} people"
    session(request).notify(f"{saved.path.name} names {who}. They get no text from this campaign.")
    raise web.HTTPSeeOther(request.rel_url.raw_path)


async def remove(request: web.Request) -> web.Response:
    """Takes a file out of the campaign. The file itself stays."""
    file = await asyncio.to_thread(campaign_file_of, request)
    path = Path(str((await request.post()).get("path", "")))
    async with request.app[CHANGING]:
        present = await asyncio.to_thread(open_file, file)
        if present.campaign is None:
            raise BatchsendError(f"{_BROKEN} Nothing was changed.")
        files = [name for name, known in _named(present) if known != path]
        await asyncio.to_thread(change, request.app[FOLDER], file, present.content, {_KEY: files or None})
    session(request).notify(f"{path.name} is not used any more. The people in it may get this text again.")
    raise web.HTTPSeeOther(f"{file.url}/{WHEN}/people")


async def _add(request: web.Request, file: CampaignFile, saved: Path) -> int:
    """Adds a file; returns how many people it names."""
    present = await asyncio.to_thread(open_file, file)
    if present.campaign is None:
        raise BatchsendError(_BROKEN)
    region = present.campaign.recipients.default_region
    people = await request.app[READERS].run(session(request).user, count_opt_outs, saved, region)
    # Not held while the file is read: others save their changes meanwhile.
    async with request.app[CHANGING]:
        present = await asyncio.to_thread(open_file, file)
        files = [name for name, known in _named(present) if known != saved]
        await asyncio.to_thread(
            change, request.app[FOLDER], file, present.content, {_KEY: [*files, relative(saved, file)]}
        )
        return people


def _own_folder(file: CampaignFile) -> Path:
    folder = file.path.parent / _FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise BatchsendError(
            f"{folder}: cannot be created ({error.strerror}). Fix its permissions."
        ) from error
    return folder


def _named(present: OpenCampaign) -> list[tuple[str, Path]]:
    """Returns the files as the campaign file names them, each with its path. Raises `BatchsendError`."""
    if present.campaign is None:
        raise BatchsendError(_BROKEN)
    names: list[Any] = present.campaign.as_written.get("recipients", {}).get("suppress", [])
    return list(zip(map(str, names), present.campaign.recipients.suppress, strict=True))
