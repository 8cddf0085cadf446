"""How long a process may rely on a lease. What leases do for a run: `sending/cluster/test_open_runs.py`."""

from __future__ import annotations

from batchsend.ledger.leases import Lease, clocks


def test_either_clock_ends_a_lease() -> None:
    lease = Lease()
    began, at = clocks()
    lease.extend((began, at))
    assert lease.valid()
    for monotonic, wall in [(began + 9, 0.0), (0.0, at + 9)]:
        lease._until = (monotonic, wall)
        assert not lease.valid()
