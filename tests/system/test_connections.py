"""How many connections to the database each process has, as docs/operating-workers.md says."""

from __future__ import annotations

import time

import pytest
from clusters import Shared
from world import CAMPAIGN, Sandbox, World, customers

pytestmark = pytest.mark.system

PACE = "[sending]\nrate = 40\nconcurrency = 10\n"
# Autovacuum has processes in the database, too.
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def most_connections(shared: Shared) -> int:
    """The most connections that were seen while a run was sent."""
    sent = shared.world.start("send", "campaign.toml", "--yes")
    most = 0
    while sent.poll() is None:
        most = max(most, shared.ask(OTHERS)[0][0])
        time.sleep(0.05)
    sent.communicate()
    assert sent.returncode == 0
    return most


def test_a_process_has_few_connections(world: World, postgres_url: str, sandbox: Sandbox) -> None:
    shared = Shared(world, postgres_url)
    world.write(customers(120), campaign=PACE)
    alone = most_connections(shared)
    assert 1 <= alone <= 5
    with shared.workers(1):
        world.write_list(customers(120, "more"))
        assert most_connections(shared) <= alone + 7
    assert len(sandbox.texts()) == 240


def test_the_url_limits_a_workers_connections(world: World, postgres_url: str, sandbox: Sandbox) -> None:
    shared = Shared(world, postgres_url)
    runs, rows = 3, 30
    with shared.workers(1, BATCHSEND_LEDGER=f"{shared.url}?connections=8"):
        for number in range(runs):
            world.write(
                customers(rows, f"c{number}"), campaign=CAMPAIGN.replace("Spring", f"Run {number}") + PACE
            )
            assert world.send("--detach", "--new-campaign").code == 0
        most = 0
        while shared.ask("SELECT count(*) FROM messages WHERE status IN ('pending', 'in_flight')") != [(0,)]:
            most = max(most, shared.ask(OTHERS)[0][0])
    assert 5 <= most <= 8
    assert sandbox.texts() == {f"c{number}-{row}": 1 for number in range(runs) for row in range(rows)}


def test_send_works_with_the_fewest_connections(world: World, postgres_url: str, sandbox: Sandbox) -> None:
    shared = Shared(world, f"{postgres_url}?connections=8")
    shared.url = shared.url.partition("?")[0]
    world.write(customers(120), campaign=PACE)
    assert 1 <= most_connections(shared) <= 8
    assert len(sandbox.texts()) == 120
