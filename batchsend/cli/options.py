"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from batchsend.campaigns.campaign import Campaign


ledger_option = click.option("--ledger", metavar="URL", help="The ledger: a path, or a PostgreSQL URL.")

FILE = click.Path(path_type=Path)
campaign_argument = click.argument("campaign", type=FILE)
list_option = click.option("--list", "list_", type=FILE, help="This list instead of the campaign's.")
new_campaign_option = click.option(
    "--new-campaign", is_flag=True, help="Start without the history that this file has under another name."
)
limit_option = click.option(
    "--limit", type=click.IntRange(0), metavar="N", help="At most N texts; the others wait for another start."
)
resend_option = click.option(
    "--resend", metavar="WHAT", help="Send again what is 'failed', 'unconfirmed', or has this error code."
)
customer_option = click.option("--customer", metavar="UUID", help="The customer's id in myKaarma.")
phone_option = click.option("--phone", metavar="NUMBER", help="The phone, however it is written.")
region_option = click.option(
    "--region",
    default="US",
    show_default=True,
    metavar="CODE",
    help="Country of phones without a country code.",
)


def load_with(path: Path, **overrides: Any) -> Campaign:
    from batchsend.runs.api import load_campaign

    given = {name: value for name, value in overrides.items() if value is not None}
    campaign = load_campaign(path)
    return campaign.with_overrides(**given) if given else campaign


def echo_lines(lines: Any) -> None:
    for line in lines:
        click.echo(line)


def customer_of(given: str | None) -> str:
    from batchsend.planning.row_judge import API_UUID

    text = (given or "").strip()
    if given is not None and not API_UUID.fullmatch(text):
        raise click.UsageError(
            f'--customer "{text}" is no customer id of myKaarma (1 to 128 letters, digits, "-" and "_"). A phone '
            f"goes behind --phone."
        )
    return text


def phone_of(given: str | None, region: str) -> str:
    from batchsend.messages.phones import PhoneProblem, to_e164

    if given is None:
        return ""
    try:
        return to_e164(given, region.upper())
    except PhoneProblem as problem:
        raise click.UsageError(f"--phone: {problem}.") from problem
