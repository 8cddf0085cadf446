"""`batchsend schedule`: starts campaigns at their times, each in a separate process.

A start that was cut short is taken up by its campaign's locks: neither its scheduler nor its sender holds one. What
the ledger records is all that a scheduler has to know, so it can be killed and begun anywhere at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from batchsend.campaigns.campaign import Campaign, schedule_words, times_of
from batchsend.campaigns.cron import Missed, OneTime, due
from batchsend.errors import BatchsendError, BusyError
from batchsend.exits import Exit
from batchsend.ledger import planned_starts
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.planned_starts import (
    PlannedStart,
    Scheduled,
    StartOutcome,
    last_made,
    last_planned,
    rows_left,
    stop_requested,
)
from batchsend.runs.api import prepare
from batchsend.runs.notify import notice_of_problem, tell_in_background
from batchsend.runs.start import Start
from batchsend.sending.locks import campaign_is_locked, scheduling_lock
from batchsend.services.schedule_files import CampaignFiles, Change
from batchsend.services.schedule_log import EventLog
from batchsend.services.schedule_state import (
    CLOCK_GRACE,
    Running,
    Snapshot,
    Turn,
    Watched,
    needs_attention,
    send_arguments,
)
from batchsend.services.start_records import (
    forget_future,
    give_up,
    is_tried_again,
    say_finished,
    say_retry,
    settle,
)
from batchsend.utils.processes import ChildProcess, Launch
from batchsend.utils.timestamps import now

#: How long to wait after an error, such as a ledger that cannot be used.
_RETRY_AFTER = timedelta(seconds=60)
#: How often to look for starts that were cut short: usually, and while the last start is not finished.
_LOOK_EVERY, _LOOK_SOON = timedelta(seconds=60), timedelta(seconds=2)
_INSTANT = timedelta(microseconds=1)
_NOT_WATCHED = (
    "It is not tried again, because its file was removed or has another campaign now. `batchsend send` sends the "
    "rest."
)

Say = Callable[[str], object]


@dataclass
class Service:
    """Watches campaign files and starts them. `turn` does everything that is due now, without waiting."""

    files: CampaignFiles
    ledger_option: str | None
    log: Say
    launch: Launch = ChildProcess
    clock: Callable[[], datetime] = now
    #: Called all the time while it works.
    beat: Callable[[], None] = lambda: None
    _watched: dict[Path, Watched] = field(default_factory=dict)
    _running: dict[Path, Running] = field(default_factory=dict)
    #: Files that cannot be started; and those among them whose campaign has the same name as another one.
    _problems: set[Path] = field(default_factory=set)
    _clashing: set[Path] = field(default_factory=set)
    #: Whether rows were left of a campaign that is not watched any more.
    _left_rows: bool = False
    _turned_at: datetime | None = None

    def __post_init__(self) -> None:
        self._say = EventLog(self.log, self.clock, self._alarm)

    @property
    def watching(self) -> bool:
        """Whether any campaign has times."""
        return bool(self._watched)

    @property
    def running(self) -> bool:
        """Whether any campaign is being sent."""
        return bool(self._running)

    @property
    def needs_attention(self) -> bool:
        """Whether a person has to look at a campaign's last start, or at a file."""
        campaigns = (one.attention or one.last_problem is not None for one in self._watched.values())
        return self._left_rows or bool(self._problems) or any(campaigns)

    def snapshot(self) -> Snapshot:
        """A copy of the state; another thread may ask for it."""
        running = set(self._running)
        campaigns = tuple(w.state(running=w.path in running) for w in list(self._watched.values()))
        return Snapshot(self._turned_at, campaigns, len(self._problems))

    def _alarm(self, campaign: Campaign, message: str) -> None:
        notice = notice_of_problem(campaign.name, message)
        tell_in_background(campaign, notice, lambda problem: self._say("warning", problem, campaign))

    def turn(self) -> None:
        moment = self.clock()
        if self._turned_at is not None and moment < self._turned_at - CLOCK_GRACE:
            for watched in self._watched.values():
                watched.begin_again()
        self._turned_at = moment
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
            self._read(change)

    def _read(self, change: Change) -> None:
        path, campaign = change.path, change.campaign
        self._clashing.discard(path)
        self._problems.discard(path)
        before = self._watched.pop(path, None)
        problem = change.problem or self._same_name(change)
        if problem is not None:
            self._problems.add(path)
            self._say("problem", f"{problem}\nIt is not started until that is corrected.", file=path)
        elif campaign is not None:
            self._watched[path] = Watched(path, campaign, times_of(campaign))
        elif before is not None:
            why = "has no [schedule] any more" if change.exists else "was removed"
            message = f"{path}: the file {why}, so the campaign is not started any more."
            self._say("removed", message, before.campaign)

    def _same_name(self, change: Change) -> str | None:
        name = change.campaign.name if change.campaign is not None else None
        for path, other in self._watched.items():
            if path.parent == change.path.parent and other.campaign.name == name:
                self._clashing.add(change.path)
                return (
                    f'{change.path}: {path.name} has the same name "{name}". Give one of them another name.'
                )
        return None

    # The end of a start

    def reap(self) -> None:
        """Records how started processes ended."""
        self.beat()
        for path, running in list(self._running.items()):
            exit_code = running.child.poll()
            if exit_code is not None:
                del self._running[path]
                with running.lock:
                    self._record(running, exit_code)

    def interrupt(self) -> None:
        """Stops every started process; each finishes its requests in flight first."""
        for running in self._running.values():
            running.interrupted = True
            running.child.interrupt()

    def _record(self, running: Running, exit_code: int) -> None:
        campaign, moment = running.campaign, self.clock()
        ended = replace(running.start, ended_at=moment, exit_code=exit_code)
        waiting, again, cut_short = None, False, False
        try:
            with self._ledger(campaign) as (ledger, scheduled):
                waiting = rows_left(ledger, scheduled, ended) if exit_code == Exit.LATER else None
                # What a signal interrupted is resumed, by the next scheduler if this one ends.
                cut_short = exit_code == Exit.INTERRUPTED and (
                    running.interrupted or not stop_requested(ledger, scheduled, running.start)
                )
                if not cut_short:
                    planned_starts.end(ledger, scheduled, running.start, exit_code, moment)
                    ended = planned_starts.with_approval(ledger, scheduled, ended)
                again = not running.interrupted and is_tried_again(ledger, scheduled, campaign, ended)
        except BatchsendError as error:
            self._say("problem", str(error), campaign)
        say_finished(self._say, campaign, ended, "Finished", waiting)
        if (watched := self._watched.get(campaign.path)) is not None:
            watched.look_at = moment + _RETRY_AFTER if cut_short else None
            watched.last, watched.attention = ended, needs_attention(ended, None)
        if not self._watches(campaign) and not running.interrupted and (cut_short or ended.unfinished):
            self._give_up_unwatched(campaign, ended)
        elif again:
            say_retry(self._say, campaign, ended)

    def _give_up_unwatched(self, campaign: Campaign, ended: PlannedStart) -> None:
        """Reports the rows of a campaign that this scheduler does not start any more."""
        self._left_rows = True
        watched = Watched(campaign.path, campaign, times_of(campaign))
        try:
            with self._ledger(campaign) as (ledger, scheduled):
                give_up(Turn(watched, ledger, scheduled, self.clock()), self._say, ended, _NOT_WATCHED)
        except BatchsendError as error:
            self._say("problem", str(error), campaign)

    def _watches(self, campaign: Campaign) -> bool:
        """Whether the campaign is watched, or its file only has to be corrected."""
        watched = self._watched.get(campaign.path)
        return campaign.path in self._problems if watched is None else watched.campaign.name == campaign.name

    # The check of a campaign

    def _check(self, watched: Watched) -> None:
        self.beat()
        moment = self.clock()
        if not watched.is_due(moment):
            return
        try:
            start = prepare(watched.campaign, ledger=self.ledger_option)
            # The status port has to know a ledger that cannot be opened, too.
            watched.base_url, watched.ledger_url = start.settings.base_url, start.ledger_url
            with _ledger_of(start) as (ledger, scheduled):
                turn = Turn(watched, ledger, scheduled, moment)
                if watched.handled is None:
                    self._begin(turn)
                if watched.handled is not None:
                    self._look(turn, watched.handled)
        except Exception as error:  # noqa: BLE001 - a problem of one campaign must not stop the others
            known = isinstance(error, BatchsendError)
            problem = str(error) if known else f"{watched.path}: {type(error).__name__}"
            watched.not_before = moment + _RETRY_AFTER
            if problem != watched.last_problem:
                self._say("problem", f"{problem}\nIt is retried every minute.", watched.campaign)
            watched.last_problem = problem
        else:
            watched.not_before = watched.last_problem = None

    def _begin(self, turn: Turn) -> None:
        """Reads from the ledger which starts are done. Waits where that is in the future."""
        watched, moment, words = turn.watched, turn.moment, schedule_words(turn.watched.campaign)
        handled = planned_starts.watch(turn.ledger, turn.scheduled, words, moment)
        if handled > moment + CLOCK_GRACE:
            if not forget_future(turn, self._say, handled):
                return
            handled = planned_starts.watch(turn.ledger, turn.scheduled, words, moment)
        watched.doubted_at = None
        if isinstance(watched.times, OneTime):
            # A single start is made even if no scheduler ran at that time.
            handled = watched.times.at - _INSTANT
        watched.mark_handled(handled)
        ahead = watched.times.after(moment)
        upcoming = f"next start {turn.local(ahead)}" if ahead else "no further start"
        self._say("watching", f"{words}: {upcoming}", watched.campaign, next=ahead)
        if not watched.campaign.guards.require_history:
            self._say(
                "warning",
                "A start with a new ledger, such as after the old one was lost, would text everyone again. To refuse "
                "that, write require_history = true under [guards].",
                watched.campaign,
            )

    def _look(self, turn: Turn, handled: datetime) -> None:
        """Makes the start that is due, takes up one that did not finish, and logs missed starts."""
        watched = turn.watched
        watched.look_at = turn.moment + _LOOK_EVERY
        found = due(watched.times, handled, turn.moment, watched.expires_after)
        if found.missed is not None:
            self._skip(turn, found.missed)
        last = last_made(turn.ledger, turn.scheduled)
        newer = found.start
        if newer is not None and last is not None and newer <= last.planned_at:
            self._already(turn, newer)
            newer = None
        if watched.path in self._running:
            if newer is not None:
                self._pass_over(turn, newer)
        elif newer is not None or (last is not None and last.unfinished):
            self._act(turn, last, newer)
            waits = last is not None and last.approval is not None
            watched.look_at = turn.moment + (_LOOK_EVERY if waits else _LOOK_SOON)
        self._remember_last(turn)

    def _remember_last(self, turn: Turn) -> None:
        watched, last = turn.watched, last_planned(turn.ledger, turn.scheduled)
        left = None if last is None or last.ended_at is None else rows_left(turn.ledger, turn.scheduled, last)
        watched.last = last
        watched.attention = last is not None and needs_attention(last, left)

    def _act(self, turn: Turn, last: PlannedStart | None, newer: datetime | None) -> None:
        """Settles the last start and launches the campaign, under the lock of its scheduled starts."""
        with ExitStack() as lock:
            try:
                lock.enter_context(scheduling_lock(*turn.lock))
            except BusyError:
                # Another scheduler makes a start, or looks at this moment; then this is tried again at the next turn.
                if newer is not None and last is not None and last.open and campaign_is_locked(*turn.lock):
                    self._pass_over(turn, newer)
                return
            unfinished = last if last is not None and last.unfinished else None
            if (
                unfinished is not None
                and (newer is None or unfinished.open)
                and campaign_is_locked(*turn.lock)
            ):
                if newer is not None:
                    self._pass_over(turn, newer)
                return
            start = None if newer is None else self._claim(turn, newer)
            again = None if unfinished is None else settle(turn, self._say, unfinished, start)
            if start is not None:
                late = turn.moment - start.planned_at >= _RETRY_AFTER
                why = ", late: no scheduler could start it then" if late else ""
                message = f"Started for {turn.local(start.planned_at)}{why}."
                self._launch(turn, start, "started", message, lock)
            elif again is not None:
                message = f"The start of {turn.local(again.planned_at)} did not finish and is resumed."
                # A run that was begun has fewer texts left than were expected.
                begun = rows_left(turn.ledger, turn.scheduled, again) is not None
                self._launch(turn, again, "goes_on", message, lock, begun=begun)

    def _claim(self, turn: Turn, planned: datetime) -> PlannedStart | None:
        start = planned_starts.claim(turn.ledger, turn.scheduled, planned, turn.moment)
        if start is None:
            self._already(turn, planned)
        turn.watched.mark_handled(planned)
        return start

    def _already(self, turn: Turn, planned: datetime) -> None:
        message = (
            f"The start of {turn.local(planned)} was made before, or by another scheduler of this ledger."
        )
        self._say("already", message, turn.watched.campaign, planned=planned)
        turn.watched.mark_handled(planned)

    def _pass_over(self, turn: Turn, planned: datetime) -> None:
        """Logs a start as missed because the previous one still runs."""
        words = f"{turn.local(planned)}, because the previous start still runs."
        self._miss(turn, planned, words, Exit.BUSY)

    def _skip(self, turn: Turn, missed: Missed) -> None:
        """Logs missed starts that expired."""
        first, last = missed.first, missed.last
        span = f"{turn.local(first)} to " if first < last else ""
        self._miss(turn, last, f"{span}{turn.local(last)}. Missed starts are skipped.", first=first)

    def _miss(
        self, turn: Turn, planned: datetime, words: str, exit_code: int | None = None, **facts: Any
    ) -> None:
        """Records a start as missed. Logs it unless another scheduler has recorded it."""
        outcome = StartOutcome.MISSED
        if planned_starts.claim(turn.ledger, turn.scheduled, planned, turn.moment, outcome, exit_code):
            self._say("missed", f"Missed: {words}", turn.watched.campaign, planned=planned, **facts)
        turn.watched.mark_handled(planned)

    def _launch(
        self,
        turn: Turn,
        start: PlannedStart,
        event: str,
        message: str,
        lock: ExitStack,
        *,
        begun: bool = False,
    ) -> None:
        watched, campaign = turn.watched, turn.watched.campaign
        self._say(event, message, campaign, planned=start.planned_at)
        try:
            child = self.launch(send_arguments(campaign, self.ledger_option, begun=begun))
        except OSError as error:
            planned_starts.end(turn.ledger, turn.scheduled, start, Exit.STOPPED, turn.moment)
            self._say("problem", f"{watched.path}: it could not be started ({error.strerror}).", campaign)
            return
        self._running[watched.path] = Running(campaign, turn.scheduled, start, child, lock.pop_all())

    def _ledger(self, campaign: Campaign) -> AbstractContextManager[tuple[Ledger, Scheduled]]:
        return _ledger_of(prepare(campaign, ledger=self.ledger_option))


@contextmanager
def _ledger_of(start: Start) -> Iterator[tuple[Ledger, Scheduled]]:
    with closing(open_ledger(start.ledger_url)) as ledger:
        yield ledger, Scheduled(start.campaign.name, start.settings.base_url)
