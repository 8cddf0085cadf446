"""The program of a job: a start of sending, a test, a look for lost texts or replies.

`python -m batchsend.web.jobs FILE` does it. `registry` starts it and reads the state that it writes. It uses the same
functions as the command line. A check is a job that a reader makes, so that it ends with the server.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import func, select

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import (
    BatchsendError,
    BusyError,
    DeclinedError,
    GuardError,
    IdentityError,
    system_sentence,
)
from batchsend.exits import Exit
from batchsend.ledger.opening import open_for_reading, open_ledger
from batchsend.ledger.schema import starts
from batchsend.planning.plan import Plan
from batchsend.reports.output_files import preview_path, write_preview
from batchsend.reports.pages import preview as preview_page
from batchsend.reports.pages.html import write_page
from batchsend.runs import runner
from batchsend.runs.api import load_campaign, prepare
from batchsend.runs.lookup import Found
from batchsend.runs.report import Report
from batchsend.runs.settle import settle_run
from batchsend.runs.start import (
    Start,
    StartOptions,
    planned,
)
from batchsend.runs.trial import Trial, send_trial
from batchsend.sending.sender import Event
from batchsend.utils.progress import step
from batchsend.utils.protected_files import read_only_in
from batchsend.utils.signals import interrupt_on_signals
from batchsend.utils.timestamps import now, to_text
from batchsend.web.folder import WebFolder, readable_below
from batchsend.web.jobs.check_files import PROBLEMS_FILE, write_problem_rows
from batchsend.web.jobs.confirmation import CheckedPlan, checked_plan, differences
from batchsend.web.jobs.problem_rows import ProblemRows, problem_rows
from batchsend.web.jobs.registry import (
    ENDED,
    JobRequest,
    JobState,
    job_file,
    this_process,
    write_json,
    write_state,
)
from batchsend.web.jobs.reply_search import find_replies
from batchsend.web.jobs.step_facts import facts_of_error, facts_of_plan, refusals_by_step
from batchsend.web.jobs.to_approve import ToApprove, to_approve
from batchsend.web.rendering import first_line, fragments

T = TypeVar("T")

#: The server holds a campaign for an instant to see whether it is being sent, so a start tries again.
_TRIES, _PAUSE = 5, 0.3
_SAFE_AGAIN = "The texts sent so far are recorded; checking and sending again texts no one twice."
#: The part of a check's time after which the plan is made, and after which its workbook is written.
_PLANNED, _WRITTEN = 0.45, 0.8
#: Seconds between two reports of how many conversations were read.
_TELL_SECONDS = 0.5


class _Job:
    """The job of this process: its request, and the state that it reports."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.request = JobRequest(**json.loads(file.read_text(encoding="utf-8")))
        process, began = this_process()
        self._state = JobState("reading", process=process, began=began)
        self._write()

    def report(self, state: str, **facts: Any) -> None:
        """Reports the present step, and adds facts."""
        self._state = replace(self._state, state=state, facts={**self._state.facts, **facts})
        self._write()

    def end(self, exit_code: int, message: str = "", **facts: Any) -> None:
        self._state = replace(self._state, exit=exit_code, message=message)
        self.report(ENDED, **facts)

    def save_page(self, parts: list[str]) -> None:
        """Saves the page of a check for the server."""
        write_json(job_file(self._file, "html"), parts)

    def save_to_approve(self, found: ToApprove) -> None:
        """Saves for the server what another person may approve."""
        write_json(job_file(self._file, "approval"), found.stored())

    def save_problem_rows(self, found: ProblemRows) -> None:
        """Saves for the server the rows that cannot be sent."""
        write_json(job_file(self._file, "rows"), found.stored())

    def download(self, what: str) -> Path:
        """Returns the path of a file that the page of the check offers, see `Jobs.file_of`."""
        return self._file.with_name(f"{self._file.name.removesuffix('.request.json')}.{what}")

    def _write(self) -> None:
        # A full disk must not stop the sending. The ledger has what matters.
        with suppress(OSError):
            write_state(job_file(self._file, "state"), self._state)


