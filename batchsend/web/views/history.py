"""The history page: the texts to one customer or phone, from all ledgers that the folder's campaigns use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.ledger.attempts import Attempt, NamedCustomer, of_customer, of_name, of_phone
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading
from batchsend.ledger.optouts import OptOut, opt_outs_of
from batchsend.ledger.replies import StoredReply, replies_of
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
#: Customers with one name that it shows.
_PEOPLE = 50
#: Characters of a search.
_LONGEST = 130


@dataclass(frozen=True)
class Entry:
    """One text to the customer, its outcome in words, and what the customer answered."""

    attempt: Attempt
    status: str
    codes: str
    meaning: str
    replies: Sequence[StoredReply] = ()


@dataclass
class CustomerHistory:
    """What was found. `title`: the phone, customer id or name; `more`: earlier texts that are not shown.

    `replies`: texts from the customer that answer none of the entries. `people`: customers with this name, if it is
    no phone and no id of a customer. `is_one_customer`: the address names a customer or a phone, even if nothing was
    sent to them.
    """

    title: str = ""
    entries: list[Entry] = field(default_factory=list)
    more: int = 0
    opt_outs: list[OptOut] = field(default_factory=list)
    replies: list[StoredReply] = field(default_factory=list)
    people: list[NamedCustomer] = field(default_factory=list)
    more_people: bool = False
    problems: list[str] = field(default_factory=list)
    ledgers: int = 0
    is_one_customer: bool = False

    @property
    def is_known(self) -> bool:
        """Whether this is about one customer or phone."""
        return self.is_one_customer or bool(self.entries or self.opt_outs or self.replies)


async def show(request: web.Request) -> web.Response:
    """Shows the page, with what was found if there was a search."""
    customer = request.query.get("customer", "").strip()[:_LONGEST]
    search = customer or request.query.get("q", "").strip()[:_LONGEST]
    folder = request.app[FOLDER]
    history = await asyncio.to_thread(_history, folder, search, bool(customer)) if search else None
    return page(request, "history.html.j2", search=search, history=history)


def _history(folder: WebFolder, search: str, is_id: bool) -> CustomerHistory:
    customer, phone = (search, None) if is_id else _customer_or_phone(search)
    history = CustomerHistory(title=phone or search, is_one_customer=is_id or phone is not None)
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
    if history.is_known:
        history.people.clear()
    history.more_people = len(history.people) > _PEOPLE
    del history.people[_PEOPLE:]
    return history


def _add_ledger(history: CustomerHistory, url: str, customer: str | None, phone: str | None) -> None:
    """Adds what one ledger knows. Raises `BatchsendError`."""
    ledger = open_for_reading(url)
    if ledger is None:
        return
    history.ledgers += 1
    try:
        if customer is not None or phone is not None:
            _add_attempts(history, ledger, customer, phone)
            history.opt_outs += opt_outs_of(ledger, customer_uuid=customer, phone=phone)
        # A name can look like an id.
        if not history.is_known:
            history.people += of_name(ledger, history.title, _PEOPLE + 1)
    finally:
        ledger.close()


def _add_attempts(history: CustomerHistory, ledger: Ledger, customer: str | None, phone: str | None) -> None:
    found = of_phone(ledger, phone) if phone is not None else of_customer(ledger, customer or "")
    replies = replies_of(ledger, customer_uuid=customer, phone=phone)
    for attempt in found:
        status, codes = shown(attempt.status, attempt.codes)
        words = advise(status, codes).meaning
        place = attempt.run_id, attempt.row
        answers = [reply for reply in replies if (reply.run_id, reply.row) == place]
        history.entries.append(Entry(attempt, status, codes, words, answers))
    places = {(attempt.run_id, attempt.row) for attempt in found}
    history.replies += (reply for reply in replies if (reply.run_id, reply.row) not in places)


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
