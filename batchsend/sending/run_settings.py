"""The settings of one run, shared by all processes that send it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import time, timedelta
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.quiet_hours import Hours, Rule, Window
from batchsend.errors import LedgerError
from batchsend.mykaarma.client import ApiClient
from batchsend.mykaarma.protocol import SendingAttributes, attributes_of
from batchsend.settings import Credentials
from batchsend.utils.timestamps import now


@dataclass(frozen=True)
class RunSettings:
    """How a run is sent: what its campaign file said when the run was planned.

    `rate` is in requests a second, `timeout` and `give_up_after` are in seconds. `sender_per_row`: departments or
    users come from the list. `hours`: the quiet hours to keep; `wait`: stay until they end.
    """

    base_url: str
    rate: float
    concurrency: int
    timeout: float
    stop_after_failures: int
    give_up_after: float
    attributes: SendingAttributes
    sender_per_row: bool
    hours: Hours | None = None
    wait: bool = False

    @classmethod
    def of(
        cls, campaign: Campaign, base_url: str, hours: Hours | None = None, *, wait: bool = False
    ) -> RunSettings:
        sending = campaign.sending
        return cls(
            base_url=base_url,
            rate=sending.pace,
            concurrency=sending.concurrency,
            timeout=sending.timeout,
            stop_after_failures=sending.stop_after_failures,
            # A text that has to be sent again waits for the next slot, which can be far off.
            give_up_after=max(sending.give_up_after.total_seconds(), 3 / sending.pace),
            attributes=attributes_of(campaign),
            sender_per_row=campaign.department_uuid is None or campaign.user_uuid is None,
            hours=hours,
            wait=wait,
        )

    @property
    def awaited_hours(self) -> Hours | None:
        """The quiet hours whose end is waited for."""
        return self.hours if self.wait else None

    def may_send(self, clock: str) -> bool:
        """Whether a request to a recipient with this clock may begin now."""
        return self.hours is None or self.hours.allows(now(), clock)

    def client(self, credentials: Credentials) -> ApiClient:
        """The HTTP client for this run."""
        return ApiClient(
            self.base_url,
            credentials,
            options=self.attributes,
            timeout=self.timeout,
            sender_per_row=self.sender_per_row,
        )

    def to_json(self) -> str:
        fields = asdict(self)
        if self.hours is not None:
            fields["hours"]["lead"] = self.hours.lead.total_seconds()
        # Times are the only values left that JSON does not have.
        return json.dumps(fields, ensure_ascii=False, default=time.isoformat)

    @classmethod
    def from_json(cls, text: str) -> RunSettings:
        """Raises `LedgerError` for the settings of another version of batchsend."""
        try:
            return cls._of_fields(json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerError(
                "Another version of batchsend planned this run. Install that version here too, or run `send` again."
            ) from error

    @classmethod
    def _of_fields(cls, fields: dict[str, Any]) -> RunSettings:
        attributes = SendingAttributes(**fields["attributes"])
        hours = None if fields["hours"] is None else _hours(fields["hours"])
        return cls(**{**fields, "attributes": attributes, "hours": hours})


def _hours(fields: dict[str, Any]) -> Hours:
    return Hours(
        **{
            **fields,
            "begins": _time(fields["begins"]),
            "ends": _time(fields["ends"]),
            "lead": timedelta(seconds=fields["lead"]),
            # Earlier versions have neither of these.
            "days_off": tuple(fields.get("days_off", ())),
            "states": tuple((state, _rule(*rule)) for state, rule in fields.get("states", ())),
        }
    )


def _rule(
    daily: list[str] | None, saturday: list[str] | None, sunday: list[str] | None, days_off: list[str]
) -> Rule:
    return Rule(_window(daily), _window(saturday), _window(sunday), tuple(days_off))


def _window(times: list[str] | None) -> Window | None:
    return None if times is None else Window(*map(time.fromisoformat, times))


def _time(text: str | None) -> time | None:
    return None if text is None else time.fromisoformat(text)