def check(job: _Job) -> None:
    """Makes the dry run: writes the files of `batchsend preview`, and saves the page for the console."""
    campaign, start = _start(job.request)
    with ExitStack() as opened:
        with step(0.0, _PLANNED):
            plan = opened.enter_context(planned(start, lambda _seconds, _reason: job.report("settling")))
        # The number that the user types before sending is that of `--expect`.
        expecting = replace(start, options=replace(start.options, expect=plan.texts))
        refusals = refusals_by_step(expecting, plan)
        refused = [problem.sentence for problem in refusals]
        job.report("writing", texts=plan.texts)
        with step(_PLANNED, _WRITTEN):
            workbook = write_preview(plan, preview_path(campaign, None))
        facts = preview_page.gather(plan, str(workbook), refused)
        write_page(preview_path(campaign, None).with_suffix(".html"), preview_page.page(facts))
        in_console = replace(facts, in_console=True, request=None)
        job.save_page(fragments(preview_page.TEMPLATE, **preview_page.values(in_console)))
        needs_approval = to_approve(plan)
        if needs_approval is not None:
            job.save_to_approve(needs_approval)
        invalid = problem_rows(plan, campaign)
        if invalid is not None:
            job.save_problem_rows(invalid)
            write_problem_rows(plan, job.download(PROBLEMS_FILE))
        summary = facts.summary
        first = summary.first_message
        job.end(
            Exit.DONE,
            **facts_of_plan(plan, refusals),
            checked=checked_plan(plan).stored(),
            refused=refused,
            needs_approval=needs_approval is not None,
            can_start_anew=campaign.guards.require_history and plan.known is None,
            made_at=to_text(now()),
            department=summary.department,
            list_name=summary.list_file.name,
            list_saved_at=to_text(summary.list_saved_at),
            agreed=summary.consent_counts,
            hours=summary.hours,
            first_wait=summary.first_wait or "",
            workbook=workbook.name,
            workbook_saved_at=workbook.stat().st_mtime_ns,
            segments=plan.segments,
            cost=summary.cost,
            this_machine=summary.is_local,
            base_url=summary.base_url,
            lasts=summary.duration,
            history=summary.history,
            waits=summary.tally.waits,
            first_body=first.body if first else "",
            opt_out_line=summary.opt_out_line,
        )


def send(job: _Job) -> None:
    """Sends, if everything is still as the check showed it."""
    request = job.request
    _, start = _start(request)
    changed: list[str] = []

    def confirm(plan: Plan) -> bool:
        changed[:] = differences(request.checked, plan, first=request.limit is not None)
        if changed:
            return False
        job.report(
            "sending",
            texts=plan.texts,
            continues=plan.run.id if plan.run else None,
            last_start=_last_start(start),
        )
        return True

    def start_sending() -> Report:
        return runner.send(_guarded(start, request), confirm=confirm, listener=_ignore)

    try:
        report = _retry(start_sending)
    except GuardError:
        with planned(start) as plan:
            changed[:] = differences(request.checked, plan, first=request.limit is not None)
        if not changed:
            raise
        job.end(Exit.REFUSED, "\n".join(changed), changed=True)
        return
    except DeclinedError:
        job.end(Exit.REFUSED, "\n".join(changed), changed=True)
        return
    job.end(report.exit, first_line(report.ending), run=report.run_id)


def _guarded(start: Start, request: JobRequest) -> Start:
    """Adds the confirmed number of texts as a guard.

    The runner asks `confirm` only if there is something to send. If nothing is left, the guard refuses the start.
    """
    checked = CheckedPlan(**request.checked)
    texts = checked.texts if request.limit is None else checked.first_texts
    return replace(start, options=replace(start.options, expect=texts))


def rehearse(job: _Job) -> None:
    """Sends to the sandbox, so no customer gets a text."""
    _, start = _start(job.request)

    def confirm(plan: Plan) -> bool:
        job.report("sending", texts=plan.texts)
        return True

    report = runner.rehearse(start, confirm=confirm, listener=_ignore)
    job.end(
        report.exit,
        first_line(report.ending),
        tally=report.tally.sentence(),
        results=report.results.name if report.results is not None else None,
    )


def trial(job: _Job) -> None:
    """Sends one text to the user."""
    request = job.request
    _, start = _start(request)

    def confirm(found: Trial) -> bool:
        job.report("sending", row=found.row, body=found.body)
        return True

    report = send_trial(start, request.customer or "", request.row, confirm=confirm, listener=_ignore)
    row = report.row
    job.end(
        report.exit,
        first_line(report.ending),
        status=row["status"],
        codes=row["codes"],
        descriptions=row["descriptions"],
    )


