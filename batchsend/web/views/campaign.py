"""The page of a campaign: its steps with their states, the next thing to do, and its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.web.folder import WebFolder
from batchsend.web.queries import ActiveRuns, campaign_ledger, open_approval
from batchsend.web.rendering import page
from batchsend.web.views.campaigns import ACTIVE_RUNS, FOLDER, LatestRun, run_overview
from batchsend.web.views.opening import open_campaign
from batchsend.web.views.step_page import steps_of

#: Runs that the page shows, the latest ones.
_RUNS = 8


async def show(request: web.Request) -> web.Response:
    """Shows the page, even of a campaign file with errors."""
    folder = request.app[FOLDER]
    found = await asyncio.to_thread(open_campaign, request)
    campaign, outside, steps, approval = found.campaign, None, None, None
    if campaign is not None:
        try:
            await asyncio.to_thread(folder.check, campaign)
            steps = await steps_of(request, found.file, campaign)
            approval = await asyncio.to_thread(open_approval, folder, campaign)
        except BatchsendError as error:
            outside = error.on_page
    runs, ledger_problem = await asyncio.to_thread(_runs, folder, request.app[ACTIVE_RUNS], campaign)
    return page(
        request,
        "campaign.html.j2",
        file=found.file,
        campaign=campaign,
        name=campaign.name if campaign else found.file.stem,
        problems=found.problems,
        outside=outside,
        steps=steps,
        approval=approval,
        runs=runs,
        ledger_problem=ledger_problem,
    )


def _runs(
    folder: WebFolder, active: ActiveRuns, campaign: Campaign | None
) -> tuple[Sequence[LatestRun], str | None]:
    if campaign is None:
        return [], None
    found: list[LatestRun] = []
    try:
        with campaign_ledger(folder, campaign) as opened:
            if opened is None:
                return [], None
            for run in opened.runs()[:_RUNS]:
                # Only the latest run can be under way.
                sending = not found and active.is_sending(opened, run)
                found.append(run_overview(opened, run, sending=sending))
    except BatchsendError as error:
        return found, error.on_page
    return found, None
