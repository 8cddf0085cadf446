"""The exit code of a run that was not stopped."""

from __future__ import annotations

import pytest

from batchsend.exits import Exit, exit_of_rows
from batchsend.statuses import IN_FLIGHT


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([], 0),
        ([("accepted", ""), ("delivered", ""), ("skipped", "NO_CONSENT"), ("skipped", "CLOSED")], 0),
        # Held back by --limit, which is what the user wanted.
        ([("accepted", ""), ("pending", "HELD_BACK")], 0),
        ([("accepted", ""), ("failed", "CUSTOMER_LOCKED")], 1),
        ([("undelivered", "")], 1),
        ([("unconfirmed", "TIMEOUT")], 1),
        ([("invalid", "MISSING_VALUE"), ("skipped", "DUPLICATE")], 1),
        # A row that is still in flight has an unknown outcome and needs attention.
        ([(IN_FLIGHT, "STOPPED")], 1),
        # These can be sent later.
        ([("accepted", ""), ("pending", "QUIET_HOURS")], 5),
        ([("pending", "DAILY_CAP"), ("pending", "HELD_BACK")], 5),
        # The approval was taken back while they were sent.
        ([("accepted", ""), ("pending", "NEEDS_APPROVAL")], 130),
        # If both apply, attention comes first.
        ([("pending", "QUIET_HOURS"), ("failed", "CUSTOMER_LOCKED")], 1),
    ],
)
def test_the_rows_decide_the_exit_code(rows: list[tuple[str, str]], code: int) -> None:
    assert exit_of_rows(dict.fromkeys(rows, 1)) == code


def test_the_exit_codes_of_the_contract() -> None:
    assert {code.name: code.value for code in Exit} == {
        "DONE": 0,
        "ATTENTION": 1,
        "REFUSED": 2,
        "STOPPED": 3,
        "BUSY": 4,
        "LATER": 5,
        "INTERRUPTED": 130,
    }
