"""What claims and outcomes of a shared run cost the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from clusters import a_run
from ledgers import BASE_URL, came_to
from sqlalchemy import text

from batchsend.ledger.leases import Holder, LeaseKeeper
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.sending.cluster.outbox import SharedOutbox
from batchsend.sending.rows import Claimed

_READ = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'messages'"
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    opened = open_ledger(postgres_url)
    yield opened
    opened.close()


def rows_read(ledger: Ledger) -> int:
    """How many rows of `messages` the ended connections have read by an index."""
    ledger.close()
    while True:
        with ledger.read() as connection:
            # A connection reports its counts before it ends.
            if connection.scalar(text(_OTHERS)) == 0:
                return int(connection.scalar(text(_READ)) or 0)


def record(outbox: SharedOutbox, claimed: Sequence[Claimed]) -> None:
    outbox.exchange([came_to(message) for message in claimed], 0)


@pytest.mark.parametrize("end", [record, SharedOutbox.release], ids=["outcomes", "given back"])
def test_the_first_exchanges_of_a_new_run_read_only_their_own_rows(
    ledger: Ledger, end: Callable[[SharedOutbox, Sequence[Claimed]], object]
) -> None:
    # PostgreSQL has no statistics of these rows yet, and plans the first statements of a connection one by one.
    exchanges, size = 12, 20
    run = a_run(ledger, rows=3000)
    keeper = LeaseKeeper.of(ledger)
    lease = keeper.take(Holder("w", BASE_URL, True), run.run_id, run.start_id)
    assert lease is not None
    outbox = SharedOutbox(ledger, run, lease, threading.Event(), None)
    batches = [outbox.exchange([], size) for _ in range(exchanges)]
    keeper.give_up(lease)
    outbox.close()
    before = rows_read(ledger)
    for claimed in batches:
        end(outbox, claimed)
    outbox.close()
    assert rows_read(ledger) - before < 3 * exchanges * size
