"""When failures in a row stop a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchsend.sending.stopping import FailureStreak
from batchsend.statuses import Status

ACCEPTED, FAILED, UNCONFIRMED = Status.ACCEPTED, Status.FAILED, Status.UNCONFIRMED
LOCKED = (FAILED, ("CUSTOMER_LOCKED",))
OPTED_OUT = (FAILED, ("OPTED_OUT_COMMUNICATION_VALUE",))
WRONG_NUMBER = (FAILED, ("INVALID_COMMUNICATION_VALUE",))
REDIRECTED = (FAILED, ("HTTP_302",))
TIMEOUT = (UNCONFIRMED, ("TIMEOUT",))
BROKEN = (UNCONFIRMED, ("INTERNAL_SERVER_ERROR",))
SENT = (ACCEPTED, ())
#: An accepted text can carry a code; it is no failure.
SENT_WITH_CODE = (ACCEPTED, ("CUSTOMER_LOCKED",))
Outcomes = list[tuple[Status, tuple[str, ...]]]


def stops(outcomes: Outcomes, limit: int = 3) -> list[str | None]:
    streak = FailureStreak(limit)
    return [streak.add(*outcome) for outcome in outcomes]


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        # The same code of the API.
        ([LOCKED] * 3, "3 rows in a row were refused with CUSTOMER_LOCKED"),
        # One code that all of them share is enough.
        (
            [LOCKED, (FAILED, ("X", "CUSTOMER_LOCKED")), (FAILED, ("CUSTOMER_LOCKED", "Y"))],
            "3 rows in a row were refused with CUSTOMER_LOCKED",
        ),
        # Without a code of the API.
        ([REDIRECTED] * 3, "3 rows in a row failed without a reason from myKaarma (last: HTTP_302)"),
        ([TIMEOUT] * 3, "3 rows in a row failed without a reason from myKaarma (last: TIMEOUT)"),
        # `unconfirmed` counts with any code, and together with outcomes that have none.
        (
            [BROKEN, TIMEOUT, REDIRECTED],
            "3 rows in a row failed without a reason from myKaarma (last: HTTP_302)",
        ),
        ([BROKEN] * 3, "3 rows in a row were refused with INTERNAL_SERVER_ERROR"),
        # Different refusals are about different customers.
        ([LOCKED, (FAILED, ("INVALID_CUSTOMER",)), LOCKED, (FAILED, ("INVALID_CUSTOMER",))], None),
        # Opted-out customers and wrong numbers are about the list, not about the run.
        ([OPTED_OUT] * 9, None),
        ([WRONG_NUMBER] * 9, None),
        # An accepted text in between ends the streak, even with a code.
        ([LOCKED, LOCKED, SENT, LOCKED, LOCKED], None),
        ([LOCKED, LOCKED, SENT_WITH_CODE, LOCKED, LOCKED], None),
        ([TIMEOUT, TIMEOUT, SENT, TIMEOUT, TIMEOUT], None),
        # A refusal about one customer ends a streak without a reason: the API works.
        ([TIMEOUT, TIMEOUT, OPTED_OUT, TIMEOUT, TIMEOUT], None),
    ],
)
def test_what_stops_a_run(outcomes: Outcomes, reason: str | None) -> None:
    reasons = stops(outcomes)
    assert reasons[-1] == reason
    assert set(reasons[:-1]) == {None}


@given(st.lists(st.sampled_from([LOCKED, OPTED_OUT, REDIRECTED, TIMEOUT, BROKEN, SENT])), st.integers(1, 5))
def test_a_run_stops_at_its_limit_and_not_before(outcomes: Outcomes, limit: int) -> None:
    for length, reason in enumerate(stops(outcomes, limit), start=1):
        last = outcomes[max(0, length - limit) : length]
        alike = len(last) == limit and (
            all(status is UNCONFIRMED or codes == ("HTTP_302",) for status, codes in last)
            or (len(set(last)) == 1 and last[0] in (LOCKED, BROKEN))
        )
        assert (reason is not None) is alike
