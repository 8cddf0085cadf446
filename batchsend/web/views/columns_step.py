"""The step "Columns": which column of the list is what."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.web.steps import COLUMNS, Page
from batchsend.web.views.editing import change_keys, errors_of
from batchsend.web.views.list_reading import list_reading, page_before, view_of
from batchsend.web.views.step_page import discard_draft, open_step, refuse, saved, step_page

_COLUMNS = ("customer_uuid", "phone", "department_uuid", "user_uuid", "timezone", "zip", "state")


async def show(request: web.Request) -> web.Response:
    """Shows what each column was taken for, and the form to change it."""
    found, campaign = await open_step(request)
    reading = await list_reading(request, found)
    view = await view_of(request, reading)
    before = page_before(request, found.file.url)
    return await step_page(
        request, found, campaign, COLUMNS, "columns_step.html.j2", view=view, reading=reading, before=before
    )


async def save(request: web.Request) -> web.Response:
    """Saves which column of the list is what."""
    found, _ = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    changes: dict[tuple[str, ...], Any] = {}
    for name in _COLUMNS:
        if f"column.{name}" in form:
            changes["columns", name] = str(form[f"column.{name}"]) or None
    if "consent" in form:
        changes["recipients", "consent"] = _consent(str(form["consent"]), str(form.get("yes", "")))
    try:
        await change_keys(request, found.file, changes)
    except BatchsendError as error:
        raise refuse(request, form, errors_of(error, form)) from error
    raise saved(request, found.file, COLUMNS, "The columns are saved.")


def _consent(column: str, yes: str) -> dict[str, Any] | None:
    if not column:
        return None
    values = [value.strip() for value in yes.split(",") if value.strip()]
    return {"column": column, "yes": values or ["Y", "Yes"]}


PAGES = (Page("GET", "", show), Page("POST", "", save))
