"""Check and send: the dry run's page, then the question; a test to oneself, the first ten, or all.

A check is good for one start of sending: its name is the start's, so that whoever asks twice finds the first one.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.ledger.runs import starts_of
from batchsend.planning.resend import check_resend
from batchsend.planning.row_judge import API_UUID
from batchsend.reports.advice import meaning
from batchsend.web.auth.middleware import session
from batchsend.web.folder import CampaignFile, NotFoundError
from batchsend.web.jobs.confirmation import FIRST
from batchsend.web.jobs.registry import JOBS, JobRequest, Jobs, State, environment_of, request_for
from batchsend.web.queries import campaign_ledger
from batchsend.web.rendering import page, part, trusted
from batchsend.web.views.campaign import usable_campaign
from batchsend.web.views.campaigns import FOLDER

_NONCE = re.compile(r"[A-Za-z0-9_-]{4,32}")
SENT, TRIAL, REHEARSAL = "sent", "trial", "rehearsal"


async def begin(request: web.Request) -> web.Response:
    """Begins a check."""
    file, _ = await asyncio.to_thread(usable_campaign, request)
    form = await request.post()
    resend = str(form.get("resend", "")) or None
    if resend is not None:
        check_resend(resend)
    folder, jobs = request.app[FOLDER], request.app[JOBS]
    name = jobs.new_name()
    asked = request_for(
        file,
        "check",
        folder.ledger,
        session(request).user,
        resend=resend,
        new_campaign=form.get("new_campaign") == "yes",
    )
    await asyncio.to_thread(jobs.forget_old)
    await asyncio.to_thread(jobs.start, name, asked, _environment(request))
    raise web.HTTPSeeOther(f"{file.url}/check/{name}")


async def show(request: web.Request) -> web.Response:
    """The check: that it goes on, what it found, or why it could not be done."""
    return await _page(request)


async def look(request: web.Request) -> web.Response:
    """How far a check, a start or a test has come: a part of a page that is loaded again at the end."""
    jobs = request.app[JOBS]
    name = request.match_info["check"]
    if (what := request.match_info.get("what")) is not None:
        name = f"{name}.{what}"
    state = await asyncio.to_thread(jobs.state, name)
    run = await asyncio.to_thread(_run_of, request, state)
    if state.is_over or run is not None:
        return web.Response(headers={"HX-Refresh": "true"})
    return web.Response(text=part("working.html.j2", state=state), content_type="text/html")


async def _page(request: web.Request, *, problem: str | None = None, typed: str = "") -> web.Response:
    file, campaign, jobs, name, asked = await asyncio.to_thread(_asked, request)
    state = await asyncio.to_thread(jobs.state, name)
    if not state.is_over:
        return page(
            request,
            "wait.html.j2",
            file=file,
            name=campaign.name,
            state=state,
            title="Checking the campaign",
            look=f"{file.url}/check/{name}/look",
            reassure="Nothing is sent by a check.",
        )
    if state.lost or state.said:
        said = state.said or "The check ended before it was done: its process was stopped. Check again."
        return page(
            request,
            "check_failed.html.j2",
            file=file,
            name=campaign.name,
            said=said,
            asked=asked,
            other_campaign="--new-campaign" in said,
        )
    header, main, data = json.loads(await asyncio.to_thread(jobs.html, name))
    return page(
        request,
        "check.html.j2",
        status=400 if problem else 200,
        file=file,
        name=campaign.name,
        header=trusted(header),
        main=trusted(main),
        data=trusted(data),
        facts=state.facts,
        asked=asked,
        checked=state.facts["checked"],
        check=name,
        problem=problem,
        typed=typed,
        first=FIRST,
        used=await asyncio.to_thread(jobs.is_used, f"{name}.{SENT}"),
        nonce=secrets.token_urlsafe(8),
        customer=request.cookies.get("batchsend-test-customer", ""),
    )


async def send(request: web.Request) -> web.Response:
    """The answer to the question: starts sending, once, if the number is right."""
    file, _, jobs, name, asked = await asyncio.to_thread(_asked, request)
    state = await asyncio.to_thread(jobs.state, name)
    url = f"{file.url}/check/{name}/{SENT}"
    if await asyncio.to_thread(jobs.is_used, f"{name}.{SENT}"):
        raise web.HTTPSeeOther(url)
    if not state.is_over or state.lost or state.said:
        raise web.HTTPSeeOther(f"{file.url}/check/{name}")
    form = await request.post()
    checked = state.facts["checked"]
    first = form.get("choice") == "first"
    texts = checked["first_texts"] if first else checked["texts"]
    typed = str(form.get("number", ""))
    if problem := _refusal(state, texts, typed, sure=form.get("sure") == "yes"):
        return await _page(request, problem=problem, typed=typed)
    start = request_for(
        file,
        "send",
        asked.ledger,
        session(request).user,
        resend=asked.resend,
        new_campaign=asked.new_campaign,
        limit=FIRST if first else None,
        checked=checked,
    )
    await asyncio.to_thread(jobs.start, f"{name}.{SENT}", start, _environment(request))
    raise web.HTTPSeeOther(url)


def _refusal(state: State, texts: int, typed: str, *, sure: bool) -> str | None:
    if state.facts["refused"]:
        return "Nothing was sent: what stands against it has to be put right first."
    if not texts:
        return "Nothing was sent: there is nothing to send."
    number = re.sub(r"[\s,.'’]", "", typed)
    if number != str(texts):
        said = f'"{typed.strip()[:20]}"' if typed.strip() else "nothing"
        return f"Nothing was sent: you typed {said}. To send, type {texts}."
    if state.facts["checked"]["again_unconfirmed"] and not sure:
        return "Nothing was sent: say that you have looked these customers up in myKaarma."
    return None


async def sent(request: web.Request) -> web.Response:
    """What has become of a start: its run's page as soon as there is one."""
    file, campaign, jobs, name, asked = await asyncio.to_thread(_asked, request)
    state = await asyncio.to_thread(jobs.state, f"{name}.{SENT}")
    number = await asyncio.to_thread(_run_of, request, state)
    if number is not None:
        raise web.HTTPSeeOther(f"{file.url}/run/{number}")
    if not state.is_over:
        return page(
            request,
            "wait.html.j2",
            file=file,
            name=campaign.name,
            state=state,
            title="About to send",
            look=f"{file.url}/check/{name}/{SENT}/look",
            reassure="All is read once more and compared with what you saw. You can close this page: it goes on.",
        )
    return page(
        request,
        "not_sent.html.j2",
        file=file,
        name=campaign.name,
        asked=asked,
        changed=bool(state.facts.get("changed")),
        said=state.said.splitlines(),
    )


