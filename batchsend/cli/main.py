"""The command line: puts the commands together and turns errors into exit codes.

Commands import heavy libraries in their functions, so that `--help` is fast.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import click

from batchsend.cli.campaigns import new, schema
from batchsend.cli.ledger import ledger, purge
from batchsend.cli.optouts import optouts
from batchsend.cli.preview import preview
from batchsend.cli.runs import history, results, runs, stop
from batchsend.cli.send import send
from batchsend.cli.services import callbacks, sandbox, schedule, worker
from batchsend.cli.web import web, web_users
from batchsend.errors import BatchsendError
from batchsend.exits import Exit
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
    stop,
    results,
    runs,
    history,
    optouts,
    purge,
    schema,
    sandbox,
    callbacks,
    schedule,
    web,
    web_users,
    worker,
    ledger,
):
    cli.add_command(_command)


def _defect(error: Exception) -> int:
    """Reports a bug in batchsend. Shows the traceback only if `BATCHSEND_DEBUG` is set."""
    if os.environ.get("BATCHSEND_DEBUG"):
        raise error
    click.echo(
        f"This is a bug in batchsend ({type(error).__name__}). Everything sent so far is recorded; running the same "
        f"command again texts nobody twice. Please report the bug, with the output of this command when "
        f"BATCHSEND_DEBUG=1 is set.",
        err=True,
    )
    return Exit.STOPPED


#: Commands whose exit code is about texts, or that run until they are stopped.
_NOT_ABOUT_OUTPUT = ("send", "callbacks", "sandbox", "web")


def _check_output(command: str, code: int) -> int:
    """Makes a command fail whose output is incomplete, as on a full disk. A reader may go away, as `head` does."""
    problem = output_problem()
    if problem is None or command in _NOT_ABOUT_OUTPUT:
        return code
    click.echo(f"The output is incomplete: {problem.strerror}. Make room and run this again.", err=True)
    return code or Exit.STOPPED


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code. Prints errors as sentences, without a traceback."""
    # SIGTERM ends a command as Ctrl-C does, until sending installs its own handlers for both.
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
    except Exception as error:  # noqa: BLE001 - the user gets a sentence for any bug
        return _defect(error)
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    return _check_output(command, int(result or 0))
