"""The command that asks for customers' replies and shows them."""

from __future__ import annotations

import click

from batchsend.cli.options import echo_lines, ledger_option, target_argument
from batchsend.exits import Exit


@click.command()
@target_argument
@click.option("--recorded", is_flag=True, help="Only show replies that are recorded; do not ask myKaarma.")
@ledger_option
def replies(target: str, recorded: bool, ledger: str | None) -> Exit:
    """Ask myKaarma what customers replied, and show it.

    Customers who ask for no more texts are added to the opt-outs. Replies that need a person come first.
    It reads the conversations of the last 30 days, at the campaign's rate, and sends nothing.
    """
    from batchsend.cli.text.replies import elsewhere_lines, poll_lines, reply_lines
    from batchsend.ledger.opening import open_ledger
    from batchsend.ledger.replies import replies_to
    from batchsend.runs.lookup import find_run
    from batchsend.runs.replies import poll_replies

    with find_run(target, ledger, open_ledger) as found:
        poll = None if recorded else poll_replies(found)
        listed = replies_to(found.ledger, found.run_ids)
        echo_lines(reply_lines(listed))
        if not listed:
            click.echo(f"No replies to {f'run {target}' if target.isdecimal() else target} yet.")
        if poll is not None:
            echo_lines(elsewhere_lines(poll.elsewhere))
            for line in poll_lines(poll):
                click.echo(line, err=True)
    return Exit.STOPPED if poll is not None and poll.stopped is not None else Exit.DONE
