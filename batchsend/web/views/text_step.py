"""The step "Text": what the text says, tried on the rows of the list while it is typed.

The text is shown with the names of columns (`placeholders`), or as the template that it is: the source.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.sample import is_sample_text
from batchsend.errors import BatchsendError
from batchsend.lists.headers import ColumnIndex, in_quotes
from batchsend.web.auth.middleware import session
from batchsend.web.folder import CampaignFile, NotFoundError, Uses, WebFolder
from batchsend.web.jobs.list_preview import ListView
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.jobs.text_preview import RowText, Wanted, try_text
from batchsend.web.rendering import part
from batchsend.web.steps import TEXT, Page
from batchsend.web.uploads import ChangedMeanwhileError, fingerprint, plain_lines, save
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, kept
from batchsend.web.views.list_reading import list_reading, page_before, view_of
from batchsend.web.views.opening import OpenCampaign
from batchsend.web.views.step_page import (
    SEVERAL,
    discard_draft,
    draft_of,
    open_step,
    refuse,
    saved,
    step_page,
    typed_in,
)
from batchsend.web.views.text_form import SOURCE, WORDS, Typed, chips, text_of_source, typed_text

#: Digits of a template's number. Python refuses to read very long ones.
_MOST_DIGITS = 9
#: Seconds that a page waits for a text, and the seconds that the preview and saving wait.
_PATIENCE, _LONGEST = 0.8, 60.0
#: Bytes of a text in the editor.
_LARGEST_TEXT = 1_000_000


@dataclass(frozen=True)
class Editor:
    """A file in an editor.

    `loaded`: the fingerprint of the file on disk, `content`: its bytes; `problem`: why it cannot be edited; `shared`:
    the other campaigns that use it.
    """

    name: str
    text: str = ""
    loaded: str = ""
    content: bytes = b""
    problem: str | None = None
    is_sample: bool = False
    shared: tuple[str, ...] = ()


async def show(request: web.Request) -> web.Response:
    """Shows the editor."""
    found, campaign = await open_step(request)
    typed = draft_of(request).typed
    number = typed.get("number") or request.query.get("text", "0")
    reading = await list_reading(request, found)
    view = await view_of(request, campaign, reading)
    editor = await asyncio.to_thread(_editor, request.app[FOLDER], found.file, campaign, number)
    if editor.problem is None:
        session(request).remember(editor.loaded, editor.content)
    columns = _columns(view)
    text = typed_text(typed, columns) if "text" in typed else None
    if text is None:
        text = _shown(editor.text, request.query.get("mode", WORDS), columns)
    tried = None
    if view is not None and editor.problem is None:
        tried = await _tried(request, found, _template(campaign, number), text, typed, _PATIENCE)
    return await step_page(
        request,
        found,
        campaign,
        TEXT,
        "text_step.html.j2",
        reloads=view is None,
        view=view,
        reading=reading,
        before=page_before(request, found.file.url),
        number=number,
        editor=editor,
        text=text,
        chips=chips(columns, text.mode),
        templates=[file.name for file in campaign.templates],
        live=False,
        **_preview(tried, text, typed),
    )


async def save_text(request: web.Request) -> web.Response:
    """Saves the text, or does what another button of its form says. Nothing that was typed is lost."""
    found, campaign = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    typed = typed_in(form)
    path = _template(campaign, typed.get("number", ""))
    reading = await list_reading(request, found)
    view = await view_of(request, campaign, reading)
    text = typed_text(typed, _columns(view))
    if text.mode == WORDS and view is None:
        raise refuse(request, typed, {"text": _LIST_IS_READ})
    if (changed := _other_button(typed, text)) is not None:
        raise refuse(request, changed, {})
    if typed.get("do") in (WORDS, SOURCE):
        await _show_as(request, found, campaign, typed, text)
    if errors := text.errors():
        raise refuse(request, typed, errors)
    try:
        written = await _save(request, path, text.source, typed.get("loaded", ""))
    except BatchsendError as error:
        if isinstance(error, ChangedMeanwhileError) and error.text is not None:
            typed |= _shown(error.text, text.mode, _columns(view)).fields()
        raise refuse(request, kept(typed, error, "loaded"), {"text": error.on_page}) from error
    if written != text.source:
        said = f"{path.name} is saved. Others changed it meanwhile, too. Their changes are kept: read the text again."
        raise saved(request, found.file, TEXT, said, to=f"{found.file.url}/text?text={typed['number']}")
    tried = await _tried(request, found, path, text, typed, _LONGEST)
    if tried is not None and tried.problems:
        session(request).warn(f"{path.name} is saved, but it cannot be sent yet.")
        mode = f"&mode={SOURCE}" if text.mode == SOURCE else ""
        raise saved(request, found.file, TEXT, to=f"{found.file.url}/text?text={typed['number']}{mode}")
    raise saved(request, found.file, TEXT, f"{path.name} is saved.")


_LIST_IS_READ = "The list is still being read. Your text is kept here: save it again in a moment."
_NO_WORDS = (
    "This text cannot be shown with column names, because it has double parentheses. It stays as it is."
)


def _columns(view: ListView | None) -> ColumnIndex:
    """Returns the columns of the list; none as long as it was not read."""
    return ColumnIndex(view.headers if view is not None else ())


def _shown(source: str, mode: str, columns: ColumnIndex) -> Typed:
    """Returns a template in this mode, or as it is if it cannot be shown with the names of columns."""
    words = None if mode == SOURCE else text_of_source(source, columns)
    return words or Typed(source, SOURCE, {}, columns)


def _other_button(typed: Mapping[str, str], text: Typed) -> dict[str, str] | None:
    """Returns the form after a button that saves nothing; `None` if the form is to be saved."""
    if "insert" in typed:
        return {**typed, "text": text.with_column(typed["insert"])}
    if typed.get("do") == "preview" or "show" in typed:
        return dict(typed)
    return None


async def _show_as(
    request: web.Request, found: OpenCampaign, campaign: Campaign, typed: Mapping[str, str], text: Typed
) -> NoReturn:
    """Leads to the page with the text shown in the other way."""
    mode, number = typed["do"], typed.get("number", "")
    other = text.shown_as(mode)
    if other is None:
        raise refuse(request, typed, {"text": _NO_WORDS})
    editor = await asyncio.to_thread(_editor, request.app[FOLDER], found.file, campaign, number)
    if other.source == editor.text:
        raise saved(request, found.file, TEXT, to=f"{found.file.url}/text?text={number}&mode={mode}")
    rest = {name: typed[name] for name in ("number", "loaded", "row", "find", "found") if name in typed}
    raise refuse(request, {**rest, **other.fields()}, {})


async def try_typed(request: web.Request) -> web.Response:
    """Shows a row's text as the editor has it, as parts of the page."""
    found, campaign = await open_step(request)
    typed = typed_in(await request.post())
    reading = await list_reading(request, found)
    view = await view_of(request, campaign, reading)
    text = typed_text(typed, _columns(view))
    tried = None
    if view is not None:
        path = _template(campaign, typed.get("number", ""))
        tried = await _tried(request, found, path, text, typed, _LONGEST)
    rows = text.rows
    is_new = [one.label for one in rows if one.is_used] != [
        label for label in typed.get("shown", "").split(SEVERAL) if label
    ]
    html = part(
        "text.html.j2",
        live=True,
        file=found.file,
        rows=rows if is_new else None,
        typed=typed,
        errors={},
        **_preview(tried, text, typed),
    )
    return web.Response(text=html, content_type="text/html")


