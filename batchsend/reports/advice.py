"""What a row's status and codes mean in plain words, and what to do about it.

The sentences are for the people who look after the customers; programs compare codes. They are the same in the
terminal, in the workbook, on pages and in the console, so they name no command: `Advice.command` does. The codes of
the API and their meaning come from the vendor's pages. A code that is not listed here gets a sentence by its status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from batchsend.statuses import OPTED_OUT, Code, Status

NOTHING = "Nothing."
#: Joins the codes of one row, and their descriptions.
JOINED_BY = "; "

_LOOK_UP = (
    "Look the customer up in myKaarma. If the text is there, all is well. "
    "Only if it is not there, send it again."
)
_CORRECT_ID = "Compare the customer id in the list with the one in myKaarma, correct it and send again."


def looked_for(moment: str) -> str:
    """What a row says whose text was looked for in vain. `moment`: the time, as people read it."""
    return f"Looked for on {moment}, not found. Sending is queued, so that proves nothing."


class Advice(NamedTuple):
    """What a status or code means, and what to do. `command`: how to do it on the command line."""

    meaning: str
    what_to_do: str = NOTHING
    command: str = ""

    @property
    def with_command(self) -> str:
        """What to do, for readers who use the command line."""
        return f"{self.what_to_do} On the command line: {self.command}." if self.command else self.what_to_do


def _refused(meaning: str, first: str) -> Advice:
    """Advice about a refusal: after `first` is done, the same text can be sent again."""
    return Advice(meaning, f"{first}, then send the failed texts again.", "`--resend failed`")


def _wrong_credentials(meaning: str) -> Advice:
    return _refused(
        meaning, "Check the name and the password for myKaarma with the person who gave them to you"
    )


#: batchsend left something out of the request, or myKaarma believes so.
_INCOMPLETE_REQUEST = Advice(
    "myKaarma found the request for this text incomplete.",
    "Nothing in the list can fix this. Tell the person who looks after batchsend, and give them the row's "
    "requestUUID from the results workbook.",
)

#: For rows without a code, and for codes that are not listed here.
BY_STATUS: Mapping[str, Advice] = {
    Status.READY: Advice("Checked and ready to send."),
    Status.PENDING: Advice("Not sent yet.", "Send again: this row is sent then."),
    Status.ACCEPTED: Advice("Accepted by myKaarma, which now passes it on to the customer's phone."),
    Status.DELIVERED: Advice("The text reached the customer's phone."),
    Status.UNDELIVERED: Advice(
        "Accepted by myKaarma, but the text did not reach the customer's phone.",
        "Check with the customer that the number is right and can receive texts, or contact them another way.",
    ),
    Status.FAILED: Advice(
        "myKaarma refused the text; nothing was sent.",
        "Read the row's description, fix what it names, then send the failed texts again. If it is not clear what to "
        "change, ask myKaarma's support and give them the row's requestUUID from the results workbook.",
        "`--resend failed`",
    ),
    Status.UNCONFIRMED: Advice(
        "myKaarma answered with an internal error, so it is unknown whether the text was sent.",
        _LOOK_UP,
        "`batchsend settle` looks for the text, `--resend unconfirmed` sends it again",
    ),
    Status.INVALID: Advice(
        "This row could not be turned into a text; nothing was sent.",
        "Read the row's description, correct the row in the list and send again.",
    ),
    Status.SKIPPED: Advice("Skipped on purpose; nothing was sent."),
}

OURS: Mapping[str, Advice] = {
    Code.HELD_BACK: Advice(
        "Not sent yet: the limit of texts for that start was reached.",
        "Send again to text the rest.",
        "leave out `--limit` to send all that are left",
    ),
    Code.QUIET_HOURS: Advice(
        "Not sent yet: where this customer is, no texts are sent at this hour or on this day.",
        "Send again when quiet hours are over.",
        "add `--wait` to let the run wait for that",
    ),
    Code.DAILY_CAP: Advice(
        "Not sent yet: this campaign has sent all the texts that its limit allows for today.",
        "Send again tomorrow.",
    ),
    Code.NEEDS_APPROVAL: Advice(
        "Not sent yet: the approval of this text was taken back.",
        "Ask for the approval again, then send again.",
    ),
    Code.HOURLY_CAP: Advice(
        "Not sent yet: the limit of texts in an hour leaves this one for a later hour.",
        "Send again to text the next ones.",
        "add `--wait` to let the run go on until all are sent",
    ),
    Code.STOPPED: Advice(
        "Not sent yet: sending stopped before it was this row's turn.",
        "Fix what stopped the run (its last message says what), then send again. It picks up where it left off.",
    ),
    Code.MALFORMED_ROW: Advice(
        "This row has more or fewer cells than it should, so its values are not under the right headers; or it "
        "repeats the header or has a total instead of a customer.",
        "Look at this row in the list: the usual reason is an extra comma, quotation mark or line break. "
        "Correct it and send again. A total or another header needs no correction.",
    ),
    Code.MISSING_CUSTOMER_UUID: Advice(
        "This row has no customer id.", "Fill in the customer's id from myKaarma and send again."
    ),
    Code.INVALID_CUSTOMER_UUID: Advice(
        "The customer id cannot come from myKaarma: its ids have 1 to 128 letters, digits, hyphens and underscores, "
        "and no blanks.",
        _CORRECT_ID,
    ),
    Code.CUSTOMER_NOT_FOUND: Advice(
        "The look-up found no customer in myKaarma for this row, or could not be made.",
        "The row's description says why. Correct its customer number, VIN or phone, or find the customer in myKaarma "
        "and write the id into a list with ids. Then send again.",
        "`batchsend lookup` writes such a list",
    ),
    Code.CUSTOMER_AMBIGUOUS: Advice(
        "The look-up found several customers in myKaarma for this row, or one about whom it is not sure. It "
        "never guesses.",
        "Find out who is meant, and write the id into a list with ids. Then send again.",
        "`batchsend lookup` writes such a list, with the customers to choose from",
    ),
    Code.MISSING_PHONE: Advice(
        "This row has no phone number.",
        "Fill in the phone number and send again. Or let the campaign use the number that myKaarma has on record.",
        'write `blank_phones = "preferred"` under `[recipients]` in the campaign file',
    ),
    Code.INVALID_PHONE: Advice(
        "This row has an invalid phone number.",
        "Correct the phone number in the list and send again.",
    ),
    Code.DAMAGED_VALUE: Advice(
        "A value of this row is damaged: digits were lost (such as 1.55512E+10), a formula failed or was never "
        "calculated (such as #N/A), or characters were lost (such as JosÃ©).",
        "Do what the description of the row says, such as to export the list again. Then send again.",
    ),
    Code.MISSING_VALUE: Advice(
        "The text uses a value that is blank in this row.",
        "Fill in the value in the list, or say in the text what to use if it is blank. Then send again.",
        'write a default into the template, such as `{{ first_name | default("there") }}`',
    ),
    Code.TEMPLATE_ERROR: Advice(
        "The text, or the condition for who gets it, cannot be used with the values of this row.",
        "Read the row's description, correct the text, the condition or the row, and send again.",
    ),
    Code.EMPTY_MESSAGE: Advice(
        "The campaign's text is empty for this row.",
        "If this customer should get a text, correct the text or the row, and send again.",
    ),
    Code.MESSAGE_TOO_LONG: Advice(
        "The text is longer than this campaign allows.",
        "Shorten the text or the values in this row, or allow longer texts in the campaign's settings. Then send "
        "again.",
        "allow more with `max_segments` under `[message]` in the campaign file",
    ),
    Code.HIDDEN_ROW: Advice(
        "This row is hidden or filtered out in the spreadsheet.",
        "Nothing, if that is intended. Otherwise show the row again, save the list and send again.",
    ),
    Code.FILTERED: Advice(
        "This row does not meet the campaign's condition for who gets the text.",
        "Nothing, if that is intended. Otherwise correct the row in the list, or the condition in the campaign's "
        "settings, and send again.",
        "the condition is `where` under `[recipients]` in the campaign file",
    ),
    Code.NO_CONSENT: Advice(
        "The list does not say that this customer agreed to texts.",
        "Nothing, unless the customer has agreed: then correct the list and send again.",
    ),
    Code.SUPPRESSED: Advice(
        "This customer is on an opt-out list.",
        "Nothing. This customer must not be texted. If they want texts again, take them off the list.",
        "`batchsend optouts remove` takes them off batchsend's own opt-out list",
    ),
    Code.ALREADY_SENT: Advice("This customer already has this campaign's text."),
    Code.ALREADY_TRIED: Advice(
        "An earlier run tried this customer, and it is unknown whether that text was sent.",
        _LOOK_UP,
        "`--resend unconfirmed`",
    ),
    Code.DUPLICATE: Advice(
        "Another row of the list is for the same customer, who gets one text.",
        "Nothing, if one text is enough. If each row needs a text (a customer with two cars, for example), name "
        "the columns that tell them apart before the first text is sent.",
        "name them with `key` under `[recipients]` in the campaign file",
    ),
    Code.DUPLICATE_PHONE: Advice(
        "Another row of the list has the same phone number, which gets one text.",
        "Nothing, if one text is enough. Otherwise let the campaign text every customer who shares a phone.",
        'write `duplicate_phones = "allow"` under `[recipients]` in the campaign file',
    ),
    Code.FREQUENCY_CAP: Advice("This customer has recently had as many texts as the campaign allows."),
    Code.CLOSED: Advice(
        "Given up before it was this row's turn: the run was stopped for good, or the campaign moved to another "
        "list.",
        "Nothing, if that was intended. Otherwise send this row's list again, or add this customer to the other one.",
    ),
}

#: The API's codes for a refusal: nothing was sent.
REFUSALS: Mapping[str, Advice] = {
    "INVALID_CUSTOMER": Advice("myKaarma does not know this customer in this department.", _CORRECT_ID),
    "INVALID_USER": _refused(
        "myKaarma does not know the sender of this text in this department.",
        "Compare the user's and the department's ids with the ones in myKaarma, correct them",
    ),
    "INVALID_COMMUNICATION_VALUE": _refused(
        "myKaarma cannot text this phone number, or does not have it on record for this customer.",
        "Compare the phone number with the customer's record in myKaarma. Correct the list and send again, or "
        "correct the record",
    ),
    "OPTED_OUT_COMMUNICATION_VALUE": Advice(
        "This customer has opted out of texts.", "Nothing. This customer must not be texted."
    ),
    "DEALERSHIP_HOLIDAY": _refused(
        "According to myKaarma the dealership is closed that day, so no texts are sent.",
        "Wait for the next working day",
    ),
    "USER_DOES_NOT_HAVE_AUTHORITY": _refused(
        "The sender of this text may not text customers of this department.",
        "Have the sender given that right in myKaarma, or choose another one",
    ),
    "CUSTOMER_LOCKED": _refused(
        "The customer's record is locked in myKaarma at the moment.",
        "Wait until the record is no longer in use",
    ),
    "TWILIO_SENDING_FAILURE": _refused(
        "The text service behind myKaarma could not send this text.",
        "Check that the number is right and can receive texts",
    ),
    "MESSAGE_ALREADY_SENT": Advice(
        "myKaarma says that this customer already has this text.", _LOOK_UP, "`--resend failed`"
    ),
    "MISSING_MESSAGE_ATTRIBUTES": _INCOMPLETE_REQUEST,
    "MISSING_MESSAGE_TYPE": _INCOMPLETE_REQUEST,
    "MISSING_MESSAGE_PROTOCOL": _INCOMPLETE_REQUEST,
    "MISSING_IS_MANUAL": _INCOMPLETE_REQUEST,
    "MISSING_MESSAGE_BODY": _INCOMPLETE_REQUEST,
    "WRONG_CREDENTIAL": _wrong_credentials("myKaarma did not accept the username and password."),
    "CREDENTIALS_ARE_NULL": _wrong_credentials("No username and password reached myKaarma."),
    "INVALID_SERVICE_SUBSCRIBER": _wrong_credentials("myKaarma does not know this username."),
    "NOT_AUTHORIZED_REQUEST": _refused(
        "The username may not send texts for this department.",
        "Ask myKaarma to give it the scope message.create",
    ),
    "INTERNAL_SERVER_ERROR": _refused("Something went wrong inside myKaarma.", "Wait a little"),
}

#: Why it is unknown whether a text was sent. What to do is the same for all of them.
UNCONFIRMED: Mapping[str, str] = {
    Code.TIMEOUT: "myKaarma did not answer in time, so it is unknown whether the text was sent.",
    Code.CONNECTION_LOST: "The connection broke before an answer came, so it is unknown whether the text was sent.",
    Code.BAD_RESPONSE: "myKaarma's answer could not be understood, so it is unknown whether the text was sent.",
    Code.INTERRUPTED: "batchsend was cut off while sending this text, so it is unknown whether it was sent.",
    "INTERNAL_SERVER_ERROR": "Something went wrong inside myKaarma, so it is unknown whether the text was sent.",
}

_HTTP_CODE = re.compile(r"HTTP_(\d{3})")
_HTTP_REFUSALS: Mapping[int, Advice] = {
    403: _refused(
        "The username may not send texts for this department.",
        "Check the department of this row, or ask myKaarma to give the username that right",
    ),
    404: _refused(
        "myKaarma does not know this combination of department, sender and customer.",
        "Compare the three ids with the ones in myKaarma. Correct the list and send again, or correct the sender",
    ),
    413: _refused("The text is longer than myKaarma allows.", "Shorten the text"),
}
_REDIRECTED = _refused(
    "The address of myKaarma has moved, or something on the way (a proxy, a sign-in page) answered instead.",
    "Test the connection, or ask the person who looks after your network",
)


@lru_cache(maxsize=1024)
def advise(status: str, codes: str) -> Advice:
    """What a row's status and codes mean and what to do. `codes`: joined by `JOINED_BY`, as results show them.

    Several codes are explained in turn; a sentence that they share appears once.
    """
    found = _advice(status, codes.split(JOINED_BY) if codes else [])
    return Advice(
        *(" ".join(dict.fromkeys(filter(None, sentences))) for sentences in zip(*found, strict=True))
    )


def _advice(status: str, codes: list[str]) -> list[Advice]:
    if status == Status.UNCONFIRMED:
        return [_unconfirmed(code, codes[0]) for code in codes] or [BY_STATUS[Status.UNCONFIRMED]]
    if status == Status.UNDELIVERED and not OPTED_OUT.intersection(codes):
        # A refusal's advice is to send the failed texts again, which skips what myKaarma accepted.
        return [BY_STATUS[Status.UNDELIVERED]]
    if status in {Status.READY, Status.ACCEPTED, Status.DELIVERED}:
        return [BY_STATUS[status]]
    return [_explained(status, code) for code in codes] or [_of_status(status)]


def _unconfirmed(code: str, first_code: str) -> Advice:
    otherwise = BY_STATUS[Status.UNCONFIRMED]
    return Advice(
        UNCONFIRMED.get(code, otherwise.meaning),
        f"{_LOOK_UP} Sending again texts all rows like this one, so look each of them up first.",
        f"`batchsend settle` looks for these texts; `--resend unconfirmed` sends them again, `--resend {first_code}` "
        f"only those with this code",
    )


def _explained(status: str, code: str) -> Advice:
    known = OURS.get(code) or REFUSALS.get(code)
    if known is not None:
        return known
    http = _HTTP_CODE.fullmatch(code)
    if http is not None:
        return _refused_by_http(int(http[1]))
    otherwise = _of_status(status)
    if status == Status.FAILED:
        return otherwise._replace(meaning=f"myKaarma refused the text and calls the reason {code}.")
    return otherwise


def _refused_by_http(http_status: int) -> Advice:
    if 300 <= http_status < 400:
        return _REDIRECTED
    known = _HTTP_REFUSALS.get(http_status)
    if known is not None:
        return known
    meaning = f"myKaarma refused the text without a reason (HTTP {http_status})."
    return BY_STATUS[Status.FAILED]._replace(meaning=meaning)


def _of_status(status: str) -> Advice:
    unknown = Advice(
        f"batchsend has no explanation for the status {status}.", "Look the customer up in myKaarma."
    )
    return BY_STATUS.get(status, unknown)
