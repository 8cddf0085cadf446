"""`batchsend lookup`: finds the customers' ids by DMS number, VIN or phone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsend.cli.options import FILE, echo_lines, echo_wait, ledger_option, list_option, region_option
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.sending.pacing import Pause


@click.command(short_help="Find customers' ids by DMS number, VIN or phone.")
@click.argument("target", metavar="CAMPAIGN|LIST", type=FILE)
@click.option("--department", metavar="UUID", help="The department's id, if TARGET is a list.")
@list_option
@click.option("--customer-key", metavar="COLUMN", help="The column with the customer number of the DMS.")
@click.option("--vin", metavar="COLUMN", help="The column with the VIN.")
@click.option("--phone", multiple=True, metavar="COLUMN", help="A column with phones; can be repeated.")
@click.option("--last-name", metavar="COLUMN", help="The column with the last name.")
@click.option("--out", type=FILE, metavar="PATH", help="Where to write the new list (.xlsx or .csv).")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="R", help="Requests per second.")
@region_option
@ledger_option
def lookup(
    target: Path,
    department: str | None,
    list_: Path | None,
    out: Path | None,
    rate: float | None,
    region: str,
    ledger: str | None,
    **columns: Any,
) -> Exit:
    """Find the customers' ids by DMS number, VIN or phone, and write the list again with them.

    Columns are found by their headers; name them if they are not. Answers are kept for 30 days, so an interrupted
    look-up continues where it was. It only reads from myKaarma.
    """
    from pydantic import ValidationError

    from batchsend.campaigns.tables import Lookup
    from batchsend.cli.text.lookup import report_lines, start_line
    from batchsend.ledger.opening import open_ledger
    from batchsend.runs.list_lookup import look_up_list
    from batchsend.runs.lookup_target import of_campaign, of_list

    try:
        named = Lookup(**{name: value for name, value in columns.items() if value})
    except ValidationError as error:
        raise click.UsageError("Name each column once, by its header.") from error
    if target.suffix.lower() == ".toml":
        if department is not None:
            raise click.UsageError("--department is for a list; a campaign names its department.")
        found = of_campaign(target, named, list_=list_, rate=rate, ledger=ledger)
    else:
        if list_ is not None:
            raise click.UsageError("--list is for a campaign.")
        found = of_list(target, named, department=department, region=region, rate=rate, ledger=ledger)
    path = out.absolute() if out is not None else found.usual_output
    with ExitStack() as stack:
        kept = open_ledger(found.ledger_url)
        stack.callback(kept.close)
        found.check_output(path, kept)
        click.echo(start_line(found))
        with _progress():
            report = look_up_list(found.lookup, path, found.reader(), found.pace, kept, _say_pause)
    echo_lines(report_lines(report, found))
    if report.problem is not None:
        return Exit.STOPPED
    return Exit.DONE if report.all_found else Exit.ATTENTION


def _say_pause(pause: Pause) -> None:
    echo_wait(pause.seconds, pause.reason)


@contextmanager
def _progress() -> Iterator[None]:
    """Shows on a terminal how far the look-up has come."""
    from batchsend.utils.progress import listening

    if not sys.stderr.isatty():
        yield
        return
    with (
        click.progressbar(length=1000, label="Looking up", file=sys.stderr) as bar,
        listening(lambda part: bar.update(round(part * 1000) - bar.pos)),
    ):
        yield
