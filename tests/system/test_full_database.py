"""A database without a free connection or without room: `send` and workers wait, and nobody is texted twice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from clusters import Shared
from limits import SmallDisk, small_disk
from postgres_server import Cluster, PostgresUnavailableError, find_binaries, running_postgres
from world import Sandbox, World, customers

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROWS = 40
CAMPAIGN = "[sending]\nrate = 20\nconcurrency = 5\n"
DISK = 128 * 1024 * 1024
#: PostgreSQL keeps some connections free for its superuser, so that these tests can look at it.
SERVER = "max_connections = 24\nsuperuser_reserved_connections = 4\n"


class FullServer(Shared):
    """A ledger of a user without special rights, on a server with few connections."""

    def __init__(self, world: World, port: int) -> None:
        self.admin = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with psycopg.connect(self.admin, autocommit=True) as admin:
            admin.execute("CREATE ROLE ann LOGIN")
            admin.execute("CREATE DATABASE texts OWNER ann")
        self.of_ann = f"postgresql://ann@127.0.0.1:{port}/texts"
        super().__init__(world, self.of_ann)
        self.url = f"postgresql://postgres@127.0.0.1:{port}/texts"

    @contextmanager
    def crowded(self, free: int) -> Iterator[None]:
        """Takes all connections that are left but `free`."""
        with ExitStack() as taken:
            others = []
            with suppress(psycopg.OperationalError):
                while True:
                    others.append(taken.enter_context(psycopg.connect(self.of_ann)))
            for one in others[:free]:
                one.close()
            yield


def check(shared: Shared, sandbox: Sandbox, rows: int) -> None:
    assert shared.statuses(1) == {"accepted": rows}
    assert sandbox.texts() == {f"customer-{row}": 1 for row in range(rows)}


@pytest.fixture
def server(world: World) -> Iterator[FullServer]:
    with running_postgres(SERVER) as running:
        yield FullServer(world, running.port)


@pytest.mark.parametrize("free", [2, 3])
def test_a_run_goes_on_although_others_hold_the_connections(
    server: FullServer, sandbox: Sandbox, free: int
) -> None:
    world = server.world
    world.write(customers(ROWS), campaign=CAMPAIGN)
    first = world.start("send", "campaign.toml", "--yes")
    sandbox.wait_for(10)
    world.run("stop", "campaign.toml")
    first.communicate(timeout=60)
    with server.crowded(free):
        again = world.start("send", "campaign.toml", "--yes")
        server.wait_until("SELECT count(*) = 2 FROM starts")
        # Long enough for several attempts.
        time.sleep(3)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    check(server, sandbox, ROWS)


def test_a_run_can_be_started_again_although_its_workers_hold_the_connections(
    server: FullServer, sandbox: Sandbox
) -> None:
    world = server.world
    world.write(customers(ROWS), campaign=CAMPAIGN)
    with server.workers(2):
        first = world.start("send", "campaign.toml", "--yes")
        sandbox.wait_for(10)
        world.run("stop", "campaign.toml")
        first.communicate(timeout=60)
        with server.crowded(2):
            so_far = sandbox.texts()
            again = world.send()
            if again.code == 2:
                # A worker took what was free.
                assert "the database has no free connection" in again.err
                assert sandbox.texts() == so_far
        again = world.send()
        assert again.code == 0, again.err
    check(server, sandbox, ROWS)


def test_without_any_connection_nothing_is_sent(server: FullServer, sandbox: Sandbox) -> None:
    world = server.world
    world.write(customers(2))
    with server.crowded(0):
        refused = world.send()
        worker = world.run("worker")
    for one in (refused, worker):
        assert (one.code, "the database has no free connection" in one.err) == (3, True), one.err
        assert "`max_connections`" in one.err
    assert sandbox.requests() == []
    assert world.send().code == 0


@pytest.fixture
def disk() -> Iterator[tuple[SmallDisk, Cluster]]:
    """A database whose data are on a small disk."""
    with TemporaryDirectory(prefix="small-postgres-") as name, small_disk(Path(name) / "disk", DISK) as small:
        if small.prepare is not None:
            pytest.skip("mounting a small file system")
        cluster = Cluster(Path(name), find_binaries())
        cluster.data = small.folder / "data"
        if cluster.identity:
            os.chown(small.folder, cluster.identity["user"], cluster.identity["group"])
        cluster.settings = "min_wal_size = 32MB\nmax_wal_size = 32MB\n"
        cluster.start()
        try:
            yield small, cluster
        finally:
            cluster.stop()


def test_the_databases_disk_is_full(disk: tuple[SmallDisk, Cluster], world: World, sandbox: Sandbox) -> None:
    small, cluster = disk
    shared = Shared(world, f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres")
    rows = ROWS * 5
    world.write(customers(rows), campaign=CAMPAIGN)
    with shared.workers(1):
        process = world.start("send", "campaign.toml", "--yes")
        sandbox.wait_for(20)
        small.fill(0)
        while "No space left on device" not in cluster.log.read_text(encoding="utf-8"):
            time.sleep(0.1)
        # Long enough for several attempts.
        time.sleep(3)
        small.make_room()
        with suppress(PostgresUnavailableError):
            # Where its log could not be written, the server gave up.
            cluster.restart()
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    check(shared, sandbox, rows)
