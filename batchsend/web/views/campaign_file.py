"""The page "Advanced: the campaign file", for settings that no step has."""

from __future__ import annotations

import asyncio
from functools import partial

from aiohttp import web

from batchsend.campaigns.file import parse_campaign
from batchsend.errors import BatchsendError, FileError, ForbiddenFileError
from batchsend.web.auth.middleware import session
from batchsend.web.folder import CampaignFile, WebFolder, looks_like_a_campaign
from batchsend.web.jobs.list_preview import file_problems
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.rendering import page, part
from batchsend.web.uploads import fingerprint, plain_lines, save
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, kept
from batchsend.web.views.opening import open_campaign
from batchsend.web.views.step_page import discard_draft, draft_of, refuse


async def show(request: web.Request) -> web.Response:
    """Shows the editor, even for a campaign file with errors."""
    found = await asyncio.to_thread(open_campaign, request)
    draft = draft_of(request)
    version = fingerprint(found.content)
    session(request).remember(version, found.content)
    return page(
        request,
        "campaign_file.html.j2",
        file=found.file,
        name=found.campaign.name if found.campaign else found.file.stem,
        problems=found.problems,
        text=draft.typed.get("text", found.text),
        loaded=draft.typed.get("loaded", version),
        typed=draft.typed,
        errors=draft.errors,
    )


async def save_file(request: web.Request) -> web.Response:
    """Saves the campaign file, even one with errors; the page shows them.

    A file that names files which may not be shown is not saved, because the scheduler could start it. One that is no
    campaign at all is not saved either.
    """
    file = (await asyncio.to_thread(open_campaign, request)).file
    form = await request.post()
    discard_draft(request, form)
    text, loaded = str(form.get("text", "")), str(form.get("loaded", ""))
    try:
        check = partial(_check_files, request.app[FOLDER], file)
        async with request.app[CHANGING]:
            written = await asyncio.to_thread(
                save, file.path, text, loaded=loaded, session=session(request), check=check
            )
    except BatchsendError as error:
        typed = {"text": getattr(error, "text", None) or plain_lines(text), "loaded": loaded}
        raise refuse(request, kept(typed, error, "loaded"), {"text": _problems(error)}) from error
    session(request).drafts.pop(request.path, None)
    also = (
        "" if written == plain_lines(text) else " Others changed it meanwhile, too. Their changes are kept."
    )
    session(request).notify(f"{file.path.name} is saved.{also}")
    raise web.HTTPSeeOther(request.rel_url.raw_path)


async def try_file(request: web.Request) -> web.Response:
    """Shows what is wrong with the campaign file in the editor, as a part of the page."""
    file = (await asyncio.to_thread(open_campaign, request)).file
    content = plain_lines(str((await request.post()).get("text", ""))).encode()
    try:
        await asyncio.to_thread(_check_files, request.app[FOLDER], file, content)
        problems = await request.app[READERS].run(session(request).user, file_problems, file.path, content)
    except BatchsendError as error:
        problems = [_problems(error)]
    return web.Response(text=part("file_problems.html.j2", problems=problems), content_type="text/html")


def _problems(error: BatchsendError) -> str:
    """Returns what is wrong, for people who read the campaign file itself."""
    return "\n".join(error.problems) if isinstance(error, FileError) else error.on_page


def _check_files(folder: WebFolder, file: CampaignFile, content: bytes) -> None:
    """Raises `BatchsendError` if this content names files that may not be shown, or is no campaign at all."""
    if not looks_like_a_campaign(content):
        raise BatchsendError(
            "This is no longer a campaign: it names no list, no text and no sender. It was not saved, because it "
            "would be missing from these pages. To put a campaign away, archive it."
        )
    try:
        campaign = parse_campaign(file.path, content)
    except ForbiddenFileError:
        raise
    except BatchsendError:
        return
    folder.check(campaign)
