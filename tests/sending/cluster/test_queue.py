"""Runs that several processes send together, with real workers, a real database and the server's record."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from clusters import Shared, a_run
from ledgers import BASE_URL
from sqlalchemy import text, update
from world import Sandbox, World, customers, running_sandbox

from batchsend.ledger.opening import open_ledger
from batchsend.ledger.schema import messages
from batchsend.sending.cluster.open_runs import close_run
from batchsend.sending.cluster.queue import defer_chunks, forget_chunks, upgrade_queue

SLOW = "[sending]\nrate = 40\nconcurrency = 10\n"


@pytest.fixture
def shared(world: World, postgres_url: str) -> Shared:
    return Shared(world, postgres_url)


def test_workers_help_and_every_row_is_in_the_results_once(shared: Shared, sandbox: Sandbox) -> None:
    world = shared.world
    world.write(customers(450), campaign="[sending]\nrate = 200\nconcurrency = 10\n")
    with shared.workers(2) as workers:
        sent = world.start("send", "campaign.toml", "--yes")
        # All three send at the same time.
        shared.wait_until("SELECT count(*) = 3 FROM leases WHERE run_id = 1")
        out, err = sent.communicate(timeout=90)
        assert sent.returncode == 0, err
        assert "450 rows = 450 accepted by myKaarma + 0 skipped + 0 need attention + 0 waiting" in out
        assert set(sandbox.texts().values()) == {1}
        assert {row["status"] for row in world.workbook().values()} == {"accepted"}
        assert len(world.workbook()) == 450
        # Finished jobs are gone, and so are all leases of the run.
        shared.wait_until(
            "SELECT count(*) = 0 FROM procrastinate_jobs WHERE task_name = 'batchsend.send_chunk'"
        )
        shared.wait_until("SELECT count(*) = 0 FROM leases WHERE run_id IS NOT NULL")
        for worker in workers:
            worker.terminate()
        assert [worker.wait(30) for worker in workers] == [0, 0]
    assert shared.ask("SELECT * FROM leases") == []


@pytest.mark.system
def test_without_workers_two_laptops_share_the_ledger(tmp_path: Path, postgres_url: str) -> None:
    with running_sandbox(tmp_path, "--latency", "0.05") as sandbox:
        laptops = []
        for name in ("ann", "ben"):
            folder = tmp_path / name
            folder.mkdir()
            laptop = World(
                folder, sandbox.base_url, {"BATCHSEND_LEDGER": postgres_url.replace("+psycopg", "")}
            )
            laptop.write(customers(300), campaign=SLOW)
            laptops.append(laptop)
        ann, ben = laptops
        sending = ann.start("send", "campaign.toml", "--yes")
        try:
            sandbox.wait_for(5)
            assert ben.send().code == 4
            ben.write(campaign="[sending]\nrate = 1000\n")
            ben.write_list(customers(50, "other"), "others.csv")
            summer = (ben.folder / "campaign.toml").read_text("utf-8").replace("Spring", "Summer")
            (ben.folder / "summer.toml").write_text(summer.replace("customers.csv", "others.csv"), "utf-8")
            assert ben.run("send", "summer.toml", "--yes").code == 0
        finally:
            sending.kill()
            sending.communicate()
        # Its process is dead, and its requests in flight may have been sent.
        ann.write(campaign="[sending]\nrate = 1000\n")
        done = ann.send()
        assert done.code in (0, 1), done.err
        statuses = [row["status"] for row in ann.workbook().values()]
        assert len(statuses) == 300
        assert set(statuses) <= {"accepted", "unconfirmed"}
        assert set(sandbox.texts().values()) == {1}


def test_a_ledger_in_a_file_has_no_workers(world: World) -> None:
    world.write(customers(2))
    refused = world.send("--detach")
    worker = world.run("worker")
    assert (refused.code, worker.code) == (2, 2)
    assert "--detach hands a run over to workers, which need a ledger on PostgreSQL." in refused.err
    assert "Workers need a ledger on PostgreSQL" in worker.err


def test_the_first_send_creates_the_queue(world: World, postgres_url: str, sandbox: Sandbox) -> None:
    world.environment["BATCHSEND_LEDGER"] = postgres_url.replace("+psycopg", "")
    world.write(customers(2))
    assert world.send().code == 0
    assert len(sandbox.texts()) == 2
    assert "Queue for workers: up to date" in world.run("ledger", "upgrade").out


def test_the_queue_of_another_version_is_left_alone(
    world: World, postgres_url: str, sandbox: Sandbox
) -> None:
    shared = Shared(world, postgres_url)
    with psycopg.connect(shared.url) as connection:
        connection.execute("UPDATE meta SET value = '00.00.00_older.sql' WHERE name = 'queue_migration'")
    world.write(customers(2))
    for refused in (world.send("--detach"), world.run("worker")):
        assert refused.code == 2
        assert "the queue for workers is older than this program" in refused.err
        assert "Run `batchsend ledger upgrade`" in refused.err
    # Without workers, no queue is needed.
    assert world.send().code == 0
    assert len(sandbox.texts()) == 2
    assert shared.ask("SELECT count(*) FROM procrastinate_jobs WHERE task_name LIKE '%chunk'") == [(0,)]


def test_a_rehearsal_has_no_workers(world: World) -> None:
    world.write(customers(2))
    refused = world.send("--sandbox", "--detach")
    assert refused.code == 2
    assert "leave --detach or --sandbox out" in refused.err


def test_jobs_allow_all_open_rows_and_alternate_with_those_of_other_runs(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    upgrade_queue(ledger)
    run = a_run(ledger, rows=1250)
    with ledger.write() as connection:
        # Only open rows count.
        connection.execute(update(messages).where(messages.c.row.between(100, 149)).values(status="accepted"))
        made = defer_chunks(connection, run.run_id, run.start_id, BASE_URL)
        # A second call replaces the jobs of the first.
        assert defer_chunks(connection, run.run_id, run.start_id, BASE_URL) == made
        jobs = text(
            "SELECT CAST(args->>'rows' AS integer) AS rows, priority FROM procrastinate_jobs ORDER BY id"
        )
        found = connection.execute(jobs).all()
    assert [job.priority for job in found] == [-number for number in range(made)]
    sizes = [job.rows for job in found]
    # Large ones first, so that all workers end together.
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (75, 50)
    assert 1200 <= sum(sizes) < 1250
    close_run(ledger, run)
    forget_chunks(ledger, run.run_id)
    with ledger.read() as connection:
        assert connection.execute(jobs).all() == []
    ledger.close()
