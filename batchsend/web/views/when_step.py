"""The step "When": when the campaign starts, at which hours and how fast texts go out, and all further settings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.campaigns.hours_tables import QuietHours
from batchsend.campaigns.tables import Sending
from batchsend.campaigns.zones import US_ZONES, state_name, zone_names
from batchsend.errors import BatchsendError
from batchsend.utils.timestamps import now
from batchsend.web.auth.middleware import session
from batchsend.web.folder import NotFoundError
from batchsend.web.key_fields import UNIT_WORDS, changes_of, in_words
from batchsend.web.more_settings import SPEED, SettingsGroup, groups_of
from batchsend.web.rendering import part
from batchsend.web.scheduler import SCHEDULER, SchedulerState
from batchsend.web.start_choice import (
    BY_HAND,
    DAYS,
    LAST_DAY,
    OWN,
    next_starts,
    shown_start,
    start_changes,
    start_words,
)
from batchsend.web.steps import WHEN, Page
from batchsend.web.toml_edit import edited
from batchsend.web.views import people_to_skip, state_hours
from batchsend.web.views.editing import change_keys, errors_of, kept
from batchsend.web.views.opening import open_campaign
from batchsend.web.views.step_page import discard_draft, draft_of, open_step, refuse, saved, step_page

_SHOWN_STARTS = 5
_HOURS = "sending.quiet_hours"
#: The box for the hours of states. An unchecked box is not in a form.
_STATES = f"{_HOURS}.states"
#: The quiet hours that can be chosen by one click: the form's value -> what the campaign file then has.
_PRESETS: Mapping[str, Any] = {
    "TCPA": "TCPA",
    "US-states": "US-states",
    "early": {"from": "20:00", "to": "08:00"},
}
#: The value of the choice of other hours.
_OTHER = "other"
#: The key of a schedule that a problem names -> the field next to which it is shown.
_FIELDS_OF_KEYS = {"schedule.at": "at_day", "schedule": "start"}

Form = Mapping[str, Any]
Changed = dict[tuple[str, ...], Any]


async def show(request: web.Request) -> web.Response:
    """Shows when texts go out, and the form to change it."""
    found, campaign = await open_step(request)
    # An unchecked box is not in a form.
    values = dict(draft_of(request).typed) or _shown(campaign)
    return await step_page(
        request,
        found,
        campaign,
        WHEN,
        "when_step.html.j2",
        values=values,
        speed=SPEED,
        days=DAYS,
        last_day=LAST_DAY,
        us_zones=US_ZONES,
        zones=sorted(name for name in zone_names() if "/" in name and not name.startswith("Etc/")),
        own_states=[state_name(state) for state in campaign.hours],
        own_zone=campaign.zone.key,
        groups=groups_of(campaign),
        schedule=start_words(campaign.schedule) if campaign.schedule is not None else "",
        starts=next_starts(campaign, now(), _SHOWN_STARTS),
        scheduler=await asyncio.to_thread(request.app[SCHEDULER].state),
    )


def _shown(campaign: Campaign) -> dict[str, str]:
    values = {**shown_start(campaign.schedule), **_shown_hours(campaign.sending.quiet_hours)}
    for field in SPEED:
        values |= field.shown(campaign)
    return {**values, "timezone": campaign.timezone or ""}


def _shown_hours(hours: QuietHours | None) -> dict[str, str]:
    if hours is None:
        return {_HOURS: "", **_times(_hours_of("TCPA"))}
    preset = next((name for name, value in _PRESETS.items() if _hours_of(value) == hours), _OTHER)
    return {_HOURS: preset, **_times(hours)}


def _times(hours: QuietHours) -> dict[str, str]:
    return {
        f"{_HOURS}.from": f"{hours.from_:%H:%M}",
        f"{_HOURS}.to": f"{hours.to:%H:%M}",
        f"{_HOURS}.timezone": hours.timezone,
        **({_STATES: "on"} if hours.states else {}),
    }


def _hours_of(value: Any) -> QuietHours:
    hours = Sending.model_validate({"quiet_hours": value}).quiet_hours
    if hours is None:
        raise ValueError("a preset has hours")
    return hours


async def save(request: web.Request) -> web.Response:
    """Saves when texts go out."""
    found, campaign = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    if errors := _changes(form, campaign)[1]:
        raise refuse(request, form, errors)
    try:
        await change_keys(request, found.file, lambda shown: _changes(form, shown)[0], form)
    except BatchsendError as error:
        raise refuse(request, kept(form, error), _errors(error, form)) from error
    if form.get("start", BY_HAND) == BY_HAND:
        raise saved(request, found.file, WHEN)
    state = await asyncio.to_thread(request.app[SCHEDULER].state)
    if state is not SchedulerState.NONE:
        raise saved(
            request, found.file, WHEN, "The schedule is saved. The campaign starts by itself at these times."
        )
    left = "The schedule is saved. One thing is left: turn scheduled starts on."
    raise saved(request, found.file, WHEN, left, to=f"{request.rel_url.raw_path}#scheduler")


async def try_start(request: web.Request) -> web.Response:
    """Shows the next starts for what the form has now, as a part of the page."""
    found = await asyncio.to_thread(open_campaign, request)
    form = await request.post()
    starts: list[str] = []
    problems: dict[str, str] = {}
    if found.campaign is not None:
        changes, problems = _start_and_zone(form, found.campaign)
        try:
            tried = parse_campaign(found.file.path, edited(found.content, changes))
            starts = next_starts(tried, now(), _SHOWN_STARTS)
        except BatchsendError as error:
            problems = _errors(error, form)
    by_hand = form.get("start") == BY_HAND
    html = part("starts.html.j2", starts=[] if problems else starts, problems=problems, by_hand=by_hand)
    return web.Response(text=html, content_type="text/html")


def _changes(form: Form, campaign: Campaign) -> tuple[Changed, dict[str, str]]:
    changes, errors = _start_and_zone(form, campaign)
    changes |= {**changes_of(SPEED, form, campaign), **dict(_hours_changes(form, campaign))}
    return changes, errors


def _start_and_zone(form: Form, campaign: Campaign) -> tuple[Changed, dict[str, str]]:
    changes, errors = start_changes(form, campaign.schedule)
    zone = str(form.get("timezone", campaign.timezone or "")).strip()
    if zone != (campaign.timezone or ""):
        changes["timezone",] = zone or None
    if campaign.schedule is None and ("schedule", "cron") in changes:
        # Customers who have quiet hours at that time would otherwise be left out.
        changes["schedule", "wait"] = True
    return changes, errors


def _hours_changes(form: Form, campaign: Campaign) -> Iterator[tuple[tuple[str, ...], Any]]:
    shown = _shown_hours(campaign.sending.quiet_hours)
    chosen = str(form.get(_HOURS, shown[_HOURS]))
    names = (name for name in shown if name not in (_HOURS, _STATES))
    times = {name: str(form.get(name, shown[name])).strip() for name in names}
    boxes = {_STATES: "on"} if _STATES in (form if _HOURS in form else shown) else {}
    if {_HOURS: chosen, **times, **boxes} == shown or (chosen == shown[_HOURS] != _OTHER):
        return
    own: dict[str, Any] = {name.rpartition(".")[2]: text for name, text in times.items()}
    own |= {"states": True} if boxes else {}
    yield ("sending", "quiet_hours"), own if chosen == _OTHER else _PRESETS.get(chosen, chosen or None)


def _errors(error: BatchsendError, form: Form) -> dict[str, str]:
    """Returns the problems by the fields of the page."""
    found = errors_of(error, [*form, "schedule.cron", *_FIELDS_OF_KEYS])
    if "schedule.cron" in found:
        own = form.get("repeat") == OWN
        # The page explains the fields.
        problem = found.pop("schedule.cron").replace(" as in crontab(5)", "")
        found["cron" if own else "time"] = problem
    return {_FIELDS_OF_KEYS.get(field, field): sentence for field, sentence in found.items()}


async def switch(request: web.Request) -> web.Response:
    """Turns the console's own scheduler on or off."""
    found, _ = await open_step(request)
    on = (await request.post()).get("scheduler") == "on"
    await asyncio.to_thread(lambda: request.app[SCHEDULER].switch(on=on))
    words = "on. Keep this console running" if on else "off. Campaigns that are being sent continue"
    session(request).notify(f"Scheduled starts are {words}.")
    raise web.HTTPSeeOther(f"{found.file.url}/{WHEN}#scheduler")


