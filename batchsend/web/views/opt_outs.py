"""The page "Opt-outs": the people whom no campaign texts, with forms to add, import, export and remove them.

The campaigns of a folder can use several ledgers. A person who opts out does so for all of them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.optouts import (
    OptOut,
    OptOutRequest,
    OptOutSource,
    Person,
    add_opt_outs,
    find_opt_outs,
    opt_outs,
    opt_outs_of,
    remove_opt_outs,
)
from batchsend.ledger.purged_phones import is_purged
from batchsend.lists.headers import in_quotes
from batchsend.messages.phones import PhoneProblem, to_e164
from batchsend.planning.list_checks import is_customer_id
from batchsend.runs.lookup import Opener
from batchsend.utils.timestamps import now
from batchsend.utils.wording import capitalized
from batchsend.web.auth.middleware import person_of, receives_upload, session
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.queries import ledgers_of
from batchsend.web.rendering import page
from batchsend.web.uploads import file_of, save_upload
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.step_page import discard_draft, draft_of, forget_draft, refuse

PATH = "/opt-outs"
#: Phones without a country code are read as in this country.
REGION = "US"
#: Entries that the page shows, the latest ones.
_SHOWN = 100
#: Characters of a search.
_LONGEST = 130
_NOT_GIVEN = "Say why. It is shown to everyone who looks at this list later."


@dataclass(frozen=True)
class Imported:
    """What an import did. `notes`: sentences about the file; `lost`: why rows were not added -> their numbers."""

    added: int
    known: int
    notes: Sequence[str]
    lost: Mapping[str, Sequence[int]]


async def show(request: web.Request) -> web.Response:
    """Shows the latest entries, or those that a search finds."""
    search = request.query.get("q", "").strip()[:_LONGEST]
    removed = "removed" in request.query
    urls = await asyncio.to_thread(_ledgers, request)
    found = await asyncio.to_thread(_find, urls, search, removed=removed)
    return page(
        request,
        "opt_outs.html.j2",
        search=search,
        removed=removed,
        entries=found[:_SHOWN],
        more=len(found) > _SHOWN,
        sources=OptOutSource,
        is_purged=is_purged,
    )


async def show_form(request: web.Request) -> web.Response:
    """Asks who is added, and why. The address can name the person."""
    draft = draft_of(request)
    values = {name: request.query[name] for name in ("phone", "customer") if name in request.query}
    return page(
        request, "opt_out_new.html.j2", values=values or draft.typed, errors={} if values else draft.errors
    )


async def add(request: web.Request) -> web.Response:
    """Adds a customer, a phone or both."""
    form = await request.post()
    discard_draft(request, form)
    wanted, errors = _request_of(form)
    if errors:
        raise refuse(request, form, errors)
    urls, person = await asyncio.to_thread(_ledgers, request), person_of(request)
    try:
        added, _ = await asyncio.to_thread(_add, urls, [wanted], OptOutSource.ADDED, person)
    except BatchsendError as error:
        raise refuse(request, form, {"": error.on_page}) from error
    who = "Added. From now on, no campaign texts them." if added else "They were on the list already."
    raise _done(request, who)


async def show_removal(request: web.Request) -> web.Response:
    """Asks why a person gets texts again."""
    draft = draft_of(request)
    values = request.query or draft.typed
    customer, phone = values.get("customer", ""), values.get("phone", "")
    urls = await asyncio.to_thread(_ledgers, request)
    return page(
        request,
        "opt_out_removal.html.j2",
        entries=await asyncio.to_thread(_current_of, urls, customer, phone),
        customer=customer,
        phone=phone,
        reason=values.get("reason", ""),
        errors={} if request.query else draft.errors,
        is_purged=is_purged,
    )


async def remove(request: web.Request) -> web.Response:
    """Removes the entries of a person who wants texts again."""
    form = await request.post()
    customer, phone, reason = (str(form.get(name, "")).strip() for name in ("customer", "phone", "reason"))
    if not reason:
        raise refuse(request, form, {"reason": _NOT_GIVEN})
    urls, person = await asyncio.to_thread(_ledgers, request), person_of(request)
    try:
        removed = await asyncio.to_thread(_remove, urls, customer, phone, reason, person)
    except BatchsendError as error:
        raise refuse(request, form, {"": error.on_page}) from error
    if not removed:
        raise _done(request, "They were not on the list any more.")
    raise _done(
        request,
        "Removed. Campaigns may text them again. myKaarma keeps its own opt-outs: if it still refuses texts to them, "
        "remove the opt-out there too.",
    )


async def show_import(request: web.Request) -> web.Response:
    """Asks for a file with people who opted out, or shows which rows of the last one were not added."""
    draft = draft_of(request)
    return page(request, "opt_outs_import.html.j2", errors=draft.errors, typed=draft.typed)


@receives_upload
async def import_file(request: web.Request) -> web.Response:
    """Adds the people in a file. Rows that name no one are listed; all others are added."""
    urls, person = await asyncio.to_thread(_ledgers, request), person_of(request)
    try:
        part = await file_of(request, "a file")
        # A campaign that reads the newest of several files must not take it for its list.
        folder = request.app[FOLDER]
        check = partial(folder.refuse_list_of_others, own=None)
        with TemporaryDirectory(
            prefix="opt-outs-", dir=folder.new_folder, ignore_cleanup_errors=True
        ) as alone:
            saved = await save_upload(request, part, Path(alone), check)
            done = await request.app[READERS].run(session(request).user, read_into, urls, saved.path, person)
    except BatchsendError as error:
        nothing = () if isinstance(error, PartlyDoneError) else ("Nothing was added.",)
        problems = "\n".join([*error.page_problems, *nothing])
        raise refuse(request, {}, {"file": problems}) from error
    for note in done.notes:
        session(request).notify(f"{saved.path.name}: {note}.")
    sentence = f"{done.added:,} added, {done.known:,} already on the list."
    if not done.lost:
        raise _done(request, sentence)
    session(request).notify(sentence)
    raise refuse(request, {"name": saved.path.name}, {"file": _in_words(done.lost)})


async def export(request: web.Request) -> web.FileResponse:
    """Sends the list as a workbook, which can be imported again."""
    urls = await asyncio.to_thread(_ledgers, request)
    file = request.app[FOLDER].state / "opt-outs.xlsx"
    written, skipped = await request.app[READERS].run(session(request).user, write_export, urls, file)
    if skipped:
        session(request).notify(
            f"{skipped:,} not in the file: they come from a stand-in for myKaarma and count only there."
        )
    return web.FileResponse(written, headers={"Content-Disposition": 'attachment; filename="opt-outs.xlsx"'})


def _done(request: web.Request, notice: str) -> web.HTTPSeeOther:
    forget_draft(request)
    session(request).notify(notice)
    return web.HTTPSeeOther(PATH)


def _in_words(lost: Mapping[str, Sequence[int]]) -> str:
    count = sum(map(len, lost.values()))
    were = "row was" if count == 1 else "rows were"
    lines = (
        f"{'Row' if len(rows) == 1 else 'Rows'} {', '.join(map(str, rows))}: {why}"
        for why, rows in lost.items()
    )
    return "\n".join([f"{count:,} {were} NOT added. Correct the file and import it again:", *lines])


def _request_of(form: Mapping[str, Any]) -> tuple[OptOutRequest, dict[str, str]]:
    """Returns whom a form names, and what is wrong with its fields."""
    phone, customer, reason = (str(form.get(name, "")).strip() for name in ("phone", "customer", "reason"))
    errors = {}
    if not phone and not customer:
        errors["phone"] = "Give a phone number, a customer id, or both."
    if phone:
        try:
            phone = to_e164(phone, REGION)
        except PhoneProblem as problem:
            errors["phone"] = f"{capitalized(str(problem))}."
    if customer and not is_customer_id(customer, REGION):
        errors["customer"] = (
            "This is no customer id in myKaarma, which has only letters, digits, hyphens and underscores. A phone "
            "number goes into the field above."
        )
    if not reason:
        errors["reason"] = _NOT_GIVEN
    return OptOutRequest(customer, phone, reason), errors


# The functions below block.


#: URL of a ledger -> the campaigns that use it.
Ledgers = Mapping[str, Sequence[str]]


class PartlyDoneError(BatchsendError):
    """A change was made in some ledgers and not in others."""


def _ledgers(request: web.Request) -> Ledgers:
    """Returns the ledgers of the folder's campaigns, or the first one if there is none yet."""
    return ledgers_of(request.app[FOLDER])


