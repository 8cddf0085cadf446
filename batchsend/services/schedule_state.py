"""What a scheduler knows of its campaigns, and the rules about starts that did not finish."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.cron import Times
from batchsend.exits import Exit
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.planned_starts import FINAL_EXITS, Attempt, PlannedStart, Scheduled, StartOutcome
from batchsend.utils.processes import Child
from batchsend.utils.timestamps import for_people

#: The shortest and the longest time between two attempts at a start.
_RETRY_MIN, _RETRY_MAX = timedelta(minutes=1), timedelta(minutes=15)
#: Clocks may differ by this much, or be set back by it.
CLOCK_GRACE = timedelta(minutes=1)
#: The exits after which a person has to look. Unknown exit codes and signals count too.
_QUIET_EXITS = (None, Exit.DONE, Exit.BUSY, Exit.LATER, Exit.INTERRUPTED)


@dataclass(frozen=True)
class CampaignState:
    """A watched campaign. `last`: its last planned time; `attention`: whether a person has to look."""

    campaign: str
    file: Path
    base_url: str | None
    ledger_url: str | None
    next: datetime | None
    running: bool
    last: PlannedStart | None
    attention: bool


@dataclass
class Watched:
    """A campaign file with its times. Starts up to `handled` are done; `None` until it was read from the ledger."""

    path: Path
    campaign: Campaign
    times: Times
    handled: datetime | None = None
    next: datetime | None = None
    #: When to look for starts that were cut short.
    look_at: datetime | None = None
    #: Since when the ledger has starts in the future.
    doubted_at: datetime | None = None
    not_before: datetime | None = None
    last_problem: str | None = None
    base_url: str | None = None
    ledger_url: str | None = None
    last: PlannedStart | None = None
    attention: bool = False

    @property
    def expires_after(self) -> timedelta:
        return expires_after(self.campaign)

    def is_due(self, moment: datetime) -> bool:
        """Whether to open the ledger now."""
        if self.not_before is not None and moment < self.not_before:
            return False
        if self.handled is None or self.look_at is None or moment >= self.look_at:
            return True
        return self.next is not None and moment >= self.next

    def mark_handled(self, planned: datetime) -> None:
        self.handled, self.next = planned, self.times.after(planned)

    def state(self, *, running: bool) -> CampaignState:
        attention = self.attention or self.last_problem is not None
        return CampaignState(
            self.campaign.name,
            self.path,
            self.base_url,
            self.ledger_url,
            self.next,
            running,
            self.last,
            attention,
        )

    def begin_again(self) -> None:
        """Forgets all times, because the clock was set back."""
        self.handled = self.next = self.look_at = self.doubted_at = self.not_before = None


class Turn(NamedTuple):
    """One check of a campaign: its ledger, the campaign there, and the time."""

    watched: Watched
    ledger: Ledger
    scheduled: Scheduled
    moment: datetime

    @property
    def lock(self) -> tuple[Ledger, str, str]:
        """What the campaign's locks are about."""
        return self.ledger, self.scheduled.campaign, self.scheduled.base_url

    def local(self, moment: datetime) -> str:
        """The time in the campaign's zone, for people."""
        return for_people(moment, self.watched.campaign.zone)


@dataclass
class Running:
    """A process that makes a start. `lock` is held until its end is recorded."""

    campaign: Campaign
    scheduled: Scheduled
    start: PlannedStart
    child: Child
    lock: ExitStack
    interrupted: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What a scheduler does now. `turned_at`: its last turn; `problems`: files that cannot be started."""

    turned_at: datetime | None
    campaigns: tuple[CampaignState, ...]
    problems: int


def expires_after(campaign: Campaign) -> timedelta:
    assert campaign.schedule is not None  # noqa: S101 - only campaigns with one are watched
    return campaign.schedule.expires_after


def send_arguments(campaign: Campaign, ledger_option: str | None, *, begun: bool) -> list[str]:
    """The command that sends the campaign. `begun`: some texts of `expect` may be sent already."""
    options, schedule = [], campaign.schedule
    if schedule is not None:
        options += ["--wait"] * schedule.wait + ["--strict"] * schedule.strict
        if schedule.expect is not None and not begun:
            options += ["--expect", str(schedule.expect)]
    if ledger_option is not None:
        options += ["--ledger", ledger_option]
    return ["send", str(campaign.path), "--yes", "--log-format", "json", *options]


def retry_at(start: PlannedStart) -> datetime:
    """When to try an ended start again.

    Each attempt waits as long as the start has taken so far, so that waits double without being counted. An approval
    is not waited for any longer once it is given.
    """
    assert start.ended_at is not None  # noqa: S101
    if start.approval is not None:
        return start.ended_at
    taken = start.ended_at - start.planned_at
    return start.ended_at + min(max(taken, _RETRY_MIN), _RETRY_MAX)


def real_exit(start: PlannedStart, attempts: Sequence[Attempt], moment: datetime) -> int | None:
    """How an unfinished start ended according to its campaign's `attempts` since; `None` if it was cut short.

    A run that a signal stopped was cut short. A run that `batchsend stop` stopped stays stopped.
    """
    if attempts and attempts[-1].stop_requested:
        return Exit.INTERRUPTED
    # While a start was claimed, nothing else could start its campaign: the first attempt since then is its own.
    latest = moment + CLOCK_GRACE
    own = next((one for one in attempts if start.claimed_at <= one.started_at <= latest), None)
    if own is None or own.exit_code is None or own.exit_code == Exit.INTERRUPTED:
        return None
    return own.exit_code if start.open or own.exit_code in FINAL_EXITS else None


def needs_attention(start: PlannedStart, left: int | None) -> bool:
    """Whether a person has to look at this start. `left`: the rows that it did not send."""
    if start.outcome is StartOutcome.STARTED:
        return start.exit_code not in _QUIET_EXITS
    # Where another process sent the campaign all the time, its rows are what counts.
    return start.exit_code != Exit.BUSY or (start.ended_at is not None and left != 0)
