"""Sends one run from one of several processes: takes a lease, claims rows under it, sends, gives the lease up."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from batchsend.ledger.database_errors import retry
from batchsend.ledger.ledger import Ledger
from batchsend.mykaarma.protocol import run_identity
from batchsend.sending.cluster.leases import Holder, LeaseKeeper
from batchsend.sending.cluster.open_runs import OpenRun
from batchsend.sending.cluster.outbox import SharedOutbox
from batchsend.sending.cluster.pacing import SharedPacer, SlotBook
from batchsend.sending.dispatch import SendLoop
from batchsend.sending.outbox import SuppressionFiles
from batchsend.sending.stopping import Ending
from batchsend.settings import Credentials


class ClusterProcess:
    """This process as one that sends runs of a PostgreSQL ledger: its leases, its slots and its credentials.

    `leaving`: once it is set, a database that cannot be reached is not waited for. Belongs to one event loop.
    """

    def __init__(self, ledger: Ledger, credentials: Credentials, holder: Holder) -> None:
        self.ledger = ledger
        self.credentials = credentials
        self.holder = holder
        self.leaving = threading.Event()
        self.book = SlotBook(ledger)
        self.keeper = LeaseKeeper.of(ledger)

    def close(self) -> None:
        self.book.close()


async def send_run(
    process: ClusterProcess, run: OpenRun, loop: SendLoop, files: SuppressionFiles | None
) -> Ending | None:
    """Sends what is left of a run, under a lease of its own; `None`: the run may not be sent any more.

    Raises `LeaseLostError` where other processes took this one for dead, `LedgerError`, and any other error from
    inside.
    """
    identity = run_identity(await asyncio.to_thread(retry, process.ledger.ledger_id), str(run.run_id))
    take = partial(process.keeper.take, process.holder, run.run_id, run.start_id)
    lease = await asyncio.to_thread(retry, take, loop.stop.is_interrupted)
    if lease is None:
        return None
    outbox = SharedOutbox(process.ledger, run, lease, process.leaving, files)
    pacer = SharedPacer(process.book, run.run_id, run.settings.rate, lease)
    try:
        async with run.settings.client(process.credentials) as client:
            return await loop.run(outbox, client, pacer, identity)
    finally:
        outbox.close()
        await asyncio.to_thread(process.keeper.give_up, lease, settled=outbox.settled)
