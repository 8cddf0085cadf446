"""The commands about runs: stop one, write its results again, list runs, and show who got which texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsend.cli.options import (
    FILE,
    Choice,
    campaign_files,
    echo_lines,
    ledger_option,
    phone_of,
    region_option,
    target_argument,
)
from batchsend.statuses import Status

if TYPE_CHECKING:
    from batchsend.reports.into_list import ListCopy
    from batchsend.runs.lookup import Found


@click.command()
@target_argument
@ledger_option
def stop(target: str, ledger: str | None) -> None:
    """Stop a running campaign cleanly. Texts in flight are finished and recorded."""
    from batchsend.ledger.opening import open_ledger
    from batchsend.ledger.runs import overview
    from batchsend.runs.handover import stop_handed_over
    from batchsend.runs.lookup import find_run, is_running, state_of
    from batchsend.settings import os_user

    with find_run(target, ledger, open_ledger) as found:
        if is_running(found):
            found.ledger.request_stop(found.run.id, os_user())
            click.echo(
                f"Run {found.run.id} was asked to stop; texts in flight are finished and recorded first."
            )
        elif stop_handed_over(found.ledger, found.run.id, os_user()):
            click.echo(f"Run {found.run.id} was handed over to workers. They send nothing more of it.")
        else:
            [run] = overview(found.ledger, run_id=found.run.id)
            state = state_of(found.ledger, run)
            click.echo(f"Run {run.run_id} is not running; nothing to stop. Its state: {state.words}.")


@click.command()
@target_argument
@click.option("--out", type=FILE, metavar="PATH", help="Where to write them (.xlsx or .csv).")
@click.option(
    "--only",
    multiple=True,
    type=Choice([status.value for status in Status if status is not Status.READY]),
    metavar="STATUS",
    help="Only rows with this status; can be repeated.",
)
@click.option("--as-list", is_flag=True, help="Write a list: only the columns of the original list.")
@click.option(
    "--into-list",
    is_flag=True,
    help="Write a copy of the list's own workbook (.xlsx or .xlsm) with the results in new columns.",
)
@ledger_option
def results(
    target: str, out: Path | None, only: tuple[str, ...], as_list: bool, into_list: bool, ledger: str | None
) -> None:
    """Write the results of a run again."""
    from batchsend.cli.text.layout import shown_path
    from batchsend.cli.text.report import delivery_lines
    from batchsend.reports.output_files import check_output, write_run, write_run_as_list, write_run_page
    from batchsend.runs.lookup import find_run, results_file
    from batchsend.statuses import Tally

    if into_list and (only or as_list):
        raise click.UsageError(
            "--into-list writes a copy of the list with all its rows, so --only and --as-list cannot be used with it."
        )
    with find_run(target, ledger) as found:
        if out is not None:
            check_output(out.absolute(), found.ledger)
        notes: Sequence[str] = ()
        if into_list:
            written, notes = _write_into_list(found, out)
        else:
            # The copy of the list's own workbook is named without "all".
            name = ("all",) if as_list and not only else only
            path = out.absolute() if out is not None else results_file(found.run, name, as_list=as_list)
            write = write_run_as_list if as_list else write_run
            written = write(found.ledger, found.run, path, only or None)
        counts = found.ledger.counts(found.run.id)
        click.echo(Tally.of(counts).sentence())
        echo_lines(delivery_lines(counts))
        click.echo(f"{'List' if as_list or into_list else 'Results'}: {shown_path(written)}")
        echo_lines(notes)
        if not (as_list or into_list or only):
            page = write_run_page(found.ledger, found.run, path.with_suffix(".html"), written)
            click.echo(f"Report: {shown_path(page)}")


def _write_into_list(found: Found, out: Path | None) -> ListCopy:
    from batchsend.errors import ResultsError
    from batchsend.reports.into_list import find_list, write_into_list
    from batchsend.runs.lookup import results_file

    try:
        source = find_list(found.ledger, found.run)
    except ResultsError as error:
        raise ResultsError(
            f"{error} Without --into-list, the results get a workbook of their own."
        ) from error
    path = (
        out.absolute() if out is not None else results_file(found.run, (), as_list=True, ending=source.ending)
    )
    return write_into_list(found.ledger, found.run, source, path)


@click.command()
@click.argument("campaign", required=False, type=FILE, shell_complete=campaign_files)
@ledger_option
def runs(campaign: Path | None, ledger: str | None) -> None:
    """List runs: when, by whom and with which counts."""
    from batchsend.campaigns.file import load_campaign
    from batchsend.cli.text.report import ShownRun, run_lines
    from batchsend.ledger.approvals import approvals_of
    from batchsend.ledger.replies import reply_counts
    from batchsend.ledger.runs import overview
    from batchsend.planning.cost import costs_of_runs
    from batchsend.runs.lookup import find_ledger, report_pages, state_of

    with find_ledger(campaign, ledger) as found:
        name = load_campaign(campaign).name if campaign is not None else None
        listed = overview(found, name)
        numbers = [run.run_id for run in listed]
        pages, approvals = report_pages(found, numbers), approvals_of(found, numbers)
        replies, costs = reply_counts(found, numbers), costs_of_runs(found, numbers)
        shown = [
            ShownRun(
                run,
                state_of(found, run),
                pages.get(run.run_id),
                approvals.get(run.run_id, ()),
                replies.get(run.run_id),
                costs.get(run.run_id),
            )
            for run in listed
        ]
        echo_lines(run_lines(shown))


@click.command()
@click.option("--customer", metavar="UUID", help="Texts to this customer.")
@click.option("--phone", metavar="NUMBER", help="Texts to this phone number, where the list named it.")
@region_option
@ledger_option
def history(customer: str | None, phone: str | None, region: str, ledger: str | None) -> None:
    """Show who got which texts, when, and what they replied. It covers all campaigns of the ledger."""
    from batchsend.cli.text.ledger import attempt_lines, opt_out_lines
    from batchsend.cli.text.replies import reply_lines
    from batchsend.ledger.attempts import of_customer, of_phone
    from batchsend.ledger.optouts import opt_outs_of
    from batchsend.ledger.replies import replies_of
    from batchsend.runs.lookup import find_ledger

    if (customer is None) == (phone is None):
        raise click.UsageError("Name a customer with --customer, or a phone number with --phone.")
    number = phone_of(phone, region)
    with find_ledger(None, ledger) as found:
        attempts = of_customer(found, customer) if customer is not None else of_phone(found, number)
        echo_lines(attempt_lines(attempts, customer or number))
        echo_lines(reply_lines(replies_of(found, customer_uuid=customer, phone=number or None)))
        entries = list(opt_outs_of(found, customer_uuid=customer, phone=number or None))
        if entries:
            click.echo("Opt-outs:")
            echo_lines(opt_out_lines(entries))
