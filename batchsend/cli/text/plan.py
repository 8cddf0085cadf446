"""The lines that the terminal shows of a plan and of a test: pure functions from facts to lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from batchsend.cli.text.layout import counted_line, labeled, shown_path
from batchsend.messages.phones import display_phone
from batchsend.planning.summarizer import ROWS_NAMED, character_name
from batchsend.planning.summary import PlanSummary, RowGroup, department_of, user_of
from batchsend.reports.advice import advise
from batchsend.statuses import TRIED, Status
from batchsend.utils.wording import row_count, segment_count, text_count

if TYPE_CHECKING:
    from batchsend.runs.trial import Trial

#: Costly characters and mistakes in texts that are named.
_CHARACTERS_NAMED, _FINDINGS_NAMED = 3, 8


def plan_lines(plan: PlanSummary, *, rehearsal: bool = False) -> Iterator[str]:
    """Who sends what to whom, and which rows are skipped and why."""
    host = host_of(plan.base_url)
    api = f"a stand-in on this computer (history of {host})" if rehearsal else host
    yield labeled("from", f"{plan.department}, {plan.user}, through {api}")
    yield labeled("started by", plan.started_by)
    yield labeled(
        "list", f"{shown_path(plan.list_file)}, saved {plan.list_saved}, {row_count(plan.tally.rows)}"
    )
    for note in plan.list_notes:
        yield labeled("", note)
    yield from _templates(plan)
    yield labeled("to send", plan.size if plan.texts else "nothing")
    yield from _hours(plan, rehearsal=rehearsal)
    yield labeled("history", plan.history)
    if plan.approval is not None:
        yield labeled("approval", plan.approval)
    if plan.resend is not None:
        yield labeled("again", f"{text_count(plan.again)} sent again (--resend {plan.resend})")
    for number, remark in enumerate(plan.remarks):
        yield labeled("" if number else "note", remark)
    for number, line in enumerate(plan.consent_counts):
        yield labeled("" if number else "consent", line)
    yield from _lint(plan)
    yield from _costly(plan)
    yield from _differing(plan)
    yield from _groups(plan)


def first_message_lines(plan: PlanSummary) -> Iterator[str]:
    """The first text to be sent, and to whom: for the screen, not for logs."""
    first = plan.first_message
    if first is None:
        return
    to = display_phone(first.phone) if first.phone else "the customer's preferred number"
    yield labeled("first text", f"row {first.row}, to {to}:")
    yield from _text(first.body, plan.opt_out_line)


def trial_lines(trial: Trial, *, rehearsal: bool) -> Iterator[str]:
    """The one text of a test, and to whom it goes."""
    campaign, customers = trial.plan.request.campaign, trial.plan.sources.customers
    message = campaign.message
    action = "rehearsal of a test, no text goes out" if rehearsal else "about to send a test"
    yield f"{campaign.name}: {action}; it isn't recorded"
    api = "a stand-in on this computer" if rehearsal else host_of(trial.plan.request.base_url)
    yield labeled("from", f"{department_of(campaign)}, {user_of(campaign)}, through {api}")
    yield labeled("to", f"customer {trial.customer_uuid}, their preferred number")
    size = f"{segment_count(trial.size.segments)} in {trial.size.encoding}"
    yield labeled("text", f"of row {trial.row} in {shown_path(customers.path)}, {size}:")
    yield from _text(trial.body, message.opt_out_line if message.add_tcpa_footer else None)


def host_of(base_url: str) -> str:
    """The address without `https://`."""
    return base_url.split("://", 1)[-1]


def _templates(plan: PlanSummary) -> Iterator[str]:
    """The template; if there are several, which rows get which."""
    default, *cases = plan.templates
    if plan.template_by is None:
        yield labeled("template", shown_path(default.path))
        return
    yield labeled(
        "templates", f"by {plan.template_by}: {shown_path(default.path)} for {row_count(default.rows)}"
    )
    for case in cases:
        yield labeled("", f"{', '.join(case.values)}: {shown_path(case.path)} for {row_count(case.rows)}")


def _hours(plan: PlanSummary, *, rehearsal: bool) -> Iterator[str]:
    """The quiet hours, and how long rows wait for them."""
    yield labeled("hours", plan.hours)
    if plan.first_wait is not None:
        hint = "This run waits for them." if plan.wait else "Run it again then, or add --wait."
        if rehearsal:
            hint = "The rehearsal does not wait."
        yield labeled("", f"{plan.first_wait} {hint}")


def _costly(plan: PlanSummary) -> Iterator[str]:
    for character in plan.costly_in_opt_out_line:
        yield labeled("costly", f"{_visible(character)} in opt_out_line makes every text cost more")
    for character, _, texts, rows in plan.costly[:_CHARACTERS_NAMED]:
        yield labeled(
            "costly",
            f"{_visible(character)} makes {text_count(texts)} cost more (70 characters a segment, not 160): "
            f"{_row_numbers(rows, texts)}",
        )


def _lint(plan: PlanSummary) -> Iterator[str]:
    for number, finding in enumerate(plan.lint[:_FINDINGS_NAMED]):
        yield labeled("" if number else "lint", finding.words)
    if (more := len(plan.lint) - _FINDINGS_NAMED) > 0:
        yield labeled("", f"{more:,} more in the preview's page")


def _differing(plan: PlanSummary) -> Iterator[str]:
    if plan.differing_rows:
        row, first, columns = plan.differing[0]
        differ = "it differs" if plan.differing_rows == 1 else "they differ"
        yield labeled(
            "same key",
            f"{row_count(plan.differing_rows)} skipped as a duplicate although {differ}, such as row {row} and "
            f"row {first} (different {', '.join(columns)}). To text both, add that column to `key`.",
        )


def _groups(plan: PlanSummary) -> Iterator[str]:
    """Which rows are skipped, wait or are invalid, each group with its reason."""
    for label, statuses in (("skipped", {Status.SKIPPED}), ("waiting", {Status.PENDING}), ("tried", TRIED)):
        for number, group in enumerate(plan.groups_of(*statuses)):
            reason = f"{group.codes or group.status}: {_meaning(group)}"
            yield counted_line("" if number else label, group.count, reason)
    for number, group in enumerate(plan.groups_of(Status.INVALID)):
        todo = advise(group.status, group.codes).with_command
        reason = f"{group.codes}: {_row_numbers(group.rows, group.count)}. {_meaning(group)} {todo}"
        yield counted_line("" if number else "invalid", group.count, reason)


def _meaning(group: RowGroup) -> str:
    return advise(group.status, group.codes).meaning


def _row_numbers(numbers: Sequence[int], count: int) -> str:
    """`row 7`, `rows 7, 9, ...`."""
    named = numbers[:ROWS_NAMED]
    more = ", ..." if count > len(named) else ""
    return f"{'row' if count == 1 else 'rows'} {', '.join(map(str, named))}{more}"


def _visible(character: str) -> str:
    """`"í"`; its name if it cannot be seen."""
    if character.isprintable() and not unicodedata.combining(character):
        return f'"{character}"'
    return character_name(character)


def _text(body: str, opt_out_line: str | None) -> Iterator[str]:
    """A text as it will appear on the phone."""
    lines = body.split("\n")
    if opt_out_line is not None:
        lines.append(f"[myKaarma adds: {opt_out_line}]")
    for line in lines:
        yield labeled("", f"| {line}")
