"""The sentences about a plan that a person should read before sending. They can quote cells of the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from batchsend.statuses import Code
from batchsend.utils.wording import row_count, text_count

if TYPE_CHECKING:
    from batchsend.planning.plan import Plan

#: Different values of a column that are named.
VALUES_NAMED = 20


def remarks_on(plan: Plan, preferred: int) -> Iterator[str]:
    """What else a person should know before sending. `preferred`: texts without a phone in a list with phones."""
    remarks = plan.remarks
    if plan.unknown_runs is not None:
        yield plan.unknown_runs
    if plan.unusual is not None:
        yield plan.unusual
    yield from _cut_off(plan.sources.customers.cut_row)
    where = plan.request.campaign.recipients.where
    if where is not None:
        filtered = sum(count for _, codes, count in plan.codes if codes == Code.FILTERED)
        are = "is" if filtered == 1 else "are"
        yield f"The condition keeps the rows with {where}: {row_count(filtered)} {are} skipped."
    lookup = plan.sources.lookup
    if lookup is not None and lookup.problem is not None:
        yield f"The look-up of customers ended early. {lookup.problem}"
    yield from remarks.columns or ()
    if plan.sent_with_other_template:
        sent = text_count(plan.sent_with_other_template)
        yield f"The template has changed: {sent} already went out with the old one."
    if remarks.again_unconfirmed:
        yield f"{text_count(remarks.again_unconfirmed)} of those sent again may have arrived the first time."
    if remarks.not_again:
        yield f"{row_count(remarks.not_again)} of those to send again cannot be sent now."
    if remarks.dismissed:
        yield left_out_words(remarks.dismissed)
    if remarks.tried_before:
        yield f"{text_count(remarks.tried_before)} to customers for whom an earlier run failed."
    if preferred:
        yield f"{text_count(preferred)} without a phone: sent to the customer's preferred number."
    yield from _remarks_on_zones(plan)
    template = plan.sources.template
    unmatched = template.unmatched(remarks.template_values) if template.cases else None
    if unmatched:
        yield f"No template is set for these values, so they get {template.path.name}: {named_values(unmatched)}."


def left_out_words(count: int) -> str:
    """A sentence about the rows that `--resend` leaves out because a person dismissed them."""
    return (
        f"Left out because they were dismissed on the page of the run: {row_count(count)}. To send them again, take "
        f"the dismissal back there."
    )


def _remarks_on_zones(plan: Plan) -> Iterator[str]:
    """Rows whose time zones are unknown, or too far apart."""
    remarks = plan.remarks
    for word, count in remarks.unknown_zones.most_common(VALUES_NAMED):
        rows = row_count(count)
        yield f'"{word}" cannot be used as a time zone. For {rows}, the ZIP code, state or area code decides.'
    for word, count in remarks.unknown_places.most_common(VALUES_NAMED):
        rows = row_count(count)
        yield f'"{word}" is not recognized as a ZIP code or state. For {rows}, the phone\'s area code decides.'
    if remarks.without_zone:
        hours = plan.wait_rules.hours
        states = ", without the quiet hours of a state" if hours is not None and hours.states else ""
        yield (
            f"{row_count(remarks.without_zone)} without a known time zone: "
            f"the campaign's time zone decides{states}."
        )
    if never := plan.rows_without_hours():
        yield (
            f"{row_count(never)} cannot be texted at any hour: it is always night in one of the phone's time zones. "
            "Give the list a column with time zones."
        )


def _cut_off(row: int | None) -> Iterator[str]:
    if row is not None:
        yield (
            f"The list looks cut off: its last row, {row:,}, ends early and has no line end. Rows may be missing. "
            "Export the list again."
        )


def named_values(counts: Mapping[str, int]) -> str:
    """Values of a column, the most frequent first: `"Y" 310, blank 4`."""
    ordered = Counter(counts).most_common()
    named = [
        f'"{value}" {count:,}' if value else f"blank {count:,}" for value, count in ordered[:VALUES_NAMED]
    ]
    if more := ordered[VALUES_NAMED:]:
        named.append(f"{len(more):,} more values in {row_count(sum(count for _, count in more))}")
    return ", ".join(named)
