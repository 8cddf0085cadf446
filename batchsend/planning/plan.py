"""Turns a campaign into a plan: reads, checks and renders everything into a throw-away ledger, and sends nothing.

A preview shows the plan, a rehearsal sends it to the sandbox, and `send` first stores it in the real ledger.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import insert

from batchsend.campaigns.campaign import Campaign
from batchsend.ledger.bulk import execute_for_all, insert_columns
from batchsend.ledger.history import History
from batchsend.ledger.ledger import CampaignRecord, Identity, Ledger, NewRun, RunRecord
from batchsend.ledger.opening import SCRATCH_RUN, index_plan, scratch_ledger
from batchsend.ledger.optouts import load_opt_outs
from batchsend.ledger.runs import code_counts, last_run_id, segments_to_send, taken_rows
from batchsend.ledger.schema import messages
from batchsend.planning.approval import PlanApproval, content_of, find_approval, settings_digest
from batchsend.planning.cost import price_facts
from batchsend.planning.duplicates import skip_texted_phones
from batchsend.planning.guards import unknown_runs, unusual
from batchsend.planning.hourly_cap import HourlyCap
from batchsend.planning.identity import find_campaign
from batchsend.planning.lookup_columns import CustomerLookup
from batchsend.planning.planner import PlannedChunk, Planner, Remarks
from batchsend.planning.row_frame import Context, rows_of
from batchsend.planning.rules import judge
from batchsend.planning.sources import Sources, read_sources
from batchsend.planning.waiting import (
    WaitRules,
    mark_waiting,
    next_midnight,
    rows_without_hours,
    waiting_until,
)
from batchsend.utils.files import temporary_folder
from batchsend.utils.progress import step
from batchsend.utils.timestamps import from_text, start_of_window, to_text

#: The part of the time of planning that reading the list takes.
_READ = 0.4
#: The end of the look-up of customers, which can take most of the time.
_LOOKED_UP = 0.9


#: Finds the customers of a list without ids.
LookUp = Callable[[Campaign, Sources], CustomerLookup]


@dataclass(frozen=True)
class PlanRequest:
    """What one start asks for.

    `now`: when it began, in UTC; `host`: this computer; `wait`: until quiet hours end; `results`: run -> workbook,
    for the runs whose results are in the campaign's folder; `look_up`: finds the customers of a list without ids.
    """

    campaign: Campaign
    base_url: str
    host: str
    now: datetime
    limit: int | None = None
    resend: str | None = None
    new_campaign: bool = False
    wait: bool = False
    results: Mapping[int, Path] = field(default_factory=dict)
    look_up: LookUp | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A list whose rows are all judged. They are in `scratch`, a ledger that lives as long as the plan is open."""

    request: PlanRequest
    sources: Sources
    scratch: Ledger
    identity: Identity
    #: The ledger's record of the campaign, and the run that continues; `None` if there is none.
    known: CampaignRecord | None
    run: RunRecord | None
    #: The campaign's runs in the ledger, latest first.
    runs: Sequence[RunRecord]
    fingerprint: str
    remarks: Remarks
    #: What this start would send.
    texts: int
    segments: int
    #: Status -> rows, and (status, codes, rows).
    counts: dict[str, int]
    codes: Sequence[tuple[str, str, int]]
    sent_with_other_template: int
    #: All texts of the run, including those that earlier starts tried and those that wait.
    texts_in_all: int
    wait_rules: WaitRules
    #: A sentence, if the run has far more or fewer texts than earlier runs.
    unusual: str | None
    #: A sentence, if there are results of runs that the ledger does not know.
    unknown_runs: str | None
    #: Only with the guard `approval`, and if there is something to send.
    approval: PlanApproval | None

    def waiting_until(self) -> datetime | None:
        """When the first row that waits for a time may be sent."""
        return waiting_until(self.scratch, SCRATCH_RUN, self.wait_rules)

    def rows_without_hours(self) -> int:
        """How many rows wait for quiet hours that do not end."""
        return rows_without_hours(self.scratch, SCRATCH_RUN, self.wait_rules)

    def new_run(self) -> NewRun:
        """What the ledger stores about the list and the campaign."""
        campaign, customers = self.request.campaign, self.sources.customers
        return NewRun(
            list_fingerprint=self.fingerprint,
            list_file=str(customers.path),
            list_saved_at=to_text(customers.saved_at),
            headers=customers.headers,
            zone=campaign.zone.key,
            about={
                "campaign": campaign.name,
                "file": str(campaign.path),
                "stem": campaign.stem,
                "department": campaign.department_label or campaign.department_uuid or "from the list",
                "user": campaign.user_uuid or "from the list",
                "template": "; ".join(self.sources.template.described_files()),
                "base_url": self.request.base_url,
                **price_facts(campaign.message),
            },
        )


