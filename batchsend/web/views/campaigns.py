"""The first page: all campaigns with their last runs and next starts, and the form for a new one."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass, replace

from aiohttp import web

from batchsend.campaigns.sample import file_stem, write_sample
from batchsend.errors import BatchsendError
from batchsend.ledger.approvals import Approval
from batchsend.ledger.dismissals import dismissals_of
from batchsend.ledger.ledger import RunRecord
from batchsend.ledger.runs import code_counts
from batchsend.planning.cost import RunCost, costs_of_runs
from batchsend.reports.pages.charts import Share
from batchsend.statuses import Status, Tally
from batchsend.utils.timestamps import now
from batchsend.web.auth.middleware import session
from batchsend.web.auth.sessions import Draft
from batchsend.web.campaign_files import refuse_used
from batchsend.web.folder import CampaignFile, WebFolder
from batchsend.web.live_runs import bar_of, by_status, sendable
from batchsend.web.queries import ActiveRuns, CampaignLedger, OpenLedgers, open_approval
from batchsend.web.rendering import page
from batchsend.web.run_state import RunState, read_state
from batchsend.web.scheduler import SCHEDULER
from batchsend.web.start_choice import next_start_words

FOLDER = web.AppKey("folder", WebFolder)
ACTIVE_RUNS = web.AppKey("active", ActiveRuns)


@dataclass(frozen=True)
class LatestRun:
    """A run in a list.

    `began`: UTC text; `attention`: rows that need it; `bar`: the shares of its rows; `cost`: of its texts, if known.
    """

    number: int
    began: str
    state: RunState
    tally: Tally
    attention: int
    bar: list[Share]
    cost: RunCost | None


@dataclass(frozen=True)
class CampaignOverview:
    """A campaign in the list.

    `problem`: why it cannot be used; `next_start`: in words; `approval`: a request that waits for an answer.
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
    codes = code_counts(found.ledger, run.id)
    counts = by_status(codes)
    tally = Tally.of(counts, sending=sending)
    dismissed = sum(one.rows for one in dismissals_of(found.ledger, [run.id]))
    waits = counts[Status.PENDING]
    state = read_state(found.ledger, run, waits, sendable(codes), sending=sending)
    bar = bar_of(tally, dismissed)
    cost = costs_of_runs(found.ledger, [run.id]).get(run.id)
    return LatestRun(run.id, run.created_at, state, tally, tally.needs_you - dismissed, bar, cost)


async def show(request: web.Request) -> web.Response:
    """Shows the campaigns."""
    folder, active = request.app[FOLDER], request.app[ACTIVE_RUNS]
    draft = session(request).drafts.pop("/", Draft())
    return page(
        request,
        "campaigns.html.j2",
        campaigns=await asyncio.to_thread(overviews, folder, active),
        archived=len(await asyncio.to_thread(folder.archived)),
        folder=folder.root,
        name=draft.typed.get("name", ""),
        problem=draft.errors.get("name"),
        scheduler=await asyncio.to_thread(request.app[SCHEDULER].state),
    )


async def create(request: web.Request) -> web.Response:
    """Creates a campaign from the sample."""
    folder = request.app[FOLDER]
    name = str((await request.post()).get("name", "")).strip()
    try:
        created = await asyncio.to_thread(_create, folder, name)
    except BatchsendError as error:
        session(request).keep("/", Draft({"name": name}, {"name": error.on_page}))
        raise web.HTTPSeeOther("/#name") from error
    session(request).notify(
        f"{created.stem} was created from the sample. Now add your own list, text and sender."
    )
    raise web.HTTPSeeOther(created.url)


def _create(folder: WebFolder, name: str) -> CampaignFile:
    stem = file_stem(name)
    refuse_used(folder, stem, except_=None)
    folder.refuse_list_of_others(folder.new_folder / f"{stem}.csv", None)
    path = write_sample(name, folder.new_folder)[0]
    return next(file for file in folder.campaigns() if file.path == path)


def overviews(folder: WebFolder, active: ActiveRuns) -> list[CampaignOverview]:
    """Returns the folder's campaigns, by name. Blocks."""
    with closing(OpenLedgers(folder)) as ledgers:
        return [_overview(ledgers, active, file) for file in folder.campaigns()]


def _overview(ledgers: OpenLedgers, active: ActiveRuns, file: CampaignFile) -> CampaignOverview:
    try:
        campaign = file.load()
    except BatchsendError as error:
        return CampaignOverview(file, file.stem, "", problem=error.on_page)
    department = campaign.department_label or ""
    shown = CampaignOverview(file, campaign.name, department, next_start=next_start_words(campaign, now()))
    try:
        found = ledgers.of(campaign)
        shown = replace(shown, approval=open_approval(found, campaign))
        runs = found.runs() if found is not None else []
        if found is None or not runs:
            return shown
        return replace(shown, last=run_overview(found, runs[0], sending=active.is_sending(found, runs[0])))
    except BatchsendError as error:
        return replace(shown, problem=error.on_page)
