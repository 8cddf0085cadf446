"""A process of its own for one check, one start or one test: `python -m batchsend.web.jobs.process FILE`.

`jobs` starts it and reads what it writes. What it does, it does through the same functions as the command line.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import BatchsendError, BusyError, GuardError
from batchsend.exits import Exit
from batchsend.ledger.opening import check_ledger_place, open_for_reading
from batchsend.ledger.schema import starts
from batchsend.planning.plan import Plan
from batchsend.reports.output_files import preview_path, write_preview
from batchsend.reports.pages import preview as preview_facts
from batchsend.reports.pages import preview as preview_page
from batchsend.reports.pages.html import write_page
from batchsend.runs import runner
from batchsend.runs.api import load_campaign, prepare
from batchsend.runs.report import Report, summary_of
from batchsend.runs.start import (
    DeclinedError,
    Start,
    StartOptions,
    guard_refusals,
    planned,
    refuse_sample_ids,
)
from batchsend.runs.trial import Trial, send_trial
from batchsend.sending.sender import Event, Waiting
from batchsend.settings import os_user
from batchsend.utils.files import write_private
from batchsend.utils.protected_files import read_only_below
from batchsend.utils.timestamps import now, to_text
from batchsend.web.jobs.confirmation import CheckedPlan, checked_plan, differences
from batchsend.web.jobs.registry import ENDED, JobRequest, State, beside, own_process, write_state
from batchsend.web.rendering import fragments

#: Somebody who only looks whether a campaign is being sent holds it for an instant.
_TRIES, _PAUSE = 5, 0.3
#: What is on the button that makes a check again.
_AGAIN = "Check again"


class _JobProcess:
    """What is asked for, and what is said of it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.request = JobRequest(**json.loads(file.read_text(encoding="utf-8")))
        process, began = own_process()
        self._state = State("reading", process=process, began=began)
        self._write()

    def says(self, state: str, **facts: Any) -> None:
        """What it does from now on."""
        self._state = replace(self._state, state=state, facts={**self._state.facts, **facts})
        self._write()

    def ends(self, exit_code: int, said: str = "", **facts: Any) -> None:
        self._state = replace(self._state, exit=exit_code, said=said)
        self.says(ENDED, **facts)

    def keep_page(self, parts: list[str]) -> None:
        """The page of a check, for the server."""
        text = json.dumps(parts, ensure_ascii=False).encode("utf-8", "replace")
        write_private(beside(self._file, "html"), lambda path: _write(path, text))

    def _write(self) -> None:
        # A full disk must not end what is being sent; the ledger has what counts.
        with suppress(OSError):
            write_state(beside(self._file, "state"), self._state)


def check(job: _JobProcess) -> None:
    """The dry run: what `batchsend preview` writes, and its page for ours."""
    campaign, start = _start(job.request)
    refused: list[str] = []
    try:
        check_ledger_place(start.ledger_url)
        refuse_sample_ids(campaign)
    except BatchsendError as error:
        refused.append(str(error))
    with planned(start) as plan:
        refused += guard_refusals(plan)
        job.says("writing", texts=plan.texts)
        workbook = write_preview(plan, preview_path(campaign, None))
        facts = preview_facts.gather(plan, os_user(), str(workbook), refused)
        write_page(preview_path(campaign, None).with_suffix(".html"), preview_page.page(facts))
        here = replace(facts, command=_AGAIN)
        job.keep_page(fragments(preview_page.TEMPLATE, **preview_page.values(here)))
        first = facts.picked.first[0] if facts.picked.first else None
        job.ends(
            Exit.DONE,
            checked=checked_plan(plan).stored(),
            refused=refused,
            made_at=to_text(now()),
            department=facts.department,
            list_name=facts.list_name,
            segments=plan.segments,
            this_machine=facts.this_machine,
            base_url=facts.base_url,
            lasts=facts.lasts,
            known=facts.known,
            waits=facts.tally.waits,
            first_body=first.body if first else "",
            opt_out_line=facts.opt_out_line,
        )


