"""The commands about a ledger that several computers share."""

from __future__ import annotations

import click

from batchsend.cli_options import ledger_option


@click.group()
def ledger() -> None:
    """Look after the ledger itself."""


@ledger.command()
@ledger_option
def upgrade(ledger: str | None) -> None:
    """Bring a ledger to this version: its tables and, on PostgreSQL, those of the workers' queue.

    Nothing is forgotten, and it may be run any number of times. Programs of an older version refuse the ledger then.
    """
    from batchsend.extras import CLUSTER_MISSING, has_cluster
    from batchsend.ledger import Ledger
    from batchsend.ledger_opening import upgrade_ledger
    from batchsend.lookup import find_ledger
    from batchsend.schema import SCHEMA_VERSION

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

        from batchsend.cluster import upgrade_queue

        click.echo(f"Queue for workers: {upgrade_queue(found)}.")
