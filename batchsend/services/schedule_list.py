"""`batchsend schedule --list`: when campaigns start next and how their last starts ended, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from batchsend.campaigns.campaign import Campaign, schedule_words, times_of
from batchsend.errors import BatchsendError
from batchsend.ledger.opening import open_for_reading
from batchsend.ledger.planned_starts import PlannedStart, Scheduled, StartOutcome, last_planned
from batchsend.runs.api import prepare
from batchsend.services.schedule_files import CampaignFiles, nothing_to_start, usual_folders
from batchsend.utils.timestamps import for_people, now

#: How many of each campaign's next times are shown.
_SHOWN_TIMES = 3


@dataclass(frozen=True)
class ScheduleOverview:
    """`lines`: the campaigns with their times; `problems`: why files cannot be started."""

    lines: list[str]
    problems: list[str]


def overview(named: Sequence[Path], ledger_option: str | None) -> ScheduleOverview:
    """The named campaigns, or all in the usual folders. Raises `BatchsendError` where there are none."""
    lines: list[str] = []
    problems: list[str] = []
    for change in CampaignFiles(named, usual_folders()).changes():
        if change.problem is not None:
            problems.append(change.problem)
        elif change.campaign is not None:
            try:
                last = _last_start(change.campaign, ledger_option)
            except BatchsendError as error:
                problems.append(str(error))
                last = None
            lines += _lines(change.campaign, last, now())
    if not (lines or problems):
        raise nothing_to_start(named)
    return ScheduleOverview(lines, problems)


def _last_start(campaign: Campaign, ledger_option: str | None) -> PlannedStart | None:
    start = prepare(campaign, ledger=ledger_option)
    ledger = open_for_reading(start.ledger_url)
    if ledger is None:
        return None
    with closing(ledger):
        return last_planned(ledger, Scheduled(campaign.name, start.settings.base_url))


def _lines(campaign: Campaign, last: PlannedStart | None, moment: datetime) -> Iterator[str]:
    zone, times = campaign.zone, times_of(campaign)
    yield f"{campaign.name} ({campaign.path.name}): {schedule_words(campaign)}"
    following = times.after(moment)
    if following is None:
        yield "  no further start"
    for _ in range(_SHOWN_TIMES):
        if following is not None:
            yield f"  next {following.astimezone(zone):%a} {for_people(following, zone)}"
            following = times.after(following)
    if last is not None:
        yield f"  last {last.planned_at.astimezone(zone):%a} {for_people(last.planned_at, zone)}, {_end_words(last)}"


def _end_words(last: PlannedStart) -> str:
    ended = "" if last.exit_code is None else f"exit code {last.exit_code}"
    if last.outcome is StartOutcome.STARTED:
        if last.approval is not None:
            return "waiting for another person's approval"
        return ended or "still running, or cut short"
    if last.ended_at is not None:
        return f"given up after {ended or 'it was cut short'}"
    return "missed: the previous start was still running" if ended else "missed"