def send(job: _JobProcess) -> None:
    """Sends, if everything is still as it was shown."""
    request = job.request
    _, start = _start(request)
    changed: list[str] = []

    def confirm(plan: Plan) -> bool:
        changed[:] = differences(request.checked, plan, first=request.limit is not None)
        if changed:
            return False
        job.says(
            "sending",
            texts=plan.texts,
            goes_on=plan.run.id if plan.run else None,
            last_start=_last_start(start),
        )
        return True

    listener = _Listener(job)
    try:
        report = _patiently(lambda: runner.send(_guarded(start, request), confirm=confirm, listener=listener))
    except GuardError:
        with planned(start) as plan:
            changed[:] = differences(request.checked, plan, first=request.limit is not None)
        if not changed:
            raise
        job.ends(Exit.REFUSED, "\n".join(changed), changed=True)
        return
    except DeclinedError:
        job.ends(Exit.REFUSED, "\n".join(changed), changed=True)
        return
    job.ends(report.exit, report.ending or "", **_summary(report), waiting=None)


def _guarded(start: Start, request: JobRequest) -> Start:
    """This start, with the number that was promised as a guard.

    Where nothing is left to send nobody is asked, and this is what refuses it.
    """
    promised = CheckedPlan(**request.checked)
    texts = promised.texts if request.limit is None else promised.first_texts
    return replace(start, options=replace(start.options, expect=texts))


def rehearse(job: _JobProcess) -> None:
    """Does the same with the stand-in for myKaarma: nobody gets a text."""
    _, start = _start(job.request)

    def confirm(plan: Plan) -> bool:
        job.says("sending", texts=plan.texts)
        return True

    report = runner.rehearse(start, confirm=confirm, listener=_Listener(job))
    job.ends(report.exit, report.ending or "", **_summary(report))


def trial(job: _JobProcess) -> None:
    """One text to somebody who is not on the list."""
    request = job.request
    _, start = _start(request)
    shown: dict[str, Any] = {}

    def confirm(found: Trial) -> bool:
        shown.update(row=found.row, body=found.body)
        job.says("sending", **shown)
        return True

    report = send_trial(start, request.customer or "", request.row, confirm=confirm, listener=_nobody)
    row = report.row
    job.ends(
        report.exit,
        report.ending or "",
        status=row["status"],
        codes=row["codes"],
        descriptions=row["descriptions"],
        message_uuid=row["message_uuid"],
    )


_KINDS: Mapping[str, Callable[[_JobProcess], None]] = {
    "check": check,
    "send": send,
    "rehearse": rehearse,
    "trial": trial,
}


class _Listener:
    """Says when everybody waits, and until when."""

    def __init__(self, job: _JobProcess) -> None:
        self._job = job
        self._waits = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self._waits = True
            until = to_text(now() + timedelta(seconds=event.seconds))
            self._job.says("sending", waiting={"until": until, "reason": event.reason})
        elif self._waits:
            self._waits = False
            self._job.says("sending", waiting=None)


def _start(request: JobRequest) -> tuple[Campaign, Start]:
    campaign = load_campaign(request.campaign)
    options = StartOptions(limit=request.limit, resend=request.resend, new_campaign=request.new_campaign)
    return campaign, prepare(campaign, options, ledger=request.ledger)


def _patiently(send_it: Callable[[], Report]) -> Report:
    for _ in range(_TRIES - 1):
        try:
            return send_it()
        except BusyError:
            time.sleep(_PAUSE)
    return send_it()


def _last_start(start: Start) -> int:
    """The number of the ledger's latest start: this one gets a higher one."""
    ledger = open_for_reading(start.ledger_url)
    if ledger is None:
        return 0
    try:
        with ledger.read() as connection:
            return connection.scalar(select(func.max(starts.c.id))) or 0
    finally:
        ledger.close()


def _summary(report: Report) -> dict[str, Any]:
    said = summary_of(report)
    return {**said, "tally": report.tally.sentence(), "page_problem": report.page_problem}


def _nobody(_event: Event) -> None:
    return None


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def main(arguments: list[str]) -> int:
    """Does what the file asks for. Whatever goes wrong is said in the file beside it."""
    # Before the first text SIGTERM ends it as Ctrl-C does; while sending, the runner takes both over.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    job = _JobProcess(Path(arguments[0]))
    read_only_below(job.request.only_below)
    try:
        _KINDS[job.request.kind](job)
    except BatchsendError as error:
        job.ends(int(error.exit_code), str(error))
        return int(error.exit_code)
    except KeyboardInterrupt:
        job.ends(Exit.INTERRUPTED, "It was interrupted before the first text.")
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever else happens, somebody waits for a sentence
        job.ends(
            Exit.STOPPED,
            f"batchsend made a mistake of its own ({type(error).__name__}). What was sent until now is recorded; "
            f"checking and sending again texts nobody twice. Please report it.",
        )
        return Exit.STOPPED
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
