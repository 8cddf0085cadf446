"""Reads a run and keeps what the report page shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from batchsend.ledger.approvals import approvals_of
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.replies import StoredReply, replies_to, reply_counts
from batchsend.ledger.runs import departures, run_rows, starts_of
from batchsend.messages.phones import display_phone
from batchsend.planning.approval import given_words
from batchsend.planning.cost import RunCost, costs_of_runs
from batchsend.reports.pages.charts import Chart, Share, charts, shares
from batchsend.reports.pages.groups import Group, Groups, shown
from batchsend.reports.pages.html import Headline, render
from batchsend.reports.run_results import STATUS_WORDS
from batchsend.statuses import NEEDS_YOU, TAKEN, Status, Tally
from batchsend.utils.timestamps import for_people, from_text, now
from batchsend.utils.wording import row_count, text_count

#: The columns that are read of each row.
_COLUMNS = ("row", "status", "codes", "descriptions", "phone", "cells", "customer_uuid", "sent_at")
#: How many of the rows that may have been sent are shown; the workbook has all of them.
_UNCONFIRMED_SHOWN = 200
#: How many of the latest replies are shown; the workbook has all of them.
_REPLIES_SHOWN = 200
#: How many of the latest starts have a chart.
_CHARTS = 4


@dataclass(frozen=True)
class RunHeading:
    """What the report shows of a run besides its rows.

    `number`: `None` for a rehearsal; `ending`: why the run stopped early; `callback`: does myKaarma report back,
    `None` if unknown; `starts`: the start of a rehearsal, which is not in a ledger; `customer`, `phone`: positions of
    these columns in the list, if known.
    """

    campaign: str
    number: int | None
    department: str
    user: str
    base_url: str
    list_file: str
    list_saved: str
    template: str
    zone: ZoneInfo
    headers: Sequence[str]
    workbook: str
    customer: int | None = None
    phone: int | None = None
    ending: str | None = None
    callback: bool | None = None
    starts: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class StartFacts:
    """One start of `send`: who, when, where, with which files."""

    number: int
    began: str
    ended: str
    ending: str
    who: str
    version: str
    resend: str | None
    files: list[tuple[str, str, str]]


@dataclass(frozen=True)
class UnconfirmedRow:
    """A row that may or may not have been sent."""

    row: int
    customer_uuid: str
    phone: str
    sent_at: str
    codes: str


@dataclass(frozen=True)
class ReplyRow:
    """A customer's reply to a text of the run."""

    row: int
    at: str
    words: str
    outcome: str


@dataclass(frozen=True)
class RunReport:
    """Everything on the report page. Groups are the largest first."""

    heading: RunHeading
    made_at: str
    tally: Tally
    counts: dict[str, int]
    problems: list[Group]
    unconfirmed: list[Group]
    unconfirmed_rows: list[UnconfirmedRow]
    skipped: list[Group]
    waiting: list[Group]
    charts: list[Chart]
    more_charts: int
    starts: list[StartFacts]
    approvals: list[str]
    replies: list[ReplyRow]
    more_replies: bool
    replied: str
    cost: RunCost | None


def gather(ledger: Ledger, run_id: int, heading: RunHeading) -> RunReport:
    """Reads a run in one pass and with bounded memory. `run_id` is its number in `ledger`."""
    groups = Groups(heading.headers, heading.customer, heading.phone)
    unconfirmed_rows: list[UnconfirmedRow] = []
    stored = ledger.counts(run_id)
    others = [status for status in stored if status not in TAKEN]
    for row in run_rows(ledger, run_id, others, _COLUMNS) if others else ():
        status, codes = shown(row["status"], row["codes"])
        groups.add(status, codes, row)
        if status == Status.UNCONFIRMED and len(unconfirmed_rows) < _UNCONFIRMED_SHOWN:
            unconfirmed_rows.append(_unconfirmed_row(row, codes, heading.zone))
    starts = starts_of(ledger, run_id) or heading.starts
    replies, replied = replies_to(ledger, [run_id]), reply_counts(ledger, [run_id]).get(run_id)
    known = {start["id"] for start in starts}
    drawn = charts(
        (one for one in departures(ledger, run_id) if one.start_id in known),
        heading.zone,
    )
    return RunReport(
        heading=heading,
        made_at=for_people(now(), heading.zone),
        tally=Tally.of(stored),
        counts=_shown_counts(stored),
        problems=groups.of(*NEEDS_YOU - {Status.UNCONFIRMED}),
        unconfirmed=groups.of(Status.UNCONFIRMED),
        unconfirmed_rows=unconfirmed_rows,
        skipped=groups.of(Status.SKIPPED),
        waiting=groups.of(Status.PENDING),
        charts=drawn[-_CHARTS:],
        more_charts=max(0, len(drawn) - _CHARTS),
        starts=[_start(start, heading.zone) for start in starts],
        approvals=[
            f"{given_words(one, heading.zone)}; asked for by {one.asked_by}"
            for one in approvals_of(ledger, [run_id]).get(run_id, ())
        ],
        replies=[_reply_row(one, heading.zone) for one in replies[-_REPLIES_SHOWN:]],
        more_replies=len(replies) > _REPLIES_SHOWN,
        replied=replied.sentence() if replied is not None else "",
        cost=costs_of_runs(ledger, [run_id]).get(run_id),
    )


