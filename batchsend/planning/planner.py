"""Decides what happens to each row of a list: the rules of `row_judge`, of the other rows and of the history.

The first rule that applies counts: `MALFORMED_ROW`, `HIDDEN_ROW`, customer and key, `NO_CONSENT`, `SUPPRESSED`,
`ALREADY_SENT` / `ALREADY_TRIED`, phone, template and text, `DUPLICATE`, `DUPLICATE_PHONE`, `FREQUENCY_CAP`.
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
from batchsend.ledger.history import Earlier, History
from batchsend.ledger.runs import TakenRow
from batchsend.lists.customer_list import Chunk
from batchsend.messages.sms import Encoding, non_gsm7, unencodable
from batchsend.planning.duplicates import EarlierRows, Fetch
from batchsend.planning.planned_rows import PlannedChunk, PlannedRow
from batchsend.planning.resend import latest_outcome, matches, settled
from batchsend.planning.row_judge import Judged, RowIssue
from batchsend.planning.sources import Sources
from batchsend.statuses import IN_FLIGHT, MAY_HAVE_REACHED, Code, Status
from batchsend.utils.timestamps import start_of_window, to_text

#: How many examples of each remark a preview shows.
_EXAMPLES = 20
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
_as_json_string = json.encoder.encode_basestring


@dataclass
class Remarks:
    """Counts and examples that a person should see before sending."""

    #: Value of the consent column -> rows.
    consent: Counter[str] = field(default_factory=Counter)
    #: The first few duplicates that differ from the earlier row: (row, earlier row, headers that differ).
    differing: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)
    differing_rows: int = 0
    #: Value of the column that `template_by` chooses by -> rows.
    template_values: Counter[str] = field(default_factory=Counter)
    #: Character that makes a text cost more -> the first few rows, and the number of rows.
    costly: dict[str, list[int]] = field(default_factory=dict)
    costly_rows: Counter[str] = field(default_factory=Counter)
    #: Values of the list's time zone column that are not time zones -> rows.
    unknown_zones: Counter[str] = field(default_factory=Counter)
    #: Rows that `--resend` sends again, the `unconfirmed` ones among them, and rows that it cannot send again.
    again: int = 0
    again_unconfirmed: int = 0
    not_again: int = 0
    #: Texts to customers whose last text `failed` in an earlier run, and texts to the customer's preferred number.
    tried_before: int = 0
    preferred: int = 0
    #: Rows that this run tried before; they keep their outcome.
    kept: int = 0


@dataclass(frozen=True, slots=True)
class _Already:
    """An earlier run sent this message, or may have."""

    code: Code
    earlier: Earlier


@dataclass(frozen=True, slots=True)
class _Past:
    """What the ledger knows about the rows of one chunk."""

    #: Key -> the outcomes in other runs.
    earlier: Mapping[str, Sequence[Earlier]]
    #: Customer UUID -> texts that count for `max_messages`.
    reached: Mapping[str, int]
    #: Row -> the row as this run tried it.
    tried: Mapping[int, dict[str, Any]]
    #: Row -> the `--resend` of an earlier start that has not sent the row yet.
    chosen: Mapping[int, str]


class Planner:
    """Plans one list, chunk by chunk, in the order of its rows.

    `now`: when the start began, in UTC. `resend`: the value of `--resend`. `continues`: the list's run has been
    started before. `planned_rows` reads rows of earlier chunks, so each chunk must be stored before the next one.
    """

    def __init__(
        self,
        campaign: Campaign,
        sources: Sources,
        history: History,
        *,
        now: datetime,
        planned_rows: Fetch,
        resend: str | None,
        continues: bool,
    ) -> None:
        self.remarks = Remarks()
        self._headers = sources.customers.headers
        self._roles = sources.roles
        self._judge = sources.row_judge(campaign)
        self._history = history
        self._suppression = sources.suppression
        self._suppresses = sources.suppression.has_entries
        self._resend = resend
        self._continues = continues
        # With smart encoding a dash beside an emoji costs nothing extra: without the emoji it becomes a plain dash.
        self._costly = unencodable if campaign.message.smart_encoding else non_gsm7
        recipients, zone = campaign.recipients, campaign.zone
        self._skip_duplicate_phones = recipients.duplicate_phones == "skip"
        self._max_messages = recipients.max_messages
        days = recipients.repeat_after_days
        self._texted_since = to_text(start_of_window(now, days, zone)) if days else None
        days = recipients.max_messages_days if self._max_messages is not None else None
        self._cap_since = start_of_window(now, days, zone) if days else None
        self._earlier_rows = EarlierRows(
            (lambda rows: chain(history.tried(rows), planned_rows(rows))) if continues else planned_rows,
            phones=self._skip_duplicate_phones,
            customers=self._max_messages is not None,
        )
        if continues:
            for row, key, phone in history.tried_keys():
                self._earlier_rows.add_tried(row, key, phone)

    def plan(self, chunk: Chunk) -> PlannedChunk:
        """The chunk's rows as the ledger stores them."""
        planned = PlannedChunk()
        if chunk.frame.empty:
            return planned
        rows = self._judge_rows(chunk)
        past = self._look_up(rows)
        for row in rows:
            outcome = past.tried.get(row.row)
            if outcome is None:
                planned.rows.append(self._plan_untried(row, past))
                continue
            again = self._plan_again(row, outcome, past)
            if again is not None:
                planned.rows.append(again)
            else:
                planned.kept.append(_kept(outcome))
                self.remarks.kept += 1
        return planned

    def _judge_rows(self, chunk: Chunk) -> list[Judged]:
        for counter, position in (
            (self.remarks.consent, self._roles.consent),
            (self.remarks.template_values, self._roles.template_by),
        ):
            if position is not None:
                counter.update(chunk.frame.iloc[:, position])
        judge, malformed, hidden = self._judge.judge, chunk.malformed, chunk.hidden
        return [
            judge(row, cells, malformed.get(row), hidden=row in hidden)
            for row, cells in zip(chunk.frame.index, chunk.frame.to_numpy().tolist(), strict=True)
        ]

    def _look_up(self, rows: Sequence[Judged]) -> _Past:
        keys = [row.key for row in rows if row.key is not None]
        phones = [row.phone for row in rows if row.phone is not None]
        customers = [row.customer_uuid for row in rows if row.customer_uuid is not None]
        self._earlier_rows.begin_chunk(keys, phones, customers)
        history, first, last = self._history, rows[0].row, rows[-1].row
        return _Past(
            earlier=history.earlier(keys),
            reached=history.reached(customers, self._cap_since) if self._cap_since is not None else {},
            tried=history.tried_rows(first, last) if self._continues else {},
            chosen=history.chosen(first, last) if self._continues else {},
        )

    def _plan_again(self, row: Judged, outcome: Mapping[str, Any], past: _Past) -> PlannedRow | None:
        """A row that this run tried: planned again if `--resend` includes it and it can be sent, else `None`."""
        status, codes = settled(outcome["status"], outcome["codes"])
        tried = Earlier(outcome["run_id"], status, codes, outcome["message_uuid"], outcome["sent_at"])
        latest = latest_outcome([tried, *past.earlier.get(outcome["key"], ())])
        chosen = past.chosen.get(row.row)
        resend = self._resend_for(chosen, latest)
        if resend is None:
            return None
        if self._problem(row, past, again=True) is not None:
            self.remarks.not_again += 1
            return None
        self._note_again(latest, chosen)
        return self._message(row, generation=outcome["generation"] + 1, resend=resend)

    def _plan_untried(self, row: Judged, past: _Past) -> PlannedRow:
        before = past.earlier.get(row.key) if row.key is not None else None
        latest = latest_outcome(before) if before else None
        chosen = past.chosen.get(row.row)
        resend = self._resend_for(chosen, latest) if latest is not None else None
        problem = self._problem(row, past, again=resend is not None)
        if isinstance(problem, _Already):
            return PlannedRow.of(
                row, _as_json(row.cells), Status.SKIPPED, problem.code, earlier=problem.earlier
            )
        if problem is not None:
            if resend is not None:
                self.remarks.not_again += 1
            status = Status.SKIPPED if problem.code in _SKIPPED_CODES else Status.INVALID
            return PlannedRow.of(row, _as_json(row.cells), status, problem.code, problem.description)
        if resend is not None and latest is not None:
            self._note_again(latest, chosen)
        elif latest is not None and latest.status == Status.FAILED:
            self.remarks.tried_before += 1
        return self._message(row, generation=0, resend=resend)

    def _resend_for(self, chosen: str | None, latest: Earlier) -> str | None:
        """The `--resend` that includes this last outcome: an earlier start's (`chosen`) or this start's."""
        for choice in (chosen, self._resend):
            if choice is not None and matches(choice, *settled(latest.status, latest.codes)):
                return choice
        return None

    def _problem(self, row: Judged, past: _Past, *, again: bool) -> RowIssue | _Already | None:
        """The first rule that applies; `None` if the row can be sent."""
        if row.first is not None:
            return row.first
        customer, key = row.customer_uuid or "", row.key or ""
        before = past.earlier.get(key, ())
        opted_out = self._suppression.why(customer, row.phone) if self._suppresses else None
        if opted_out is not None:
            return RowIssue(Code.SUPPRESSED, opted_out)
        already = self._already(before) if before and not again else None
        return (
            already
            or row.then
            or self._repeated(row, key, customer)
            or self._capped(customer, past.reached, again=again)
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
        same = self._earlier_rows.first_with_key(key)
        if same is not None and same.row != row.row:
            return self._duplicate(row, same.row, same.texts())
        if row.phone is not None and self._skip_duplicate_phones:
            other = self._earlier_rows.first_with_phone(row.phone)
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
            f"the same key as row {first_row}, but another {', '.join(differing)}. To text both, add a column "
            "that differs to `key` under [recipients]",
        )

    def _capped(self, customer: str, reached: Mapping[str, int], *, again: bool) -> RowIssue | None:
        if self._max_messages is None or again:
            return None
        texts = reached.get(customer, 0) + self._earlier_rows.count_for_customer(customer)
        if texts < self._max_messages:
            return None
        return RowIssue(Code.FREQUENCY_CAP, f"{texts} of at most {self._max_messages} texts")

    def _message(self, row: Judged, *, generation: int, resend: str | None) -> PlannedRow:
        cells = _as_json(row.cells)
        self._earlier_rows.add(TakenRow(row.row, row.key or "", row.phone, row.customer_uuid or "", cells))
        if row.body is not None and row.size is not None and row.size.encoding is Encoding.UCS2:
            for character in self._costly(row.body):
                self.remarks.costly_rows[character] += 1
                rows = self.remarks.costly.setdefault(character, [])
                if len(rows) < _EXAMPLES:
                    rows.append(row.row)
        self.remarks.preferred += row.phone is None
        if row.unknown_zone is not None:
            self.remarks.unknown_zones[row.unknown_zone] += 1
        return PlannedRow.of(row, cells, Status.PENDING, Code.STOPPED, generation=generation, resend=resend)

    def _note_again(self, latest: Earlier, chosen: str | None) -> None:
        self.remarks.again += 1
        # The user confirmed the choice of an earlier start at that time.
        if chosen is None:
            self.remarks.again_unconfirmed += latest.status in (Status.UNCONFIRMED, IN_FLIGHT)


def _as_json(cells: Sequence[str]) -> str:
    """The same as `json.dumps(cells, ensure_ascii=False)`, in a third of the time (`make bench`: preview)."""
    return f"[{', '.join(map(_as_json_string, cells))}]"


def _kept(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """A row that this run tried, with its present outcome."""
    status, codes = settled(outcome["status"], outcome["codes"])
    return {**outcome, "run_id": 0, "campaign_id": 0, "status": status, "codes": codes}
