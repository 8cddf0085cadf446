"""The rules that decide which rows of a list are sent, one function each, in the contract's order: `RULES`.

A rule gets the rows that no rule above it stopped, and returns the columns that it adds for some or all of them. It
stops a row by giving it a `code`. To add a rule, write its function and name it in `RULES`.

`rows` is a frame as `row_frame` describes it. Whole columns are compared by pandas. Only phones, conditions and texts
are read row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from batchsend.messages.keys import keys_of
from batchsend.messages.phones import PhoneProblem, to_e164
from batchsend.messages.sms import is_blank, normalize, size_with_opt_out, smart_encode
from batchsend.messages.template import MessageTemplate, RowProblem
from batchsend.mykaarma.customer_search import Candidate
from batchsend.planning.customer_match import Match, Verdict
from batchsend.planning.duplicates import repeats
from batchsend.planning.list_checks import API_UUID, rows_that_repeat_the_header, rows_with_a_total
from batchsend.planning.lookup_columns import NO_LOOKUP, given_ids, persons
from batchsend.planning.recipient_clock import read_clock
from batchsend.planning.resend import already, latest_outcome
from batchsend.planning.row_frame import (
    NOTHING,
    Context,
    columns,
    first_of,
    shortened,
    stop,
    stop_blank,
    stop_damaged,
)
from batchsend.statuses import Code
from batchsend.utils.progress import report
from batchsend.utils.timestamps import to_text

#: The longest text that carriers and the API accept, in characters.
MAX_CHARACTERS = 1600
Rule = Callable[[pd.DataFrame, Context], pd.DataFrame]


def judge(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """`rows` with all that the rules find out, in the same order. A row without a `code` can be sent."""
    stopped = []
    for number, rule in enumerate(RULES):
        if rows.empty:
            break
        report(number, len(RULES))
        found = rule(rows, context)
        for name in found.columns:
            if len(found) == len(rows):
                rows[name] = found[name]
            else:
                rows.loc[found.index, name] = found[name]
        if "code" in found.columns:
            is_stopped = rows["code"].notna()
            stopped.append(rows[is_stopped])
            rows = rows[~is_stopped]
    return pd.concat([*stopped, rows]).sort_index()


def malformed_row(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    wrong = rows[rows.index.isin(list(context.malformed))]
    return stop(wrong, Code.MALFORMED_ROW, [context.malformed[row] for row in wrong.index])


def header_again(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    found = rows_that_repeat_the_header(
        context.list_frame(rows), context.headers[context.roles.shown_customer]
    )
    return stop(rows[found], Code.MALFORMED_ROW, "repeats the header")


def total_row(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    found = rows_with_a_total(context.list_frame(rows), context.headers[context.roles.shown_customer])
    return stop(rows[found], Code.MALFORMED_ROW, "has a total, not a customer")


def hidden_row(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    return stop(rows[rows.index.isin(list(context.hidden))], Code.HIDDEN_ROW)


def look_up_customer(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Adds the id of each row's customer behind the list's columns; stops rows without one sure customer."""
    roles, lookup = context.roles, context.lookup or NO_LOOKUP
    if roles.lookup is None:
        return NOTHING
    department = context.campaign.department_uuid or roles.department_uuid or 0
    frame, region = context.list_frame(rows), context.campaign.recipients.default_region
    people, given = persons(frame, roles.lookup, department, region), given_ids(frame, context.headers)
    verdicts = [
        Verdict(Match.ONE, Candidate(own)) if own else lookup.verdict(person)
        for own, person in zip(given, people, strict=True)
    ]
    ids = ["" if one.customer is None else one.customer.uuid for one in verdicts]
    found = columns(
        rows, code=[_LOOKUP_CODES[one.match] for one in verdicts], description=[one.why for one in verdicts]
    )
    found[roles.customer_uuid] = pd.Series(ids, index=rows.index, dtype=object)
    return found


_LOOKUP_CODES = {
    Match.ONE: None,
    Match.NONE: str(Code.CUSTOMER_NOT_FOUND),
    Match.SEVERAL: str(Code.CUSTOMER_AMBIGUOUS),
    Match.DIFFERS: str(Code.CUSTOMER_AMBIGUOUS),
}


