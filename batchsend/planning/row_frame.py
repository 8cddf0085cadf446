"""The frame that the rules work on, what they know besides, and how they answer.

The frame has the list's cells (text, "" if blank) in columns numbered from 0, then `COLUMNS`. Its index has the row
numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from batchsend.campaigns.campaign import Campaign
from batchsend.ledger.history import Earlier, History
from batchsend.ledger.ledger import CUSTOMER_COLUMN
from batchsend.lists import damage
from batchsend.messages.condition import Condition
from batchsend.messages.template_choice import TemplateChoice
from batchsend.planning.columns import Roles
from batchsend.planning.duplicates import TakenRows
from batchsend.planning.lookup_columns import CustomerLookup
from batchsend.planning.resend import matches, settled
from batchsend.planning.suppression import Suppression
from batchsend.statuses import Code
from batchsend.utils.timestamps import start_of_window

#: What the rules find out about a row. `None`: not known, or not needed because the row was stopped before.
COLUMNS = (
    "code",
    "description",
    "customer_uuid",
    "department_uuid",
    "user_uuid",
    "key",
    "phone",
    "phone_problem",  # a `PhoneProblem`
    "earlier",  # a list of `Earlier`: the outcomes of this key in other runs
    "latest",  # the last of these outcomes, or this run's own
    "resend",  # the `--resend` that sends the row again
    "generation",  # how often the row was sent again
    "message_uuid",  # these three: the earlier text, if there was one
    "sent_at",
    "earlier_run",
    "body",
    "segments",
    "encoding",
    "clock",
    "unknown_zone",  # the word that is not a time zone
    "unknown_place",  # the word that is neither a ZIP code nor a state
    "differs",  # (earlier row, headers) of a duplicate that is not the same
)

#: What a rule returns that adds nothing.
NOTHING = pd.DataFrame()


@dataclass(frozen=True)
class Context:
    """What the rules know besides the rows of a chunk.

    `malformed`: row -> what is wrong with it; `hidden`: rows that the spreadsheet hides; `lookup`: for a list whose
    customers are looked up; `history`: `None` judges rows by themselves; `taken`: rows above that are sent; `now`:
    when the start began, in UTC; `resend`: the value of `--resend`; `dismissed`: run and key of the rows that it
    leaves out, because a person dealt with them; `left_out`: gets the rows for which that is so; `chosen`: row -> the
    `--resend` of an earlier start that has not sent the row yet.
    """

    campaign: Campaign
    headers: Sequence[str]
    roles: Roles
    templates: TemplateChoice
    malformed: Mapping[int, str]
    hidden: Collection[int]
    lookup: CustomerLookup | None = None
    where: Condition | None = None
    suppression: Suppression = field(default_factory=Suppression)
    history: History | None = None
    taken: TakenRows = field(default_factory=TakenRows)
    now: datetime | None = None
    resend: str | None = None
    dismissed: Collection[tuple[int, str]] = ()
    left_out: set[int] = field(default_factory=set)
    chosen: Mapping[int, str] = field(default_factory=dict)

    def resend_for(self, row: int, key: str, latest: Earlier) -> str | None:
        """The `--resend` that includes a row with this last outcome: an earlier start's or this start's."""
        outcome = settled(latest.status, latest.codes)
        chosen = self.chosen.get(row)
        if chosen is not None and matches(chosen, *outcome):
            return chosen
        if self.resend is None or not matches(self.resend, *outcome):
            return None
        if (latest.run_id, key) in self.dismissed:
            self.left_out.add(row)
            return None
        return self.resend

    def header(self, position: int) -> str:
        """The header of a column; that of ids that were looked up is our name for it."""
        return self.headers[position] if position < len(self.headers) else CUSTOMER_COLUMN

    def list_frame(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The list's own cells of `rows`, under its headers."""
        return rows[list(range(len(self.headers)))].set_axis(pd.Index(self.headers, dtype=object), axis=1)

    def window(self, days: int | None) -> datetime | None:
        """The start of the last `days` calendar days in the campaign's zone."""
        return start_of_window(self.now, days, self.campaign.zone) if days and self.now is not None else None


def rows_of(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame`, a chunk of a list, as the rules take it."""
    blank = np.full((len(frame), len(COLUMNS)), None, dtype=object)
    ours = pd.DataFrame(blank, index=frame.index, columns=pd.Index(COLUMNS, dtype=object))
    return pd.concat([frame.set_axis(range(frame.shape[1]), axis=1), ours], axis=1)


def stop(rows: pd.DataFrame, code: Code, description: str | Iterable[str] = "") -> pd.DataFrame:
    """Stops all of `rows`. `description`: a sentence about the row, one for all or one each."""
    return columns(rows, code=str(code), description=description)


def columns(rows: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Columns for all of `rows`: a value for all of them, or an iterable with one each."""
    return pd.DataFrame(
        {name: value if isinstance(value, str) else list(value) for name, value in values.items()},  # type: ignore[call-overload]
        index=rows.index,
        dtype=object,
    )


def first_of(found: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All stopped rows; the first verdict about a row counts."""
    some = [frame for frame in found if not frame.empty]
    if not some:
        return NOTHING
    stopped = pd.concat(some)
    return stopped[~stopped.index.duplicated()]


def stop_blank(rows: pd.DataFrame, positions: Iterable[int], context: Context, because: str) -> pd.DataFrame:
    """Stops rows with a blank in one of these columns of the list. `because`: ends the sentence."""
    return first_of(
        stop(rows[rows[position] == ""], Code.MISSING_VALUE, f"{context.header(position)} is blank{because}")
        for position in positions
    )


def stop_damaged(rows: pd.DataFrame, positions: Iterable[int], context: Context) -> pd.DataFrame:
    """Stops rows with a damaged value in one of these columns of the list."""

    def wrong(position: int) -> pd.DataFrame:
        some = rows[damage.damaged(rows[position])]
        header = context.header(position)
        return stop(
            some,
            Code.DAMAGED_VALUE,
            [f'{header} holds "{shortened(value)}", {damage.damage(value)}' for value in some[position]],
        )

    return first_of(map(wrong, positions))


def shortened(value: str, length: int = 40) -> str:
    """`value`, cut to `length` characters."""
    return value if len(value) <= length else f"{value[: length - 1]}…"
