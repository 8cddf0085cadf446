"""`batchsend approve`: approves or refuses what another person is about to send."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsend.cli.options import (
    campaign_argument,
    confirm_number,
    echo_lines,
    echo_wait,
    ledger_option,
    list_option,
    load_with,
    new_campaign_option,
    resend_option,
)

if TYPE_CHECKING:
    from batchsend.ledger.approvals import Approval
    from batchsend.ledger.ledger import Ledger
    from batchsend.planning.plan import Plan
    from batchsend.runs.start import Start


@click.command()
@campaign_argument
@click.option("--refuse", "reason", metavar="REASON", help="Refuse, or take an approval back, and say why.")
@list_option
@resend_option
@new_campaign_option
@ledger_option
def approve(
    campaign: Path, reason: str | None, list_: Path | None, ledger: str | None, **options: Any
) -> None:
    """Approve the texts that another person is about to send.

    A campaign with approval = true under [guards] is not sent without it. The options are those of the `send` that
    asked.
    """
    if reason is None and not sys.stdin.isatty():
        raise click.UsageError(
            "There is no terminal to ask on. Approve in a terminal, or in the web console."
        )

    from batchsend.ledger.opening import open_ledger
    from batchsend.ledger.optouts import this_person
    from batchsend.planning.plan import make_plan
    from batchsend.runs import api
    from batchsend.runs.approval import refuse, request_to_answer
    from batchsend.runs.start import StartOptions, plan_request
    from batchsend.utils.wording import in_command

    start = api.prepare(load_with(campaign, list=list_), StartOptions(**options), ledger=ledger)
    request = plan_request(start, echo_wait)
    with closing(open_ledger(start.ledger_url)) as opened, make_plan(request, opened) as plan:
        asked = request_to_answer(opened, plan)
        if reason is not None:
            refuse(opened, asked, this_person(), reason)
            click.echo(
                "Refused. It is not sent." if asked.run_id is None else "Refused. What is left is not sent."
            )
            return
        _approve(start, plan, opened, asked)
        click.echo(f"Approved. Another person can send them now: batchsend send {in_command(campaign)}")


def _approve(start: Start, plan: Plan, ledger: Ledger, asked: Approval) -> None:
    """Shows the plan, asks, and records the approval. Raises `BatchsendError`; then nothing was approved."""
    from batchsend.cli.text.plan import first_message_lines, plan_lines
    from batchsend.errors import GuardError
    from batchsend.ledger.optouts import this_person
    from batchsend.planning.summarizer import summarize
    from batchsend.runs.approval import approve as record
    from batchsend.runs.approval import check_approver
    from batchsend.runs.start import start_refusals
    from batchsend.utils.wording import in_command, text_count

    person = this_person()
    check_approver(asked, person)
    assert plan.approval is not None  # noqa: S101 - it has a request
    content = plan.approval.content
    click.echo(f"{start.campaign.name}: to be approved; nothing is sent by this")
    summary = summarize(plan)
    echo_lines(plan_lines(summary))
    echo_lines(first_message_lines(summary))
    for sentence in start_refusals(start, plan):
        click.echo(f"`send` will be refused. {sentence}", err=True)
    click.echo(f"To see every text: batchsend preview {in_command(start.campaign.path.name)}")
    if not confirm_number(content.texts, f"approve {text_count(content.texts)}"):
        raise GuardError("Nothing was approved.")
    record(ledger, asked, content, person)
