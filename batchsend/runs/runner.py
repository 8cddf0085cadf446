"""One run on this machine from start to finish: plan, guard, confirm, store, send, report.

Nothing here prints or asks. `confirm` is called before the first text, `listener` for every event.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batchsend.errors import BatchsendError, LedgerError, ResultsError, StoppedError, system_sentence
from batchsend.exits import Exit, exit_of_rows
from batchsend.ledger.approvals import Approval
from batchsend.ledger.database_errors import is_passing, retry
from batchsend.ledger.ledger import Held, Ledger, StoredPlan
from batchsend.ledger.opening import SCRATCH_RUN, open_when_free
from batchsend.ledger.runs import CodeCount, code_counts, last_start, shared_state
from batchsend.lists.newest import OnWait
from batchsend.mykaarma.protocol import run_identity
from batchsend.planning.plan import Plan, loaded_objects_frozen, make_plan
from batchsend.planning.suppression import WatchedSuppression
from batchsend.planning.waiting import waiting_until
from batchsend.reports.output_files import plan_heading, write_send_page
from batchsend.reports.results_file import write_results
from batchsend.reports.run_results import RunResults, SummaryLines
from batchsend.runs.approval import approved_by_another, under_approval
from batchsend.runs.handover import check_detachable, handover_of, run_settings, seconds_to_first
from batchsend.runs.notify import telling_of_problems, told
from batchsend.runs.report import Report, tally_of
from batchsend.runs.start import (
    Start,
    check_guards,
    check_target,
    plan_request,
    planned,
    refuse_renamed,
    refuse_sample_ids,
    require_confirmation,
    start_record,
    with_newest_list,
)
from batchsend.sending.dispatch import dispatch
from batchsend.sending.locks import sending_lock
from batchsend.sending.outbox import Outbox
from batchsend.sending.pacing import Pause
from batchsend.sending.run_settings import RunSettings
from batchsend.sending.sender import Event
from batchsend.sending.stopping import STOP_REQUESTED, Ending
from batchsend.settings import Credentials, require_credentials
from batchsend.statuses import Code, Status
from batchsend.utils.signals import holding_signals
from batchsend.utils.timestamps import now

if TYPE_CHECKING:
    from batchsend.runs.settle import Settlement
    from batchsend.sending.cluster.dispatch import AskWhetherToStop

#: Called with the plan before the first text is sent; anything but `True` sends nothing.
Confirm = Callable[[Plan], bool]
#: Called with each plan that no guard refuses, also if it has nothing to send.
Announce = Callable[[Plan], None]
Listener = Callable[[Event], None]


class Api(NamedTuple):
    """Where texts go: myKaarma or the sandbox."""

    base_url: str
    credentials: Credentials


@dataclass(frozen=True)
class _Run:
    """A stored plan. In a rehearsal `ledger` is the plan's scratch ledger. `results`: where they go."""

    plan: Plan
    ledger: Ledger
    stored: StoredPlan
    results: Path

    @property
    def id(self) -> int:
        return self.stored.run_id

    @property
    def number(self) -> int | None:
        """The run's number for people; a rehearsal has none."""
        return None if self.id == SCRATCH_RUN else self.id

    def outbox(self) -> Outbox:
        return Outbox(self.ledger, self.id, self.stored.start_id, uuid.uuid4().hex, self.suppression())

    def suppression(self) -> WatchedSuppression:
        """The campaign's suppression files, as they change while the run is sent."""
        recipients = self.plan.request.campaign.recipients
        return WatchedSuppression(
            recipients.suppress, recipients.default_region, self.plan.sources.suppression
        )

    def identity(self) -> Mapping[str, str]:
        """What identifies the run's messages in updates."""
        return run_identity(self.ledger.ledger_id(), str(self.id))


def send(
    start: Start,
    *,
    confirm: Confirm,
    listener: Listener,
    ask: AskWhetherToStop | None = None,
    announce: Announce = lambda _plan: None,
) -> Report:
    """Sends a campaign, or resumes an interrupted run. Raises `BatchsendError`; then nothing was sent.

    `ask` is called at Ctrl-C when workers help: should the whole run stop?
    """
    with telling_of_problems(start):
        report = _send(start, confirm, listener, ask, announce)
    return told(start, report)


def _send(
    start: Start, confirm: Confirm, listener: Listener, ask: AskWhetherToStop | None, announce: Announce
) -> Report:
    request = plan_request(start, told_to(listener))
    credentials = require_credentials(start.settings)
    refuse_sample_ids(start.campaign)
    check_target(start, request.campaign, 0)
    with ExitStack() as to_the_end, closing(open_when_free(start.ledger_url, told_to(listener))) as ledger:
        if start.options.detach:
            check_detachable(ledger)
        with sending_lock(ledger, start.campaign.name, start.campaign.formerly, request.base_url) as held:
            refuse_renamed(start.campaign)
            with make_plan(request, ledger) as plan:
                check_guards(start, plan)
                approval = approved_by_another(ledger, plan, ask_for_it=start.options.ask_for_approval)
                announce(plan)
                require_confirmation(plan.texts == 0 or confirm(plan))
                to_the_end.enter_context(holding_signals())
                run = _store(start, plan, ledger, held, approval)
                to_the_end.enter_context(_errors_stop_the_run())
            if start.options.detach and run.plan.texts:
                return _report_handover(run)
            return _send_and_report(start, run, credentials, listener, ask)


