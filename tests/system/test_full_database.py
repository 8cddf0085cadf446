"""A database without a free connection or without room: `send` and workers wait and go on, and nobody is texted twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest
from clusters import Shared
from postgres_server import running_postgres
from world import Finished, Sandbox, World, customers

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROWS = 40
CAMPAIGN = "[sending]\nrate = 20\nconcurrency = 5\n"
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


@pytest.fixture
def server(world: World) -> Iterator[FullServer]:
    with running_postgres(SERVER) as running:
        yield FullServer(world, running.port)


def finished(process: subprocess.Popen[str], seconds: float) -> Finished:
    out, err = process.communicate(timeout=seconds)
    return Finished(process.returncode, out, err)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("free", [0, 1, 2, 3, 4])
def test_send_waits_for_free_connections(server: FullServer, sandbox: Sandbox, free: int, workers: int) -> None:
    world = server.world
    world.write(customers(ROWS), campaign=CAMPAIGN)
    with server.workers(workers):
        with server.crowded(free):
            process = world.start("send", "campaign.toml", "--yes")
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            print(free, workers, process.poll(), len(sandbox.requests()), server.ask("SELECT count(*) FROM starts"))
        sent = finished(process, 120)
        print(sent.code, sent.err[-400:])
