"""When do failures in a row mean that something is wrong with the run, and not with the customers?"""

from __future__ import annotations

from collections.abc import Sequence

from batchsend.statuses import Code, Status

#: These are about one customer each, however many of them follow one another.
_ABOUT_CUSTOMERS = frozenset({"OPTED_OUT_COMMUNICATION_VALUE", "INVALID_COMMUNICATION_VALUE"})
_OUR_CODES = frozenset(Code)


class FailureStreak:
    """Counts outcomes in a row that are `unconfirmed`, have no code of the API, or all have one and the same."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unexplained = 0
        self._same: dict[str, int] = {}

    def add(self, status: Status, codes: Sequence[str]) -> str | None:
        """Counts one outcome. Returns why the run should stop now, or `None`."""
        theirs = [code for code in codes if code not in _OUR_CODES and not code.startswith("HTTP_")]
        failed = status in (Status.FAILED, Status.UNCONFIRMED)
        unexplained = status is Status.UNCONFIRMED or (failed and not theirs)
        self._unexplained = self._unexplained + 1 if unexplained else 0
        self._same = {
            code: self._same.get(code, 0) + 1 for code in theirs if failed and code not in _ABOUT_CUSTOMERS
        }
        for code, rows in self._same.items():
            if rows >= self._limit:
                return f"{rows} rows in a row were refused with {code}"
        if self._unexplained >= self._limit:
            last = "; ".join(codes)
            return f"{self._unexplained} rows in a row failed without a reason from myKaarma (last: {last})"
        return None
