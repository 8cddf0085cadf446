"""The Python API, which the command line, the scheduler and the web console use.

from batchsend import load_campaign, preview, send

campaign = load_campaign("campaigns/spring_service.toml")
with preview(campaign) as plan:
    print(plan.texts, "texts would be sent")
report = send(campaign, confirm=lambda plan: plan.texts < 1000)

Both take a DataFrame as the list: `customers=frame`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from batchsend.campaigns import file as campaign_file
from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.tables import ListOptionsTable
from batchsend.errors import BatchsendError
from batchsend.ledger.location import resolve_ledger_url
from batchsend.ledger.opening import SCRATCH_RUN
from batchsend.planning.plan import Plan
from batchsend.reports.run_results import PlanResults
from batchsend.runs.report import Report
from batchsend.runs.start import Start, StartOptions, planned
from batchsend.settings import load_settings
from batchsend.utils.files import current_folder, temporary_folder

if TYPE_CHECKING:
    import pandas as pd

    from batchsend.runs.runner import Listener
    from batchsend.sending.sender import Event


class Preview(Plan):
    """A plan, as `preview` and `confirm` give it."""

    def to_frame(self) -> pd.DataFrame:
        """One row for each row of the list, with the columns of the results; the index has the row numbers.

        What `send` would send now is `ready`.
        """
        zone, headers = self.request.campaign.zone, self.sources.customers.headers
        number = self.run.id if self.run is not None else None
        return PlanResults(self.scratch, SCRATCH_RUN, headers, zone, [], number).to_frame()


def load_campaign(path: Path | str) -> Campaign:
    """Reads a campaign file. Raises `CampaignError` with all of its problems."""
    return campaign_file.load_campaign(Path(path))


def prepare(campaign: Campaign, options: StartOptions | None = None, *, ledger: str | None = None) -> Start:
    """A start of this campaign with the settings of the environment and `.env`. Raises `SettingsError`.

    `ledger`: a path or URL, as `--ledger`.
    """
    settings = load_settings(campaign.directory, current_folder(campaign.directory), os.environ)
    return Start(
        campaign,
        settings,
        resolve_ledger_url(ledger, settings, campaign.directory),
        options or StartOptions(),
    )


@contextmanager
def preview(
    campaign: Campaign,
    *,
    customers: pd.DataFrame | None = None,
    ledger: str | None = None,
    limit: int | None = None,
) -> Iterator[Preview]:
    """What `send` would do now: reads, checks and renders everything; sends and writes nothing.

    `customers` is the list, instead of the campaign's. Raises `BatchsendError`.
    """
    with temporary_folder() as folder:
        if customers is not None:
            campaign = _with_list(campaign, customers, Path(folder) / "DataFrame")
        with planned(prepare(campaign, StartOptions(limit=limit), ledger=ledger)) as plan:
            yield Preview(**vars(plan))


def send(
    campaign: Campaign,
    *,
    confirm: Callable[[Preview], bool],
    customers: pd.DataFrame | None = None,
    listener: Listener | None = None,
    ledger: str | None = None,
    results: Path | None = None,
    limit: int | None = None,
    new_campaign: bool = False,
) -> Report:
    """Sends a campaign, or resumes an interrupted run.

    `confirm` gets the plan before the first text is sent; anything but `True` sends nothing. `listener` gets every
    outcome once it is on disk. `customers` is the list, instead of the campaign's: it is saved in the folder `lists`
    next to the campaign file. The same frame, or that file, continues its run. `new_campaign` starts without a
    history, as `--new-campaign` does.

    Raises `BatchsendError`; then nothing was sent, except after `StoppedError`.
    """
    # A preview needs no HTTP client.
    from batchsend.runs import runner

    _refuse_event_loop()
    if customers is not None:
        campaign = _with_list(campaign, customers, campaign.directory / "lists")
    options = StartOptions(limit=limit, results=results, new_campaign=new_campaign)
    start = prepare(campaign, options, ledger=ledger)
    report = runner.send(
        start, confirm=lambda plan: confirm(Preview(**vars(plan))), listener=listener or _ignore
    )
    return replace(report, ledger_url=start.ledger_url)


def _refuse_event_loop() -> None:
    """Raises `BatchsendError` in a coroutine, before a run is recorded: sending needs an event loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BatchsendError(
        "send() cannot run inside a coroutine or a notebook's cell, which have an event loop already. Nothing was "
        "sent. Call it in a thread: await asyncio.to_thread(send, campaign, confirm=...)"
    )


def _with_list(campaign: Campaign, customers: pd.DataFrame, folder: Path) -> Campaign:
    """The campaign with the frame as its list, which is saved in `folder`."""
    from batchsend.lists.formats.frames import save_frame

    saved = save_frame(customers, folder, campaign.stem)
    # The options are for the campaign's own list, and this file is already whole.
    guards = campaign.guards.model_copy(update={"list_settle": None})
    return campaign.model_copy(update={"list": saved, "list_options": ListOptionsTable(), "guards": guards})


def _ignore(_event: Event) -> None:
    return None
