"""`batchsend send`: shows the plan, asks, shows progress and says how it went; also a test to one customer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsend.cli.cluster import ask_whether_to_stop
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
from batchsend.cli.preview import run_preview
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.planning.plan import Plan
    from batchsend.runs.report import Report
    from batchsend.runs.start import Start
    from batchsend.runs.trial import Trial
    from batchsend.sending.sender import Event

test_customer_option = click.option(
    "--test-customer",
    metavar="UUID",
    help="A test to yourself: one row's text to this customer's preferred number; counts for nothing.",
)
row_option = click.option(
    "--row", type=click.IntRange(2), metavar="N", help="With --test-customer: the row, not the first one."
)
#: Options about whole runs; with a test, each of them would be passed over in silence.
_ABOUT_RUNS = (
    "limit",
    "expect",
    "resend",
    "results",
    "strict",
    "wait",
    "detach",
    "log_format",
    "dry_run",
    "rate",
    "concurrency",
)


@click.command()
@campaign_argument
@click.option("--yes", is_flag=True, help="Send without asking; needed where there is no terminal.")
@limit_option
@click.option(
    "--expect", type=click.IntRange(0), metavar="N", help="Send nothing unless it is exactly N texts."
)
@list_option
@click.option("--rate", type=float, metavar="R", help="Requests a second, instead of the campaign's.")
@click.option("--concurrency", type=int, metavar="N", help="Requests under way at once.")
@click.option("--results", type=FILE, metavar="PATH", help="Where the results go (.xlsx or .csv).")
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
@test_customer_option
@row_option
@click.option("--dry-run", is_flag=True, help="The same as preview.")
def send(
    campaign: Path,
    yes: bool,
    expect: int | None,
    list_: Path | None,
    rate: float | None,
    concurrency: int | None,
    sandbox: bool,
    strict: bool,
    quiet: bool,
    log_format: str,
    dry_run: bool,
    results: Path | None,
    test_customer: str | None,
    row: int | None,
    **options: Any,
) -> Exit:
    """Send a campaign, or go on with what was interrupted."""
    check_test_options(test_customer, row)
    if dry_run:
        check_dry_run_options()
        del options["wait"], options["detach"]
        return run_preview(load_with(campaign, list=list_), None, **options)
    asks = not yes
    if asks and (log_format == "json" or not sys.stdin.isatty()):
        raise click.UsageError("There is no terminal to ask on. Add --yes to send without a question.")

    from batchsend.runs import api, runner
    from batchsend.runs.start import StartGuards

    def prepare() -> Start:
        loaded = load_with(campaign, list=list_, rate=rate, concurrency=concurrency)
        guards = StartGuards(strict=strict, expect=expect, unattended=not sys.stdin.isatty())
        target = results.absolute() if results else None
        return api.prepare(loaded, results=target, guards=guards, **options)

    if test_customer is not None:
        asked = partial(_asked, rehearsal=sandbox) if asks else None
        return run_trial(prepare(), test_customer, row, sandbox=sandbox, asked=asked, quiet=quiet)
    if sandbox and options["detach"]:
        raise click.UsageError("A rehearsal has no workers: leave --detach or --sandbox out.")
    action = runner.rehearse if sandbox else partial(runner.send, ask=ask_whether_to_stop())
    if log_format == "json":
        from batchsend.cli.json_log import run_as_job
        from batchsend.cli.progress import say_on_standard_error

        return Exit(run_as_job(prepare, action, say_on_standard_error, click.echo))
    return _run(prepare(), action, asks=asks, quiet=quiet)


def _run(start: Start, action: Callable[..., Report], *, asks: bool, quiet: bool) -> Exit:
    """Shows the plan, asks where it must, shows progress and the report."""
    from batchsend.cli.text.plan import first_message_lines, plan_lines
    from batchsend.cli.text.report import closing_lines, report_lines
    from batchsend.runs import runner

    rehearsal = action is runner.rehearse
    shown = _Progress(quiet=quiet)

    def confirm(plan: Plan) -> bool:
        if not quiet or asks:
            click.echo(
                f"{start.campaign.name}: {'rehearsal, nobody gets a text' if rehearsal else 'about to send'}"
            )
            echo_lines(plan_lines(plan, rehearsal=rehearsal))
            if asks or sys.stdout.isatty():
                echo_lines(first_message_lines(plan))
        if asks and not _asked(plan.texts, rehearsal=rehearsal):
            return False
        shown.begin(plan.texts)
        return True

    try:
        report = action(start, confirm=confirm, listener=shown.listen)
    finally:
        shown.end()
    echo_lines(closing_lines(report) if quiet else report_lines(report))
    return report.exit


class _Progress:
    """The progress display, from the confirmation to the last outcome."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._display = ExitStack()
        self._listener: Callable[[Event], None] | None = None

    def begin(self, total: int) -> None:
        if self._quiet:
            return
        from batchsend.cli import progress

        display = progress.bar(total) if sys.stderr.isatty() else progress.lines(total)
        self._listener = self._display.enter_context(display)

    def listen(self, event: Event) -> None:
        if self._listener is not None:
            self._listener(event)

    def end(self) -> None:
        self._display.close()


def _asked(texts: int, *, rehearsal: bool) -> bool:
    what = "rehearse" if rehearsal else "send"
    try:
        answer = click.prompt(
            f"Type {texts} to {what} {texts:,} {'text' if texts == 1 else 'texts'}, anything else to stop",
            default="",
            show_default=False,
        )
    except click.Abort:
        click.echo()
        return False
    return str(answer).strip().replace(",", "") == str(texts)


def check_test_options(test_customer: str | None, row: int | None) -> None:
    """Raises `click.UsageError` where the current command's options cannot go together."""
    if row is not None and test_customer is None:
        raise click.UsageError("--row names the row for a test: add --test-customer UUID.")
    context = click.get_current_context()
    for name in _ABOUT_RUNS if test_customer is not None else ():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"--test-customer sends one text and no run: leave {option} out.")


def check_dry_run_options() -> None:
    """Raises `click.UsageError` where an option beside `--dry-run` would be passed over in silence."""
    context = click.get_current_context()
    for name in (
        "expect",
        "strict",
        "rate",
        "concurrency",
        "results",
        "sandbox",
        "quiet",
        "log_format",
        "wait",
        "detach",
    ):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"--dry-run is `batchsend preview`, which has no {option}: leave it out.")


def run_trial(
    start: Start,
    test_customer: str,
    row: int | None,
    *,
    sandbox: bool,
    asked: Callable[[int], bool] | None,
    quiet: bool,
) -> Exit:
    """Sends one test. `asked`: asks for the number of texts to be typed; `None` where nobody is asked."""
    from batchsend.cli import progress
    from batchsend.cli.text.plan import trial_lines
    from batchsend.cli.text.report import trial_report_lines
    from batchsend.runs.trial import rehearse_trial, send_trial

    def confirm(trial: Trial) -> bool:
        if not quiet or asked is not None:
            echo_lines(trial_lines(trial, rehearsal=sandbox))
        return asked is None or asked(1)

    action = rehearse_trial if sandbox else send_trial
    with progress.lines(1) as listener:
        report = action(start, test_customer, row, confirm=confirm, listener=listener)
    echo_lines(trial_report_lines(report))
    return report.exit
