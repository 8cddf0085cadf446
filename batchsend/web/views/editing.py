"""The forms that change a campaign: its list, columns, sender, text and file. They also try a text out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from os.path import relpath
from pathlib import Path, PurePath
from typing import Any

from aiohttp import BodyPartReader, web

from batchsend.campaigns.file import parse_campaign
from batchsend.errors import BatchsendError, ForbiddenFileError
from batchsend.web.auth.middleware import session, upload_of
from batchsend.web.connections import receiving
from batchsend.web.folder import CampaignFile, WebFolder
from batchsend.web.jobs.list_preview import check_list, file_problems, render_row
from batchsend.web.jobs.list_process import LIST_READER
from batchsend.web.rendering import part
from batchsend.web.toml_edit import Changes, edited
from batchsend.web.uploads import ChangedMeanwhileError, fingerprint, replace_content, save, save_upload
from batchsend.web.views.campaign import (
    Editor,
    campaign_file_of,
    campaign_page,
    open_campaign,
    open_file,
    template_of,
    usable_campaign,
)
from batchsend.web.views.campaigns import FOLDER

#: Held while a campaign file is changed, so that two requests do not overwrite each other's changes.
CHANGING = web.AppKey("changing", asyncio.Lock)
_COLUMNS = ("customer_uuid", "phone", "department_uuid", "user_uuid", "timezone", "zip", "state")
_SENDER = ("department_uuid", "user_uuid", "department_label")


async def new_list(request: web.Request) -> web.Response:
    """Saves an uploaded list and makes it the campaign's list."""
    file = campaign_file_of(request)
    async with receiving(request):
        upload = await upload_of(request).next()
    if not isinstance(upload, BodyPartReader) or not upload.filename:
        session(request).warn("No file was chosen. Choose your list or drop it on the field.")
        raise web.HTTPSeeOther(f"{file.url}#list")
    try:
        saved = await save_upload(request, upload, file.path.parent)
        await _use_list(request, file, saved)
    except BatchsendError as error:
        session(request).warn(f"{error}\nThe campaign still uses its previous list.")
    raise web.HTTPSeeOther(f"{file.url}#list")


async def _use_list(request: web.Request, file: CampaignFile, saved: Path) -> None:
    async with request.app[CHANGING]:
        present = await asyncio.to_thread(open_file, file)
        if present.campaign is None:
            raise BatchsendError(
                f"{saved.name} was saved next to the campaign, but the campaign file must be fixed first."
            )
        try:
            await request.app[LIST_READER].run(check_list, saved, file.path, present.content)
        except BatchsendError:
            if saved != present.campaign.list:
                await asyncio.to_thread(saved.unlink, missing_ok=True)
            raise
        await asyncio.to_thread(_change, file, present.content, {("list",): _relative(saved, file)})
    session(request).notify(f"{saved.name} is now the campaign's list.")


async def columns(request: web.Request) -> web.Response:
    """Saves which column of the list is what."""
    file, _ = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    changes: dict[tuple[str, ...], Any] = {}
    for name in _COLUMNS:
        if f"column.{name}" in form:
            changes["columns", name] = str(form[f"column.{name}"]) or None
    if "consent" in form:
        changes["recipients", "consent"] = _consent(str(form["consent"]), str(form.get("yes", "")))
    await _apply(request, file, changes, "The columns are saved.")
    raise web.HTTPSeeOther(f"{file.url}#list")


def _consent(column: str, yes: str) -> dict[str, Any] | None:
    if not column:
        return None
    values = [value.strip() for value in yes.split(",") if value.strip()]
    return {"column": column, "yes": values or ["Y", "Yes"]}


async def sender(request: web.Request) -> web.Response:
    """Saves the department and the user that send."""
    file, _ = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    changes: dict[tuple[str, ...], Any] = {
        (name,): str(form[name]).strip() or None for name in _SENDER if name in form
    }
    await _apply(request, file, changes, "The sender is saved.")
    raise web.HTTPSeeOther(f"{file.url}#sender")


