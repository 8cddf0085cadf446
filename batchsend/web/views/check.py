"""The check page: the dry run, and the form that sends all texts, the first ten, a test or a rehearsal.

A check is good for one start of sending: the job that sends has the check's name, so a second click finds the first.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.ledger.runs import starts_of
from batchsend.planning.list_checks import API_UUID
from batchsend.reports.advice import advise
from batchsend.web.auth.middleware import local_path, session
from batchsend.web.folder import CampaignFile, NotFoundError
from batchsend.web.jobs.confirmation import FIRST
from batchsend.web.jobs.registry import JOBS, JobRequest, JobState, environment_of
from batchsend.web.queries import campaign_ledger
from batchsend.web.rendering import page, part, trusted
from batchsend.web.senders import TESTER, Senders
from batchsend.web.steps import CHECK
from batchsend.web.views.approval import approval_of_check
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING
from batchsend.web.views.list_reading import page_before
from batchsend.web.views.opening import campaign_file_of, usable_campaign
from batchsend.web.views.step_page import checked_steps, open_step, steps_of

_NONCE = re.compile(r"[A-Za-z0-9_-]{4,32}")
_CUSTOMER_COOKIE = "batchsend-test-customer"
SENT, TRIAL, REHEARSAL = "sent", "trial", "rehearsal"


@dataclass(frozen=True)
class _Check:
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
    raise web.HTTPSeeOther(f"{await _present(request)}#question")


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
        # Something has changed since, and another check has taken its place.
        file = await asyncio.to_thread(campaign_file_of, request)
        return web.Response(headers={"HX-Redirect": f"{file.url}/check"})
    run = await asyncio.to_thread(_run_of, request, state)
    if state.is_over or run is not None:
        return web.Response(headers={"HX-Refresh": "true"})
    return web.Response(text=part("working.html.j2", state=state), content_type="text/html")


async def cancel(request: web.Request) -> web.Response:
    """Ends a check that is under way, and leads back to where the user was."""
    check = await asyncio.to_thread(_check, request)
    await request.app[JOBS].cancel(check.name)
    raise web.HTTPSeeOther(local_path(str((await request.post()).get("back", ""))))


async def _page(request: web.Request, *, problem: str | None = None, typed: str = "") -> web.Response:
    check = await asyncio.to_thread(_check, request)
    jobs = request.app[JOBS]
    state = await asyncio.to_thread(jobs.state, check.name)
    if not state.is_over:
        return await _wait(request, check, state, "Checking the campaign", "Nothing is sent by a check.")
    if state.lost or state.message:
        message = state.message or "The check's process was stopped before it was done. Check again."
        return await _check_page(
            request,
            check,
            "check_failed.html.j2",
            message=message,
            can_start_anew=bool(state.facts.get("can_start_anew")),
        )
    header, main, data = json.loads(await asyncio.to_thread(jobs.html, check.name))
    return await _check_page(
        request,
        check,
        "check.html.j2",
        status=400 if problem else 200,
        header=trusted(header),
        main=trusted(main),
        data=trusted(data),
        facts=state.facts,
        checked=state.facts["checked"],
        approval=await asyncio.to_thread(approval_of_check, request, check.file, check.campaign, check.name),
        problem=problem,
        typed=typed,
        first=FIRST,
        used=await asyncio.to_thread(jobs.is_used, f"{check.name}.{SENT}"),
        nonce=secrets.token_urlsafe(8),
        customer=request.cookies.get(_CUSTOMER_COOKIE, ""),
        testers=(await asyncio.to_thread(Senders(request.app[FOLDER].state).known))[TESTER],
    )


async def send(request: web.Request) -> web.Response:
    """Starts sending, once, if the number that the user typed is right."""
    check = await asyncio.to_thread(_check, request)
    jobs = request.app[JOBS]
    state = await asyncio.to_thread(jobs.state, check.name)
    if await asyncio.to_thread(jobs.is_used, f"{check.name}.{SENT}"):
        raise web.HTTPSeeOther(f"{check.url}/{SENT}")
    if not state.is_over or state.lost or state.message:
        raise web.HTTPSeeOther(check.url)
    form = await request.post()
    checked = state.facts["checked"]
    first = form.get("choice") == "first"
    texts = checked["first_texts"] if first else checked["texts"]
    typed = str(form.get("number", ""))
    approval = await asyncio.to_thread(approval_of_check, request, check.file, check.campaign, check.name)
    if approval is not None and not approval.may_send:
        return await _page(
            request, problem="Nothing was sent: another person must approve these texts.", typed=typed
        )
    if problem := _refusal(state, texts, typed, sure=form.get("sure") == "yes"):
        return await _page(request, problem=problem, typed=typed)
    raise await _start(
        request,
        check,
        SENT,
        kind="send",
        resend=check.request.resend,
        new_campaign=check.request.new_campaign,
        limit=FIRST if first else None,
        checked=checked,
    )


def _refusal(state: JobState, texts: int, typed: str, *, sure: bool) -> str | None:
    if state.facts["refused"]:
        return "Nothing was sent: fix the problems below first."
    if not texts:
        return "Nothing was sent: there is nothing to send."
    number = re.sub(r"[\s,.'’]", "", typed)
    if number != str(texts):
        answer = f'"{typed.strip()[:20]}"' if typed.strip() else "nothing"
        return f"Nothing was sent: you typed {answer}. To send, type {texts}."
    if state.facts["checked"]["again_unconfirmed"] and not sure:
        return "Nothing was sent: confirm that you have looked these customers up in myKaarma."
    return None


async def sent(request: web.Request) -> web.Response:
    """Leads to the page of the run that was started, as soon as there is one."""
    check = await asyncio.to_thread(_check, request)
    state = await asyncio.to_thread(request.app[JOBS].state, f"{check.name}.{SENT}")
    number = await asyncio.to_thread(_run_of, request, state)
    if number is not None:
        raise web.HTTPSeeOther(f"{check.file.url}/run/{number}")
    if not state.is_over:
        reassurance = (
            "Everything is read again and compared with what you saw. You can close this page; it continues."
        )
        return await _wait(request, check, state, "About to send", reassurance, SENT)
    return await _check_page(
        request,
        check,
        "not_sent.html.j2",
        changed=bool(state.facts.get("changed")),
        sentences=state.message.splitlines(),
    )


async def trial(request: web.Request) -> web.Response:
    """Sends one text to the user."""
    check = await asyncio.to_thread(_check, request)
    form = await request.post()
    customer, new, row, name = (
        str(form.get(field, "")).strip() for field in ("customer", "new_customer", "row", "tester")
    )
    customer = customer or new
    if not API_UUID.fullmatch(customer):
        return await _page(
            request,
            problem="No test was sent: copy your own customer id from myKaarma exactly.",
        )
    if row and not (row.isdecimal() and int(row[:9]) > 1):
        return await _page(request, problem=f'No test was sent: the list has no row "{row[:20]}".')
    if name:
        async with request.app[CHANGING]:
            await asyncio.to_thread(Senders(request.app[FOLDER].state).keep, TESTER, customer, name)
    response = await _start(
        request,
        check,
        f"{TRIAL}-{_nonce(str(form.get('nonce', '')))}",
        kind="trial",
        customer=customer,
        row=int(row[:9]) if row else None,
    )
    response.set_cookie(
        _CUSTOMER_COOKIE,
        customer,
        httponly=True,
        samesite="Strict",
        max_age=180 * 86400,
        path="/campaign",
    )
    raise response


async def rehearse(request: web.Request) -> web.Response:
    """Starts a rehearsal with the sandbox."""
    check = await asyncio.to_thread(_check, request)
    form = await request.post()
    raise await _start(
        request,
        check,
        f"{REHEARSAL}-{_nonce(str(form.get('nonce', '')))}",
        kind="rehearse",
        resend=check.request.resend,
        new_campaign=check.request.new_campaign,
    )


async def tested(request: web.Request) -> web.Response:
    """Shows the outcome of a test or a rehearsal."""
    check = await asyncio.to_thread(_check, request)
    what = request.match_info["what"]
    state = await asyncio.to_thread(request.app[JOBS].state, f"{check.name}.{what}")
    if not state.is_over:
        title = "Sending the test" if what.startswith(TRIAL) else "Rehearsing"
        return await _wait(request, check, state, title, "It isn't recorded.", what)
    status, codes = str(state.facts.get("status", "")), str(state.facts.get("codes", ""))
    return await _check_page(
        request,
        check,
        "tested.html.j2",
        state=state,
        is_trial=what.startswith(TRIAL),
        outcome=status,
        meaning=advise(status, codes).meaning if status else "",
    )


async def _start(
    request: web.Request, check: _Check, what: str, *, kind: str, **more: Any
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


async def _wait(
    request: web.Request, check: _Check, state: JobState, title: str, reassurance: str, what: str = ""
) -> web.Response:
    url = f"{check.url}/{what}" if what else check.url
    return await _check_page(
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


async def _check_page(
    request: web.Request, check: _Check, template: str, *, status: int = 200, **values: Any
) -> web.Response:
    steps = await asyncio.to_thread(checked_steps, request, check.name)
    return page(
        request,
        template,
        status=status,
        file=check.file,
        name=check.campaign.name,
        steps=steps,
        step=steps.titled(CHECK),
        check_url=check.url,
        resend=check.request.resend,
        **values,
    )


def _check(request: web.Request) -> _Check:
    """Returns the check that the address names. Raises `BatchsendError`."""
    file, campaign = usable_campaign(request)
    name = request.match_info["check"]
    return _Check(file, campaign, name, request.app[JOBS].check_of(name, file.path))


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


def _nonce(given: str) -> str:
    if not _NONCE.fullmatch(given):
        raise BatchsendError("This form is incomplete, and nothing was done. Reload the page.")
    return given


def _environment(request: web.Request) -> dict[str, str]:
    current = session(request)
    return environment_of(current.user, named=current.is_named)
