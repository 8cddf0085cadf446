"""The check page: the dry run, its downloads, and the way to the question before sending.

A check is good for one start of sending: the job that sends has the check's name, so a second click finds the first.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.ledger.runs import starts_of
from batchsend.reports.output_files import preview_path
from batchsend.web.auth.middleware import local_path, session
from batchsend.web.folder import CampaignFile, NotFoundError
from batchsend.web.jobs.check_files import LIST_FILE, PROBLEMS_FILE, write_as_read
from batchsend.web.jobs.confirmation import CheckedPlan, stops
from batchsend.web.jobs.reader_pool import READERS
from batchsend.web.jobs.registry import JOBS, JobRequest, JobState, environment_of
from batchsend.web.queries import campaign_ledger
from batchsend.web.rendering import download, page, part, trusted
from batchsend.web.steps import CHECK, SEND
from batchsend.web.views.approval import approval_of_check
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.list_reading import page_before
from batchsend.web.views.opening import campaign_file_of, usable_campaign
from batchsend.web.views.step_page import checked_steps, draft_of, open_step, steps_of

#: The page of the run that a check started, below the check's address.
SENT = "sent"


@dataclass(frozen=True)
class OpenCheck:
    """The check that a page's address names."""

    file: CampaignFile
    campaign: Campaign
    name: str
    request: JobRequest

    @property
    def url(self) -> str:
        return f"{self.file.url}/check/{self.name}"


async def show_present(request: web.Request) -> web.Response:
    """Leads to the check of the campaign as it is now."""
    raise web.HTTPSeeOther(await _present(request))


async def show_question(request: web.Request) -> web.Response:
    """Leads to the question of the check of the campaign as it is now."""
    raise web.HTTPSeeOther(f"{await _present(request)}/{SEND}")


async def _present(request: web.Request) -> str:
    found, campaign = await open_step(request)
    steps = await steps_of(request, found.file, campaign)
    if steps.check is None:
        raise web.HTTPSeeOther(found.file.url)
    return f"{found.file.url}/check/{steps.check}"


async def begin(request: web.Request) -> web.Response:
    """Starts a check."""
    file, _ = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    jobs = request.app[JOBS]
    name = jobs.new_name()
    job = JobRequest(
        kind="check",
        campaign=str(file.path),
        ledger=request.app[FOLDER].ledger,
        user=session(request).user,
        resend=str(form.get("resend", "")) or None,
        new_campaign=form.get("new_campaign") == "yes",
    )
    await asyncio.to_thread(jobs.delete_old)
    was_canceled = await asyncio.to_thread(jobs.forget_canceled, file.path)
    if was_canceled and job.resend is None and not job.new_campaign:
        raise web.HTTPSeeOther(f"{file.url}/check")
    await asyncio.to_thread(jobs.start, name, job, _environment(request))
    raise web.HTTPSeeOther(f"{file.url}/check/{name}")


async def show(request: web.Request) -> web.Response:
    """Shows the check: that it is under way, what it found, or why it failed."""
    return await _page(request)


async def progress(request: web.Request) -> web.Response:
    """Returns how far a job has come, as a part of a page. The page is loaded again once the job has ended."""
    jobs = request.app[JOBS]
    name = request.match_info["check"]
    if (what := request.match_info.get("what")) is not None:
        name = f"{name}.{what}"
    try:
        state = await asyncio.to_thread(jobs.state, name)
    except NotFoundError:
        state = None
    if state is None or state.was_canceled:
        # Something has changed since, and another check has taken its place.
        file = await asyncio.to_thread(campaign_file_of, request)
        return web.Response(headers={"HX-Redirect": f"{file.url}/check"})
    run = await asyncio.to_thread(_run_of, request, state)
    if state.is_over or run is not None:
        return web.Response(headers={"HX-Refresh": "true"})
    return web.Response(text=part("working.html.j2", state=state), content_type="text/html")


