"""What people read about a row: every code has its sentence, and none leads to texting a customer twice."""

from __future__ import annotations

import pytest

from batchsend.mykaarma.protocol import API_CODES
from batchsend.reports.advice import BY_STATUS, OURS, REFUSALS, UNCONFIRMED, Advice, advise
from batchsend.statuses import Code, Status


@pytest.mark.parametrize("code", Code)
def test_every_code_of_ours_has_its_own_sentence(code: Code) -> None:
    assert (code in OURS) != (code in UNCONFIRMED)


@pytest.mark.parametrize("code", sorted(API_CODES))
def test_every_known_refusal_has_its_own_sentence(code: str) -> None:
    assert code in REFUSALS


@pytest.mark.parametrize("status", Status)
def test_every_status_is_explained_where_there_is_no_code(status: Status) -> None:
    assert advise(status, "") == BY_STATUS[status]


@pytest.mark.parametrize(
    ("status", "codes", "explained", "todo"),
    [
        # Accepted is not yet delivered.
        (
            "accepted",
            "",
            "Accepted by myKaarma, which now passes it on to the customer's phone.",
            "Nothing.",
        ),
        # The text may be on the phone already: look the customer up before sending again.
        (
            "unconfirmed",
            "TIMEOUT",
            "myKaarma did not answer in time, so it is unknown whether the text was sent.",
            (
                "Look the customer up in myKaarma. If the text is there, all is well. Only if it is not there, send "
                "it again. Sending again texts all rows like this one, so look each of them up first. On the command "
                "line: `batchsend settle` looks for these texts; `--resend unconfirmed` sends them again, "
                "`--resend TIMEOUT` "
                "only those with this code."
            ),
        ),
        # With a 500, a code that otherwise means a refusal leaves it unknown, too.
        (
            "unconfirmed",
            "INVALID_CUSTOMER",
            "myKaarma answered with an internal error, so it is unknown whether the text was sent.",
            (
                "Look the customer up in myKaarma. If the text is there, all is well. Only if it is not there, send "
                "it again. Sending again texts all rows like this one, so look each of them up first. On the command "
                "line: `batchsend settle` looks for these texts; `--resend unconfirmed` sends them again, "
                "`--resend INVALID_CUSTOMER` "
                "only those with this code."
            ),
        ),
        # Skipped by a later run, for the same reason.
        (
            "skipped",
            "ALREADY_TRIED",
            "An earlier run tried this customer, and it is unknown whether that text was sent.",
            (
                "Look the customer up in myKaarma. If the text is there, all is well. Only if it is not there, send "
                "it again. On the command line: `--resend unconfirmed`."
            ),
        ),
        # Opted-out customers are never texted again, with any status.
        (
            "failed",
            "OPTED_OUT_COMMUNICATION_VALUE",
            "This customer has opted out of texts.",
            "Nothing. This customer must not be texted.",
        ),
        (
            "undelivered",
            "OPTED_OUT_COMMUNICATION_VALUE",
            "This customer has opted out of texts.",
            "Nothing. This customer must not be texted.",
        ),
        # myKaarma accepted it, so `--resend failed` would not send it and must not be recommended.
        (
            "undelivered",
            "TWILIO_SENDING_FAILURE",
            "Accepted by myKaarma, but the text did not reach the customer's phone.",
            "Check with the customer that the number is right and can receive texts, or contact them another way.",
        ),
        # Several codes: each is explained.
        (
            "failed",
            "INVALID_CUSTOMER; CUSTOMER_LOCKED",
            (
                "myKaarma does not know this customer in this department. The customer's record is locked in "
                "myKaarma at the moment."
            ),
            (
                "Compare the customer id in the list with the one in myKaarma, correct it and send again. "
                "Wait until the record is no longer in use, then send the failed texts again. On the command line: "
                "`--resend failed`."
            ),
        ),
        # Two codes with the same meaning give one sentence.
        (
            "failed",
            "MISSING_MESSAGE_TYPE; MISSING_MESSAGE_BODY",
            "myKaarma found the request for this text incomplete.",
            (
                "Nothing in the list can fix this. Tell the person who looks after batchsend, and give them the "
                "row's requestUUID from the results workbook."
            ),
        ),
        # An unknown code is shown as it came.
        (
            "failed",
            "SOLAR_FLARE",
            "myKaarma refused the text and calls the reason SOLAR_FLARE.",
            (
                "Read the row's description, fix what it names, then send the failed texts again. If it is not clear "
                "what to change, ask myKaarma's support and give them the row's requestUUID from the results "
                "workbook. On the command line: `--resend failed`."
            ),
        ),
        # No code at all, only an HTTP status.
        (
            "failed",
            "HTTP_422",
            "myKaarma refused the text without a reason (HTTP 422).",
            (
                "Read the row's description, fix what it names, then send the failed texts again. If it is not clear "
                "what to change, ask myKaarma's support and give them the row's requestUUID from the results "
                "workbook. On the command line: `--resend failed`."
            ),
        ),
        (
            "failed",
            "HTTP_404",
            "myKaarma does not know this combination of department, sender and customer.",
            (
                "Compare the three ids with the ones in myKaarma. Correct the list and send again, or correct the "
                "sender, then send the failed texts again. On the command line: `--resend failed`."
            ),
        ),
        # A redirect comes from a wrong address, not from the row.
        (
            "failed",
            "HTTP_302",
            "The address of myKaarma has moved, or something on the way (a proxy, a sign-in page) answered instead.",
            (
                "Test the connection, or ask the person who looks after your network, then send the failed "
                "texts again. On the command line: `--resend failed`."
            ),
        ),
        # A gateway's error after the request left.
        (
            "unconfirmed",
            "HTTP_502",
            "myKaarma answered with an internal error, so it is unknown whether the text was sent.",
            (
                "Look the customer up in myKaarma. If the text is there, all is well. Only if it is not there, send "
                "it again. Sending again texts all rows like this one, so look each of them up first. On the command "
                "line: `batchsend settle` looks for these texts; `--resend unconfirmed` sends them again, "
                "`--resend HTTP_502` "
                "only those with this code."
            ),
        ),
        # A warning's code does not turn a success into a problem.
        (
            "delivered",
            "INVALID_CUSTOMER",
            "The text reached the customer's phone.",
            "Nothing.",
        ),
        # A status from a newer ledger.
        (
            "paused",
            "",
            "batchsend has no explanation for the status paused.",
            "Look the customer up in myKaarma.",
        ),
    ],
)
def test_what_people_read(status: str, codes: str, explained: str, todo: str) -> None:
    advice = advise(status, codes)
    assert (advice.meaning, advice.with_command) == (explained, todo)


@pytest.mark.parametrize("code", [*Code, *sorted(API_CODES), "HTTP_500", "HTTP_302", "SOLAR_FLARE"])
def test_unconfirmed_always_says_to_look_before_sending_again(code: str) -> None:
    todo = advise("unconfirmed", code).with_command

    assert todo.startswith("Look the customer up in myKaarma.")
    assert "--resend failed" not in todo


@pytest.mark.parametrize("advice", [*BY_STATUS.values(), *OURS.values(), *REFUSALS.values()])
def test_only_the_command_names_options_of_the_command_line(advice: Advice) -> None:
    assert "--" not in advice.meaning + advice.what_to_do
