"""What a row's status and codes mean in plain words, and what somebody should do about it.

The sentences are for the people who look after the customers, not for programs: programs compare codes. The codes of
the API and their meaning come from the vendor's pages; a code that is not listed here gets a sentence by its status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from batchsend.statuses import OPTED_OUT, Code, Status

NOTHING = "Nothing."

_LOOK_UP = "Look the customer up in myKaarma. If the text is there, all is well."
_SUPPORT = (
    "If it is not clear what to change, ask myKaarma's support and give them the `requestUUID` of this row."
)
_RESEND = "then send again with `--resend failed`."
_CORRECT_ID = "Compare the customer id in the list with the one in myKaarma, correct it and send again."
_FAULT = (
    "Nothing in the list can mend this. Tell whoever looks after batchsend, and give them the `requestUUID` "
    "of this row."
)
_CREDENTIALS = "Check `MYKAARMA_USERNAME` and `MYKAARMA_PASSWORD` with whoever gave them to you, " + _RESEND


class Advice(NamedTuple):
    """One line of the table: a sentence that explains, and one that says what to do."""

    meaning: str
    what_to_do: str


#: Where no code says more than the status does.
BY_STATUS: Mapping[str, Advice] = {
    Status.READY: Advice("Checked and ready: it would be sent.", NOTHING),
    Status.PENDING: Advice("Not sent yet.", "Run the same command again to send it."),
    Status.ACCEPTED: Advice("Accepted by myKaarma, which now passes it on to the customer's phone.", NOTHING),
    Status.DELIVERED: Advice("The text reached the customer's phone.", NOTHING),
    Status.UNDELIVERED: Advice(
        "Accepted by myKaarma, but the text did not reach the customer's phone.",
        "Check with the customer that the number is right and can receive texts, or reach them another way.",
    ),
    Status.FAILED: Advice(
        "myKaarma refused the text; nothing was sent.",
        "Read `errorDescriptions`, put right what it names, " + _RESEND + " " + _SUPPORT,
    ),
    Status.UNCONFIRMED: Advice(
        "myKaarma answered with an error of its own, so nobody knows whether the text was sent.",
        _LOOK_UP + " Only if it is not there, send it again with `--resend unconfirmed`.",
    ),
    Status.INVALID: Advice(
        "This row could not be turned into a text; nothing was sent.",
        "Read `errorDescriptions`, correct the row in the list and send again.",
    ),
    Status.SKIPPED: Advice("Skipped; nothing was sent.", NOTHING),
}

OURS: Mapping[str, Advice] = {
    Code.HELD_BACK: Advice(
        "Not sent yet: `--limit` held it back.",
        "Run the same command again; without `--limit` it sends all that are left.",
    ),
    Code.QUIET_HOURS: Advice(
        "Not sent yet: it is too early or too late in the day where this customer is.",
        "Run the same command again when quiet hours are over, or start it with `--wait`.",
    ),
    Code.DAILY_CAP: Advice(
        "Not sent yet: this campaign has sent all the texts that `per_day` allows for today.",
        "Run the same command again tomorrow.",
    ),
    Code.STOPPED: Advice(
        "Not sent yet: sending stopped before it was this row's turn.",
        "Put right what stopped it (the last lines of the run say what), then run the same command again. "
        "It goes on from here.",
    ),
    Code.MALFORMED_ROW: Advice(
        "This row has more or fewer cells than it should, so they no longer stand under the right headers.",
        "Look at this row in the list: a comma, a quotation mark or a line break too many is the usual reason. "
        "Correct it and send again.",
    ),
    Code.MISSING_CUSTOMER_UUID: Advice(
        "This row has no customer id.", "Fill in the customer's id from myKaarma and send again."
    ),
    Code.INVALID_CUSTOMER_UUID: Advice(
        "The customer id is not one that myKaarma could have given: those have 1 to 128 letters, digits, "
        "hyphens and underscores, and no blanks.",
        _CORRECT_ID,
    ),
    Code.MISSING_PHONE: Advice(
        "This row has no phone number.",
        "Fill in the phone number and send again. To use the number that myKaarma has on record instead, write "
        '`blank_phones = "preferred"` under `[recipients]` in the campaign file.',
    ),
    Code.INVALID_PHONE: Advice(
        "The phone number in this row is not a number that can exist.",
        "Correct the phone number in the list and send again.",
    ),
    Code.DAMAGED_VALUE: Advice(
        "A spreadsheet has damaged a value of this row: digits were lost (such as `1.55512E+10`) or a formula "
        "failed (such as `#N/A`).",
        "Export the list again, or type the value in again with its column formatted as text, and send again.",
    ),
    Code.MISSING_VALUE: Advice(
        "The template uses a value that is blank in this row.",
        "Fill in the value in the list, or give the template something to say instead, such as "
        '`{{ first_name | default("there") }}`. Then send again.',
    ),
    Code.TEMPLATE_ERROR: Advice(
        "The template could not be filled in with the values of this row.",
        "Read `errorDescriptions`, correct the template or the row, and send again.",
    ),
    Code.EMPTY_MESSAGE: Advice(
        "The template gave no text at all for this row.",
        "If this customer should get a text, correct the template or the row, and send again.",
    ),
    Code.MESSAGE_TOO_LONG: Advice(
        "The text is longer than this campaign allows.",
        "Shorten the template or the values in this row, or allow more with `max_segments` under `[message]` "
        "in the campaign file. Then send again.",
    ),
    Code.HIDDEN_ROW: Advice(
        "Skipped: this row is hidden or filtered out in the spreadsheet.",
        "Nothing, if that is what you meant. Otherwise show the row again, save the list and send again.",
    ),
    Code.NO_CONSENT: Advice(
        "Skipped: the list does not say that this customer agreed to texts.",
        "Nothing, unless the customer has agreed: then correct the list and send again.",
    ),
    Code.SUPPRESSED: Advice(
        "Skipped: this customer is on an opt-out list.",
        "Nothing. This customer must not be texted. If they want texts again, take them off the list; off the "
        "ledger's own with `batchsend optouts remove`.",
    ),
    Code.ALREADY_SENT: Advice("Skipped: this customer already has this campaign's text.", NOTHING),
    Code.ALREADY_TRIED: Advice(
        "Skipped: an earlier run tried this customer, and nobody knows whether that text was sent.",
        _LOOK_UP + " Only if it is not there, send it again with `--resend unconfirmed`.",
    ),
    Code.DUPLICATE: Advice(
        "Skipped: another row of the list is for the same customer, who gets one text.",
        "Nothing, if one text is enough. If each row needs its own (a customer with two cars, for example), name "
        "the columns that tell them apart with `key` under `[recipients]` in the campaign file.",
    ),
    Code.DUPLICATE_PHONE: Advice(
        "Skipped: another row of the list has the same phone number, which gets one text.",
        "Nothing, if one text is enough. To text every customer who shares a phone, write "
        '`duplicate_phones = "allow"` under `[recipients]` in the campaign file.',
    ),
    Code.FREQUENCY_CAP: Advice(
        "Skipped: this customer has had as many texts lately as `max_messages` allows.", NOTHING
    ),
    Code.CLOSED: Advice(
        "Skipped: the campaign went on with another list before it was this row's turn.",
        "Nothing, if the other list is the right one. Otherwise add this customer to it and send again.",
    ),
}

#: The API's words for a refusal: nothing was sent.
REFUSALS: Mapping[str, Advice] = {
    "INVALID_CUSTOMER": Advice("myKaarma does not know this customer in this department.", _CORRECT_ID),
    "INVALID_USER": Advice(
        "myKaarma does not know the sender of this text in this department.",
        "Compare `user_uuid` and `department_uuid` with the ones in myKaarma, correct them, " + _RESEND,
    ),
    "INVALID_COMMUNICATION_VALUE": Advice(
        "myKaarma cannot text this phone number, or does not have it on record for this customer.",
        "Compare the phone number with the customer's record in myKaarma. Correct the list and send again, or "
        "correct the record, " + _RESEND,
    ),
    "OPTED_OUT_COMMUNICATION_VALUE": Advice(
        "This customer has opted out of texts.", "Nothing. This customer must not be texted."
    ),
    "DEALERSHIP_HOLIDAY": Advice(
        "The dealership is closed that day according to myKaarma, so no texts leave.",
        "Wait for the next working day, " + _RESEND,
    ),
    "USER_DOES_NOT_HAVE_AUTHORITY": Advice(
        "The sender of this text may not text customers of this department.",
        "Have the sender given that right in myKaarma, or name another one as `user_uuid`, " + _RESEND,
    ),
    "CUSTOMER_LOCKED": Advice(
        "The customer's record is locked in myKaarma at the moment.",
        "Wait until whoever works on it has finished, " + _RESEND,
    ),
    "TWILIO_SENDING_FAILURE": Advice(
        "The text service behind myKaarma could not send this text.",
        "Check that the number is right and can receive texts, " + _RESEND,
    ),
    "MESSAGE_ALREADY_SENT": Advice(
        "myKaarma says that this customer already has this text.",
        _LOOK_UP + " If it is not, " + "send it again with `--resend failed`.",
    ),
    "MISSING_MESSAGE_ATTRIBUTES": Advice("myKaarma missed something in the request for this text.", _FAULT),
    "MISSING_MESSAGE_TYPE": Advice("myKaarma missed something in the request for this text.", _FAULT),
    "MISSING_MESSAGE_PROTOCOL": Advice("myKaarma missed something in the request for this text.", _FAULT),
    "MISSING_IS_MANUAL": Advice("myKaarma missed something in the request for this text.", _FAULT),
    "MISSING_MESSAGE_BODY": Advice("myKaarma missed something in the request for this text.", _FAULT),
    "WRONG_CREDENTIAL": Advice("myKaarma did not accept the username and password.", _CREDENTIALS),
    "CREDENTIALS_ARE_NULL": Advice("No username and password reached myKaarma.", _CREDENTIALS),
    "INVALID_SERVICE_SUBSCRIBER": Advice("myKaarma does not know this username.", _CREDENTIALS),
    "NOT_AUTHORIZED_REQUEST": Advice(
        "The username may not send texts for this department.",
        "Ask myKaarma to give it the scope `message.create`, " + _RESEND,
    ),
    "INTERNAL_SERVER_ERROR": Advice("Something went wrong inside myKaarma.", "Wait a little, " + _RESEND),
}

#: Nobody knows whether the text was sent; what to do is the same for all of them.
UNCONFIRMED: Mapping[str, str] = {
    Code.TIMEOUT: "myKaarma did not answer in time, so nobody knows whether the text was sent.",
    Code.CONNECTION_LOST: "The connection broke before myKaarma answered, so nobody knows whether the text was sent.",
    Code.BAD_RESPONSE: "myKaarma's answer could not be understood, so nobody knows whether the text was sent.",
    Code.INTERRUPTED: "batchsend was cut off while this text was on its way, so nobody knows whether it was sent.",
    "INTERNAL_SERVER_ERROR": "Something went wrong inside myKaarma, so nobody knows whether the text was sent.",
}

_HTTP_CODE = re.compile(r"HTTP_(\d{3})")
_HTTP_REFUSALS: Mapping[int, Advice] = {
    403: Advice(
        "The username may not send texts for this department.",
        "Check the department of this row, or ask myKaarma to give the username that right, " + _RESEND,
    ),
    404: Advice(
        "myKaarma has nothing under the department, sender and customer of this row.",
        "Compare the three ids with the ones in myKaarma. Correct the list and send again, or correct the campaign "
        "file, " + _RESEND,
    ),
    413: Advice("The text is longer than myKaarma takes.", "Shorten the template, " + _RESEND),
}
_REDIRECTED = Advice(
    "The address of myKaarma has moved, or something on the way (a proxy, a sign-in page) answered instead.",
    "Check `MYKAARMA_BASE_URL`, or ask whoever looks after your network, " + _RESEND,
)


def meaning(status: str, codes: Sequence[str]) -> str:
    """What happened to a row, in plain words; one sentence for each of its codes that says something else."""
    return _joined(advice.meaning for advice in _advice(status, codes))


def what_to_do(status: str, codes: Sequence[str]) -> str:
    """What somebody should do about a row, in plain words; `NOTHING` where all is well."""
    return _joined(advice.what_to_do for advice in _advice(status, codes))


def _advice(status: str, codes: Sequence[str]) -> list[Advice]:
    if status == Status.UNCONFIRMED:
        return [_unconfirmed(code, codes[0]) for code in codes] or [BY_STATUS[Status.UNCONFIRMED]]
    if status == Status.UNDELIVERED and not OPTED_OUT.intersection(codes):
        # A refusal's advice ends in `--resend failed`, which leaves alone what myKaarma took.
        return [BY_STATUS[Status.UNDELIVERED]]
    if status in {Status.READY, Status.ACCEPTED, Status.DELIVERED}:
        return [BY_STATUS[status]]
    return [_explained(status, code) for code in codes] or [_fallback(status)]


def _unconfirmed(code: str, first_code: str) -> Advice:
    otherwise = BY_STATUS[Status.UNCONFIRMED]
    return Advice(
        UNCONFIRMED.get(code, otherwise.meaning),
        f"{_LOOK_UP} Only if it is not there, send it again with `--resend unconfirmed` (or with "
        f"`--resend {first_code}` for the rows with this code only). That texts all of them again, so look "
        "each of them up first.",
    )


def _explained(status: str, code: str) -> Advice:
    known = OURS.get(code) or REFUSALS.get(code)
    if known is not None:
        return known
    http = _HTTP_CODE.fullmatch(code)
    if http is not None:
        return _refused_by_http(int(http[1]))
    otherwise = _fallback(status)
    if status == Status.FAILED:
        return Advice(f"myKaarma refused the text and calls the reason {code}.", otherwise.what_to_do)
    return otherwise


def _refused_by_http(http_status: int) -> Advice:
    if 300 <= http_status < 400:
        return _REDIRECTED
    known = _HTTP_REFUSALS.get(http_status)
    if known is not None:
        return known
    otherwise = BY_STATUS[Status.FAILED]
    return Advice(f"myKaarma refused the text without a reason (HTTP {http_status}).", otherwise.what_to_do)


def _fallback(status: str) -> Advice:
    unknown = Advice(
        f"batchsend has no explanation for the status {status}.", "Look the customer up in myKaarma."
    )
    return BY_STATUS.get(status, unknown)


def _joined(sentences: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(sentences))
