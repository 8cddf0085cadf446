"""The commands that maintain a ledger: `purge` deletes old texts, `ledger upgrade` brings it to this version."""

from __future__ import annotations

import sys

import click

from batchsend.cli.options import ledger_option
from batchsend.errors import BatchsendError


@click.command()
@click.option(
    "--older-than", "age", required=True, metavar="AGE", help="4y (years), 18mo (months) or 90d (days)."
)
@click.option("--yes", is_flag=True, help="Purge without asking; needed where there is no terminal.")
@ledger_option
def purge(age: str, yes: bool, ledger: str | None) -> None:
    """Forget texts, phones and list columns of whatever was last touched longer ago than that."""
    from batchsend.cli.text.ledger import entry_count, purge_lines
    from batchsend.ledger import purge as purging
    from batchsend.ledger.opening import open_ledger
    from batchsend.runs.lookup import find_ledger
    from batchsend.sending.locks import all_campaigns_locked
    from batchsend.utils.timestamps import now

    moment = now()
    cutoff = purging.cutoff_of(age, moment)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Add --yes to purge without a question.")
    with find_ledger(None, ledger, open_ledger) as found:
        # Asked first, so that nobody types an answer for nothing; held again for the purge alone, so that an
        # unanswered question keeps no campaign from being sent.
        with all_campaigns_locked(found):
            old = purging.purgeable(found, cutoff)
        entries = sum(one.entries for one in old)
        if old:
            for line in purge_lines(old, cutoff.date().isoformat(), found.where):
                click.echo(line)
            if not yes and not _agreed(entries):
                raise BatchsendError("Nothing was purged.")
        with all_campaigns_locked(found):
            purged = purging.purge(found, cutoff, moment)
    if not purged:
        click.echo(f"Nothing to purge: nothing was last touched before {cutoff.date().isoformat()}.")
        return
    click.echo(f"{entry_count(purged)} purged, and their space was given back.")
    click.echo("Lists, results, previews and backups hold the same data: delete those that are old yourself.")


def _agreed(entries: int) -> bool:
    from batchsend.cli.text.ledger import entry_count

    try:
        answer = click.prompt(
            f"Type {entries} to purge {entry_count(entries)}, anything else to stop",
            default="",
            show_default=False,
        )
    except click.Abort:
        click.echo()
        return False
    return str(answer).strip().replace(",", "") == str(entries)


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
