"""The command that looks for texts whose outcome is unknown."""

from __future__ import annotations

import click

from batchsend.cli.options import echo_lines, ledger_option, target_argument
from batchsend.exits import Exit


@click.command()
@target_argument
@ledger_option
def settle(target: str, ledger: str | None) -> Exit:
    """Look in myKaarma for the texts of `unconfirmed` rows.

    Rows whose text is there become accepted, delivered or undelivered. It sends nothing.
    """
    from batchsend.cli.text.layout import shown_path
    from batchsend.cli.text.report import settlement_lines
    from batchsend.ledger.opening import open_ledger
    from batchsend.reports.output_files import write_run, write_run_page
    from batchsend.runs.lookup import find_run, results_file
    from batchsend.runs.settle import settle_run
    from batchsend.statuses import Tally

    with find_run(target, ledger, open_ledger) as found:
        settlement = settle_run(found)
        echo_lines(settlement_lines(settlement))
        click.echo(Tally.of(found.ledger.counts(found.run.id)).sentence())
        if settlement.unknown:
            path = results_file(found.run, (), as_list=False)
            written = write_run(found.ledger, found.run, path, None)
            click.echo(f"Results: {shown_path(written)}")
            page = write_run_page(found.ledger, found.run, path.with_suffix(".html"), written)
            click.echo(f"Report: {shown_path(page)}")
    return settlement.exit
