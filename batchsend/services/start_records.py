"""What a scheduler does about the starts in its ledger: those that did not finish, and those in the future.

It takes a start over, tries it again later, or gives it up and logs how many rows were not sent.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from batchsend.campaigns.campaign import Campaign, times_of
from batchsend.exits import Exit
from batchsend.ledger import planned_starts
from batchsend.ledger.approvals import ApprovalState
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.planned_starts import PlannedStart, Scheduled, rows_left
from batchsend.services.schedule_log import EventLog
from batchsend.services.schedule_state import Turn, expires_after, real_exit, retry_at
from batchsend.utils.timestamps import for_people
from batchsend.utils.wording import row_count, time_span

#: How long starts must be in the future before they are forgotten: a computer that has just booted may not have set
#: its clock yet.
_CLOCK_DOUBT = timedelta(seconds=60)


def forget_future(turn: Turn, say: EventLog, handled: datetime) -> bool:
    """Forgets starts in the future once they have been there for a while. Returns whether it did.

    `handled`: the last of them.
    """
    watched, moment = turn.watched, turn.moment
    campaign = watched.campaign
    if watched.doubted_at is None:
        watched.doubted_at = moment
        message = (
            f"The ledger has a start of this campaign planned for {turn.local(handled)}, which is in the future. If "
            f"this computer's clock is right, that start is forgotten in {time_span(_CLOCK_DOUBT.seconds)}."
        )
        say("clock", message, campaign, planned=handled)
    if moment - watched.doubted_at < _CLOCK_DOUBT:
        return False
    starts = planned_starts.forget_future(turn.ledger, turn.scheduled, moment, watched.doubted_at)
    message = (
        f"This computer's clock was once ahead, up to {turn.local(handled)}. Starts planned for after now are "
        f"forgotten, and the schedule continues with the right time. Customers who were texted are still known."
    )
    say("forgotten", message, campaign, planned=handled, starts=len(starts))
    return True


def settle(turn: Turn, say: EventLog, last: PlannedStart, newer: PlannedStart | None) -> PlannedStart | None:
    """Takes over an unfinished start that no process makes now, or gives it up. Returns it if it is to be resumed.

    `newer`: a later start that is made now. The caller holds the lock of the campaign's scheduled starts.
    """
    last = _with_real_end(turn, say, last)
    if not last.unfinished:
        return None
    again = turn.moment if last.open else retry_at(last)
    why = _why_not_again(turn.ledger, turn.scheduled, turn.watched.campaign, last, max(again, turn.moment))
    if newer is not None:
        why = f"The start of {turn.local(newer.planned_at)} follows."
    if why is not None:
        give_up(turn, say, last, why)
        return None
    if turn.moment < again or last.approval is ApprovalState.ASKED:
        return None
    return planned_starts.take_over(turn.ledger, turn.scheduled, last, turn.moment)


def _with_real_end(turn: Turn, say: EventLog, last: PlannedStart) -> PlannedStart:
    """The start, with the end that its process recorded without its scheduler."""
    attempts = planned_starts.attempts_since(turn.ledger, turn.scheduled, last.claimed_at)
    exit_code = real_exit(last, attempts, turn.moment)
    if exit_code is None:
        return last
    ended = replace(last, ended_at=turn.moment, exit_code=exit_code)
    if planned_starts.end(turn.ledger, turn.scheduled, last, exit_code, turn.moment):
        waiting = rows_left(turn.ledger, turn.scheduled, last) if exit_code == Exit.LATER else None
        subject = f"The start of {turn.local(last.planned_at)} had finished without its scheduler,"
        say_finished(say, turn.watched.campaign, ended, subject, waiting)
        if is_tried_again(turn.ledger, turn.scheduled, turn.watched.campaign, ended):
            say_retry(say, turn.watched.campaign, ended)
    return ended


def is_tried_again(ledger: Ledger, who: Scheduled, campaign: Campaign, ended: PlannedStart) -> bool:
    """Whether an ended start is tried again, unless a later one is due by then."""
    return ended.unfinished and _why_not_again(ledger, who, campaign, ended, retry_at(ended)) is None


def _why_not_again(
    ledger: Ledger, who: Scheduled, campaign: Campaign, start: PlannedStart, moment: datetime
) -> str | None:
    """Why an unfinished start is not tried again at this time, as a sentence; `None` if it is."""
    if moment > start.planned_at + expires_after(campaign):
        expired = time_span(expires_after(campaign).total_seconds())
        return f"It is not tried again, because expires_after is {expired}. `batchsend send` sends the rest."
    if planned_starts.was_given_up(ledger, who, start):
        return "It is not tried again, because a person stopped its run for good."
    if start.exit_code == Exit.STOPPED and planned_starts.costs_rows(ledger, who, start):
        return (
            "It is not tried again, because two attempts in a row texted no one and left rows failed or unconfirmed. "
            "See the results, then send the rest with `batchsend send`."
        )
    return None


def give_up(turn: Turn, say: EventLog, last: PlannedStart, why: str) -> None:
    """Records and logs that a start is not tried again. `why`: a sentence."""
    if not planned_starts.give_up(turn.ledger, turn.scheduled, last, turn.moment):
        return
    left = rows_left(turn.ledger, turn.scheduled, last)
    how = "was cut short" if last.exit_code is None else f"ended with exit code {last.exit_code}"
    if last.approval is not None:
        how = "was not approved in time"
    message = f"The start of {turn.local(last.planned_at)} {how}; {_left_words(left)}. {why}"
    say("missed", message, turn.watched.campaign, planned=last.planned_at, left=left)


def say_finished(
    say: EventLog, campaign: Campaign, ended: PlannedStart, subject: str, waiting: int | None
) -> None:
    """Logs how a start ended. `waiting`: the rows that wait, after an exit that says that some do."""
    code = ended.exit_code
    killed = f" (killed by signal {-code})" if code is not None and code < 0 else ""
    message = f"{subject} with exit code {code}{killed}.{_waiting_words(campaign, waiting, ended)}"
    facts: dict[str, Any] = {} if waiting is None else {"waiting": waiting}
    say("finished", message, campaign, planned=ended.planned_at, exit=ended.exit_code, **facts)


def say_retry(say: EventLog, campaign: Campaign, ended: PlannedStart) -> None:
    """Logs when the start is tried again, or that it waits for an approval."""
    if ended.approval is not None:
        until = ended.planned_at + expires_after(campaign)
        planned, at = (for_people(moment, campaign.zone) for moment in (ended.planned_at, until))
        message = f"The start of {planned} waits until {at} for another person's approval."
        say("approval", message, campaign, planned=ended.planned_at, at=until)
        return
    planned, again = (for_people(moment, campaign.zone) for moment in (ended.planned_at, retry_at(ended)))
    message = f"The start of {planned} is tried again at {again}."
    say("retry", message, campaign, planned=ended.planned_at, at=retry_at(ended))


def _waiting_words(campaign: Campaign, waiting: int | None, ended: PlannedStart) -> str:
    if not waiting:
        return ""
    following = times_of(campaign).after(ended.ended_at or ended.planned_at)
    when = "No further start is planned."
    if following is not None:
        when = f"The next start is {for_people(following, campaign.zone)}."
    return f" {row_count(waiting)} waiting for quiet hours to end or for tomorrow's cap. {when}"


def _left_words(left: int | None) -> str:
    return "it did not get as far as sending" if left is None else f"{row_count(left)} without an outcome"