@contextmanager
def _opened(urls: Iterable[str], open_it: Opener) -> Iterator[list[Ledger]]:
    with ExitStack() as stack:
        found = (open_it(url) for url in urls)
        yield [stack.enter_context(closing(ledger)) for ledger in found if ledger is not None]


def _find(urls: Iterable[str], search: str, *, removed: bool) -> list[OptOut]:
    """Returns one entry more than the page shows if there are more. The latest come first."""
    part_of_phone = re.fullmatch(r"[\d\s().+-]*\d[\d\s().+-]*", search)
    text = re.sub(r"\D", "", search) if part_of_phone else search
    try:
        phone: str | None = to_e164(search, REGION)
    except PhoneProblem:
        phone = None
    with _opened(urls, open_for_reading) as ledgers:
        found = {
            entry: None
            for ledger in ledgers
            for entry in find_opt_outs(ledger, text, phone, removed=removed, most=_SHOWN + 1)
        }
    return sorted(found, key=lambda entry: entry.added_at, reverse=True)[: _SHOWN + 1]


def _in_each(urls: Ledgers, change: Callable[[Ledger], int]) -> list[int]:
    """Makes a change in every ledger, also after one in which it fails. Returns how many entries each changed.

    Raises `PartlyDoneError` if only some were changed, or another `BatchsendError` if none was.
    """
    done: dict[str, int] = {}
    errors: dict[str, BatchsendError] = {}
    with _opened(urls, open_ledger) as ledgers:
        for url, ledger in zip(urls, ledgers, strict=True):
            try:
                done[url] = change(ledger)
            except BatchsendError as error:
                errors[url] = error
    if errors and not done:
        raise next(iter(errors.values()))
    if errors:
        saved, left = (in_quotes(stem for url in some for stem in urls[url]) for some in (done, errors))
        raise PartlyDoneError(
            f"This is saved for the campaigns {saved}, but NOT for {left}: {next(iter(errors.values())).on_page}\n"
            f"Do it again once that is fixed. What is saved already stays as it is."
        )
    return list(done.values())