async def _tried(
    request: web.Request,
    found: OpenCampaign,
    path: Path,
    text: Typed,
    typed: Mapping[str, str],
    seconds: float,
) -> RowText | None:
    """Tries the text on the row that the form asks for.

    `None` if that takes longer, or if the text has mistakes of its own.
    """
    if text.errors().get("text"):
        return None
    trial = request.app[READERS].begin_quick(
        session(request).user, try_text, found.file.path, found.content, path, text.source, _wanted(typed)
    )
    if not await trial.wait(seconds):
        return None
    try:
        return trial.future.result()
    except BatchsendError as error:
        return RowText(list_problems=(error.on_page,))


def _wanted(typed: Mapping[str, str]) -> Wanted:
    """Returns the row that the form asks for: by a button, by what was just typed, or the one that it showed."""
    pressed, words = typed.get("show", ""), typed.get("find", "").strip()
    row = _number(typed.get("row", ""))
    if pressed.startswith("row "):
        return Wanted(_number(pressed.removeprefix("row ")))
    if pressed and pressed != "find":
        return Wanted(extreme=pressed)
    if words and (pressed == "find" or words != typed.get("found", "")):
        number = _number(words)
        is_next = words == typed.get("found")
        return Wanted(number) if number is not None else Wanted(row if is_next else None, words)
    return Wanted(row)


def _number(text: str) -> int | None:
    """Returns a row's number; other digits are looked for in the rows."""
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,6}", text) else None


def _preview(tried: RowText | None, text: Typed, typed: Mapping[str, str]) -> dict[str, Any]:
    """Returns what the part of the page with the preview needs."""
    own = text.errors().get("text", "").split("\n")
    problems = [*filter(None, own), *(tried.problems if tried is not None else ())]
    return {
        "t": tried,
        "problems": problems,
        "by_words": text.mode == WORDS,
        "searched": typed.get("find", "").strip(),
        "find": typed.get("find", ""),
    }


async def _save(request: web.Request, path: Path, text: str, loaded: str) -> str:
    """Raises `BatchsendError` if the file cannot be changed, or is not only a text. Returns as `save`."""
    async with request.app[CHANGING]:
        uses = await asyncio.to_thread(request.app[FOLDER].uses_of, path)
        if (problem := _also_a_list(path, uses)) is not None:
            raise BatchsendError(f"{path.name} was not saved: {problem}")
        return await asyncio.to_thread(save, path, text, loaded=loaded, session=session(request))


def _also_a_list(path: Path, uses: Uses) -> str | None:
    """Returns why a file must not be changed as a text, if a campaign uses it for something else."""
    if not uses.otherwise:
        return None
    names = in_quotes(file.stem for file in uses.otherwise)
    return (
        f"the campaign {names} reads customers from {path.name}, or has errors that hide what it uses the file for. "
        f"Name another file as the text of this campaign."
    )


def _template(campaign: Campaign, number: str) -> Path:
    """Returns a template file by its number on the page. Raises `NotFoundError`."""
    if not number.isdecimal() or len(number) > _MOST_DIGITS or int(number) >= len(campaign.templates):
        raise NotFoundError("The campaign now has another text. Reload its page.")
    path = campaign.templates[int(number)]
    if path.suffix.lower() == ".toml":
        # Campaign files are checked before they are saved; texts are not.
        raise NotFoundError(f"{path.name} is a campaign file, not a text. Name another file as the template.")
    return path


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
        return Editor(
            file.name, text, fingerprint(content), content, is_sample=is_sample_text(file), shared=shared
        )
    except (OSError, UnicodeDecodeError, NotFoundError) as error:
        return Editor("", problem=f"The text cannot be shown: {error}")


PAGES = (Page("GET", "", show), Page("POST", "", save_text), Page("POST", "/try", try_typed))
