"""The step "When": at which hours, how fast, and whether a schedule starts the campaign."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from batchsend.campaigns.campaign import schedule_words
from batchsend.campaigns.tables import QuietHours, Sending
from batchsend.errors import BatchsendError
from batchsend.web.steps import WHEN, Page
from batchsend.web.views.editing import change_keys, errors_of
from batchsend.web.views.step_page import discard_draft, open_step, refuse, saved, step_page

#: The value of the choice that leaves hours as the campaign file has them.
_OWN = "own"
_USUAL = Sending.model_validate({"quiet_hours": "TCPA"}).quiet_hours


async def show(request: web.Request) -> web.Response:
    """Shows when texts go out, and the form to change it."""
    found, campaign = await open_step(request)
    hours = campaign.sending.quiet_hours
    return await step_page(
        request,
        found,
        campaign,
        WHEN,
        "when_step.html.j2",
        hours=_words(hours) if hours is not None else "",
        usual=hours == _USUAL,
        schedule=schedule_words(campaign) if campaign.schedule is not None else "",
        own=_OWN,
    )


def _words(hours: QuietHours) -> str:
    zone = "where the customer lives" if hours.timezone == "recipient" else f"in {hours.timezone}"
    return f"From {hours.from_:%H:%M} to {hours.to:%H:%M} {zone}"


async def save(request: web.Request) -> web.Response:
    """Saves when texts go out."""
    found, _ = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    changes: dict[tuple[str, ...], Any] = {}
    hours = str(form.get("quiet_hours", _OWN))
    if hours != _OWN:
        changes["sending", "quiet_hours"] = hours or None
    if rate := str(form.get("rate", "")).strip():
        if not rate.isdecimal():
            raise refuse(request, form, {"rate": "Write a whole number, such as 10."})
        changes["sending", "rate"] = int(rate)
    try:
        await change_keys(request, found.file, changes)
    except BatchsendError as error:
        raise refuse(request, form, errors_of(error, form)) from error
    raise saved(request, found.file, WHEN)


PAGES = (Page("GET", "", show), Page("POST", "", save))
