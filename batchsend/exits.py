"""The exit codes, which tell scripts how a command ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from batchsend.statuses import IN_FLIGHT, NEEDS_YOU, Code, Status


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    ATTENTION = 1
    REFUSED = 2
    STOPPED = 3
    BUSY = 4
    LATER = 5
    INTERRUPTED = 130


def exit_of_rows(codes: Mapping[tuple[str, str], int]) -> Exit:
    """The exit code of a run that was not stopped. `codes`: (status, codes) -> rows."""
    if any(code == Code.NEEDS_APPROVAL for _, code in codes):
        return Exit.INTERRUPTED
    if any(status in NEEDS_YOU or status == IN_FLIGHT for status, _ in codes):
        return Exit.ATTENTION
    if any(status == Status.PENDING and code != Code.HELD_BACK for status, code in codes):
        return Exit.LATER
    return Exit.DONE
