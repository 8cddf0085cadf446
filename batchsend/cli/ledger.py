"""The commands that maintain a ledger: `purge` deletes old texts, `ledger backup` copies it, `ledger upgrade`."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsend.cli.options import FILE, confirm_number, echo_lines, ledger_option
from batchsend.errors import BatchsendError

if TYPE_CHECKING:
    from batchsend.ledger.ledger import Ledger


@click.command()
@click.option(
    "--older-than",
    "age",
    required=True,
    metavar="AGE",
    help="Age, such as 4y (years), 18mo (months) or 90d (days).",
)
@click.option("--yes", is_flag=True, help="Purge without asking; required without a terminal.")
@ledger_option
def purge(age: str, yes: bool, ledger: str | None) -> None:
    """Delete texts and phones last used before the given age.

    List columns and error descriptions are deleted too. Ids, statuses and opt-outs are kept, so that nobody is texted
    twice.
    """
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
        # A campaign that is being sent refuses the purge before the question. The locks are released during the
        # question, so that an unanswered one blocks no campaign.
        with all_campaigns_locked(found):
            old = purging.purgeable(found, cutoff)
        entries = sum(one.entries for one in old)
        if old:
            echo_lines(purge_lines(old, cutoff.date().isoformat(), found.where))
            if not yes and not confirm_number(entries, f"purge {entry_count(entries)}"):
                raise BatchsendError("Nothing was purged.")
        with all_campaigns_locked(found) as held:
            purged = purging.purge(found, cutoff, moment, held)
    if not purged:
        click.echo(f"Nothing to purge: no text was last used before {cutoff.date().isoformat()}.")
        return
    click.echo(f"{entry_count(purged)} purged; their disk space is free again.")
    click.echo("Lists, results, previews and backups hold the same data. Delete old ones yourself.")


@click.group()
def ledger() -> None:
    """Maintain the ledger."""


@ledger.command()
@click.argument("target", metavar="PATH", type=FILE)
@ledger_option
def backup(target: Path, ledger: str | None) -> None:
    """Back up a ledger file to PATH, a new file or a folder.

    It is safe while campaigns are being sent. In a folder, each backup gets a new name. A restored backup does not
    know what was sent after it was made: read "Restoring a backup" in the manual first.
    """
    from batchsend.cli.text.ledger import backup_lines
    from batchsend.ledger.backup import back_up
    from batchsend.ledger.opening import open_for_reading
    from batchsend.runs.lookup import find_ledger
    from batchsend.utils.timestamps import now

    # A ledger is backed up before it is upgraded.
    with find_ledger(None, ledger, partial(open_for_reading, any_version=True)) as found:
        echo_lines(backup_lines(found.where, back_up(found, target, now())))


@ledger.command()
@ledger_option
def upgrade(ledger: str | None) -> None:
    """Upgrade a ledger to this version.

    On PostgreSQL, the workers' queue is created too. No data is lost, and it is safe to run more than once. After
    the upgrade, older versions of batchsend refuse the ledger. While a campaign is being sent, the upgrade is refused
    (exit code 4).
    """
    from batchsend.ledger.opening import upgrade_ledger
    from batchsend.ledger.schema import SCHEMA_VERSION
    from batchsend.runs.lookup import find_ledger
    from batchsend.sending.locks import all_campaigns_locked

    before = SCHEMA_VERSION

    def opener(url: str) -> Ledger:
        nonlocal before
        opened, before = upgrade_ledger(url, all_campaigns_locked)
        return opened

    with find_ledger(None, ledger, opener) as found:
        if before < SCHEMA_VERSION:
            click.echo(f"{found.where}: upgraded from version {before} to version {SCHEMA_VERSION}.")
        else:
            click.echo(f"{found.where}: up to date (version {SCHEMA_VERSION}).")
        if found.file is None and find_spec("procrastinate") is not None:
            from batchsend.sending.cluster.worker import create_queue

            click.echo(f"Queue for workers: {'created' if create_queue(found) else 'up to date'}.")
