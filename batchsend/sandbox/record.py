"""What arrived: the judge of what a client did."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from batchsend.errors import FileError
from batchsend.sandbox.answers import Reply


@dataclass(frozen=True, slots=True)
class Submission:
    """A request's JSON as far as it can be read, right or wrong; None stands for what is missing."""

    body: str | None
    phone: str | None
    metadata: Mapping[str, Any]
    callback_url: str | None
    send_synchronously: bool
    #: What the service would append to the body, a line each.
    additions: tuple[str, ...]

    @classmethod
    def of(cls, payload: object) -> Submission:
        message = _object(_object(payload).get("messageAttributes"))
        sending = _object(_object(payload).get("messageSendingAttributes"))
        return cls(
            body=_text(message.get("body")),
            phone=_text(sending.get("communicationValueOfCustomer")),
            metadata=_object(sending.get("callbackMetaData")),
            callback_url=_text(sending.get("callbackURL")),
            send_synchronously=sending.get("sendSynchronously") is True,
            additions=_additions(sending),
        )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _additions(sending: Mapping[str, Any]) -> tuple[str, ...]:
    lines = []
    if sending.get("addSignature") is True:
        lines.append("-- (the user's name)")
    if sending.get("addFooter") is True:
        lines.append("-- (the dealership's footer)")
    # The one addition that is on unless it is turned off.
    if sending.get("addTCPAFooter") is not False:
        lines.append("Text STOP to opt-out")
    if sending.get("sendVCard") is True:
        lines.append("(the department's vCard)")
    return tuple(lines)


@dataclass(frozen=True, slots=True)
class ReceivedText:
    """One request to send a text, and what became of it."""

    #: Counts from 1 in the order of arrival.
    number: int
    #: Seconds since the epoch, and by `time.monotonic()`: when the request's head had arrived.
    wall: float
    monotonic: float
    department_uuid: str
    user_uuid: str
    customer_uuid: str
    submission: Submission
    answer: Reply

    @property
    def text_left(self) -> bool:
        """Whether the customer got a text, whatever the client was told."""
        return self.answer.text_left

    @property
    def message_uuid(self) -> str | None:
        return self.answer.message_uuid

    @property
    def body(self) -> str | None:
        return self.submission.body

    @property
    def phone(self) -> str | None:
        return self.submission.phone

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.submission.metadata

    @property
    def arrived_at(self) -> datetime:
        return datetime.fromtimestamp(self.wall, UTC)

    def as_json(self) -> dict[str, Any]:
        """The request as it stands in the record file and in the sandbox's JSON. Never holds credentials."""
        return {
            "number": self.number,
            "arrivedAt": self.arrived_at.isoformat(timespec="microseconds"),
            "monotonic": self.monotonic,
            "departmentUUID": self.department_uuid,
            "userUUID": self.user_uuid,
            "customerUUID": self.customer_uuid,
            "phone": self.submission.phone,
            "body": self.submission.body,
            "additions": self.submission.additions,
            "callbackMetaData": self.submission.metadata,
            "callbackURL": self.submission.callback_url,
            "sendSynchronously": self.submission.send_synchronously,
            "textLeft": self.text_left,
            "messageUUID": self.message_uuid,
            "ending": self.answer.ending.name.lower(),
            "httpStatus": self.answer.http_status,
            "errorCodes": self.answer.codes,
            "answer": self.answer.body,
        }


class Record:
    """The requests that arrived: in memory up to `keep`, and all of them in `path` where one is given.

    A context manager: the file is open inside.
    """

    def __init__(self, path: Path | None, keep: int | None) -> None:
        self.requests: deque[ReceivedText] = deque(maxlen=keep)
        self.texts: deque[ReceivedText] = deque(maxlen=keep)
        #: Since the start or the last `clear`, those forgotten included.
        self.request_count = 0
        self.text_count = 0
        self._path = path
        self._file: FileIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                # Unbuffered: a line is in the system's hands once `add` returns, whatever kills us then.
                self._file = FileIO(self._path, "a", opener=_private)
            except OSError as error:
                raise FileError(
                    self._path,
                    f"The sandbox cannot write its record there ({error.strerror}). Choose another place.",
                ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, received: ReceivedText) -> None:
        """Takes a request down, in the file first. Raises OSError if that cannot be written."""
        if self._file is not None:
            line = json.dumps(received.as_json()).encode("ascii") + b"\n"
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "only part of a line could be written")
        self.request_count += 1
        self.requests.append(received)
        if received.text_left:
            self.text_count += 1
            self.texts.append(received)

    def texts_per_customer(self) -> Counter[str]:
        """Customer UUID -> texts that left, of those kept in memory."""
        return Counter(text.customer_uuid for text in self.texts)

    def clear(self) -> None:
        """Forgets what is in memory; the file stays."""
        self.requests.clear()
        self.texts.clear()
        self.request_count = self.text_count = 0


def _private(path: str, flags: int) -> int:
    # Texts and phones are nobody's but the owner's.
    return os.open(path, flags, 0o600)
