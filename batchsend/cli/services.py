"""The commands that run until Ctrl-C or SIGTERM: the sandbox, the update receiver, the scheduler, the worker."""

from __future__ import annotations

import os
import socket
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchsend.cli.options import (
    FILE,
    campaign_files,
    echo_lines,
    ledger_option,
    status_address,
    status_options,
)
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.services.callback_auth import CallbackAuth


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8398, show_default=True, help="Port to listen on."
)
@click.option("--rate-limit", type=float, metavar="R", help="Requests per second; more get a 429.")
@click.option("--latency", type=float, default=0.0, metavar="SECONDS", help="Mean time to answer.")
@click.option(
    "--error-rate", type=float, default=0.0, metavar="SHARE", help="Share of answers that are errors."
)
@click.option("--seed", type=int, metavar="N", help="The same seed gives the same errors.")
@click.option("--record", type=FILE, metavar="FILE", help="Write a JSON line for each request to this file.")
@click.option(
    "--updates",
    is_flag=True,
    help="Send updates to the callback URL of each text, if it is on this computer.",
)
@click.option(
    "--update-delay", type=float, default=0.5, metavar="SECONDS", help="Mean time to the first update."
)
@click.option(
    "--update-repeat", type=float, default=0.0, metavar="SHARE", help="Share of updates that are sent twice."
)
@click.option("--update-shuffle", is_flag=True, help="Send some updates out of order.")
@click.option(
    "--undelivered-rate",
    type=float,
    default=0.0,
    metavar="SHARE",
    help="Share of texts that are not delivered.",
)
@click.option(
    "--reply-rate", type=float, default=0.0, metavar="SHARE", help="Share of texts that customers answer."
)
@click.option(
    "--customers",
    type=FILE,
    metavar="FILE",
    help="Customers that a look-up finds: a CSV file, see the manual.",
)
def sandbox(host: str, port: int, customers: Path | None, **options: Any) -> None:
    """Run the local stand-in for the API. It sends nothing."""
    import asyncio

    from batchsend.sandbox.customers import read_customers
    from batchsend.sandbox.options import SandboxOptions
    from batchsend.sandbox.server import serve

    known = read_customers(customers) if customers is not None else ()

    def ready(base_url: str) -> None:
        click.echo(f"The sandbox is listening at {base_url}. Texts: {base_url}/")
        click.echo(
            f"To use it, set MYKAARMA_BASE_URL to {base_url}. Any username and any password except `wrong` will do."
        )
        click.echo("Press Ctrl-C to stop it.")

    async def listen() -> None:
        await serve(SandboxOptions(**options, customers=known), host, port, ready, asyncio.Event())

    try:
        asyncio.run(listen())
    except KeyboardInterrupt:
        click.echo("The sandbox has stopped.")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on, behind a proxy.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8399, show_default=True, help="Port to listen on."
)
@status_options
@ledger_option
def callbacks(host: str, port: int, status_port: int | None, status_host: str, ledger: str | None) -> Exit:
    """Receive myKaarma's updates and record deliveries. Ctrl-C or SIGTERM stops it."""
    from batchsend.services.callback_auth import PREFIX
    from batchsend.services.callbacks import serve

    def ready(address: str, auth: CallbackAuth) -> None:
        # Other output than a terminal's may be kept in a log.
        shown = sys.stdout.isatty()
        path = auth.path if shown else f"{PREFIX}THE-SECRET"
        click.echo(f"Receiving updates at {address}{path}")
        click.echo(f'In the campaign file: callback_url = "https://YOUR-HOST{path}"')
        if shown:
            click.echo("Anyone with this address can send updates, so keep it secret. Press Ctrl-C to stop.")
        else:
            click.echo(f"THE-SECRET is not shown outside a terminal. It is in {auth.place}.")

    status = status_address(status_port, status_host)
    counts = serve(
        ledger, host, port, status, ready=ready, complain=lambda sentence: click.echo(sentence, err=True)
    )
    click.echo(f"Stopped. {counts.recorded:,} updates recorded; {counts.unmatched:,} of them matched no row.")
    return Exit.DONE


def _matching(
    _context: click.Context, _parameter: click.Parameter, given: tuple[Path, ...]
) -> tuple[Path, ...]:
    """The files that patterns stand for: on Windows, and in a service's settings, there is no shell to find them."""

    def matches(path: Path) -> list[Path]:
        is_pattern = any(sign in path.name for sign in "*?") and not path.exists()
        # `glob` refuses some names with **.
        found = (one for one in path.parent.glob("*") if is_pattern and fnmatch(one.name, path.name))
        return sorted(found) or [path]

    return tuple(found for path in given for found in matches(path))


@click.command()
@click.argument(
    "campaigns",
    nargs=-1,
    type=FILE,
    metavar="[CAMPAIGN]...",
    callback=_matching,
    shell_complete=campaign_files,
)
@click.option("--list", "list_", is_flag=True, help="Show the next times and the last starts, and exit.")
@click.option(
    "--attached",
    is_flag=True,
    help="End when standard input does; campaigns being sent continue. It also waits if there are no campaigns yet.",
)
@status_options
@ledger_option
def schedule(
    campaigns: tuple[Path, ...],
    list_: bool,
    attached: bool,
    status_port: int | None,
    status_host: str,
    ledger: str | None,
) -> Exit:
    """Run campaigns at their [schedule] times.

    Without arguments, it runs all campaigns in . and ./campaigns. Each start is `send --yes --log-format json`.
    Ctrl-C or SIGTERM stops the scheduler once texts in flight are finished. It exits with 130 if a campaign was being
    sent, else with 1 if a campaign needs attention, else with 0.
    """
    if list_:
        from batchsend.services.schedule_list import overview

        found = overview(campaigns, ledger)
        echo_lines(found.lines)
        for problem in found.problems:
            click.echo(problem, err=True)
        return Exit.REFUSED if found.problems else Exit.DONE

    from batchsend.services.schedule_loop import serve

    status = status_address(status_port, status_host)
    return serve(campaigns, ledger, lambda line: click.echo(line, err=True), status, attached=attached)


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 50),
    default=10,
    show_default=True,
    metavar="N",
    help="Jobs to work on at a time, from one run or several.",
)
@click.option("--name", metavar="NAME", help="Name in messages (default: this computer's name).")
@status_options
@ledger_option
def worker(
    concurrency: int, name: str | None, status_port: int | None, status_host: str, ledger: str | None
) -> Exit:
    """Help send campaigns from a PostgreSQL ledger. Ctrl-C or SIGTERM stops it once texts in flight are finished.

    Any number of workers, on any computers, send a run together within its rate limit. They continue the run if the
    `send` that started it exits or dies. A worker sends to the MYKAARMA_BASE_URL of its own settings, with its own
    credentials, and skips runs to other addresses.
    """
    from batchsend.services.worker import serve

    def say(sentence: str) -> None:
        click.echo(sentence, err=True)

    status = status_address(status_port, status_host)
    return serve(ledger, name or f"{socket.gethostname()}-{os.getpid()}", concurrency, say, status)
