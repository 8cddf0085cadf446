"""Tells people how a start of a campaign ended, by a web hook and e-mail (`[notify]` of the campaign).

A notice has the campaign's name, the summary line and what to do: no phones and no texts. A notice that cannot be
delivered never changes how the start ended: the problem becomes a sentence.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.tables import Notify
from batchsend.errors import BatchsendError, DeclinedError, ExtensionError
from batchsend.exits import Exit
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.runs import code_counts, note_undelivered
from batchsend.reports.advice import advise
from batchsend.runs.report import Report, tally_of, what_next
from batchsend.settings import SMTP_URL, load_settings
from batchsend.statuses import NEEDS_YOU
from batchsend.utils.extensions import ASK_AUTHOR, Point, needed, running
from batchsend.utils.net import is_this_machine
from batchsend.utils.signals import handling_signals
from batchsend.utils.wording import row_count

if TYPE_CHECKING:
    from batchsend.runs.start import Start

#: Seconds for one web hook, and for each answer of a mail server.
_TIMEOUT = 10.0
#: Seconds for everything together.
_LONGEST = 30.0
#: The exits that a person should look at.
_ATTENTION = frozenset({Exit.ATTENTION, Exit.REFUSED, Exit.STOPPED})
_CODES = re.compile(r"[\w.:-]{1,64}(; [\w.:-]{1,64})*", re.ASCII)
#: Hosts of Microsoft Teams' workflows, which take cards only.
_TEAMS = (".logic.azure.com", ".api.powerplatform.com", ".powerautomate.com")


@dataclass(frozen=True)
class Notice:
    """What people are told. `title`: one line; `lines`: sentences; `exit_code`: `None` if there is none."""

    campaign: str
    title: str
    lines: tuple[str, ...]
    needs_attention: bool
    run: int | None = None
    exit_code: int | None = None

    @property
    def text(self) -> str:
        """Title and lines as plain text."""
        return "\n".join((self.title, *self.lines))


class Notifier(Protocol):
    """Tells people how a start ended. Packages add one by an entry point of `Point.NOTIFIER`.

    `address`: what `[notify]` says for this notifier, such as a channel. Raises `BatchsendError` with a sentence if
    the notice cannot be delivered.
    """

    def __call__(self, notice: Notice, address: str, /) -> None: ...


def notice_of(campaign: str, report: Report) -> Notice:
    """The notice of a start that has ended with this report."""
    run = f"{campaign}, run {report.run_id}"
    lines = (report.tally.sentence(), *_problems(report.codes), *what_next(report))
    attention = report.exit in _ATTENTION or any(status in NEEDS_YOU for status, _, _ in report.codes)
    title = f"{run}: {_TITLES.get(report.exit, 'done')}"
    return Notice(campaign, title, lines, attention, report.run_id, int(report.exit))


_TITLES = {
    Exit.ATTENTION: "done, and some rows need attention",
    Exit.STOPPED: "sending stopped",
    Exit.LATER: "some rows are waiting",
    Exit.INTERRUPTED: "interrupted",
}


def notice_of_run(ledger: Ledger, campaign: str, run_id: int, exit_code: Exit, because: str) -> Notice:
    """The notice of a run that workers have ended. Raises `LedgerError`."""
    codes = code_counts(ledger, run_id)
    return notice_of(campaign, Report(exit_code, run_id, tally_of(codes), codes, ending=because))


def notice_of_problem(campaign: str, message: str, exit_code: int | None = None) -> Notice:
    """The notice of a start that could not be made, or that a problem stopped."""
    stopped = exit_code == Exit.STOPPED
    title = f"{campaign}: {'sending stopped' if stopped else 'not sent'}"
    return Notice(campaign, title, tuple(message.splitlines()), needs_attention=True, exit_code=exit_code)


def _problems(codes: Sequence[tuple[str, str, int]]) -> Iterator[str]:
    for status, code, count in codes:
        if status in NEEDS_YOU:
            # An answer can have a sentence as its code, and a sentence can quote the text.
            known = code if _CODES.fullmatch(code) else "see the results"
            advice = advise(status, code)
            yield f"{row_count(count)} {status} ({known}): {advice.meaning} {advice.what_to_do}"


# --- when


def told(start: Start, report: Report) -> Report:
    """Tells how a start ended. Returns its report, with what could not be delivered."""
    if report.workers is not None:  # the workers tell it at the end
        return report
    problems = _tell_in_peace(start, notice_of(start.campaign.name, report))
    if problems and report.run_id is not None:
        # For the console's page. The command prints them.
        with suppress(BatchsendError), closing(open_ledger(start.ledger_url)) as ledger:
            note_undelivered(ledger, report.run_id, problems)
    return replace(report, undelivered_notices=tuple(problems)) if problems else report


@contextmanager
def telling_of_problems(start: Start) -> Iterator[None]:
    """Tells of an error that ends an unattended start, or that stops any start. The error goes on."""
    try:
        yield
    except DeclinedError:
        raise
    except BatchsendError as error:
        wanted = start.options.unattended or error.exit_code == Exit.STOPPED
        if wanted and error.exit_code != Exit.BUSY:
            notice = notice_of_problem(start.campaign.name, str(error), error.exit_code)
            for problem in _tell_in_peace(start, notice):
                error.add_note(problem)
        raise


def tell_in_background(campaign: Campaign, notice: Notice, complain: Callable[[str], object]) -> None:
    """Delivers a notice in a thread, because a mail server can be slow.

    `complain` gets a sentence for each that could not be delivered.
    """

    def deliver() -> None:
        try:
            smtp_url = load_settings(campaign.directory, Path.cwd(), os.environ).smtp_url
        except BatchsendError as error:
            complain(str(error))
            return
        for problem in tell(campaign, smtp_url, notice):
            complain(problem)

    Thread(target=deliver, name="notices").start()


def _tell_in_peace(start: Start, notice: Notice) -> list[str]:
    """Delivers a notice. The start has ended: a signal must not change how."""
    with handling_signals(lambda _number: None):
        return tell(start.campaign, start.settings.smtp_url, notice)


def tell(campaign: Campaign, smtp_url: str | None, notice: Notice) -> list[str]:
    """Delivers a notice as the campaign wants it. Returns a sentence for each that could not be delivered."""
    notify = campaign.notify
    is_wanted = notify.when == "always" or notice.needs_attention
    if not is_wanted or (notify.url is None and not notify.email and not notify.notifiers):
        return []
    problems: list[str] = []
    # No time-out of a library covers names that are not resolved, or a server that answers byte by byte.
    delivery = Thread(target=lambda: problems.extend(_delivered(notify, smtp_url, notice)), daemon=True)
    delivery.start()
    delivery.join(_LONGEST)
    if delivery.is_alive():
        return [f"The notice was not delivered within {_LONGEST:.0f} seconds. Check [notify] and {SMTP_URL}."]
    return problems


def _delivered(notify: Notify, smtp_url: str | None, notice: Notice) -> Iterator[str]:
    """Delivers a notice, and gives a sentence for each way that failed."""
    if notify.url is not None and (problem := _post(notify.url, notice)) is not None:
        yield f"The notice to {urlsplit(notify.url).hostname} was not delivered: {problem}"
    if notify.email and (problem := _mail(notify.email, smtp_url, notice)) is not None:
        yield f"The notice by e-mail was not delivered: {problem}"
    for name, address in notify.notifiers.items():
        if (problem := _hand_over(name, address, notice)) is not None:
            yield f"The notice by {name} was not delivered: {problem}"


# --- how


def body_for(url: str, notice: Notice) -> dict[str, Any]:
    """The JSON body for a web hook: Slack and most others show `text`, workflows of Teams take a card only."""
    host = urlsplit(url).hostname or ""
    if host.endswith(_TEAMS):
        blocks = [{"type": "TextBlock", "text": notice.title, "weight": "Bolder", "wrap": True}]
        blocks += [{"type": "TextBlock", "text": line, "wrap": True} for line in notice.lines]
        content = {"type": "AdaptiveCard", "version": "1.4", "body": blocks}
        card = {"contentType": "application/vnd.microsoft.card.adaptive", "content": content}
        return {"type": "message", "attachments": [card]}
    if host.endswith("slack.com"):
        return {"text": notice.text}
    return {
        "text": notice.text,
        "campaign": notice.campaign,
        "run": notice.run,
        "exit": notice.exit_code,
        "attention": notice.needs_attention,
    }


def _post(url: str, notice: Notice) -> str | None:
    """Posts the notice. Returns what went wrong, without the URL, which may be a secret."""
    try:
        status = asyncio.run(_posted(url, body_for(url, notice)))
    except Exception as error:  # noqa: BLE001 - no problem of a notice may end a start in another way
        return f"{_kind(error)}. Check `url` under [notify], and that this computer can reach it."
    if 200 <= status < 300:
        return None
    return f"the answer was {status}. Check `url` under [notify]."


async def _posted(url: str, body: dict[str, Any]) -> int:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
        session.post(url, json=body, allow_redirects=False) as answer,
    ):
        return answer.status


def _mail(recipients: Sequence[str], smtp_url: str | None, notice: Notice) -> str | None:
    """Mails the notice. Returns what went wrong, without the server's URL, which may hold a password."""
    if smtp_url is None:
        return (
            f"{SMTP_URL} is not set. Set it to the mail server, such as smtp://user:password@mail.example.com"
        )
    try:
        _mailed(recipients, smtp_url, notice)
    except _MailError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - no problem of a notice may end a start in another way
        return f"{_kind(error)}. Check {SMTP_URL}, and that this computer can reach the mail server."
    return None


