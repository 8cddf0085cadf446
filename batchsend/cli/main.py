"""The command line: asks and shows, with no rules of its own. Heavy libraries load inside the commands only."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchsend import cli_trial
from batchsend._version import __version__
from batchsend.cli import (
    cluster as cli_cluster,
)
from batchsend.cli import (
    ledger as cli_ledger,
)
from batchsend.cli import (
    services as cli_services,
)
from batchsend.cli import (
    web as cli_web,
)
from batchsend.cli.options import ledger_option
from batchsend.errors import BatchsendError
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.campaigns.campaign import Campaign
    from batchsend.planning.plan import Plan
    from batchsend.runs.runner import Report, Start
    from batchsend.sending.sender import Event

F = TypeVar("F", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)

campaign_argument = click.argument("campaign", type=_PATH)
list_option = click.option("--list", "list_", type=_PATH, help="This list instead of the campaign's.")
new_campaign_option = click.option(
    "--new-campaign", is_flag=True, help="Start without the history that this file has under another name."
)
limit_option = click.option(
    "--limit", type=click.IntRange(0), metavar="N", help="At most N texts; the others wait for another start."
)
resend_option = click.option(
    "--resend", metavar="WHAT", help="Send again what is 'failed', 'unconfirmed', or has this error code."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batchsend")
def cli() -> None:
    """Text a list of customers, each with their own message, through myKaarma.

    \b
    A first campaign:
      batchsend new spring          a campaign, a template and a list to start from
      batchsend preview spring.toml what would go to whom, and what is wrong
      batchsend send spring.toml --sandbox    a rehearsal: nobody gets a text
      batchsend send spring.toml --limit 10   the first ten, for real
      batchsend send spring.toml    the rest
    """


@cli.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a campaign, a template and a list to start from. Nothing is ever overwritten."""
    from batchsend.campaigns.sample import write_sample

    files = write_sample(name, Path.cwd())
    for file in files:
        click.echo(f"wrote {file.relative_to(Path.cwd())}")
    click.echo(f"Next: open {files[0].name}, then: batchsend preview {files[0].name}")


@cli.command()
@campaign_argument
@click.option("--out", type=_PATH, metavar="DIR", help="Where the preview goes, instead of previews/.")
@click.option("--open", "open_", is_flag=True, help="Show the page in the browser.")
@list_option
@ledger_option
@limit_option
@resend_option
@new_campaign_option
def preview(campaign: Path, out: Path | None, open_: bool, list_: Path | None, **options: Any) -> Exit:
    """The dry run: check and render everything, send nothing."""
    return _preview(_load(campaign, list=list_), out, open_=open_, **options)


@cli.command()
@campaign_argument
@click.option("--yes", is_flag=True, help="Send without asking; needed where there is no terminal.")
@limit_option
@click.option(
    "--expect", type=click.IntRange(0), metavar="N", help="Send nothing unless it is exactly N texts."
)
@list_option
@click.option("--rate", type=float, metavar="R", help="Requests a second, instead of the campaign's.")
@click.option("--concurrency", type=int, metavar="N", help="Requests under way at once.")
@click.option("--results", type=_PATH, metavar="PATH", help="Where the results go (.xlsx or .csv).")
@click.option("--sandbox", is_flag=True, help="A rehearsal: everything is real but myKaarma and the ledger.")
@click.option("--strict", is_flag=True, help="Send nothing if any row is invalid.")
@resend_option
@new_campaign_option
@click.option("--wait", is_flag=True, help="Stay until quiet hours end, and send the rest then.")
@click.option("--detach", is_flag=True, help="Hand the run over to workers, and leave (PostgreSQL ledger).")
@ledger_option
@click.option("--quiet", is_flag=True, help="Only the summary line and where the results are.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: an object a line on standard error, one for the end on standard output.",
)
@cli_trial.test_customer_option
@cli_trial.row_option
@click.option("--dry-run", is_flag=True, help="The same as preview.")
def send(
    campaign: Path, yes: bool, expect: int | None, list_: Path | None, rate: float | None,
    concurrency: int | None, sandbox: bool, strict: bool, quiet: bool, log_format: str, dry_run: bool,
    results: Path | None, test_customer: str | None, row: int | None, **options: Any,
) -> Exit:  # fmt: skip
    """Send a campaign, or go on with what was interrupted."""
    cli_trial.check_test_options(test_customer, row)
    if dry_run:
        cli_trial.check_dry_run_options()
        del options["wait"], options["detach"]
        return _preview(_load(campaign, list=list_), None, **options)
    asks = not yes
    if asks and (log_format == "json" or not sys.stdin.isatty()):
        raise click.UsageError("There is no terminal to ask on. Add --yes to send without a question.")

    from batchsend.runs import api as actions
    from batchsend.runs import runner

    def prepare() -> Start:
        loaded = _load(campaign, list=list_, rate=rate, concurrency=concurrency)
        guards = runner.Guards(strict=strict, expect=expect, unattended=not sys.stdin.isatty())
        target = results.absolute() if results else None
        return actions.prepare(loaded, results=target, guards=guards, **options)

    if test_customer is not None:
        asked = partial(_asked, rehearsal=sandbox) if asks else None
        return cli_trial.run_trial(prepare(), test_customer, row, sandbox=sandbox, asked=asked, quiet=quiet)
    if sandbox and options["detach"]:
        raise click.UsageError("A rehearsal has no workers: leave --detach or --sandbox out.")
    action = runner.rehearse if sandbox else partial(runner.send, ask=cli_cluster.ask_whether_to_stop())
    if log_format == "json":
        from batchsend.cli.json_log import run_as_job

        return Exit(run_as_job(prepare, action, partial(click.echo, err=True), click.echo))
    return _run(prepare(), action, asks=asks, quiet=quiet)