def _shown_counts(stored: Mapping[str, int]) -> dict[str, int]:
    """Rows by the status that they are shown with."""
    counts: Counter[str] = Counter()
    for status, count in stored.items():
        counts[shown(status, "")[0]] += count
    return dict(counts)


def _unconfirmed_row(row: Mapping[str, Any], codes: str, zone: ZoneInfo) -> UnconfirmedRow:
    return UnconfirmedRow(
        row["row"],
        row["customer_uuid"] or "",
        display_phone(row["phone"]) if row["phone"] else "the preferred number",
        for_people(from_text(row["sent_at"]), zone) if row["sent_at"] else "at an unknown time",
        codes,
    )


def _reply_row(reply: StoredReply, zone: ZoneInfo) -> ReplyRow:
    return ReplyRow(
        reply.row or 0,
        for_people(from_text(reply.received_at), zone),
        reply.words,
        reply.outcome,
    )


def _start(start: Mapping[str, Any], zone: ZoneInfo) -> StartFacts:
    ended = start["ended_at"]
    return StartFacts(
        number=start["id"],
        began=for_people(from_text(start["started_at"]), zone),
        ended=for_people(from_text(ended), zone) if ended else "",
        ending=start["ending"] or "not ended when this page was written",
        who=f"{start['os_user']} on {start['host']}",
        version=start["version"],
        resend=start["resend"],
        files=[
            (what, start[f"{what}_file"], start[f"{what}_sha256"])
            for what in ("campaign", "list", "template")
        ],
    )


def page(report: RunReport) -> str:
    """The page as HTML."""
    return render(
        "report.html.j2",
        p=report,
        run=report.heading,
        rehearsal=report.heading.number is None,
        verdict=verdict(report),
        bar=bar(report),
        delivery=delivery(report),
        outcomes=STATUS_WORDS.items(),
    )


def verdict(report: RunReport) -> Headline:
    """The answer at the top of the page."""
    tally = report.tally
    receiver = "the stand-in for myKaarma" if report.heading.number is None else "myKaarma"
    accepted = f"{text_count(tally.taken)} accepted by {receiver}."
    parts = []
    if tally.needs_you:
        parts.append(f"{row_count(tally.needs_you)} {'needs' if tally.needs_you == 1 else 'need'} attention.")
    else:
        parts.append("No row needs attention.")
    if tally.waits:
        parts.append(f"{row_count(tally.waits)} waiting for another start.")
    if tally.left_out:
        parts.append(f"{row_count(tally.left_out)} skipped.")
    tone = "attention" if tally.needs_you or tally.waits or report.heading.ending else "go"
    return Headline(tone, accepted, " ".join(parts))


def bar(report: RunReport) -> list[Share]:
    """How the rows of the list divide, for the bar below the verdict."""
    tally = report.tally
    return shares(
        ("ready", "accepted by myKaarma", tally.taken),
        ("out", "skipped", tally.left_out),
        ("attention", "need attention", tally.needs_you),
        ("wait", "waiting", tally.waits),
    )


def delivery(report: RunReport) -> str:
    """What is known about the delivery of the texts to the phones."""
    delivered = report.counts.get(Status.DELIVERED, 0)
    undelivered = report.counts.get(Status.UNDELIVERED, 0)
    accepted = report.counts.get(Status.ACCEPTED, 0)
    if report.heading.number is None:
        return "This was a rehearsal: no text was sent."
    if delivered or undelivered:
        known = f"{text_count(delivered)} reached the phone, {undelivered:,} did not"
        return f"{known}; {accepted:,} more are not known yet." if accepted else f"{known}."
    if not accepted:
        return ""
    if report.heading.callback:
        return "Accepted does not mean delivered: myKaarma has not reported any delivery so far."
    return "Accepted does not mean delivered: myKaarma passes the texts on, and delivery is not known here."
