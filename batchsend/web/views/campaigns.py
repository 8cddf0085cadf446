"""The first page: all campaigns with their last runs and next starts, and the form for a new one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from aiohttp import web

from batchsend.campaigns.campaign import times_of
from batchsend.campaigns.sample import write_sample
from batchsend.errors import BatchsendError
from batchsend.ledger.approvals import Approval
from batchsend.ledger.ledger import RunRecord
from batchsend.reports.pages.charts import Share
from batchsend.statuses import Tally
from batchsend.utils.timestamps import now, to_text
from batchsend.web.auth.middleware import session
from batchsend.web.folder import CampaignFile, WebFolder
from batchsend.web.live_runs import bar_of
from batchsend.web.queries import ActiveRuns, CampaignLedger, campaign_ledger, open_approval
from batchsend.web.rendering import page
from batchsend.web.scheduler import SCHEDULER

FOLDER = web.AppKey("folder", WebFolder)
ACTIVE_RUNS = web.AppKey("active", ActiveRuns)


@dataclass(frozen=True)
class LatestRun:
    """A run in a list. `began`: UTC text; `bar`: the shares of its rows."""

    number: int
    began: str
    tally: Tally
    sending: bool
    bar: list[Share]


@dataclass(frozen=True)
class CampaignOverview:
    """A campaign in the list.

    `problem`: why it cannot be used; `next_start`: UTC text; `approval`: a request that waits for an answer.
    """

    file: CampaignFile
    name: str
    department: str
    problem: str | None = None
    last: LatestRun | None = None
    next_start: str | None = None
    approval: Approval | None = None


def run_overview(found: CampaignLedger, run: RunRecord, *, sending: bool) -> LatestRun:
    """Returns a run as lists show it."""
    tally = Tally.of(found.ledger.counts(run.id), sending=sending)
    return LatestRun(run.id, run.created_at, tally, sending, bar_of(tally))


async def show(request: web.Request) -> web.Response:
    """Shows the campaigns."""
    return await _page(request)


async def create(request: web.Request) -> web.Response:
    """Creates a campaign from the sample."""
    folder = request.app[FOLDER]
    name = str((await request.post()).get("name", "")).strip()
    try:
        created = await asyncio.to_thread(_create, folder, name)
    except BatchsendError as error:
        return await _page(request, name=name, problem=error.on_page)
    session(request).notify(
        f"{created.stem} was created from the sample. Now add your own list, text and sender."
    )
    raise web.HTTPSeeOther(created.url)


def _create(folder: WebFolder, name: str) -> CampaignFile:
    path = write_sample(name, folder.new_folder)[0]
    return next(file for file in folder.campaigns() if file.path == path)


async def _page(request: web.Request, *, name: str = "", problem: str | None = None) -> web.Response:
    folder, active = request.app[FOLDER], request.app[ACTIVE_RUNS]
    found = await asyncio.to_thread(lambda: [_overview(folder, active, file) for file in folder.campaigns()])
    return page(
        request,
        "campaigns.html.j2",
        status=400 if problem else 200,
        campaigns=found,
        name=name,
        problem=problem,
        scheduler=await asyncio.to_thread(request.app[SCHEDULER].state),
    )


def _overview(folder: WebFolder, active: ActiveRuns, file: CampaignFile) -> CampaignOverview:
    try:
        campaign = file.load()
    except BatchsendError as error:
        return CampaignOverview(file, file.stem, "", problem=error.on_page)
    starts_at = times_of(campaign).after(now()) if campaign.schedule is not None else None
    next_start = to_text(starts_at) if starts_at is not None else None
    department = campaign.department_label or ""
    shown = CampaignOverview(file, campaign.name, department, next_start=next_start)
    try:
        shown = replace(shown, approval=open_approval(folder, campaign))
        with campaign_ledger(folder, campaign) as found:
            runs = found.runs() if found is not None else []
            if found is None or not runs:
                return shown
            last = run_overview(found, runs[0], sending=active.is_sending(found, runs[0]))
            return replace(shown, last=last)
    except BatchsendError as error:
        return replace(shown, problem=error.on_page)
