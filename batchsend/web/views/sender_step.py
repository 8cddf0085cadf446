"""The step "Sender": the department and the user that send, and the connection to myKaarma."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.types import SAMPLE_ID
from batchsend.errors import BatchsendError, CredentialError
from batchsend.mykaarma.connection_check import Finding, Outcome, check_connection
from batchsend.settings import USERNAME, Settings, load_settings, require_credentials, store_credentials
from batchsend.web.auth.middleware import session
from batchsend.web.auth.sessions import Draft
from batchsend.web.folder import CampaignFile
from batchsend.web.senders import DEPARTMENT, USER, Senders
from batchsend.web.steps import SENDER, Page
from batchsend.web.toml_edit import Changes
from batchsend.web.views import saved_senders
from batchsend.web.views.campaigns import FOLDER
from batchsend.web.views.editing import CHANGING, change_keys, errors_of, kept, only_changed
from batchsend.web.views.step_page import discard_draft, open_step, refuse, saved, step_page

#: Held while the connection is tested, so that the API is asked once at a time.
TESTING = web.AppKey("testing", asyncio.Lock)
#: The addresses of the forms about the connection, below the page's.
_CREDENTIALS, _TEST = "credentials", "test"
#: The choice of a department or a user that was not saved yet.
_NEW = "new"
#: What to do if neither was chosen.
_MISSING = {
    DEPARTMENT: "Put in the department’s id. myKaarma support knows it.",
    USER: "Put in the user’s id. myKaarma support knows it.",
}

Form = Mapping[str, Any]


async def show(request: web.Request) -> web.Response:
    """Shows who sends, and the form to change it."""
    found, campaign = await open_step(request)
    known = await asyncio.to_thread(_senders(request).known)
    forms = {
        name: session(request).drafts.pop(f"{request.path}/{name}", Draft()) for name in (_CREDENTIALS, _TEST)
    }
    return await step_page(
        request,
        found,
        campaign,
        SENDER,
        "sender_step.html.j2",
        senders={kind: _offered(known[kind], campaign, kind) for kind in (DEPARTMENT, USER)},
        present={kind: _present(campaign, kind) for kind in (DEPARTMENT, USER)},
        label="" if _is_sample(campaign.department_uuid) else campaign.department_label,
        settings=_settings_summary(campaign),
        is_local=_is_local(request),
        can_be_tested=_department(campaign, known) is not None,
        credentials=forms[_CREDENTIALS],
        tested=forms[_TEST],
        saved_senders=any(known.values()),
    )


def _senders(request: web.Request) -> Senders:
    return Senders(request.app[FOLDER].state)


def _present(campaign: Campaign, kind: str) -> str:
    """Returns the id that the campaign has; "" if it has none, or the sample's."""
    present = str(getattr(campaign, kind) or "")
    return "" if _is_sample(present) else present


def _is_sample(given: str | None) -> bool:
    return given is not None and given.startswith(SAMPLE_ID)


def _offered(known: Mapping[str, str], campaign: Campaign, kind: str) -> dict[str, str]:
    """Returns the departments or users to pick from, the campaign's own too: id -> name."""
    present = _present(campaign, kind)
    if not present or present in known:
        return dict(known)
    name = campaign.department_label if kind == DEPARTMENT else None
    return {**known, present: name or present}


async def save(request: web.Request) -> web.Response:
    """Saves the department and the user that send, and remembers new ones by their names."""
    found, _ = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    missing = {
        kind: sentence
        for kind, sentence in _MISSING.items()
        if kind in form and form.get(_choice(kind), _NEW) == _NEW and not _typed(form, kind)
    }
    if missing:
        raise refuse(request, form, missing)
    senders = _senders(request)
    known = await asyncio.to_thread(senders.known)
    try:
        await change_keys(request, found.file, lambda shown: _changes(form, known, shown), form)
        for kind, name in ((DEPARTMENT, "department_label"), (USER, "user_label")):
            if form.get(_choice(kind), _NEW) == _NEW and _typed(form, kind) and _typed(form, name):
                async with request.app[CHANGING]:
                    await asyncio.to_thread(senders.keep, kind, _typed(form, kind), _typed(form, name))
    except BatchsendError as error:
        raise refuse(request, kept(form, error), errors_of(error, form)) from error
    raise saved(request, found.file, SENDER, "The sender is saved.")


def _choice(kind: str) -> str:
    return kind.removesuffix("_uuid")


def _typed(form: Form, name: str) -> str:
    return str(form.get(name, "")).strip()


