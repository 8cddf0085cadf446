"""How the sending of a run ends: why, who is told, and two reasons that are not about its customers.

These are a streak of failures, and no accepted text for too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from batchsend.mykaarma.protocol import RetryLater
from batchsend.statuses import Code, Status
from batchsend.utils.wording import time_span

#: These codes are about one customer each, however many rows in a row have them.
_ABOUT_CUSTOMERS = frozenset({"OPTED_OUT_COMMUNICATION_VALUE", "INVALID_COMMUNICATION_VALUE"})
_OUR_CODES = frozenset(Code)


@dataclass(frozen=True)
class Ending:
    """Why sending ended. `reason` is `None` where every row was tried.

    `asked`: a stop was requested. `left`: only this process has ended; workers continue the run.
    """

    reason: str | None = None
    interrupted: bool = False
    asked: bool = False
    left: bool = False


STOP_REQUESTED = Ending("a stop was requested", asked=True)


class Stop:
    """Tells all that sends a run in this process to send no further request. The first ending counts.

    Requests in flight are finished and recorded. Belongs to one event loop; any thread may ask it.
    """

    def __init__(self) -> None:
        self.ending: Ending | None = None
        self._set = asyncio.Event()

    def __call__(self, ending: Ending) -> None:
        self.ending = self.ending or ending
        self._set.set()

    def is_set(self) -> bool:
        return self.ending is not None

    async def wait(self, seconds: float | None = None) -> None:
        """Waits until it is set, for so many seconds at most."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._set.wait(), seconds)


class FailureStreak:
    """Counts outcomes in a row that are `unconfirmed`, have no API code, or all have the same one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unexplained = 0
        self._by_code: dict[str, int] = {}

    def add(self, status: Status, codes: Sequence[str]) -> str | None:
        """Counts one outcome. Returns why the run should stop now, or `None`."""
        if status is Status.ACCEPTED:
            self._unexplained, self._by_code = 0, {}
            return None
        api_codes = [code for code in codes if code not in _OUR_CODES and not code.startswith("HTTP_")]
        unexplained = status is Status.UNCONFIRMED or not api_codes
        self._unexplained = self._unexplained + 1 if unexplained else 0
        self._by_code = {
            code: self._by_code.get(code, 0) + 1 for code in api_codes if code not in _ABOUT_CUSTOMERS
        }
        for code, rows in self._by_code.items():
            if rows >= self._limit:
                return f"{rows} rows in a row were refused with {code}"
        if self._unexplained >= self._limit:
            last = "; ".join(codes)
            return f"{self._unexplained} rows in a row failed without a reason from myKaarma (last: {last})"
        return None


class GiveUpTimer:
    """Says when to give up because requests have to be retried and nothing was accepted. Times are in seconds."""

    def __init__(self, give_up_after: float) -> None:
        self._give_up_after = give_up_after
        self._last_retry: RetryLater | None = None
        self._since: float | None = None

    def retried(self, moment: float, retry: RetryLater) -> None:
        """A request has to be sent again later."""
        self._last_retry = retry
        if self._since is None:
            self._since = moment

    def answered(self, *, accepted: bool) -> None:
        """A request got an answer that need not be retried."""
        self._last_retry = None
        if accepted:
            self._since = None

    def skip(self, seconds: float) -> None:
        """Does not count this much time: the computer was suspended."""
        if self._since is not None:
            self._since += seconds

    def reason(self, moment: float) -> str | None:
        """Why the run should stop now, or `None`."""
        retry, since = self._last_retry, self._since
        if retry is None or since is None or moment - since < self._give_up_after:
            return None
        return (
            f"{retry.reason}, and no text was accepted for {time_span(self._give_up_after)}. {retry.advice}"
        )
