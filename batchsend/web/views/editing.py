"""What changes a campaign: a new list, its columns, who sends, the text, the file; and trying a text out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from os.path import relpath
from pathlib import Path, PurePath
from typing import Any

from aiohttp import BodyPartReader, web

from batchsend.errors import BatchsendError, ForbiddenFileError
from batchsend.web.auth.middleware import check_token_part, session
from batchsend.web.folder import CampaignFile, WebFolder
from batchsend.web.jobs.list_preview import check_list, file_problems, render_row
from batchsend.web.jobs.list_process import LIST_READER
from batchsend.web.rendering import part
from batchsend.web.toml_edit import Changes, edited
from batchsend.web.uploads import ChangedMeanwhileError, fingerprint, replace, save, take_in
from batchsend.web.views.campaign import (
    Editor,
    campaign_page,
    open_file,
    opened,
    template_of,
    usable_campaign,
)
from batchsend.web.views.campaigns import FOLDER

#: One change of a campaign file at a time: two of this server's never write over each other.
CHANGING = web.AppKey("changing", asyncio.Lock)
_COLUMNS = ("customer_uuid", "phone", "department_uuid", "user_uuid", "timezone")


async def new_list(request: web.Request) -> web.Response:
    """Takes a list in, and makes it the campaign's."""
    file = request.app[FOLDER].campaign(request.match_info["folder"], request.match_info["stem"])
    reader = await request.multipart()
    await check_token_part(await reader.next(), session(request))
    sent = await reader.next()
    if not isinstance(sent, BodyPartReader) or not sent.filename:
        session(request).warn("No file was chosen. Choose your list, or drop it on the field.")
        raise web.HTTPSeeOther(f"{file.url}#list")
    try:
        taken = await take_in(sent, file.path.parent)
        await _use_list(request, file, taken)
    except BatchsendError as error:
        session(request).warn(f"{error}\nThe campaign still has the list that it had.")
    raise web.HTTPSeeOther(f"{file.url}#list")


async def _use_list(request: web.Request, file: CampaignFile, taken: Path) -> None:
    async with request.app[CHANGING]:
        present = await asyncio.to_thread(open_file, file)
        if present.campaign is None:
            raise BatchsendError(
                f"{taken.name} was kept beside the campaign, but the campaign file has to be put right first."
            )
        try:
            await request.app[LIST_READER].run(check_list, taken, file.path, present.content)
        except BatchsendError:
            if taken != present.campaign.list:
                await asyncio.to_thread(taken.unlink, missing_ok=True)
            raise
        await asyncio.to_thread(_change, file, present.content, {("list",): _as_written(taken, file)})
    session(request).say(f"{taken.name} is the campaign's list now.")


async def columns(request: web.Request) -> web.Response:
    """Which column of the list is what, chosen by hand."""
    file, _ = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    changes: dict[tuple[str, ...], Any] = {}
    for name in _COLUMNS:
        if f"column.{name}" in form:
            changes["columns", name] = str(form[f"column.{name}"]) or None
    if "consent" in form:
        changes["recipients", "consent"] = _consent(str(form["consent"]), str(form.get("yes", "")))
    await _changed(request, file, changes, "The columns are as you said.")
    raise web.HTTPSeeOther(f"{file.url}#list")


def _consent(column: str, yes: str) -> dict[str, Any] | None:
    if not column:
        return None
    values = [value.strip() for value in yes.split(",") if value.strip()]
    return {"column": column, "yes": values or ["Y", "Yes"]}


async def sender(request: web.Request) -> web.Response:
    """Which department and which user send."""
    file, _ = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    changes: dict[tuple[str, ...], Any] = {
        (name,): str(form[name]).strip() or None
        for name in ("department_uuid", "user_uuid", "department_label")
        if name in form
    }
    await _changed(request, file, changes, "Who sends is saved.")
    raise web.HTTPSeeOther(f"{file.url}#sender")


async def template(request: web.Request) -> web.Response:
    """Saves the text."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    number, text, was = (str(form.get(name, "")) for name in ("number", "text", "was"))
    path = template_of(campaign, number)
    try:
        await asyncio.to_thread(save, path, text, was=was)
    except BatchsendError as error:
        now = was
        if isinstance(error, ChangedMeanwhileError):
            now = fingerprint(await asyncio.to_thread(path.read_bytes))
        draft = Editor(path.name, _lines(text), now, str(error))
        return await campaign_page(request, status=409, template_draft=draft)
    session(request).say(f"{path.name} is saved.")
    raise web.HTTPSeeOther(f"{file.url}{f'?text={number}' if number != '0' else ''}#text")


async def campaign_file(request: web.Request) -> web.Response:
    """Saves the campaign file, also where something is wrong with it: the page says what.

    A file that names files which may not be shown is not saved: the scheduler could start it.
    """
    found = await asyncio.to_thread(opened, request)
    form = await request.post()
    text, was = str(form.get("text", "")), str(form.get("was", ""))
    try:
        await asyncio.to_thread(_check_files, request.app[FOLDER], found.file, _lines(text).encode())
        async with request.app[CHANGING]:
            await asyncio.to_thread(save, found.file.path, text, was=was)
    except BatchsendError as error:
        now = was
        if isinstance(error, ChangedMeanwhileError):
            now = fingerprint(await asyncio.to_thread(found.file.path.read_bytes))
        draft = Editor(found.file.path.name, _lines(text), now, str(error))
        return await campaign_page(request, status=409, file_draft=draft)
    session(request).say(f"{found.file.path.name} is saved.")
    raise web.HTTPSeeOther(f"{found.file.url}#file")


async def try_text(request: web.Request) -> web.Response:
    """What the text in the editor makes of a row; a part of the page."""
    found = await asyncio.to_thread(opened, request)
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
    """What is wrong with the campaign file in the editor; a part of the page."""
    found = await asyncio.to_thread(opened, request)
    content = _lines(str((await request.post()).get("text", ""))).encode()
    try:
        await asyncio.to_thread(_check_files, request.app[FOLDER], found.file, content)
        problems = await request.app[LIST_READER].run(file_problems, found.file.path, content)
    except BatchsendError as error:
        problems = [str(error)]
    return _part("file_problems.html.j2", problems=problems)


def _check_files(folder: WebFolder, file: CampaignFile, content: bytes) -> None:
    """Raises `BatchsendError` where the file with this content would name files that may not be shown."""
    from batchsend.campaigns.file import parse_campaign

    try:
        campaign = parse_campaign(file.path, content)
    except ForbiddenFileError:
        raise
    except BatchsendError:
        return
    folder.check(campaign)


async def _changed(
    request: web.Request, file: CampaignFile, changes: Mapping[tuple[str, ...], Any], said: str
) -> None:
    try:
        async with request.app[CHANGING]:
            present = await asyncio.to_thread(open_file, file)
            await asyncio.to_thread(_change, file, present.content, changes)
    except BatchsendError as error:
        session(request).warn(str(error))
    else:
        session(request).say(said)


def _change(file: CampaignFile, content: bytes, changes: Changes) -> None:
    """Changes keys of a campaign file, unless it could not be used then. Raises `BatchsendError`."""
    from batchsend.campaigns.file import parse_campaign

    made = edited(content, changes)
    if made == content:
        return
    parse_campaign(file.path, made)
    replace(file.path, made)


def _as_written(path: Path, file: CampaignFile) -> str:
    """A path as it stands in a campaign file."""
    return PurePath(relpath(path, file.path.parent)).as_posix()


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _part(name: str, **values: Any) -> web.Response:
    return web.Response(text=part(name, **values), content_type="text/html")
