"""Rows of a plan, as the ledger stores them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from batchsend.ledger.history import Earlier
from batchsend.planning.row_judge import Judged
from batchsend.statuses import Code, Status


class PlannedRow(NamedTuple):
    """One row of the list before it is sent. The fields are columns of the ledger's `messages`, in its order.

    The ledger fills in `run_id` and `campaign_id` when it stores the plan. Sending fills in the other columns.
    """

    run_id: int
    row: int
    campaign_id: int
    key: str | None
    customer_uuid: str | None
    department_uuid: str | None
    user_uuid: str | None
    phone: str | None
    body: str | None
    segments: int | None
    encoding: str | None
    clock: str | None
    cells: str
    status: str
    codes: str
    descriptions: str
    message_uuid: str | None
    attempts: int
    sent_at: str | None
    earlier_run: int | None
    generation: int
    resend: str | None

    @classmethod
    def of(
        cls,
        row: Judged,
        cells: str,
        status: Status,
        code: Code,
        description: str = "",
        *,
        generation: int = 0,
        resend: str | None = None,
        earlier: Earlier | None = None,
    ) -> Self:
        """A judged row with its status. `cells`: JSON; `earlier`: the outcome in another run that decided it."""
        # By position, because keywords take five times as long (`make bench`: preview). Plain strings, because the
        # database driver is much slower with members of an enumeration.
        size = row.size
        return cls(
            0,
            row.row,
            0,
            row.key,
            row.customer_uuid,
            row.department_uuid,
            row.user_uuid,
            row.phone,
            row.body,
            None if size is None else size.segments,
            None if size is None else str(size.encoding),
            row.clock or None,
            cells,
            str(status),
            str(code),
            description,
            None if earlier is None else earlier.message_uuid,
            0,
            None if earlier is None else earlier.sent_at,
            None if earlier is None else earlier.run_id,
            generation,
            resend,
        )


@dataclass
class PlannedChunk:
    """The planned rows of one chunk of the list. Rows to be sent are `pending` `STOPPED`.

    `kept`: rows that an earlier start of this run tried, with all columns of the ledger's `messages`.
    """

    rows: list[PlannedRow] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