async def trial(request: web.Request) -> web.Response:
    """One text to oneself."""
    file, _, jobs, name, asked = await asyncio.to_thread(_asked, request)
    form = await request.post()
    customer, row = str(form.get("customer", "")).strip(), str(form.get("row", "")).strip()
    if not API_UUID.fullmatch(customer):
        return await _page(
            request,
            problem="No test was sent: put in your own id as a customer of myKaarma, as it stands there.",
        )
    if row and not (row.isdecimal() and int(row[:9]) > 1):
        return await _page(request, problem=f'No test was sent: the list has no row "{row[:20]}".')
    start = request_for(
        file,
        "trial",
        asked.ledger,
        session(request).user,
        customer=customer,
        row=int(row[:9]) if row else None,
    )
    what = f"{TRIAL}-{_nonce(str(form.get('nonce', '')))}"
    await asyncio.to_thread(jobs.start, f"{name}.{what}", start, _environment(request))
    response = web.HTTPSeeOther(f"{file.url}/check/{name}/{what}")
    response.set_cookie(
        "batchsend-test-customer",
        customer,
        httponly=True,
        samesite="Strict",
        max_age=180 * 86400,
        path="/campaign",
    )
    raise response


async def rehearse(request: web.Request) -> web.Response:
    """Everything as in real life, with the stand-in."""
    file, _, jobs, name, asked = await asyncio.to_thread(_asked, request)
    form = await request.post()
    start = request_for(
        file,
        "rehearse",
        asked.ledger,
        session(request).user,
        resend=asked.resend,
        new_campaign=asked.new_campaign,
    )
    what = f"{REHEARSAL}-{_nonce(str(form.get('nonce', '')))}"
    await asyncio.to_thread(jobs.start, f"{name}.{what}", start, _environment(request))
    raise web.HTTPSeeOther(f"{file.url}/check/{name}/{what}")


async def tested(request: web.Request) -> web.Response:
    """What has become of a test or a rehearsal."""
    file, campaign, jobs, name, _ = await asyncio.to_thread(_asked, request)
    what = request.match_info["what"]
    state = await asyncio.to_thread(jobs.state, f"{name}.{what}")
    if not state.is_over:
        title = "Sending the test" if what.startswith(TRIAL) else "Rehearsing"
        return page(
            request,
            "wait.html.j2",
            file=file,
            name=campaign.name,
            state=state,
            title=title,
            look=f"{file.url}/check/{name}/{what}/look",
            reassure="It counts for nothing.",
        )
    status, codes = str(state.facts.get("status", "")), str(state.facts.get("codes", ""))
    return page(
        request,
        "tested.html.j2",
        file=file,
        name=campaign.name,
        check=name,
        state=state,
        is_trial=what.startswith(TRIAL),
        outcome=status,
        meaning=meaning(status, codes.split("; ") if codes else []) if status else "",
    )


def _asked(request: web.Request) -> tuple[CampaignFile, Campaign, Jobs, str, JobRequest]:
    """The campaign and the check that an address names. Raises `BatchsendError`."""
    file, campaign = usable_campaign(request)
    jobs, name = request.app[JOBS], request.match_info["check"]
    asked = jobs.request(name)
    if asked.kind != "check" or asked.campaign != str(file.path):
        raise NotFoundError("There is no such check of this campaign. Check it again.")
    return file, campaign, jobs, name, asked


def _run_of(request: web.Request, state: State) -> int | None:
    """The run that a start sends, as soon as the ledger has the start."""
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
            goes_on = facts["goes_on"]
            numbers = [int(goes_on)] if goes_on is not None else [run.id for run in found.runs()[:1]]
            for number in numbers:
                starts = starts_of(found.ledger, number)
                if starts and starts[-1]["id"] > facts["last_start"]:
                    return number
    except BatchsendError:
        return None
    return None


def _nonce(given: str) -> str:
    if not _NONCE.fullmatch(given):
        raise BatchsendError("This form is incomplete, and nothing was done. Load the page again.")
    return given


def _environment(request: web.Request) -> dict[str, str]:
    asking = session(request)
    return environment_of(asking.user, named=asking.mark is not None)
