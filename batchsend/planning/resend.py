"""Which rows earlier runs sent, and which of them `--resend` sends again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from batchsend.errors import GuardError
from batchsend.ledger.history import Earlier
from batchsend.lists.headers import nearest
from batchsend.mykaarma.protocol import API_CODES
from batchsend.statuses import IN_FLIGHT, MAY_HAVE_REACHED, OPTED_OUT, RESENDABLE, Code, Status

_CHOICES = (
    "Write --resend failed, --resend unconfirmed, or an error code of the results such as --resend TIMEOUT."
)
#: The code of an answer without one.
_HTTP_CODE = re.compile(r"HTTP_\d{3}", re.ASCII)


_NOT_AGAIN = "These rows cannot be sent again. Choose the rows to send again on the page of the run."


def check_resend(resend: str, recorded: Callable[[], set[str]]) -> None:
    """Raises `GuardError` where no row can ever match `--resend resend`.

    `recorded` gives the codes in the ledger. It is called only for a code that is not known otherwise.
    """
    if resend in OPTED_OUT:
        raise GuardError(
            f"--resend {resend}: these customers opted out and are never texted again. If one of them wants texts "
            f"again, remove the opt-out with `batchsend optouts remove`. Then --resend failed sends to that "
            f"customer.",
            on_page="These customers opted out and are never texted again. If one of them wants texts again, remove "
            "them on the page Opt-outs.",
        )
    if not resend or resend in set(Status) - RESENDABLE:
        raise GuardError(
            f"--resend {resend}: only `failed` and `unconfirmed` rows can be sent again. {_CHOICES}",
            on_page=_NOT_AGAIN,
        )
    known = {*RESENDABLE, *Code, *API_CODES}
    if resend in known or _HTTP_CODE.fullmatch(resend):
        return
    known |= recorded()
    if resend not in known:
        near = nearest(resend, sorted(known - OPTED_OUT))
        hint = f"Did you mean --resend {near}?" if near else _CHOICES
        raise GuardError(
            f"--resend {resend}: this is no known error code, and no row in the ledger has it. {hint}",
            on_page=_NOT_AGAIN,
        )


def matches(resend: str, status: str, codes: str) -> bool:
    """Whether `--resend resend` includes a row with this outcome. Opted-out customers are skipped all the same."""
    return status in RESENDABLE and (resend == status or resend in codes.split("; "))


def latest_outcome(outcomes: Sequence[Earlier]) -> Earlier:
    """The outcome of the last request; `outcomes` is not empty."""
    return max(outcomes, key=lambda outcome: outcome.sent_at or "")


def settled(status: str, codes: str) -> tuple[str, str]:
    """Status and codes. A request that was in flight when its process ended is `unconfirmed` `INTERRUPTED`."""
    return (Status.UNCONFIRMED, Code.INTERRUPTED) if status == IN_FLIGHT else (status, codes)


def already(earlier: Sequence[Earlier], since: str | None) -> tuple[Code, Earlier] | None:
    """The outcome in another run because of which a row is not sent again; `since`: UTC text."""
    counting = [
        outcome for outcome in earlier if since is None or outcome.sent_at is None or outcome.sent_at >= since
    ]
    for outcome in counting:
        if outcome.status in MAY_HAVE_REACHED and outcome.status != Status.UNCONFIRMED:
            return Code.ALREADY_SENT, outcome
    for outcome in counting:
        if outcome.status in (Status.UNCONFIRMED, IN_FLIGHT):
            return Code.ALREADY_TRIED, outcome
    return None