async def show_more(request: web.Request) -> web.Response:
    """Shows one of the pages with further settings."""
    found, campaign = await open_step(request)
    group = _group(request, campaign)
    shown = {name: text for field in group.fields for name, text in field.shown(campaign).items()}
    return await step_page(
        request,
        found,
        campaign,
        WHEN,
        "more_settings.html.j2",
        group=group,
        units=UNIT_WORDS,
        values=dict(draft_of(request).typed) or shown,
    )


async def save_more(request: web.Request) -> web.Response:
    """Saves one of the pages with further settings."""
    found, campaign = await open_step(request)
    group = _group(request, campaign)
    form = await request.post()
    discard_draft(request, form)
    try:
        await change_keys(request, found.file, lambda shown: changes_of(group.fields, form, shown), form)
    except BatchsendError as error:
        errors = errors_of(error, [one.name for one in group.fields])
        raise refuse(request, kept(form, error), in_words(errors, group.fields)) from error
    raise saved(request, found.file, WHEN, f"{group.title}: saved.", to=f"{found.file.url}/{WHEN}#more")


def _group(request: web.Request, campaign: Campaign) -> SettingsGroup:
    name = request.match_info["group"]
    for group in groups_of(campaign):
        if group.name == name:
            return group
    raise NotFoundError("There is no such page of settings for this campaign. Go back to the campaign.")


PAGES = (
    Page("GET", "", show),
    Page("POST", "", save),
    Page("POST", "/starts", try_start),
    Page("POST", "/scheduler", switch),
    Page("GET", "/people", people_to_skip.show),
    Page("POST", "/people", people_to_skip.upload),
    Page("POST", "/people/remove", people_to_skip.remove),
    Page("GET", "/states", state_hours.show),
    Page("POST", "/states", state_hours.save),
    Page("POST", "/states/remove", state_hours.remove),
    Page("GET", "/more/{group}", show_more),
    Page("POST", "/more/{group}", save_more),
)
