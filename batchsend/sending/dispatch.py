"""A run's sending on this machine: one session, one pace, signals, and the nights in between where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.quiet_hours import Hours, first_opening
from batchsend.mykaarma.client import ApiClient
from batchsend.mykaarma.protocol import attributes_of
from batchsend.sending.outbox import Outbox
from batchsend.sending.pacing import Pacer
from batchsend.sending.sender import Ending, Event, Pacing, Poster, Sender, SendOptions, Waiting
from batchsend.settings import Credentials
from batchsend.utils.signals import finishing_on_signals
from batchsend.utils.timestamps import for_people, now

#: How often somebody who waits for the morning looks at the clock: it jumps when a computer wakes up.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Sending:
    """What one start sends, and how. `hours`: the quiet hours to keep; `wait`: until they end."""

    campaign: Campaign
    base_url: str
    credentials: Credentials
    identity: Mapping[str, str]
    hours: Hours | None
    wait: bool


async def dispatch(sending: Sending, outbox: Outbox, listener: Callable[[Event], None]) -> Ending:
    """Sends what the outbox holds. Ctrl-C and SIGTERM end it once what is in flight is finished."""
    campaign = sending.campaign
    client = ApiClient(
        sending.base_url,
        sending.credentials.username,
        sending.credentials.password,
        options=attributes_of(campaign),
        timeout=campaign.sending.timeout,
        connections=campaign.sending.concurrency,
        sender_per_row=campaign.department_uuid is None or campaign.user_uuid is None,
    )
    async with client:
        shifts = SendLoop(sending, outbox, client, Pacer(campaign.sending.rate), listener)
        interrupted = Ending("interrupted", interrupted=True)
        with finishing_on_signals(lambda _number: shifts.stop(interrupted)):
            return await shifts.run()


class SendLoop:
    """Sends until nothing is left, or only rows whose time has not come; then waits for it where that is asked."""

    def __init__(
        self,
        sending: Sending,
        outbox: Outbox,
        poster: Poster,
        pacer: Pacing,
        listener: Callable[[Event], None],
    ) -> None:
        self._sending = sending
        self._outbox = outbox
        self._poster = poster
        self._listener = listener
        self._pacer = pacer
        self._sender: Sender | None = None
        self._ending: Ending | None = None
        self._stopped = asyncio.Event()

    def stop(self, ending: Ending) -> None:
        """No further request leaves."""
        self._ending = ending
        self._stopped.set()
        if self._sender is not None:
            self._sender.stop(ending)

    async def run(self) -> Ending:
        while True:
            self._sender = Sender(self._outbox, self._poster, self._pacer, self._options(), self._listener)
            if self._ending is not None:
                self._sender.stop(self._ending)
            ending = await self._sender.run()
            hours = self._sending.hours
            if ending.reason is not None or hours is None or not self._sending.wait:
                return ending
            clocks = await asyncio.to_thread(self._outbox.sleeping)
            opening = first_opening(hours, now(), clocks)
            if opening is None:
                return ending
            ended = await self._wait_until(opening)
            if ended is not None:
                return ended
            awake = [clock for clock in clocks if hours.allows(now(), clock)]
            await asyncio.to_thread(self._outbox.wake, awake)

    async def _wait_until(self, opening: datetime) -> Ending | None:
        left = (opening - now()).total_seconds()
        if left > 0:
            until = for_people(opening, self._sending.campaign.zone)
            self._listener(Waiting(left, f"quiet hours until {until}"))
        while (left := (opening - now()).total_seconds()) > 0:
            try:
                await asyncio.wait_for(self._stopped.wait(), min(left, _LOOK_SECONDS))
            except TimeoutError:
                if await asyncio.to_thread(self._outbox.stop_requested):
                    return Ending("somebody asked this run to stop", asked=True)
            else:
                return self._ending
        return None

    def _options(self) -> SendOptions:
        settings, hours = self._sending.campaign.sending, self._sending.hours
        return SendOptions(
            concurrency=settings.concurrency,
            timeout=settings.timeout,
            stop_after_failures=settings.stop_after_failures,
            give_up_after=settings.give_up_after.total_seconds(),
            identity=self._sending.identity,
            may_leave=lambda clock: hours is None or hours.allows(now(), clock),
        )
