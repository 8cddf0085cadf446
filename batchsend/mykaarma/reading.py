"""What the answer to a reading request means in general. Pure functions; `reader` makes the requests.

Reading needs permissions of its own, which an account that sends texts may lack. So a refusal here concerns reading
only: it must neither stop nor fail a send.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from batchsend.mykaarma.protocol import Refused, RetryLater, error_codes, json_value
from batchsend.mykaarma.retry_after import retry_seconds, server_time

#: With one of these, an answer without JSON comes from something else than the route that was asked.
_OTHER_ROUTE = frozenset({*range(300, 400), 405})
#: With one of these, a web page does, too. Any other answer without JSON may concern this request alone.
_OTHER_ROUTE_WITH_PAGE = frozenset({*range(200, 300), 404})


class Permission(NamedTuple):
    """What an account may read: `scope` as myKaarma calls it, `action` and `thing` in words."""

    scope: str
    action: str
    thing: str


class Reading(NamedTuple):
    """An answer that came: its HTTP status, body and headers, which ignore case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class NotRead(NamedTuple):
    """This request could not be answered, and others may be. `reason` is a sentence without personal data."""

    reason: str


def read_json(
    url: str, reading: Reading, permission: Permission, ours: datetime
) -> object | NotRead | RetryLater | Refused:
    """The JSON of an answer with a success; else why there is none. `ours`: this computer's time."""
    status, body, headers = reading
    if status in (401, 403):
        return Refused(
            f"{url}: myKaarma does not let this account {permission.action} (HTTP {status}). Ask myKaarma support "
            f"for the scope `{permission.scope}`, or look in myKaarma itself. Nothing was changed, and texts can "
            f"still be sent."
        )
    if status in (429, 502, 503, 504):
        wait = retry_seconds(headers.get("Retry-After"), server_time(headers.get("Date"), ours))
        reason = f"myKaarma does not answer now (HTTP {status})"
        return RetryLater(reason, "Try again later.", status == 429, wait)
    answer = json_value(body)
    if isinstance(answer, dict | list):
        if status < 300:
            return answer
        codes = error_codes(answer) if isinstance(answer, dict) else ()
        return NotRead(
            f"myKaarma could not read {permission.thing} ({'; '.join(codes) or f'HTTP {status}'})."
        )
    is_page = body.lstrip()[:1] == b"<"
    if status in _OTHER_ROUTE or (is_page and status in _OTHER_ROUTE_WITH_PAGE):
        kind = "a web page" if is_page else "something else"
        return Refused(
            f"{url}: the answer is not {permission.thing} but {kind} (HTTP {status}). This route is "
            f"probably not live for this account. Ask myKaarma support for the scope `{permission.scope}`. Nothing "
            f"was changed, and texts can still be sent."
        )
    return NotRead(f"myKaarma could not read {permission.thing} (HTTP {status}).")
