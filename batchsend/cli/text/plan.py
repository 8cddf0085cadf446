"""What the terminal says of a plan and of a run: pure functions from facts to lines."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill

from batchsend.campaigns.campaign import Campaign
from batchsend.exits import Exit
from batchsend.ledger.attempts import Evidence
from batchsend.ledger.history import RunOverview, first_with, rows_with
from batchsend.messages.phones import for_people as phone_for_people
from batchsend.messages.sms import non_gsm7
from batchsend.planning.plan import SCRATCH_RUN, Plan
from batchsend.reports.advice import meaning, what_to_do
from batchsend.runs.runner import Report
from batchsend.runs.trial import Trial, TrialReport
from batchsend.settings import os_user
from batchsend.statuses import IN_FLIGHT, NEEDS_YOU, TRIED, Code, Status, Tally
from batchsend.utils.timestamps import for_people, from_text
from batchsend.utils.wording import duration, segment_count
from batchsend.utils.wording import row_count as _rows
from batchsend.utils.wording import text_count as _texts

#: Row numbers that are named before "...".
_ROWS_NAMED = 8
_LABEL_WIDTH = 11
_WIDEST, _NARROWEST = 100, 60
#: Different values of a column that are named.
_VALUES_NAMED = 8


def plan_lines(plan: Plan, *, rehearsal: bool = False) -> Iterator[str]:
    """Who sends what to whom, and who is left out and why."""
    request, sources = plan.request, plan.sources
    campaign, customers = request.campaign, sources.customers
    saved = for_people(customers.saved_at, campaign.zone)
    rows = sum(plan.counts.values())
    host = _host_of(request.base_url)
    by = f"a stand-in on this computer (history of {host})" if rehearsal else host
    yield _line("from", f"{_department(campaign)}, by {by}")
    yield _line("started by", f"{os_user()} on {request.host}")
    yield _line("list", f"{shown_path(customers.path)}, saved {saved}, {_rows(rows)}")
    for note in (*customers.notes, *sources.suppression.notes):
        yield _line("", note)
    yield from _templates(plan)
    yield _line("to send", _to_send(plan))
    yield from _preferred(plan)
    yield from _hours(plan)
    if plan.unusual is not None:
        yield _line("", plan.unusual)
    yield _line("history", _history(plan))
    yield from _remarks(plan)
    yield from _groups(plan)


def tally_line(plan: Plan) -> str:
    """The summary line of a plan: what would be sent stands as such."""
    counts = dict(plan.counts)
    waiting = counts.get(Status.PENDING, 0)
    counts[Status.READY] = plan.texts
    counts[Status.PENDING] = waiting - plan.texts
    return Tally.of(counts).sentence()


def report_lines(report: Report) -> Iterator[str]:
    """How a start went, what to do next, and where the results are."""
    for run_id, rows in report.closed.items():
        yield f"Run {run_id} had {_rows(rows)} not yet tried. This is a new list, so they were given up (CLOSED)."
    problems = [group for group in report.codes if group[0] in NEEDS_YOU]
    for status, codes, count in problems:
        yield _counted(status, count, f"{codes}: {meaning(status, codes.split('; '))}")
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


def trial_lines(trial: Trial, *, rehearsal: bool) -> Iterator[str]:
    """The one text of a test, and to whom it goes."""
    campaign, customers = trial.plan.request.campaign, trial.plan.sources.customers
    what = "rehearsal of a test, nobody gets a text" if rehearsal else "about to send a test"
    yield f"{campaign.name}: {what}; it counts for nothing"
    by = "a stand-in on this computer" if rehearsal else _host_of(trial.plan.request.base_url)
    yield _line("from", f"{_department(campaign)}, by {by}")
    yield _line("to", f"customer {trial.customer_uuid}, their preferred number")
    size = f"{segment_count(trial.size.segments)} in {trial.size.encoding}"
    yield _line("text", f"of row {trial.row} in {shown_path(customers.path)}, {size}:")
    yield from _text(trial.body, campaign)


def trial_report_lines(report: TrialReport) -> Iterator[str]:
    """What became of a test."""
    status, codes = report.row["status"], report.row["codes"]
    if report.exit in (Exit.STOPPED, Exit.INTERRUPTED):
        yield "The test was not sent."
        if report.ending is not None:
            yield f"Stopped: {report.ending}"
    else:
        said = f" {codes}" if codes else ""
        yield f"{status}{said}: {meaning(status, codes.split('; ') if codes else [])}"
        if report.row["descriptions"]:
            yield _line("because", report.row["descriptions"])
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


def evidence_lines(evidence: Sequence[Evidence], whom: str) -> Iterator[str]:
    """What somebody got, the latest first, with who sent it and from which files."""
    if not evidence:
        yield f"This ledger knows of no text to {whom}."
    for one in evidence:
        when = f"{one.sent_at[:19].replace('T', ' ')} UTC" if one.sent_at else "at an unknown time"
        status, codes = (
            (Status.UNCONFIRMED, Code.INTERRUPTED) if one.status == IN_FLIGHT else (one.status, one.codes)
        )
        yield f"{when}  {status}{f' {codes}' if codes else ''}  {one.campaign}, run {one.run_id}, row {one.row}"
        yield _line("to", f"{one.customer_uuid}, {_number_of(one)}, by {_host_of(one.base_url)}")
        if one.message_uuid:
            yield _line("message", one.message_uuid)
        if one.purged_at is not None:
            yield _line("", f"the text and the phone were purged on {one.purged_at[:10]}")
        else:
            for line in (one.body or "").split("\n"):
                yield _line("", f"| {line}")
        if one.os_user is not None:
            yield _line("sent by", f"{one.os_user} on {one.host}")
            yield _line("list", f"{one.list_file}, SHA-256 {one.list_sha256}")
            yield _line("template", f"{one.template_file}, SHA-256 {one.template_sha256}")


def _number_of(one: Evidence) -> str:
    if one.phone is not None:
        return one.phone
    return "the preferred number" if one.purged_at is None else "a number that was purged"


def _width() -> int:
    """As wide as the terminal, within what can be read well; the widest where there is none."""
    return max(_NARROWEST, min(_WIDEST, get_terminal_size((_WIDEST, 0)).columns - 1))


def shown_path(path: Path) -> str:
    """A path as people like it: relative where it is below the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


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