def rehearse(
    start: Start, *, confirm: Confirm, listener: Listener, announce: Announce = lambda _plan: None
) -> Report:
    """Does what `send` would do, with a sandbox in this process and a throw-away ledger.

    Quiet hours are shown in the plan and not waited for.
    """
    start = replace(start, options=replace(start.options, wait=True))
    results = start.results_path(None)
    check_target(start, with_newest_list(start.campaign), None)
    with planned(start, told_to(listener), rehearsal=True) as plan:
        check_guards(start, plan)
        announce(plan)
        require_confirmation(plan.texts == 0 or confirm(plan))
        run = _Run(plan, plan.scratch, StoredPlan(SCRATCH_RUN, 0, {}), results)
        with holding_signals():
            ending = asyncio.run(_send_to_sandbox(run, listener)) if plan.texts else Ending()
            return _with_page(_report(run, ending), run)


def told_to(listener: Listener) -> OnWait:
    """Tells `listener` that a start waits for its files."""
    return lambda seconds, reason: listener(Pause(seconds, reason))


def _store(start: Start, plan: Plan, ledger: Ledger, held: Held, approval: Approval | None) -> _Run:
    before = last_start(ledger, plan.identity)
    try:
        stored = ledger.store_plan(
            plan.scratch,
            plan.identity,
            campaign_id=plan.known.id if plan.known else None,
            run_id=plan.run.id if plan.run else None,
            run=plan.new_run(),
            start=start_record(plan, approval.id if approval is not None else None),
            held=held,
            also=under_approval(approval, handover_of(ledger, plan)),
        )
    except LedgerError as error:
        if not is_passing(error):
            raise
        latest = _last_start_after(error, ledger, plan)
        if latest == before:
            raise
        stored = StoredPlan(*latest, closed={})
    return _Run(plan, ledger, stored, start.results_path(stored.run_id))


def _last_start_after(error: LedgerError, ledger: Ledger, plan: Plan) -> tuple[int, int]:
    """The campaign's last start, after the database was lost: it may have stored the plan before. Waits for it."""
    try:
        return retry(lambda: last_start(ledger, plan.identity))
    except LedgerError:
        raise StoppedError(
            f"{error}\nThe run may have been stored all the same, and workers may send it. Run the same command "
            f"again once the database is back: nobody is texted twice."
        ) from error


def _send_and_report(
    start: Start, run: _Run, credentials: Credentials, listener: Listener, ask: AskWhetherToStop | None
) -> Report:
    """Sends a stored run, and writes its results even if an error stops it."""
    with loaded_objects_frozen():
        try:
            ending = _send_stored(run, credentials, listener, ask)
        except (BatchsendError, OSError) as error:
            stopped = _stopped(error)
            _end_after(stopped, run)
            raise stopped from error
        if ending.left:
            return _report_handover(run)
        settlement = _settle(run, credentials) if start.options.settle and not ending.interrupted else None
        report = replace(retry(lambda: _report(run, ending)), settlement=settlement)
        retry(lambda: run.ledger.end_start(run.stored.start_id, report.exit, report.ending or "done"))
    return _with_page(report, run)


def _settle(run: _Run, credentials: Credentials) -> Settlement:
    # Only here: other starts send their first text sooner.
    from batchsend.runs.settle import settle_after_sending

    return settle_after_sending(run.ledger, run.id, run.plan.request, credentials)


def _send_stored(
    run: _Run, credentials: Credentials, listener: Listener, ask: AskWhetherToStop | None
) -> Ending:
    """Sends a stored run: alone, or from a ledger on PostgreSQL together with workers."""
    plan = run.plan
    if not plan.texts:
        return Ending()
    settings = run_settings(plan)
    if run.ledger.file is not None:
        first_in = seconds_to_first(plan)
        return asyncio.run(dispatch(settings, run.identity(), credentials, run.outbox(), listener, first_in))
    from batchsend.sending.cluster.dispatch import dispatch_together
    from batchsend.sending.cluster.open_runs import OpenRun

    open_run = OpenRun(run.id, run.stored.start_id, settings)
    return asyncio.run(dispatch_together(open_run, run.ledger, credentials, listener, ask, run.suppression()))


async def _send_to_sandbox(run: _Run, listener: Listener) -> Ending:
    outbox = run.outbox()
    outbox.end_quiet_hours(outbox.quiet_clocks())
    async with sandbox_api() as api:
        campaign = run.plan.request.campaign
        settings = replace(RunSettings.of(campaign, api.base_url), rate=campaign.sending.rate)
        return await dispatch(settings, run.identity(), api.credentials, outbox, listener)


@asynccontextmanager
async def sandbox_api() -> AsyncIterator[Api]:
    """A sandbox in this process, with credentials that it accepts."""
    from batchsend.sandbox.server import Sandbox

    async with Sandbox() as sandbox:
        yield Api(sandbox.base_url, Credentials("rehearsal", "rehearsal"))