async def cancel(request: web.Request) -> web.Response:
    """Ends a check that is under way, and leads back to where the user was."""
    check = await open_check(request)
    await request.app[JOBS].cancel(check.name)
    raise web.HTTPSeeOther(local_path(str((await request.post()).get("back", ""))))


async def _page(request: web.Request) -> web.Response:
    check = await open_check(request)
    jobs = request.app[JOBS]
    state = await asyncio.to_thread(jobs.state, check.name)
    if not state.is_over:
        return await wait_page(request, check, state, "Checking the campaign", "Nothing is sent by a check.")
    if has_failed(state):
        message = state.message or "The check's process was stopped before it was done. Check again."
        return await check_page(
            request,
            check,
            "check_failed.html.j2",
            message=message,
            can_start_anew=bool(state.facts.get("can_start_anew")),
        )
    header, main, data = json.loads(await asyncio.to_thread(jobs.html, check.name))
    return await check_page(
        request,
        check,
        "check.html.j2",
        header=trusted(header),
        main=trusted(main),
        data=trusted(data),
        facts=state.facts,
        checked=state.facts["checked"],
        approval=await asyncio.to_thread(approval_of_check, request, check.file, check.campaign, check.name),
        used=await asyncio.to_thread(jobs.is_used, f"{check.name}.{SENT}"),
        outdated=await asyncio.to_thread(why_outdated, request, check, state),
        has_problem_rows=await asyncio.to_thread(jobs.file_of(check.name, PROBLEMS_FILE).is_file),
    )


def has_failed(state: JobState) -> bool:
    """Whether a check that is over has found nothing that could be sent."""
    return state.lost or bool(state.message)


def why_outdated(request: web.Request, check: OpenCheck, state: JobState) -> str | None:
    """Returns why nothing of a check may be sent any longer, in a sentence; `None` if it may. Blocks."""
    with campaign_ledger(request.app[FOLDER], check.campaign) as found:
        stopped = stops(found.runs()) if found is not None else []
    if not set(stopped) <= set(state.facts["checked"]["stopped_at"]):
        return "the campaign was stopped for good after this check. Check again."
    return None


async def workbook(request: web.Request) -> web.StreamResponse:
    """Downloads the workbook of a check, which has every text."""
    check, state = await complete_check(request)
    # It has another name if the usual one was open in Excel.
    usual = preview_path(check.campaign, None)
    path = usual.with_name(state.facts.get("workbook", usual.name))
    if await asyncio.to_thread(_saved_at, path) != state.facts["workbook_saved_at"]:
        raise BatchsendError(
            "A newer check has replaced this workbook. Check again, then download the new one."
        )
    return download(path, f"{check.campaign.stem}-check{path.suffix}")


def _saved_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


async def problem_rows(request: web.Request) -> web.StreamResponse:
    """Downloads the rows that cannot be sent, with the columns of the list."""
    check, _ = await complete_check(request)
    path = request.app[JOBS].file_of(check.name, PROBLEMS_FILE)
    if not await asyncio.to_thread(path.is_file):
        raise web.HTTPSeeOther(check.url)
    return download(path, f"{check.campaign.stem}-rows-to-correct{path.suffix}")


async def list_as_read(request: web.Request) -> web.StreamResponse:
    """Downloads the list as the check has read it."""
    check, state = await complete_check(request)
    path = request.app[JOBS].file_of(check.name, LIST_FILE)
    if not await asyncio.to_thread(path.is_file):
        checked, user = CheckedPlan(**state.facts["checked"]), session(request).user
        await request.app[READERS].run(user, write_as_read, check.file.path, checked, path)
    return download(path, f"{check.campaign.stem}-list-as-read{path.suffix}")


async def complete_check(request: web.Request) -> tuple[OpenCheck, JobState]:
    """Returns a check that has judged every row. Any other one leads to its page."""
    check = await open_check(request)
    state = await asyncio.to_thread(request.app[JOBS].state, check.name)
    if not state.is_over or has_failed(state):
        raise web.HTTPSeeOther(check.url)
    return check, state


