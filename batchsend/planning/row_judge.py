"""Judges one row by itself: turns it into a message or a problem.

`RowJudge` sees one row at a time and keeps no state between rows. `planner` applies the rules that need other rows or
the history.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.quiet_hours import Clock, clock_of
from batchsend.campaigns.zones import known_zone
from batchsend.lists.damage import is_damaged
from batchsend.messages.keys import key_of
from batchsend.messages.phones import PhoneProblem, to_e164, zones_of
from batchsend.messages.sms import SmsSize, is_blank, normalize, size_with_opt_out, smart_encode
from batchsend.messages.template import RowProblem
from batchsend.messages.template_choice import TemplateChoice
from batchsend.planning.columns import Roles
from batchsend.statuses import Code

#: The API's identifiers are opaque and case-sensitive: 1 to 128 of these characters.
API_UUID = re.compile(r"[A-Za-z0-9_-]{1,128}")
#: The longest text that carriers and the API accept, in characters.
MAX_CHARACTERS = 1600


@dataclass(frozen=True, slots=True)
class RowIssue:
    """Why a row is not sent: a code and a sentence about this row."""

    code: Code
    description: str = ""


class Judged:
    """One row, judged by itself. `cells`: text, "" if blank.

    `first` is a problem that counts before suppression and history, `then` one that counts after them. If both are
    `None`, the row is a message: `body`, `size` and the customer are set.
    """

    # Class attributes, so that a row sets only the values that it has (`make bench`: preview).
    first: RowIssue | None = None
    then: RowIssue | None = None
    customer_uuid: str | None = None
    department_uuid: str | None = None
    user_uuid: str | None = None
    key: str | None = None
    phone: str | None = None
    body: str | None = None
    size: SmsSize | None = None
    clock: Clock = ""
    unknown_zone: str | None = None

    def __init__(self, row: int, cells: Sequence[str]) -> None:
        self.row = row
        self.cells = cells


class RowJudge:
    """Judges rows of one list for one campaign.

    `phones_needed`: the suppression files hold phones only, so a row without a phone cannot be checked.
    """

    def __init__(
        self,
        campaign: Campaign,
        headers: Sequence[str],
        roles: Roles,
        templates: TemplateChoice,
        *,
        phones_needed: bool,
    ) -> None:
        self._headers = headers
        self._roles = roles
        self._templates = templates
        self._department_uuid = campaign.department_uuid
        self._user_uuid = campaign.user_uuid
        recipients = campaign.recipients
        self._region = recipients.default_region
        self._blank_phone_is_invalid = recipients.blank_phones == "invalid" or (
            phones_needed and not recipients.blank_phones_given
        )
        self._yes = (
            frozenset(value.casefold() for value in recipients.consent.yes) if recipients.consent else None
        )
        message = campaign.message
        self._opt_out_line = message.opt_out_line if message.add_tcpa_footer else None
        self._smart_encoding = message.smart_encoding
        self._max_segments = message.max_segments
        quiet_hours = campaign.sending.quiet_hours
        self._clocks_count = quiet_hours is not None and quiet_hours.timezone == "recipient"

    def judge(self, row: int, cells: Sequence[str], malformed: str | None, *, hidden: bool) -> Judged:
        """Judges a row. `cells`: text in the order of the headers, "" if blank; `malformed`: its problem, if any."""
        judged = Judged(row, cells)
        if malformed is not None:
            judged.first = RowIssue(Code.MALFORMED_ROW, malformed)
            return judged
        judged.first = RowIssue(Code.HIDDEN_ROW) if hidden else self._identify(judged)
        if judged.first is None and self._roles.consent is not None and self._yes is not None:
            consent = cells[self._roles.consent]
            if consent.casefold() not in self._yes:
                value = f'says "{consent}"' if consent else "is blank"
                judged.first = RowIssue(Code.NO_CONSENT, f"{self._headers[self._roles.consent]} {value}")
        if judged.first is None:
            judged.then = self._find_phone(judged) or self._write(judged)
            if self._clocks_count:
                self._find_clock(judged)
        return judged

    def _identify(self, judged: Judged) -> RowIssue | None:
        cells, roles = judged.cells, self._roles
        customer = cells[roles.customer_uuid]
        if not customer:
            header = self._headers[roles.customer_uuid]
            return RowIssue(Code.MISSING_CUSTOMER_UUID, f"{header} is blank")
        judged.customer_uuid = customer
        if is_damaged(customer):
            return self._damage(roles.customer_uuid, customer)
        if not API_UUID.fullmatch(customer):
            return RowIssue(
                Code.INVALID_CUSTOMER_UUID,
                f'"{_shortened(customer)}" is not a customer id of myKaarma (1 to 128 letters, digits, "-" and "_")',
            )
        problem = None
        judged.department_uuid, judged.user_uuid = self._department_uuid, self._user_uuid
        if roles.department_uuid is not None:
            judged.department_uuid, problem = self._sender(roles.department_uuid, cells)
        if problem is None and roles.user_uuid is not None:
            judged.user_uuid, problem = self._sender(roles.user_uuid, cells)
        return problem or self._find_key(judged)

    def _find_key(self, judged: Judged) -> RowIssue | None:
        roles = self._roles
        values = [judged.cells[position] for position in roles.key]
        for position, value in zip(roles.key, values, strict=True):
            if not value:
                return RowIssue(
                    Code.MISSING_VALUE, f"{self._headers[position]} is blank, and it is part of the key"
                )
            if is_damaged(value):
                return self._damage(position, value)
        judged.key = key_of(values, self._region, roles.customer_in_key)
        return None

    def _sender(self, position: int, cells: Sequence[str]) -> tuple[str | None, RowIssue | None]:
        header, value = self._headers[position], cells[position]
        if not value:
            return None, RowIssue(Code.MISSING_VALUE, f"{header} is blank")
        if not API_UUID.fullmatch(value):
            return None, RowIssue(
                Code.DAMAGED_VALUE, f'{header} holds "{_shortened(value)}", which is not an id of myKaarma'
            )
        return value, None

    def _find_phone(self, judged: Judged) -> RowIssue | None:
        position = self._roles.phone
        text = judged.cells[position] if position is not None else ""
        if not text:
            if self._blank_phone_is_invalid:
                header = self._headers[position] if position is not None else "The phone"
                return RowIssue(Code.MISSING_PHONE, f"{header} is blank")
            return None
        try:
            judged.phone = to_e164(text, self._region)
        except PhoneProblem as problem:
            return RowIssue(problem.code, str(problem))
        return None

    def _find_clock(self, judged: Judged) -> None:
        """Sets the recipient's clock from the list's time zone column or the phone's area code."""
        position = self._roles.timezone
        name = judged.cells[position] if position is not None else ""
        zone = known_zone(name) if name else None
        if name and zone is None:
            judged.unknown_zone = name
        if zone is not None:
            judged.clock = clock_of([zone])
        elif judged.phone is not None:
            judged.clock = clock_of(zones_of(judged.phone))

    def _write(self, judged: Judged) -> RowIssue | None:
        cells, template, used = judged.cells, self._templates.default, self._templates.default.uses
        if self._roles.template_by is not None:
            template = self._templates.choose(cells[self._roles.template_by])
            used = template.uses | {self._roles.template_by}
        for position in used:
            if is_damaged(cells[position]):
                return self._damage(position, cells[position])
        try:
            body = normalize(template.render(cells))
        except RowProblem as problem:
            return RowIssue(problem.code, problem.description)
        if self._smart_encoding:
            body = smart_encode(body)
        if is_blank(body):
            return RowIssue(Code.EMPTY_MESSAGE, "the template gives no text for this row")
        judged.body = body
        judged.size = size_with_opt_out(body, self._opt_out_line)
        if len(body) > MAX_CHARACTERS:
            return RowIssue(
                Code.MESSAGE_TOO_LONG, f"{len(body):,} characters; at most {MAX_CHARACTERS:,} can be sent"
            )
        if judged.size.segments > self._max_segments:
            return RowIssue(
                Code.MESSAGE_TOO_LONG,
                f"{judged.size.segments} segments; the campaign allows {self._max_segments}",
            )
        return None

    def _damage(self, position: int, value: str) -> RowIssue:
        return RowIssue(
            Code.DAMAGED_VALUE,
            f'{self._headers[position]} holds "{_shortened(value)}", which a spreadsheet damaged',
        )


def _shortened(value: str, length: int = 40) -> str:
    return value if len(value) <= length else f"{value[: length - 1]}…"