@contextmanager
def make_plan(request: PlanRequest, ledger: Ledger | None) -> Iterator[Plan]:
    """Plans a start with the history in `ledger` (`None`: there is no ledger yet), without changing that ledger.

    Raises `BatchsendError` if the list, a template or the campaign cannot be used as a whole.
    """
    with loaded_objects_frozen(), temporary_folder() as folder:
        scratch = scratch_ledger(Path(folder))
        try:
            yield _plan(request, ledger, scratch)
        finally:
            scratch.close()


def _plan(request: PlanRequest, ledger: Ledger | None, scratch: Ledger) -> Plan:
    campaign = request.campaign
    with step(0.0, _READ):
        sources = read_sources(campaign)
    if sources.roles.lookup is not None and request.look_up is not None:
        with step(_READ, _LOOKED_UP):
            sources = replace(sources, lookup=request.look_up(campaign, sources))
    fingerprint = sources.customers.fingerprint()
    identity = Identity(
        name=campaign.name,
        base_url=request.base_url,
        key_columns=sources.roles.key_names,
        file=str(campaign.path),
        host=request.host,
        key_region=campaign.recipients.default_region,
    )
    known = run = None
    runs: Sequence[RunRecord] = ()
    if ledger is not None:
        known = find_campaign(campaign, identity, ledger, new_campaign=request.new_campaign)
        runs = ledger.runs_of(known.id) if known is not None else ()
        run = _same_list(request, runs, fingerprint)
        opt_outs = load_opt_outs(ledger, request.base_url, campaign.zone)
        sources = replace(sources, suppression=replace(sources.suppression, opt_outs=opt_outs))
    history = History(
        ledger if ledger is not None else scratch, known, run.id if run else None, request.base_url
    )
    with step(_LOOKED_UP if sources.lookup is not None else _READ, 1.0):
        remarks = _plan_rows(request, sources, history, scratch, continues=run is not None)
    # A long list whose run is nearly done is still a long list.
    in_all = segments_to_send(scratch, SCRATCH_RUN)[0] + remarks.kept
    wait_rules = _wait_rules(request, history)
    mark_waiting(scratch, SCRATCH_RUN, wait_rules, history.waited)
    texts, segments = segments_to_send(scratch, SCRATCH_RUN, wait_rules.leaving)
    return Plan(
        request=request,
        sources=sources,
        scratch=scratch,
        identity=identity,
        known=known,
        run=run,
        runs=runs,
        fingerprint=fingerprint,
        remarks=remarks,
        texts=texts,
        segments=segments,
        counts=scratch.counts(SCRATCH_RUN),
        codes=code_counts(scratch, SCRATCH_RUN),
        sent_with_other_template=history.sent_with_other_template(sources.template.source_sha256)
        if run
        else 0,
        texts_in_all=in_all,
        wait_rules=wait_rules,
        unusual=unusual(in_all, history.texts_by_run()),
        unknown_runs=_unknown_runs(request, ledger),
        approval=_approval(request, ledger, scratch, fingerprint, run),
    )


def _approval(
    request: PlanRequest, ledger: Ledger | None, scratch: Ledger, fingerprint: str, run: RunRecord | None
) -> PlanApproval | None:
    campaign = request.campaign
    if not campaign.guards.approval:
        return None
    rules = settings_digest(campaign, request.base_url, campaign.quiet_hours)
    content = content_of(scratch, SCRATCH_RUN, rules, fingerprint, run.id if run is not None else None)
    return find_approval(ledger, campaign.name, request.base_url, content) if content.texts else None