def read_ids(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Adds the customer, and who sends."""
    roles, campaign = context.roles, context.campaign
    fixed = {"department_uuid": campaign.department_uuid, "user_uuid": campaign.user_uuid}
    positions = {"department_uuid": roles.department_uuid, "user_uuid": roles.user_uuid}
    senders = {
        name: [fixed[name]] * len(rows) if position is None else rows[position]
        for name, position in positions.items()
    }
    return columns(rows, customer_uuid=[uuid or None for uuid in rows[roles.customer_uuid]], **senders)


def missing_customer(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    position = context.roles.customer_uuid
    return stop(
        rows[rows[position] == ""], Code.MISSING_CUSTOMER_UUID, f"{context.header(position)} is blank"
    )


def damaged_customer(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    return stop_damaged(rows, [context.roles.customer_uuid], context)


def invalid_customer(rows: pd.DataFrame, _: Context) -> pd.DataFrame:
    wrong = rows[~rows["customer_uuid"].map(_is_api_uuid)]
    return stop(
        wrong,
        Code.INVALID_CUSTOMER_UUID,
        [
            f'"{shortened(value)}" is not a customer id of myKaarma (1 to 128 letters, digits, "-" and "_")'
            for value in wrong["customer_uuid"]
        ],
    )


def blank_sender(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    return stop_blank(rows, _sender_columns(context), context, "")


def invalid_sender(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    def wrong(position: int) -> pd.DataFrame:
        some = rows[~rows[position].map(_is_api_uuid)]
        header = context.headers[position]
        return stop(
            some,
            Code.DAMAGED_VALUE,
            [
                f'{header} holds "{shortened(value)}", which is not an id of myKaarma'
                for value in some[position]
            ],
        )

    return first_of(wrong(position) for position in _sender_columns(context))


def blank_key(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    return stop_blank(rows, context.roles.key, context, ", and it is part of the key")


def damaged_key(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    return stop_damaged(rows, context.roles.key, context)


def read_key(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Adds the key, and the earlier outcomes of the rows that have it."""
    roles = context.roles
    region = context.campaign.recipients.default_region
    keys = keys_of(rows[list(roles.key)], region, roles.customer_in_key)
    earlier = context.history.earlier(keys.tolist()) if context.history is not None else {}
    if not earlier:
        return columns(rows, key=keys)
    outcomes = [earlier.get(key) for key in keys]
    latest = [
        own if own is not None else latest_outcome(some) if some else None
        for own, some in zip(rows["latest"], outcomes, strict=True)
    ]
    resend = [
        own if own is not None or last is None else context.resend_for(row, key, last)
        for row, key, own, last in zip(rows.index, keys, rows["resend"], latest, strict=True)
    ]
    return columns(rows, key=keys, earlier=outcomes, latest=latest, resend=resend)


def filtered(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Stops rows that do not meet `where`, or for which it has no answer."""
    where = context.where
    if where is None:
        return NOTHING
    damaged = stop_damaged(rows, sorted(where.uses), context)

    def verdict(cells: Sequence[str]) -> tuple[str | None, str]:
        try:
            return (None, "") if where.holds(cells) else (str(Code.FILTERED), "")
        except RowProblem as problem:
            return str(problem.code), problem.description

    rest = rows.drop(index=damaged.index)
    verdicts = list(map(verdict, context.list_frame(rest).to_numpy().tolist()))
    found = columns(rest, code=[code for code, _ in verdicts], description=[why for _, why in verdicts])
    return first_of([damaged, found[found["code"].notna()]])


def no_consent(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    position, consent = context.roles.consent, context.campaign.recipients.consent
    if position is None or consent is None:
        return NOTHING
    yes = {value.casefold() for value in consent.yes}
    refused = rows[~rows[position].str.casefold().isin(yes)]
    header = context.headers[position]
    return stop(
        refused,
        Code.NO_CONSENT,
        [f'{header} says "{value}"' if value else f"{header} is blank" for value in refused[position]],
    )


def read_phone(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Adds the phone, or what is wrong with it, which counts after suppression and history."""
    position, recipients = context.roles.phone, context.campaign.recipients
    needed = recipients.blank_phones == "invalid" or (
        context.suppression.phones_only and not recipients.blank_phones_given
    )
    header = "The phone" if position is None else context.headers[position]
    missing = PhoneProblem(Code.MISSING_PHONE, f"{header} is blank") if needed else None

    def read(text: str) -> tuple[str | None, PhoneProblem | None]:
        if not text:
            return None, missing
        try:
            return to_e164(text, recipients.default_region), None
        except PhoneProblem as problem:
            return None, problem

    if position is None:
        return columns(rows, phone_problem=[missing] * len(rows))
    phones, problems = zip(*map(read, rows[position]), strict=True)
    return columns(rows, phone=phones, phone_problem=problems)


def suppressed(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    suppression = context.suppression
    if not suppression.has_entries:
        return NOTHING
    reasons = {
        row: why
        for row, customer, phone in zip(rows.index, rows["customer_uuid"], rows["phone"], strict=True)
        if (why := suppression.why(customer, phone)) is not None
    }
    return stop(rows.loc[list(reasons)], Code.SUPPRESSED, reasons.values())


def already_sent(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Stops rows whose message an earlier run sent, or may have sent, except those that `--resend` includes."""
    since = context.window(context.campaign.recipients.repeat_after_days)
    candidates = rows.loc[rows["earlier"].notna() & rows["resend"].isna(), "earlier"]
    verdicts = {
        row: verdict
        for row, earlier in candidates.items()
        if (verdict := already(earlier, to_text(since) if since is not None else None)) is not None
    }
    return columns(
        rows.loc[list(verdicts)],
        code=[str(code) for code, _ in verdicts.values()],
        description="",
        message_uuid=[outcome.message_uuid for _, outcome in verdicts.values()],
        sent_at=[outcome.sent_at for _, outcome in verdicts.values()],
        earlier_run=[outcome.run_id for _, outcome in verdicts.values()],
    )


def bad_phone(rows: pd.DataFrame, _: Context) -> pd.DataFrame:
    wrong = rows[rows["phone_problem"].notna()]
    problems = wrong["phone_problem"].tolist()
    return columns(
        wrong,
        code=[str(problem.code) for problem in problems],
        description=[str(problem) for problem in problems],
    )


def damaged_value(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Stops rows in which a value that the text uses is damaged."""
    chosen_by = context.roles.template_by
    also = set() if chosen_by is None else {chosen_by}
    return first_of(
        stop_damaged(some, sorted(template.uses | also), context)
        for template, some in context.templates.of_rows(rows, context.roles.template_by)
    )


def text(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Adds the text and its size; stops rows whose text cannot be made, is empty or too long."""
    message, positions = context.campaign.message, range(len(context.headers))
    opt_out_line = message.opt_out_line if message.add_tcpa_footer else None

    def write(template: MessageTemplate, cells: Sequence[str]) -> tuple[Any, ...]:
        try:
            body = normalize(template.render(cells))
        except RowProblem as problem:
            return None, None, None, str(problem.code), problem.description
        if message.smart_encoding:
            body = smart_encode(body)
        if is_blank(body):
            return None, None, None, str(Code.EMPTY_MESSAGE), "the template gives no text for this row"
        size = size_with_opt_out(body, opt_out_line)
        too_long = _too_long(body, size.segments, message.max_segments)
        code = None if too_long is None else str(Code.MESSAGE_TOO_LONG)
        return body, size.segments, str(size.encoding), code, too_long

    written = {
        row: write(template, cells)
        for template, some in context.templates.of_rows(rows, context.roles.template_by)
        for row, cells in zip(some.index, some[list(positions)].to_numpy().tolist(), strict=True)
    }
    names = ("body", "segments", "encoding", "code", "description")
    return columns(
        rows, **dict(zip(names, zip(*map(written.__getitem__, rows.index), strict=True), strict=True))
    )


def repeated(rows: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Stops `DUPLICATE`, `DUPLICATE_PHONE` and `FREQUENCY_CAP` rows, which depend on what is sent above them."""
    recipients = context.campaign.recipients
    since = context.window(recipients.max_messages_days) if recipients.max_messages is not None else None
    reached = (
        context.history.reached(rows["customer_uuid"].tolist(), since)
        if since is not None and context.history is not None
        else {}
    )
    return repeats(
        rows,
        context.headers,
        context.taken,
        reached,
        region=recipients.default_region,
        skip_phones=recipients.duplicate_phones == "skip",
        max_messages=recipients.max_messages,
    )


#: In the contract's order. Those whose names begin with `read` only add columns.
RULES: tuple[Rule, ...] = (
    malformed_row,
    header_again,
    total_row,
    hidden_row,
    look_up_customer,
    read_ids,
    missing_customer,
    damaged_customer,
    invalid_customer,
    blank_sender,
    invalid_sender,
    blank_key,
    damaged_key,
    read_key,
    filtered,
    no_consent,
    read_phone,
    suppressed,
    already_sent,
    bad_phone,
    damaged_value,
    text,
    read_clock,
    repeated,
)


def _is_api_uuid(value: str) -> bool:
    return API_UUID.fullmatch(value) is not None


def _sender_columns(context: Context) -> list[int]:
    roles = context.roles
    return [position for position in (roles.department_uuid, roles.user_uuid) if position is not None]


def _too_long(body: str, segments: int, max_segments: int) -> str | None:
    if len(body) > MAX_CHARACTERS:
        return f"{len(body):,} characters; at most {MAX_CHARACTERS:,} can be sent"
    if segments > max_segments:
        return f"{segments} segments; the campaign allows {max_segments}"
    return None
