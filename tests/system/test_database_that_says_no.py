"""A database that refuses for a while: `send` waits and goes on, and nobody is texted twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from clusters import Shared
from postgres_server import PostgresServer
from world import Sandbox, World, customers

from batchsend.errors import StoppedError
from batchsend.ledger import opening
from batchsend.ledger.opening import open_ledger

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROWS = 60
CAMPAIGN = "[sending]\nrate = 15\nconcurrency = 5\n"
#: Fault -> the statement that begins it, the one that ends it, and what a start says meanwhile.
FAULTS = {
    "no connections": (
        "ALTER ROLE {role} CONNECTION LIMIT 0",
        "ALTER ROLE {role} CONNECTION LIMIT -1",
        "the database has no free connection",
    ),
    "away": (
        "ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        "ALTER DATABASE {name} ALLOW_CONNECTIONS true",
        "the database cannot be reached",
    ),
    "read-only": (
        "ALTER ROLE {role} SET default_transaction_read_only = on",
        "ALTER ROLE {role} RESET default_transaction_read_only",
        "the database is read-only at present",
    ),
    "statements end early": (
        "ALTER ROLE {role} SET statement_timeout = 1",
        "ALTER ROLE {role} RESET statement_timeout",
        "",
    ),
}


class Database:
    """A database of a user without special rights, which can be made to say no."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.role, self.name = f"ann_{uuid4().hex}", name
        self.admin = psycopg.connect(
            host="127.0.0.1", port=server.port, user="postgres", dbname="postgres", autocommit=True
        )
        self._do("CREATE ROLE {role} LOGIN")
        self._do("ALTER DATABASE {name} OWNER TO {role}")
        self.url = f"postgresql+psycopg://{self.role}@127.0.0.1:{server.port}/{name}"

    def close(self) -> None:
        self.admin.close()

    @contextmanager
    def fault(self, kind: str) -> Iterator[str]:
        begin, end, sentence = FAULTS[kind]
        self._do(begin)
        self._end_connections()
        try:
            yield sentence
        finally:
            self._do(end)
            if "SET" in begin:
                # Only new connections have the setting of before. Otherwise it would end those that were waited for.
                self._end_connections()

    def _do(self, statement: str) -> None:
        self.admin.execute(statement.format(role=self.role, name=self.name).encode())

    def _end_connections(self) -> None:
        self.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [self.role]
        )


@pytest.fixture
def database(postgres_server: PostgresServer, postgres_url: str) -> Iterator[Database]:
    made = Database(postgres_server, postgres_url.rpartition("/")[2])
    yield made
    made.close()


@pytest.fixture
def shared(world: World, database: Database) -> Shared:
    return Shared(world, database.url)


@pytest.mark.parametrize("when", ["in the middle", "at the end"])
@pytest.mark.parametrize("kind", FAULTS)
def test_send_waits_and_goes_on(
    shared: Shared, sandbox: Sandbox, database: Database, kind: str, when: str
) -> None:
    world = shared.world
    world.write(customers(ROWS), campaign=CAMPAIGN)
    process = world.start("send", "campaign.toml", "--yes")
    sandbox.wait_for(ROWS if when == "at the end" else 10)
    with database.fault(kind):
        # Long enough for several attempts.
        time.sleep(3)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert shared.statuses(1) == {"accepted": ROWS}
    assert sandbox.texts() == dict.fromkeys(sandbox.texts(), 1)
    assert len(sandbox.texts()) == ROWS
    assert len(world.workbook()) == ROWS
    assert shared.ask("SELECT exit_code FROM starts") == [(0,)]


