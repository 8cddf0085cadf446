"""The step "Columns": which column of the list is what."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from multidict import MultiDictProxy

from batchsend.errors import BatchsendError
from batchsend.web.steps import COLUMNS, Page
from batchsend.web.toml_edit import Changes
from batchsend.web.views import languages
from batchsend.web.views.editing import change_keys, errors_of, kept, only_changed
from batchsend.web.views.list_reading import list_reading, page_before, view_of
from batchsend.web.views.step_page import discard_draft, open_step, refuse, saved, step_page

#: Fields of columns that mean one thing only -> what, in words.
_ONLY_ONE = {
    "column.customer_uuid": "the customer's id",
    "column.phone": "the phone",
    "consent": "who agreed to texts",
}
#: The choice that texts of the same customer are told apart by columns.
_BY_COLUMNS = "columns"
_CONSENT = ("recipients", "consent")
_COLUMNS = ("customer_uuid", "phone", "department_uuid", "user_uuid", "timezone", "zip", "state")


async def show(request: web.Request) -> web.Response:
    """Shows what each column was taken for, and the form to change it."""
    found, campaign = await open_step(request)
    reading = await list_reading(request, found)
    view = await view_of(request, campaign, reading)
    before = page_before(request, found.file.url)
    return await step_page(
        request,
        found,
        campaign,
        COLUMNS,
        "columns_step.html.j2",
        reloads=not reading.is_over,
        view=view,
        reading=reading,
        before=before,
    )


async def save(request: web.Request) -> web.Response:
    """Saves which column of the list is what."""
    found, _ = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    if errors := _mistakes(form):
        raise refuse(request, form, errors)
    changes, proposed = _changes(form), _proposed(form)
    try:
        await change_keys(
            request, found.file, lambda shown: only_changed(changes, shown), form, proposed=proposed
        )
    except BatchsendError as error:
        raise refuse(request, kept(form, error), errors_of(error, form)) from error
    raise saved(request, found.file, COLUMNS, "The columns are saved.")


def _changes(form: MultiDictProxy[Any]) -> Changes:
    changes: dict[tuple[str, ...], Any] = {}
    for name in _COLUMNS:
        if f"column.{name}" in form:
            changes["columns", name] = str(form[f"column.{name}"]) or None
    if "consent" in form:
        changes[_CONSENT] = _consent(str(form["consent"]), str(form.get("yes", "")))
    if form.get("language"):
        changes["template_by", "column"] = str(form["language"])
    if "same" in form:
        changes["recipients", "key"] = _key(form) if form["same"] == _BY_COLUMNS else None
    return changes


def _proposed(form: MultiDictProxy[Any]) -> set[tuple[str, ...]]:
    """Returns the keys of columns that the form has detected, if no other ones were chosen."""
    fields = {f"column.{name}": ("columns", name) for name in _COLUMNS} | {"consent": _CONSENT}
    return {
        key
        for field, key in fields.items()
        if form.get(field) and form.get(f"detected.{field}") == form.get(field)
    }


def _key(form: MultiDictProxy[Any]) -> list[str]:
    return [str(header) for header in form.getall("key", [])]


def _mistakes(form: MultiDictProxy[Any]) -> dict[str, str]:
    """Returns what is wrong with the form, by field."""
    errors: dict[str, str] = {}
    taken: dict[str, str] = {}
    for field, what in _ONLY_ONE.items():
        header = str(form.get(field, ""))
        if header and header in taken:
            errors[field] = f'"{header}" is already {taken[header]}. Choose another column.'
        elif header:
            taken[header] = what
    if form.get("consent") and not str(form.get("yes", "")).strip():
        errors["yes"] = "Write the values that mean yes, such as Y, Yes."
    if form.get("same") == _BY_COLUMNS and not _key(form):
        errors["key"] = "Choose at least one column."
    return errors


def _consent(column: str, yes: str) -> dict[str, Any] | None:
    if not column:
        return None
    values = [value.strip() for value in yes.split(",") if value.strip()]
    return {"column": column, "yes": values}


PAGES = (Page("GET", "", show), Page("POST", "", save), *languages.PAGES)