def _changes(form: Form, known: Mapping[str, Mapping[str, str]], campaign: Campaign) -> Changes:
    changes: dict[tuple[str, ...], Any] = {}
    for kind in (DEPARTMENT, USER):
        chosen = str(form.get(_choice(kind), _NEW))
        if chosen != _NEW:
            changes[kind,] = chosen
        elif kind in form:
            changes[kind,] = _typed(form, kind) or None
    chosen = str(form.get("department", _NEW))
    if chosen == _NEW and "department_label" in form:
        changes["department_label",] = _typed(form, "department_label") or None
    elif chosen in known[DEPARTMENT] and chosen != campaign.department_uuid:
        changes["department_label",] = known[DEPARTMENT][chosen]
    return only_changed(changes, campaign)


async def save_credentials(request: web.Request) -> web.Response:
    """Saves myKaarma's name and password for this computer. No page shows them again."""
    found, campaign = await open_step(request)
    form = await request.post()
    if not _is_local(request):
        raise BatchsendError(
            "On this server, the person who runs it sets myKaarma's name and password. Nothing was changed."
        )
    username, password = str(form.get("username", "")).strip(), str(form.get("password", ""))
    try:
        await asyncio.to_thread(store_credentials, campaign.directory, Path.cwd(), username, password)
    except BatchsendError as error:
        about_name = isinstance(error, CredentialError) and error.variable == USERNAME
        field = "username" if about_name else "password"
        draft = Draft({"username": username}, {field: error.on_page})
        raise _back(request, found.file, _CREDENTIALS, draft, field) from error
    said = "The name and the password are saved on this computer. Test the connection now."
    raise _back(request, found.file, _CREDENTIALS, Draft({"saved": said}), "credentials-saved")


async def test(request: web.Request) -> web.Response:
    """Tests the connection to myKaarma with the credentials of this computer. Sends nothing."""
    found, campaign = await open_step(request)
    finding = await _tested(request, campaign)
    draft = Draft({"outcome": finding.outcome}, {"": finding.sentence})
    raise _back(request, found.file, _TEST, draft, "tested")


async def _tested(request: web.Request, campaign: Campaign) -> Finding:
    department = _department(campaign, await asyncio.to_thread(_senders(request).known))
    if department is None:
        return Finding(
            Outcome.FAILED, "Choose a department and save it first. The test asks myKaarma about it."
        )
    if request.app[TESTING].locked():
        return Finding(Outcome.UNSURE, "Another test is running. Try again in a few seconds.")
    async with request.app[TESTING]:
        try:
            settings = await asyncio.to_thread(load_settings, campaign.directory, Path.cwd(), os.environ)
            credentials = require_credentials(settings)
        except BatchsendError:
            return Finding(
                Outcome.FAILED,
                "This computer has no usable name and password for myKaarma. Set them first.",
            )
        return await check_connection(settings.base_url, credentials, department)


def _department(campaign: Campaign, known: Mapping[str, Mapping[str, str]]) -> str | None:
    """Returns the department to test with: the campaign's, or any if each row of the list names one."""
    if campaign.columns.department_uuid:
        return next(iter(known[DEPARTMENT]), None)
    return _present(campaign, DEPARTMENT) or None


def _back(request: web.Request, file: CampaignFile, form: str, draft: Draft, focus: str) -> web.HTTPSeeOther:
    """Returns the way back to a form about the connection, which shows `draft` once. `focus`: an element's id."""
    page = f"{file.url}/{SENDER}"
    session(request).keep(f"{unquote(page)}/{form}", draft)
    return web.HTTPSeeOther(f"{page}#{focus}")


def _is_local(request: web.Request) -> bool:
    """Whether the user came in by the link of a console that only this computer can reach."""
    return not request.app[FOLDER].shared and not session(request).is_named


@dataclass(frozen=True)
class SettingsSummary:
    """Where texts are sent, and whether this computer has credentials. Never the credentials themselves.

    `is_fixed`: they come from the environment of the server, which a file does not change.
    """

    base_url: str
    has_credentials: bool
    is_fixed: bool
    env_file: Path


def _settings_summary(campaign: Campaign) -> SettingsSummary | None:
    try:
        settings = load_settings(campaign.directory, Path.cwd(), os.environ)
    except BatchsendError:
        return None
    return SettingsSummary(
        settings.base_url,
        bool(settings.username and settings.password),
        _is_fixed(settings),
        settings.folders[0] / ".env",
    )


def _is_fixed(settings: Settings) -> bool:
    return USERNAME in settings.sources and settings.sources[USERNAME] is None


PAGES = (
    Page("GET", "", show),
    Page("POST", "", save),
    Page("POST", f"/{_CREDENTIALS}", save_credentials),
    Page("POST", f"/{_TEST}", test),
    *saved_senders.PAGES,
)
