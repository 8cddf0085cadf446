"""The pages that duplicate, rename and archive a campaign, and the archive."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.utils.timestamps import now
from batchsend.web.auth.middleware import session
from batchsend.web.campaign_files import archive, bring_back, duplicate, rename, shared_files
from batchsend.web.folder import ArchivedFile, CampaignFile, WebFolder
from batchsend.web.queries import campaign_ledger
from batchsend.web.rendering import page
from batchsend.web.start_choice import next_starts, start_words
from batchsend.web.views.campaigns import FOLDER, LatestRun, run_overview
from batchsend.web.views.editing import CHANGING, errors_of
from batchsend.web.views.opening import usable_campaign
from batchsend.web.views.step_page import draft_of, forget_draft, refuse

ARCHIVE = "/archive"


async def show_duplicate(request: web.Request) -> web.Response:
    """Asks for the copy's name and list."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    return _form(request, "campaign_duplicate.html.j2", file, campaign, f"{campaign.name} copy")


async def make_duplicate(request: web.Request) -> web.Response:
    """Copies the campaign and leads to the copy."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    name, list_ = str(form.get("name", "")).strip(), str(form.get("list", ""))
    if list_ not in ("own", "same"):
        raise refuse(request, form, {"list": "Choose the list of the copy."})
    try:
        async with request.app[CHANGING]:
            copy = await asyncio.to_thread(
                duplicate, request.app[FOLDER], file, name, same_list=list_ == "same"
            )
    except BatchsendError as error:
        raise refuse(request, form, errors_of(error, ["name"])) from error
    forget_draft(request)
    notice = (
        f"{name} is a copy of {campaign.name}, with a text of its own. It has no schedule and no history."
    )
    shared = await asyncio.to_thread(_shared, campaign, copy)
    if shared:
        notice += f" Both campaigns use the same files: {', '.join(path.name for path in shared)}."
    session(request).notify(notice)
    raise web.HTTPSeeOther(copy.url if list_ == "same" else f"{copy.url}/list")


def _shared(campaign: Campaign, copy: CampaignFile) -> list[Path]:
    return shared_files(campaign, copy.load())


async def show_rename(request: web.Request) -> web.Response:
    """Asks for the new name."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    return _form(request, "campaign_rename.html.j2", file, campaign, campaign.name)


async def save_name(request: web.Request) -> web.Response:
    """Gives the campaign another name."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    name = str(form.get("name", "")).strip()
    if name == campaign.name:
        raise refuse(request, form, {"name": "This is its name now. Type the new one."})
    try:
        async with request.app[CHANGING]:
            await asyncio.to_thread(rename, request.app[FOLDER], file, name)
    except BatchsendError as error:
        raise refuse(request, form, errors_of(error, ["name"])) from error
    forget_draft(request)
    session(request).notify(f"{campaign.name} is called {name} now. Everyone it texted before still counts.")
    raise web.HTTPSeeOther(file.url)


async def show_archiving(request: web.Request) -> web.Response:
    """Asks whether to archive the campaign."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    last = await asyncio.to_thread(_last_run, request.app[FOLDER], campaign)
    return _form(request, "campaign_archive.html.j2", file, campaign, campaign.name, last=last)


async def put_away(request: web.Request) -> web.Response:
    """Archives the campaign."""
    file, campaign = await asyncio.to_thread(usable_campaign, request)
    try:
        async with request.app[CHANGING]:
            await asyncio.to_thread(archive, request.app[FOLDER], file)
    except BatchsendError as error:
        raise refuse(request, {}, {"": error.on_page}) from error
    session(request).notify(f"{campaign.name} is in the archive now. You can bring it back at any time.")
    raise web.HTTPSeeOther("/")


@dataclass(frozen=True)
class Archived:
    """A campaign in the archive. `problem`: why it cannot be read."""

    file: ArchivedFile
    name: str
    problem: str | None = None
    last: LatestRun | None = None


async def show_archive(request: web.Request) -> web.Response:
    """Lists the archived campaigns."""
    folder = request.app[FOLDER]
    found = await asyncio.to_thread(lambda: [_archived(folder, file) for file in folder.archived()])
    return page(request, "archive.html.j2", campaigns=found)


def _archived(folder: WebFolder, file: ArchivedFile) -> Archived:
    try:
        campaign = file.load()
        return Archived(file, campaign.name, last=_last_run(folder, campaign))
    except BatchsendError as error:
        return Archived(file, file.stem, problem=error.on_page)


async def show_return(request: web.Request) -> web.Response:
    """Asks whether to bring a campaign back."""
    file, campaign = await asyncio.to_thread(_archived_campaign, request)
    return _form(
        request,
        "archived_campaign.html.j2",
        file,
        campaign,
        campaign.name,
        schedule=start_words(campaign.schedule) if campaign.schedule is not None else "",
        starts=next_starts(campaign, now(), 1),
    )


async def put_back(request: web.Request) -> web.Response:
    """Brings a campaign back."""
    file, campaign = await asyncio.to_thread(_archived_campaign, request)
    try:
        async with request.app[CHANGING]:
            present = await asyncio.to_thread(bring_back, request.app[FOLDER], file)
    except BatchsendError as error:
        raise refuse(request, {}, {"": error.on_page}) from error
    session(request).notify(f"{campaign.name} is back.")
    raise web.HTTPSeeOther(present.url)


def _archived_campaign(request: web.Request) -> tuple[ArchivedFile, Campaign]:
    names = request.match_info
    file = request.app[FOLDER].archived_campaign(names["folder"], names["stem"])
    return file, file.load()


def _form(
    request: web.Request, template: str, file: CampaignFile, campaign: Campaign, name: str, **values: Any
) -> web.Response:
    draft = draft_of(request)
    return page(
        request,
        template,
        file=file,
        campaign=campaign,
        name=campaign.name,
        values={"name": name, "list": "", **draft.typed},
        errors=draft.errors,
        **values,
    )


def _last_run(folder: WebFolder, campaign: Campaign) -> LatestRun | None:
    with campaign_ledger(folder, campaign) as found:
        runs = found.runs() if found is not None else []
        return run_overview(found, runs[0], sending=False) if found is not None and runs else None
