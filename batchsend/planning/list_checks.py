"""Finds what a person would notice in a list: rows that are no customers, columns to use or not. Pure functions.

A `frame` has text cells, "" if blank; its columns are the list's headers, its index has the row numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from batchsend.campaigns.types import SAMPLE_ID
from batchsend.errors import Sentence
from batchsend.lists.damage import is_damaged
from batchsend.lists.headers import ALIASES, in_quotes, spellings, variable_name
from batchsend.messages.phones import PhoneProblem, to_e164

if TYPE_CHECKING:
    import pandas as pd

_WORD = r"(?:grand[ _-]?)?totals?|sub[ _-]?totals?|sum|count|average|summe|gesamt(?:summe)?"
_NOUN = r"(?:records?|rows?|customers?|contacts?|entries)"
_NUMBER = r"[\d.,]*\d"
_total = re.compile(
    # Total, Grand Total: 30, Total customers 30
    rf"(?:{_WORD})(?:\s+(?:of\s+)?{_NOUN})?(?:\s*[:=]|\s*[:=]\s*{_NUMBER}|\s+{_NUMBER})?"
    # Records: 2, Record count = 2
    rf"|(?:number\s+of\s+)?{_NOUN}(?:\s+count)?\s*[:=]\s*{_NUMBER}"
    # 2 rows, (2 rows affected)
    rf"|\(?{_NUMBER}\s+{_NOUN}(?:\s+(?:affected|returned|selected|found|total|in\s+total))?\)?\.?"
)
#: Words for a total that are also family names. They only count in the customer's column.
_ALSO_NAMES = frozenset({"sum", "count"})
_LONGEST_TOTAL = 30
#: The API's identifiers are opaque and case-sensitive: 1 to 128 of these characters. A line of dashes, which database
#: tools write below the header, is not an identifier.
API_UUID = re.compile(r"(?![_-]+$)[A-Za-z0-9_-]{1,128}")
#: A customer's number in a dealership's system (DMS), such as 5760069. It passes as an id of myKaarma.
DMS_NUMBER = re.compile(r"\d{1,10}")
#: Headers of columns that say who may be texted, as `variable_name` gives them, without underscores.
_consent_header = re.compile(
    r"(?:sms|text|texting|marketing)?opt(?:ed)?(?:in|out)(?:status|flag|date|sms|texts?)?"
    r"|.*(?:consent|unsubscribed?|tcpa).*|dnc"
    r"|(?:ok(?:ay)?to|can|may|donot|dont|no)(?:be)?(?:text|sms|message|contact|call)(?:ed|s|ing)?"
    r"|(?:sms|text|texting|texts|messaging)(?:ok(?:ay)?|allowed|permission|permitted|agreed)"
)
#: Rows of a list that are looked at for remarks on its columns.
_ROWS = 5_000
#: Cells of a column that are looked at to see whether it holds phones: a few, and if they do, more.
_SAMPLES = (20, 1_000)
_looks_like_phone = re.compile(r"\+?[\d\s().-]{7,24}")
#: A phone without its area code, which is not a valid phone.
_local_phone = re.compile(r"\d{3}-\d{4}")
_number_or_blank = re.compile(r"[-+($€£\s]*[\d.,]*[%)\s]*")


def rows_that_repeat_the_header(frame: pd.DataFrame, customer: str) -> pd.Series[bool]:
    """Whether each row is the header once more. `customer`: the header of the customer's id.

    Exports that were joined, or printed page by page, have such rows. The columns may be in another order there.
    """
    headers = {*frame.columns, *ALIASES["customer_uuid"]}
    # The number of a customer can be that of a year that has a column.
    names = {
        spelling
        for header in headers
        if header == customer or not _has_digit(header)
        for spelling in spellings(header)
    }
    return frame[customer].str.lower().isin(names)


def rows_with_a_total(frame: pd.DataFrame, customer: str) -> pd.Series[bool]:
    """Whether each row has a total, such as `Total: 30` or `2 rows`, and no customer.

    `customer`: the header of the customer's id. A total in a column before it counts only where the rest of the row
    has nothing but numbers, because it may be a name.
    """
    totals = frame[customer].isin(_totals_among(frame[customer]))
    for header in frame.columns[: frame.columns.get_loc(customer)]:
        labels = {cell for cell in _totals_among(frame[header]) if cell.casefold() not in _ALSO_NAMES}
        rows = frame[frame[header].isin(labels)].drop(columns=header)
        totals |= frame.index.isin(rows.index[_has_only_numbers(rows)])
    return totals


def _totals_among(cells: pd.Series[str]) -> set[str]:
    # Most ids are longer, and matching them all takes time.
    return {
        cell for cell in cells.unique() if len(cell) <= _LONGEST_TOTAL and _total.fullmatch(cell.casefold())
    }


def _has_only_numbers(frame: pd.DataFrame) -> pd.Series[bool]:
    return frame.map(lambda cell: _number_or_blank.fullmatch(cell) is not None).all(axis=1)


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def look_like_dms_numbers(ids: Iterable[str]) -> bool:
    """Whether most of the filled ids are short and all digits, as a dealership's system numbers its customers."""
    filled = [DMS_NUMBER.fullmatch(one) is not None for one in ids if one]
    return sum(filled) * 2 > len(filled)


