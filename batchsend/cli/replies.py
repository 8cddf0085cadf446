"""The command that shows what customers replied."""

from __future__ import annotations

import click

from batchsend.cli.options import echo_lines, ledger_option


@click.command()
@click.argument("target", metavar="CAMPAIGN|RUN")
@ledger_option
def replies(target: str, ledger: str | None) -> None:
    """Show what customers replied to the texts of a campaign or a run.

    Replies that need a person come first.
    """
    from batchsend.cli.text.replies import reply_lines
    from batchsend.ledger.replies import replies_to
    from batchsend.runs.lookup import find_run

    with find_run(target, ledger) as found:
        listed = replies_to(found.ledger, found.run_ids)
        echo_lines(reply_lines(listed))
        if not listed:
            click.echo("No replies yet.")
