"""The history page: the texts to one customer or phone, from all ledgers that the folder's campaigns use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.ledger.attempts import Attempt, of_customer, of_phone
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading
from batchsend.ledger.optouts import OptOut, opt_outs_of
from batchsend.messages.phones import PhoneProblem, to_e164
from batchsend.planning.list_checks import API_UUID
from batchsend.reports.advice import advise
from batchsend.reports.pages.groups import shown
from batchsend.runs.api import prepare
from batchsend.web.folder import WebFolder
from batchsend.web.rendering import page
from batchsend.web.views.campaigns import FOLDER

#: Texts that the page shows, the latest ones.
_SHOWN = 200
#: Characters of a search.
_LONGEST = 130


@dataclass(frozen=True)
class Entry:
    """One text to the customer, and its outcome in words."""

    attempt: Attempt
    status: str
    codes: str
    meaning: str


@dataclass
class CustomerHistory:
    """What was found. `title`: the phone or customer id; `more`: earlier texts that are not shown."""

    title: str = ""
    entries: list[Entry] = field(default_factory=list)
    more: int = 0
    opt_outs: list[OptOut] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ledgers: int = 0


async def show(request: web.Request) -> web.Response:
    """Shows the page, with what was found if there was a search."""
    search = request.query.get("q", "").strip()[:_LONGEST]
    folder = request.app[FOLDER]
    history = await asyncio.to_thread(_history, folder, search) if search else None
    return page(request, "history.html.j2", search=search, history=history)


def _history(folder: WebFolder, search: str) -> CustomerHistory:
    customer, phone = _customer_or_phone(search)
    history = CustomerHistory(title=phone or customer or search)
    if customer is None and phone is None:
        history.problems.append(
            f'"{search}" is neither a phone number nor a myKaarma customer id (1 to 128 letters, digits, "-", "_").'
        )
        return history
    urls, problems = _ledger_urls(folder)
    history.problems += problems
    for url in urls:
        try:
            _add_ledger(history, url, customer, phone)
        except BatchsendError as error:
            history.problems.append(error.on_page)
    history.entries.sort(key=lambda entry: entry.attempt.sent_at or "", reverse=True)
    history.more = max(0, len(history.entries) - _SHOWN)
    del history.entries[_SHOWN:]
    return history


def _add_ledger(history: CustomerHistory, url: str, customer: str | None, phone: str | None) -> None:
    """Adds what one ledger knows. Raises `BatchsendError`."""
    ledger = open_for_reading(url)
    if ledger is None:
        return
    history.ledgers += 1
    try:
        _add_attempts(history, ledger, customer, phone)
        history.opt_outs += opt_outs_of(ledger, customer_uuid=customer, phone=phone)
    finally:
        ledger.close()


def _add_attempts(history: CustomerHistory, ledger: Ledger, customer: str | None, phone: str | None) -> None:
    found = of_phone(ledger, phone) if phone is not None else of_customer(ledger, customer or "")
    for attempt in found:
        status, codes = shown(attempt.status, attempt.codes)
        words = advise(status, codes).meaning
        history.entries.append(Entry(attempt, status, codes, words))


def _customer_or_phone(search: str) -> tuple[str | None, str | None]:
    """Returns the customer id or the phone as E.164. Digits that could be either are a phone."""
    try:
        return None, to_e164(search, "US")
    except PhoneProblem:
        return (search, None) if API_UUID.fullmatch(search) else (None, None)


def _ledger_urls(folder: WebFolder) -> tuple[list[str], list[str]]:
    """Returns the ledgers of the folder's campaigns, each once, and the problems of campaigns that cannot be read."""
    urls: dict[str, None] = {}
    problems = []
    for file in folder.campaigns():
        try:
            urls[prepare(file.load(), ledger=folder.ledger).ledger_url] = None
        except BatchsendError as error:
            problems.append(error.on_page)
    return list(urls), problems
