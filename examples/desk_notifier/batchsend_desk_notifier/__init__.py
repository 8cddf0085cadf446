"""A notifier for batchsend: opens a ticket at the help desk.

The campaign file has `notifiers = { desk = "Service" }` under `[notify]`, with the queue of the ticket.
"""

import json
import os
from urllib.request import Request, urlopen

from batchsend import Notice
from batchsend.errors import BatchsendError


def open_ticket(notice: Notice, queue: str) -> None:
    """Posts the notice to the help desk of the setting `DESK_URL`."""
    address = os.environ.get("DESK_URL")
    if address is None:
        raise BatchsendError("DESK_URL is not set. Set it to the address of the help desk.")
    ticket = {
        "queue": queue,
        "subject": notice.title,
        "text": notice.text,
        "urgent": notice.needs_attention,
    }
    request = Request(f"{address}/tickets", json.dumps(ticket).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=10):
        pass
