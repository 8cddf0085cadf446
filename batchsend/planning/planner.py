"""Plans a list chunk by chunk: applies the rules, keeps what this run tried, and counts what a person should see."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pandas as pd

from batchsend.campaigns.campaign import Campaign
from batchsend.ledger.history import Earlier, History
from batchsend.ledger.schema import messages
from batchsend.lists.customer_list import Chunk
from batchsend.messages.sms import Encoding, non_gsm7, unencodable
from batchsend.planning.duplicates import Fetch, TakenRows
from batchsend.planning.list_checks import remarks_on_columns
from batchsend.planning.resend import latest_outcome, settled
from batchsend.planning.row_frame import COLUMNS, Context, rows_of
from batchsend.planning.rules import judge
from batchsend.planning.sources import Sources
from batchsend.planning.text_lint import LintFinding, TextLint
from batchsend.statuses import IN_FLIGHT, SKIPPED_CODES, Code, Status

#: How many examples of each remark a preview shows.
_EXAMPLES = 20


class CostlyCharacters:
    """Characters that leave room for 70 characters in a segment, not 160, with the texts that have them."""

    def __init__(self, *, smart_encoding: bool) -> None:
        # With smart encoding a dash beside an emoji costs nothing extra: without the emoji it becomes a plain dash.
        self._characters_of = unencodable if smart_encoding else non_gsm7
        self.texts: Counter[str] = Counter()
        #: Character -> the first few rows.
        self.rows: defaultdict[str, list[int]] = defaultdict(list)

    def add(self, row: int, body: str) -> None:
        """Counts the characters of a text that is sent in UCS-2."""
        for character in self._characters_of(body):
            self.texts[character] += 1
            if len(self.rows[character]) < _EXAMPLES:
                self.rows[character].append(row)


@dataclass
class Remarks:
    """Counts and examples that a person should see before sending."""

    costly: CostlyCharacters
    #: What carriers block or customers dislike in the texts.
    lint: tuple[LintFinding, ...] = ()
    #: Sentences about columns that the campaign uses, or does not. They go by the first chunk.
    columns: tuple[str, ...] | None = None
    #: Value of the consent column -> rows.
    consent: Counter[str] = field(default_factory=Counter)
    #: The first few duplicates that differ from the earlier row: (row, earlier row, headers that differ).
    differing: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)
    differing_rows: int = 0
    #: Value of the column that `template_by` chooses by -> rows.
    template_values: Counter[str] = field(default_factory=Counter)
    #: Values of the list's time zone column that are not time zones -> rows.
    unknown_zones: Counter[str] = field(default_factory=Counter)
    #: Values of the list's ZIP and state columns that are neither -> rows.
    unknown_places: Counter[str] = field(default_factory=Counter)
    #: Rows for which the campaign's zone decides, because the recipient's is unknown.
    without_zone: int = 0
    #: Rows that `--resend` sends again, the `unconfirmed` ones among them, and rows that it cannot send again.
    again: int = 0
    again_unconfirmed: int = 0
    not_again: int = 0
    #: Rows that `--resend` leaves out because a person dismissed them.
    dismissed: int = 0
    #: Texts to customers whose last text `failed` in an earlier run.
    tried_before: int = 0
    #: Rows that this run tried before; they keep their outcome.
    kept: int = 0


@dataclass
class PlannedChunk:
    """The planned rows of one chunk: columns of the ledger's `messages`. Rows to be sent are `pending` `STOPPED`.

    `kept`: rows that an earlier start of this run tried, with all columns of the ledger's `messages`.
    """

    rows: dict[str, list[Any]]
    kept: list[dict[str, Any]]


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
        self.remarks = Remarks(CostlyCharacters(smart_encoding=campaign.message.smart_encoding))
        #: Whether an earlier run texted any of the rows.
        self.texted_before = False
        self._lint = TextLint(campaign, sources.customers.headers, sources.template)
        self._campaign = campaign
        self._sources = sources
        self._history = history
        self._now = now
        self._resend = resend
        self._dismissed = history.dismissed() if resend is not None else set()
        self._continues = continues
        recipients = campaign.recipients
        names = {
            "key": True,
            "phone": recipients.duplicate_phones == "skip",
            "customer_uuid": recipients.max_messages is not None,
        }
        self._taken = TakenRows(
            (lambda rows: chain(history.tried(rows), planned_rows(rows))) if continues else planned_rows,
            [name for name, is_needed in names.items() if is_needed],
            history.phone_hash() if continues else None,
        )
        if continues:
            tried = pd.DataFrame(history.tried_keys(), columns=["row", "key", "phone"], dtype=object)
            # Without their customers, because the ledger counts these texts already.
            self._taken.add(tried.set_index("row"))

    def plan(self, chunk: Chunk) -> PlannedChunk:
        """The chunk's rows as the ledger stores them."""
        frame = chunk.frame
        first, last = int(frame.index[0]), int(frame.index[-1])
        tried = self._history.tried_rows(first, last) if self._continues else {}
        context = self._context(chunk, self._history.chosen(first, last) if self._continues else {})
        again = dict(self._again(tried, context))
        rows = rows_of(frame.drop(index=[row for row in tried if row not in again]))
        chosen = [(latest, resend, tried[row]["generation"] + 1) for row, (latest, resend) in again.items()]
        columns = ["latest", "resend", "generation"]
        rows.loc[list(again), columns] = pd.DataFrame(chosen, list(again), columns, dtype=object)
        rows = judge(rows, context)
        # The cells of a malformed row can be in the wrong columns, such as a phone under the consent.
        self._note_values(frame.drop(index=rows.index[rows["code"] == str(Code.MALFORMED_ROW)]))
        self._note(rows, context.chosen)
        self.remarks.dismissed += len(context.left_out - set(rows.index[rows["code"].isna()]))
        is_kept = rows["code"].notna() & rows.index.isin(list(again))
        kept = [*(set(tried) - set(again)), *rows.index[is_kept]]
        self.remarks.kept += len(kept)
        rows = rows[~is_kept]
        self.texted_before |= bool(rows["code"].isin([str(Code.ALREADY_SENT), str(Code.ALREADY_TRIED)]).any())
        self._taken.add(rows[rows["code"].isna()])
        return PlannedChunk(
            _stored(rows, range(len(frame.columns))), [_kept(tried[row]) for row in sorted(kept)]
        )

    def _context(self, chunk: Chunk, chosen: Mapping[int, str]) -> Context:
        sources = self._sources
        return Context(
            campaign=self._campaign,
            headers=sources.customers.headers,
            roles=sources.roles,
            templates=sources.template,
            malformed=chunk.malformed,
            hidden=chunk.hidden,
            lookup=sources.lookup,
            where=sources.where,
            suppression=sources.suppression,
            history=self._history,
            taken=self._taken,
            now=self._now,
            resend=self._resend,
            dismissed=self._dismissed,
            chosen=chosen,
        )

    def _again(
        self, tried: Mapping[int, Mapping[str, Any]], context: Context
    ) -> Iterator[tuple[int, tuple[Earlier, str]]]:
        """The rows that this run tried and `--resend` includes: last outcome and value of `--resend`."""
        earlier = self._history.earlier([outcome["key"] for outcome in tried.values()])
        for row, outcome in tried.items():
            status, codes = settled(outcome["status"], outcome["codes"])
            own = Earlier(outcome["run_id"], status, codes, outcome["message_uuid"], outcome["sent_at"])
            latest = latest_outcome([own, *earlier.get(outcome["key"], ())])
            resend = context.resend_for(row, outcome["key"], latest)
            if resend is not None:
                yield row, (latest, resend)

    def _note_values(self, frame: pd.DataFrame) -> None:
        roles, region = self._sources.roles, self._campaign.recipients.default_region
        if self.remarks.columns is None:
            used = self._sources.used
            self.remarks.columns = tuple(
                remarks_on_columns(
                    frame, roles.customer_uuid if roles.lookup is None else None, roles.phone, used, region
                )
            )
        for counter, position in (
            (self.remarks.consent, roles.consent),
            (self.remarks.template_values, roles.template_by),
        ):
            if position is not None:
                counter.update(frame.iloc[:, position])

    def _note(self, rows: pd.DataFrame, chosen: Mapping[int, str]) -> None:
        remarks = self.remarks
        is_sent = rows["code"].isna()
        sent = rows[is_sent]
        remarks.not_again += int((rows["resend"].notna() & ~is_sent).sum())
        for row, latest, resend in zip(sent.index, sent["latest"], sent["resend"], strict=True):
            if resend is not None:
                remarks.again += 1
                # The user confirmed the choice of an earlier start at that time.
                if row not in chosen:
                    remarks.again_unconfirmed += latest.status in (Status.UNCONFIRMED, IN_FLIGHT)
            elif latest is not None:
                remarks.tried_before += latest.status == Status.FAILED
        remarks.unknown_zones.update(sent["unknown_zone"].dropna())
        remarks.unknown_places.update(sent["unknown_place"].dropna())
        hours = self._campaign.quiet_hours
        if hours is not None and hours.fixed is None:
            remarks.without_zone += int(sent["clock"].isna().sum())
        differing = rows["differs"].dropna()
        remarks.differing_rows += len(differing)
        remarks.differing += [
            (row, first, headers)
            for row, (first, headers) in zip(differing.index.tolist(), differing, strict=True)
        ][: _EXAMPLES - len(remarks.differing)]
        self._lint.add(sent, self._sources.roles.template_by)
        remarks.lint = self._lint.findings()
        costly = sent.loc[sent["encoding"] == str(Encoding.UCS2), "body"]
        for row, body in zip(costly.index.tolist(), costly, strict=True):
            remarks.costly.add(row, body)


