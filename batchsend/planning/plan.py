"""From a campaign to a plan: everything read, checked and rendered, in a throw-away ledger, before anything leaves.

A preview shows the plan, a rehearsal sends it to the sandbox, a real start stores it in the real ledger first.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.quiet_hours import Hours
from batchsend.ledger.bulk import execute_for_all, insert_tuples
from batchsend.ledger.history import History
from batchsend.ledger.ledger import CampaignRecord, Identity, Ledger, NewRun, RunRecord
from batchsend.ledger.opening import scratch_ledger
from batchsend.ledger.optouts import load_opt_outs
from batchsend.ledger.runs import code_counts, segments_to_send, taken_rows
from batchsend.ledger.schema import messages
from batchsend.planning.duplicates import skip_texted_phones
from batchsend.planning.guards import unusual
from batchsend.planning.identity import find_campaign
from batchsend.planning.planner import PLANNED, PlannedChunk, Planner, Remarks
from batchsend.planning.row_judge import Judged, RowJudge
from batchsend.planning.sources import Sources, read_sources
from batchsend.planning.waiting import WaitRules, comes_back, mark_waiting
from batchsend.utils.timestamps import from_text, start_of_window, to_text

#: The number that a plan's only run has in its scratch ledger.
SCRATCH_RUN = 0


@dataclass(frozen=True)
class PlanRequest:
    """What one start asks for. `now` is its moment in UTC; `host` this computer's name; `wait`: for quiet hours."""

    campaign: Campaign
    base_url: str
    host: str
    now: datetime
    limit: int | None = None
    resend: str | None = None
    new_campaign: bool = False
    wait: bool = False


@dataclass(frozen=True)
class Plan:
    """A whole list, judged. The rows are in `scratch`, a ledger that lives as long as the plan is open."""

    request: PlanRequest
    sources: Sources
    scratch: Ledger
    identity: Identity
    known: CampaignRecord | None
    run: RunRecord | None
    fingerprint: str
    remarks: Remarks
    texts: int
    segments: int
    counts: dict[str, int]
    codes: Sequence[tuple[str, str, int]]
    sent_with_other_template: int
    #: Texts of the whole run, those included that earlier starts tried and those that wait.
    texts_in_all: int
    holding: WaitRules
    #: A sentence, where the run comes to far more or fewer texts than any before it.
    unusual: str | None

    def comes_back(self) -> datetime | None:
        """When the first of the rows that wait for a time may be sent."""
        return comes_back(self.scratch, SCRATCH_RUN, self.holding)

    def new_run(self) -> NewRun:
        """What the ledger stores of the list and the campaign."""
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
            },
        )


@contextmanager
def make_plan(request: PlanRequest, ledger: Ledger | None) -> Iterator[Plan]:
    """Plans a start against what `ledger` remembers (`None`: there is no ledger yet). Changes nothing in it.

    Raises `BatchsendError` for whatever makes the list, the template or the campaign unusable as a whole.
    """
    with frozen_garbage(), TemporaryDirectory(prefix="batchsend-") as folder:
        scratch = scratch_ledger(Path(folder))
        try:
            yield _plan(request, ledger, scratch)
        finally:
            scratch.close()


