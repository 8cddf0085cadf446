"""What a row becomes among other rows and after what went before: the one order in which verdicts apply.

`MALFORMED_ROW`, `HIDDEN_ROW`, customer and key, `NO_CONSENT`, `SUPPRESSED`, `ALREADY_SENT` / `ALREADY_TRIED`, phone,
template and text, `DUPLICATE`, `DUPLICATE_PHONE`, `FREQUENCY_CAP`: the first that applies counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import GuardError
from batchsend.ledger.history import Earlier, History
from batchsend.ledger.runs import TakenRow
from batchsend.lists.customer_list import Chunk
from batchsend.messages.sms import Encoding, non_gsm7, unencodable
from batchsend.planning.columns import Roles
from batchsend.planning.duplicates import Fetch, TakenRows
from batchsend.planning.row_judge import Judged, RowIssue, RowJudge
from batchsend.planning.suppression import Suppression
from batchsend.statuses import (
    IN_FLIGHT,
    MAY_HAVE_REACHED,
    OPTED_OUT,
    RESENDABLE,
    Code,
    Status,
)
from batchsend.utils.timestamps import start_of_window, to_text

#: The columns of the ledger's `messages` that a planned row has; all others are for what becomes of it.
PLANNED = (
    "run_id",
    "row",
    "campaign_id",
    "key",
    "customer_uuid",
    "department_uuid",
    "user_uuid",
    "phone",
    "body",
    "segments",
    "encoding",
    "clock",
    "cells",
    "status",
    "codes",
    "descriptions",
    "message_uuid",
    "attempts",
    "sent_at",
    "earlier_run",
    "generation",
    "resend",
)
PlannedRow = tuple[str | int | None, ...]
_as_json_string = json.encoder.encode_basestring
#: Examples kept for the preview of each kind of remark.
_EXAMPLES = 20


@dataclass
class Remarks:
    """What a person should know about a plan beside its rows."""

    #: Value of the consent column -> rows.
    consent: Counter[str] = field(default_factory=Counter)
    #: (row, row of the same key, headers in which they differ), the first few, and how many there are.
    differing: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)
    differing_rows: int = 0
    #: Value of the column that `template_by` chooses by -> rows.
    template_values: Counter[str] = field(default_factory=Counter)
    #: Character that makes a text cost more -> rows.
    costly: dict[str, list[int]] = field(default_factory=dict)
    costly_rows: Counter[str] = field(default_factory=Counter)
    #: Words of the list's time zone column that name no zone -> rows.
    unknown_zones: Counter[str] = field(default_factory=Counter)
    #: Rows that `--resend` opens again, those among them that may have been sent, and those it cannot open.
    again: int = 0
    again_unconfirmed: int = 0
    not_again: int = 0
    #: Texts to rows that an earlier run tried in vain, and texts to the customer's preferred number.
    tried_before: int = 0
    preferred: int = 0
    #: Rows that were tried before in this run and keep their outcome.
    kept: int = 0


@dataclass
class PlannedChunk:
    """Rows as the ledger keeps them; those to be sent are `pending` `STOPPED`.

    `rows` have the columns of `PLANNED`; `kept` were tried before, and are whole.
    """

    rows: list[PlannedRow] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)


class Planner:
    """Plans one list, chunk by chunk, in its order. `now` is the moment of the start, in UTC.

    `resend`: what `--resend` asks for. `continues`: the list's run has been started before. `planned` gives rows of
    earlier chunks back, which must have been stored by then.
    """

    def __init__(
        self,
        campaign: Campaign,
        headers: Sequence[str],
        roles: Roles,
        judge: RowJudge,
        history: History,
        suppression: Suppression,
        now: datetime,
        planned: Fetch,
        *,
        resend: str | None,
        continues: bool,
    ) -> None:
        self.remarks = Remarks()
        self._headers = headers
        self._roles = roles
        self._judge = judge
        self._history = history
        self._suppression = suppression
        self._suppresses = suppression.names_anybody
        self._resend = resend
        self._continues = continues
        recipients = campaign.recipients
        self._skip_duplicate_phones = recipients.duplicate_phones == "skip"
        days = recipients.repeat_after_days
        self._texted_since = to_text(start_of_window(now, days, campaign.zone)) if days else None
        # A dash beside an emoji costs nothing more: smart encoding would make it plain, were it not for the emoji.
        self._costly = unencodable if campaign.message.smart_encoding else non_gsm7
        self._max_messages = recipients.max_messages
        self._cap_since = (
            start_of_window(now, recipients.max_messages_days, campaign.zone)
            if recipients.max_messages_days
            else None
        )
        self._taken = TakenRows(
            (lambda rows: chain(history.tried(rows), planned(rows))) if continues else planned,
            phones=self._skip_duplicate_phones,
            customers=self._max_messages is not None,
        )
        if continues:
            for row, key, phone in history.tried_keys():
                self._taken.tried(row, key, phone)

    def plan(self, chunk: Chunk) -> PlannedChunk:
        """The chunk's rows as the ledger keeps them."""
        planned = PlannedChunk()
        if not chunk.numbers:
            return planned
        rows = self._judged(chunk)
        keys = [row.key for row in rows if row.key is not None]
        phones = [row.phone for row in rows if row.phone is not None]
        customers = [row.customer_uuid for row in rows if row.customer_uuid is not None]
        self._taken.begin(keys, phones, customers)
        earlier = self._history.earlier(keys)
        reached: dict[str, int] = {}
        if self._max_messages is not None and self._cap_since is not None:
            reached = self._history.reached(customers, self._cap_since)
        tried: dict[int, dict[str, Any]] = {}
        chosen: dict[int, str] = {}
        if self._continues:
            tried = self._history.tried_rows(rows[0].row, rows[-1].row)
            chosen = self._history.chosen(rows[0].row, rows[-1].row)
        for row in rows:
            if row.row not in tried:
                planned.rows.append(self._plan_untried(row, chosen.get(row.row), earlier, reached))
                continue
            again = self._plan_again(row, tried[row.row], chosen.get(row.row), earlier, reached)
            if again is not None:
                planned.rows.append(again)
            else:
                planned.kept.append(_kept(tried[row.row]))
                self.remarks.kept += 1
        return planned

    def _judged(self, chunk: Chunk) -> list[Judged]:
        for counter, position in (
            (self.remarks.consent, self._roles.consent),
            (self.remarks.template_values, self._roles.template_by),
        ):
            if position is not None:
                counter.update([cells[position] for cells in chunk.rows])
        judge, malformed, hidden = self._judge.judge, chunk.malformed, chunk.hidden
        return [
            judge(row, cells, malformed.get(row), hidden=row in hidden)
            for row, cells in zip(chunk.numbers, chunk.rows, strict=True)
        ]

    def _plan_again(
        self,
        row: Judged,
        outcome: Mapping[str, Any],
        chosen: str | None,
        earlier: dict[str, list[Earlier]],
        reached: dict[str, int],
    ) -> PlannedRow | None:
        """A row that was tried in this run, where `--resend` asks for it and it can be sent; else it is kept."""
        status, codes = _as_unconfirmed(outcome["status"], outcome["codes"])
        own = Earlier(outcome["run_id"], status, codes, outcome["message_uuid"], outcome["sent_at"])
        latest = _latest([own, *earlier.get(outcome["key"], [])])
        resend = self._resend_for(chosen, latest)
        if resend is None:
            return None
        if self._problem(row, earlier, reached, again=True) is not None:
            self.remarks.not_again += 1
            return None
        self._note_again(latest, chosen)
        return self._message(row, generation=outcome["generation"] + 1, resend=resend)

    def _plan_untried(
        self, row: Judged, chosen: str | None, earlier: dict[str, list[Earlier]], reached: dict[str, int]
    ) -> PlannedRow:
        before = earlier.get(row.key, []) if row.key is not None else []
        latest = _latest(before) if before else None
        resend = self._resend_for(chosen, latest) if latest is not None else None
        problem = self._problem(row, earlier, reached, again=resend is not None)
        if isinstance(problem, _Already):
            return _planned(row, _as_json(row.cells), Status.SKIPPED, problem.code, earlier=problem.earlier)
        if problem is not None:
            if resend is not None:
                self.remarks.not_again += 1
            status = Status.SKIPPED if problem.code in _SKIPPED_CODES else Status.INVALID
            return _planned(row, _as_json(row.cells), status, problem.code, problem.description)
        if resend is not None and latest is not None:
            self._note_again(latest, chosen)
        elif latest is not None and latest.status == Status.FAILED:
            self.remarks.tried_before += 1
        return self._message(row, generation=0, resend=resend)

    def _resend_for(self, chosen: str | None, latest: Earlier) -> str | None:
        """What `--resend` asked for, at an earlier start (`chosen`) or now, if this last outcome fits it."""
        for choice in (chosen, self._resend):
            if choice is not None and matches(choice, *_as_unconfirmed(latest.status, latest.codes)):
                return choice
        return None

    def _problem(
        self, row: Judged, earlier: dict[str, list[Earlier]], reached: dict[str, int], *, again: bool
    ) -> RowIssue | _Already | None:
        """The first verdict that applies, `None` where the row can be sent."""
        if row.first is not None:
            return row.first
        customer, key = row.customer_uuid or "", row.key or ""
        before = earlier.get(key, ())
        opted_out = self._suppression.why(customer, row.phone) if self._suppresses else None
        if opted_out is not None:
            return RowIssue(Code.SUPPRESSED, opted_out)
        already = self._already(before) if before and not again else None
        return (
            already
            or row.then
            or self._repeated(row, key, customer)
            or self._capped(customer, reached, again=again)
        )

    def _already(self, before: Sequence[Earlier]) -> _Already | None:
        counting = [
            outcome
            for outcome in before
            if self._texted_since is None or outcome.sent_at is None or outcome.sent_at >= self._texted_since
        ]
        for outcome in counting:
            if outcome.status in MAY_HAVE_REACHED and outcome.status != Status.UNCONFIRMED:
                return _Already(Code.ALREADY_SENT, outcome)
        for outcome in counting:
            if outcome.status in (Status.UNCONFIRMED, IN_FLIGHT):
                return _Already(Code.ALREADY_TRIED, outcome)
        return None

    def _repeated(self, row: Judged, key: str, customer: str) -> RowIssue | None:
        same = self._taken.by_key(key)
        if same is not None and same.row != row.row:
            return self._duplicate(row, same.row, same.texts())
        if row.phone is not None and self._skip_duplicate_phones:
            other = self._taken.by_phone(row.phone)
            if other is not None and other.customer_uuid != customer:
                return RowIssue(Code.DUPLICATE_PHONE, f"row {other.row} has the same phone")
        return None

    def _duplicate(self, row: Judged, first_row: int, first_cells: Sequence[str]) -> RowIssue:
        differing = tuple(
            header
            for header, a, b in zip(self._headers, first_cells, row.cells, strict=False)
            if header and a != b
        )
        if not differing:
            return RowIssue(Code.DUPLICATE, f"the same as row {first_row}")
        self.remarks.differing_rows += 1
        if len(self.remarks.differing) < _EXAMPLES:
            self.remarks.differing.append((row.row, first_row, differing))
        return RowIssue(
            Code.DUPLICATE,
            f"the same key as row {first_row}, but another {', '.join(differing)}. If both are meant, "
            f"name what tells them apart in `key` under [recipients]",
        )

    def _capped(self, customer: str, reached: dict[str, int], *, again: bool) -> RowIssue | None:
        if self._max_messages is None or again:
            return None
        texts = reached.get(customer, 0) + self._taken.of_customer(customer)
        if texts < self._max_messages:
            return None
        return RowIssue(Code.FREQUENCY_CAP, f"{texts} of at most {self._max_messages} texts")

    def _message(self, row: Judged, *, generation: int, resend: str | None) -> PlannedRow:
        cells = _as_json(row.cells)
        self._taken.take(TakenRow(row.row, row.key or "", row.phone, row.customer_uuid or "", cells))
        if row.body is not None and row.size is not None and row.size.encoding is Encoding.UCS2:
            for character in self._costly(row.body):
                self.remarks.costly_rows[character] += 1
                rows = self.remarks.costly.setdefault(character, [])
                if len(rows) < _EXAMPLES:
                    rows.append(row.row)
        self.remarks.preferred += row.phone is None
        if row.unknown_zone is not None:
            self.remarks.unknown_zones[row.unknown_zone] += 1
        return _planned(row, cells, Status.PENDING, Code.STOPPED, generation=generation, resend=resend)

    def _note_again(self, latest: Earlier, chosen: str | None) -> None:
        self.remarks.again += 1
        # What an earlier start chose was agreed to then.
        if chosen is None:
            self.remarks.again_unconfirmed += latest.status in (Status.UNCONFIRMED, IN_FLIGHT)


