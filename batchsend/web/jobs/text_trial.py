"""A text that is tried on the rows of a list, by the rules that plan a run."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path

import pandas as pd

from batchsend.campaigns.campaign import Campaign
from batchsend.lists.headers import folded
from batchsend.messages.template import MessageTemplate
from batchsend.messages.template_choice import TemplateChoice
from batchsend.planning.columns import Roles
from batchsend.planning.row_frame import Context
from batchsend.planning.rules import text
from batchsend.web.jobs.list_preview import ReadList

#: Seconds after which no more rows are tried (for the longest text, which takes time to sort), and how many at once.
_SECONDS, _IN_ORDER_SECONDS, _AT_ONCE = 0.5, 0.3, 100


@dataclass(frozen=True)
class Trial:
    """A text that is tried on a list. `roles`: `None` if the list's columns are not found."""

    campaign: Campaign
    read: ReadList
    compiled: MessageTemplate
    roles: Roles | None

    @property
    def headers(self) -> Sequence[str]:
        return self.read.customers.headers

    def context(self, malformed: Mapping[int, str], hidden: Collection[int] = ()) -> Context:
        """Returns what the rules need to make this text for some rows."""
        roles = self.roles or _NO_ROLES
        return Context(
            campaign=self.campaign,
            headers=self.headers,
            roles=replace(roles, template_by=None),
            templates=TemplateChoice(self.compiled),
            malformed=malformed,
            hidden=hidden,
        )

    def text_of(self, cells: Sequence[str]) -> Path:
        """Returns the template that a row gets."""
        by = self.campaign.template_by
        position = self.roles.template_by if self.roles is not None else None
        if by is None or position is None:
            return self.compiled.path
        return self._cases.get(folded(cells[position]), by.default)

    @cached_property
    def _cases(self) -> Mapping[str, Path]:
        by = self.campaign.template_by
        cases = by.cases.items() if by is not None else ()
        return {folded(value): path for path, values in cases for value in values}

    def rows(self) -> Iterator[tuple[int, Sequence[str], Sequence[str]]]:
        """Yields the rows that get this text: number, cells, and the cells that it uses."""
        used, chooses = sorted(self.compiled.uses), self.campaign.template_by is not None
        for block in self.read.customers.blocks():
            rows = zip(*block.columns, strict=True)
            values = zip(*(block.columns[position] for position in used), strict=True) if used else repeat(())
            for number, cells, mine in zip(block.numbers, rows, values, strict=False):
                if not chooses or self.text_of(cells) == self.compiled.path:
                    yield number, cells, mine


#: Rules that only make texts use no column by its role.
_NO_ROLES = Roles(0, None, None, None, None, (0,), ("",), None)


def texts_of(trial: Trial, frame: pd.DataFrame, *, in_order: bool = False) -> pd.DataFrame:
    """Makes the texts of rows as before sending; of the first or, unless `in_order`, of any if it takes too long."""
    context, made = trial.context({}), []
    ends = time.monotonic() + (_IN_ORDER_SECONDS if in_order else _SECONDS)
    steps = -(-len(frame) // _AT_ONCE)
    for step in range(steps):
        rows = slice(step * _AT_ONCE, (step + 1) * _AT_ONCE) if in_order else slice(step, None, steps)
        made.append(text(frame.iloc[rows], context))
        if time.monotonic() > ends:
            break
    return pd.concat(made) if made else pd.DataFrame({"body": [], "code": []})
