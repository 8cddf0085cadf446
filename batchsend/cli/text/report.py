"""Terminal lines about a start that has ended, about runs and about deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from batchsend.cli.text.layout import counted_line, labeled, shown_path
from batchsend.exits import Exit
from batchsend.planning.approval import given_words
from batchsend.reports.advice import advise
from batchsend.runs.report import Report, what_next
from batchsend.statuses import NEEDS_YOU, Status, Tally
from batchsend.utils.wording import row_count as _rows
from batchsend.utils.wording import text_count

if TYPE_CHECKING:
    from batchsend.ledger.approvals import Approval
    from batchsend.ledger.replies import ReplyCounts
    from batchsend.ledger.runs import RunOverview
    from batchsend.planning.cost import RunCost
    from batchsend.runs.lookup import RunState
    from batchsend.runs.settle import Settlement
    from batchsend.runs.trial import TrialReport

_UTC = ZoneInfo("UTC")


def report_lines(report: Report) -> Iterator[str]:
    """The report of a start: what happened, what to do next, and where the results are."""
    for run_id, rows in report.closed.items():
        yield f"Run {run_id} had {_rows(rows)} not yet tried. This is a new list, so they were closed (CLOSED)."
    if report.settlement is not None and report.settlement.unknown:
        yield from settlement_lines(report.settlement)
    problems = [group for group in report.codes if group[0] in NEEDS_YOU]
    for status, codes, count in problems:
        yield counted_line(status, count, f"{codes}: {advise(status, codes).meaning}")
    if problems and report.results is not None and report.results.suffix == ".xlsx":
        yield "See the Problems sheet of the results for what to do."
    if (
        report.settlement is None
        and report.run_id
        and any(status == Status.UNCONFIRMED for status, _, _ in problems)
    ):
        yield f"To look for the unconfirmed texts in myKaarma: batchsend settle {report.run_id}"
    yield from closing_lines(report)


def closing_lines(report: Report) -> Iterator[str]:
    """The summary line, what to do next, and where the results are."""
    if report.unusual is not None:
        yield report.unusual
    yield report.tally.sentence()
    yield from what_next(report)
    if report.page_problem is not None:
        yield f"Couldn't write the report page; the results are unaffected. {report.page_problem}"
    if report.results is not None:
        yield f"Results: {shown_path(report.results)}"
    if report.page is not None:
        yield f"Report: {shown_path(report.page)}"
    yield from report.undelivered_notices


def settlement_lines(found: Settlement) -> Iterator[str]:
    """What was found of the texts whose outcome was unknown."""
    if not found.unknown:
        yield "No text of this run is unconfirmed. There is nothing to look for."
        return
    sent = ", ".join(f"{count:,} {status}" for status, count in found.statuses.items())
    yield (
        f"{text_count(found.unknown)} of this run {'was' if found.unknown == 1 else 'were'} unconfirmed. Found in "
        f"myKaarma: {found.settled:,}{f' ({sent})' if sent else ''}. Not found: {found.not_found:,}."
    )
    for reason, count in found.unread.items():
        yield f"Couldn't look for {text_count(count)}: {reason}"
    if found.stopped is not None:
        yield f"Couldn't look any further: {found.stopped}"
    if found.interrupted:
        yield "Interrupted: run `batchsend settle` again to look for the rest."
    if found.not_found:
        yield (
            "Not found proves nothing, because sending is queued. Run this again later, or look these customers up "
            "in myKaarma before you send again."
        )


def trial_report_lines(report: TrialReport) -> Iterator[str]:
    """The outcome of a test."""
    status, codes = report.row["status"], report.row["codes"]
    if report.exit in (Exit.STOPPED, Exit.INTERRUPTED):
        yield "The test was not sent."
        if report.ending is not None:
            yield f"Stopped: {report.ending}"
    else:
        yield f"{status} {codes}".rstrip() + f": {advise(status, codes).meaning}"
        if report.row["descriptions"]:
            yield labeled("because", report.row["descriptions"])
    if report.row["message_uuid"]:
        yield f"messageUUID: {report.row['message_uuid']}"


class ShownRun(NamedTuple):
    """A run in the list: what it does, and its report page, approvals, replies and cost if it has them."""

    run: RunOverview
    state: RunState
    page: Path | None = None
    approvals: Sequence[Approval] = ()
    replies: ReplyCounts | None = None
    cost: RunCost | None = None


def run_lines(runs: Sequence[ShownRun]) -> Iterator[str]:
    """The runs, the latest first."""
    if not runs:
        yield "Nothing has been sent yet."
    for run, state, page, approvals, replies, cost in runs:
        began = run.created_at[:16].replace("T", " ")
        yield f"run {run.run_id}  {run.campaign}  {began} UTC  by {run.os_user} on {run.host}  to {run.base_url}"
        tally = Tally.of(run.counts, sending=state.sending)
        yield f"  {Path(run.list_file).name}: {tally.sentence()}"
        yield from (f"  {line}" for line in delivery_lines(run.counts))
        if cost is not None:
            yield f"  cost of the texts sent: {cost.words}"
        if replies is not None:
            yield f"  {replies.sentence()}"
        for approval in approvals:
            yield f"  approved by {given_words(approval, _UTC)} UTC"
        yield f"  {state.words}"
        if page is not None:
            yield f"  report: {shown_path(page)}"


def delivery_lines(counts: Mapping[str, int]) -> Iterator[str]:
    """Deliveries that updates reported, if there are any. `counts`: status -> rows."""
    delivered, undelivered, accepted = (
        counts.get(status, 0) for status in (Status.DELIVERED, Status.UNDELIVERED, Status.ACCEPTED)
    )
    if delivered or undelivered:
        yield f"{delivered:,} delivered, {undelivered:,} undelivered, {accepted:,} not known yet"