def _stored(rows: pd.DataFrame, cells: Sequence[int]) -> dict[str, list[Any]]:
    """Columns of `messages` for `rows`, as `rules.judge` returns them. `cells`: the list's own columns.

    The ledger sets `run_id` and `campaign_id` when it stores the plan.
    """
    is_sent, skipped = rows["code"].isna(), rows["code"].isin([str(code) for code in SKIPPED_CODES])
    status = np.where(is_sent, Status.PENDING, np.where(skipped, Status.SKIPPED, Status.INVALID))
    nothing = [0] * len(rows)
    return {
        "row": rows.index.tolist(),
        "cells": [orjson.dumps(values).decode() for values in rows[list(cells)].to_numpy().tolist()],
        "status": status.tolist(),
        "codes": rows["code"].where(~is_sent, str(Code.STOPPED)).tolist(),
        "descriptions": rows["description"].where(~is_sent, "").tolist(),
        "generation": rows["generation"].where(rows["generation"].notna(), 0).tolist(),
        **{
            name: rows[name].tolist() for name in COLUMNS if name in messages.columns and name != "generation"
        },
        # A stopped row that kept its choice would be sent by a later start that does not ask for it.
        "resend": rows["resend"].where(is_sent, None).tolist(),
        **dict.fromkeys(("run_id", "campaign_id", "attempts"), nothing),
    }


def _kept(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """A row that this run tried, with its present outcome."""
    status, codes = settled(outcome["status"], outcome["codes"])
    return {**outcome, "run_id": 0, "campaign_id": 0, "status": status, "codes": codes}
