"""How a run is sent: the settings that every process of the run shares."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import time, timedelta
from typing import Any

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.quiet_hours import Hours
from batchsend.mykaarma.client import ApiClient
from batchsend.mykaarma.protocol import SendingAttributes, attributes_of, run_identity
from batchsend.sending.sender import SendOptions
from batchsend.settings import Credentials
from batchsend.utils.timestamps import now

#: Seconds between two commits at most.
_MAX_COMMIT_INTERVAL = 0.05


@dataclass(frozen=True)
class RunSettings:
    """How a run is sent, whoever sends it: what its campaign file said when it was planned.

    `sender_per_row`: departments or users come from the list; `wait`: for quiet hours to end.
    """

    base_url: str
    rate: float
    concurrency: int
    timeout: float
    stop_after_failures: int
    give_up_after: float
    attributes: SendingAttributes
    sender_per_row: bool
    hours: Hours | None
    wait: bool

    @classmethod
    def of(cls, campaign: Campaign, base_url: str, hours: Hours | None, *, wait: bool) -> RunSettings:
        sending = campaign.sending
        return cls(
            base_url,
            sending.rate,
            sending.concurrency,
            sending.timeout,
            sending.stop_after_failures,
            sending.give_up_after.total_seconds(),
            attributes_of(campaign),
            campaign.department_uuid is None or campaign.user_uuid is None,
            hours,
            wait,
        )

    def to_json(self) -> str:
        fields = asdict(self)
        if self.hours is not None:
            fields["hours"].update(
                begins=self.hours.begins.isoformat(),
                ends=self.hours.ends.isoformat(),
                lead=self.hours.lead.total_seconds(),
            )
        return json.dumps(fields, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> RunSettings:
        fields: dict[str, Any] = json.loads(text)
        hours = fields["hours"]
        if hours is not None:
            hours = Hours(
                **{
                    **hours,
                    "begins": time.fromisoformat(hours["begins"]),
                    "ends": time.fromisoformat(hours["ends"]),
                    "lead": timedelta(seconds=hours["lead"]),
                }
            )
        return cls(**{**fields, "attributes": SendingAttributes(**fields["attributes"]), "hours": hours})


def client_of(settings: RunSettings, credentials: Credentials) -> ApiClient:
    return ApiClient(
        settings.base_url,
        credentials.username,
        credentials.password,
        options=settings.attributes,
        timeout=settings.timeout,
        connections=settings.concurrency,
        sender_per_row=settings.sender_per_row,
    )


def min_commit_interval(settings: RunSettings) -> float:
    """Seconds between two commits of one process: no more than it takes to send half of what it may have claimed."""
    return min(_MAX_COMMIT_INTERVAL, settings.concurrency / (2 * settings.rate))


def send_options(settings: RunSettings, ledger_id: str, run_id: int) -> SendOptions:
    hours = settings.hours
    return SendOptions(
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        stop_after_failures=settings.stop_after_failures,
        give_up_after=settings.give_up_after,
        identity=run_identity(ledger_id, str(run_id)),
        may_leave=lambda clock: hours is None or hours.allows(now(), clock),
    )
