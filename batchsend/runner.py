"""One run on this machine, from start to end: plan, ask, store, send, write the results.

Nothing here prints or asks by itself: `confirm` is asked before the first text, `listener` hears what happens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from batchsend._version import __version__
from batchsend.api import SendingAttributes
from batchsend.api_client import ApiClient
from batchsend.campaign import Campaign
from batchsend.errors import BatchsendError, GuardError, LedgerError, ResultsError, StoppedError
from batchsend.exits import Exit, exit_of_rows
from batchsend.history import code_counts
from batchsend.ledger import Ledger, StartRecord
from batchsend.ledger_opening import open_for_reading, open_ledger
from batchsend.limiter import Pacer
from batchsend.locks import campaign_lock
from batchsend.outbox import Outbox
from batchsend.outputs import os_user, plan_heading, results_path
from batchsend.planning import SCRATCH_RUN, Plan, PlanRequest, make_plan
from batchsend.results import check_writable, write_results
from batchsend.run_results import RunResults
from batchsend.sandbox import Sandbox, SandboxOptions
from batchsend.sender import Ending, Event, Sender, SendOptions
from batchsend.settings import Credentials, Settings, require_credentials
from batchsend.statuses import Status, Tally
from batchsend.timestamps import now
from batchsend.verdicts import check_resend


@dataclass(frozen=True)
class Guards:
    """What may stop a start before its first text. `expect`: exactly so many texts, or none."""

    strict: bool = False
    expect: int | None = None
    unattended: bool = False


@dataclass(frozen=True)
class Start:
    """One start of a campaign: what is asked for, and where things are."""

    campaign: Campaign
    settings: Settings
    ledger_url: str
    results: Path | None = None
    limit: int | None = None
    resend: str | None = None
    new_campaign: bool = False
    guards: Guards = Guards()


@dataclass(frozen=True)
class Report:
    """How a start went.

    `codes`: (status, codes, rows) of the whole run; `planned`: texts that this start was to send; `results`:
    where the workbook really is; `closed`: earlier run -> rows that were given up for this one.
    """

    exit: Exit
    run_id: int | None
    tally: Tally
    codes: list[tuple[str, str, int]]
    ending: str | None
    results: Path | None
    planned: int = 0
    closed: Mapping[int, int] = field(default_factory=dict)


#: Asked with the plan before the first text leaves; anything but `True` sends nothing.
Confirm = Callable[[Plan], bool]
Listener = Callable[[Event], None]


class DeclinedError(BatchsendError):
    """The question before sending was not answered with the number of texts."""


def send(start: Start, *, confirm: Confirm, listener: Listener) -> Report:
    """Sends a campaign, or goes on with what was interrupted. Raises `BatchsendError`; then nothing was sent."""
    request = _plan_request(start)
    campaign, base_url = start.campaign, request.base_url
    credentials = require_credentials(start.settings)
    check_writable(start.results or results_path(campaign, 0))
    ledger = open_ledger(start.ledger_url)
    try:
        with campaign_lock(ledger, campaign.name, base_url):
            ledger.interrupt_claims(campaign.name, base_url)
            with make_plan(request, ledger) as plan:
                _check_guards(plan, start.guards)
                if plan.texts and not confirm(plan):
                    raise DeclinedError("Nothing was sent.")
                adopted = ledger.adopt(
                    plan.scratch, plan.identity, plan.known.id if plan.known else None,
                    plan.run.id if plan.run else None, plan.new_run(), _start_record(plan),
                )  # fmt: skip
            outbox = Outbox(ledger, adopted.run_id, adopted.start_id, uuid.uuid4().hex)
            ending = Ending()
            if plan.texts:
                ending = _send_or_stop(
                    lambda: _send(
                        start, outbox, credentials, base_url, _identity(ledger, adopted.run_id), listener
                    )
                )
            results = RunResults(
                ledger, adopted.run_id, plan.sources.customers.headers, campaign.zone,
                plan_heading(plan, adopted.run_id), adopted.run_id,
            )  # fmt: skip
            path = start.results or results_path(campaign, adopted.run_id)
            report = _report(ledger, adopted.run_id, ending, results, path)
            ledger.end_start(adopted.start_id, report.exit, report.ending or "done")
            return replace(report, planned=plan.texts, closed=adopted.closed)
    finally:
        ledger.close()


def rehearse(start: Start, *, confirm: Confirm, listener: Listener) -> Report:
    """Does what `send` would do, to a sandbox in this process and with a throw-away ledger."""
    campaign = start.campaign
    path = start.results or results_path(campaign, None)
    check_writable(path)
    with planned(start) as plan:
        _check_guards(plan, start.guards)
        if plan.texts and not confirm(plan):
            raise DeclinedError("Nothing was sent.")
        outbox = Outbox(plan.scratch, SCRATCH_RUN, 0, uuid.uuid4().hex)
        ending = Ending()
        if plan.texts:
            ending = asyncio.run(_send_to_sandbox(start, outbox, plan, listener))
        heading = [("Rehearsal: nothing was sent to anybody", None), *plan_heading(plan, None)]
        results = RunResults(
            plan.scratch, SCRATCH_RUN, plan.sources.customers.headers, campaign.zone, heading, None
        )
        report = _report(plan.scratch, SCRATCH_RUN, ending, results, path)
        return replace(report, run_id=None, planned=plan.texts)


@contextmanager
def planned(start: Start) -> Iterator[Plan]:
    """The plan of a start, made without changing anything. Raises `BatchsendError`."""
    request = _plan_request(start)
    ledger = open_for_reading(start.ledger_url)
    try:
        with make_plan(request, ledger) as plan:
            yield plan
    finally:
        if ledger is not None:
            ledger.close()


def _plan_request(start: Start) -> PlanRequest:
    if start.resend is not None:
        check_resend(start.resend)
    return PlanRequest(
        campaign=start.campaign,
        base_url=start.settings.base_url,
        host=socket.gethostname(),
        now=now(),
        limit=start.limit,
        resend=start.resend,
        new_campaign=start.new_campaign,
    )


def _check_guards(plan: Plan, guards: Guards) -> None:
    invalid = plan.counts.get(Status.INVALID, 0)
    if guards.strict and invalid:
        raise GuardError(
            f"{plan.sources.customers.path}: {invalid:,} {'row is' if invalid == 1 else 'rows are'} invalid, and "
            f"--strict sends nothing then. `batchsend preview` shows which; correct the list, or leave --strict out."
        )
    if guards.expect is not None and guards.expect != plan.texts:
        raise GuardError(
            f"--expect {guards.expect:,}, but this start would send {plan.texts:,} texts. Nothing was sent. Look at "
            f"`batchsend preview`; if the number is right, expect {plan.texts}."
        )
    if plan.remarks.again_unconfirmed and guards.unattended and guards.expect is None:
        raise GuardError(
            f"--resend {plan.request.resend}: {plan.remarks.again_unconfirmed:,} of these rows may have been sent "
            f"already, and nobody is asked here. Nothing was sent. Add --expect {plan.texts} if you are sure."
        )


def _send_or_stop(sending: Callable[[], Coroutine[None, None, Ending]]) -> Ending:
    """Runs `sending`. From the first claim on, a ledger that fails stops the run; it does not undo it."""
    try:
        return asyncio.run(sending())
    except LedgerError as error:
        raise StoppedError(
            f"{error}\nSending stopped. What was on its way may be `unconfirmed` when you run the same command again."
        ) from error


async def _send(
    start: Start, outbox: Outbox, credentials: Credentials, base_url: str, identity: Mapping[str, str],
    listener: Listener,
) -> Ending:  # fmt: skip
    """Sends what the outbox holds to the API at `base_url`."""
    campaign = start.campaign
    sending = campaign.sending
    client = ApiClient(
        base_url, credentials.username, credentials.password, options=_attributes(campaign),
        timeout=sending.timeout, connections=sending.concurrency,
        sender_per_row=campaign.department_uuid is None or campaign.user_uuid is None,
    )  # fmt: skip
    options = SendOptions(
        concurrency=sending.concurrency,
        timeout=sending.timeout,
        stop_after_failures=sending.stop_after_failures,
        give_up_after=sending.give_up_after.total_seconds(),
        identity=identity,
    )
    async with client:
        sender = Sender(outbox, client, Pacer(sending.rate), options, listener)
        with _finishing_on_signals(sender):
            return await sender.run()


async def _send_to_sandbox(start: Start, outbox: Outbox, plan: Plan, listener: Listener) -> Ending:
    async with Sandbox(SandboxOptions()) as sandbox:
        identity = _identity(plan.scratch, SCRATCH_RUN)
        return await _send(
            start, outbox, Credentials("rehearsal", "rehearsal"), sandbox.base_url, identity, listener
        )


@contextmanager
def _finishing_on_signals(sender: Sender) -> Iterator[None]:
    """Ctrl-C and SIGTERM let what is in flight finish; a second one leaves at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    received = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received > 1:
            # What was in flight becomes `unconfirmed` with the next start.
            os._exit(Exit.INTERRUPTED)
        ending = Ending("interrupted", interrupted=True)
        loop.call_soon_threadsafe(sender.stop, ending)

    # A closed terminal is SIGHUP, on Windows SIGBREAK; neither exists everywhere.
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers: list[signal.Signals] = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(ledger: Ledger, run_id: int, ending: Ending, results: RunResults, path: Path) -> Report:
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
        exit_code = Exit.STOPPED if exit_code in (Exit.DONE, Exit.LOOK, Exit.LATER) else exit_code
        reason = f"{reason}. {error}" if reason else str(error)
    return Report(exit_code, run_id, Tally.of(ledger.counts(run_id)), codes, reason, written)


def _identity(ledger: Ledger, run_id: int) -> dict[str, str]:
    """What finds a message's row again when a callback brings it back."""
    return {"batchsendLedger": ledger.ledger_id(), "batchsendRun": str(run_id)}


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
        template_file=str(sources.template.path),
        template_sha256=sources.template.source_sha256,
        resend=plan.request.resend,
    )


def _attributes(campaign: Campaign) -> SendingAttributes:
    message = campaign.message
    return SendingAttributes(
        is_manual=message.is_manual,
        add_tcpa_footer=message.add_tcpa_footer,
        add_signature=message.add_signature,
        add_footer=message.add_footer,
        send_vcard=message.send_vcard,
        send_synchronously=message.send_synchronously,
        callback_url=str(message.callback_url) if message.callback_url else None,
        callback_metadata=message.callback_metadata,
    )
