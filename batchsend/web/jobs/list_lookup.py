"""Looks up the customers of a campaign's list, for the page of the list. Runs in the processes of `reader_pool`."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.campaigns.tables import Lookup
from batchsend.campaigns.types import SAMPLE_ID, is_pattern
from batchsend.errors import BatchsendError
from batchsend.ledger.opening import open_ledger
from batchsend.lists.source import is_made_anew
from batchsend.planning.customer_match import Match
from batchsend.runs.list_lookup import LookupReport, look_up_list
from batchsend.runs.lookup_target import of_loaded
from batchsend.sending.pacing import Pause
from batchsend.utils.files import remove
from batchsend.utils.wording import row_count
from batchsend.web.jobs.problem_rows import copy_name

#: What the list is called that has the ids.
_WORD = "with ids"


@dataclass(frozen=True)
class LookedUp:
    """A list with ids that was written, and what was found, in sentences.

    `path` is `None` if it was not written, because some rows got no answer.
    """

    path: Path | None
    found: str


def look_up_customers(path: Path, content: bytes, ledger: str | None, *, without_answer: bool) -> LookedUp:
    """Writes the list of a campaign file again, next to the campaign, with the ids of its customers.

    `path` and `content`: the campaign file's; `ledger`: as `--ledger`; `without_answer`: rows that get no answer are
    left without an id. Raises `BatchsendError`; then no list was written.
    """
    campaign = parse_campaign(path, content)
    _refuse(campaign)
    target = of_loaded(campaign, Lookup(), ledger)
    reader = target.reader()
    with closing(open_ledger(target.ledger_url)) as kept:
        name = copy_name(campaign.directory, campaign.list.stem, _WORD)
        report = look_up_list(target.lookup, name, reader, target.pace, kept, _wait)
    if report.problem is not None or report.written is None:
        raise BatchsendError(report.problem or "No list was written.", on_page=_ended_early(report))
    if report.unknown and not without_answer:
        with suppress(OSError):
            remove(report.written)
        return LookedUp(None, _unknown(report))
    return LookedUp(report.written, _found(report))


def _refuse(campaign: Campaign) -> None:
    if is_pattern(campaign.list) or is_made_anew(campaign.list):
        raise BatchsendError(
            "This list comes from another program again and again, so a copy would soon be old. Ask the person who "
            "looks after batchsend to let the campaign look its customers up each time."
        )
    if (campaign.department_uuid or "").startswith(SAMPLE_ID):
        raise BatchsendError("Choose the department on the page Sender first: its customers are searched.")


def _wait(_pause: Pause) -> None:
    return None


def _found(report: LookupReport) -> str:
    if report.all_found:
        return f"All {row_count(report.rows)} have their customer now."
    why = ", or myKaarma gave no usable answer" if report.unknown else ""
    return (
        f"Customers were found for {report.matches[Match.ONE]:,} of {row_count(report.rows)}. The other rows have no "
        f"id and get no text, because no customer or more than one fits{why}."
    )


def _unknown(report: LookupReport) -> str:
    return (
        f"myKaarma gave no usable answer for {row_count(report.unknown)}, so the list is unchanged. What was found "
        f"so far is kept: look up again to ask for {'it' if report.unknown == 1 else 'these'}, or continue without "
        f"{'it' if report.unknown == 1 else 'them'}."
    )


def _ended_early(report: LookupReport) -> str:
    why = (report.problem or "").replace("`", "")
    return (
        f"The look-up ended early, and the list is unchanged. {why} What was found so far is kept: look up again to "
        f"continue."
    )
