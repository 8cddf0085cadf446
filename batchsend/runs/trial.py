"""A test: sends the text of one row to a customer of the user's choice.

It never goes to the row's phone or customer. The request is marked as a test, so that updates about it are not taken
for updates about the row. It is recorded in a throw-away ledger only, so it is not in the history, runs or results.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import insert

from batchsend.errors import GuardError
from batchsend.exits import Exit
from batchsend.ledger.opening import SCRATCH_RUN, open_for_reading, scratch_ledger
from batchsend.ledger.runs import run_rows
from batchsend.ledger.schema import messages
from batchsend.ledger.settlements import texts_in_question
from batchsend.messages.sms import SmsSize, size_with_opt_out
from batchsend.mykaarma.protocol import TRIAL_IDENTITY
from batchsend.mykaarma.settlement import RequestFacts, end_of_doubt
from batchsend.planning.list_checks import API_UUID
from batchsend.planning.plan import Plan, judge_row
from batchsend.runs.runner import Api, Listener, sandbox_api, told_to
from batchsend.runs.start import Start, planned, refuse_sample_ids, require_confirmation
from batchsend.sending.dispatch import dispatch
from batchsend.sending.outbox import Outbox
from batchsend.sending.run_settings import RunSettings
from batchsend.sending.stopping import Ending
from batchsend.settings import require_credentials
from batchsend.statuses import Code, Status
from batchsend.utils.files import temporary_folder
from batchsend.utils.signals import holding_signals
from batchsend.utils.timestamps import for_people, now


@dataclass(frozen=True)
class Trial:
    """The text of a test: that of row `row`, for customer `customer_uuid`."""

    plan: Plan
    customer_uuid: str
    row: int
    body: str
    size: SmsSize
    department_uuid: str
    user_uuid: str


@dataclass(frozen=True)
class TrialReport:
    """How a test ended. `row`: its columns in the throw-away ledger; `ending`: why sending stopped early."""

    exit: Exit
    row: Mapping[str, Any]
    ending: str | None


#: Called with the text before it is sent; anything but `True` sends nothing.
ConfirmTrial = Callable[[Trial], bool]


def send_trial(
    start: Start,
    customer_uuid: str,
    row: int | None,
    *,
    confirm: ConfirmTrial,
    listener: Listener,
    rehearsal: bool = False,
) -> TrialReport:
    """Sends the text of row `row` to a customer's preferred number. `None`: of the first row that would be sent.

    A rehearsal sends it to a sandbox in this process. Raises `BatchsendError`; then nothing was sent.
    """
    api = None if rehearsal else Api(start.settings.base_url, require_credentials(start.settings))
    if not rehearsal:
        refuse_sample_ids(start.campaign)
    with planned(start, told_to(listener), rehearsal=rehearsal) as plan:
        trial = _trial(plan, customer_uuid, row)
        require_confirmation(confirm(trial))
        if not rehearsal:
            _refuse_text_in_question(start, trial)
        with holding_signals():
            return asyncio.run(_send(trial, api, listener))


def _trial(plan: Plan, customer_uuid: str, row: int | None) -> Trial:
    if not API_UUID.fullmatch(customer_uuid):
        raise GuardError(
            f'--test-customer: "{customer_uuid[:128]}" is not a myKaarma customer id (1 to 128 letters, digits, "-" '
            f'and "_"). Copy yours from myKaarma unchanged.',
            on_page=f"“{customer_uuid[:128]}” is not a customer id of myKaarma. Copy your own one from myKaarma "
            f"unchanged.",
        )
    why_not = plan.sources.suppression.why(customer_uuid, None)
    if why_not is not None:
        raise GuardError(
            f"--test-customer {customer_uuid}: {why_not}. Nothing was sent. Choose a customer who may be texted.",
            on_page=f"The test cannot go to this customer: {why_not}. Nothing was sent. Choose a customer who may be "
            f"texted.",
        )
    judged = judge_row(plan, row if row is not None else _first_row(plan))
    if judged is None:
        raise GuardError(
            f"--row {row}: {plan.sources.customers.path} has no such row. The header is row 1.",
            on_page=f"The list has no row {row}. The row with the column names is row 1.",
        )
    return _trial_of(plan, customer_uuid, judged)


def _first_row(plan: Plan) -> int:
    first = next(run_rows(plan.scratch, SCRATCH_RUN, [Status.PENDING]), None)
    if first is None:
        raise GuardError(
            "No row would be sent now, so there is no first text to test with. Choose a row, such as --row 2; "
            "`batchsend preview` shows why each row is skipped.",
            on_page="No row would be sent now, so there is no first text to test with. Choose a row.",
        )
    return int(first["row"])


def _trial_of(plan: Plan, customer_uuid: str, judged: pd.Series[Any]) -> Trial:
    """`judged`: as `judge_row` returns it."""
    row, message = int(str(judged.name)), plan.request.campaign.message
    if judged["code"] is not None:
        because = f": {judged['description']}" if judged["description"] else ""
        raise GuardError(
            f"--row {row}: this row has no text to send ({judged['code']}{because}). Choose another row or "
            f"correct this one.",
            on_page=f"Row {row} has no text to send{because}. Choose another row or correct this one.",
        )
    return Trial(
        plan=plan,
        customer_uuid=customer_uuid,
        row=row,
        body=judged["body"],
        size=size_with_opt_out(judged["body"], message.opt_out_line if message.add_tcpa_footer else None),
        department_uuid=judged["department_uuid"],
        user_uuid=judged["user_uuid"],
    )


def _refuse_text_in_question(start: Start, trial: Trial) -> None:
    """Raises `GuardError` if `settle` could take the test for a text to this customer whose outcome is unknown."""
    ledger = open_for_reading(start.ledger_url)
    if ledger is None:
        return
    with closing(ledger):
        texts = texts_in_question(ledger, start.settings.base_url, trial.customer_uuid)
    facts = RequestFacts(timeout=float(start.campaign.sending.timeout))
    ends = {send: end for send, text in texts.items() if (end := end_of_doubt(text, facts)) is not None}
    if not ends or max(ends.values()) < now():
        return
    last = max(ends, key=lambda send: ends[send])
    why_not = (
        f"it is not known whether this customer got the text of row {last.row} in run {last.run_id}, and the test "
        f"could be taken for that text. Nothing was sent. Try again after "
        f"{for_people(ends[last], start.campaign.zone)}, or choose another customer."
    )
    raise GuardError(
        f"--test-customer {trial.customer_uuid}: {why_not}", on_page=f"The test cannot be sent: {why_not}"
    )


async def _send(trial: Trial, api: Api | None, listener: Listener) -> TrialReport:
    """Sends as a run does, from a throw-away ledger with one row. `api` is `None` for the sandbox."""
    with temporary_folder() as folder, closing(scratch_ledger(Path(folder))) as ledger:
        with ledger.write() as connection:
            connection.execute(insert(messages), _message(trial))
        outbox = Outbox(ledger, SCRATCH_RUN, 0, uuid.uuid4().hex)
        async with sandbox_api() if api is None else nullcontext(api) as target:
            settings = RunSettings.of(trial.plan.request.campaign, target.base_url)
            ending = await dispatch(settings, TRIAL_IDENTITY, target.credentials, outbox, listener)
        row = next(run_rows(ledger, SCRATCH_RUN))
    return TrialReport(_exit(row["status"], ending), row, ending.reason)


def _message(trial: Trial) -> dict[str, Any]:
    return {
        **dict.fromkeys(messages.columns.keys()),
        "run_id": SCRATCH_RUN,
        "row": trial.row,
        "campaign_id": 0,
        "customer_uuid": trial.customer_uuid,
        "department_uuid": trial.department_uuid,
        "user_uuid": trial.user_uuid,
        "body": trial.body,
        "cells": "[]",
        "status": Status.PENDING,
        "codes": Code.STOPPED,
        "descriptions": "",
        "generation": 0,
        "attempts": 0,
    }


def _exit(status: str, ending: Ending) -> Exit:
    if status == Status.ACCEPTED:
        return Exit.DONE
    if status in (Status.FAILED, Status.UNCONFIRMED):
        return Exit.ATTENTION
    return Exit.INTERRUPTED if ending.interrupted else Exit.STOPPED