def _line(label: str, text: str) -> str:
    """A labelled line, or several: what is long goes on below its beginning."""
    first = f"  {label:<{_LABEL_WIDTH}}  "
    return fill(
        text, _width(), initial_indent=first, subsequent_indent=" " * len(first),
        break_long_words=False, break_on_hyphens=False, replace_whitespace=False, drop_whitespace=True,
    )  # fmt: skip


def _counted(label: str, count: int, text: str) -> str:
    """A labelled line that begins with a number; what is long goes on below the text."""
    first = f"  {label:<{_LABEL_WIDTH}}  {count:>5,}  "
    return fill(
        text, _width(), initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )


def _templates(plan: Plan) -> Iterator[str]:
    """The template; of several, which rows get which, and values that no case names."""
    choice, values = plan.sources.template, plan.remarks.template_values
    if not choice.cases:
        yield _line("template", shown_path(choice.path))
        return
    counts = choice.rows_by_file(values)
    yield _line(
        "templates", f"by {choice.column}: {shown_path(choice.path)} for {_rows(counts[choice.path])}"
    )
    for template, named in choice.cases:
        whose = f"{', '.join(named)}: {shown_path(template.path)}"
        yield _line("", f"{whose} for {_rows(counts[template.path])}")
    unmatched = choice.unmatched(values)
    if unmatched:
        said = _values(unmatched)
        yield _line("", f"without a case, and so with {choice.path.name}: {said}")


def _values(counts: Counter[str]) -> str:
    """Values of a column, the most frequent first: `"Y" 310, blank 4`."""
    named = ", ".join(
        f'"{value}" {count:,}' if value else f"blank {count:,}"
        for value, count in counts.most_common(_VALUES_NAMED)
    )
    return f"{named}, ..." if len(counts) > _VALUES_NAMED else named


def _department(campaign: Campaign) -> str:
    department = campaign.department_label or campaign.department_uuid or "the departments in the list"
    user = f"user {campaign.user_uuid}" if campaign.user_uuid else "the users in the list"
    return f"{department}, {user}"


def _host_of(base_url: str) -> str:
    return base_url.split("://", 1)[-1]


def _to_send(plan: Plan) -> str:
    if not plan.texts:
        return "nothing"
    rate = plan.request.campaign.sending.rate
    return f"{_texts(plan.texts)}, {segment_count(plan.segments)}, {duration(plan.texts / rate)} at {rate:g} a second"


def _hours(plan: Plan) -> Iterator[str]:
    """Until when nobody is texted, or that there is no such hour."""
    hours, zone = plan.holding.hours, plan.request.campaign.zone
    if hours is None:
        yield _line("hours", "no quiet hours are set: texts may leave at any hour of the day or night")
    else:
        whose = "each recipient's time" if hours.fixed is None else hours.fixed
        yield _line("hours", f"nobody is texted from {hours.begins:%H:%M} to {hours.ends:%H:%M}, {whose}")
    for word, count in plan.remarks.unknown_zones.most_common(_VALUES_NAMED):
        yield _line("", f'"{word}" is no time zone: {_rows(count)} go by the phone\'s area code')
    moment = plan.comes_back()
    if moment is not None:
        wait = "waits until then" if plan.holding.wait else "run it again then, or add --wait"
        yield _line("", f"some rows wait, the first until {for_people(moment, zone)} ({zone.key}): {wait}")


