"""`batchsend send`: shows the plan, asks, shows progress and reports; also a test text to one customer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsend.cli.options import (
    FILE,
    Choice,
    campaign_argument,
    confirm_number,
    echo_lines,
    echo_wait,
    ledger_option,
    limit_option,
    list_option,
    load_with,
    new_campaign_option,
    resend_option,
    without_collections,
)
from batchsend.cli.preview import preview, run_preview
from batchsend.exits import Exit
from batchsend.utils.wording import text_count

if TYPE_CHECKING:
    from batchsend.planning.plan import Plan
    from batchsend.runs.report import Report
    from batchsend.runs.start import Start
    from batchsend.runs.trial import Trial
    from batchsend.sending.sender import Event

#: Parameters that go with `--test-customer`; the others are about whole runs and would have no effect.
_WITH_TEST = {
    "campaign",
    "ledger",
    "list_",
    "new_campaign",
    "quiet",
    "row",
    "sandbox",
    "test_customer",
    "yes",
}
#: Parameters that go with `--dry-run`.
_WITH_DRY_RUN = {"dry_run", "yes"} | {parameter.name for parameter in preview.params}


@click.command()
@campaign_argument
@click.option("--yes", is_flag=True, help="Send without asking; required without a terminal.")
@limit_option
@click.option(
    "--expect", type=click.IntRange(0), metavar="N", help="Send nothing unless exactly N texts would be sent."
)
@list_option
@click.option("--rate", type=float, metavar="R", help="Requests per second, instead of the campaign's.")
@click.option("--concurrency", type=int, metavar="N", help="Requests in flight at a time.")
@click.option("--results", type=FILE, metavar="PATH", help="Where to write the results (.xlsx or .csv).")
@click.option("--sandbox", is_flag=True, help="Full run against a stand-in; nothing is recorded.")
@click.option("--strict", is_flag=True, help="Send nothing if any row is invalid.")
@resend_option
@new_campaign_option
@click.option("--wait", is_flag=True, help="Keep running until quiet hours end, then send the rest.")
@click.option("--detach", is_flag=True, help="Hand the run over to workers and exit (PostgreSQL ledger).")
@click.option("--settle", is_flag=True, help="At the end, look in myKaarma for `unconfirmed` texts.")
@ledger_option
@click.option("--quiet", is_flag=True, help="Print only the summary line and where the results are.")
@click.option(
    "--log-format",
    type=Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one object per line on standard error, and one at the end on standard output.",
)
@click.option(
    "--test-customer",
    metavar="UUID",
    help="Send one row's text to this customer's preferred number as a test; it isn't recorded.",
)
@click.option(
    "--row",
    type=click.IntRange(2),
    metavar="N",
    help="With --test-customer: which row's text to send (default: first).",
)
@click.option("--dry-run", is_flag=True, help="Same as `batchsend preview`.")
def send(
    campaign: Path,
    yes: bool,
    list_: Path | None,
    rate: float | None,
    concurrency: int | None,
    results: Path | None,
    sandbox: bool,
    ledger: str | None,
    quiet: bool,
    log_format: str,
    test_customer: str | None,
    row: int | None,
    dry_run: bool,
    **options: Any,
) -> Exit:
    """Send a campaign, or resume an interrupted run."""
    check_test_options(test_customer, row)
    if dry_run:
        _refuse_others(
            _WITH_DRY_RUN, "--dry-run is `batchsend preview`, which has no {option}: leave it out."
        )
        return run_preview(load_with(campaign, list=list_), ledger=ledger, **options)
    asks = not yes
    if asks and (log_format == "json" or not sys.stdin.isatty()):
        raise click.UsageError("There is no terminal to ask on. Add --yes to send without a question.")

    with without_collections():
        from batchsend.runs import api, runner
        from batchsend.runs.start import StartOptions

    def prepare() -> Start:
        loaded = load_with(campaign, list=list_, rate=rate, concurrency=concurrency)
        given = StartOptions(
            **options,
            unattended=not sys.stdin.isatty(),
            results=results.absolute() if results else None,
        )
        return api.prepare(loaded, given, ledger=ledger)

    if test_customer is not None:
        return run_trial(prepare(), test_customer, row, sandbox=sandbox, asks=asks, quiet=quiet)
    if sandbox and options["detach"]:
        raise click.UsageError("A rehearsal has no workers: leave --detach or --sandbox out.")
    if options["settle"] and (sandbox or options["detach"]):
        other = "--sandbox" if sandbox else "--detach"
        raise click.UsageError(
            f"--settle looks for texts when they have been sent, and {other} ends before: leave one of them out."
        )
    action = runner.rehearse if sandbox else partial(runner.send, ask=_ask_whether_to_stop())
    if log_format == "json":
        from batchsend.cli.json_log import run_as_job

        return Exit(run_as_job(prepare, action))
    return _run(prepare(), action, asks=asks, quiet=quiet)


def _run(start: Start, action: Callable[..., Report], *, asks: bool, quiet: bool) -> Exit:
    """Shows the plan, asks if needed, then shows progress and the report."""
    from batchsend.cli.text.plan import first_message_lines, plan_lines
    from batchsend.cli.text.report import closing_lines, report_lines
    from batchsend.planning.summarizer import summarize
    from batchsend.runs import runner

    rehearsal = action is runner.rehearse
    progress = _Progress(quiet=quiet)

    def confirm(plan: Plan) -> bool:
        if not quiet or asks:
            what = "rehearsal, no text goes out" if rehearsal else "about to send"
            click.echo(f"{start.campaign.name}: {what}")
            summary = summarize(plan)
            echo_lines(plan_lines(summary, rehearsal=rehearsal))
            if asks or sys.stdout.isatty():
                echo_lines(first_message_lines(summary))
        if asks and not _confirmed(plan.texts, rehearsal=rehearsal):
            return False
        progress.begin(plan.texts)
        return True

    try:
        report = action(start, confirm=confirm, listener=progress.listen)
    finally:
        progress.end()
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
            return
        from batchsend.sending.pacing import Pause

        if isinstance(event, Pause) and not self._quiet:
            echo_wait(event.seconds, event.reason)

    def end(self) -> None:
        self._display.close()


def _confirmed(texts: int, *, rehearsal: bool) -> bool:
    return confirm_number(texts, f"{'rehearse' if rehearsal else 'send'} {text_count(texts)}")


def check_test_options(test_customer: str | None, row: int | None) -> None:
    """Raises `click.UsageError` if the current command's options do not fit a test."""
    if row is not None and test_customer is None:
        raise click.UsageError("--row names the row for a test: add --test-customer UUID.")
    if test_customer is not None:
        _refuse_others(_WITH_TEST, "--test-customer sends one text and no run: leave {option} out.")


