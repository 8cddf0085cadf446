"""Options and questions that several commands share."""

from __future__ import annotations

import gc
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from batchsend.campaigns.campaign import Campaign
    from batchsend.runs.status_server import StatusAddress


ledger_option = click.option(
    "--ledger", metavar="URL", help="Ledger to use: a file path or a PostgreSQL URL."
)

_status_port = click.option(
    "--status-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Answer GET /health and Prometheus' GET /metrics on this port.",
)
_status_host = click.option(
    "--status-host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address for --status-port.",
)


def status_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--status-port` and `--status-host`, for `status_address`."""
    return _status_port(_status_host(command))


def status_address(port: int | None, host: str) -> StatusAddress | None:
    """Where a service answers questions about itself; `None`: nowhere."""
    from batchsend.runs.status_server import StatusAddress

    return None if port is None else StatusAddress(host, port)


#: Shells do not quote these completions.
_PLAIN = re.compile(r"[\w./+-]+")


def campaign_files(
    _context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem[str]]:
    """For shells: the TOML files that begin like this; all files if there are none, or if a name needs quotes."""
    folder, begin = os.path.split(typed)
    files = sorted(file.name for file in Path(folder).glob(f"{glob.escape(begin)}*.toml"))
    names = [typed.removesuffix(begin) + name for name in files]
    if names and all(map(_PLAIN.fullmatch, names)):
        return [CompletionItem(name) for name in names]
    return [CompletionItem(typed, type="file")]


FILE = click.Path(path_type=Path)
campaign_argument = click.argument("campaign", type=FILE, shell_complete=campaign_files)
target_argument = click.argument("target", metavar="CAMPAIGN|RUN", shell_complete=campaign_files)
list_option = click.option("--list", "list_", type=FILE, help="Use this list instead of the campaign's.")
new_campaign_option = click.option(
    "--new-campaign",
    is_flag=True,
    help="Start without a history: the first start with require_history, or a file sent under another name.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(0), metavar="N", help="Send at most N texts; the rest stay pending."
)
resend_option = click.option(
    "--resend",
    metavar="WHAT",
    shell_complete=lambda _context, _parameter, typed: [
        CompletionItem(what) for what in ("failed", "unconfirmed") if what.startswith(typed)
    ],
    help="Send 'failed' or 'unconfirmed' rows again, or rows with this error code.",
)
customer_option = click.option("--customer", metavar="UUID", help="The customer's id in myKaarma.")
phone_option = click.option("--phone", metavar="NUMBER", help="The phone number, in any format.")


class Choice(click.Choice[str]):
    """One of a few values. The error for another value names the nearest."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        from batchsend.lists.headers import nearest

        near = nearest(str(value), self.choices)
        message = super().get_invalid_choice_message(value, ctx)
        return f"{message} Did you mean '{near}'?" if near else message


def _known_region(context: click.Context, _parameter: click.Parameter, given: str) -> str:
    if context.resilient_parsing:
        return given  # a shell only asks for completions
    from batchsend.campaigns.types import MisfitError, region_of

    try:
        return region_of(given.upper())
    except MisfitError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise click.BadParameter(f"expected {error.expected}, but it is {given!r}{hint}") from error


region_option = click.option(
    "--region",
    default="US",
    callback=_known_region,
    show_default=True,
    metavar="CODE",
    help="Country of phone numbers without a country code.",
)


@contextmanager
def without_collections() -> Iterator[None]:
    """For imports: collecting garbage meanwhile takes an eighth of their time and finds none."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load_with(path: Path, **overrides: Any) -> Campaign:
    """The campaign of a file, with the overrides that are not `None`."""
    with without_collections():
        from batchsend.runs.api import load_campaign

    given = {name: value for name, value in overrides.items() if value is not None}
    campaign = load_campaign(path)
    return campaign.with_overrides(**given) if given else campaign


def echo_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def echo_wait(seconds: float, reason: str) -> None:
    """Says on standard error that the command waits."""
    from batchsend.utils.wording import duration

    click.echo(f"waiting {duration(seconds)}: {reason}", err=True)


def confirm_number(number: int, action: str) -> bool:
    """Asks for `number` to be typed; any other answer means no."""
    try:
        answer = click.prompt(
            f"Type {number} to {action}, anything else to stop", default="", show_default=False
        )
    except click.Abort as abort:
        click.echo()
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise abort.__context__ from None
        return False
    return str(answer).strip().replace(",", "") == str(number)


def customer_of(given: str | None, region: str | None = None) -> str:
    """A customer id from `--customer`; empty if there is none. With a `region`, its phone numbers are refused."""
    from batchsend.planning.list_checks import API_UUID, is_customer_id

    text = (given or "").strip()
    is_id = is_customer_id(text, region) if region is not None else API_UUID.fullmatch(text)
    if given is not None and not is_id:
        raise click.UsageError(
            f'--customer "{text}" is not a myKaarma customer id (1 to 128 letters, digits, "-" and "_"). For a phone '
            f"number, use --phone."
        )
    return text


def phone_of(given: str | None, region: str) -> str:
    """A phone number from `--phone` in E.164; empty if there is none."""
    from batchsend.messages.phones import PhoneProblem, to_e164

    if given is None:
        return ""
    try:
        return to_e164(given, region)
    except PhoneProblem as problem:
        raise click.UsageError(f"--phone: {problem}.") from problem