def settle(job: _Job) -> None:
    """Looks for a run's texts whose outcome is unknown. Sends nothing."""
    _, start = _start(job.request)
    job.report("looking")
    with closing(open_ledger(start.ledger_url)) as ledger:
        run = ledger.run(job.request.run or 0)
        if run is None:
            raise BatchsendError("There is no such run. Go back to the campaign; its page lists the runs.")
        found = Found(ledger, ledger.campaign_by_id(run.campaign_id), run)
        settlement = _retry(lambda: settle_run(found))
    job.end(settlement.exit, settlement.stopped or "", **settlement.as_json())


def replies(job: _Job) -> None:
    """Looks for new replies to the texts of all campaigns of the folder. Sends nothing."""
    request = job.request
    reported_at = -math.inf

    def tell(read: int, wanted: int) -> None:
        nonlocal reported_at
        if time.monotonic() - reported_at > _TELL_SECONDS:
            job.report("looking", read=read, wanted=wanted)
            reported_at = time.monotonic()

    found = find_replies(WebFolder(Path(request.campaign), request.ledger), tell)
    job.end(Exit.DONE, **found.facts())


_KINDS: Mapping[str, Callable[[_Job], None]] = {
    "check": check,
    "send": send,
    "rehearse": rehearse,
    "trial": trial,
    "settle": settle,
    "replies": replies,
}


def _start(request: JobRequest) -> tuple[Campaign, Start]:
    campaign = load_campaign(request.campaign)
    # The user asks on the check's page, for texts that they have seen.
    options = StartOptions(
        limit=request.limit,
        resend=request.resend,
        new_campaign=request.new_campaign,
        ask_for_approval=False,
    )
    return campaign, prepare(campaign, options, ledger=request.ledger)


def _campaign(request: JobRequest) -> Campaign | None:
    try:
        return load_campaign(request.campaign)
    except BatchsendError:
        return None


def _retry(start_sending: Callable[[], T]) -> T:
    for _ in range(_TRIES - 1):
        try:
            return start_sending()
        except BusyError:
            time.sleep(_PAUSE)
    return start_sending()


def _last_start(start: Start) -> int:
    """Returns the number of the ledger's latest start. The start of this job gets a higher one."""
    ledger = open_for_reading(start.ledger_url)
    if ledger is None:
        return 0
    try:
        with ledger.read() as connection:
            return connection.scalar(select(func.max(starts.c.id))) or 0
    finally:
        ledger.close()


def _ignore(_event: Event) -> None:
    return None


def run_check(file: Path, user: str | None) -> None:
    """Makes the check of a request file, in a reader. `user`: who makes it, as `os_user` finds it."""
    _act_for(user)
    _run(_Job(file))


def _act_for(user: str | None) -> None:
    if user is None:
        os.environ.pop("LOGNAME", None)
    else:
        os.environ["LOGNAME"] = user


def wait() -> int:
    """Does the job that `Jobs.start` names on the standard input. Does nothing if that ends before."""
    if not (line := sys.stdin.readline()):
        return Exit.DONE
    file, user = json.loads(line)
    _act_for(user)
    return main([file])


def main(arguments: list[str]) -> int:
    """Does the job of the request file."""
    interrupt_on_signals()
    job = _Job(Path(arguments[0]))
    try:
        if job.request.only_below is not None:
            read_only_in(readable_below(Path(job.request.only_below)))
        return _run(job)
    except KeyboardInterrupt:
        job.end(Exit.INTERRUPTED, "It was interrupted, and sent no text.")
        return Exit.INTERRUPTED


def _run(job: _Job) -> int:
    """Does a job. Every error ends up in the job's state, as a sentence."""
    try:
        _KINDS[job.request.kind](job)
    except BatchsendError as error:
        anew = isinstance(error, IdentityError) and bool(error.option)
        facts = facts_of_error(error, _campaign(job.request))
        job.end(int(error.exit_code), error.on_page, can_start_anew=anew, **facts)
        return int(error.exit_code)
    except OSError as error:
        job.end(Exit.STOPPED, f"{system_sentence(error)} {_SAFE_AGAIN}")
        return Exit.STOPPED
    except Exception as error:  # noqa: BLE001 - the user needs a sentence for every error
        job.end(
            Exit.STOPPED,
            f"There is an error in batchsend ({type(error).__name__}). {_SAFE_AGAIN} Please report it.",
        )
        return Exit.STOPPED
    return Exit.DONE