def _unknown_runs(request: PlanRequest, ledger: Ledger | None) -> str | None:
    if ledger is None:
        return unknown_runs(request.results, 0, "the ledger")
    last = last_run_id(ledger) if request.results else 0
    return unknown_runs(request.results, last, f"the ledger {ledger.where}")


def _plan_rows(
    request: PlanRequest, sources: Sources, history: History, scratch: Ledger, *, continues: bool
) -> Remarks:
    """Plans all rows into `scratch`."""
    resend = request.resend
    if continues and resend is not None and history.unfinished(resend):
        # An earlier start chose the rows to send again, and this start finishes them.
        resend = None
    planner = Planner(
        request.campaign,
        sources,
        history,
        now=request.now,
        planned_rows=partial(taken_rows, scratch, SCRATCH_RUN),
        resend=resend,
        continues=continues,
    )
    done, rows = 0, sources.customers.rows
    for chunk in sources.customers.chunks(sources.used):
        before, done = done, done + len(chunk.frame)
        with step(before / rows, done / rows):
            _store(scratch, planner.plan(chunk))
    index_plan(scratch)
    if planner.texted_before and request.campaign.recipients.duplicate_phones == "skip":
        skip_texted_phones(scratch, SCRATCH_RUN)
    return planner.remarks


def _store(scratch: Ledger, chunk: PlannedChunk) -> None:
    with scratch.write() as connection:
        if chunk.rows["row"]:
            insert_columns(connection, messages, chunk.rows)
        if chunk.kept:
            execute_for_all(connection, insert(messages), chunk.kept)


def judge_row(plan: Plan, number: int) -> pd.Series[Any] | None:
    """What the rules find out about one row by itself, without its history; `None` if there is no such row."""
    sources = plan.sources
    for chunk in sources.customers.chunks(sources.used):
        if number in chunk.frame.index:
            context = Context(
                campaign=plan.request.campaign,
                headers=sources.customers.headers,
                roles=sources.roles,
                templates=sources.template,
                malformed=chunk.malformed,
                hidden=chunk.hidden,
                lookup=sources.lookup,
            )
            return judge(rows_of(chunk.frame.loc[[number]]), context).iloc[0]
    return None


def _wait_rules(request: PlanRequest, history: History) -> WaitRules:
    campaign, moment = request.campaign, request.now
    sending = campaign.sending
    rules = WaitRules(moment, campaign.zone, campaign.quiet_hours, limit=request.limit, wait=request.wait)
    if sending.per_day is not None or sending.per_day_segments is not None:
        today, tomorrow = start_of_window(moment, 1, campaign.zone), next_midnight(moment, campaign.zone)
        texts, segments = history.texts_between(today, tomorrow)
        rules = replace(
            rules,
            left_today=_left(sending.per_day, texts),
            segments_left_today=_left(sending.per_day_segments, segments),
        )
    if sending.per_hour is None:
        return rules
    return replace(rules, hourly=HourlyCap.of(sending.per_hour, moment, history))


def _left(cap: int | None, used: int) -> int | None:
    return None if cap is None else max(0, cap - used)


def _same_list(request: PlanRequest, runs: Sequence[RunRecord], fingerprint: str) -> RunRecord | None:
    """The latest of these runs that has this list; `None` if there is none or `repeat_after_days` have passed."""
    run = next((run for run in runs if run.list_fingerprint == fingerprint), None)
    days = request.campaign.recipients.repeat_after_days
    if run is None or days is None:
        return run
    began = from_text(run.created_at)
    return run if began >= start_of_window(request.now, days, request.campaign.zone) else None


@contextmanager
def loaded_objects_frozen() -> Iterator[None]:
    """Keeps the garbage collector from scanning all objects that exist already, such as the loaded libraries.

    Those scans take a third of the time of planning and a tenth of the time of sending (`make bench`: preview,
    sending phase).
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
