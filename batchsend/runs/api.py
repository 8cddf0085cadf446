"""The Python API, which the command line, the scheduler and the web console use.

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
from batchsend.runs.start import Start, StartOptions, planned
from batchsend.sending.sender import Event
from batchsend.settings import load_settings


def load_campaign(path: Path | str) -> Campaign:
    """Reads a campaign file. Raises `CampaignError` with all of its problems."""
    return campaign_file.load_campaign(Path(path))


def prepare(campaign: Campaign, options: StartOptions | None = None, *, ledger: str | None = None) -> Start:
    """A start of this campaign with the settings of the environment and `.env`. Raises `SettingsError`.

    `ledger`: a path or URL, as `--ledger`.
    """
    settings = load_settings(campaign.directory, Path.cwd(), os.environ)
    return Start(
        campaign,
        settings,
        resolve_ledger_url(ledger, settings, campaign.directory),
        options or StartOptions(),
    )


@contextmanager
def preview(campaign: Campaign, *, ledger: str | None = None, limit: int | None = None) -> Iterator[Plan]:
    """What `send` would do now: reads, checks and renders everything; sends and writes nothing."""
    with planned(prepare(campaign, StartOptions(limit=limit), ledger=ledger)) as plan:
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
    """Sends a campaign, or resumes an interrupted run.

    `confirm` gets the plan before the first text is sent; anything but `True` sends nothing. `listener` gets every
    outcome once it is on disk. Raises `BatchsendError`; then nothing was sent, except after `StoppedError`.
    """
    start = prepare(campaign, StartOptions(limit=limit, results=results), ledger=ledger)
    return runner.send(start, confirm=confirm, listener=listener or _ignore)


def _ignore(_event: Event) -> None:
    return None
