"""The Python API: what the command line, the scheduler and the web page are built on.

from batchsend import load_campaign, preview, send

campaign = load_campaign("campaigns/spring_service.toml")
with preview(campaign) as plan:
    print(plan.texts, "texts would be sent")
report = send(campaign, confirm=lambda plan: plan.texts < 1000)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchsend.campaigns import file as campaign_file
from batchsend.campaigns.campaign import Campaign
from batchsend.ledger.location import resolve_ledger_url
from batchsend.planning.plan import Plan
from batchsend.runs import runner
from batchsend.runs.report import Report
from batchsend.runs.runner import Confirm, Listener
from batchsend.runs.start import Start, StartGuards, planned
from batchsend.sending.sender import Event
from batchsend.settings import load_settings


def load_campaign(path: Path | str) -> Campaign:
    """Reads a campaign file. Raises `CampaignError` with everything that is wrong with it."""
    return campaign_file.load_campaign(Path(path))


def prepare(
    campaign: Campaign,
    *,
    ledger: str | None = None,
    results: Path | None = None,
    limit: int | None = None,
    resend: str | None = None,
    new_campaign: bool = False,
    wait: bool = False,
    detach: bool = False,
    guards: StartGuards | None = None,
) -> Start:
    """A start of this campaign with the settings of the environment and `.env`. Raises `SettingsError`.

    `ledger`: as `--ledger`, a path or URL; `limit`: texts at most; `resend`: `failed`, `unconfirmed` or a code;
    `wait`: stay until quiet hours end; `detach`: hand the run over to workers and leave.
    """
    settings = load_settings(campaign.directory, Path.cwd(), os.environ)
    return Start(
        campaign=campaign,
        settings=settings,
        ledger_url=resolve_ledger_url(ledger, settings, campaign.directory),
        results=results,
        limit=limit,
        resend=resend,
        new_campaign=new_campaign,
        wait=wait,
        detach=detach,
        guards=guards or StartGuards(),
    )


@contextmanager
def preview(campaign: Campaign, *, ledger: str | None = None, limit: int | None = None) -> Iterator[Plan]:
    """What `send` would do now: everything is read, checked and rendered, nothing is sent or written."""
    with planned(prepare(campaign, ledger=ledger, limit=limit)) as plan:
        yield plan


def send(
    campaign: Campaign,
    *,
    confirm: Confirm,
    listener: Listener | None = None,
    ledger: str | None = None,
    results: Path | None = None,
    limit: int | None = None,
) -> Report:
    """Sends a campaign, or goes on with what was interrupted.

    `confirm` sees the plan before the first text leaves; anything but `True` sends nothing. `listener` hears every
    outcome once it is on disk. Raises `BatchsendError`; then nothing was sent.
    """
    start = prepare(campaign, ledger=ledger, results=results, limit=limit)
    return runner.send(start, confirm=confirm, listener=listener or _ignore)


def _ignore(_event: Event) -> None:
    return None
