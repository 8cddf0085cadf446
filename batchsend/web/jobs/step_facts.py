"""What a check found out about the steps to a campaign, as facts of its job; and the same as `steps.Facts`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.sample import is_sample_list, is_sample_text
from batchsend.errors import BatchsendError
from batchsend.ledger.opening import check_ledger_place
from batchsend.planning.plan import Plan
from batchsend.planning.summary import NO_QUIET_HOURS, department_of
from batchsend.runs.start import Start, guard_refusals, refuse_sample_ids
from batchsend.settings import require_credentials
from batchsend.statuses import Status
from batchsend.utils.wording import row_count
from batchsend.web.jobs.registry import JobState
from batchsend.web.start_choice import start_words
from batchsend.web.steps import (
    CHECK,
    COLUMNS,
    LIST,
    SENDER,
    TEXT,
    WHEN,
    Facts,
    Problem,
    problems_of,
    row_problems,
    stored,
)

NO_CONSENT_COLUMN = "No column says who agreed to texts."
_SAMPLE_IDS = (
    "The ids of the department and the user are still the sample's. Put in your own, from myKaarma support."
)
#: Mistakes in texts that are named.
_FINDINGS_NAMED = 2
#: A guard -> the step in which it is met. All others: when to send.
_STEPS_OF_GUARDS = {"list_max_age": LIST, "require_history": CHECK, "lint": TEXT}


def refusals_by_step(start: Start, plan: Plan) -> list[Problem]:
    """Returns why this start would be refused, each with the step in which that is fixed."""
    found = [
        *_refusal(CHECK, lambda: check_ledger_place(start.ledger_url)),
        *_refusal(SENDER, lambda: refuse_sample_ids(start.campaign), _SAMPLE_IDS),
        *_refusal(SENDER, lambda: require_credentials(start.settings)),
    ]
    refused = guard_refusals(start, plan)
    return [*found, *(Problem(_STEPS_OF_GUARDS.get(one.guard, WHEN), one.on_page) for one in refused)]


def _refusal(step: str, check: Callable[[], object], sentence: str = "") -> Iterator[Problem]:
    """Yields why `check` refuses, if it does. `sentence`: the same for people who never see a campaign file."""
    try:
        check()
    except BatchsendError as error:
        yield Problem(step, sentence or error.on_page)


def facts_of_plan(plan: Plan, refusals: list[Problem]) -> dict[str, Any]:
    """Returns the facts of a check that judged every row."""
    invalid = [(codes, rows) for status, codes, rows in plan.codes if status == Status.INVALID]
    return {
        "complete": True,
        "problems": stored([*refusals, *row_problems(invalid), *_remarks(plan)]),
        "notes": _notes(plan),
        "sent": bool(plan.runs),
    }


def facts_of_error(error: BatchsendError, campaign: Campaign | None) -> dict[str, Any]:
    """Returns the facts of a check that could not judge the rows."""
    suppress = campaign.recipients.suppress if campaign is not None else ()
    return {"problems": stored(problems_of(error, suppress))}


def facts(state: JobState) -> Facts:
    """Returns what a check's job has found out. A job that is under way or was killed has found nothing."""
    found = state.facts
    if not state.is_over or state.lost or "problems" not in found:
        return Facts()
    return Facts(
        checked=True,
        complete=bool(found.get("complete")),
        problems=[Problem(**one) for one in found["problems"]],
        notes=found.get("notes", {}),
        texts=found["checked"]["texts"] if "checked" in found else 0,
        sent=bool(found.get("sent")),
    )


def _remarks(plan: Plan) -> Iterator[Problem]:
    """Yields what is probably not meant, although it could be sent."""
    if plan.sources.roles.consent is None:
        yield Problem(COLUMNS, NO_CONSENT_COLUMN, blocks=False)
    if plan.request.campaign.quiet_hours is None:
        yield Problem(WHEN, NO_QUIET_HOURS, blocks=False)
    if is_sample_list(plan.sources.customers.path):
        yield Problem(LIST, "This is the sample list. Choose your own.", blocks=False, unbegun=True)
    if is_sample_text(plan.sources.template.path):
        yield Problem(TEXT, "This is the sample text. Write your own.", blocks=False, unbegun=True)
    if plan.request.campaign.guards.lint == "warn":
        found = [one.words for one in plan.remarks.lint]
        if more := len(found[_FINDINGS_NAMED:]):
            found[_FINDINGS_NAMED:] = [f"{more:,} more about the texts. The check shows all of them."]
        yield from (Problem(TEXT, words, blocks=False) for words in found)


def _notes(plan: Plan) -> Mapping[str, str]:
    campaign, sources = plan.request.campaign, plan.sources
    templates = len(sources.template.described_files())
    return {
        LIST: f"{sources.customers.path.name}, {row_count(sources.customers.rows)}",
        COLUMNS: _columns_note(plan),
        TEXT: sources.template.path.name if templates == 1 else f"{templates} texts",
        SENDER: department_of(campaign),
        WHEN: when_note(campaign),
    }


def _columns_note(plan: Plan) -> str:
    roles, headers = plan.sources.roles, plan.sources.customers.headers
    named = (("customer", roles.shown_customer), ("phone", roles.phone), ("agreed to texts", roles.consent))
    return ", ".join(f"{what}: {headers[position]}" for what, position in named if position is not None)


def when_note(campaign: Campaign) -> str:
    """Says in a few words when a campaign is sent."""
    hours = "in quiet hours texts wait" if campaign.quiet_hours is not None else "at any hour"
    start = start_words(campaign.schedule) if campaign.schedule is not None else "when you start it"
    return f"{start}; {hours}"
