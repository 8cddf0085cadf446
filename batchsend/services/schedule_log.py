"""The log of `batchsend schedule`: JSON objects, one a line, like that of the started processes (`cli/json_log.py`).

Each has `time`, `event` and `message`, and where they are known `campaign`, `file`, `planned` (the time of a start),
`next` and `exit`.

- `watching`, `removed`, `problem`, `warning`: about a campaign file
- `started`, `goes_on` (resumed), `finished`, `retry` (`at`: when the start is tried again), `approval` (it waits for
  one; `at`: until when): about a start
- `missed`: this start is not made, or not tried again (`left`: rows that were not sent, if they are known);
  `already`: it was made before, or by another scheduler
- `clock`, `forgotten`: the ledger has starts that were planned for the future, and they are deleted
- `stopping`, `stopped`: about the scheduler
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.utils.timestamps import to_text

#: What people are told. How a start ended, the start itself tells.
_ALARMING = ("missed", "problem")


@dataclass(frozen=True)
class EventLog:
    """Writes events as JSON lines."""

    write: Callable[[str], object]
    clock: Callable[[], datetime]
    #: Tells people of the campaign what they should know at once.
    alarm: Callable[[Campaign, str], object] = lambda _campaign, _message: None

    def __call__(
        self,
        event: str,
        message: str,
        campaign: Campaign | None = None,
        *,
        file: Path | None = None,
        **facts: Any,
    ) -> None:
        """Writes one line. Times among the `facts` are written as UTC text."""
        entry: dict[str, Any] = {"time": self.clock(), "event": event}
        if campaign is not None:
            entry |= {"campaign": campaign.name, "file": str(campaign.path)}
        elif file is not None:
            entry |= {"file": str(file)}
        entry |= {"message": message, **facts}
        self.write(json.dumps(entry, default=_text))
        if campaign is not None and event in _ALARMING:
            self.alarm(campaign, message)


def _text(value: object) -> str:
    return to_text(value) if isinstance(value, datetime) else str(value)
