"""The page below the step "Columns" on which a column of the list chooses between texts, such as by language."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.web.campaign_files import copy_text
from batchsend.web.folder import CampaignFile, WebFolder, relative
from batchsend.web.steps import COLUMNS, TEXT, Page
from batchsend.web.toml_edit import Changes
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import change_keys, errors_of, kept, only_changed
from batchsend.web.views.list_reading import list_reading, page_before, view_of
from batchsend.web.views.step_page import discard_draft, open_step, refuse, saved, step_page

#: The field with the values that choose a text which does not exist yet.
_NEW = "new"

Form = Mapping[str, Any]


async def show(request: web.Request) -> web.Response:
    """Shows which values of which column choose which text."""
    found, campaign = await open_step(request)
    reading = await list_reading(request, found)
    by = campaign.template_by
    return await step_page(
        request,
        found,
        campaign,
        COLUMNS,
        "languages.html.j2",
        reloads=not reading.is_over,
        heading="Does every customer get the same text?",
        view=await view_of(request, campaign, reading),
        reading=reading,
        before=page_before(request, found.file.url),
        default=by.default if by else campaign.template,
        cases=[
            (f"values.{number}", path, values)
            for number, (path, values) in enumerate(_cases(campaign).items())
        ],
        column=by.column if by else "",
    )


def _cases(campaign: Campaign) -> Mapping[Path, tuple[str, ...]]:
    by = campaign.template_by
    return {path: tuple(values) for path, values in by.cases.items()} if by is not None else {}


async def save(request: web.Request) -> web.Response:
    """Saves the choice. A new text begins as a copy of the usual one, to be changed on the page "Text"."""
    found, campaign = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    added, column = _split(form.get(_NEW, "")), str(form.get("column", ""))
    if errors := dict(_mistakes(column, _has_values(form), added)):
        raise refuse(request, form, errors)
    copy = (
        await asyncio.to_thread(_copy, request.app[FOLDER], found.file, campaign, added[0]) if added else None
    )

    def changes(shown: Campaign) -> Changes:
        chosen = {**_chosen(form, shown), **({copy: added} if copy else {})}
        return only_changed(_changes(found.file, shown.templates[0], column, chosen), shown)

    try:
        await change_keys(request, found.file, changes, form)
    except BatchsendError as error:
        if copy is not None:
            with suppress(OSError):
                copy.unlink()
        raise refuse(request, kept(form, error), errors_of(error, form)) from error
    if copy is not None:
        said = f"{copy.name} is a copy of the usual text. Write it in the other language."
        last = len((await asyncio.to_thread(found.file.load)).templates) - 1
        raise saved(request, found.file, COLUMNS, said, to=f"{found.file.url}/{TEXT}?text={last}")
    raise saved(
        request, found.file, COLUMNS, "The choice of the text is saved.", to=f"{found.file.url}/{COLUMNS}"
    )


def _chosen(form: Form, campaign: Campaign) -> Mapping[Path, list[str]]:
    """Returns the texts that the form still has values for. It numbers the texts of the campaign that it showed."""
    found = {path: _split(form.get(f"values.{number}", "")) for number, path in enumerate(_cases(campaign))}
    return {path: values for path, values in found.items() if values}


def _has_values(form: Form) -> bool:
    return any(_split(text) for name, text in form.items() if name.startswith("values."))


def _split(values: object) -> list[str]:
    return list(dict.fromkeys(value.strip() for value in str(values).split(",") if value.strip()))


def _mistakes(column: str, kept: bool, added: list[str]) -> Iterator[tuple[str, str]]:
    """Yields what is wrong with the form: a field, and a sentence about it."""
    if added and not column:
        yield "column", "Choose the column that says which text a customer gets."
    if column and not kept and not added:
        yield _NEW, "Write at least one value, or choose that everyone gets the same text."


def _changes(
    file: CampaignFile, default: Path, column: str, cases: Mapping[Path, list[str]]
) -> dict[tuple[str, ...], Any]:
    if not column:
        return {("template",): relative(default, file), ("template_by",): None}
    by = {
        "column": column,
        "default": relative(default, file),
        "cases": {relative(path, file): values for path, values in cases.items()},
    }
    return {("template",): None, ("template_by",): by}


def _copy(folder: WebFolder, file: CampaignFile, campaign: Campaign, value: str) -> Path:
    """Copies the usual text to a new file that is named after a value, and returns it. Raises `BatchsendError`."""
    default = campaign.templates[0]
    name, _, endings = default.name.partition(".")
    word = re.sub(r"\W+", "-", value.casefold()).strip("-_") or "other"
    return copy_text(folder, file, default, f"{name}.{word}.{endings}")


PAGES = (Page("GET", "/languages", show), Page("POST", "/languages", save))
