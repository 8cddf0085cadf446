"""`batchsend preview`: the dry run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsend.cli.options import (
    FILE,
    campaign_argument,
    echo_lines,
    ledger_option,
    limit_option,
    list_option,
    load_with,
    new_campaign_option,
    resend_option,
)
from batchsend.errors import BatchsendError
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.campaigns.campaign import Campaign


@click.command()
@campaign_argument
@click.option("--out", type=FILE, metavar="DIR", help="Where to write the preview, instead of previews/.")
@click.option("--open", "open_", is_flag=True, help="Open the page in the browser.")
@list_option
@ledger_option
@limit_option
@resend_option
@new_campaign_option
def preview(campaign: Path, out: Path | None, open_: bool, list_: Path | None, **options: Any) -> Exit:
    """Dry run: check and render everything, send nothing."""
    return run_preview(load_with(campaign, list=list_), out, open_=open_, **options)


def run_preview(
    campaign: Campaign, out: Path | None = None, *, ledger: str | None, open_: bool = False, **options: Any
) -> Exit:
    """Writes and shows the preview. `options`: fields of `StartOptions`."""
    from batchsend.cli.text.layout import shown_path
    from batchsend.cli.text.plan import first_message_lines, plan_lines, tally_line
    from batchsend.errors import ResultsError
    from batchsend.ledger.opening import check_ledger_place
    from batchsend.reports.output_files import preview_path, write_preview, write_preview_page
    from batchsend.runs import api
    from batchsend.runs.start import StartOptions, guard_refusals, planned, refuse_sample_ids
    from batchsend.statuses import Status

    start = api.prepare(campaign, StartOptions(**options), ledger=ledger)
    refused: list[str] = []
    try:
        check_ledger_place(start.ledger_url)
        refuse_sample_ids(campaign)
    except BatchsendError as error:
        refused.append(str(error))
    with planned(start) as plan:
        click.echo(f"{campaign.name}: preview, nothing is sent")
        echo_lines(plan_lines(plan))
        echo_lines(first_message_lines(plan))
        refused += guard_refusals(plan)
        page: Path | None = None
        workbook: Path | None = None
        try:
            path = preview_path(campaign, out)
            workbook = write_preview(plan, path)
            page = write_preview_page(plan, path.with_suffix(".html"), workbook, refused)
        except ResultsError as error:
            # In a folder where one may only look, what is on the screen is worth having.
            if out is not None:
                raise
            click.echo(f"There is no preview to open, --out names another folder for it. {error}", err=True)
        click.echo(tally_line(plan))
        if workbook is not None:
            click.echo(f"Preview: {shown_path(workbook)}")
        if page is not None:
            click.echo(f"Page: {shown_path(page)}")
            if open_:
                _open_in_browser(page)
        for sentence in refused:
            click.echo(f"`send` will be refused. {sentence}", err=True)
        if refused:
            return Exit.REFUSED
        return Exit.ATTENTION if plan.counts.get(Status.INVALID) else Exit.DONE


def _open_in_browser(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        click.echo("No browser could be started here. Open the page yourself.", err=True)
