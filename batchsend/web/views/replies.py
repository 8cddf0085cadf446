"""The page "Replies": what customers answered, first those that wait for a decision, with the buttons to decide.

The campaigns of a folder can use several ledgers. A person who opts out does so for all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NamedTuple

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.optouts import EVERYWHERE, OptOutSource, Person, add_opt_outs, remove_opt_outs
from batchsend.ledger.replies import StoredReply, latest_replies
from batchsend.ledger.reply_recording import Decision, decide
from batchsend.messages.stop_words import Meaning
from batchsend.utils.timestamps import now
from batchsend.web.auth.middleware import person_of, session
from batchsend.web.folder import NotFoundError
from batchsend.web.jobs.registry import JOBS, JobState
from batchsend.web.queries import ledgers_of
from batchsend.web.rendering import page, part
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.settling import begin_job

PATH = "/replies"
#: The kind of job that looks for replies, and its page's address.
REPLIES, LOOK = "replies", f"{PATH}/look"
#: Replies that the page shows.
_SHOWN = 200
_DONE = {
    Decision.OPT_OUT: "Opted out. From now on, no campaign texts them.",
    Decision.LEAVE: "Left as it is. Nothing was changed.",
    Decision.REMOVE: (
        "Removed from the opt-outs. Campaigns may text them again. myKaarma keeps its own opt-outs: if it still "
        "refuses texts to them, remove the opt-out there too."
    ),
}


class ShownReply(NamedTuple):
    """A reply on the page. `place` names its ledger in forms."""

    place: str
    reply: StoredReply

    @property
    def choices(self) -> tuple[tuple[Decision, str], ...]:
        """The buttons: decision and label."""
        if self.reply.meaning == Meaning.START:
            return (Decision.REMOVE, "Remove from the opt-outs"), (Decision.LEAVE, "Leave them opted out")
        return (Decision.OPT_OUT, "Opt out"), (Decision.LEAVE, "Leave as it is")


async def show(request: web.Request) -> web.Response:
    """Shows the latest replies, those that wait for a decision first."""
    found, ledgers = await asyncio.to_thread(_latest, request)
    waiting = [one for one in found if one.reply.needs_you]
    others = sorted(
        (one for one in found if not one.reply.needs_you), key=lambda one: one.reply.received_at, reverse=True
    )
    return page(
        request,
        "replies.html.j2",
        waiting=waiting,
        others=others[:_SHOWN],
        more=len(others) > _SHOWN,
        name=request.app[JOBS].new_name(),
        several=ledgers > 1,
    )


async def save(request: web.Request) -> web.Response:
    """Records a decision."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    person = person_of(request)
    notice = await asyncio.to_thread(_save, request, form, person)
    session(request).notify(notice)
    raise web.HTTPSeeOther(PATH)


async def look(request: web.Request) -> web.Response:
    """Begins to look for new replies in myKaarma, in a process of its own."""
    name = await begin_job(request, REPLIES, str(request.app[FOLDER].root))
    raise web.HTTPSeeOther(f"{LOOK}/{name}")


async def looked(request: web.Request) -> web.Response:
    """Shows which replies were found, or that they are still looked for."""
    return page(
        request,
        "replies_found.html.j2",
        here=request.path,
        state=await asyncio.to_thread(_job_state, request),
    )


async def look_progress(request: web.Request) -> web.Response:
    """Shows how far the look is; makes the browser load the page again once it has ended."""
    state = await asyncio.to_thread(_job_state, request)
    if state.is_over:
        return web.Response(headers={"HX-Refresh": "true"})
    return web.Response(text=part("looking.html.j2", facts=state.facts), content_type="text/html")


# The functions below block.


def _job_state(request: web.Request) -> JobState:
    jobs, name = request.app[JOBS], request.match_info["job"]
    if jobs.request(name).kind != REPLIES:
        raise NotFoundError("This page is no longer kept. Go back to the replies.")
    return jobs.state(name)


def _ledgers(request: web.Request) -> Mapping[str, str]:
    """The ledgers of the folder's campaigns: name in forms -> URL."""
    urls = ledgers_of(request.app[FOLDER])
    return {hashlib.sha256(url.encode()).hexdigest()[:12]: url for url in urls}


def _latest(request: web.Request) -> tuple[list[ShownReply], int]:
    """The latest replies of all ledgers, and how many ledgers there are."""
    found: list[ShownReply] = []
    ledgers = _ledgers(request)
    for place, url in ledgers.items():
        ledger = open_for_reading(url)
        if ledger is not None:
            with closing(ledger):
                found += (ShownReply(place, reply) for reply in latest_replies(ledger, _SHOWN + 1))
    return found, len(ledgers)


def _save(request: web.Request, form: Mapping[str, str], person: Person) -> str:
    """Records a decision in its ledger, and changes the opt-outs of the others. Returns what was done."""
    ledgers, number = _ledgers(request), form.get("reply", "")
    url, decision = ledgers.get(form.get("place", "")), _decision(form.get("decision", ""))
    if url is None or decision is None or not number.isdecimal() or len(number) > 9:
        raise NotFoundError("There is no such reply. Go back to the replies.")
    with _opened(url) as ledger:
        reply = decide(ledger, int(number), decision, person, now())
    if reply is None:
        return "Somebody has decided about this reply already."
    others = [other for other in ledgers.values() if other != url]
    everywhere = [url, *others] if reply.scope == EVERYWHERE else [url]
    try:
        if decision is Decision.OPT_OUT:
            _opt_out(reply, everywhere[1:], person)
        elif decision is Decision.REMOVE:
            _remove(reply, everywhere, person)
    except BatchsendError as error:
        return (
            f"This is saved, but not for all campaigns: {error.on_page} Do it on the page Opt-outs as well."
        )
    return _DONE[decision]


def _decision(name: str) -> Decision | None:
    return Decision[name] if name in Decision.__members__ else None


def _opt_out(reply: StoredReply, urls: Iterable[str], person: Person) -> None:
    for url in urls:
        with _opened(url) as ledger:
            add_opt_outs(ledger, [reply.opt_out], OptOutSource.REPLY, person, now())


def _remove(reply: StoredReply, urls: Iterable[str], person: Person) -> None:
    request = reply.opt_out
    for url in urls:
        with _opened(url) as ledger:
            remove_opt_outs(
                ledger,
                customer_uuid=request.customer_uuid or None,
                phone=request.phone or None,
                because=reply.removal_reason,
                person=person,
                moment=now(),
            )


@contextmanager
def _opened(url: str) -> Iterator[Ledger]:
    with closing(open_ledger(url)) as ledger:
        yield ledger
