"""The page with the rows that cannot be sent. They are corrected here in a copy of the list."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from multidict import MultiDictProxy

from batchsend.errors import BatchsendError
from batchsend.reports.output_files import preview_path
from batchsend.web.auth.middleware import session
from batchsend.web.folder import NotFoundError, WebFolder, relative
from batchsend.web.jobs.problem_rows import ProblemRows, write_corrected
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.jobs.registry import JOBS
from batchsend.web.rendering import download
from batchsend.web.steps import LIST, Page
from batchsend.web.toml_edit import READ_AS_USUAL, Changes
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, change
from batchsend.web.views.opening import OpenCampaign, open_file
from batchsend.web.views.step_page import (
    PresentSteps,
    discard_draft,
    forget_draft,
    open_step,
    refuse,
    step_page,
    steps_of,
)

_CELL = re.compile(r"cell\.(\d{1,9})\.(\d{1,5})")

_CHANGED = "The list or the text was changed in the meantime. Look at the rows as they are now."


async def show(request: web.Request) -> web.Response:
    """Shows the rows that the check of the present files could not use."""
    found, campaign = await open_step(request)
    steps = await steps_of(request, found.file, campaign)
    rows = await asyncio.to_thread(_rows_of, request, steps)
    complete = not any(problem.blocks for status in steps.status.values() for problem in status.problems)
    return await step_page(
        request,
        found,
        campaign,
        LIST,
        "list_rows.html.j2",
        reloads=steps.under_way,
        heading="Rows that cannot be sent",
        rows=rows,
        complete=complete,
    )


def _rows_of(request: web.Request, steps: PresentSteps) -> ProblemRows | None:
    if steps.check is None or steps.under_way:
        return None
    return request.app[JOBS].problem_rows(steps.check)


async def progress(request: web.Request) -> web.Response:
    """Loads the page again once its check has ended."""
    found, campaign = await open_step(request)
    steps = await steps_of(request, found.file, campaign)
    return web.Response(status=204) if steps.under_way else web.Response(headers={"HX-Refresh": "true"})


async def save(request: web.Request) -> web.Response:
    """Saves corrected cells in a copy of the list, which becomes the campaign's list."""
    found, campaign = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    steps = await steps_of(request, found.file, campaign)
    rows = await asyncio.to_thread(_rows_of, request, steps)
    corrections = _corrections(form, rows)
    if rows is None or not corrections:
        sentence = _CHANGED if rows is None else "Nothing was changed. Correct a cell first."
        raise refuse(request, form, {"cells": sentence})
    try:
        copy = await request.app[READERS].run(
            session(request).user,
            write_corrected,
            found.file.path,
            found.content,
            str(form.get("sha256", "")),
            corrections,
        )
        async with request.app[CHANGING]:
            await asyncio.to_thread(_use, request.app[FOLDER], found, copy)
    except BatchsendError as error:
        raise refuse(request, form, {"cells": error.on_page}) from error
    forget_draft(request)
    session(request).notify(f"The corrected list is {copy.name}. {campaign.list.name} is unchanged.")
    raise web.HTTPSeeOther(request.rel_url.raw_path)


def _use(folder: WebFolder, found: OpenCampaign, copy: Path) -> None:
    """Makes a corrected copy the campaign's list.

    Raises `BatchsendError` if the campaign was changed since it was opened; then the copy is deleted.
    """
    try:
        folder.refuse_list_of_others(copy, found.file)
        _change(folder, found, copy)
    except BatchsendError:
        with suppress(OSError):
            copy.unlink()
        raise


def _change(folder: WebFolder, found: OpenCampaign, copy: Path) -> None:
    if open_file(found.file).content != found.content:
        raise BatchsendError(
            "The campaign was changed in the meantime, so nothing was saved. Look at the rows as they are now."
        )
    changes: Changes = {("list",): relative(copy, found.file)}
    change(folder, found.file, found.content, {**changes, **READ_AS_USUAL})


def _corrections(form: MultiDictProxy[Any], rows: ProblemRows | None) -> dict[int, dict[int, str]]:
    """Returns the cells that differ from those of the list, by row and position."""
    present = {row.row: row.cells for row in rows.rows if row.cells is not None} if rows is not None else {}
    order = list(rows.columns) if rows is not None else []
    found: dict[int, dict[int, str]] = {}
    for name, value in form.items():
        match = _CELL.fullmatch(name)
        if match is None:
            continue
        row, position = int(match[1]), int(match[2])
        if row in present and position in order:
            cell = str(value).strip()
            if cell != present[row][order.index(position)]:
                found.setdefault(row, {})[position] = cell
    return found


async def workbook(request: web.Request) -> web.StreamResponse:
    """Downloads the workbook of the check, whose sheet "Problems" has these rows."""
    _, campaign = await open_step(request)
    path: Path = preview_path(campaign, None)
    if not await asyncio.to_thread(path.is_file):
        raise NotFoundError("There is no workbook of a check yet. Check the campaign first.")
    return download(path, f"{campaign.stem}-check.xlsx")


PAGES = (
    Page("GET", "/rows", show),
    Page("POST", "/rows", save),
    Page("GET", "/rows/progress", progress),
    Page("GET", "/rows/workbook", workbook),
)
