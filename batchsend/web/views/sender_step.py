"""The step "Sender": the department and the user that send."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError
from batchsend.settings import load_settings
from batchsend.web.steps import SENDER, Page
from batchsend.web.views.editing import change_keys, errors_of
from batchsend.web.views.step_page import discard_draft, open_step, refuse, saved, step_page

_SENDER = ("department_uuid", "user_uuid", "department_label")


async def show(request: web.Request) -> web.Response:
    """Shows who sends, and the form to change it."""
    found, campaign = await open_step(request)
    return await step_page(
        request, found, campaign, SENDER, "sender_step.html.j2", settings=_settings_summary(campaign)
    )


async def save(request: web.Request) -> web.Response:
    """Saves the department and the user that send."""
    found, _ = await open_step(request)
    form = await request.post()
    discard_draft(request, form)
    changes: dict[tuple[str, ...], Any] = {
        (name,): str(form[name]).strip() or None for name in _SENDER if name in form
    }
    try:
        await change_keys(request, found.file, changes)
    except BatchsendError as error:
        raise refuse(request, form, errors_of(error, form)) from error
    raise saved(request, found.file, SENDER, "The sender is saved.")


@dataclass(frozen=True)
class SettingsSummary:
    """Where texts are sent, and whether this computer has credentials. Never the credentials themselves."""

    base_url: str
    has_credentials: bool
    env_file: Path


def _settings_summary(campaign: Campaign) -> SettingsSummary | None:
    try:
        settings = load_settings(campaign.directory, Path.cwd(), os.environ)
    except BatchsendError:
        return None
    return SettingsSummary(
        settings.base_url, bool(settings.username and settings.password), settings.folders[0] / ".env"
    )


PAGES = (Page("GET", "", show), Page("POST", "", save))
