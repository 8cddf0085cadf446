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
from batchsend.utils.version import __version__


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
