"""Results that batchsend wrote can be a list again: only the columns that the list brought along count."""

from __future__ import annotations

from collections.abc import Sequence

_FIRST = ("row", "status", "messageUUID")
_LAST_BEFORE = "message"
_FIRST_BEHIND = "customerUUID"
_SUFFIX = " (list)"


def own_columns(headers: Sequence[str]) -> dict[int, str] | None:
    """Position and name of the list's columns in a header of our results; None for any other header."""
    if tuple(headers[: len(_FIRST)]) != _FIRST or _LAST_BEFORE not in headers:
        return None
    start = headers.index(_LAST_BEFORE) + 1
    if _FIRST_BEHIND not in headers[start:]:
        return None
    end = headers.index(_FIRST_BEHIND, start)
    return {position: headers[position].removesuffix(_SUFFIX) for position in range(start, end)}
