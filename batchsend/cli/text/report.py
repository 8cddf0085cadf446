"""Terminal lines about a start that has ended, about runs and about deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from batchsend.cli.text.layout import counted_line, labeled, shown_path
from batchsend.exits import Exit
from batchsend.ledger.approvals import Approval
from batchsend.ledger.replies import ReplyCounts
from batchsend.ledger.runs import RunOverview
from batchsend.planning.approval import given_words
from batchsend.reports.advice import advise
from batchsend.runs.lookup import RunState
from batchsend.runs.report import Report
from batchsend.runs.trial import TrialReport
from batchsend.statuses import NEEDS_YOU, Code, Status, Tally
from batchsend.utils.wording import row_count as _rows

_UTC = ZoneInfo("UTC")


def report_lines(report: Report) -> Iterator[str]:
    """The report of a start: what happened, what to do next, and where the results are."""
    for run_id, rows in report.closed.items():
        yield f"Run {run_id} had {_rows(rows)} not yet tried. This is a new list, so they were closed (CLOSED)."
    problems = [group for group in report.codes if group[0] in NEEDS_YOU]
    for status, codes, count in problems:
        yield counted_line(status, count, f"{codes}: {advise(status, codes).meaning}")
    if problems and report.results is not None and report.results.suffix == ".xlsx":
        yield "See the Problems sheet of the results for what to do."
    yield from closing_lines(report)


def closing_lines(report: Report) -> Iterator[str]:
    """The summary line, what to do next, and where the results are."""
    if report.unusual is not None:
        yield report.unusual
    yield report.tally.sentence()
    yield from _what_next(report)
    if report.page_problem is not None:
        yield f"Couldn't write the report page; the results are unaffected. {report.page_problem}"
    if report.results is not None:
        yield f"Results: {shown_path(report.results)}"
    if report.page is not None:
        yield f"Report: {shown_path(report.page)}"


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


def run_lines(
    overview: Sequence[RunOverview],
    states: Mapping[int, RunState],
    pages: Mapping[int, Path],
    approved: Mapping[int, Sequence[Approval]],
    replied: Mapping[int, ReplyCounts],
) -> Iterator[str]:
    """The runs, the latest first. By run number: what each does, its page, approvals and replies, if any."""
    if not overview:
        yield "Nothing has been sent yet."
    for run in overview:
        began = run.created_at[:16].replace("T", " ")
        yield f"run {run.run_id}  {run.campaign}  {began} UTC  by {run.os_user} on {run.host}  to {run.base_url}"
        state = states[run.run_id]
        tally = Tally.of(run.counts, sending=state.sending)
        yield f"  {Path(run.list_file).name}: {tally.sentence()}"
        yield from (f"  {line}" for line in delivery_lines(run.counts))
        if run.run_id in replied:
            yield f"  {replied[run.run_id].sentence()}"
        for approval in approved.get(run.run_id, ()):
            yield f"  approved by {given_words(approval, _UTC)} UTC"
        yield f"  {state.words}"
        if run.run_id in pages:
            yield f"  report: {shown_path(pages[run.run_id])}"


def delivery_lines(counts: Mapping[str, int]) -> Iterator[str]:
    """Deliveries that updates reported, if there are any. `counts`: status -> rows."""
    delivered, undelivered, accepted = (
        counts.get(status, 0) for status in (Status.DELIVERED, Status.UNDELIVERED, Status.ACCEPTED)
    )
    if delivered or undelivered:
        yield f"{delivered:,} delivered, {undelivered:,} undelivered, {accepted:,} not known yet"


def _what_next(report: Report) -> Iterator[str]:
    if report.workers is not None:
        yield _handed_over(report.workers, report.run_id)
        return
    if report.exit is Exit.INTERRUPTED:
        yield "Interrupted: texts in flight were finished and recorded. Run the same command again to continue."
    elif report.exit is Exit.STOPPED:
        yield f"Stopped: {report.ending}"
        yield "Run the same command again to continue; nobody is texted twice."
    elif report.planned == 0 and not any(status == Status.PENDING for status, _, _ in report.codes):
        yield "Nothing was left to send."
    if report.waiting_until is not None:
        local = report.waiting_until.astimezone(report.zone)
        zone = f" ({report.zone.key})" if report.zone is not None else ""
        yield f"Some rows are waiting: run the same command again from {local:%Y-%m-%d %H:%M}{zone}."
    held_back = sum(count for _, codes, count in report.codes if codes == Code.HELD_BACK)
    if held_back:
        yield f"{_rows(held_back)} held back by --limit: run it again without --limit to send them."


def _handed_over(workers: Sequence[str], run_id: int | None) -> str:
    if workers:
        named = f"{'a worker' if len(workers) == 1 else f'{len(workers)} workers'} ({', '.join(workers)})"
        handed_over = f"Run {run_id} was handed over to {named}."
    else:
        handed_over = (
            f"Run {run_id} was handed over to workers, but none is running: nothing is sent until you start one with "
            f"`batchsend worker`."
        )
    return (
        f"{handed_over} `batchsend results {run_id}` writes the results so far; `batchsend stop {run_id}` stops the "
        f"run."
    )