def _plan(request: PlanRequest, ledger: Ledger | None, scratch: Ledger) -> Plan:
    campaign = request.campaign
    sources = read_sources(campaign)
    used = sources.roles.used | sources.template.uses
    fingerprint = sources.customers.fingerprint()
    identity = Identity(
        campaign.name, request.base_url, sources.roles.key_names, str(campaign.path), request.host
    )
    known = None
    if ledger is not None:
        known = find_campaign(campaign, identity, ledger, new_campaign=request.new_campaign)
    run = _same_list(request, ledger, known, fingerprint)
    history = History(
        ledger if ledger is not None else scratch, known, run.id if run else None, request.base_url
    )
    if ledger is not None:
        opt_outs = load_opt_outs(ledger, request.base_url, campaign.zone)
        sources = replace(sources, suppression=replace(sources.suppression, opt_outs=opt_outs))
    goes_on = run is not None and request.resend is not None and history.unfinished(request.resend)
    planner = Planner(
        campaign,
        sources.customers.headers,
        sources.roles,
        _row_judge(campaign, sources),
        history,
        sources.suppression,
        request.now,
        partial(taken_rows, scratch, SCRATCH_RUN),
        resend=None if goes_on else request.resend,
        continues=run is not None,
    )
    for chunk in sources.customers.chunks(used):
        _store(scratch, planner.plan(chunk))
    if campaign.recipients.duplicate_phones == "skip":
        skip_texted_phones(scratch, SCRATCH_RUN)
    # The whole run's texts: what is left of a long list after a kill is no short list.
    in_all = segments_to_send(scratch, SCRATCH_RUN)[0] + planner.remarks.kept
    holding = _holding(request, history)
    mark_waiting(scratch, SCRATCH_RUN, holding)
    texts, segments = segments_to_send(scratch, SCRATCH_RUN, holding.leaving)
    return Plan(
        request,
        sources,
        scratch,
        identity,
        known,
        run,
        fingerprint,
        planner.remarks,
        texts,
        segments,
        scratch.counts(SCRATCH_RUN),
        code_counts(scratch, SCRATCH_RUN),
        history.sent_with_other_template(sources.template.source_sha256) if run else 0,
        in_all,
        holding,
        unusual(in_all, history.texts_by_run()),
    )


def _store(scratch: Ledger, chunk: PlannedChunk) -> None:
    with scratch.write() as connection:
        if chunk.rows:
            insert_tuples(connection, messages, PLANNED, chunk.rows)
        if chunk.kept:
            execute_for_all(connection, insert(messages), chunk.kept)


def _row_judge(campaign: Campaign, sources: Sources) -> RowJudge:
    return RowJudge(
        campaign,
        sources.customers.headers,
        sources.roles,
        sources.template,
        phones_needed=sources.suppression.phones_only,
    )


def judge_row(plan: Plan, number: int) -> Judged | None:
    """What one row of a plan's list says by itself, whatever its history; `None` where there is no such row."""
    sources = plan.sources
    judge = _row_judge(plan.request.campaign, sources)
    for chunk in sources.customers.chunks(sources.roles.used | sources.template.uses):
        if number in chunk.numbers:
            cells = chunk.rows[chunk.numbers.index(number)]
            return judge.judge(number, cells, chunk.malformed.get(number), hidden=number in chunk.hidden)
    return None


def quiet_hours_of(campaign: Campaign) -> Hours | None:
    """The campaign's quiet hours as the rule wants them; `None` where it has none."""
    quiet = campaign.sending.quiet_hours
    if quiet is None:
        return None
    fixed = None if quiet.timezone == "recipient" else quiet.timezone
    lead = timedelta(seconds=campaign.sending.timeout)
    return Hours(quiet.from_, quiet.to, campaign.zone.key, fixed, lead)


def _holding(request: PlanRequest, history: History) -> WaitRules:
    campaign = request.campaign
    per_day = campaign.sending.per_day
    left_today = None
    if per_day is not None:
        today = start_of_window(request.now, 1, campaign.zone)
        left_today = max(0, per_day - history.texts_since(today))
    return WaitRules(
        request.now, campaign.zone, quiet_hours_of(campaign), left_today, request.limit, wait=request.wait
    )


def _same_list(
    request: PlanRequest, ledger: Ledger | None, known: CampaignRecord | None, fingerprint: str
) -> RunRecord | None:
    """The run that goes on: the campaign's latest one of this list, unless it is time to repeat it."""
    if ledger is None or known is None:
        return None
    run = next((run for run in ledger.runs_of(known.id) if run.list_fingerprint == fingerprint), None)
    days = request.campaign.recipients.repeat_after_days
    if run is None or days is None:
        return run
    began = from_text(run.created_at)
    return run if began >= start_of_window(request.now, days, request.campaign.zone) else None


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """Until the block is left, what is there already is not looked at again and again.

    All that the libraries consist of would be, and that takes a third of the time of planning and a tenth of that of
    sending (`make bench`: preview, sending phase).
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