def _preview(campaign: Campaign, out: Path | None, *, open_: bool = False, **options: Any) -> Exit:
    from batchsend.cli.text.plan import first_message_lines, plan_lines, shown_path, tally_line
    from batchsend.errors import ResultsError
    from batchsend.ledger.opening import check_ledger_place
    from batchsend.reports.output_files import preview_path, write_preview, write_preview_page
    from batchsend.runs import api as actions
    from batchsend.runs import runner
    from batchsend.statuses import Status

    start = actions.prepare(campaign, **options)
    refused: list[str] = []
    try:
        check_ledger_place(start.ledger_url)
        runner.refuse_sample_ids(campaign)
    except BatchsendError as error:
        refused.append(str(error))
    with runner.planned(start) as plan:
        click.echo(f"{campaign.name}: preview, nothing is sent")
        _echo(plan_lines(plan))
        _echo(first_message_lines(plan))
        refused += runner.guard_refusals(plan)
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
        return Exit.LOOK if plan.counts.get(Status.INVALID) else Exit.DONE


def _run(start: Start, action: Callable[..., Report], *, asks: bool, quiet: bool) -> Exit:
    """Shows the plan, asks where it must, shows progress and the report."""
    from batchsend.cli.text.plan import closing_lines, first_message_lines, plan_lines, report_lines
    from batchsend.runs import runner

    rehearsal = action is runner.rehearse
    shown = _Progress(quiet=quiet)

    def confirm(plan: Plan) -> bool:
        if not quiet or asks:
            click.echo(
                f"{start.campaign.name}: {'rehearsal, nobody gets a text' if rehearsal else 'about to send'}"
            )
            _echo(plan_lines(plan, rehearsal=rehearsal))
            if asks or sys.stdout.isatty():
                _echo(first_message_lines(plan))
        if asks and not _asked(plan.texts, rehearsal=rehearsal):
            return False
        shown.begin(plan.texts)
        return True

    try:
        report = action(start, confirm=confirm, listener=shown.listen)
    finally:
        shown.end()
    _echo(closing_lines(report) if quiet else report_lines(report))
    return report.exit