def _refuse_others(allowed: Collection[str], message: str) -> None:
    """Raises `click.UsageError` if an option of the command line is not `allowed`: it would have no effect."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name not in allowed:
            raise click.UsageError(message.format(option=parameter.opts[0]))


def run_trial(
    start: Start, test_customer: str, row: int | None, *, sandbox: bool, asks: bool, quiet: bool
) -> Exit:
    """Sends one test text."""
    from batchsend.cli import progress
    from batchsend.cli.text.plan import trial_lines
    from batchsend.cli.text.report import trial_report_lines
    from batchsend.runs.trial import send_trial

    def confirm(trial: Trial) -> bool:
        if not quiet or asks:
            echo_lines(trial_lines(trial, rehearsal=sandbox))
        return not asks or _confirmed(1, rehearsal=sandbox)

    with progress.lines(1) as listener:
        report = send_trial(start, test_customer, row, confirm=confirm, listener=listener, rehearsal=sandbox)
    echo_lines(trial_report_lines(report))
    return report.exit


def _ask_whether_to_stop() -> Callable[[list[str]], bool] | None:
    """The question at Ctrl-C whether the whole run should stop; `None` without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(workers: list[str]) -> bool:
        others = "A worker is" if len(workers) == 1 else f"{len(workers)} workers are"
        click.echo(
            f"\n{others} sending this run too ({', '.join(workers)}). Type `leave` to leave the run to them; "
            f"anything else stops it. Ctrl-C again ends this command immediately.",
            err=True,
        )
        return sys.stdin.readline().strip().lower() != "leave"

    return ask
