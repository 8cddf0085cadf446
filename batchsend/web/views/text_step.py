"""The step "Text": what the text says, tried on the rows of the list while it is typed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.sample import is_sample_text
from batchsend.errors import BatchsendError
from batchsend.lists.headers import in_quotes
from batchsend.web.auth.middleware import session
from batchsend.web.folder import CampaignFile, NotFoundError, Uses, WebFolder
from batchsend.web.jobs.list_preview import render_row
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.rendering import part
from batchsend.web.steps import TEXT, Page
from batchsend.web.uploads import fingerprint, plain_lines, save
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, kept
from batchsend.web.views.list_reading import list_reading, view_of
from batchsend.web.views.opening import open_campaign
from batchsend.web.views.step_page import discard_draft, draft_of, open_step, refuse, saved, step_page

#: Digits of a template's number. Python refuses to read very long ones.
_MOST_DIGITS = 9
#: Bytes of a text in the editor.
_LARGEST_TEXT = 1_000_000


@dataclass(frozen=True)
class Editor:
    """A file in an editor.

    `loaded`: the fingerprint of the file on disk; `problem`: why it cannot be edited; `shared`: the other campaigns
    that use it.
    """

    name: str
    text: str = ""
    loaded: str = ""
    problem: str | None = None
    is_sample: bool = False
    shared: tuple[str, ...] = ()


async def show(request: web.Request) -> web.Response:
    """Shows the editor."""
    found, campaign = await open_step(request)
    number = draft_of(request).typed.get("number") or request.query.get("text", "0")
    reading = await list_reading(request, found)
    return await step_page(
        request,
        found,
        campaign,
        TEXT,
        "text_step.html.j2",
        view=await view_of(request, campaign, reading),
        reading=reading,
        number=number,
        editor=await asyncio.to_thread(_editor, request.app[FOLDER], found.file, campaign, number),
        templates=[file.name for file in campaign.templates],
    )


async def save_text(request: web.Request) -> web.Response:
    """Saves the text. A text that was changed by others in the meantime is not overwritten at once."""
    found, campaign = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    number, text, loaded = (str(form.get(name, "")) for name in ("number", "text", "loaded"))
    path = _template(campaign, number)
    try:
        async with request.app[CHANGING]:
            await asyncio.to_thread(_save, request.app[FOLDER], path, text, loaded)
    except BatchsendError as error:
        typed = {"number": number, "text": plain_lines(text), "loaded": loaded}
        raise refuse(request, kept(typed, error, "loaded"), {"text": error.on_page}) from error
    raise saved(request, found.file, TEXT, f"{path.name} is saved.")


async def try_text(request: web.Request) -> web.Response:
    """Shows a row's text as the editor's template makes it, as a part of the page."""
    found = await asyncio.to_thread(open_campaign, request)
    form = await request.post()
    if found.campaign is None:
        return _part(None, None)
    await asyncio.to_thread(request.app[FOLDER].check, found.campaign)
    path = _template(found.campaign, str(form.get("number", "0")))
    row = str(form.get("row", "")).strip()
    wanted = int(row) if row.isdecimal() and len(row) < 9 else None
    text = plain_lines(str(form.get("text", "")))
    shown = await request.app[READERS].run(
        session(request).user, render_row, found.file.path, found.content, path, text, wanted
    )
    return _part(shown, wanted)


def _part(shown: object, wanted: int | None) -> web.Response:
    return web.Response(text=part("text.html.j2", t=shown, wanted=wanted), content_type="text/html")


def _template(campaign: Campaign, number: str) -> Path:
    """Returns a template file by its number on the page. Raises `NotFoundError`."""
    if not number.isdecimal() or len(number) > _MOST_DIGITS or int(number) >= len(campaign.templates):
        raise NotFoundError("The campaign now has another text. Reload its page.")
    path = campaign.templates[int(number)]
    if path.suffix.lower() == ".toml":
        # Campaign files are checked before they are saved; texts are not.
        raise NotFoundError(f"{path.name} is a campaign file, not a text. Name another file as the template.")
    return path


def _save(folder: WebFolder, path: Path, text: str, loaded: str) -> None:
    """Raises `BatchsendError` if the file cannot be changed, or is not only a text."""
    if (problem := _also_a_list(path, folder.uses_of(path))) is not None:
        raise BatchsendError(f"{path.name} was not saved: {problem}")
    save(path, text, loaded=loaded)


def _also_a_list(path: Path, uses: Uses) -> str | None:
    """Returns why a file must not be changed as a text, if a campaign uses it for something else."""
    if not uses.otherwise:
        return None
    names = in_quotes(file.stem for file in uses.otherwise)
    return (
        f"the campaign {names} reads customers from {path.name}, or has errors that hide what it uses the file for. "
        f"Name another file as the text of this campaign."
    )


def _editor(folder: WebFolder, own: CampaignFile, campaign: Campaign, number: str) -> Editor:
    try:
        file = _template(campaign, number)
        uses = folder.uses_of(file)
        if (problem := _also_a_list(file, uses)) is not None:
            return Editor(file.name, problem=f"{file.name} cannot be changed here: {problem}")
        if file.stat().st_size > _LARGEST_TEXT:
            return Editor(file.name, problem=f"{file.name}: is too large to edit here.")
        content = file.read_bytes()
        text = plain_lines(content.decode("utf-8-sig"))
        shared = tuple(one.stem for one in uses.as_text if one != own)
        return Editor(file.name, text, fingerprint(content), is_sample=is_sample_text(file), shared=shared)
    except (OSError, UnicodeDecodeError, NotFoundError) as error:
        return Editor("", problem=f"The text cannot be shown: {error}")


PAGES = (Page("GET", "", show), Page("POST", "", save_text), Page("POST", "/try", try_text))