@pytest.mark.parametrize("kind", ["no connections", "statements end early"])
def test_workers_wait_and_go_on(shared: Shared, sandbox: Sandbox, database: Database, kind: str) -> None:
    shared.world.write(customers(ROWS), campaign=CAMPAIGN)
    with shared.workers(1) as (worker,):
        assert shared.world.send("--detach").code == 0
        sandbox.wait_for(10)
        with database.fault(kind):
            # Long enough for several attempts.
            time.sleep(3)
        shared.wait_until("SELECT exit_code = 0 FROM starts")
        worker.terminate()
        assert worker.wait(60) == 0
    assert shared.statuses(1) == {"accepted": ROWS}
    assert sandbox.texts() == {f"customer-{row}": 1 for row in range(ROWS)}


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("in the middle", (130, "interrupted")),
        ("in quiet hours", (130, "interrupted")),
        # That one has been killed, and no row is left.
        ("after the rows of another process", (1, "done")),
    ],
)
def test_an_interrupted_send_records_its_end_once_the_database_is_back(
    shared: Shared, sandbox: Sandbox, database: Database, moment: str, end: tuple[int, str]
) -> None:
    quiet = 'quiet_hours = { from = "00:00", to = "23:59" }\n' if moment == "in quiet hours" else ""
    shared.world.write(customers(ROWS), campaign=CAMPAIGN + quiet)
    process = shared.world.start("send", "campaign.toml", "--yes", "--wait")
    shared.wait_until("SELECT count(*) = 1 FROM handovers")
    if moment == "in quiet hours":
        shared.wait_until("SELECT waits_because = 'quiet hours' FROM runs")
    elif moment == "in the middle":
        sandbox.wait_for(10)
    else:
        another_process_sends_the_rest(shared)
    with database.fault("away"):
        process.send_signal(signal.SIGTERM)
        # Long enough for several attempts.
        time.sleep(1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == end[0], out + err
    assert shared.ask("SELECT exit_code, ending FROM starts") == [end]
    assert "in_flight" not in shared.statuses(1)


def another_process_sends_the_rest(shared: Shared) -> None:
    """Makes all open rows those of another process, whose lease still lasts a few seconds."""
    with psycopg.connect(shared.url) as connection:
        connection.execute(
            "INSERT INTO leases (owner, run_id, holder, base_url, worker, lease_until)"
            " VALUES ('other', 1, 'other', '', false, extract(epoch FROM clock_timestamp()) + 6)"
        )
        connection.execute(
            "UPDATE messages SET status = 'in_flight', owner = 'other' WHERE status = 'pending'"
        )
    # The rows that the process itself had claimed are done: it waits for the others.
    shared.wait_until("SELECT count(*) = 0 FROM messages WHERE status = 'in_flight' AND owner <> 'other'")
    shared.wait_until("SELECT count(*) = 0 FROM leases WHERE run_id = 1 AND owner <> 'other'")


def test_a_send_that_is_told_to_end_without_the_database_leaves_its_run_to_the_workers(
    shared: Shared, sandbox: Sandbox, database: Database
) -> None:
    shared.world.write(customers(ROWS), campaign=CAMPAIGN)
    with shared.workers(1):
        process = shared.world.start("send", "campaign.toml", "--yes")
        sandbox.wait_for(10)
        with database.fault("away"):
            process.send_signal(signal.SIGTERM)
            # Long enough for several attempts.
            time.sleep(1)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, "was handed over to" in out) == (0, True), out + err
        shared.wait_until("SELECT exit_code = 0 FROM starts")
    assert shared.statuses(1) == {"accepted": ROWS}
    assert sandbox.texts() == {f"customer-{row}": 1 for row in range(ROWS)}


def test_a_worker_that_leaves_without_the_database_records_what_it_sent(
    shared: Shared, sandbox: Sandbox, database: Database
) -> None:
    shared.world.write(customers(ROWS), campaign=CAMPAIGN)
    with shared.workers(1) as (worker,):
        assert shared.world.send("--detach").code == 0
        sandbox.wait_for(10)
        with database.fault("away"):
            worker.terminate()
            # Long enough for several attempts.
            time.sleep(1)
        assert worker.wait(60) == 0
    texts = sandbox.texts()
    assert set(texts.values()) == {1}
    assert shared.statuses(1) == {"accepted": len(texts), "pending": ROWS - len(texts)}


@pytest.mark.parametrize("command", [("send", "campaign.toml", "--yes"), ("worker",)])
def test_a_start_waits_for_a_free_connection(
    shared: Shared, sandbox: Sandbox, database: Database, command: tuple[str, ...]
) -> None:
    world = shared.world
    world.write(customers(2))
    if command == ("worker",):
        assert world.send("--detach").code == 0
    with database.fault("no connections"):
        process = world.start(*command)
        assert process.stderr is not None
        while "the database is starting, or has no free connection" not in (
            said := process.stderr.readline()
        ):
            assert said
    shared.wait_until("SELECT exit_code = 0 FROM starts")
    if command == ("worker",):
        process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert sandbox.texts() == {"customer-0": 1, "customer-1": 1}


def test_a_start_waits_not_forever(
    shared: Shared, sandbox: Sandbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_WAIT_SECONDS", 0.1)
    waits: list[str] = []
    with database.fault("no connections"), pytest.raises(StoppedError) as stopped:
        opening.open_when_free(database.url, lambda _seconds, reason: waits.append(reason))
    assert len(waits) == 1
    assert stopped.value.exit_code == 3
    assert "Stop processes that you do not need, or raise the database's `max_connections`" in str(
        stopped.value
    )
    assert "nothing was sent by this start." in str(stopped.value)


@pytest.mark.parametrize(
    "kind", [kind for kind, (*_, words) in FAULTS.items() if words and kind != "no connections"]
)
def test_a_start_meanwhile_is_refused(
    shared: Shared, sandbox: Sandbox, database: Database, kind: str
) -> None:
    world = shared.world
    world.write(customers(2))
    with database.fault(kind) as sentence:
        refused = world.send()
    assert refused.code == 2
    assert sentence in refused.err
    assert "Traceback" not in refused.err
    assert sandbox.requests() == []
    assert world.send().code == 0


def test_send_works_where_the_user_may_not_create_the_queue(
    world: World, sandbox: Sandbox, database: Database, postgres_server: PostgresServer, postgres_url: str
) -> None:
    open_ledger(postgres_url).close()
    with psycopg.connect(postgres_server.url(database.name).replace("+psycopg", "")) as admin:
        admin.execute(f"ALTER DATABASE {database.name} OWNER TO postgres".encode())
        admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {database.role}".encode())
        admin.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {database.role}".encode())
    world.environment["BATCHSEND_LEDGER"] = database.url.replace("+psycopg", "")
    world.write(customers(2))
    worker = world.run("worker")
    assert worker.code == 2
    assert "the database's user lacks a permission" in worker.err
    sent = world.send()
    assert sent.code == 0, sent.err
    assert max(sandbox.texts().values()) == 1
    assert len(sandbox.texts()) == 2
