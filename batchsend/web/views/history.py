"""Who got what, by customer or phone, over all campaigns of the folder's ledgers."""

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
from batchsend.planning.row_judge import API_UUID
from batchsend.reports.advice import advise
from batchsend.reports.pages.groups import shown
from batchsend.runs.api import prepare
from batchsend.web.folder import WebFolder
from batchsend.web.rendering import page
from batchsend.web.views.campaigns import FOLDER

#: Texts to one customer that are shown, the latest ones.
_SHOWN = 200
_LONGEST = 130


@dataclass(frozen=True)
class Entry:
    """One attempt to text somebody, and what became of it in words."""

    evidence: Attempt
    status: str
    codes: str
    meaning: str


@dataclass
class PersonHistory:
    """What is known of somebody. `said`: whom it is about; `problem`: why that cannot be looked up."""

    said: str = ""
    entries: list[Entry] = field(default_factory=list)
    more: int = 0
    wishes: list[OptOut] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    ledgers: int = 0


async def show(request: web.Request) -> web.Response:
    """The page, with an answer where something was asked."""
    asked = request.query.get("q", "").strip()[:_LONGEST]
    folder = request.app[FOLDER]
    answer = await asyncio.to_thread(_answer, folder, asked) if asked else None
    return page(request, "history.html.j2", asked=asked, answer=answer)


def _answer(folder: WebFolder, asked: str) -> PersonHistory:
    customer, phone = _meant(asked)
    answer = PersonHistory(said=phone or customer or asked)
    if customer is None and phone is None:
        answer.problems.append(
            f'"{asked}" is neither a phone nor a customer id of myKaarma (1 to 128 letters, digits, "-" and "_").'
        )
        return answer
    urls, problems = _ledger_urls(folder)
    answer.problems += problems
    for url in urls:
        try:
            ledger = open_for_reading(url)
        except BatchsendError as error:
            answer.problems.append(str(error))
            continue
        if ledger is None:
            continue
        answer.ledgers += 1
        try:
            _look(ledger, customer, phone, answer)
        except BatchsendError as error:
            answer.problems.append(str(error))
        finally:
            ledger.close()
    answer.entries.sort(key=lambda one: one.evidence.sent_at or "", reverse=True)
    answer.more = max(0, len(answer.entries) - _SHOWN)
    del answer.entries[_SHOWN:]
    return answer


def _look(ledger: Ledger, customer: str | None, phone: str | None, answer: PersonHistory) -> None:
    found = of_phone(ledger, phone) if phone is not None else of_customer(ledger, customer or "")
    for one in found:
        status, codes = shown(one.status, one.codes)
        answer.entries.append(Entry(one, status, codes, advise(status, codes).meaning))
    answer.wishes += opt_outs_of(ledger, customer_uuid=customer, phone=phone)


def _meant(asked: str) -> tuple[str | None, str | None]:
    """A customer's id, or a phone as E.164; an id of digits alone may look like a phone, and is one then."""
    try:
        return None, to_e164(asked, "US")
    except PhoneProblem:
        return (asked, None) if API_UUID.fullmatch(asked) else (None, None)


def _ledger_urls(folder: WebFolder) -> tuple[list[str], list[str]]:
    """The ledgers of the folder's campaigns, each once, and what is wrong with campaigns that do not tell theirs."""
    urls: dict[str, None] = {}
    problems = []
    for file in folder.campaigns():
        try:
            urls[prepare(file.load(), ledger=folder.ledger).ledger_url] = None
        except BatchsendError as error:
            problems.append(str(error))
    return list(urls), problems
