"""Terminal lines about a customer look-up."""

from __future__ import annotations

from collections.abc import Iterator

from batchsend.cli.text.layout import shown_path
from batchsend.lists.headers import match_key
from batchsend.planning.customer_match import Match
from batchsend.planning.lookup_columns import ADDED
from batchsend.runs.list_lookup import LookupReport
from batchsend.runs.lookup_target import LookupTarget
from batchsend.utils.wording import duration, row_count

_WORDS = {
    Match.ONE: "found",
    Match.SEVERAL: "with several customers",
    Match.DIFFERS: "not sure",
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


def report_lines(report: LookupReport, target: LookupTarget) -> Iterator[str]:
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
        yield (
            "The column match_note says why the others have no id. If you are sure who is meant, copy the right id "
            "into the column customer_uuid of the new list."
        )
    if report.written is not None:
        yield f"List: {shown_path(report.written)}"
        named = target.id_column
        if named is not None and match_key(named) != match_key(ADDED[0]):
            yield (
                f'The ids are in its column {ADDED[0]}. Delete the line customer_uuid = "{named}" under [columns] of '
                "the campaign file before you preview or send this list."
            )
