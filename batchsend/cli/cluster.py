"""The commands about a ledger that several computers share."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

import click

from batchsend.cli.options import ledger_option
from batchsend.exits import Exit


@click.group()
def ledger() -> None:
    """Look after the ledger itself."""


@ledger.command()
@ledger_option
def upgrade(ledger: str | None) -> None:
    """Bring a ledger to this version: its tables and, on PostgreSQL, those of the workers' queue.

    Nothing is forgotten, and it may be run any number of times. Programs of an older version refuse the ledger then.
    """
    from batchsend.ledger.ledger import Ledger
    from batchsend.ledger.opening import upgrade_ledger
    from batchsend.ledger.schema import SCHEMA_VERSION
    from batchsend.runs.lookup import find_ledger
    from batchsend.sending.cluster.extras import CLUSTER_MISSING, has_cluster

    before = SCHEMA_VERSION

    def opener(url: str) -> Ledger:
        nonlocal before
        opened, before = upgrade_ledger(url)
        return opened

    with find_ledger(None, ledger, opener) as found:
        if before < SCHEMA_VERSION:
            click.echo(f"{found.where}: brought from version {before} to version {SCHEMA_VERSION}.")
        else:
            click.echo(f"{found.where}: up to date (version {SCHEMA_VERSION}).")
        if found.file is not None:
            return
        if not has_cluster():
            click.echo(
                f"Queue for workers: not looked at. {CLUSTER_MISSING} Without workers it is not needed."
            )
            return

        from batchsend.sending.cluster.queue import upgrade_queue

        click.echo(f"Queue for workers: {upgrade_queue(found)}.")


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


def ask_whether_to_stop() -> Callable[[list[str]], bool] | None:
    """Asks at Ctrl-C, where there is somebody to ask, whether the whole run is to stop."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(workers: list[str]) -> bool:
        click.echo(
            f"\n{'A worker sends' if len(workers) == 1 else f'{len(workers)} workers send'} this run too "
            f"({', '.join(workers)}). Type `leave` to leave it to them; anything else stops the run. "
            f"Ctrl-C again ends this command at once.",
            err=True,
        )
        return sys.stdin.readline().strip().lower() != "leave"

    return ask
