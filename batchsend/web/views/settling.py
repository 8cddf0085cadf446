"""Looking for a run's unconfirmed texts in myKaarma: the run's page begins it, and a page says what was found."""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.statuses import Status
from batchsend.web.auth.middleware import session
from batchsend.web.folder import NotFoundError
from batchsend.web.jobs.registry import JOBS, JobRequest, JobState, environment_of
from batchsend.web.live_runs import OUTCOME_WORDS
from batchsend.web.queries import RunRef
from batchsend.web.rendering import page, part
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.opening import run_ref

#: The kind of job, and the end of the pages' addresses.
SETTLE = "settle"
#: A name that the run's page has made, so that a second click finds the same job.
NAME = "[A-Za-z0-9_-]{16,32}"
_SETTLED = (Status.DELIVERED, Status.ACCEPTED, Status.UNDELIVERED)


async def begin(request: web.Request) -> web.Response:
    """Begins to look for the texts, in a process of its own."""
    run = await asyncio.to_thread(run_ref, request)
    name = await begin_job(request, SETTLE, str(run.file.path), run.number)
    raise web.HTTPSeeOther(f"{run.url}/{SETTLE}/{name}")


async def begin_job(request: web.Request, kind: str, campaign: str, run: int | None = None) -> str:
    """Begins a job that changes nothing in myKaarma. Returns its name, which the form's page has made."""
    name = str((await request.post()).get("name", ""))
    if not re.fullmatch(NAME, name):
        raise BatchsendError("This form is incomplete, and nothing was done. Go back, and reload the page.")
    current = session(request)
    job = JobRequest(kind, campaign, request.app[FOLDER].ledger, current.user, run=run)
    environment = environment_of(current.user, named=current.is_named)
    await asyncio.to_thread(request.app[JOBS].start, name, job, environment)
    return name


async def show(request: web.Request) -> web.Response:
    """Shows what was found, or that it is still looked for."""
    run = await asyncio.to_thread(run_ref, request)
    state = await asyncio.to_thread(_state, request, run)
    return page(
        request,
        "settled.html.j2",
        file=run.file,
        name=run.campaign.name,
        number=run.number,
        url=run.url,
        here=request.path,
        state=state,
        found=[
            (OUTCOME_WORDS[status], state.facts[status]) for status in _SETTLED if state.facts.get(status)
        ],
    )


async def progress(request: web.Request) -> web.Response:
    """Makes the browser load the page again once the job has ended."""
    run = await asyncio.to_thread(run_ref, request)
    state = await asyncio.to_thread(_state, request, run)
    if state.is_over:
        return web.Response(headers={"HX-Refresh": "true"})
    return web.Response(text=part("looking.html.j2"), content_type="text/html")


def _state(request: web.Request, run: RunRef) -> JobState:
    jobs, name = request.app[JOBS], request.match_info["job"]
    asked = jobs.request(name)
    if (asked.kind, asked.campaign, asked.run) != (SETTLE, str(run.file.path), run.number):
        raise NotFoundError("This page is no longer kept. Go back to the run.")
    return jobs.state(name)
