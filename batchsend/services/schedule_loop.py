"""The process of `batchsend schedule`: its loop, its end, and what it answers at its status port."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from batchsend.exits import Exit
from batchsend.ledger.location import whole_option
from batchsend.runs.status_metrics import Sample, campaign_labels
from batchsend.runs.status_server import Heartbeat, ServiceStatus, StatusAddress, serving_status
from batchsend.services.schedule_files import CampaignFiles, nothing_to_start, usual_folders
from batchsend.services.schedule_log import EventLog
from batchsend.services.scheduler import Say, Service
from batchsend.utils.scheduler_mark import SchedulerMark
from batchsend.utils.signals import handling_signals
from batchsend.utils.timestamps import now

#: How often to check the clock, the files and the started processes.
_CHECK_SECONDS = 0.5


def serve(
    named: Sequence[Path],
    ledger_option: str | None,
    log: Say,
    status: StatusAddress | None = None,
    *,
    attached: bool = False,
) -> Exit:
    """Starts campaigns at their times until a signal stops it. Raises `BatchsendError` where there are none.

    `attached`: it waits for campaigns, and ends with its standard input; campaigns that are being sent continue.
    """
    if ledger_option is not None:
        ledger_option = whole_option(ledger_option, Path.cwd())
    heartbeat = Heartbeat()
    service = Service(CampaignFiles(named, usual_folders()), ledger_option, log, beat=heartbeat.beat)
    service.read_files()
    if not service.watching and not attached:
        raise nothing_to_start(named)
    say = EventLog(log, now)
    with serving_status(status, status_of(service, heartbeat)):
        interrupted_runs = _run(service, say, None if named else SchedulerMark(Path.cwd()), attached=attached)
    say("stopped", "The scheduler has stopped. No campaign starts until it runs again.")
    if interrupted_runs:
        return Exit.INTERRUPTED
    return Exit.ATTENTION if service.needs_attention else Exit.DONE


def _run(service: Service, say: EventLog, mark: SchedulerMark | None, *, attached: bool) -> bool:
    """Takes turns until a signal comes, or the input ends. Returns whether that interrupted runs."""
    signals: list[int] = []
    alone = threading.Event()
    if attached:
        threading.Thread(target=_wait_for_end_of_input, args=(alone,), daemon=True).start()
    with handling_signals(signals.append):
        while not signals and not alone.is_set():
            if mark is not None:
                mark.put()
            service.turn()
            alone.wait(_CHECK_SECONDS)
        interrupted_runs = service.running and bool(signals)
        if interrupted_runs:
            say("stopping", "Stopping: requests in flight are finished and recorded first.")
            _stop(service, signals)
    return interrupted_runs


def _wait_for_end_of_input(ended: threading.Event) -> None:
    # Not by way of `sys.stdin`, whose lock would keep this process from ending.
    with suppress(OSError):
        while os.read(0, 1024):
            pass
    ended.set()


def _stop(service: Service, signals: Sequence[int]) -> None:
    """Interrupts the started processes once for each signal, and waits for their ends."""
    forwarded = 0
    while service.running:
        if forwarded < len(signals):
            forwarded = len(signals)
            service.interrupt()
        time.sleep(_CHECK_SECONDS / 5)
        service.reap()


def status_of(service: Service, heartbeat: Heartbeat) -> ServiceStatus:
    """What the scheduler answers at its status port."""

    def ledgers() -> list[str]:
        urls = {state.ledger_url for state in service.snapshot().campaigns}
        return sorted(url for url in urls if url is not None)

    def samples() -> list[Sample]:
        snapshot = service.snapshot()
        found = [Sample("schedule_problems", snapshot.problems)]
        for state in snapshot.campaigns:
            labels = campaign_labels(state.campaign, state.base_url or "")
            found.append(Sample("campaign_needs_attention", state.attention, labels))
            if state.next is not None:
                found.append(Sample("next_start_timestamp_seconds", state.next.timestamp(), labels))
        return found

    return ServiceStatus("schedule", ledgers, heartbeat, samples=samples)