def _preferred(plan: Plan) -> Iterator[str]:
    """Where phones come from a column, who has none there is worth knowing."""
    if plan.sources.roles.phone is not None and plan.remarks.preferred:
        yield _line(
            "", f"{plan.remarks.preferred:,} of them without a phone: to the customer's preferred number"
        )


def _history(plan: Plan) -> str:
    if plan.run is not None:
        began = for_people(from_text(plan.run.created_at), plan.request.campaign.zone)
        return f"run {plan.run.id} of {began} goes on: the same list"
    if plan.known is not None:
        failed = plan.remarks.tried_before
        again = f"; {_texts(failed)} to customers for whom an earlier run failed" if failed else ""
        return f"a new run: this list is not the one that was sent before{again}"
    return "the ledger knows nothing of this campaign yet: everybody is new"


def _remarks(plan: Plan) -> Iterator[str]:
    remarks = plan.remarks
    if plan.sent_with_other_template:
        yield _line("", f"template changed: {plan.sent_with_other_template:,} already got the old text")
    if plan.request.resend is not None:
        yield _line("again", f"{_texts(remarks.again)} sent again (--resend {plan.request.resend})")
        if remarks.again_unconfirmed:
            yield _line("", f"{remarks.again_unconfirmed:,} of them may have arrived the first time")
        if remarks.not_again:
            yield _line("", f"{_rows(remarks.not_again)} asked for, but they cannot be sent now")
    if remarks.consent:
        yield _line("consent", _values(remarks.consent))
    message = plan.request.campaign.message
    for character in non_gsm7(message.opt_out_line) if message.add_tcpa_footer else ():
        yield _line("costly", f"{_said(character)} in opt_out_line makes every text cost more")
    for character, count in remarks.costly_rows.most_common(3):
        rows = _row_numbers(remarks.costly[character], count)
        yield _line(
            "costly",
            f"{_said(character)} makes {_texts(count)} cost more (70 characters a segment, not 160): {rows}",
        )
    if remarks.differing_rows:
        row, first, headers = remarks.differing[0]
        yield _line(
            "same key",
            f"{_rows(remarks.differing_rows)} left out though not the same, such as row {row} and row {first} "
            f"({', '.join(headers)} differ): if both are meant, name that column in `key`",
        )


def _said(character: str) -> str:
    """`"í"`; by its name where there is nothing to see."""
    if character.isprintable() and not unicodedata.combining(character):
        return f'"{character}"'
    return unicodedata.name(character, f"U+{ord(character):04X}").lower()


def _groups(plan: Plan) -> Iterator[str]:
    """Who is left out, who waits and what is wrong, each with its reason."""
    for label, status in (("left out", Status.SKIPPED), ("waits", Status.PENDING), ("tried", None)):
        groups = [
            (group_status, codes, count)
            for group_status, codes, count in plan.codes
            if (group_status == status if status is not None else group_status in TRIED)
            and codes != Code.STOPPED
        ]
        for number, (group_status, codes, count) in enumerate(groups):
            why = meaning(group_status, codes.split("; ") if codes else [])
            said = f"{codes or group_status}: {why.removeprefix('Left out: ')}"
            yield _counted(label if number == 0 else "", count, said)
    invalid = [(codes, count) for status, codes, count in plan.codes if status == Status.INVALID]
    for number, (codes, count) in enumerate(invalid):
        numbers = rows_with(plan.scratch, SCRATCH_RUN, Status.INVALID, codes, _ROWS_NAMED)
        why = f"{meaning(Status.INVALID, [codes])} {what_to_do(Status.INVALID, [codes])}"
        yield _counted(
            "invalid" if number == 0 else "", count, f"{codes}: {_row_numbers(numbers, count)}. {why}"
        )


def _row_numbers(numbers: Sequence[int], count: int) -> str:
    named = ", ".join(map(str, numbers[:_ROWS_NAMED]))
    more = ", ..." if count > min(len(numbers), _ROWS_NAMED) else ""
    return f"{'row' if count == 1 else 'rows'} {named}{more}"


def first_message_lines(plan: Plan) -> Iterator[str]:
    """The first text that would leave, and to whom: for eyes, not for logs."""
    first = first_with(plan.scratch, SCRATCH_RUN, Status.PENDING, Code.STOPPED)
    if first is None:
        return
    to = phone_for_people(first["phone"]) if first["phone"] else "the customer's preferred number"
    yield _line("first text", f"row {first['row']}, to {to}:")
    yield from _text(first["body"], plan.request.campaign)


def _text(body: str, campaign: Campaign) -> Iterator[str]:
    """A text as it will stand on the phone."""
    message = campaign.message
    lines = body.split("\n")
    if message.add_tcpa_footer:
        lines.append(f"[myKaarma adds: {message.opt_out_line}]")
    for line in lines:
        yield _line("", f"| {line}")
