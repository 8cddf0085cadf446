"""What the pages of the steps share: the bar of steps, the states, forms that are kept, and the way on and back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web
from multidict import MultiDict, MultiDictProxy

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.web.auth.middleware import session
from batchsend.web.auth.sessions import Conflict, Difference, Draft
from batchsend.web.folder import CampaignFile
from batchsend.web.jobs.present_check import present_check
from batchsend.web.jobs.registry import JOBS, JobState, environment_of
from batchsend.web.jobs.step_facts import facts
from batchsend.web.rendering import page, part
from batchsend.web.steps import STEPS, Problem, State, Status, Step, next_step, statuses
from batchsend.web.uploads import fingerprint
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.opening import OpenCampaign, open_campaign

_NO_DRAFT = Draft()
#: Between the values of a field that was sent several times.
SEVERAL = "\n"
#: The field of the button that gives a draft up.
DISCARD = "discard"
#: The field with the fingerprint of the campaign file that a form was made from.
SHOWN = "campaign_file"


#: The page of a conflict, below a campaign's.
CONFLICT = "conflict"


class Conflicting(MultiDict[Any]):
    """A form that was not saved, because its file was changed. `differences`: its version and the file's."""

    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class PresentSteps:
    """The steps of a campaign and their states, which come from the check `check`, if there is one.

    `working`: how far that check has come; `None` if it has ended.
    """

    steps: tuple[Step, ...]
    status: Mapping[str, Status]
    texts: int = 0
    check: str | None = None
    working: JobState | None = None

    @property
    def under_way(self) -> bool:
        return self.working is not None

    @property
    def next(self) -> Step | None:
        return next_step(self.steps, self.status)

    def titled(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def before(self, name: str) -> Step | None:
        """Returns the step before this one; `None` before the first."""
        index = self._index(name)
        return self.steps[index - 1] if index else None

    def after(self, name: str) -> Step:
        return self.steps[min(self._index(name) + 1, len(self.steps) - 1)]

    def number(self, name: str) -> int:
        return self._index(name) + 1

    def _index(self, name: str) -> int:
        return [step.name for step in self.steps].index(name)


async def steps_of(request: web.Request, file: CampaignFile, campaign: Campaign) -> PresentSteps:
    """Returns the steps with their states. Starts a check in the background if something has changed."""
    return await asyncio.to_thread(_steps_of, request, file, campaign)


def _steps_of(request: web.Request, file: CampaignFile, campaign: Campaign) -> PresentSteps:
    steps, folder = request.app[STEPS], request.app[FOLDER]
    current = session(request)
    environment = environment_of(current.user, named=current.is_named)
    try:
        name, state = present_check(request.app[JOBS], folder, file, campaign, current.user, environment)
    except BatchsendError as error:
        broken = {step.name: Status(State.UNCHECKED) for step in steps}
        last = Status(State.ATTENTION, problems=(Problem(steps[-2].name, error.on_page),))
        return PresentSteps(steps, {**broken, steps[-2].name: last})
    return _after(steps, name, state)


def checked_steps(request: web.Request, check: str) -> PresentSteps:
    """Returns the steps with the states that a check has found. Blocks. Raises `NotFoundError`."""
    return _after(request.app[STEPS], check, request.app[JOBS].state(check))


def _after(steps: tuple[Step, ...], check: str, state: JobState) -> PresentSteps:
    found = facts(state)
    working = None if state.is_over else state
    return PresentSteps(steps, statuses(steps, found), found.texts, check, working)


async def open_step(request: web.Request) -> tuple[OpenCampaign, Campaign]:
    """Reads the campaign of a step's page. A campaign file with errors is mended on the campaign's own page."""
    found = await asyncio.to_thread(open_campaign, request)
    if found.campaign is not None:
        try:
            await asyncio.to_thread(request.app[FOLDER].check, found.campaign)
        except BatchsendError:
            pass
        else:
            return found, found.campaign
    raise web.HTTPSeeOther(found.file.url)


def draft_of(request: web.Request) -> Draft:
    """Returns the form of this page that could not be saved; an empty one if there is none.

    Errors without anything typed, such as those of a file, are shown once.
    """
    draft = session(request).drafts.get(request.path, _NO_DRAFT)
    if not draft.typed:
        forget_draft(request)
    return draft


def forget_draft(request: web.Request) -> None:
    """Forgets the form of this page, because it is saved."""
    session(request).drafts.pop(request.path, None)


async def step_page(
    request: web.Request,
    found: OpenCampaign,
    campaign: Campaign,
    name: str,
    template: str,
    *,
    reloads: bool = False,
    **values: Any,
) -> web.Response:
    """Shows the page of a step. `template` extends `step.html.j2`. `reloads`: as `page`."""
    draft = draft_of(request)
    if reloads and draft.errors:
        session(request).keep(request.path, draft)
    version = fingerprint(found.content)
    session(request).remember(version, found.content)
    steps = await steps_of(request, found.file, campaign)
    return page(
        request,
        template,
        reloads=reloads,
        file=found.file,
        campaign=campaign,
        name=campaign.name,
        steps=steps,
        step=steps.titled(name),
        shown=draft.typed.get(SHOWN, version),
        typed=draft.typed,
        errors=draft.errors,
        **values,
    )


def refuse(
    request: web.Request, form: Mapping[str, Any], errors: Mapping[str, str], path: str | None = None
) -> web.HTTPSeeOther:
    """Returns the way back to the page of a form that was not saved. `errors`: field -> what is wrong with it.

    `path`: the page's address, if the form is sent to another one.
    """
    shown, typed = unquote(path) if path else request.path, typed_in(form)
    if not isinstance(form, Conflicting):
        session(request).keep(shown, Draft(typed, errors))
        return web.HTTPSeeOther(path or request.rel_url.raw_path)
    again = tuple((name, str(value)) for name, value in form.items() if name != "csrf")
    conflict = Conflict(request.rel_url.raw_path, again, form.differences)
    session(request).keep(shown, Draft(typed, errors, conflict))
    campaign = request.app[FOLDER].campaign(request.match_info["folder"], request.match_info["stem"])
    return web.HTTPSeeOther(f"{campaign.url}/{CONFLICT}?page={quote(shown, safe='/')}")


def typed_in(form: Mapping[str, Any]) -> dict[str, str]:
    """Returns the fields of a form by name. The values of a field that was sent several times are joined."""
    several = form if isinstance(form, MultiDict | MultiDictProxy) else MultiDict(form)
    return {name: SEVERAL.join(map(str, several.getall(name))) for name in several if name != "csrf"}


def saved(
    request: web.Request, file: CampaignFile, name: str, notice: str = "", *, to: str = ""
) -> web.HTTPSeeOther:
    """Returns the way from a step that was saved to the next one, or to the address `to`."""
    forget_draft(request)
    if notice:
        session(request).notify(notice)
    if to:
        return web.HTTPSeeOther(to)
    steps = [step.name for step in request.app[STEPS]]
    return web.HTTPSeeOther(f"{file.url}/{steps[steps.index(name) + 1]}")


def discard_draft(request: web.Request, form: Mapping[str, Any]) -> None:
    """Leads back to the page, without the draft, if the user has given it up."""
    if DISCARD in form:
        session(request).drafts.pop(request.path, None)
        raise web.HTTPSeeOther(request.rel_url.raw_path)


async def states(request: web.Request) -> web.Response:
    """Returns the bar of steps of a page, or the overview of the states, as a part of the page."""
    found, campaign = await open_step(request)
    steps = await steps_of(request, found.file, campaign)
    name = request.query.get("step", "")
    if name in steps.status:
        html = part("step_bar.html.j2", file=found.file, steps=steps, step=steps.titled(name))
    else:
        html = part("overview.html.j2", file=found.file, steps=steps)
    return web.Response(text=html, content_type="text/html")