@dataclass(frozen=True, slots=True)
class _Already:
    """Another run sent this message, or may have."""

    code: Code
    earlier: Earlier


_SKIPPED_CODES = frozenset(
    {
        Code.HIDDEN_ROW,
        Code.NO_CONSENT,
        Code.SUPPRESSED,
        Code.DUPLICATE,
        Code.DUPLICATE_PHONE,
        Code.FREQUENCY_CAP,
    }
)


def _as_json(cells: Sequence[str]) -> str:
    """What `json.dumps(cells, ensure_ascii=False)` gives, in a third of its time (`make bench`: preview)."""
    return f"[{', '.join(map(_as_json_string, cells))}]"


def _planned(
    row: Judged,
    cells: str,
    status: Status,
    code: Code,
    description: str = "",
    *,
    generation: int = 0,
    resend: str | None = None,
    earlier: Earlier | None = None,
) -> PlannedRow:
    """The row as `PLANNED` says."""
    size = row.size
    # Plain texts: the driver looks much longer at a member of an enumeration.
    segments, encoding = (None, None) if size is None else (size.segments, size.encoding.value)
    uuid, sent_at, run = (
        (None, None, None) if earlier is None else (earlier.message_uuid, earlier.sent_at, earlier.run_id)
    )
    return (
        0,
        row.row,
        0,
        row.key,
        row.customer_uuid,
        row.department_uuid,
        row.user_uuid,
        row.phone,
        row.body,
        segments,
        encoding,
        row.clock or None,
        cells,
        status.value,
        code.value,
        description,
        uuid,
        0,
        sent_at,
        run,
        generation,
        resend,
    )


