"""`batchsend worker`: helps to send the runs of a PostgreSQL ledger until a signal stops it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import LedgerError
from batchsend.exits import Exit
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.location import resolve_ledger_url
from batchsend.ledger.opening import open_when_free
from batchsend.ledger.postgres import most_runs
from batchsend.ledger.runs import note_undelivered
from batchsend.planning.suppression import Suppression, WatchedSuppression
from batchsend.runs.lookup import campaign_of
from batchsend.runs.notify import notice_of_run, tell_in_background
from batchsend.runs.status_server import ServiceStatus, StatusAddress, serving_loop_status
from batchsend.settings import load_settings, require_credentials
from batchsend.utils.signals import finishing_on_signals
from batchsend.utils.wording import duration, install_command

if TYPE_CHECKING:
    from batchsend.sending.cluster.open_runs import EndedRun
    from batchsend.sending.cluster.worker import Worker


def serve(
    ledger_option: str | None,
    name: str,
    concurrency: int,
    say: Callable[[str], None],
    status: StatusAddress | None = None,
) -> Exit:
    """Works until a signal stops it. Raises `BatchsendError` where it cannot start."""
    here = Path.cwd()
    settings = load_settings(here, here, os.environ)
    credentials = require_credentials(settings)
    try:
        from batchsend.sending.cluster.worker import Worker, create_queue
    except ImportError as error:
        raise LedgerError(
            f"Workers need the libraries procrastinate and psycopg, which cannot be loaded here ({error}). Install "
            f"them: {install_command('cluster')}."
        ) from error

    url = resolve_ledger_url(ledger_option, settings, here)
    if not url.startswith("postgresql"):
        raise LedgerError(
            "Workers need a ledger on PostgreSQL, which other computers can reach too. Set --ledger or "
            "BATCHSEND_LEDGER to its URL: postgresql://user@host/database"
        )

    def waits(seconds: float, reason: str) -> None:
        say(f"Waiting {duration(seconds)} at most: {reason}.")

    with closing(open_when_free(url, waits)) as ledger:
        create_queue(ledger)
        about = (partial(_suppression_of, ledger), partial(_tell, ledger, say))
        worker = Worker(ledger, credentials, settings.base_url, name, say, *about)
        # The database driver does not work with Windows' default event loop.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(_work(worker, most_runs(url, concurrency), status))
    say(f"Worker {name} has stopped.")
    return Exit.DONE


def _campaign_of(ledger: Ledger, run_id: int) -> Campaign | None:
    """The campaign of a run, if its file is on this computer."""
    run = ledger.run(run_id)
    return campaign_of(run) if run is not None else None


def _suppression_of(ledger: Ledger, run_id: int) -> WatchedSuppression | None:
    """The suppression files that a run's campaign names now, as far as they are on this computer."""
    campaign = _campaign_of(ledger, run_id)
    if campaign is None:
        return None
    recipients = campaign.recipients
    here = [path for path in recipients.suppress if path.exists()]
    return WatchedSuppression(here, recipients.default_region, Suppression())


def _tell(ledger: Ledger, say: Callable[[str], None], ended: EndedRun) -> None:
    """Tells people how a run that workers sent ended, if its campaign file is on this computer."""
    campaign = _campaign_of(ledger, ended.run_id)
    if campaign is not None:

        def complain(problem: str) -> None:
            say(problem)
            with suppress(LedgerError):
                note_undelivered(ledger, ended.run_id, [problem])

        tell_in_background(campaign, notice_of_run(ledger, campaign.name, *ended), complain)


async def _work(worker: Worker, concurrency: int, status: StatusAddress | None) -> None:
    stopping = asyncio.Event()

    def stop(_number: int) -> None:
        worker.say("Stopping: requests in flight are finished and recorded first.")
        worker.leave()
        stopping.set()

    own = ServiceStatus("worker", lambda: [worker.ledger.full_url])
    with finishing_on_signals(stop):
        async with serving_loop_status(status, own), worker:
            worker.say(
                f"Worker {worker.name} waits for runs to {worker.base_url} in {worker.ledger.where}. Ctrl-C stops it."
            )
            await worker.work(concurrency, stopping)
