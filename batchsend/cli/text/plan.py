"""What the terminal says of a plan and of a run: pure functions from facts to lines."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from batchsend.campaigns.campaign import Campaign
from batchsend.cli.text.layout import counted_line, labeled, shown_path
from batchsend.ledger.runs import first_with, rows_with
from batchsend.messages.phones import for_people as phone_for_people
from batchsend.messages.sms import non_gsm7
from batchsend.planning.plan import SCRATCH_RUN, Plan
from batchsend.reports.advice import meaning, what_to_do
from batchsend.runs.trial import Trial
from batchsend.settings import os_user
from batchsend.statuses import TRIED, Code, Status, Tally
from batchsend.utils.timestamps import for_people, from_text
from batchsend.utils.wording import duration, segment_count
from batchsend.utils.wording import row_count as _rows
from batchsend.utils.wording import text_count as _texts

#: Row numbers that are named before "...".
_ROWS_NAMED = 8
#: Different values of a column that are named.
_VALUES_NAMED = 8


def plan_lines(plan: Plan, *, rehearsal: bool = False) -> Iterator[str]:
    """Who sends what to whom, and who is left out and why."""
    request, sources = plan.request, plan.sources
    campaign, customers = request.campaign, sources.customers
    saved = for_people(customers.saved_at, campaign.zone)
    rows = sum(plan.counts.values())
    host = host_of(request.base_url)
    by = f"a stand-in on this computer (history of {host})" if rehearsal else host
    yield labeled("from", f"{department_words(campaign)}, by {by}")
    yield labeled("started by", f"{os_user()} on {request.host}")
    yield labeled("list", f"{shown_path(customers.path)}, saved {saved}, {_rows(rows)}")
    for note in (*customers.notes, *sources.suppression.notes):
        yield labeled("", note)
    yield from _templates(plan)
    yield labeled("to send", _to_send(plan))
    yield from _preferred(plan)
    yield from _hours(plan)
    if plan.unusual is not None:
        yield labeled("", plan.unusual)
    yield labeled("history", _history(plan))
    yield from _remarks(plan)
    yield from _groups(plan)


def tally_line(plan: Plan) -> str:
    """The summary line of a plan: what would be sent stands as such."""
    counts = dict(plan.counts)
    waiting = counts.get(Status.PENDING, 0)
    counts[Status.READY] = plan.texts
    counts[Status.PENDING] = waiting - plan.texts
    return Tally.of(counts).sentence()


def trial_lines(trial: Trial, *, rehearsal: bool) -> Iterator[str]:
    """The one text of a test, and to whom it goes."""
    campaign, customers = trial.plan.request.campaign, trial.plan.sources.customers
    what = "rehearsal of a test, nobody gets a text" if rehearsal else "about to send a test"
    yield f"{campaign.name}: {what}; it counts for nothing"
    by = "a stand-in on this computer" if rehearsal else host_of(trial.plan.request.base_url)
    yield labeled("from", f"{department_words(campaign)}, by {by}")
    yield labeled("to", f"customer {trial.customer_uuid}, their preferred number")
    size = f"{segment_count(trial.size.segments)} in {trial.size.encoding}"
    yield labeled("text", f"of row {trial.row} in {shown_path(customers.path)}, {size}:")
    yield from _text(trial.body, campaign)


def _templates(plan: Plan) -> Iterator[str]:
    """The template; of several, which rows get which, and values that no case names."""
    choice, values = plan.sources.template, plan.remarks.template_values
    if not choice.cases:
        yield labeled("template", shown_path(choice.path))
        return
    counts = choice.rows_by_file(values)
    yield labeled(
        "templates", f"by {choice.column}: {shown_path(choice.path)} for {_rows(counts[choice.path])}"
    )
    for template, named in choice.cases:
        whose = f"{', '.join(named)}: {shown_path(template.path)}"
        yield labeled("", f"{whose} for {_rows(counts[template.path])}")
    unmatched = choice.unmatched(values)
    if unmatched:
        said = _values(unmatched)
        yield labeled("", f"without a case, and so with {choice.path.name}: {said}")


def _values(counts: Counter[str]) -> str:
    """Values of a column, the most frequent first: `"Y" 310, blank 4`."""
    named = ", ".join(
        f'"{value}" {count:,}' if value else f"blank {count:,}"
        for value, count in counts.most_common(_VALUES_NAMED)
    )
    return f"{named}, ..." if len(counts) > _VALUES_NAMED else named


def department_words(campaign: Campaign) -> str:
    department = campaign.department_label or campaign.department_uuid or "the departments in the list"
    user = f"user {campaign.user_uuid}" if campaign.user_uuid else "the users in the list"
    return f"{department}, {user}"


def host_of(base_url: str) -> str:
    return base_url.split("://", 1)[-1]


def _to_send(plan: Plan) -> str:
    if not plan.texts:
        return "nothing"
    rate = plan.request.campaign.sending.rate
    return f"{_texts(plan.texts)}, {segment_count(plan.segments)}, {duration(plan.texts / rate)} at {rate:g} a second"


def _hours(plan: Plan) -> Iterator[str]:
    """Until when nobody is texted, or that there is no such hour."""
    hours, zone = plan.wait_rules.hours, plan.request.campaign.zone
    if hours is None:
        yield labeled("hours", "no quiet hours are set: texts may leave at any hour of the day or night")
    else:
        whose = "each recipient's time" if hours.fixed is None else hours.fixed
        yield labeled("hours", f"nobody is texted from {hours.begins:%H:%M} to {hours.ends:%H:%M}, {whose}")
    for word, count in plan.remarks.unknown_zones.most_common(_VALUES_NAMED):
        yield labeled("", f'"{word}" is no time zone: {_rows(count)} go by the phone\'s area code')
    moment = plan.waiting_until()
    if moment is not None:
        wait = "waits until then" if plan.wait_rules.wait else "run it again then, or add --wait"
        yield labeled("", f"some rows wait, the first until {for_people(moment, zone)} ({zone.key}): {wait}")


def _preferred(plan: Plan) -> Iterator[str]:
    """Where phones come from a column, who has none there is worth knowing."""
    if plan.sources.roles.phone is not None and plan.remarks.preferred:
        yield labeled(
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
        yield labeled("", f"template changed: {plan.sent_with_other_template:,} already got the old text")
    if plan.request.resend is not None:
        yield labeled("again", f"{_texts(remarks.again)} sent again (--resend {plan.request.resend})")
        if remarks.again_unconfirmed:
            yield labeled("", f"{remarks.again_unconfirmed:,} of them may have arrived the first time")
        if remarks.not_again:
            yield labeled("", f"{_rows(remarks.not_again)} asked for, but they cannot be sent now")
    if remarks.consent:
        yield labeled("consent", _values(remarks.consent))
    message = plan.request.campaign.message
    for character in non_gsm7(message.opt_out_line) if message.add_tcpa_footer else ():
        yield labeled("costly", f"{_said(character)} in opt_out_line makes every text cost more")
    for character, count in remarks.costly_rows.most_common(3):
        rows = _row_numbers(remarks.costly[character], count)
        yield labeled(
            "costly",
            f"{_said(character)} makes {_texts(count)} cost more (70 characters a segment, not 160): {rows}",
        )
    if remarks.differing_rows:
        row, first, headers = remarks.differing[0]
        one = remarks.differing_rows == 1
        words = "as a duplicate although it differs" if one else "as duplicates although they differ"
        skipped = f"{_rows(remarks.differing_rows)} skipped {words}"
        yield labeled(
            "same key",
            f"{skipped}, such as row {row} and row {first} ({', '.join(headers)}). To text both, add that column "
            "to `key`",
        )


def _said(character: str) -> str:
    """`"í"`; by its name where there is nothing to see."""
    if character.isprintable() and not unicodedata.combining(character):
        return f'"{character}"'
    return unicodedata.name(character, f"U+{ord(character):04X}").lower()


def _groups(plan: Plan) -> Iterator[str]:
    """Who is left out, who waits and what is wrong, each with its reason."""
    for label, status in (("skipped", Status.SKIPPED), ("waiting", Status.PENDING), ("tried", None)):
        groups = [
            (group_status, codes, count)
            for group_status, codes, count in plan.codes
            if (group_status == status if status is not None else group_status in TRIED)
            and codes != Code.STOPPED
        ]
        for number, (group_status, codes, count) in enumerate(groups):
            why = meaning(group_status, codes.split("; ") if codes else [])
            said = f"{codes or group_status}: {why.removeprefix('Skipped: ')}"
            yield counted_line(label if number == 0 else "", count, said)
    invalid = [(codes, count) for status, codes, count in plan.codes if status == Status.INVALID]
    for number, (codes, count) in enumerate(invalid):
        numbers = rows_with(plan.scratch, SCRATCH_RUN, Status.INVALID, codes, _ROWS_NAMED)
        why = f"{meaning(Status.INVALID, [codes])} {what_to_do(Status.INVALID, [codes])}"
        yield counted_line(
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
    yield labeled("first text", f"row {first['row']}, to {to}:")
    yield from _text(first["body"], plan.request.campaign)


def _text(body: str, campaign: Campaign) -> Iterator[str]:
    """A text as it will stand on the phone."""
    message = campaign.message
    lines = body.split("\n")
    if message.add_tcpa_footer:
        lines.append(f"[myKaarma adds: {message.opt_out_line}]")
    for line in lines:
        yield labeled("", f"| {line}")
