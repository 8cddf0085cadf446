"""The command line: puts the commands together and turns errors into exit codes.

Commands import heavy libraries in their functions, so that `--help` is fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from batchsend.cli import completion, json_log
from batchsend.cli.approve import approve
from batchsend.cli.campaigns import new, schema
from batchsend.cli.hours import hours
from batchsend.cli.ledger import ledger, purge
from batchsend.cli.lookup import lookup
from batchsend.cli.optouts import optouts
from batchsend.cli.preview import preview
from batchsend.cli.replies import replies
from batchsend.cli.runs import history, results, runs, stop
from batchsend.cli.send import send
from batchsend.cli.services import callbacks, sandbox, schedule, worker
from batchsend.cli.settle import settle
from batchsend.cli.web import web, web_users
from batchsend.errors import BatchsendError, system_sentence
from batchsend.exits import Exit
from batchsend.utils.signals import was_interrupted
from batchsend.utils.streams import output_problem
from batchsend.utils.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batchsend")
def cli() -> None:
    """Text a list of customers, each with their own message, through myKaarma.

    \b
    A first campaign:
      batchsend new spring                   a campaign, a template and a list to start from
      batchsend preview spring.toml          see every text, and what is wrong with the list
      batchsend send spring.toml --sandbox   full run against a stand-in; nothing is sent
      batchsend send spring.toml --limit 10  send the first ten texts
      batchsend send spring.toml             send the rest
    """


for _command in (
    new,
    preview,
    send,
    approve,
    stop,
    results,
    lookup,
    settle,
    replies,
    runs,
    history,
    optouts,
    purge,
    schema,
    hours,
    sandbox,
    callbacks,
    schedule,
    web,
    web_users,
    worker,
    ledger,
    completion.completion,
):
    cli.add_command(_command)


#: Errors that are no bugs.
_EXPECTED = (BatchsendError, click.ClickException, click.Abort, KeyboardInterrupt, OSError)
#: Commands that run until they are stopped: stopping one while it starts is no failure either.
_SERVICES = ("callbacks", "sandbox", "schedule", "web", "worker")


def _check_output(command: str, code: int) -> int:
    """Makes a command fail whose output is incomplete, as on a full disk. A reader may go away, as `head` does."""
    problem = output_problem()
    if problem is None or command in ("send", *_SERVICES):
        return code
    click.echo(f"The output is incomplete: {problem.strerror}. Make room and run this again.", err=True)
    return code or Exit.STOPPED


def _ending(error: BaseException, command: str) -> tuple[int, str]:
    """The exit code and the message of a command that ended with an error."""
    if isinstance(error, (click.Abort, KeyboardInterrupt)) or was_interrupted():
        return _interrupted(command)
    if isinstance(error, BatchsendError):
        return error.exit_code, error.with_notes
    if isinstance(error, click.ClickException):
        return Exit.REFUSED, error.format_message()
    if isinstance(error, OSError):
        return Exit.STOPPED if command in _SERVICES else Exit.REFUSED, _system_problem(error)
    return Exit.STOPPED, (
        f"This is a bug in batchsend ({type(error).__name__}). Everything sent so far is recorded; running the same "
        f"command again texts nobody twice. Please report the bug, with the output of this command when "
        f"BATCHSEND_DEBUG=1 is set."
    )


def _interrupted(command: str) -> tuple[int, str]:
    """The end of a command by Ctrl-C or SIGTERM. `send` finishes by itself once texts may have left."""
    if command in _SERVICES:
        return Exit.DONE, "Stopped."
    return Exit.INTERRUPTED, "Interrupted before the first text." if command == "send" else "Interrupted."


def _system_problem(error: OSError) -> str:
    try:
        Path.cwd()
    except FileNotFoundError:
        return (
            "The current folder was deleted or moved. Change to another folder with `cd` and run this again."
        )
    return f"{system_sentence(error)} Correct that and run this again."


def _report_error(error: BaseException, arguments: Sequence[str], command: str) -> int:
    """Prints an error as a sentence, or as JSON where the log is JSON, and returns the exit code."""
    exit_code, message = _ending(error, command)
    if json_log.is_wanted(arguments):
        return json_log.end_job(exit_code, message)
    if isinstance(error, click.ClickException):
        error.show()
        return exit_code
    if exit_code == Exit.INTERRUPTED and sys.stderr.isatty():
        click.echo(err=True)  # ends the line on which the terminal shows ^C
    click.echo(message, err=True)
    return exit_code


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code. Prints errors as sentences, without a traceback."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    try:
        if asked := os.environ.get(completion.VARIABLE):
            return completion.answer(cli, asked)
        with cli.make_context("batchsend", list(arguments)) as context:
            exit_code = int(cli.invoke(context) or 0)
    except click.exceptions.Exit as ended:
        exit_code = ended.exit_code
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("BATCHSEND_DEBUG") and not isinstance(error, _EXPECTED):
            raise
        return _report_error(error, arguments, command)
    return _check_output(command, exit_code)
