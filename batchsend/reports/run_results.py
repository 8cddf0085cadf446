"""The rows and the summary of a run or a plan, as the results show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson

from batchsend.ledger.approvals import approvals_of
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.purge import purged
from batchsend.ledger.replies import replies_by_row
from batchsend.ledger.runs import code_counts, run_tuples
from batchsend.ledger.schema import messages
from batchsend.planning.approval import given_words
from batchsend.planning.cost import costs_of_runs
from batchsend.reports.advice import JOINED_BY, looked_for
from batchsend.reports.table import NUMBER_HEADERS, ResultRow, column_headers, local_time, values
from batchsend.statuses import IN_FLIGHT, NEEDS_YOU, Code, Status, Tally
from batchsend.utils.progress import counted
from batchsend.utils.timestamps import for_people, from_text
from batchsend.utils.wording import row_count

if TYPE_CHECKING:
    import pandas as pd

#: (label, value); a label with the value `None` is a heading.
SummaryLines = Sequence[tuple[str, str | int | None]]

#: The columns of the ledger's `messages` that the results are made from: first the fields of `ResultRow`.
_COLUMNS = (
    *(name for name in ResultRow._fields if name in messages.columns),
    "looked_for_at",
    "earlier_run",
    "purged_at",
)
#: Where those are that are not shown as they are stored. A dictionary for each row would take three times as long.
_ROW, _STATUS, _CODES, _DESCRIPTIONS, _CELLS, _ATTEMPTS, _SENT_AT = map(
    _COLUMNS.index, ("row", "status", "codes", "descriptions", "cells", "attempts", "sent_at")
)
_NO_REPLY = (None, None)

#: What a status means, in a few words.
STATUS_WORDS = {
    Status.READY: "ready to send",
    Status.PENDING: "not sent yet",
    Status.ACCEPTED: "accepted by myKaarma",
    Status.DELIVERED: "delivered to the phone",
    Status.UNDELIVERED: "accepted, but not delivered",
    Status.FAILED: "refused, nothing was sent",
    Status.UNCONFIRMED: "unknown whether it was sent",
    Status.INVALID: "could not be turned into a text",
    Status.SKIPPED: "not sent on purpose",
}


class RunResults:
    """The rows of a run in a ledger, and the lines of the summary sheet.

    `heading`: the lines above the counts; `number`: the number shown in the column `run`, `None` if the run has none
    yet; `only`: only rows with these statuses.
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: int,
        headers: Sequence[str],
        zone: ZoneInfo,
        heading: SummaryLines,
        number: int | None,
        only: Sequence[str] | None = None,
    ) -> None:
        self._number = number
        # A row in flight is shown as `unconfirmed`.
        self._only = [*only, IN_FLIGHT] if only is not None and Status.UNCONFIRMED in only else only
        self.headers = headers
        self._zone = zone
        self._ledger = ledger
        self._run_id = run_id
        #: How many rows have which status and codes, as the ledger has them.
        self.codes = code_counts(ledger, run_id)
        self.row_count = self._count(self._only)
        self._replies = replies_by_row(ledger, run_id)
        self.replied = bool(self._replies)
        self.summary = [*heading, *self._approval_lines(), *self._cost_lines(), *self._count_lines()]

    def rows(self) -> Iterator[ResultRow]:
        rows = map(self._result, run_tuples(self._ledger, self._run_id, self._only, _COLUMNS))
        return counted(rows, self.row_count)

    def to_frame(self) -> pd.DataFrame:
        """The rows with `COLUMNS` around the list's own; the index has the row numbers.

        Numbers are `Int64`, all else is text; what is not known is missing.
        """
        import pandas as pd

        width = len(self.headers)
        frame = pd.DataFrame(
            [values(row, width, replied=self.replied) for row in self.rows()],
            columns=pd.Index(column_headers(self.headers, replied=self.replied), dtype=object),
            dtype=object,
        )
        return frame.astype(dict.fromkeys(NUMBER_HEADERS, "Int64")).set_index("row")

    def problems(self) -> Iterator[ResultRow]:
        statuses = [*NEEDS_YOU, IN_FLIGHT]
        if self._only is not None:
            statuses = [status for status in statuses if status in self._only]
        if not self._count(statuses):
            return iter(())
        return map(self._result, run_tuples(self._ledger, self._run_id, statuses, _COLUMNS))

    def _count(self, statuses: Sequence[str] | None) -> int:
        """How many rows have one of these statuses; `None`: any."""
        return sum(rows for status, _, rows in self.codes if statuses is None or status in statuses)

    def _result(self, stored: Sequence[Any]) -> ResultRow:
        """Takes the values of `_COLUMNS`."""
        *fields, looked_for_at, earlier_run, purged_at = stored
        fields[_STATUS], fields[_CODES] = self._shown(fields[_STATUS], fields[_CODES])
        fields[_CELLS] = orjson.loads(fields[_CELLS])
        sent_at = fields[_SENT_AT]
        if looked_for_at is not None and fields[_STATUS] == Status.UNCONFIRMED:
            moment = for_people(from_text(looked_for_at), self._zone)
            fields[_DESCRIPTIONS] = JOINED_BY.join(filter(None, [fields[_DESCRIPTIONS], looked_for(moment)]))
        if purged_at is not None:
            day = self._day(purged_at)
            fields[_DESCRIPTIONS] = f"the text, the phone and the list's columns were purged on {day}"
        was_tried = fields[_ATTEMPTS] > 0 or sent_at is not None
        run = earlier_run or (self._number if was_tried else None)
        replied_at, reply = self._replies.get(fields[_ROW], _NO_REPLY)
        return ResultRow._make([*fields, local_time(sent_at, self._zone), run, replied_at, reply])

    def _day(self, moment: str) -> str:
        return for_people(from_text(moment), self._zone)[: len("2026-11-22")]

    def _shown(self, status: str, codes: str) -> tuple[str, str]:
        """Status and codes as results show them. Plain texts, like those of the ledger."""
        if status == IN_FLIGHT:
            return Status.UNCONFIRMED.value, Code.INTERRUPTED.value
        return status, codes

    def _approval_lines(self) -> Iterator[tuple[str, str]]:
        for approval in approvals_of(self._ledger, [self._run_id]).get(self._run_id, ()):
            yield "Approved by", given_words(approval, self._zone)

    def _cost_lines(self) -> Iterator[tuple[str, str]]:
        for cost in costs_of_runs(self._ledger, [self._run_id]).values():
            yield "Cost of the texts sent", cost.words

    def _count_lines(self) -> Iterator[tuple[str, str | int | None]]:
        shown: dict[str, int] = {}
        reasons: dict[tuple[str, str], int] = {}
        for stored_status, stored_codes, count in self.codes:
            status, codes = self._shown(stored_status, stored_codes)
            shown[status] = shown.get(status, 0) + count
            if codes:
                reasons[status, codes] = reasons.get((status, codes), 0) + count
        gone = purged(self._ledger, self._run_id)
        if gone is not None:
            rows, last = gone
            yield (
                "Purged",
                f"texts, phones and the list's columns of {row_count(rows)}, last on {self._day(last)}",
            )
        yield "Rows", None
        yield "In all", Tally.of(shown).sentence()
        for status in Status:
            if status in shown:
                yield f"{status}: {STATUS_WORDS[status]}", shown[status]
        if self._replies:
            yield "Replies", None
            yield "Rows whose customers replied", len(self._replies)
        if reasons:
            yield "Why", None
            for (status, codes), count in sorted(reasons.items(), key=lambda item: -item[1]):
                yield f"{status}: {codes}", count


class PlanResults(RunResults):
    """The rows of a plan: what can be sent is `ready`."""

    def _shown(self, status: str, codes: str) -> tuple[str, str]:
        if status == Status.PENDING and codes == Code.STOPPED:
            return Status.READY.value, ""
        return super()._shown(status, codes)
