"""Finds the ledger and the run that a command is about."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import make_url

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError, LedgerError
from batchsend.ledger.ledger import CampaignRecord, Ledger, RunRecord
from batchsend.ledger.location import resolve_ledger_url
from batchsend.ledger.opening import ledger_name, open_for_reading, open_ledger
from batchsend.ledger.runs import RunOverview, SharedState, shared_state
from batchsend.sending.locks import campaign_is_locked
from batchsend.settings import load_settings
from batchsend.utils.files import current_folder

#: Opens the ledger at a URL; returns `None` if there is none yet.
Opener = Callable[[str], Ledger | None]


@dataclass(frozen=True)
class Found:
    """A run in an open ledger. `run_ids`: the run that was named, or all runs of the campaign that was."""

    ledger: Ledger
    campaign: CampaignRecord
    run: RunRecord
    run_ids: Sequence[int] = ()


@contextmanager
def find_run(target: str, ledger_option: str | None, open_it: Opener = open_for_reading) -> Iterator[Found]:
    """Finds the run that `target` names: a run number, or a campaign file for its latest run."""
    if target.isdecimal() and not Path(target).exists():
        with find_ledger(None, ledger_option, open_it) as ledger:
            run = ledger.run(int(target))
            if run is None:
                raise LedgerError(f"{ledger.where}: has no run {target}. `batchsend runs` lists the runs.")
            yield Found(ledger, ledger.campaign_by_id(run.campaign_id), run, [run.id])
        return
    campaign = load_campaign(Path(target))
    with find_ledger(campaign.path, ledger_option, open_it) as ledger:
        base_url = load_settings(campaign.directory, current_folder(campaign.directory), os.environ).base_url
        record = ledger.campaign(campaign.name, base_url)
        runs = ledger.runs_of(record.id) if record is not None else []
        if record is None or not runs:
            raise LedgerError(
                f'{ledger.where}: "{campaign.name}" was never sent to {base_url} from this ledger. '
                f"`batchsend runs` lists what was sent."
            )
        yield Found(ledger, record, runs[0], [run.id for run in runs])


@contextmanager
def find_ledger(
    campaign: Path | None, option: str | None, open_it: Opener = open_for_reading, *, hint: str = ""
) -> Iterator[Ledger]:
    """Finds the ledger of a campaign file; without one, the ledger of the settings, of `.` or of `./campaigns`."""
    here = Path.cwd()
    directory = campaign.absolute().parent if campaign is not None else here
    settings = load_settings(directory, here, os.environ)
    folders = [directory] if campaign is not None else [here, here / "campaigns"]
    urls = [resolve_ledger_url(option, settings, folder) for folder in folders]
    existing = [url for url in urls if _may_exist(url)]
    ledger = open_it(existing[0]) if existing else None
    if ledger is None and existing and make_url(existing[0]).get_backend_name() != "sqlite":
        raise BatchsendError(
            f"{ledger_name(existing[0])}: this database has no ledger yet: nothing has been sent from it. The first "
            f"`batchsend send` creates one.{hint}"
        )
    if ledger is None:
        places = " or ".join(str(folder / ".batchsend") for folder in folders)
        raise BatchsendError(
            f"There is no ledger in {places}: nothing has been sent from here. Change to the campaign's folder, name "
            f"the campaign file, or name the ledger with --ledger.{hint}"
        )
    try:
        yield ledger
    finally:
        ledger.close()


def new_ledger(option: str | None) -> Ledger | None:
    """Creates the ledger that `--ledger` or `BATCHSEND_LEDGER` names; `None` if it exists or none is named."""
    here = Path.cwd()
    settings = load_settings(here, here, os.environ)
    if option is None and settings.ledger_url is None:
        return None
    url = resolve_ledger_url(option, settings, here)
    return None if _may_exist(url) else open_ledger(url)


def _may_exist(url: str) -> bool:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return True
    try:
        return Path(parsed.database or "").exists()
    except PermissionError:
        return True


def campaign_of(run: RunRecord) -> Campaign | None:
    """The campaign of a run as its file says now; `None` if that is gone, cannot be read or is another campaign's."""
    try:
        campaign = load_campaign(Path(run.about["file"]))
    except BatchsendError:
        return None
    return campaign if run.about["campaign"] in (campaign.name, campaign.formerly) else None


def is_running(found: Found) -> bool:
    """Whether a process is sending this run's campaign right now."""
    return campaign_is_locked(found.ledger, found.campaign.name, found.campaign.base_url)


class RunState(NamedTuple):
    """What a run does, in words, and whether it is being sent now."""

    sending: bool
    words: str


def state_of(ledger: Ledger, run: RunOverview) -> RunState:
    """What a run does now, or how it ended."""
    if run.given_up_at:
        moment = run.given_up_at[:16].replace("T", " ")
        return RunState(False, f"stopped for good by {run.given_up_by}, {moment} UTC")
    if run.ending:
        return RunState(False, f"ended: {run.ending}")
    locked = campaign_is_locked(ledger, run.campaign, run.base_url)
    shared = shared_state(ledger, run.run_id)
    if shared is not None and (state := _shared(shared)) is not None:
        return state
    if locked:
        return RunState(True, f"being sent now, by {run.os_user} on {run.host}")
    return RunState(False, "not ended: its process was killed. Run the same command again to continue")


def _shared(run: SharedState) -> RunState | None:
    """The state of a run that several processes can send; `None` if one process has it alone or was killed."""
    if run.senders:
        stopping = "; it was asked to stop" if run.stop_requested or not run.open else ""
        return RunState(True, f"being sent now, by {', '.join(run.senders)}{stopping}")
    if run.stopped_because is not None:
        return RunState(False, f"stopped: {run.stopped_because}")
    if run.stop_requested:
        return RunState(False, "stopped: a stop was requested")
    if not run.open:
        return None
    named = f"{'worker' if len(run.workers) == 1 else 'workers'} {', '.join(run.workers)}"
    if run.open_rows and run.workers:
        return RunState(True, f"handed over to {named}")
    if run.open_rows:
        return RunState(
            False,
            "not being sent: no process sends it and no worker is running. Start `batchsend worker`, or run `send` "
            "again",
        )
    if run.quiet_rows:
        then = (
            f"{named} will continue" if run.workers else "start `batchsend worker` or run `send` again then"
        )
        return RunState(False, f"waiting for quiet hours to end; {then}")
    return RunState(False, "all rows are done; workers record its end shortly") if run.workers else None


def report_pages(ledger: Ledger, run_ids: Iterable[int]) -> dict[int, Path]:
    """Run number -> its report page, for runs that have one in the usual place."""
    runs = (ledger.run(run_id) for run_id in run_ids)
    pages = {run.id: results_file(run, (), as_list=False).with_suffix(".html") for run in runs if run}
    return {run_id: page for run_id, page in pages.items() if page.exists()}


def results_file(run: RunRecord, only: Sequence[str], *, as_list: bool, ending: str = ".xlsx") -> Path:
    """Where the results of a run go: next to its campaign file, or here if that folder is gone."""
    folder = Path(run.about["file"]).parent
    base = folder if folder.is_dir() else Path.cwd()
    name = "-".join([run.about["stem"], str(run.id), *only, *(["list"] if as_list else [])])
    return base / "results" / f"{name}{ending}"
