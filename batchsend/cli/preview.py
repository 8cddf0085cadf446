"""`batchsend preview`: the dry run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsend.cli.options import (
    FILE,
    campaign_argument,
    echo_lines,
    echo_wait,
    ledger_option,
    limit_option,
    list_option,
    load_with,
    new_campaign_option,
    resend_option,
)
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.campaigns.campaign import Campaign
    from batchsend.planning.plan import Plan


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
    campaign: Campaign,
    out: Path | None = None,
    *,
    ledger: str | None,
    open_: bool = False,
    **options: Any,
) -> Exit:
    """Writes and shows the preview. `options`: fields of `StartOptions`."""
    from batchsend.cli.text.layout import shown_path
    from batchsend.cli.text.plan import first_message_lines, plan_lines
    from batchsend.planning.summarizer import summarize
    from batchsend.runs import api
    from batchsend.runs.start import StartOptions, planned, start_refusals
    from batchsend.statuses import Status

    start = api.prepare(campaign, StartOptions(**options), ledger=ledger)
    with planned(start, echo_wait) as plan:
        click.echo(f"{campaign.name}: preview, nothing is sent")
        summary = summarize(plan)
        echo_lines(plan_lines(summary))
        echo_lines(first_message_lines(summary))
        refusals = start_refusals(start, plan)
        files = _write_files(plan, out, refusals)
        invalid = bool(plan.counts.get(Status.INVALID))
        if invalid and "Preview" in files:
            click.echo("See the Problems sheet of the preview for what to do.")
        click.echo(summary.tally.sentence())
        for label, path in files.items():
            click.echo(f"{label}: {shown_path(path)}")
        if open_ and "Page" in files:
            _open_in_browser(files["Page"])
        for sentence in refusals:
            click.echo(f"`send` will be refused. {sentence}", err=True)
        if refusals:
            return Exit.REFUSED
        return Exit.ATTENTION if invalid else Exit.DONE


def _write_files(plan: Plan, out: Path | None, refusals: Sequence[str]) -> dict[str, Path]:
    """Writes the preview's workbook and page; returns those that could be written, by their labels."""
    from batchsend.errors import ResultsError
    from batchsend.reports.output_files import (
        check_output,
        inputs_of,
        preview_path,
        refuse_inputs,
        write_preview,
        write_preview_page,
    )

    files: dict[str, Path] = {}
    try:
        path = preview_path(plan.request.campaign, out)
        if out is not None:
            check_output(path.absolute())
        refuse_inputs(path, inputs_of(plan.request.campaign))
        files["Preview"] = write_preview(plan, path)
        files["Page"] = write_preview_page(plan, path.with_suffix(".html"), files["Preview"], refusals)
    except ResultsError as error:
        # In a read-only folder, the preview on the screen is still useful.
        if out is not None:
            raise
        click.echo(f"Couldn't write the preview; choose a folder with --out. {error}", err=True)
    return files


def _open_in_browser(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        click.echo("Couldn't start a browser. Open the page yourself.", err=True)