class _Progress:
    """The progress display, from the answered question to the last outcome."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._display: AbstractContextManager[Callable[[Event], None]] | None = None
        self._listener: Callable[[Event], None] | None = None

    def begin(self, total: int) -> None:
        if self._quiet:
            return
        from batchsend.cli import progress

        if sys.stderr.isatty():
            self._display = progress.bar(total)
        else:
            self._display = progress.lines(total, lambda line: click.echo(line, err=True))
        self._listener = self._display.__enter__()

    def listen(self, event: Event) -> None:
        if self._listener is not None:
            with _whoever_reads():
                self._listener(event)

    def end(self) -> None:
        if self._display is not None:
            with _whoever_reads():
                self._display.__exit__(None, None, None)
            self._display = None


@contextmanager
def _whoever_reads() -> Iterator[None]:
    """Where nobody reads any more (a closed terminal, `| head`), a run that has begun goes on in silence."""
    try:
        yield
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_in_browser(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        click.echo("No browser could be started here. Open the page yourself.", err=True)


def _asked(texts: int, *, rehearsal: bool) -> bool:
    what = "rehearse" if rehearsal else "send"
    try:
        answer = click.prompt(
            f"Type {texts} to {what} {texts:,} {'text' if texts == 1 else 'texts'}, anything else to stop",
            default="", show_default=False,
        )  # fmt: skip
    except click.Abort:
        click.echo()
        return False
    return str(answer).strip().replace(",", "") == str(texts)


@cli.command()
@click.argument("target", metavar="CAMPAIGN|RUN")
@ledger_option
def stop(target: str, ledger: str | None) -> None:
    """Let a running run stop as Ctrl-C would: what is in flight is finished."""
    from batchsend.ledger.opening import open_ledger
    from batchsend.runs.lookup import find_run, is_running

    with find_run(target, ledger, open_ledger) as found:
        if is_running(found):
            found.ledger.request_stop(found.run.id)
            click.echo(f"Run {found.run.id} was asked to stop; what is on its way is finished and recorded.")
        else:
            click.echo(f"Run {found.run.id} is not running. Nothing to stop.")


@cli.command()
@click.argument("target", metavar="CAMPAIGN|RUN")
@click.option("--out", type=_PATH, metavar="PATH", help="Where to write (.xlsx or .csv).")
@click.option("--only", multiple=True, metavar="STATUS", help="Only rows of this status; may be repeated.")
@click.option("--as-list", is_flag=True, help="A list again: only the list's own columns.")
@ledger_option
def results(target: str, out: Path | None, only: tuple[str, ...], as_list: bool, ledger: str | None) -> None:
    """Write the results of a run again."""
    from batchsend.cli.text.plan import delivery_lines, shown_path
    from batchsend.reports.output_files import write_run, write_run_as_list, write_run_page
    from batchsend.runs.lookup import find_run, results_file
    from batchsend.statuses import Status, Tally

    unknown = [status for status in only if status not in set(Status) - {Status.READY}]
    if unknown:
        raise click.BadParameter(
            f"{unknown[0]} is not a status. There are: {', '.join(s for s in Status if s is not Status.READY)}.",
            param_hint="--only",
        )
    with find_run(target, ledger) as found:
        path = out.absolute() if out is not None else results_file(found.run, only, as_list=as_list)
        write = write_run_as_list if as_list else write_run
        written = write(found.ledger, found.run, path, only or None)
        counts = found.ledger.counts(found.run.id)
        click.echo(Tally.of(counts).sentence())
        _echo(delivery_lines(counts))
        click.echo(f"{'List' if as_list else 'Results'}: {shown_path(written)}")
        if not (as_list or only):
            page = write_run_page(found.ledger, found.run, path.with_suffix(".html"), written)
            click.echo(f"Report: {shown_path(page)}")


cli.add_command(cli_ledger.runs)
cli.add_command(cli_ledger.history)
cli.add_command(cli_ledger.optouts)
cli.add_command(cli_ledger.purge)


@cli.command()
def schema() -> None:
    """Print the campaign file's JSON Schema, for editors."""
    import json

    from batchsend.campaigns.json_schema import campaign_schema

    click.echo(json.dumps(campaign_schema(), indent=2, ensure_ascii=False))


cli.add_command(cli_services.sandbox)
cli.add_command(cli_services.callbacks)
cli.add_command(cli_services.schedule)
cli.add_command(cli_web.web)
cli.add_command(cli_web.web_users)
cli.add_command(cli_cluster.worker)
cli.add_command(cli_cluster.ledger)


def _load(path: Path, **overrides: Any) -> Campaign:
    from batchsend.runs.api import load_campaign

    given = {name: value for name, value in overrides.items() if value is not None}
    campaign = load_campaign(path)
    return campaign.with_overrides(**given) if given else campaign


def _defect(error: Exception) -> int:
    """A mistake of the program's own: says so, and keeps the traceback for those who ask for it."""
    if os.environ.get("BATCHSEND_DEBUG"):
        raise error
    click.echo(
        f"batchsend made a mistake of its own ({type(error).__name__}). What was sent until now is recorded; running "
        f"the same command again texts nobody twice. Please report it with the lines that appear when you run it "
        f"with BATCHSEND_DEBUG=1 set.",
        err=True,
    )
    return Exit.STOPPED


def _echo(lines: Any) -> None:
    for line in lines:
        click.echo(line)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; whatever a user can put right is said in a sentence."""
    # Before the first text SIGTERM ends a command as Ctrl-C does; while sending, the runner takes both over.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = cli.main(list(arguments), prog_name="batchsend", standalone_mode=False)
    except BatchsendError as error:
        click.echo(str(error), err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.REFUSED
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever else happens, a user gets a sentence
        return _defect(error)
    return int(result or 0)
