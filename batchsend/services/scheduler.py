"""`batchsend schedule`: starts campaigns at their times, each in a process of its own.

What it says are JSON objects, a line each, as those of its children (`job_log.py`): `time`, `event`, `campaign`,
`file`, `message`, and where they are known `planned` (the time that a start was for), `next` and `exit`.

- `watching`, `removed`, `problem`: of a campaign file
- `started`, `goes_on`, `finished`: of a start
- `missed`: nobody made this start, and nobody will; `already`: it was made before, or by another scheduler
- `stopping`, `stopped`: of the scheduler
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from batchsend.campaigns.campaign import Campaign, schedule_words, times_of
from batchsend.campaigns.cron import OneTime, Times, due
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

#: Seconds between two looks at the clock, the files and the children.
_LOOK_SECONDS = 0.5
#: After a ledger could not be used, it is tried again.
_AGAIN = timedelta(seconds=60)
_INSTANT = timedelta(microseconds=1)

Say = Callable[[str], None]


@dataclass
class _Watched:
    """A campaign with its times. `handled`: up to when they are dealt with; `None` until the ledger was asked."""

    campaign: Campaign
    times: Times
    handled: datetime | None = None
    next: datetime | None = None
    not_before: datetime | None = None
    complained: str | None = None

    @property
    def expires_after(self) -> timedelta:
        assert self.campaign.schedule is not None  # noqa: S101 - only campaigns with one are watched
        return self.campaign.schedule.expires_after


@dataclass
class _Running:
    campaign: Campaign
    who: Scheduled
    planned: datetime
    child: Child
    interrupted: bool = False


@dataclass
class Service:
    """Looks after campaign files and starts them. `turn` does what is to be done now, and waits for nothing."""

    files: CampaignFiles
    ledger_option: str | None
    log: Say
    launch: Launch = ChildProcess
    clock: Callable[[], datetime] = now
    scheduler: Scheduler = field(default_factory=lambda: Scheduler(socket.gethostname(), os.getpid()))
    _watched: dict[Path, _Watched] = field(default_factory=dict)
    _running: dict[Path, _Running] = field(default_factory=dict)
    #: Files whose campaign has the name of another one.
    _clashing: set[Path] = field(default_factory=set)

    @property
    def watching(self) -> bool:
        """Is there any campaign that has times?"""
        return bool(self._watched)

    @property
    def running(self) -> bool:
        """Is any campaign being sent?"""
        return bool(self._running)

    def turn(self) -> None:
        self.reap()
        self.look()
        for path in list(self._watched):
            self._attend(path, self._watched[path])

    def look(self) -> None:
        """Notices new, changed and removed campaign files."""
        changes = list(self.files.changes())
        if any(change.path not in self._clashing for change in changes):
            # Whatever changed may have been what was in their way.
            for path in self._clashing:
                self.files.forget(path)
        for change in changes:
            self._clashing.discard(change.path)
            before = self._watched.pop(change.path, None)
            problem = change.problem or self._same_name(change)
            if problem is not None:
                self._say(
                    "problem", f"{problem}\nIt is not started until that is put right.", path=change.path
                )
            elif change.campaign is not None:
                self._watched[change.path] = _Watched(change.campaign, times_of(change.campaign))
            elif before is not None:
                why = "has no [schedule] any more" if change.exists else "is gone"
                self._say(
                    "removed", f"{change.path}: the file {why}: it is not started any more.", before.campaign
                )

    def _same_name(self, change: Change) -> str | None:
        name = change.campaign.name if change.campaign is not None else None
        for path, other in self._watched.items():
            if path.parent == change.path.parent and other.campaign.name == name:
                self._clashing.add(change.path)
                return f'{change.path}: {path.name} has the name "{name}" too; give one of them another name.'
        return None

    def reap(self) -> None:
        """Records how children ended."""
        for path, running in list(self._running.items()):
            exit_code = running.child.poll()
            if exit_code is None:
                continue
            del self._running[path]
            self._say(
                "finished",
                f"It ended with exit code {exit_code}.",
                running.campaign,
                planned=to_text(running.planned),
                exit=exit_code,
            )
            if running.interrupted and exit_code == Exit.INTERRUPTED:
                continue  # the next scheduler goes on with it
            try:
                with self._ledger(running.campaign) as (ledger, who):
                    end(ledger, who, running.planned, exit_code, self.clock())
            except BatchsendError as error:
                self._say("problem", str(error), running.campaign)

    def interrupt(self) -> None:
        """Lets every child finish what is in flight and end."""
        for running in self._running.values():
            running.interrupted = True
            running.child.interrupt()

    def _attend(self, path: Path, watched: _Watched) -> None:
        moment = self.clock()
        if watched.not_before is not None and moment < watched.not_before:
            return
        if watched.handled is not None and (watched.next is None or moment < watched.next):
            return
        try:
            with self._ledger(watched.campaign) as (ledger, who):
                if watched.handled is None:
                    self._begin(path, watched, ledger, who, moment)
                else:
                    self._start_due(path, watched, ledger, who, moment)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one campaign, the others start
            said = str(error) if isinstance(error, BatchsendError) else f"{path}: {type(error).__name__}"
            watched.not_before = moment + _AGAIN
            if said != watched.complained:
                self._say("problem", f"{said}\nIt is tried again every minute.", watched.campaign)
            watched.complained = said
        else:
            watched.not_before = watched.complained = None

    def _begin(self, path: Path, watched: _Watched, ledger: Ledger, who: Scheduled, moment: datetime) -> None:
        handled = watch(ledger, who, schedule_words(watched.campaign), moment)
        if isinstance(watched.times, OneTime):
            # It was written down as a date: whether somebody was watching by then does not matter.
            handled = watched.times.at - _INSTANT
        watched.handled, watched.next = handled, watched.times.after(handled)
        ahead = watched.times.after(moment)
        said = f"next start {self._local(watched, ahead)}" if ahead else "no start lies ahead"
        self._say(
            "watching",
            f"{schedule_words(watched.campaign)}: {said}",
            watched.campaign,
            next=to_text(ahead) if ahead else None,
        )
        if not self._start_due(path, watched, ledger, who, moment) and all(
            running.who != who for running in self._running.values()
        ):
            self._go_on(path, watched, ledger, who, moment)

    def _start_due(
        self, path: Path, watched: _Watched, ledger: Ledger, who: Scheduled, moment: datetime
    ) -> bool:
        """Starts what is due, and says what was missed. Gives whether it started it."""
        assert watched.handled is not None  # noqa: S101 - the ledger was asked first
        found = due(watched.times, watched.handled, moment, watched.expires_after)
        if found.missed is not None:
            last = found.missed.last
            if claim(ledger, who, last, StartOutcome.MISSED, self.scheduler, moment):
                first = found.missed.first
                span = f"{self._local(watched, first)} to " if first < last else ""
                self._say(
                    "missed",
                    f"Missed: {span}{self._local(watched, last)}. It is not made up for.",
                    watched.campaign,
                    planned=to_text(last),
                    first=to_text(first),
                )
            self._handled(watched, last)
        if found.start is None:
            return False
        planned, when = found.start, self._local(watched, found.start)
        if path in self._running:
            claim(ledger, who, planned, StartOutcome.MISSED, self.scheduler, moment)
            self._say(
                "missed",
                f"Missed: {when}, because the start before it still runs.",
                watched.campaign,
                planned=to_text(planned),
            )
        elif claim(ledger, who, planned, StartOutcome.STARTED, self.scheduler, moment):
            late = "" if moment - planned < _AGAIN else ", late: nobody could start it then"
            self._launch(path, watched, who, planned, "started", f"Started for {when}{late}.")
            self._handled(watched, planned)
            return True
        else:
            said = f"The start of {when} was made before, or by another scheduler of this ledger."
            self._say("already", said, watched.campaign, planned=to_text(planned))
        self._handled(watched, planned)
        return False

    def _go_on(self, path: Path, watched: _Watched, ledger: Ledger, who: Scheduled, moment: datetime) -> None:
        since = moment - watched.expires_after
        planned = take_over(ledger, who, since, self.scheduler, psutil.pid_exists, moment)
        if planned is not None:
            when = self._local(watched, planned)
            self._launch(
                path, watched, who, planned, "goes_on", f"The start of {when} was cut short: it goes on."
            )

    def _launch(
        self, path: Path, watched: _Watched, who: Scheduled, planned: datetime, event: str, message: str
    ) -> None:
        ledger = ["--ledger", self.ledger_option] if self.ledger_option is not None else []
        arguments = ["send", str(path), "--yes", "--log-format", "json", *ledger]
        self._say(event, message, watched.campaign, planned=to_text(planned))
        try:
            child = self.launch(arguments)
        except OSError as error:
            self._say("problem", f"{path}: it could not be started ({error.strerror}).", watched.campaign)
            return
        self._running[path] = _Running(watched.campaign, who, planned, child)

    @staticmethod
    def _handled(watched: _Watched, planned: datetime) -> None:
        watched.handled, watched.next = planned, watched.times.after(planned)

    @contextmanager
    def _ledger(self, campaign: Campaign) -> Iterator[tuple[Ledger, Scheduled]]:
        start = prepare(campaign, ledger=self.ledger_option)
        ledger = open_ledger(start.ledger_url)
        try:
            yield ledger, Scheduled(campaign.name, start.settings.base_url)
        finally:
            ledger.close()

    @staticmethod
    def _local(watched: _Watched, moment: datetime) -> str:
        return for_people(moment, watched.campaign.zone)

    def _say(
        self,
        event: str,
        message: str,
        campaign: Campaign | None = None,
        *,
        path: Path | None = None,
        **facts: Any,
    ) -> None:
        about: Mapping[str, Any] = {}
        if campaign is not None:
            about = {"campaign": campaign.name, "file": str(campaign.path)}
        elif path is not None:
            about = {"file": str(path)}
        said = {"time": to_text(self.clock()), "event": event, **about, "message": message, **facts}
        self.log(json.dumps(said, ensure_ascii=False))


def serve(named: Sequence[Path], ledger_option: str | None, log: Say) -> Exit:
    """Runs campaigns at their times until a signal ends it. Raises `BatchsendError` where there are none."""
    service = Service(CampaignFiles(named, usual_folders()), ledger_option, log)
    service.look()
    if not service.watching:
        raise nothing_to_start(named)
    cut_short = False
    signals: list[int] = []
    with handling_signals(signals.append):
        while not signals:
            service.turn()
            time.sleep(_LOOK_SECONDS)
        passed_on = 0
        if service.running:
            cut_short = True
            log(_json_line("stopping", "Stopping: what is in flight is finished and recorded first."))
        while service.running:
            if passed_on < len(signals):
                passed_on = len(signals)
                service.interrupt()
            time.sleep(_LOOK_SECONDS / 5)
            service.reap()
    log(_json_line("stopped", "The scheduler has ended. Nothing starts at its time until it runs again."))
    return Exit.INTERRUPTED if cut_short else Exit.DONE


def _json_line(event: str, message: str) -> str:
    return json.dumps({"time": to_text(now()), "event": event, "message": message})
