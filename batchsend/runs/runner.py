"""One run on this machine, from start to end: plan, ask, store, send, write the results.

Nothing here prints or asks by itself: `confirm` is asked before the first text, `listener` hears what happens.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import (
    BatchsendError,
    LedgerError,
    ResultsError,
    StoppedError,
)
from batchsend.exits import Exit, exit_of_rows
from batchsend.ledger.ledger import Ledger, StartRecord, StoredPlan
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.runs import code_counts
from batchsend.mykaarma.protocol import run_identity
from batchsend.planning.plan import SCRATCH_RUN, Plan, loaded_objects_frozen, make_plan
from batchsend.planning.waiting import waiting_until
from batchsend.reports.output_files import (
    plan_heading,
    results_path,
    write_send_page,
)
from batchsend.reports.results_file import write_results
from batchsend.reports.run_results import RunResults
from batchsend.runs.handover import check_detachable, forget_jobs, handing_over, run_settings
from batchsend.runs.report import Report
from batchsend.runs.start import (
    Start,
    check_guards,
    check_target,
    plan_request,
    planned,
    refuse_sample_ids,
    with_newest_list,
)
from batchsend.sending.cluster.dispatch import AskWhetherToStop, dispatch_together
from batchsend.sending.cluster.open_runs import OpenRun, waiting_workers
from batchsend.sending.dispatch import Sending, dispatch
from batchsend.sending.locks import sending_lock
from batchsend.sending.outbox import Outbox
from batchsend.sending.sender import Ending, Event
from batchsend.settings import Credentials, os_user, require_credentials
from batchsend.statuses import Tally
from batchsend.utils.timestamps import now
from batchsend.utils.version import __version__

#: Asked with the plan before the first text leaves; anything but `True` sends nothing.
Confirm = Callable[[Plan], bool]
Listener = Callable[[Event], None]


class DeclinedError(BatchsendError):
    """The question before sending was not answered with the number of texts."""


def send(
    start: Start, *, confirm: Confirm, listener: Listener, ask: AskWhetherToStop | None = None
) -> Report:
    """Sends a campaign, or goes on with what was interrupted. Raises `BatchsendError`; then nothing was sent.

    `ask` is asked at Ctrl-C where workers lend a hand: is the whole run to stop?
    """
    request = plan_request(start)
    campaign, base_url = start.campaign, request.base_url
    credentials = require_credentials(start.settings)
    refuse_sample_ids(campaign)
    check_target(request.campaign, start.results or results_path(campaign, 0))
    ledger = open_ledger(start.ledger_url)
    try:
        if start.detach:
            check_detachable(ledger)
        with sending_lock(ledger, campaign.name, campaign.formerly, base_url):
            with make_plan(request, ledger) as plan:
                check_guards(plan, start.guards)
                if plan.texts and not confirm(plan):
                    raise DeclinedError("Nothing was sent.")
                adopted = ledger.store_plan(
                    plan.scratch,
                    plan.identity,
                    plan.known.id if plan.known else None,
                    plan.run.id if plan.run else None,
                    plan.new_run(),
                    _start_record(plan),
                    handing_over(ledger, plan),
                )
            if start.detach:
                return _handed_over(ledger, adopted, plan)
            with _stopped_by_the_ledger(), loaded_objects_frozen():
                ending = _send_planned(start, credentials, ledger, adopted, plan, listener, ask)
                if ending is None:
                    return _handed_over(ledger, adopted, plan)
                results = RunResults(
                    ledger,
                    adopted.run_id,
                    plan.sources.customers.headers,
                    campaign.zone,
                    plan_heading(plan, adopted.run_id, api=base_url),
                    adopted.run_id,
                )
                path = start.results or results_path(campaign, adopted.run_id)
                report = _report(ledger, adopted.run_id, ending, results, path, plan)
                ledger.end_start(adopted.start_id, report.exit, report.ending or "done")
            report = _with_page(report, ledger, adopted.run_id, plan, path)
            return replace(report, closed=adopted.closed)
    finally:
        ledger.close()


def _send_planned(
    start: Start,
    credentials: Credentials,
    ledger: Ledger,
    adopted: StoredPlan,
    plan: Plan,
    listener: Listener,
    ask: AskWhetherToStop | None,
) -> Ending | None:
    """Sends what was stored; `None`: this process has left, and workers go on."""
    if not plan.texts:
        return Ending()
    identity = run_identity(ledger.ledger_id(), str(adopted.run_id))
    sending = Sending(
        start.campaign, plan.request.base_url, credentials, identity, plan.wait_rules.hours, start.wait
    )
    if ledger.file is not None:
        outbox = Outbox(ledger, adopted.run_id, adopted.start_id, uuid.uuid4().hex)
        return asyncio.run(dispatch(sending, outbox, listener))
    run = OpenRun(adopted.run_id, adopted.start_id, run_settings(plan))
    ending = asyncio.run(dispatch_together(sending, run, ledger, listener, ask))
    if ending is not None:
        forget_jobs(ledger, adopted.run_id)
    return ending


def _handed_over(ledger: Ledger, adopted: StoredPlan, plan: Plan) -> Report:
    """The run goes on without this process."""
    return Report(
        Exit.DONE,
        adopted.run_id,
        Tally.of(ledger.counts(adopted.run_id)),
        code_counts(ledger, adopted.run_id),
        None,
        None,
        planned=plan.texts,
        unusual=plan.unusual,
        closed=adopted.closed,
        workers=tuple(waiting_workers(ledger, plan.request.base_url)),
    )


def rehearse(start: Start, *, confirm: Confirm, listener: Listener) -> Report:
    """Does what `send` would do, to a sandbox in this process and with a throw-away ledger.

    Quiet hours are shown in the plan and not waited for.
    """
    start = replace(start, wait=True)
    campaign = start.campaign
    path = start.results or results_path(campaign, None)
    check_target(with_newest_list(campaign), path)
    with planned(start) as plan:
        check_guards(plan, start.guards)
        if plan.texts and not confirm(plan):
            raise DeclinedError("Nothing was sent.")
        outbox = Outbox(plan.scratch, SCRATCH_RUN, 0, uuid.uuid4().hex)
        ending = Ending()
        if plan.texts:
            ending = asyncio.run(_dispatch_to_sandbox(campaign, outbox, plan, listener))
        api = f"a stand-in on this computer; the history is that of {plan.request.base_url}"
        heading = [("Rehearsal: nothing was sent to anybody", None), *plan_heading(plan, None, api=api)]
        results = RunResults(
            plan.scratch, SCRATCH_RUN, plan.sources.customers.headers, campaign.zone, heading, None
        )
        report = _report(plan.scratch, SCRATCH_RUN, ending, results, path, plan)
        report = _with_page(report, plan.scratch, SCRATCH_RUN, plan, path)
        return replace(report, run_id=None)


@contextmanager
def _stopped_by_the_ledger() -> Iterator[None]:
    """From the first claim on, a ledger that fails stops the run; it does not undo it."""
    try:
        yield
    except LedgerError as error:
        raise StoppedError(
            f"{error}\nSending stopped. What was on its way may be `unconfirmed` when you run the same command again."
        ) from error


async def _dispatch_to_sandbox(campaign: Campaign, outbox: Outbox, plan: Plan, listener: Listener) -> Ending:
    from batchsend.sandbox import Sandbox, SandboxOptions

    outbox.wake(outbox.sleeping())
    async with Sandbox(SandboxOptions()) as sandbox:
        identity = run_identity(plan.scratch.ledger_id(), str(SCRATCH_RUN))
        credentials = Credentials("rehearsal", "rehearsal")
        sending = Sending(campaign, sandbox.base_url, credentials, identity, hours=None, wait=False)
        return await dispatch(sending, outbox, listener)


def _report(
    ledger: Ledger, run_id: int, ending: Ending, results: RunResults, path: Path, plan: Plan
) -> Report:
    """Writes the results, and says how the start went."""
    codes = code_counts(ledger, run_id)
    if ending.interrupted or ending.asked:
        exit_code = Exit.INTERRUPTED
    elif ending.reason is not None:
        exit_code = Exit.STOPPED
    else:
        exit_code = exit_of_rows({(status, code): count for status, code, count in codes})
    reason = ending.reason
    written: Path | None = None
    try:
        written = write_results(path, results)
    except ResultsError as error:
        exit_code = Exit.STOPPED if exit_code in (Exit.DONE, Exit.ATTENTION, Exit.LATER) else exit_code
        reason = f"{reason}. {error}" if reason else str(error)
    later = waiting_until(ledger, run_id, replace(plan.wait_rules, now=now()))
    return Report(
        exit_code,
        run_id,
        Tally.of(ledger.counts(run_id)),
        codes,
        reason,
        written,
        planned=plan.texts,
        comes_back=later,
        zone=plan.wait_rules.zone,
        unusual=plan.unusual,
    )


def _with_page(report: Report, ledger: Ledger, run_id: int, plan: Plan, results: Path) -> Report:
    """The report with its page beside the results. Whatever goes wrong with the page, the run stands."""
    path = results.with_suffix(".html")
    workbook = report.results or results
    try:
        page = write_send_page(ledger, run_id, plan, _start_record(plan), path, workbook, report.ending)
    except BatchsendError as error:
        return replace(report, page_problem=str(error))
    except Exception as error:  # noqa: BLE001 - a page is a picture of the run, which is over and recorded
        return replace(report, page_problem=f"{path}: the page could not be made ({type(error).__name__}).")
    return replace(report, page=page)


def _start_record(plan: Plan) -> StartRecord:
    campaign, sources = plan.request.campaign, plan.sources
    return StartRecord(
        os_user=os_user(),
        host=plan.request.host,
        version=__version__,
        campaign_file=str(campaign.path),
        campaign_sha256=campaign.sha256,
        list_file=str(sources.customers.path),
        list_sha256=sources.customers.sha256,
        template_file="; ".join(sources.template.described_files()),
        template_sha256=sources.template.source_sha256,
        resend=plan.request.resend,
    )