@contextmanager
def _errors_stop_the_run() -> Iterator[None]:
    """Turns errors into `StoppedError`: texts may have been sent already."""
    try:
        yield
    except StoppedError:
        raise
    except (BatchsendError, OSError) as error:
        raise _stopped(error) from error


def _stopped(error: BatchsendError | OSError) -> StoppedError:
    reason = system_sentence(error) if isinstance(error, OSError) else str(error)
    return StoppedError(
        f"{reason}\nSending stopped. Texts that were being sent may become `unconfirmed` when you run the same "
        f"command again."
    )


def _end_after(error: StoppedError, run: _Run) -> None:
    """Records the end of the start and writes the results, as far as that is possible after this error."""
    with suppress(BatchsendError):
        run.ledger.end_start(run.stored.start_id, error.exit_code, str(error))
    with suppress(BatchsendError):
        write_results(run.results, _results_of(run))


def _report_handover(run: _Run) -> Report:
    """The report of a start that leaves its run to workers."""
    codes = retry(lambda: code_counts(run.ledger, run.id))
    shared = retry(lambda: shared_state(run.ledger, run.id, rows=False))
    return Report(
        exit=Exit.DONE,
        run_id=run.id,
        tally=tally_of(codes),
        codes=codes,
        planned=run.plan.texts,
        dismissed=run.plan.remarks.dismissed,
        unusual=run.plan.unusual,
        closed=run.stored.closed,
        workers=shared.workers if shared is not None else (),
        list_file=run.plan.sources.customers.path,
        list_saved_at=run.plan.sources.customers.saved_at,
    )


def _report(run: _Run, ending: Ending) -> Report:
    """Writes the results and returns the report, still without its page."""
    plan, results = run.plan, _results_of(run)
    codes = results.codes
    if (ending.interrupted or ending.asked) and not _rows_are_left(codes):
        ending = Ending()  # the last answers came after the signal
    elif ending.reason is None and any(code == Code.NEEDS_APPROVAL for _, code, _ in codes):
        ending = STOP_REQUESTED  # the approval was taken back, and no row was left before the stop was seen
    exit_code, reason = _exit(ending, codes), ending.reason
    written: Path | None = None
    try:
        written = write_results(run.results, results)
    except ResultsError as error:
        exit_code = Exit.STOPPED if exit_code is not Exit.INTERRUPTED else exit_code
        reason = f"{reason}. {error}" if reason else str(error)
    return Report(
        exit=exit_code,
        run_id=run.number,
        tally=tally_of(codes),
        codes=codes,
        ending=reason,
        results=written,
        planned=plan.texts,
        dismissed=plan.remarks.dismissed,
        waiting_until=_waiting_until(run, codes),
        zone=plan.wait_rules.zone,
        unusual=plan.unusual,
        closed=run.stored.closed,
        list_file=plan.sources.customers.path,
        list_saved_at=plan.sources.customers.saved_at,
    )


def _waiting_until(run: _Run, codes: Sequence[CodeCount]) -> datetime | None:
    """When the first row that waits for a time may be sent."""
    if not _rows_are_left(codes):
        return None
    return waiting_until(run.ledger, run.id, replace(run.plan.wait_rules, now=now()))


def _results_of(run: _Run) -> RunResults:
    zone, headers = run.plan.request.campaign.zone, run.plan.sources.customers.headers
    return RunResults(run.ledger, run.id, headers, zone, _heading(run), run.number)


def _exit(ending: Ending, codes: Sequence[tuple[str, str, int]]) -> Exit:
    if ending.interrupted or ending.asked:
        return Exit.INTERRUPTED
    if ending.reason is not None:
        return Exit.STOPPED
    return exit_of_rows({(status, code): count for status, code, count in codes})


def _rows_are_left(codes: Sequence[tuple[str, str, int]]) -> bool:
    return any(status == Status.PENDING and code != Code.HELD_BACK for status, code, _ in codes)


def _heading(run: _Run) -> SummaryLines:
    """The lines above the counts of the results."""
    base_url = run.plan.request.base_url
    if run.number is not None:
        return plan_heading(run.plan, run.number, api=base_url)
    api = f"a stand-in on this computer; the history is that of {base_url}"
    return [("Rehearsal: no text was sent", None), *plan_heading(run.plan, None, api=api)]


def _with_page(report: Report, run: _Run) -> Report:
    """Adds the report page beside the results. A problem with the page does not change how the run ended."""
    path = run.results.with_suffix(".html")
    workbook = report.results or run.results
    try:
        page = write_send_page(
            run.ledger, run.id, run.plan, start_record(run.plan), path, workbook, report.ending
        )
    except BatchsendError as error:
        return replace(report, page_problem=str(error))
    except Exception as error:  # noqa: BLE001 - the run is over and recorded; a bad page must not hide that
        return replace(
            report, page_problem=f"{path}: the page could not be written ({type(error).__name__})."
        )
    return replace(report, page=page)
