"""How many connections to the database each process has, as docs/operating-workers.md says."""

from __future__ import annotations

import time

import pytest
from clusters import Shared
from world import Sandbox, World, customers

pytestmark = pytest.mark.system

OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
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
    world.write(customers(120), campaign="[sending]\nrate = 40\nconcurrency = 10\n")
    alone = most_connections(shared)
    assert 1 <= alone <= 5
    with shared.workers(1):
        world.write_list(customers(120, "more"))
        assert most_connections(shared) <= alone + 7
    assert len(sandbox.texts()) == 240
