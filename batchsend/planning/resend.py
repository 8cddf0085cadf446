"""Which rows `--resend` sends again."""

from __future__ import annotations

from collections.abc import Sequence

from batchsend.errors import GuardError
from batchsend.ledger.history import Earlier
from batchsend.statuses import IN_FLIGHT, OPTED_OUT, RESENDABLE, Code, Status


def check_resend(resend: str) -> None:
    """Raises `GuardError` where no row can ever match `--resend resend`."""
    if resend in OPTED_OUT:
        raise GuardError(
            f"--resend {resend}: these customers opted out and are never texted again. If one of them wants texts "
            f"again, remove the opt-out with `batchsend optouts remove`. Then --resend failed sends to that customer."
        )
    if not resend or (resend in set(Status) and resend not in RESENDABLE):
        raise GuardError(
            f"--resend {resend}: only `failed` and `unconfirmed` rows can be sent again. Write --resend failed, "
            f"--resend unconfirmed, or an error code of the results such as --resend TIMEOUT."
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