def _add(
    urls: Ledgers, requests: Sequence[OptOutRequest], source: OptOutSource, person: Person
) -> tuple[int, int]:
    """Adds people to all ledgers. Returns how many are new, and how many were known already."""
    moment = now()
    added = max(_in_each(urls, lambda ledger: add_opt_outs(ledger, requests, source, person, moment)))
    return added, len(requests) - added


def _current_of(urls: Iterable[str], customer: str, phone: str) -> list[OptOut]:
    with _opened(urls, open_for_reading) as ledgers:
        found = {
            entry: None
            for ledger in ledgers
            for entry in opt_outs_of(ledger, customer_uuid=customer or None, phone=phone or None)
            if entry.removed_at is None
        }
    return list(found)


def _remove(urls: Ledgers, customer: str, phone: str, reason: str, person: Person) -> int:
    """Removes the entries that name this customer or this phone. Returns how many."""
    moment = now()

    def remove_from(ledger: Ledger) -> int:
        named = {"customer_uuid": customer or None, "phone": phone or None}
        return len(remove_opt_outs(ledger, **named, because=reason, person=person, moment=moment))

    return sum(_in_each(urls, remove_from))


# These run in the process that reads lists.


def read_into(urls: Ledgers, path: Path, person: Person) -> Imported:
    """Adds the people in a file. Raises `ListError` for a file that has no usable row."""
    from batchsend.planning.optout_files import opt_out_requests, read_usable_opt_outs
    from batchsend.planning.suppression import notes_on

    found = read_usable_opt_outs(path, REGION)
    requests = [request for row in found.rows for request in opt_out_requests(row, f"from {path.name}")]
    added, known = _add(urls, requests, OptOutSource.IMPORTED, person)
    return Imported(added, known, list(notes_on(found)), found.lost)


def write_export(urls: Iterable[str], path: Path) -> tuple[Path, int]:
    """Writes the list. Returns its path, which differs from `path` if that is open in another program.

    And how many entries are not in it, because they count only for a sandbox.
    """
    from batchsend.reports.list_file import write_opt_outs

    with _opened(urls, open_for_reading) as ledgers:
        entries = list({entry: None for ledger in ledgers for entry in opt_outs(ledger)})
    everywhere = [entry for entry in entries if not entry.base_url]
    return write_opt_outs(path, everywhere), len(entries) - len(everywhere)
