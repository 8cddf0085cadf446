"""`send --test-customer`: shows one text, asks, and says what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.runs.runner import Start
    from batchsend.runs.trial import Trial

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
    start: Start, test_customer: str, row: int | None, *, sandbox: bool, asked: Callable[[int], bool] | None,
    quiet: bool,
) -> Exit:  # fmt: skip
    """Sends one test. `asked`: asks for the number of texts to be typed; `None` where nobody is asked."""
    from batchsend.cli import progress
    from batchsend.cli.text.plan import trial_lines, trial_report_lines
    from batchsend.runs.trial import rehearse_trial, send_trial

    def confirm(trial: Trial) -> bool:
        if not quiet or asked is not None:
            _echo(trial_lines(trial, rehearsal=sandbox))
        return asked is None or asked(1)

    action = rehearse_trial if sandbox else send_trial
    with progress.lines(1, lambda line: click.echo(line, err=True)) as listener:
        report = action(start, test_customer, row, confirm=confirm, listener=listener)
    _echo(trial_report_lines(report))
    return report.exit


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
