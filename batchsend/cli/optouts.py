"""`batchsend optouts`: the ledger's own opt-outs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsend.cli.options import (
    FILE,
    customer_of,
    customer_option,
    ledger_option,
    phone_of,
    phone_option,
    region_option,
)
from batchsend.errors import BatchsendError

if TYPE_CHECKING:
    from batchsend.ledger.ledger import Ledger
    from batchsend.ledger.optouts import Person


@click.group()
def optouts() -> None:
    """The ledger's own opt-outs: no campaign of this ledger texts these people.

    Whoever myKaarma refuses as opted out comes on the list by itself.
    """


@optouts.command("list")
@click.option("--all", "all_", is_flag=True, help="Also who was taken off the list.")
@ledger_option
def list_(all_: bool, ledger: str | None) -> None:
    """Who is on the list, since when, why and by whom."""
    from batchsend.cli.text.ledger import opt_out_lines
    from batchsend.ledger.optouts import opt_outs, opt_outs_ever
    from batchsend.runs.lookup import find_ledger

    with find_ledger(None, ledger) as found:
        for line in opt_out_lines(opt_outs_ever(found) if all_ else opt_outs(found)):
            click.echo(line)


@optouts.command()
@customer_option
@phone_option
@click.option("--reason", required=True, metavar="TEXT", help='Why, such as "wrong number".')
@region_option
@ledger_option
def add(customer: str | None, phone: str | None, reason: str, region: str, ledger: str | None) -> None:
    """Put a customer, a phone or both on the list."""
    from batchsend.ledger.optouts import OptOutRequest, OptOutSource, add_opt_outs
    from batchsend.utils.timestamps import now

    if customer is None and phone is None:
        raise click.UsageError("Name a customer with --customer, a phone with --phone, or both.")
    wish = OptOutRequest(customer_of(customer), phone_of(phone, region), reason.strip())
    if not wish.reason:
        raise click.UsageError('Say why with --reason, such as --reason "wrong number".')
    with _ledger_to_write(ledger) as found:
        added = add_opt_outs(found, [wish], OptOutSource.ADDED, _person(), now())
        if added:
            click.echo("Added. From the next start on, no campaign of this ledger texts them.")
        else:
            click.echo("Already on the list: nothing was changed.")


@optouts.command()
@customer_option
@phone_option
@click.option("--reason", default="", metavar="TEXT", help='Why, such as "signed up again at the desk".')
@region_option
@ledger_option
def remove(customer: str | None, phone: str | None, reason: str, region: str, ledger: str | None) -> None:
    """Take a customer or a phone off the list: they want texts again."""
    from batchsend.cli.text.ledger import named
    from batchsend.ledger.opening import open_ledger
    from batchsend.ledger.optouts import remove_opt_outs
    from batchsend.runs.lookup import find_ledger
    from batchsend.utils.timestamps import now

    if (customer is None) == (phone is None):
        raise click.UsageError("Name a customer with --customer, or a phone with --phone.")
    customer_uuid = customer_of(customer) or None
    number = phone_of(phone, region) or None
    with find_ledger(None, ledger, open_ledger) as found:
        removed = remove_opt_outs(
            found,
            customer_uuid=customer_uuid,
            phone=number,
            because=reason.strip(),
            person=_person(),
            moment=now(),
        )
        if not removed:
            raise BatchsendError(
                f"{found.where}: {customer_uuid or number} is not on the opt-outs, so there was nothing to remove. "
                f"`batchsend optouts list` shows who is."
            )
        for entry in removed:
            click.echo(f"Taken off: {named(entry)} (out since {entry.added_at[:10]}: {entry.reason})")
    click.echo(
        "myKaarma keeps opt-outs of its own: if it refuses the next text too, it has to be told there."
    )


@optouts.command("import")
@click.argument("file", type=FILE)
@click.option("--reason", metavar="TEXT", help="Why, for rows without a reason of their own.")
@region_option
@ledger_option
def import_(file: Path, reason: str | None, region: str, ledger: str | None) -> None:
    """Put everybody on the list whom a file names: any list with a column for the customer or the phone.

    A column "reason" is kept. Whoever is on the list already stays as they are.
    """
    from batchsend.errors import ListError
    from batchsend.ledger.optouts import OptOutSource, add_opt_outs
    from batchsend.lists.source import forbidden
    from batchsend.planning.optout_files import read_people, wishes_of
    from batchsend.planning.suppression import no_phone_in, unnamed_rows
    from batchsend.utils.protected_files import refusal
    from batchsend.utils.timestamps import now

    otherwise = (reason or "").strip() or f"from {file.name}"
    if (why := refusal(file, Path.cwd())) is not None:
        raise ListError(file, forbidden(why))
    people = list(read_people(file, region))
    wishes = [wish for named in people for wish in wishes_of(named, otherwise)]
    nobody = [named.row for named in people if not wishes_of(named, otherwise)]
    no_phone = [named.row for named in people if named.unusable_phones and named.row not in nobody]
    with _ledger_to_write(ledger) as found:
        added = add_opt_outs(found, wishes, OptOutSource.IMPORTED, _person(), now())
    known = len(wishes) - added
    click.echo(f"{added:,} added, {known:,} already on the list.")
    if nobody:
        click.echo(f"{file}: {unnamed_rows(nobody)}. These are not on the list.", err=True)
    if no_phone:
        click.echo(f"{file}: {no_phone_in(no_phone)}.", err=True)


@optouts.command()
@click.argument("file", type=FILE)
@ledger_option
def export(file: Path, ledger: str | None) -> None:
    """Write the list to a file (.xlsx or .csv) that `import` and a campaign's `suppress` read again."""
    from batchsend.ledger.optouts import opt_outs
    from batchsend.reports.list_file import write_opt_outs
    from batchsend.runs.lookup import find_ledger

    with find_ledger(None, ledger) as found:
        entries = list(opt_outs(found))
    everywhere = [entry for entry in entries if not entry.base_url]
    written = write_opt_outs(file.absolute(), everywhere)
    click.echo(f"{len(everywhere):,} written to {written}")
    if len(everywhere) < len(entries):
        click.echo(
            f"{len(entries) - len(everywhere):,} skipped: a sandbox said so, and it counts only there."
        )


@contextmanager
def _ledger_to_write(option: str | None) -> Iterator[Ledger]:
    """The ledger that is there; a new one only where it is named, so that no wish ends up where nobody looks."""
    from batchsend.ledger.opening import open_ledger
    from batchsend.runs.lookup import find_ledger, new_ledger

    made = new_ledger(option)
    if made is None:
        with find_ledger(None, option, open_ledger) as found:
            yield found
        return
    try:
        click.echo(f"A new ledger was made: {made.where}", err=True)
        yield made
    finally:
        made.close()


def _person() -> Person:
    from batchsend.ledger.optouts import Person
    from batchsend.settings import os_user

    return Person(os_user(), socket.gethostname())
