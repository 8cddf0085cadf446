"""Reads a plan once, row by row, and keeps what the preview page shows of it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from batchsend.ledger.runs import run_rows
from batchsend.messages.phones import for_people as phone_for_people
from batchsend.mykaarma.protocol import attributes_of, request_json, request_of, request_path, run_identity
from batchsend.planning.plan import SCRATCH_RUN, Plan
from batchsend.reports.pages.charts import Share, shares
from batchsend.reports.pages.groups import Group, Groups, shown
from batchsend.reports.pages.html import Headline, render
from batchsend.reports.pages.sample_messages import Picked, Picker, Sample
from batchsend.statuses import NEEDS_YOU, TRIED, Code, Status, Tally
from batchsend.utils.net import is_this_machine
from batchsend.utils.timestamps import for_people, from_text
from batchsend.utils.wording import age, duration, row_count, text_count

# `json.loads` looks for white space before and behind, and for what a text may be instead.
_cells_of = json.JSONDecoder().raw_decode
#: What is looked at of each row.
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
#: Octets of rows that the page carries for looking them up: those that need somebody, and all others.
PROBLEM_ROWS_BYTES, ROWS_BYTES = 250_000, 1_100_000
#: Values of the consent column that are named.
_VALUES_NAMED = 12
#: What stands where a value is given only once sending starts.
GIVEN_LATER = "(given when sending starts)"
TEMPLATE = "preview.html.j2"


@dataclass(frozen=True)
class Variable:
    """One name in the template: the column that fills it, a value for example, messages in which it is blank."""

    name: str
    header: str
    example: str
    blank: int


@dataclass(frozen=True)
class Costly:
    """A character that makes texts UCS-2: what it is called, how many texts, and the first of their rows."""

    character: str
    name: str
    count: int
    rows: list[int]


@dataclass(frozen=True)
class ExactRequest:
    """One request as it would be sent; `body` is what goes over the wire."""

    row: int
    url: str
    body: str


@dataclass(frozen=True)
class Preview:
    """All that the preview page says. Groups are the largest first; texts are as they would be sent."""

    campaign: str
    command: str
    made_at: str
    made_by: str
    department: str
    user: str
    base_url: str
    this_machine: bool
    list_file: str
    list_name: str
    list_saved: str
    list_saved_at: str
    list_age: str
    notes: tuple[str, ...]
    templates: list[str]
    hours: str
    remarks: list[str]
    refusals: Sequence[str]
    zone: str
    tally: Tally
    texts: int
    segments: int
    rate: float
    lasts: str
    history: str
    known: bool
    limit: int | None
    resend: str | None
    again: int
    not_again: int
    problems: list[Group]
    left_out: list[Group]
    waiting: list[Group]
    tried: list[Group]
    picked: Picked
    opt_out_line: str | None
    preferred: int
    ucs2: int
    consent_column: str | None
    consent: list[tuple[str, int, bool]]
    costly: list[Costly]
    differing: list[tuple[int, int, tuple[str, ...]]]
    differing_rows: int
    key: tuple[str, ...]
    variables: list[Variable]
    customer_column: str
    phone_column: str | None
    request: ExactRequest | None
    rows: list[list[Any]]
    rows_complete: bool
    reasons: dict[str, str]
    workbook: str
    files: list[tuple[str, str, str]]


def gather(plan: Plan, made_by: str, workbook: str, refusals: Sequence[str] = ()) -> Preview:
    """Reads the plan's rows, in one pass and with bounded memory.

    `workbook` is what the page calls it; `refusals`: sentences that say why `send` would be refused.
    """
    request, sources, remarks = plan.request, plan.sources, plan.remarks
    campaign, customers, roles = request.campaign, sources.customers, sources.roles
    headers, template = customers.headers, sources.template
    reading = _Reading(plan)
    for row in run_rows(plan.scratch, SCRATCH_RUN, columns=_COLUMNS):
        reading.add(row)
    groups, picker = reading.groups, reading.picker
    counts = {**plan.counts, Status.READY: plan.texts}
    counts[Status.PENDING] = counts.get(Status.PENDING, 0) - plan.texts
    consent = campaign.recipients.consent
    yes = frozenset(value.casefold() for value in consent.yes) if consent else frozenset()
    host = urlsplit(request.base_url).hostname
    problems = groups.of(*NEEDS_YOU - TRIED)
    return Preview(
        campaign=campaign.name,
        command=f"batchsend preview {campaign.path.name}",
        made_at=for_people(request.now, campaign.zone),
        made_by=f"{made_by} on {request.host}",
        department=campaign.department_label or campaign.department_uuid or "the departments in the list",
        user=campaign.user_uuid or "the users in the list",
        base_url=request.base_url,
        this_machine=host is not None and is_this_machine(host),
        list_file=str(customers.path),
        list_name=customers.path.name,
        list_saved=for_people(customers.saved_at, campaign.zone),
        list_saved_at=customers.saved_at.isoformat(),
        list_age=_ago(customers.saved_at, request.now),
        notes=(*customers.notes, *sources.suppression.notes),
        templates=template.described_files(),
        hours=_hours(plan),
        remarks=_remarks(plan),
        refusals=refusals,
        zone=campaign.zone.key,
        tally=Tally.of(counts),
        texts=plan.texts,
        segments=plan.segments,
        rate=campaign.sending.rate,
        lasts=duration(plan.texts / campaign.sending.rate),
        history=_history(plan),
        known=plan.known is not None,
        limit=request.limit,
        resend=request.resend,
        again=remarks.again,
        not_again=remarks.not_again,
        problems=problems,
        left_out=groups.of(Status.SKIPPED),
        waiting=groups.of(Status.PENDING),
        tried=groups.of(*TRIED),
        picked=picker.picked(),
        opt_out_line=campaign.message.opt_out_line if campaign.message.add_tcpa_footer else None,
        preferred=picker.preferred,
        ucs2=picker.ucs2,
        consent_column=headers[roles.consent] if roles.consent is not None else None,
        consent=[
            (value, count, value.casefold() in yes)
            for value, count in remarks.consent.most_common(_VALUES_NAMED)
        ],
        costly=[
            Costly(character, _called(character), count, remarks.costly[character])
            for character, count in remarks.costly_rows.most_common()
        ],
        differing=remarks.differing,
        differing_rows=remarks.differing_rows,
        key=tuple(headers[position] for position in roles.key),
        variables=[
            Variable(name, headers[index], reading.examples.get(index, ""), picker.blanks(index))
            for name, index in template.variables.items()
        ],
        customer_column=headers[roles.customer_uuid],
        phone_column=headers[roles.phone] if roles.phone is not None else None,
        request=reading.request,
        rows=[*reading.problem_rows.items, *reading.other_rows.items],
        rows_complete=reading.problem_rows.complete and reading.other_rows.complete,
        reasons=reading.reasons,
        workbook=workbook,
        files=[
            ("campaign", str(campaign.path), campaign.sha256),
            ("list", str(customers.path), customers.sha256),
            ("template", str(template.path), template.source_sha256),
        ],
    )


class _Reading:
    """What is kept while the rows go by."""

    def __init__(self, plan: Plan) -> None:
        sources = plan.sources
        roles, headers = sources.roles, sources.customers.headers
        self.groups = Groups(headers, roles.customer_uuid, roles.phone)
        self.picker = Picker(headers, sources.template.uses, phone_in_list=roles.phone is not None)
        self.problem_rows: Sample[list[Any]] = Sample(PROBLEM_ROWS_BYTES)
        self.other_rows: Sample[list[Any]] = Sample(ROWS_BYTES)
        self.reasons: dict[str, str] = {}
        self.examples: dict[int, str] = {}
        self.request: ExactRequest | None = None
        self._template = sources.template
        self._only_template = sources.template.path.name, sources.template.default.uses
        self._columns_used = len(sources.template.uses)
        self._template_by = roles.template_by
        self._base_url = plan.request.base_url
        self._attributes = attributes_of(plan.request.campaign)
        self._identity = run_identity(GIVEN_LATER, str(plan.run.id) if plan.run else GIVEN_LATER)

    def add(self, row: Mapping[str, Any]) -> None:
        if row["status"] == Status.PENDING and row["codes"] == Code.STOPPED:
            self._add_ready(row)
            return
        status, codes = shown(row["status"], row["codes"])
        self.groups.add(status, codes, row)
        reason = f"{status} {codes}".strip()
        if reason not in self.reasons:
            group = Group(status, codes)
            self.reasons[reason] = f"{group.meaning} {group.what_to_do}".strip()
        sample = self.problem_rows if status == Status.INVALID else self.other_rows
        sample.add(
            lambda: _sized([row["row"], status, reason, row["descriptions"], _phone(row), row["body"] or ""])
        )

    def _add_ready(self, row: Mapping[str, Any]) -> None:
        cells = _cells_of(row["cells"])[0]
        template, used = self._template_of(cells)
        self.picker.add(row, cells, used, template)
        if len(self.examples) < self._columns_used:
            for position in used:
                if cells[position]:
                    self.examples.setdefault(position, cells[position])
        if self.request is None:
            path, body = self._request(row)
            self.request = ExactRequest(row["row"], self._base_url + path, body)
        self.other_rows.add(
            lambda: _sized(
                [
                    row["row"],
                    Status.READY,
                    "",
                    "",
                    _phone(row),
                    *reversed(self._request(row)),
                    row["segments"],
                    row["encoding"],
                ]
            )
        )

    def _template_of(self, cells: Sequence[str]) -> tuple[str, Collection[int]]:
        """The name of the row's template, and the columns that it looks at."""
        if self._template_by is None:
            return self._only_template
        template = self._template.choose(cells[self._template_by])
        return template.path.name, template.uses

    def _request(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Path and body."""
        request = request_of(row, self._identity)
        return request_path(request), request_json(request, self._attributes).decode()


def _phone(row: Mapping[str, Any]) -> str:
    return phone_for_people(row["phone"]) if row["phone"] else ""


def _sized(known: list[Any]) -> tuple[list[Any], int]:
    """What the page knows of a row, and about how many octets that adds: JSON, escaped as HTML needs it."""
    text = json.dumps(known, ensure_ascii=False)
    return known, len(text.encode("utf-8", "replace")) + 5 * sum(map(text.count, "<>&"))


def _called(character: str) -> str:
    return unicodedata.name(character, f"U+{ord(character):04X}").lower()


def _ago(moment: datetime, now: datetime) -> str:
    said = age((now - moment).total_seconds())
    return said if said == "just now" else f"{said} before this preview"


def _hours(plan: Plan) -> str:
    hours = plan.wait_rules.hours
    if hours is None:
        return "No quiet hours are set: texts may leave at any hour of the day or night."
    whose = "each recipient’s time" if hours.fixed is None else hours.fixed
    return f"Nobody is texted from {hours.begins:%H:%M} to {hours.ends:%H:%M}, {whose}."


def _remarks(plan: Plan) -> list[str]:
    """What else somebody should know before saying yes."""
    zone, remarks = plan.request.campaign.zone, plan.remarks
    said = [plan.unusual] if plan.unusual is not None else []
    if plan.sent_with_other_template:
        said.append(
            f"The template has changed since: {plan.sent_with_other_template:,} already got the old text."
        )
    if remarks.again_unconfirmed:
        said.append(f"{text_count(remarks.again_unconfirmed)} of these may have arrived the first time.")
    if remarks.tried_before:
        said.append(f"{text_count(remarks.tried_before)} to customers for whom an earlier run failed.")
    if plan.sources.roles.phone is not None and remarks.preferred:
        said.append(f"{text_count(remarks.preferred)} without a phone: to the customer’s preferred number.")
    for word, count in remarks.unknown_zones.most_common(5):
        said.append(f'"{word}" is no time zone: {row_count(count)} go by the phone’s area code.')
    template = plan.sources.template
    for value, count in template.unmatched(remarks.template_values).items() if template.cases else ():
        what = f'"{value}"' if value else "a blank"
        said.append(f"No template is named for {what}, so {row_count(count)} get {template.path.name}.")
    moment = plan.waiting_until()
    if moment is not None:
        said.append(f"Some rows wait, the first until {for_people(moment, zone)} ({zone.key}).")
    return said


def _history(plan: Plan) -> str:
    if plan.run is not None:
        began = for_people(from_text(plan.run.created_at), plan.request.campaign.zone)
        return f"Run {plan.run.id} of {began} goes on: this is the same list."
    if plan.known is not None:
        return (
            "The ledger knows this campaign. This list is another one than before, so this would be a new run; "
            "whoever has the text already is left out."
        )
    return "The ledger knows nothing of this campaign yet: everybody counts as new."


def page(preview: Preview) -> str:
    """The page as HTML."""
    return render(TEMPLATE, **values(preview))


def values(preview: Preview) -> dict[str, Any]:
    """What the template is made of."""
    return {
        "p": preview,
        "verdict": verdict(preview),
        "bar": bar(preview),
        "lookup": {"rows": preview.rows, "reasons": preview.reasons, "complete": preview.rows_complete},
    }


def verdict(preview: Preview) -> Headline:
    """What somebody should know if they read no further."""
    needs_you, left_out = preview.tally.needs_you, preview.tally.left_out
    out = f"{row_count(left_out)} skipped."
    more = f"{_need(needs_you)} {out}" if needs_you else out
    if preview.refusals:
        return Headline("look", "Nothing to send: `send` would be refused.", more)
    if not preview.texts:
        return Headline("look" if needs_you else "none", "Nothing to send.", more)
    said = f"{text_count(preview.texts)} ready to send."
    return (
        Headline("look", said, more) if needs_you else Headline("go", said, f"No row needs attention. {out}")
    )


def bar(preview: Preview) -> list[Share]:
    """How the rows of the list divide, for the bar under the answer."""
    tally = preview.tally
    return shares(
        ("ready", "ready to send", tally.ready),
        ("taken", "accepted by myKaarma before", tally.taken),
        ("out", "skipped", tally.left_out),
        ("look", "need attention", tally.needs_you),
        ("wait", "waiting", tally.waits),
    )


def _need(count: int) -> str:
    return f"{row_count(count)} {'needs' if count == 1 else 'need'} attention."
