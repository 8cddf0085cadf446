"""Reads a plan once, some rows at a time, and keeps what the preview page shows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import pandas as pd

from batchsend.errors import page_words
from batchsend.ledger.runs import run_frames
from batchsend.messages.phones import display_phone
from batchsend.mykaarma.protocol import attributes_of, request_json, request_of, request_path, run_identity
from batchsend.planning.plan import SCRATCH_RUN, Plan
from batchsend.planning.summarizer import summarize
from batchsend.planning.summary import PlanSummary
from batchsend.reports.advice import advise
from batchsend.reports.pages.charts import Share, shares
from batchsend.reports.pages.groups import Group, Groups, shown
from batchsend.reports.pages.html import Headline, render
from batchsend.reports.pages.sample_messages import EvenSample, MessageSampler, SampleMessages
from batchsend.statuses import NEEDS_YOU, TRIED, Code, Status
from batchsend.utils.timestamps import for_people
from batchsend.utils.wording import age, in_command, row_count, text_count

#: The columns that are read of each row.
_COLUMNS = (
    "row",
    "status",
    "codes",
    "descriptions",
    "phone",
    "body",
    "segments",
    "encoding",
    "cells",
    "department_uuid",
    "user_uuid",
    "customer_uuid",
    "generation",
)
#: Bytes of rows that the page carries for the row look-up: rows that need attention, and all others.
PROBLEM_ROWS_BYTES, ROWS_BYTES = 250_000, 1_100_000
#: Takes the place of a value that is known only once sending starts.
GIVEN_LATER = "(given when sending starts)"
TEMPLATE = "preview.html.j2"


@dataclass(frozen=True)
class Variable:
    """A name in the template: the column that fills it, an example, and in how many messages it is blank."""

    name: str
    header: str
    example: str
    blank: int


@dataclass(frozen=True)
class ExactRequest:
    """One request as it would be sent; `body` is what goes over the wire."""

    row: int
    url: str
    body: str


@dataclass(frozen=True)
class Preview:
    """Everything on the preview page. Groups are the largest first; texts are as they would be sent.

    `refusals`: why `send` would be refused; `in_console`: shown on a page of the console, which has buttons instead
    of commands; `rows`: for the row look-up, all of them if `rows_complete`; `files`: (what it is, path, SHA-256).
    """

    summary: PlanSummary
    refusals: Sequence[str]
    campaign_file: str
    workbook: str
    list_age: str
    problems: list[Group]
    skipped: list[Group]
    waiting: list[Group]
    tried: list[Group]
    samples: SampleMessages
    preferred: int
    ucs2: int
    variables: list[Variable]
    customer_column: str
    phone_column: str | None
    place_columns: list[tuple[str, str]]
    request: ExactRequest | None
    rows: list[list[Any]]
    rows_complete: bool
    reasons: dict[str, str]
    files: list[tuple[str, str, str]]
    in_console: bool = False


def gather(plan: Plan, workbook: str, refusals: Sequence[str] = ()) -> Preview:
    """Reads the plan's rows, in one pass and with bounded memory.

    `workbook`: what the page calls it; `refusals`: sentences that say why `send` would be refused.
    """
    sources, campaign = plan.sources, plan.request.campaign
    headers, roles = sources.customers.headers, sources.roles
    reader = _RowReader(plan)
    for rows in run_frames(plan.scratch, SCRATCH_RUN, _COLUMNS):
        reader.add(rows)
    return Preview(
        summary=summarize(plan),
        refusals=refusals,
        campaign_file=in_command(campaign.path.name),
        workbook=workbook,
        list_age=_age(sources.customers.saved_at, plan.request.now),
        problems=reader.groups.of(*NEEDS_YOU - TRIED),
        skipped=reader.groups.of(Status.SKIPPED),
        waiting=reader.groups.of(Status.PENDING),
        tried=reader.groups.of(*TRIED),
        samples=reader.sampler.samples(),
        preferred=reader.sampler.preferred,
        ucs2=reader.sampler.ucs2,
        variables=reader.variables(),
        customer_column=headers[roles.shown_customer],
        phone_column=headers[roles.phone] if roles.phone is not None else None,
        place_columns=_place_columns(plan),
        request=reader.request,
        rows=[*reader.problem_rows.items, *sorted(reader.other_rows.items)],
        rows_complete=reader.problem_rows.complete and reader.other_rows.complete,
        reasons=reader.reasons,
        files=[
            ("campaign", str(campaign.path), campaign.sha256),
            ("list", str(sources.customers.path), sources.customers.sha256),
            ("template", str(sources.template.path), sources.template.source_sha256),
        ],
    )


def _place_columns(plan: Plan) -> list[tuple[str, str]]:
    """The columns by which quiet hours find a recipient's time zone: what each holds, and its header."""
    hours, roles = plan.wait_rules.hours, plan.sources.roles
    if hours is None or hours.fixed is not None:
        return []
    found = (("time zone", roles.timezone), ("ZIP code", roles.zip), ("state", roles.state))
    headers = plan.sources.customers.headers
    return [(place, headers[position]) for place, position in found if position is not None]


