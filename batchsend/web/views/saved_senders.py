"""The page below the step "Sender" on which saved departments, users and test recipients are renamed and removed."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.web.auth.middleware import session
from batchsend.web.auth.sessions import Draft
from batchsend.web.senders import DEPARTMENT, TESTER, USER, Senders
from batchsend.web.steps import SENDER, Page
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING
from batchsend.web.views.step_page import open_step, step_page

_TITLES = {DEPARTMENT: "Departments", USER: "Users", TESTER: "Who gets test texts"}
_LONGEST_NAME = 80


class Saved(NamedTuple):
    """One that was saved. `field`: the name of its field on the page."""

    kind: str
    id: str
    name: str
    field: str


async def show(request: web.Request) -> web.Response:
    """Shows everything that was saved, each with its name to change."""
    found, campaign = await open_step(request)
    known = await asyncio.to_thread(Senders(request.app[FOLDER].state).known)
    groups = {
        title: [
            Saved(kind, id_, name, f"{kind}-{number}")
            for number, (id_, name) in enumerate(known[kind].items())
        ]
        for kind, title in _TITLES.items()
    }
    return await step_page(
        request,
        found,
        campaign,
        SENDER,
        "saved_senders.html.j2",
        heading="Which names are saved here?",
        groups={title: saved for title, saved in groups.items() if saved},
    )


async def save(request: web.Request) -> web.Response:
    """Renames or removes one that was saved."""
    form = await request.post()
    kind, id_, name = (str(form.get(field, "")) for field in ("kind", "id", "name"))
    name = " ".join(name.split())
    senders = Senders(request.app[FOLDER].state)
    field = str(form.get("field", ""))
    async with request.app[CHANGING]:
        known = (await asyncio.to_thread(senders.known)).get(kind, {})
        if id_ not in known:
            raise BatchsendError("This one was removed meanwhile. Go back to see which are saved.")
        if "remove" in form:
            await asyncio.to_thread(senders.remove, kind, id_)
            session(request).notify(f"“{known[id_]}” is removed. Campaigns that use it keep it.")
            raise web.HTTPSeeOther(request.rel_url.raw_path)
        if problem := _problem(name):
            session(request).keep(request.path, Draft({field: name}, {field: problem}))
        else:
            await asyncio.to_thread(senders.keep, kind, id_, name)
            session(request).notify(f"“{known[id_]}” is now called “{name}”.")
    raise web.HTTPSeeOther(request.rel_url.raw_path)


def _problem(name: str) -> str | None:
    if not name:
        return "Enter a name. To forget it, choose Remove."
    if len(name) > _LONGEST_NAME or not name.isprintable():
        return f"Enter a name of at most {_LONGEST_NAME} characters."
    return None


PAGES = (Page("GET", "/saved", show), Page("POST", "/saved", save))
