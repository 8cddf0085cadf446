"""`batchsend optouts`: the opt-outs in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsend.cli.options import (
    FILE,
    customer_of,
    customer_option,
    echo_lines,
    ledger_option,
    phone_of,
    phone_option,
    region_option,
)
from batchsend.errors import BatchsendError
from batchsend.exits import Exit

if TYPE_CHECKING:
    from batchsend.ledger.ledger import Ledger


_NEW_LEDGER = (
    " Before the first campaign is sent, run this command in the campaign's folder with "
    "--ledger .batchsend/ledger.db, which creates its ledger."
)


@click.group()
def optouts() -> None:
    """Manage the ledger's opt-outs.

    No campaign of this ledger texts these people. Customers whom myKaarma refuses as opted out are
    added automatically.
    """


@optouts.command("list")
@click.option("--all", "all_", is_flag=True, help="Include entries that were removed.")
@ledger_option
def list_(all_: bool, ledger: str | None) -> None:
    """List the opt-outs: who, since when, why and added by whom."""
    from batchsend.cli.text.ledger import opt_out_lines
    from batchsend.ledger.optouts import opt_outs, opt_outs_ever
    from batchsend.runs.lookup import find_ledger

    with find_ledger(None, ledger) as found:
        echo_lines(opt_out_lines(opt_outs_ever(found) if all_ else opt_outs(found)))


@optouts.command()
@customer_option
@phone_option
@click.option("--reason", required=True, metavar="TEXT", help='Reason, such as "wrong number".')
@region_option
@ledger_option
def add(customer: str | None, phone: str | None, reason: str, region: str, ledger: str | None) -> None:
    """Add a customer, a phone number or both."""
    from batchsend.ledger.optouts import OptOutRequest, OptOutSource, add_opt_outs, this_person
    from batchsend.utils.timestamps import now

    if customer is None and phone is None:
        raise click.UsageError("Name a customer with --customer, a phone number with --phone, or both.")
    request = OptOutRequest(customer_of(customer, region), phone_of(phone, region), reason.strip())
    if not request.reason:
        raise click.UsageError('Give a reason, such as --reason "wrong number".')
    with _ledger_to_write(ledger) as found:
        added = add_opt_outs(found, [request], OptOutSource.ADDED, this_person(), now())
        if added:
            click.echo("Added. From now on, no campaign of this ledger texts them.")
        else:
            click.echo("Already on the list; nothing was changed.")


@optouts.command()
@customer_option
@phone_option
@click.option("--reason", default="", metavar="TEXT", help='Reason, such as "signed up again at the desk".')
@region_option
@ledger_option
def remove(customer: str | None, phone: str | None, reason: str, region: str, ledger: str | None) -> None:
    """Remove a customer or a phone number that wants texts again."""
    from batchsend.cli.text.ledger import named
    from batchsend.ledger.opening import open_ledger
    from batchsend.ledger.optouts import remove_opt_outs, this_person
    from batchsend.runs.lookup import find_ledger
    from batchsend.utils.timestamps import now

    if (customer is None) == (phone is None):
        raise click.UsageError("Name a customer with --customer, or a phone number with --phone.")
    customer_uuid = customer_of(customer) or None
    number = phone_of(phone, region) or None
    with find_ledger(None, ledger, open_ledger) as found:
        removed = remove_opt_outs(
            found,
            customer_uuid=customer_uuid,
            phone=number,
            because=reason.strip(),
            person=this_person(),
            moment=now(),
        )
        if not removed:
            raise BatchsendError(
                f"{found.where}: {customer_uuid or number} is not on the opt-out list; nothing was removed. "
                f"`batchsend optouts list` shows the entries."
            )
        for entry in removed:
            click.echo(f"Removed: {named(entry)} (opted out since {entry.added_at[:10]}: {entry.reason})")
    click.echo(
        "myKaarma keeps its own opt-outs. If it still refuses texts to them, remove the opt-out there too."
    )


@optouts.command("import")
@click.argument("file", type=FILE)
@click.option("--reason", metavar="TEXT", help="Reason for rows that give none.")
@region_option
@ledger_option
def import_(file: Path, reason: str | None, region: str, ledger: str | None) -> Exit:
    """Add the people in a file.

    The file is any list with a column for the customer or the phone number. A column "reason" is kept.
    Existing entries are unchanged. Rows without a valid customer id or phone number are listed and not
    added, and the exit code is then 1; all other rows are added.
    """
    from batchsend.errors import ListError
    from batchsend.ledger.optouts import OptOutSource, add_opt_outs, this_person
    from batchsend.lists.source import forbidden
    from batchsend.planning.optout_files import opt_out_requests, read_usable_opt_outs
    from batchsend.planning.suppression import notes_on
    from batchsend.utils.protected_files import refusal
    from batchsend.utils.timestamps import now

    default_reason = (reason or "").strip() or f"from {file.name}"
    if (why := refusal(file, Path.cwd())) is not None:
        raise ListError(file, forbidden(why))
    found = read_usable_opt_outs(file, region)
    requests = [request for row in found.rows for request in opt_out_requests(row, default_reason)]
    with _ledger_to_write(ledger) as target:
        added = add_opt_outs(target, requests, OptOutSource.IMPORTED, this_person(), now())
    known = len(requests) - added
    click.echo(f"{added:,} added, {known:,} already on the list.")
    for note in notes_on(found):
        click.echo(f"{file}: {note}.", err=True)
    if not found.lost:
        return Exit.DONE
    count = sum(map(len, found.lost.values()))
    were = "row was" if count == 1 else "rows were"
    click.echo(f"{file}: {count:,} {were} NOT added. Correct the file and import it again:", err=True)
    for why, numbers in found.lost.items():
        click.echo(
            f"  {'row' if len(numbers) == 1 else 'rows'} {', '.join(map(str, numbers))}: {why}", err=True
        )
    return Exit.ATTENTION


@optouts.command()
@click.argument("file", type=FILE)
@ledger_option
def export(file: Path, ledger: str | None) -> None:
    """Write the list to a file (.xlsx or .csv).

    `optouts import` and a campaign's `suppress` can read it.
    """
    from batchsend.ledger.optouts import opt_outs
    from batchsend.reports.list_file import write_opt_outs
    from batchsend.reports.output_files import check_output
    from batchsend.runs.lookup import find_ledger

    with find_ledger(None, ledger) as found:
        check_output(file.absolute(), found)
        entries = list(opt_outs(found))
    everywhere = [entry for entry in entries if not entry.base_url]
    written = write_opt_outs(file.absolute(), everywhere)
    click.echo(f"{len(everywhere):,} written to {written}")
    if len(everywhere) < len(entries):
        click.echo(
            f"{len(entries) - len(everywhere):,} skipped: they come from a sandbox and apply only there."
        )


@contextmanager
def _ledger_to_write(option: str | None) -> Iterator[Ledger]:
    """The existing ledger; creates one only if it is named, so that no opt-out is stored in an unused ledger."""
    from batchsend.ledger.opening import open_ledger
    from batchsend.runs.lookup import find_ledger, new_ledger

    created = new_ledger(option)
    if created is None:
        with find_ledger(None, option, open_ledger, hint=_NEW_LEDGER) as found:
            yield found
        return
    try:
        click.echo(f"Created a new ledger: {created.where}", err=True)
        yield created
    finally:
        created.close()
