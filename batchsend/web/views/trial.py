"""The page for trying a check out: a test to the user, and a rehearsal against a stand-in. Neither is recorded."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from batchsend.errors import BatchsendError
from batchsend.planning.list_checks import API_UUID
from batchsend.reports.advice import advise
from batchsend.web.jobs.registry import JOBS
from batchsend.web.senders import TESTER, Senders
from batchsend.web.steps import SEND
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.check import check_page, complete_check, open_check, start_job, wait_page
from batchsend.web.views.editing import CHANGING
from batchsend.web.views.step_page import forget_draft, refuse

#: The outcomes of tests and rehearsals, below a check's address. A nonce makes each address unique.
TRIAL, REHEARSAL = "trial", "rehearsal"
_NONCE = re.compile(r"[A-Za-z0-9_-]{4,32}")
_ROW = re.compile(r"0*[1-9]\d{0,8}")
_CUSTOMER_COOKIE = "batchsend-test-customer"
_KEPT = 180 * 86400


async def show(request: web.Request) -> web.Response:
    """Shows the forms for a test and a rehearsal."""
    check, _ = await complete_check(request)
    return await check_page(
        request,
        check,
        "trial.html.j2",
        step=SEND,
        nonce=secrets.token_urlsafe(8),
        customer=request.cookies.get(_CUSTOMER_COOKIE, ""),
        testers=(await asyncio.to_thread(Senders(request.app[FOLDER].state).known))[TESTER],
    )


async def send(request: web.Request) -> web.Response:
    """Sends one text to the user."""
    check = await open_check(request)
    form = await request.post()
    customer, new, row, name = (
        str(form.get(field, "")).strip() for field in ("customer", "new_customer", "row", "tester")
    )
    customer = customer or new
    if errors := _errors(form, customer, row):
        raise refuse(request, form, errors)
    nonce = _nonce(form)
    if name:
        async with request.app[CHANGING]:
            await asyncio.to_thread(Senders(request.app[FOLDER].state).keep, TESTER, customer, name)
    forget_draft(request)
    response = await start_job(
        request,
        check,
        f"{TRIAL}-{nonce}",
        kind="trial",
        customer=customer,
        row=int(row) if row else None,
    )
    response.set_cookie(
        _CUSTOMER_COOKIE, customer, httponly=True, samesite="Strict", max_age=_KEPT, path="/campaign"
    )
    raise response


def _errors(form: Mapping[str, Any], customer: str, row: str) -> dict[str, str]:
    errors = {}
    if not API_UUID.fullmatch(customer):
        field = "new_customer" if "new_customer" in form else "customer"
        errors[field] = "No test was sent: copy your own customer id from myKaarma exactly."
    if row and (not _ROW.fullmatch(row) or int(row) < 2):
        errors["row"] = f'No test was sent: the list has no row "{row[:20]}". Its first row is 2.'
    return errors


async def rehearse(request: web.Request) -> web.Response:
    """Starts a rehearsal with the sandbox."""
    check = await open_check(request)
    raise await start_job(
        request,
        check,
        f"{REHEARSAL}-{_nonce(await request.post())}",
        kind="rehearse",
        resend=check.request.resend,
        new_campaign=check.request.new_campaign,
    )


def _nonce(form: Mapping[str, Any]) -> str:
    given = str(form.get("nonce", ""))
    if not _NONCE.fullmatch(given):
        raise BatchsendError("This form is incomplete, and nothing was done. Reload the page.")
    return given


async def tested(request: web.Request) -> web.Response:
    """Shows the outcome of a test or a rehearsal."""
    check = await open_check(request)
    what = request.match_info["what"]
    state = await asyncio.to_thread(request.app[JOBS].state, f"{check.name}.{what}")
    if not state.is_over:
        title = "Sending the test" if what.startswith(TRIAL) else "Rehearsing"
        return await wait_page(request, check, state, title, "It isn't recorded.", what)
    status, codes = str(state.facts.get("status", "")), str(state.facts.get("codes", ""))
    return await check_page(
        request,
        check,
        "tested.html.j2",
        step=SEND,
        state=state,
        is_trial=what.startswith(TRIAL),
        outcome=status,
        meaning=advise(status, codes).meaning if status else "",
    )