def unused_phone_columns(frame: pd.DataFrame, used: Collection[int], region: str) -> list[str]:
    """The headers of columns with phones that the campaign does not use. `used`: positions of those that it uses.

    At least 80 % of the filled cells must be valid phones, because some customer numbers are valid phones by chance.
    A column that repeats a few phones has those of the dealership.
    """
    return [
        header
        for position, header in enumerate(frame.columns)
        if position not in used
        and "fax" not in header.casefold()
        # What a look-up has found, beside the list's own columns.
        and not header.startswith("found_")
        and _holds_phones(frame.iloc[:, position], region)
    ]


def _holds_phones(cells: pd.Series[str], region: str) -> bool:
    filled = cells[cells != ""]
    return not filled.empty and all(_are_phones(filled.iloc[:size], region) for size in _SAMPLES)


def _are_phones(sample: pd.Series[str], region: str) -> bool:
    return sample.nunique() * 2 >= len(sample) and sum(
        is_phone(cell, region) for cell in sample
    ) >= 0.8 * len(sample)


def is_phone(cell: str, region: str) -> bool:
    """Whether a cell has a valid phone number and nothing else."""
    if not _looks_like_phone.fullmatch(cell):
        return False
    try:
        to_e164(cell, region)
    except PhoneProblem:
        return False
    return True


def is_customer_id(text: str, region: str) -> bool:
    """Whether this can be a customer's id. A phone in the wrong place has only characters of an id, too."""
    return (
        API_UUID.fullmatch(text) is not None
        and not is_damaged(text)
        and not text.startswith(SAMPLE_ID)
        and not _local_phone.fullmatch(text)
        and not is_phone(text, region)
    )


def unused_consent_columns(frame: pd.DataFrame, used: Collection[int]) -> list[str]:
    """The headers of filled columns that seem to say who may be texted, and that the campaign does not use."""
    return [
        header
        for position, header in enumerate(frame.columns)
        if position not in used
        and _consent_header.fullmatch(variable_name(header).replace("_", ""))
        and (frame.iloc[:, position] != "").any()
    ]


def remarks_on_columns(
    frame: pd.DataFrame, customer: int | None, phone: int | None, used: Collection[int], region: str
) -> Iterator[str]:
    """Sentences about columns that a person should look at before sending.

    `customer`, `phone`, `used`: the positions of these columns, and of all that the campaign uses. `customer` is
    `None` if customers are looked up.
    """
    headers, frame = list(frame.columns), frame.iloc[:_ROWS]
    if customer is not None and look_like_dms_numbers(frame.iloc[:, customer]):
        yield _dms_numbers(headers[customer])
    if phones := unused_phone_columns(frame, used, region):
        yield _unused_phones(phones, None if phone is None else headers[phone])
    if consents := unused_consent_columns(frame, used):
        yield _unused_consent(consents)


def _dms_numbers(header: str) -> str:
    seem = f'The ids in "{header}" look like DMS numbers, not myKaarma ids. If they are, myKaarma refuses the texts.'
    return Sentence(
        f'{seem} Use a column with myKaarma\'s ids, or have them looked up: lookup = {{ customer_key = "{header}" }} '
        f"instead of customer_uuid under [columns].",
        f"{seem} Choose a column with myKaarma’s ids under Columns, or look the customers up on the page List.",
    )


def _unused_phones(phones: list[str], chosen: str | None) -> str:
    holds = "has phone numbers and is" if len(phones) == 1 else "have phone numbers and are"
    unused = f"{in_quotes(phones)} {holds} not used."
    if chosen is not None:
        return f'{unused} Texts go to "{chosen}".'
    unused += " Texts go to each customer's preferred number. To use the list's phones,"
    return Sentence(
        f'{unused} write phone = "{phones[0]}" under [columns].',
        f'{unused} choose "{phones[0]}" as the phone under Columns.',
    )


def _unused_consent(consents: list[str]) -> str:
    seem, it, does = ("seems", "it", "it does") if len(consents) == 1 else ("seem", "them", "they do")
    unused = f"{in_quotes(consents)} {seem} to say who may be texted, but the campaign does not use {it}. If {does},"
    return Sentence(
        f"{unused} use {it} in `consent` or `where` under [recipients].",
        f"{unused} choose {it} as the column of who agreed to texts under Columns.",
    )