class _MailError(Exception):
    """The mail server cannot be used. The message is a sentence."""


def _mailed(recipients: Sequence[str], smtp_url: str, notice: Notice) -> None:
    import smtplib
    from email.message import EmailMessage

    parts = urlsplit(smtp_url)
    host, user = parts.hostname or "", unquote(parts.username or "")
    if parts.scheme not in ("smtp", "smtps") or not host:
        raise _MailError(f"{SMTP_URL} is not an address such as smtp://user:password@mail.example.com:587")
    sender = parse_qs(parts.query).get("from", [user if "@" in user else f"batchsend@{host}"])[0]
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = notice.title, sender, ", ".join(recipients)
    mail.set_content("\n".join(notice.lines))
    tls = ssl.create_default_context()
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=_TIMEOUT, context=tls)
    else:
        server = smtplib.SMTP(host, parts.port or 587, timeout=_TIMEOUT)
    with server:
        server.ehlo()
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=tls)
            server.ehlo()
        elif parts.scheme == "smtp" and user and not is_this_machine(host):
            raise _MailError(
                "the mail server offers no encryption, so the password was not sent. Use smtps://."
            )
        if user:
            server.login(user, unquote(parts.password or ""))
        refused = server.send_message(mail)
    if refused:
        raise _MailError(f"the mail server refused {', '.join(refused)}.")


def _hand_over(name: str, address: str, notice: Notice) -> str | None:
    """Gives the notice to the notifier of an installed package. Returns what went wrong."""

    def notify(function: Callable[[Notice, str], object]) -> object:
        return function(notice, address)

    try:
        notifier = needed(Point.NOTIFIER, name)
        with running(notifier, _TIMEOUT) as call:
            answer = call(notify)
        if answer is not None:
            raise notifier.error(f"gave {type(answer).__name__}, and it has to give nothing. {ASK_AUTHOR}")
    except ExtensionError as error:
        return str(error)
    return None


def _kind(error: Exception) -> str:
    """An error in words that hold no address and no password."""
    if isinstance(error, TimeoutError):
        return f"there was no answer within {_TIMEOUT:.0f} seconds"
    reason = getattr(error, "strerror", None) or type(error).__name__
    return f"the connection failed ({reason})"
