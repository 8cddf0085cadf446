"""The commands that run until Ctrl-C or SIGTERM: the sandbox, the update receiver, the scheduler, the worker."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import click

from batchsend.cli.options import FILE, ledger_option
from batchsend.exits import Exit


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8398, show_default=True)
@click.option("--rate-limit", type=float, metavar="R", help="Requests a second; more get a 429.")
@click.option("--latency", type=float, default=0.0, metavar="SECONDS", help="Mean time until an answer.")
@click.option(
    "--error-rate", type=float, default=0.0, metavar="SHARE", help="Share of answers that are errors."
)
@click.option("--seed", type=int, metavar="N", help="The same seed gives the same errors.")
@click.option("--record", type=FILE, metavar="FILE", help="A JSON line for each request goes here.")
@click.option(
    "--updates", is_flag=True, help="Tell the callback URL of each text, if it is on this computer."
)
@click.option(
    "--update-delay", type=float, default=0.5, metavar="SECONDS", help="Mean time until the first update."
)
@click.option(
    "--update-repeat", type=float, default=0.0, metavar="SHARE", help="Share of updates that come twice."
)
@click.option("--update-shuffle", is_flag=True, help="Some updates overtake others.")
@click.option(
    "--undelivered-rate", type=float, default=0.0, metavar="SHARE", help="Share of texts that do not arrive."
)
def sandbox(host: str, port: int, **options: Any) -> None:
    """The local stand-in for the API: looks like it, sends nothing."""
    import asyncio

    from batchsend.sandbox.options import SandboxOptions
    from batchsend.sandbox.server import serve

    def ready(base_url: str) -> None:
        click.echo(f"The sandbox listens at {base_url}. Texts: {base_url}/")
        click.echo(
            f"To use it: set MYKAARMA_BASE_URL to {base_url}; any username and any password but `wrong` will do."
        )
        click.echo("Ctrl-C ends it.")

    async def listen() -> None:
        await serve(SandboxOptions(**options), host, port, ready, asyncio.Event())

    try:
        asyncio.run(listen())
    except KeyboardInterrupt:
        click.echo("The sandbox has ended.")


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; a proxy stands in front."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8399, show_default=True)
@ledger_option
def callbacks(host: str, port: int, ledger: str | None) -> Exit:
    """Receive myKaarma's updates and record which texts were delivered. Ctrl-C or SIGTERM ends it."""
    from batchsend.services.callbacks import serve

    def ready(url: str) -> None:
        click.echo(f"Updates are taken at {url}")
        path = url.partition("://")[2].partition("/")[2]
        click.echo(f'In the campaign file: callback_url = "https://YOUR-HOST/{path}"')
        click.echo("Who has this address can send updates: show it to nobody else. Ctrl-C ends it.")

    counts = serve(ledger, host, port, ready=ready, complain=lambda sentence: click.echo(sentence, err=True))
    click.echo(
        f"Ended. {counts.recorded:,} updates recorded; for {counts.unmatched:,} of them no row was known."
    )
    return Exit.DONE


@click.command()
@click.argument("campaigns", nargs=-1, type=FILE, metavar="[CAMPAIGN]...")
@click.option("--list", "list_", is_flag=True, help="Only show the next times and the last starts.")
@ledger_option
def schedule(campaigns: tuple[Path, ...], list_: bool, ledger: str | None) -> Exit:
    """Run campaigns at the times of their [schedule]: those that are named, else all in . and ./campaigns.

    Each is started as `send --yes --log-format json`. Ctrl-C or SIGTERM lets what is in flight finish.
    """
    if list_:
        from batchsend.services.schedule_list import overview

        found = overview(campaigns, ledger)
        for line in found.lines:
            click.echo(line)
        for problem in found.problems:
            click.echo(problem, err=True)
        return Exit.REFUSED if found.problems else Exit.DONE

    from batchsend.services.scheduler import serve

    return serve(campaigns, ledger, lambda line: click.echo(line, err=True))


@click.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 50),
    default=10,
    show_default=True,
    metavar="N",
    help="Chunks of rows at once, of one run or of several.",
)
@click.option("--name", metavar="NAME", help="What it is called in messages; left out: this computer's name.")
@ledger_option
def worker(concurrency: int, name: str | None, ledger: str | None) -> Exit:
    """Lend a hand with the runs of a PostgreSQL ledger. Ctrl-C or SIGTERM lets what is in flight finish.

    Any number of workers, on any computers, send a run together within its one rate, and go on with it where the
    `send` that began it leaves or dies. They send to the MYKAARMA_BASE_URL and with the credentials of their own
    settings; runs to another address are left alone.
    """
    from batchsend.services.worker import serve

    def say(sentence: str) -> None:
        click.echo(sentence, err=True)

    return serve(ledger, name or f"{socket.gethostname()}-{os.getpid()}", concurrency, say)
