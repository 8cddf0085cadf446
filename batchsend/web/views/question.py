"""The question before sending: how many texts, to whom, at what cost, and that the user means it.

All of it comes from one check. The job that sends reads everything again and compares it with that check.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from batchsend.web.auth.middleware import session
from batchsend.web.jobs.confirmation import FIRST
from batchsend.web.jobs.registry import JOBS, JobState
from batchsend.web.steps import SEND
from batchsend.web.views.approval import Shown, approval_of_check
from batchsend.web.views.check import (
    SENT,
    OpenCheck,
    check_page,
    has_failed,
    open_check,
    start_job,
    why_outdated,
)
from batchsend.web.views.step_page import forget_draft, refuse


async def show(request: web.Request) -> web.Response:
    """Asks the question, unless the check's page must say why there is none. Prepares the process that will send."""
    check = await open_check(request)
    state, approval = await _answerable(request, check)
    await asyncio.to_thread(request.app[JOBS].prepare)
    return await check_page(
        request,
        check,
        "question.html.j2",
        step=SEND,
        facts=state.facts,
        checked=state.facts["checked"],
        approval=approval,
        first=FIRST,
    )


async def send(request: web.Request) -> web.Response:
    """Starts sending, once, if the number that the user typed is right."""
    check = await open_check(request)
    state, _ = await _answerable(request, check)
    form, checked = await request.post(), state.facts["checked"]
    if errors := _errors(form, checked):
        raise refuse(request, form, errors)
    forget_draft(request)
    raise await start_job(
        request,
        check,
        SENT,
        kind="send",
        resend=check.request.resend,
        new_campaign=check.request.new_campaign,
        limit=FIRST if form["choice"] == "first" else None,
        checked=checked,
    )


async def _answerable(request: web.Request, check: OpenCheck) -> tuple[JobState, Shown | None]:
    """Returns what a check has found and its approval, if its texts can be sent. Leads to another page if not."""
    jobs = request.app[JOBS]
    state = await asyncio.to_thread(jobs.state, check.name)
    if await asyncio.to_thread(jobs.is_used, f"{check.name}.{SENT}"):
        raise web.HTTPSeeOther(f"{check.url}/{SENT}")
    if not state.is_over or has_failed(state):
        raise web.HTTPSeeOther(check.url)
    approval = await asyncio.to_thread(approval_of_check, request, check.file, check.campaign, check.name)
    why_not = await asyncio.to_thread(why_outdated, request, check, state)
    if state.facts["refused"]:
        why_not = "fix the problems below first."
    elif not state.facts["checked"]["texts"]:
        why_not = "there is nothing to send."
    elif approval is not None and not approval.may_send:
        why_not = "another person must approve these texts."
    if why_not is None:
        return state, approval
    if request.method == "POST":
        session(request).warn(f"Nothing was sent: {why_not}")
    raise web.HTTPSeeOther(f"{check.url}#next")


def _errors(form: Mapping[str, Any], checked: Mapping[str, Any]) -> dict[str, str]:
    """Returns what is wrong with an answer: field -> sentence. `checked`: a stored `CheckedPlan`."""
    choices = {"all": checked["texts"], "first": checked["first_texts"]}
    errors = {}
    texts = choices.get(str(form.get("choice")))
    if texts is None:
        errors["choice"] = "Nothing was sent: choose how many."
    elif wrong := _wrong_number(str(form.get("number", "")), texts):
        errors["number"] = wrong
    if checked["again_unconfirmed"] and form.get("sure") != "yes":
        errors["sure"] = "Nothing was sent: confirm that you have looked these customers up in myKaarma."
    return errors


def _wrong_number(typed: str, texts: int) -> str | None:
    """Says that the number of texts was not typed; `None` if it was."""
    if re.sub(r"[\s,.'’]", "", typed) == str(texts):
        return None
    answer = f'"{typed.strip()[:20]}"' if typed.strip() else "nothing"
    return f"Nothing was sent: you typed {answer}. To send, type {texts:,}."
