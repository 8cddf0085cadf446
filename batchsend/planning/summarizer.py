"""Summarizes a plan: gathers the facts that every face shows of it."""

from __future__ import annotations

import unicodedata

from batchsend.ledger.runs import first_with, rows_with, run_rows, special_texts
from batchsend.messages.sms import Encoding
from batchsend.planning.approval import approval_words
from batchsend.planning.cost import cost_of
from batchsend.planning.plan import SCRATCH_RUN, Plan
from batchsend.planning.planner import CostlyCharacters
from batchsend.planning.remarks import remarks_on
from batchsend.planning.summary import (
    ConsentValue,
    CostlyCharacter,
    DifferingDuplicate,
    FirstMessage,
    PlanSummary,
    RowGroup,
    TemplateUse,
    department_of,
    user_of,
)
from batchsend.settings import os_user
from batchsend.statuses import Code, Status

#: Row numbers kept of each group.
ROWS_NAMED = 8


def summarize(plan: Plan) -> PlanSummary:
    """Summarizes `plan`."""
    request, sources, remarks = plan.request, plan.sources, plan.remarks
    campaign, customers, roles = request.campaign, sources.customers, sources.roles
    message = campaign.message
    preferred, again = special_texts(plan.scratch, SCRATCH_RUN, plan.wait_rules.leaving)
    if roles.phone is None:
        preferred = 0
    return PlanSummary(
        campaign=campaign.name,
        department=department_of(campaign),
        user=user_of(campaign),
        base_url=request.base_url,
        started_by=f"{os_user()} on {request.host}",
        made_at=request.now,
        zone=campaign.zone,
        list_file=customers.path,
        list_saved_at=customers.saved_at,
        list_notes=(*customers.notes, *sources.suppression.notes),
        cut_row=customers.cut_row,
        template_by=sources.template.column if sources.template.cases else None,
        templates=_templates(plan),
        texts=plan.texts,
        segments=plan.segments,
        cost=cost_of(plan.segments, message),
        rate=campaign.sending.pace,
        limit=request.limit,
        counts=plan.counts,
        groups=tuple(_group(plan, *group) for group in plan.codes),
        quiet_hours=plan.wait_rules.hours,
        own_hours=campaign.own_hours,
        wait=plan.wait_rules.wait,
        waiting_until=plan.waiting_until(),
        run=plan.run,
        known_since=plan.runs[-1].created_at if plan.runs else None,
        last_run=plan.runs[0] if plan.runs else None,
        is_known=plan.known is not None,
        resend=request.resend,
        again=again,
        again_unconfirmed=remarks.again_unconfirmed,
        consent_column=customers.headers[roles.consent] if roles.consent is not None else None,
        consent=_consent(plan),
        opt_out_line=message.opt_out_line if message.add_tcpa_footer else None,
        costly=_costly(plan),
        key=roles.key_headers(customers.headers),
        differing=tuple(DifferingDuplicate(*one) for one in remarks.differing),
        differing_rows=remarks.differing_rows,
        first_message=_first_message(plan),
        unusual=plan.unusual,
        unknown_runs=plan.unknown_runs,
        approval=_approval(plan),
        unknown_zones=remarks.unknown_zones.total() + remarks.unknown_places.total(),
        without_zone=remarks.without_zone,
        without_hours=plan.rows_without_hours(),
        remarks=tuple(remarks_on(plan, preferred)),
        lint=remarks.lint,
    )


def _approval(plan: Plan) -> str | None:
    if plan.approval is None:
        return None
    return approval_words(plan.approval, os_user(), plan.request.campaign.zone)


def character_name(character: str) -> str:
    """Its Unicode name, in small letters."""
    return unicodedata.name(character, f"U+{ord(character):04X}").lower()


def _templates(plan: Plan) -> tuple[TemplateUse, ...]:
    choice = plan.sources.template
    rows = choice.rows_by_file(plan.remarks.template_values)
    cases = [(template.path, tuple(values)) for template, values in choice.cases]
    return tuple(TemplateUse(path, values, rows[path]) for path, values in [(choice.path, ()), *cases])


def _group(plan: Plan, status: str, codes: str, count: int) -> RowGroup:
    named = (
        rows_with(plan.scratch, SCRATCH_RUN, status, codes, ROWS_NAMED) if status == Status.INVALID else ()
    )
    return RowGroup(status, codes, count, tuple(named))


def _consent(plan: Plan) -> tuple[ConsentValue, ...]:
    consent = plan.request.campaign.recipients.consent
    yes = {value.casefold() for value in consent.yes} if consent else set()
    return tuple(
        ConsentValue(value, count, value.casefold() in yes)
        for value, count in plan.remarks.consent.most_common()
    )


def _costly(plan: Plan) -> tuple[CostlyCharacter, ...]:
    """The costly characters of the texts that this start sends."""
    found, leaving = plan.remarks.costly, plan.wait_rules.leaving
    if found.texts and plan.texts < plan.texts_in_all - plan.remarks.kept:
        found = CostlyCharacters(smart_encoding=plan.request.campaign.message.smart_encoding)
        for row in run_rows(
            plan.scratch, SCRATCH_RUN, [Status.PENDING], ("row", "body", "codes", "encoding")
        ):
            if row["codes"] in leaving and row["encoding"] == Encoding.UCS2:
                found.add(row["row"], row["body"])
    return tuple(
        CostlyCharacter(character, character_name(character), count, tuple(found.rows[character]))
        for character, count in found.texts.most_common()
    )


def _first_message(plan: Plan) -> FirstMessage | None:
    row = first_with(plan.scratch, SCRATCH_RUN, Status.PENDING, Code.STOPPED)
    return None if row is None else FirstMessage(row["row"], row["phone"], row["body"])
