"""Which ledger and which run a command means."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from batchsend.actions import load_campaign
from batchsend.errors import BatchsendError, BusyError, LedgerError
from batchsend.ledger import CampaignRecord, Ledger, RunRecord
from batchsend.ledger_opening import open_ledger
from batchsend.ledger_url import resolve_ledger_url
from batchsend.locks import campaign_lock
from batchsend.settings import load_settings


@dataclass(frozen=True)
class Found:
    """A run in an open ledger."""

    ledger: Ledger
    campaign: CampaignRecord
    run: RunRecord


@contextmanager
def find_run(target: str, ledger_option: str | None) -> Iterator[Found]:
    """The run that `target`, a run's number or a campaign file, means: of a campaign the latest one."""
    if target.isdecimal() and not Path(target).exists():
        with find_ledger(None, ledger_option) as ledger:
            run = ledger.run(int(target))
            if run is None:
                raise LedgerError(
                    f"{ledger.where}: has no run {target}. `batchsend runs` shows which there are."
                )
            yield Found(ledger, ledger.campaign_by_id(run.campaign_id), run)
        return
    campaign = load_campaign(Path(target))
    with find_ledger(campaign.path, ledger_option) as ledger:
        base_url = load_settings(campaign.directory, Path.cwd(), os.environ).base_url
        record = ledger.campaign(campaign.name, base_url)
        runs = ledger.runs_of(record.id) if record is not None else []
        if record is None or not runs:
            raise LedgerError(
                f'{ledger.where}: "{campaign.name}" was never sent to {base_url} from this ledger. '
                f"`batchsend runs` shows what was."
            )
        yield Found(ledger, record, runs[0])


@contextmanager
def find_ledger(campaign: Path | None, option: str | None) -> Iterator[Ledger]:
    """The ledger of a campaign file, or without one that of the settings, of `.` or of `./campaigns`."""
    here = Path.cwd()
    directory = campaign.absolute().parent if campaign is not None else here
    settings = load_settings(directory, here, os.environ)
    folders = [directory] if campaign is not None else [here, here / "campaigns"]
    urls = [resolve_ledger_url(option, settings, folder) for folder in folders]
    existing = [url for url in urls if _may_exist(url)]
    if not existing:
        places = " or ".join(str(folder / ".batchsend") for folder in folders)
        raise BatchsendError(
            f"There is no ledger in {places}: nothing was sent from here. Go to the folder of the campaign, name the "
            f"campaign file, or name the ledger with --ledger."
        )
    ledger = open_ledger(existing[0])
    try:
        yield ledger
    finally:
        ledger.close()


def _may_exist(url: str) -> bool:
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").exists()


def is_running(found: Found) -> bool:
    """Is some process sending this run's campaign right now?"""
    try:
        with campaign_lock(found.ledger, found.campaign.name, found.campaign.base_url):
            return False
    except BusyError:
        return True


def results_file(run: RunRecord, only: Sequence[str], *, as_list: bool) -> Path:
    """Where the results of a run go: beside its campaign file, or here where that folder is gone."""
    folder = Path(run.about["file"]).parent
    base = folder if folder.is_dir() else Path.cwd()
    name = "-".join([run.about["stem"], str(run.id), *only, *(["list"] if as_list else [])])
    return base / "results" / f"{name}.xlsx"
