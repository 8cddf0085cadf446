"""Terminal lines about a customer look-up."""

from __future__ import annotations

from collections.abc import Iterator

from batchsend.cli.text.layout import shown_path
from batchsend.planning.customer_match import Match
from batchsend.runs.list_lookup import LookupReport
from batchsend.runs.lookup_target import LookupTarget
from batchsend.utils.wording import duration, row_count

_WORDS = {
    Match.ONE: "found",
    Match.SEVERAL: "with several customers",
    Match.DIFFERS: "that differ",
    Match.NONE: "not found",
}


def start_line(target: LookupTarget) -> str:
    """What is looked up, by which columns, and how long it can take."""
    customers, columns = target.customers, target.lookup.columns
    at_most = duration(customers.rows / target.pace.rate)
    return (
        f"{row_count(customers.rows)} of {customers.path.name}, by {columns.described(customers.headers)}. "
        f"If nothing is known yet, this takes {at_most} or more at {target.pace.rate:g} requests a second."
    )


def report_lines(report: LookupReport) -> Iterator[str]:
    """What was found, and what to do next."""
    parts = [f"{report.matches[match]:,} {words}" for match, words in _WORDS.items()]
    if report.unknown:
        parts.append(f"{report.unknown:,} not looked up")
    yield f"{row_count(report.rows)} = {' + '.join(parts)}"
    if report.problem is not None:
        yield f"Stopped: {report.problem}"
        yield "The answers so far are kept for 30 days. Run the same command again to continue."
        return
    if report.hidden:
        yield f"{row_count(report.hidden)} hidden in the list: kept without an id, so no text goes there."
    if not report.all_found:
        yield "The column match_note says why. Where you are sure who is meant, fill in customer_uuid by hand."
    if report.written is not None:
        yield f"List: {shown_path(report.written)}"
