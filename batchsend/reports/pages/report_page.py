"""A run as a page: what became of it, what needs somebody, how fast it went, who did it with which files."""

from __future__ import annotations

from batchsend.reports.pages.bar import Share, shares
from batchsend.reports.pages.html import Verdict, render
from batchsend.reports.pages.report import RunReport
from batchsend.reports.run_results import STATUS_WORDS
from batchsend.statuses import Status
from batchsend.utils.wording import row_count, text_count


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


def verdict(report: RunReport) -> Verdict:
    """What somebody should know if they read no further."""
    tally = report.tally
    taker = "the stand-in for myKaarma" if report.heading.number is None else "myKaarma"
    said = f"{text_count(tally.taken)} taken by {taker}."
    parts = []
    if tally.needs_you:
        parts.append(f"{row_count(tally.needs_you)} {'needs' if tally.needs_you == 1 else 'need'} you.")
    else:
        parts.append("No row needs you.")
    if tally.waits:
        parts.append(f"{row_count(tally.waits)} {'waits' if tally.waits == 1 else 'wait'} for another start.")
    if tally.left_out:
        parts.append(
            f"{row_count(tally.left_out)} {'was' if tally.left_out == 1 else 'were'} left out on purpose."
        )
    tone = "look" if tally.needs_you or tally.waits or report.heading.ending else "go"
    return Verdict(tone, said, " ".join(parts))


def bar(report: RunReport) -> list[Share]:
    """How the rows of the list divide."""
    tally = report.tally
    return shares(
        ("ready", "taken", tally.taken),
        ("out", "left out on purpose", tally.left_out),
        ("look", "need you", tally.needs_you),
        ("wait", "wait", tally.waits),
    )


def delivery(report: RunReport) -> str:
    """What is known of the texts' way from myKaarma to the phones."""
    delivered = report.counts.get(Status.DELIVERED, 0)
    undelivered = report.counts.get(Status.UNDELIVERED, 0)
    accepted = report.counts.get(Status.ACCEPTED, 0)
    if report.heading.number is None:
        return "This was a rehearsal: no text left this computer."
    if delivered or undelivered:
        known = f"{text_count(delivered)} reached the phone, {undelivered:,} did not"
        return f"{known}; of {accepted:,} more it is not known." if accepted else f"{known}."
    if not accepted:
        return ""
    if report.heading.callback:
        return "Taken is not yet delivered: no report of a delivery has come back so far."
    return "Taken is not yet delivered: myKaarma passes the texts on, and delivery is not known here."
