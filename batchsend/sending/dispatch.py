"""Sends a run from this process alone: one session, one rate limit, signals, and the wait for quiet hours to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from batchsend.campaigns.quiet_hours import Hours, first_allowed
from batchsend.campaigns.zones import zone_with_newest_rules
from batchsend.ledger.database_errors import retry
from batchsend.mykaarma.client import Poster
from batchsend.sending.outbox import Outbox
from batchsend.sending.pacing import Pacer, Pacing, Pause
from batchsend.sending.run_settings import RunSettings
from batchsend.sending.sender import Event, Sender
from batchsend.sending.stopping import STOP_REQUESTED, Ending, Stop
from batchsend.settings import Credentials
from batchsend.utils.signals import finishing_on_signals
from batchsend.utils.timestamps import for_people, now

T = TypeVar("T")

#: How often to check the clock while waiting for quiet hours to end: it jumps when a computer wakes up.
_CHECK_SECONDS = 1.0
#: A clock that was set back by more than this was wrong when the wait began.
_SET_BACK = timedelta(minutes=1)


async def dispatch(
    settings: RunSettings,
    identity: Mapping[str, str],
    credentials: Credentials,
    outbox: Outbox,
    listener: Callable[[Event], None],
    first_in: float = 0.0,
) -> Ending:
    """Sends the outbox's rows. Ctrl-C and SIGTERM end it once the requests in flight are finished.

    `identity` is what the callback metadata of every request carries in addition to its row. `first_in`: seconds
    until the first request may leave.
    """
    async with settings.client(credentials) as client:
        loop = SendLoop(settings, listener)
        interrupted = Ending("interrupted", interrupted=True)
        with finishing_on_signals(lambda _number: loop.stop(interrupted)):
            return await loop.run(outbox, client, Pacer(settings.rate, first_in=first_in), identity)


class SendLoop:
    """Sends until no row is left or all have to wait for quiet hours; with `wait`, waits for these to end.

    `stop` ends it early.
    """

    def __init__(self, settings: RunSettings, listener: Callable[[Event], None]) -> None:
        self.stop = Stop()
        self._settings = settings
        self._listener = listener

    async def run(self, outbox: Outbox, poster: Poster, pacer: Pacing, identity: Mapping[str, str]) -> Ending:
        """Sends until nothing is left or something stops it. Raises as `Sender.run` does."""
        hours = self._settings.awaited_hours
        while True:
            sender = Sender(outbox, poster, pacer, self._settings, identity, self._listener, self.stop)
            ending = await sender.run()
            if ending.reason is not None or hours is None:
                return ending
            clocks = await self._retry(outbox.quiet_clocks)
            opening = first_allowed(hours, now(), clocks)
            if opening is None:
                return ending
            stopped = await self._wait_until(opening, hours, outbox)
            if stopped is not None:
                return stopped
            open_clocks = [clock for clock in clocks if hours.allows(now(), clock)]
            await self._retry(partial(outbox.end_quiet_hours, open_clocks))

    async def _retry(self, action: Callable[[], T]) -> T:
        return await asyncio.to_thread(retry, action)

    async def _wait_until(self, opening: datetime, hours: Hours, outbox: Outbox) -> Ending | None:
        """Waits until this moment, or until the clock is set back: then these hours may end on another day.

        Returns the ending where the run is stopped meanwhile.
        """
        checked_at = now()
        left = (opening - checked_at).total_seconds()
        if left > 0:
            until = for_people(opening, zone_with_newest_rules(hours.fallback))
            self._listener(Pause(left, f"quiet hours until {until}"))
            await asyncio.to_thread(outbox.note_pause, left, "quiet hours")
        while (left := (opening - now()).total_seconds()) > 0:
            if now() < checked_at - _SET_BACK:
                return None
            checked_at = now()
            await self.stop.wait(min(left, _CHECK_SECONDS))
            if not self.stop.is_set() and await asyncio.to_thread(outbox.stop_requested):
                self.stop(STOP_REQUESTED)
            if self.stop.is_set():
                break
        return self.stop.ending