def _kept(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """A row that was tried in this run, with its outcome as it is now."""
    status, codes = _as_unconfirmed(outcome["status"], outcome["codes"])
    return {**outcome, "run_id": 0, "campaign_id": 0, "status": status, "codes": codes}


def check_resend(resend: str) -> None:
    """Raises `GuardError` where `--resend resend` can never mean any row."""
    if resend in OPTED_OUT:
        raise GuardError(
            f"--resend {resend}: these customers opted out. They are never texted again. If one of them wants texts "
            f"again, take them off with `batchsend optouts remove`; then --resend failed sends to them."
        )
    if not resend or (resend in set(Status) and resend not in RESENDABLE):
        raise GuardError(
            f"--resend {resend}: only what is `failed` or `unconfirmed` can be sent again. Write --resend failed, "
            f"--resend unconfirmed, or an error code of the results such as --resend TIMEOUT."
        )


def matches(resend: str, status: str, codes: str) -> bool:
    """Does `--resend resend` ask for a row with this outcome? Whoever is still opted out is left out all the same."""
    return status in RESENDABLE and (resend == status or resend in codes.split("; "))


def _latest(outcomes: Sequence[Earlier]) -> Earlier:
    return max(outcomes, key=lambda outcome: outcome.sent_at or "")


def _as_unconfirmed(status: str, codes: str) -> tuple[str, str]:
    """A request that is in flight for a process that ended: what the next start makes of it."""
    return (Status.UNCONFIRMED, Code.INTERRUPTED) if status == IN_FLIGHT else (status, codes)
