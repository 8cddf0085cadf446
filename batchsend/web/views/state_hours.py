"""The page "Hours of states" below the step "When": the quiet hours of states that the campaign adds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from batchsend.campaigns.state_hours import NO_LEGAL_ADVICE, known_rules, words_of
from batchsend.campaigns.zones import state_code, state_name, state_names
from batchsend.errors import BatchsendError
from batchsend.web.auth.middleware import session
from batchsend.web.steps import WHEN
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, change, change_keys, errors_of, kept
from batchsend.web.views.opening import campaign_file_of, open_file
from batchsend.web.views.step_page import discard_draft, draft_of, open_step, refuse, saved, step_page

_FIELDS = ("state", "from", "to", "saturday", "sunday", "holidays")
_NO_TEXTS = "no texts"


async def show(request: web.Request) -> web.Response:
    """Shows the hours that apply in states, and the form for hours of the campaign's own."""
    found, campaign = await open_step(request)
    own = {state: (state_name(state), list(words_of(hours.rule))) for state, hours in campaign.hours.items()}
    quiet = campaign.sending.quiet_hours
    return await step_page(
        request,
        found,
        campaign,
        WHEN,
        "state_hours.html.j2",
        own=own,
        states=state_names(),
        values=dict(draft_of(request).typed),
        is_kept=quiet is not None and quiet.states,
        state_rules=[(state_name(known.state), words_of(known.rule), known) for known in known_rules()],
        no_legal_advice=NO_LEGAL_ADVICE,
    )


async def save(request: web.Request) -> web.Response:
    """Saves the hours of one state, in place of those that the campaign had for it."""
    found, _ = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    state = state_code(str(form.get("state", "")))
    if state is None:
        raise refuse(request, form, {"state": "Choose a state."})
    hours = _hours(form)
    try:
        await change_keys(request, found.file, lambda _: {("hours", state): hours}, form)
    except BatchsendError as error:
        key = f"hours.{state}"
        errors = errors_of(error, [key, *(f"{key}.{name}" for name in _FIELDS[1:])])
        named = {field.removeprefix(f"{key}.").replace(key, "from"): text for field, text in errors.items()}
        raise refuse(request, kept(form, error), named) from error
    raise saved(
        request, found.file, WHEN, f"Hours of {state_name(state)}: saved.", to=request.rel_url.raw_path
    )


def _hours(form: Mapping[str, Any]) -> dict[str, Any]:
    typed = {name: str(form.get(name, "")).strip() for name in _FIELDS[1:]}
    days = [line.strip() for line in typed.pop("holidays").splitlines() if line.strip()]
    return {name: text for name, text in typed.items() if text} | ({"holidays": days} if days else {})


async def remove(request: web.Request) -> web.Response:
    """Removes the campaign's own hours of a state."""
    file = await asyncio.to_thread(campaign_file_of, request)
    state = str((await request.post()).get("state", ""))
    async with request.app[CHANGING]:
        present = await asyncio.to_thread(open_file, file)
        if present.campaign is None:
            raise BatchsendError("The campaign file must be fixed first. Nothing was changed.")
        # The file may spell the state otherwise, such as [hours.Florida].
        written = [name for name in present.campaign.as_written.get("hours", {}) if state_code(name) == state]
        left = len(present.campaign.hours) > len(written)
        keys: list[tuple[str, ...]] = [("hours", name) for name in written] if left else [("hours",)]
        await asyncio.to_thread(change, request.app[FOLDER], file, present.content, dict.fromkeys(keys))
    session(request).notify("The hours of this state are removed.")
    raise web.HTTPSeeOther(f"{file.url}/{WHEN}/states")
