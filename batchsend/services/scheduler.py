"""`batchsend schedule`: starts campaigns at their times, each in a separate process.

Its log is JSON objects, one a line, like that of the started processes (`cli/json_log.py`): `time`, `event`,
`campaign`, `file`, `message`, and where they are known `planned` (the time of a start), `next` and `exit`.

- `watching`, `removed`, `problem`: about a campaign file
- `started`, `goes_on` (resumed), `finished`: about a start
- `missed`: this start was not made and will not be; `already`: it was made before, or by another scheduler
- `stopping`, `stopped`: about the scheduler
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from batchsend.campaigns.campaign import Campaign, schedule_words, times_of
from batchsend.campaigns.cron import Missed, OneTime, Times, due
from batchsend.errors import BatchsendError
from batchsend.exits import Exit
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.planned_starts import Scheduled, Scheduler, StartOutcome, claim, end, take_over, watch
from batchsend.runs.api import prepare
from batchsend.services.schedule_files import CampaignFiles, Change, nothing_to_start, usual_folders
from batchsend.utils.processes import Child, ChildProcess, Launch
from batchsend.utils.signals import handling_signals
from batchsend.utils.timestamps import for_people, now, to_text

#: How often to check the clock, the files and the started processes.
_CHECK_SECONDS = 0.5
#: How long to wait after an error, such as a ledger that cannot be used.
_RETRY_AFTER = timedelta(seconds=60)
_INSTANT = timedelta(microseconds=1)

Say = Callable[[str], None]


@dataclass
class _Watched:
    """A campaign file with its times. Starts up to `handled` are done; `None` until it was read from the ledger."""

    path: Path
    campaign: Campaign
    times: Times
    handled: datetime | None = None
    next: datetime | None = None
    not_before: datetime | None = None
    last_problem: str | None = None

    @property
    def expires_after(self) -> timedelta:
        assert self.campaign.schedule is not None  # noqa: S101 - only campaigns with one are watched
        return self.campaign.schedule.expires_after


class _Turn(NamedTuple):
    """One check of a campaign: its ledger, the campaign there, and the time."""

    ledger: Ledger
    scheduled: Scheduled
    moment: datetime


@dataclass
class _Running:
    campaign: Campaign
    scheduled: Scheduled
    planned: datetime
    child: Child
    interrupted: bool = False


@dataclass
class Service:
    """Watches campaign files and starts them. `turn` does everything that is due now, without waiting."""

    files: CampaignFiles
    ledger_option: str | None
    log: Say
    launch: Launch = ChildProcess
    clock: Callable[[], datetime] = now
    scheduler: Scheduler = field(default_factory=lambda: Scheduler(socket.gethostname(), os.getpid()))
    _watched: dict[Path, _Watched] = field(default_factory=dict)
    _running: dict[Path, _Running] = field(default_factory=dict)
    #: Files whose campaign has the same name as another one.
    _clashing: set[Path] = field(default_factory=set)

    @property
    def watching(self) -> bool:
        """Whether any campaign has times."""
        return bool(self._watched)

    @property
    def running(self) -> bool:
        """Whether any campaign is being sent."""
        return bool(self._running)

    def turn(self) -> None:
        self.reap()
        self.read_files()
        for watched in list(self._watched.values()):
            self._check(watched)

    def read_files(self) -> None:
        """Notices new, changed and removed campaign files."""
        changes = list(self.files.changes())
        if any(change.path not in self._clashing for change in changes):
            # One of the changed files may have had the same name.
            for path in self._clashing:
                self.files.forget(path)
        for change in changes:
            self._clashing.discard(change.path)
            before = self._watched.pop(change.path, None)
            problem = change.problem or self._same_name(change)
            if problem is not None:
                self._log(
                    "problem", f"{problem}\nIt is not started until that is corrected.", path=change.path
                )
            elif change.campaign is not None:
                self._watched[change.path] = _Watched(change.path, change.campaign, times_of(change.campaign))
            elif before is not None:
                why = "has no [schedule] any more" if change.exists else "was removed"
                self._log(
                    "removed",
                    f"{change.path}: the file {why}, so the campaign is not started any more.",
                    before.campaign,
                )

    def _same_name(self, change: Change) -> str | None:
        name = change.campaign.name if change.campaign is not None else None
        for path, other in self._watched.items():
            if path.parent == change.path.parent and other.campaign.name == name:
                self._clashing.add(change.path)
                return (
                    f'{change.path}: {path.name} has the same name "{name}". Give one of them another name.'
                )
        return None

    def reap(self) -> None:
        """Records how started processes ended."""
        for path, running in list(self._running.items()):
            exit_code = running.child.poll()
            if exit_code is None:
                continue
            del self._running[path]
            self._log(
                "finished",
                f"Finished with exit code {exit_code}.",
                running.campaign,
                planned=to_text(running.planned),
                exit=exit_code,
            )
            if running.interrupted and exit_code == Exit.INTERRUPTED:
                continue  # the next scheduler resumes it
            try:
                with self._ledger(running.campaign) as (ledger, scheduled):
                    end(ledger, scheduled, running.planned, exit_code, self.clock())
            except BatchsendError as error:
                self._log("problem", str(error), running.campaign)

    def interrupt(self) -> None:
        """Stops every started process; each finishes its requests in flight first."""
        for running in self._running.values():
            running.interrupted = True
            running.child.interrupt()

    def _check(self, watched: _Watched) -> None:
        moment = self.clock()
        if watched.not_before is not None and moment < watched.not_before:
            return
        if watched.handled is not None and (watched.next is None or moment < watched.next):
            return
        try:
            with self._ledger(watched.campaign) as (ledger, scheduled):
                turn = _Turn(ledger, scheduled, moment)
                if watched.handled is None:
                    self._begin(watched, turn)
                else:
                    self._start_due(watched, turn)
        except Exception as error:  # noqa: BLE001 - a problem of one campaign must not stop the others
            problem = (
                str(error) if isinstance(error, BatchsendError) else f"{watched.path}: {type(error).__name__}"
            )
            watched.not_before = moment + _RETRY_AFTER
            if problem != watched.last_problem:
                self._log("problem", f"{problem}\nIt is retried every minute.", watched.campaign)
            watched.last_problem = problem
        else:
            watched.not_before = watched.last_problem = None

    def _begin(self, watched: _Watched, turn: _Turn) -> None:
        handled = watch(turn.ledger, turn.scheduled, schedule_words(watched.campaign), turn.moment)
        if isinstance(watched.times, OneTime):
            # A single start is made even if no scheduler ran at that time.
            handled = watched.times.at - _INSTANT
        self._mark_handled(watched, handled)
        ahead = watched.times.after(turn.moment)
        upcoming = f"next start {self._local(watched, ahead)}" if ahead else "no further start"
        self._log(
            "watching",
            f"{schedule_words(watched.campaign)}: {upcoming}",
            watched.campaign,
            next=to_text(ahead) if ahead else None,
        )
        started = self._start_due(watched, turn)
        if not started and all(running.scheduled != turn.scheduled for running in self._running.values()):
            self._resume(watched, turn)

    def _start_due(self, watched: _Watched, turn: _Turn) -> bool:
        """Starts the campaign if a start is due and logs missed starts. Returns whether it was started."""
        assert watched.handled is not None  # noqa: S101 - it was read from the ledger before
        found = due(watched.times, watched.handled, turn.moment, watched.expires_after)
        if found.missed is not None:
            self._skip(watched, turn, found.missed)
        if found.start is None:
            return False
        planned, when = found.start, self._local(watched, found.start)
        started = watched.path not in self._running and self._claim(turn, planned, StartOutcome.STARTED)
        if started:
            late = "" if turn.moment - planned < _RETRY_AFTER else ", late: no scheduler could start it then"
            self._launch(watched, turn.scheduled, planned, "started", f"Started for {when}{late}.")
        elif watched.path in self._running:
            self._claim(turn, planned, StartOutcome.MISSED)
            message = f"Missed: {when}, because the previous start still runs."
            self._log("missed", message, watched.campaign, planned=to_text(planned))
        else:
            message = f"The start of {when} was made before, or by another scheduler of this ledger."
            self._log("already", message, watched.campaign, planned=to_text(planned))
        self._mark_handled(watched, planned)
        return started

    def _skip(self, watched: _Watched, turn: _Turn, missed: Missed) -> None:
        """Logs missed starts that expired."""
        first, last = missed.first, missed.last
        if self._claim(turn, last, StartOutcome.MISSED):
            span = f"{self._local(watched, first)} to " if first < last else ""
            self._log(
                "missed",
                f"Missed: {span}{self._local(watched, last)}. Missed starts are skipped.",
                watched.campaign,
                planned=to_text(last),
                first=to_text(first),
            )
        self._mark_handled(watched, last)

    def _claim(self, turn: _Turn, planned: datetime, outcome: StartOutcome) -> bool:
        return claim(turn.ledger, turn.scheduled, planned, outcome, self.scheduler, turn.moment)

    def _resume(self, watched: _Watched, turn: _Turn) -> None:
        since = turn.moment - watched.expires_after
        planned = take_over(
            turn.ledger, turn.scheduled, since, self.scheduler, psutil.pid_exists, turn.moment
        )
        if planned is not None:
            message = f"The start of {self._local(watched, planned)} was interrupted and is resumed."
            self._launch(watched, turn.scheduled, planned, "goes_on", message)

    def _launch(
        self, watched: _Watched, scheduled: Scheduled, planned: datetime, event: str, message: str
    ) -> None:
        path = watched.path
        ledger = ["--ledger", self.ledger_option] if self.ledger_option is not None else []
        arguments = ["send", str(path), "--yes", "--log-format", "json", *ledger]
        self._log(event, message, watched.campaign, planned=to_text(planned))
        try:
            child = self.launch(arguments)
        except OSError as error:
            self._log("problem", f"{path}: it could not be started ({error.strerror}).", watched.campaign)
            return
        self._running[path] = _Running(watched.campaign, scheduled, planned, child)

    @staticmethod
    def _mark_handled(watched: _Watched, planned: datetime) -> None:
        watched.handled, watched.next = planned, watched.times.after(planned)

    @contextmanager
    def _ledger(self, campaign: Campaign) -> Iterator[tuple[Ledger, Scheduled]]:
        start = prepare(campaign, ledger=self.ledger_option)
        with closing(open_ledger(start.ledger_url)) as ledger:
            yield ledger, Scheduled(campaign.name, start.settings.base_url)

    @staticmethod
    def _local(watched: _Watched, moment: datetime) -> str:
        return for_people(moment, watched.campaign.zone)

    def _log(
        self,
        event: str,
        message: str,
        campaign: Campaign | None = None,
        *,
        path: Path | None = None,
        **facts: Any,
    ) -> None:
        subject: Mapping[str, Any] = {}
        if campaign is not None:
            subject = {"campaign": campaign.name, "file": str(campaign.path)}
        elif path is not None:
            subject = {"file": str(path)}
        entry = {"time": to_text(self.clock()), "event": event, **subject, "message": message, **facts}
        self.log(json.dumps(entry, ensure_ascii=False))


def serve(named: Sequence[Path], ledger_option: str | None, log: Say) -> Exit:
    """Starts campaigns at their times until a signal stops it. Raises `BatchsendError` where there are none."""
    service = Service(CampaignFiles(named, usual_folders()), ledger_option, log)
    service.read_files()
    if not service.watching:
        raise nothing_to_start(named)
    interrupted_runs = False
    signals: list[int] = []
    with handling_signals(signals.append):
        while not signals:
            service.turn()
            time.sleep(_CHECK_SECONDS)
        forwarded = 0
        if service.running:
            interrupted_runs = True
            log(_json_line("stopping", "Stopping: requests in flight are finished and recorded first."))
        while service.running:
            if forwarded < len(signals):
                forwarded = len(signals)
                service.interrupt()
            time.sleep(_CHECK_SECONDS / 5)
            service.reap()
    log(_json_line("stopped", "The scheduler has stopped. No campaign starts until it runs again."))
    return Exit.INTERRUPTED if interrupted_runs else Exit.DONE


def _json_line(event: str, message: str) -> str:
    return json.dumps({"time": to_text(now()), "event": event, "message": message})