async def template(request: web.Request) -> web.Response:
    """Saves the text."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    number, text, loaded = (str(form.get(name, "")) for name in ("number", "text", "loaded"))
    path = template_of(campaign, number)
    try:
        await asyncio.to_thread(save, path, text, loaded=loaded)
    except BatchsendError as error:
        draft = await _draft(path, text, loaded, error)
        return await campaign_page(request, status=409, template_draft=draft)
    session(request).notify(f"{path.name} is saved.")
    raise web.HTTPSeeOther(f"{file.url}{f'?text={number}' if number != '0' else ''}#text")


async def campaign_file(request: web.Request) -> web.Response:
    """Saves the campaign file, even one with errors; the page shows them.

    A file that names files which may not be shown is not saved, because the scheduler could start it.
    """
    file = (await asyncio.to_thread(open_campaign, request)).file
    form = await request.post()
    text, loaded = str(form.get("text", "")), str(form.get("loaded", ""))
    try:
        await asyncio.to_thread(_check_files, request.app[FOLDER], file, _lines(text).encode())
        async with request.app[CHANGING]:
            await asyncio.to_thread(save, file.path, text, loaded=loaded)
    except BatchsendError as error:
        draft = await _draft(file.path, text, loaded, error)
        return await campaign_page(request, status=409, file_draft=draft)
    session(request).notify(f"{file.path.name} is saved.")
    raise web.HTTPSeeOther(f"{file.url}#file")


async def _draft(path: Path, text: str, loaded: str, error: BatchsendError) -> Editor:
    """Returns the editor with a text that was not saved. If the file has changed, saving again overwrites it."""
    if isinstance(error, ChangedMeanwhileError):
        loaded = fingerprint(await asyncio.to_thread(path.read_bytes))
    return Editor(path.name, _lines(text), loaded, str(error))


async def try_text(request: web.Request) -> web.Response:
    """Shows a row's text as the editor's template makes it, as a part of the page."""
    found = await asyncio.to_thread(open_campaign, request)
    form = await request.post()
    if found.campaign is None:
        return _part("text.html.j2", t=None)
    request.app[FOLDER].check(found.campaign)
    path = template_of(found.campaign, str(form.get("number", "0")))
    row = str(form.get("row", "")).strip()
    wanted = int(row) if row.isdecimal() and len(row) < 9 else None
    text = _lines(str(form.get("text", "")))
    shown = await request.app[LIST_READER].run(render_row, found.file.path, found.content, path, text, wanted)
    return _part("text.html.j2", t=shown, wanted=wanted)


async def try_file(request: web.Request) -> web.Response:
    """Shows what is wrong with the campaign file in the editor, as a part of the page."""
    file = (await asyncio.to_thread(open_campaign, request)).file
    content = _lines(str((await request.post()).get("text", ""))).encode()
    try:
        await asyncio.to_thread(_check_files, request.app[FOLDER], file, content)
        problems = await request.app[LIST_READER].run(file_problems, file.path, content)
    except BatchsendError as error:
        problems = [str(error)]
    return _part("file_problems.html.j2", problems=problems)


def _check_files(folder: WebFolder, file: CampaignFile, content: bytes) -> None:
    """Raises `BatchsendError` if the campaign file with this content names files that may not be shown."""
    try:
        campaign = parse_campaign(file.path, content)
    except ForbiddenFileError:
        raise
    except BatchsendError:
        return
    folder.check(campaign)


async def _apply(
    request: web.Request, file: CampaignFile, changes: Mapping[tuple[str, ...], Any], notice: str
) -> None:
    """Changes keys of the campaign file, and tells the user on the next page."""
    try:
        async with request.app[CHANGING]:
            present = await asyncio.to_thread(open_file, file)
            await asyncio.to_thread(_change, file, present.content, changes)
    except BatchsendError as error:
        session(request).warn(str(error))
    else:
        session(request).notify(notice)


def _change(file: CampaignFile, content: bytes, changes: Changes) -> None:
    """Changes keys of a campaign file. Raises `BatchsendError` if the file could not be used after that."""
    changed = edited(content, changes)
    if changed == content:
        return
    parse_campaign(file.path, changed)
    replace_content(file.path, changed)


def _relative(path: Path, file: CampaignFile) -> str:
    """Returns a path as a campaign file writes it."""
    return PurePath(relpath(path, file.path.parent)).as_posix()


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _part(name: str, **values: Any) -> web.Response:
    return web.Response(text=part(name, **values), content_type="text/html")
