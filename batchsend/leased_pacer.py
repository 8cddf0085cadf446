"""A pacer whose requests leave only while a lease lasts."""

from __future__ import annotations

import asyncio

from batchsend.sending.cluster.leases import Lease, lease_lost
from batchsend.sending.cluster.pacing import step_back
from batchsend.sending.pacing import Pause
from batchsend.sending.sender import Pacing

#: How often somebody who waits for a renewal looks.
_LOOK_SECONDS = 0.05


class LeasedPacer:
    """A pacer whose requests leave only while a lease lasts."""

    def __init__(self, pacer: Pacing, lease: Lease) -> None:
        self._pacer = pacer
        self._lease = lease

    @property
    def rate(self) -> float:
        return self._pacer.rate

    async def slot(self) -> float:
        while True:
            await self._valid_lease()
            slot = await self._pacer.slot()
            if self._lease.valid():
                return slot

    async def departure(self) -> None:
        await self._pacer.departure()
        if self._lease.lost:
            raise lease_lost()
        if not self._lease.valid():
            await step_back()

    def turned_away(
        self, departed: float, retry_after: float | None, *, slow_down: bool, reason: str
    ) -> Pause | None:
        return self._pacer.turned_away(departed, retry_after, slow_down=slow_down, reason=reason)

    def taken(self) -> None:
        self._pacer.taken()

    async def _valid_lease(self) -> None:
        while not self._lease.valid():
            if self._lease.lost:
                raise lease_lost()
            await asyncio.sleep(_LOOK_SECONDS)
