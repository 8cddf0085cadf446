"""The commands about what a ledger knows: its runs, who got what, who is not to be texted, forgetting what is old."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchsend.cli.options import ledger_option
from batchsend.errors import BatchsendError

if TYPE_CHECKING:
    from batchsend.ledger.ledger import Ledger
    from batchsend.ledger.optouts import Person

_FILE = click.Path(path_type=Path)

customer_option = click.option("--customer", metavar="UUID", help="The customer's id in myKaarma.")
phone_option = click.option("--phone", metavar="NUMBER", help="The phone, however it is written.")
region_option = click.option(
    "--region", default="US", show_default=True, metavar="CODE", help="Country of phones without a country code."
)  # fmt: skip


@click.command()
@click.argument("campaign", required=False, type=_FILE)
@ledger_option
def runs(campaign: Path | None, ledger: str | None) -> None:
    """What ran, when, by whom, with which counts."""
    from batchsend.cli.text.plan import run_lines
    from batchsend.ledger.history import overview
    from batchsend.runs.api import load_campaign
    from batchsend.runs.lookup import find_ledger, report_pages

    with find_ledger(campaign, ledger) as found:
        name = load_campaign(campaign).name if campaign is not None else None
        listed = overview(found, name)
        for line in run_lines(listed, report_pages(found, [run.run_id for run in listed])):
            click.echo(line)


@click.command()
@click.option("--customer", metavar="UUID", help="What this customer got.")
@click.option("--phone", metavar="NUMBER", help="What went to this phone, as far as lists named it.")
@region_option
@ledger_option
def history(customer: str | None, phone: str | None, region: str, ledger: str | None) -> None:
    """Who got what, when, from whom: over all campaigns of the ledger."""
    from batchsend.cli.text.ledger import opt_out_lines
    from batchsend.cli.text.plan import evidence_lines
    from batchsend.ledger.attempts import of_customer, of_phone
    from batchsend.ledger.optouts import opt_outs_of
    from batchsend.runs.lookup import find_ledger

    if (customer is None) == (phone is None):
        raise click.UsageError("Name a customer with --customer, or a phone with --phone.")
    number = _phone(phone, region)
    with find_ledger(None, ledger) as found:
        evidence = of_customer(found, customer) if customer is not None else of_phone(found, number)
        for line in evidence_lines(evidence, customer or number):
            click.echo(line)
        wishes = list(opt_outs_of(found, customer_uuid=customer, phone=number or None))
        if wishes:
            click.echo("Opt-outs:")
            for line in opt_out_lines(wishes):
                click.echo(line)


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
    from batchsend.ledger.optouts import Source, Wish, add_opt_outs
    from batchsend.utils.timestamps import now

    if customer is None and phone is None:
        raise click.UsageError("Name a customer with --customer, a phone with --phone, or both.")
    wish = Wish(_customer(customer), _phone(phone, region), reason.strip())
    if not wish.reason:
        raise click.UsageError('Say why with --reason, such as --reason "wrong number".')
    with _ledger_to_write(ledger) as found:
        added = add_opt_outs(found, [wish], Source.ADDED, _person(), now())
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
    customer_uuid = _customer(customer) or None
    number = _phone(phone, region) or None
    with find_ledger(None, ledger, open_ledger) as found:
        removed = remove_opt_outs(
            found, customer_uuid=customer_uuid, phone=number, because=reason.strip(), person=_person(), moment=now()
        )  # fmt: skip
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
@click.argument("file", type=_FILE)
@click.option("--reason", metavar="TEXT", help="Why, for rows without a reason of their own.")
@region_option
@ledger_option
def import_(file: Path, reason: str | None, region: str, ledger: str | None) -> None:
    """Put everybody on the list whom a file names: any list with a column for the customer or the phone.

    A column "reason" is kept. Whoever is on the list already stays as they are.
    """
    from batchsend.ledger.optouts import Source, add_opt_outs
    from batchsend.planning.optout_files import read_people, wishes_of
    from batchsend.planning.suppression import no_phone_in, nobody_in
    from batchsend.utils.timestamps import now

    otherwise = (reason or "").strip() or f"from {file.name}"
    people = list(read_people(file, region))
    wishes = [wish for named in people for wish in wishes_of(named, otherwise)]
    nobody = [named.row for named in people if not wishes_of(named, otherwise)]
    no_phone = [named.row for named in people if named.unusable_phones and named.row not in nobody]
    with _ledger_to_write(ledger) as found:
        added = add_opt_outs(found, wishes, Source.IMPORTED, _person(), now())
    known = len(wishes) - added
    click.echo(f"{added:,} added, {known:,} already on the list.")
    if nobody:
        click.echo(f"{file}: {nobody_in(nobody)}. These are not on the list.", err=True)
    if no_phone:
        click.echo(f"{file}: {no_phone_in(no_phone)}.", err=True)


@optouts.command()
@click.argument("file", type=_FILE)
@ledger_option
def export(file: Path, ledger: str | None) -> None:
    """Write the list to a file (.xlsx or .csv) that `import` and a campaign's `suppress` read again."""
    from batchsend.ledger.optouts import opt_outs
    from batchsend.planning.optout_files import write_opt_outs
    from batchsend.runs.lookup import find_ledger

    with find_ledger(None, ledger) as found:
        entries = list(opt_outs(found))
    everywhere = [entry for entry in entries if not entry.base_url]
    written = write_opt_outs(file.absolute(), everywhere)
    click.echo(f"{len(everywhere):,} written to {written}")
    if len(everywhere) < len(entries):
        click.echo(
            f"{len(entries) - len(everywhere):,} left out: a sandbox said so, and it counts only there."
        )


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
    from batchsend.utils.timestamps import now

    moment = now()
    cutoff = purging.cutoff_of(age, moment)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Add --yes to purge without a question.")
    with find_ledger(None, ledger, open_ledger) as found:
        # Asked first, so that nobody types an answer for nothing; held again for the purge alone, so that an
        # unanswered question keeps no campaign from being sent.
        with purging.nobody_sending(found):
            old = purging.purgeable(found, cutoff)
        entries = sum(one.entries for one in old)
        if old:
            for line in purge_lines(old, cutoff.date().isoformat(), found.where):
                click.echo(line)
            if not yes and not _agreed(entries):
                raise BatchsendError("Nothing was purged.")
        with purging.nobody_sending(found):
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
            f"Type {entries} to purge {entry_count(entries)}, anything else to stop", default="", show_default=False
        )  # fmt: skip
    except click.Abort:
        click.echo()
        return False
    return str(answer).strip().replace(",", "") == str(entries)


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


def _customer(given: str | None) -> str:
    from batchsend.planning.row_judge import API_UUID

    text = (given or "").strip()
    if given is not None and not API_UUID.fullmatch(text):
        raise click.UsageError(
            f'--customer "{text}" is no customer id of myKaarma (1 to 128 letters, digits, "-" and "_"). A phone '
            f"goes behind --phone."
        )
    return text


def _phone(given: str | None, region: str) -> str:
    from batchsend.messages.phones import PhoneProblem, to_e164

    if given is None:
        return ""
    try:
        return to_e164(given, region.upper())
    except PhoneProblem as problem:
        raise click.UsageError(f"--phone: {problem}.") from problem
