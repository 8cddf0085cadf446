"""What the terminal shows of a start that ended, of runs and of deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from batchsend.cli.text.layout import counted_line, labeled, shown_path
from batchsend.exits import Exit
from batchsend.ledger.runs import RunOverview
from batchsend.reports.advice import advise
from batchsend.runs.report import Report
from batchsend.runs.trial import TrialReport
from batchsend.statuses import NEEDS_YOU, Code, Status, Tally
from batchsend.utils.wording import row_count as _rows


def report_lines(report: Report) -> Iterator[str]:
    """How a start went, what to do next, and where the results are."""
    for run_id, rows in report.closed.items():
        yield f"Run {run_id} had {_rows(rows)} not yet tried. This is a new list, so they were given up (CLOSED)."
    problems = [group for group in report.codes if group[0] in NEEDS_YOU]
    for status, codes, count in problems:
        yield counted_line(status, count, f"{codes}: {advise(status, codes).meaning}")
    if problems and report.results is not None and report.results.suffix == ".xlsx":
        yield 'What to do about each of these rows stands in the sheet "Problems" of the results.'
    yield from closing_lines(report)


def closing_lines(report: Report) -> Iterator[str]:
    """The summary line, what to do next, and where the results are."""
    if report.unusual is not None:
        yield report.unusual
    yield report.tally.sentence()
    yield from _what_next(report)
    if report.page_problem is not None:
        yield f"There is no report page, the results are not touched by that. {report.page_problem}"
    if report.results is not None:
        yield f"Results: {shown_path(report.results)}"
    if report.page is not None:
        yield f"Report: {shown_path(report.page)}"


def trial_report_lines(report: TrialReport) -> Iterator[str]:
    """What became of a test."""
    status, codes = report.row["status"], report.row["codes"]
    if report.exit in (Exit.STOPPED, Exit.INTERRUPTED):
        yield "The test was not sent."
        if report.ending is not None:
            yield f"Stopped: {report.ending}"
    else:
        said = f" {codes}" if codes else ""
        yield f"{status}{said}: {advise(status, codes).meaning}"
        if report.row["descriptions"]:
            yield labeled("because", report.row["descriptions"])
    if report.row["message_uuid"]:
        yield f"messageUUID: {report.row['message_uuid']}"


def run_lines(overview: Sequence[RunOverview], pages: Mapping[int, Path]) -> Iterator[str]:
    """All runs, the latest first; `pages`: run number -> its report page, of those that have one."""
    if not overview:
        yield "Nothing was sent yet."
    for run in overview:
        began = run.created_at[:16].replace("T", " ")
        yield f"run {run.run_id}  {run.campaign}  {began} UTC  by {run.os_user} on {run.host}  to {run.base_url}"
        yield f"  {Path(run.list_file).name}: {Tally.of(run.counts).sentence()}"
        yield from (f"  {line}" for line in delivery_lines(run.counts))
        yield f"  {'ended: ' + run.ending if run.ending else 'not ended: running, or its process was killed'}"
        if run.run_id in pages:
            yield f"  report: {shown_path(pages[run.run_id])}"


def delivery_lines(counts: Mapping[str, int]) -> Iterator[str]:
    """What updates said of the texts that myKaarma took, if they said anything. `counts`: status -> rows."""
    delivered, undelivered, taken = (
        counts.get(status, 0) for status in (Status.DELIVERED, Status.UNDELIVERED, Status.ACCEPTED)
    )
    if delivered or undelivered:
        yield f"{delivered:,} delivered, {undelivered:,} undelivered, {taken:,} not known yet"


def _what_next(report: Report) -> Iterator[str]:
    if report.workers is not None:
        yield _left_to(report.workers, report.run_id)
        return
    if report.exit is Exit.INTERRUPTED:
        yield "Interrupted: what was on its way was finished and recorded. Run the same command again to go on."
    elif report.exit is Exit.STOPPED:
        yield f"Stopped: {report.ending}"
        yield "Run the same command again to go on; nobody is texted twice."
    elif report.planned == 0 and not any(status == Status.PENDING for status, _, _ in report.codes):
        yield "Nothing was left to send."
    if report.comes_back is not None:
        local = report.comes_back.astimezone(report.zone)
        zone = f" ({report.zone.key})" if report.zone is not None else ""
        yield f"Some rows wait for their time: run the same command again from {local:%Y-%m-%d %H:%M}{zone} on."
    held_back = sum(count for _, codes, count in report.codes if codes == Code.HELD_BACK)
    if held_back:
        yield f"{_rows(held_back)} held back by --limit: run it again without --limit to send them."


def _left_to(workers: Sequence[str], run_id: int | None) -> str:
    if workers:
        named = f"{'a worker' if len(workers) == 1 else f'{len(workers)} workers'} ({', '.join(workers)})"
        said = f"Run {run_id} is left to {named}."
    else:
        said = (
            f"Run {run_id} is left to workers, but none is running: nothing is sent until one is started with "
            f"`batchsend worker`."
        )
    return (
        f"{said} `batchsend results {run_id}` writes where it stands at any time; `batchsend stop {run_id}` stops "
        f"it."
    )