class _RowReader:
    """Keeps what the page shows, while the rows are read."""

    def __init__(self, plan: Plan) -> None:
        sources = plan.sources
        roles, headers = sources.roles, sources.customers.headers
        self.groups = Groups(headers, roles.shown_customer, roles.phone)
        self.sampler = MessageSampler(headers, sources.template.uses, phone_in_list=roles.phone is not None)
        self.problem_rows: EvenSample[list[Any]] = EvenSample(PROBLEM_ROWS_BYTES)
        self.other_rows: EvenSample[list[Any]] = EvenSample(ROWS_BYTES)
        self.reasons: dict[str, str] = {}
        self.request: ExactRequest | None = None
        self._headers = headers
        self._template = sources.template
        self._examples: dict[int, str] = {}
        self._template_by = roles.template_by
        self._used = sources.template.uses | ({roles.template_by} - {None})
        self._base_url = plan.request.base_url
        self._attributes = attributes_of(plan.request.campaign)
        self._identity = run_identity(GIVEN_LATER, str(plan.run.id) if plan.run else GIVEN_LATER)

    def add(self, rows: pd.DataFrame) -> None:
        """Adds rows with the columns `_COLUMNS`."""
        is_ready = (rows["status"] == Status.PENDING) & (rows["codes"] == Code.STOPPED)
        for row in rows[~is_ready].to_dict("records"):
            self._add_other({str(name): value for name, value in row.items()})
        ready = rows[is_ready]
        if not ready.empty:
            self._add_ready(ready)

    def variables(self) -> list[Variable]:
        """The columns that the templates use."""
        return [
            Variable(name, self._headers[index], self._examples.get(index, ""), self.sampler.blanks(index))
            for name, index in self._template.variables.items()
        ]

    def _add_other(self, row: Mapping[str, Any]) -> None:
        status, codes = shown(row["status"], row["codes"])
        self.groups.add(status, codes, row)
        reason = f"{status} {codes}".strip()
        if reason not in self.reasons:
            advice = advise(status, codes)
            self.reasons[reason] = f"{advice.meaning} {advice.what_to_do}"
        sample = self.problem_rows if status == Status.INVALID else self.other_rows
        sample.add(
            lambda: _sized([row["row"], status, reason, row["descriptions"], _phone(row), row["body"] or ""])
        )

    def _add_ready(self, rows: pd.DataFrame) -> None:
        cells = list(map(orjson.loads, rows["cells"]))
        rows = rows.copy(deep=False)
        for position in self._used:
            rows[position] = [some[position] for some in cells]
        for template, some in self._template.of_rows(rows, self._template_by):
            self.sampler.add(some, template.uses, template.path.name)
            for position in template.uses - self._examples.keys():
                filled = some.loc[some[position] != "", position]
                if not filled.empty:
                    self._examples[position] = filled.iloc[0]

        values = rows[list(_COLUMNS)].to_numpy()

        def record(number: int) -> Mapping[str, Any]:
            return dict(zip(_COLUMNS, values[number], strict=True))

        if self.request is None:
            first = record(0)
            path, body = self._request(first)
            self.request = ExactRequest(first["row"], self._base_url + path, body)
        self.other_rows.extend(len(rows), lambda number: _sized(self._ready_row(record(number))))

    def _ready_row(self, row: Mapping[str, Any]) -> list[Any]:
        path, body = self._request(row)
        return [row["row"], Status.READY, "", "", _phone(row), body, path, row["segments"], row["encoding"]]

    def _request(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Path and body."""
        request = request_of(row, self._identity)
        return request_path(request), request_json(request, self._attributes).decode()


def _phone(row: Mapping[str, Any]) -> str:
    return display_phone(row["phone"]) if row["phone"] else ""


def _sized(values: list[Any]) -> tuple[list[Any], int]:
    """What the page keeps of a row, and about how many bytes that adds: JSON, escaped as HTML needs it."""
    text = json.dumps(values, ensure_ascii=False)
    return values, len(text.encode("utf-8", "replace")) + 5 * sum(map(text.count, "<>&"))


def _age(moment: datetime, now: datetime) -> str:
    ago = age((now - moment).total_seconds())
    return ago if ago == "just now" else f"{ago} before this preview"


def page(preview: Preview) -> str:
    """The page as HTML."""
    return render(TEMPLATE, **values(preview))


def values(preview: Preview) -> dict[str, Any]:
    """The values that the template needs."""
    summary = preview.summary
    return {
        "p": preview,
        "s": summary,
        "made_at": for_people(summary.made_at, summary.zone),
        "verdict": verdict(preview),
        "bar": bar(preview),
        "remarks": [page_words(one) if preview.in_console else one for one in summary.remarks],
        "lookup": {"rows": preview.rows, "reasons": preview.reasons, "complete": preview.rows_complete},
    }


def verdict(preview: Preview) -> Headline:
    """The answer at the top of the page."""
    tally, texts = preview.summary.tally, preview.summary.texts
    skipped = f"{row_count(tally.left_out)} skipped."
    attention = f"{row_count(tally.needs_you)} {'needs' if tally.needs_you == 1 else 'need'} attention."
    more = f"{attention} {skipped}" if tally.needs_you else skipped
    if preview.refusals:
        return Headline("attention", "Nothing can be sent as it is.", more)
    if not texts:
        return Headline("attention" if tally.needs_you else "none", "Nothing to send.", more)
    ready = f"{text_count(texts)} ready to send."
    if tally.needs_you:
        return Headline("attention", ready, more)
    return Headline("go", ready, f"No row needs attention. {skipped}")


def bar(preview: Preview) -> list[Share]:
    """How the rows of the list divide, for the bar below the verdict."""
    tally = preview.summary.tally
    return shares(
        ("ready", "ready to send", tally.ready),
        ("taken", "accepted by myKaarma before", tally.taken),
        ("out", "skipped", tally.left_out),
        ("attention", "need attention", tally.needs_you),
        ("wait", "waiting", tally.waits),
    )