async def sent(request: web.Request) -> web.Response:
    """Leads to the page of the run that was started, as soon as there is one."""
    check = await open_check(request)
    state = await asyncio.to_thread(request.app[JOBS].state, f"{check.name}.{SENT}")
    number = await asyncio.to_thread(_run_of, request, state)
    if number is not None:
        raise web.HTTPSeeOther(f"{check.file.url}/run/{number}")
    if not state.is_over:
        reassurance = (
            "Everything is read again and compared with what you saw. You can close this page; it continues."
        )
        return await wait_page(request, check, state, "About to send", reassurance, SENT)
    return await check_page(
        request,
        check,
        "not_sent.html.j2",
        step=SEND,
        changed=bool(state.facts.get("changed")),
        sentences=state.message.splitlines(),
    )


async def start_job(
    request: web.Request, check: OpenCheck, what: str, *, kind: str, **more: Any
) -> web.HTTPSeeOther:
    """Starts a job of a check, unless it was started before; returns the redirect to its page."""
    job = JobRequest(
        kind=kind,
        campaign=str(check.file.path),
        ledger=check.request.ledger,
        user=session(request).user,
        **more,
    )
    await asyncio.to_thread(request.app[JOBS].start, f"{check.name}.{what}", job, _environment(request))
    return web.HTTPSeeOther(f"{check.url}/{what}")


async def wait_page(
    request: web.Request, check: OpenCheck, state: JobState, title: str, reassurance: str, what: str = ""
) -> web.Response:
    """Shows how far a job of a check has come. `what`: its page below the check's address; "": the check itself."""
    url = f"{check.url}/{what}" if what else check.url
    return await check_page(
        request,
        check,
        "wait.html.j2",
        state=state,
        title=title,
        progress_url=f"{url}/progress",
        can_cancel=not what,
        before=page_before(request, check.file.url),
        reassurance=reassurance,
    )


async def check_page(
    request: web.Request, check: OpenCheck, template: str, *, step: str = CHECK, **values: Any
) -> web.Response:
    """Shows a page of a check. `step`: the name of the step that it belongs to."""
    steps = await asyncio.to_thread(checked_steps, request, check.name)
    draft = draft_of(request)
    return page(
        request,
        template,
        file=check.file,
        name=check.campaign.name,
        steps=steps,
        step=steps.titled(step),
        check_url=check.url,
        resend=check.request.resend,
        typed=draft.typed,
        errors=draft.errors,
        **values,
    )


async def open_check(request: web.Request) -> OpenCheck:
    """Returns the check that the address names. Raises `BatchsendError`."""
    return await asyncio.to_thread(_open_check, request)


def _open_check(request: web.Request) -> OpenCheck:
    file, campaign = usable_campaign(request)
    name = request.match_info["check"]
    return OpenCheck(file, campaign, name, request.app[JOBS].check_of(name, file.path))


def _run_of(request: web.Request, state: JobState) -> int | None:
    """Returns the number of the run that a job sends, as soon as the ledger has it."""
    facts = state.facts
    if facts.get("run") is not None:
        return int(facts["run"])
    if "last_start" not in facts:
        return None
    _, campaign = usable_campaign(request)
    try:
        with campaign_ledger(request.app[FOLDER], campaign) as found:
            if found is None:
                return None
            continues = facts["continues"]
            numbers = [int(continues)] if continues is not None else [run.id for run in found.runs()[:1]]
            for number in numbers:
                starts = starts_of(found.ledger, number)
                if starts and starts[-1]["id"] > facts["last_start"]:
                    return number
    except BatchsendError:
        return None
    return None


def _environment(request: web.Request) -> dict[str, str]:
    current = session(request)
    return environment_of(current.user, named=current.is_named)
