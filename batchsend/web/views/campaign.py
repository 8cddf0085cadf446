"""The page of a campaign: its steps with their states, the next thing to do, and its runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.ledger.approvals import Approval
from batchsend.utils.timestamps import now
from batchsend.web.folder import WebFolder
from batchsend.web.queries import ActiveRuns, campaign_ledger, open_approval
from batchsend.web.rendering import page
from batchsend.web.scheduler import SCHEDULER
from batchsend.web.start_choice import next_start_words, start_words
from batchsend.web.views.campaigns import ACTIVE_RUNS, FOLDER, LatestRun, run_overview
from batchsend.web.views.opening import open_campaign
from batchsend.web.views.step_page import steps_of

#: Runs that the page shows, the latest ones.
_RUNS = 8


async def show(request: web.Request) -> web.Response:
    """Shows the page, even of a campaign file with errors."""
    folder = request.app[FOLDER]
    found = await asyncio.to_thread(open_campaign, request)
    campaign, outside, steps = found.campaign, None, None
    if campaign is not None:
        try:
            await asyncio.to_thread(folder.check, campaign)
            steps = await steps_of(request, found.file, campaign)
        except BatchsendError as error:
            outside = error.on_page
    sent = await asyncio.to_thread(_sent, folder, request.app[ACTIVE_RUNS], campaign)
    return page(
        request,
        "campaign.html.j2",
        file=found.file,
        campaign=campaign,
        name=campaign.name if campaign else found.file.stem,
        problems=found.problems,
        outside=outside,
        steps=steps,
        next_start=next_start_words(campaign, now()) if campaign is not None else None,
        missed=_missed(campaign, sent) if campaign is not None else "",
        scheduler=await asyncio.to_thread(request.app[SCHEDULER].state),
        approval=sent.approval if steps is not None else None,
        runs=sent.runs,
        ledger_problem=sent.problem,
    )


def _missed(campaign: Campaign, sent: _Sent) -> str:
    """Returns when a campaign was to start that was never sent and has no later start."""
    schedule = campaign.schedule
    if schedule is None or sent.runs or next_start_words(campaign, now()) is not None:
        return ""
    return start_words(schedule)


@dataclass
class _Sent:
    """What the ledger has of a campaign. `problem`: why that is not all."""

    runs: list[LatestRun] = field(default_factory=list)
    approval: Approval | None = None
    problem: str | None = None


def _sent(folder: WebFolder, active: ActiveRuns, campaign: Campaign | None) -> _Sent:
    sent = _Sent()
    if campaign is None:
        return sent
    try:
        with campaign_ledger(folder, campaign) as found:
            if found is None:
                return sent
            sent.approval = open_approval(found, campaign)
            for run in found.runs()[:_RUNS]:
                # Only the latest run can be under way.
                sending = not sent.runs and active.is_sending(found, run)
                sent.runs.append(run_overview(found, run, sending=sending))
    except BatchsendError as error:
        sent.problem = error.on_page
    return sent
