"""Runs that several processes send together, with real workers, a real database and the server's record."""

from __future__ import annotations

from pathlib import Path

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


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_where_there_is_no_queue_nothing_is_handed_over(
    world: World, postgres_url: str, sandbox: Sandbox, ledger: str
) -> None:
    if ledger == "postgresql":
        world.environment["BATCHSEND_LEDGER"] = postgres_url.replace("+psycopg", "")
    world.write(customers(2))
    refused = world.send("--detach")
    worker = world.run("worker")
    assert (refused.code, worker.code) == (2, 2)
    if ledger == "sqlite":
        assert "--detach hands a run over to workers, which need a ledger on PostgreSQL." in refused.err
        assert "Workers need a ledger on PostgreSQL" in worker.err
    else:
        for message in (refused.err, worker.err):
            assert (
                "has no queue for workers of this version yet. Nothing was sent. Run `batchsend ledger upgrade`"
                in message
            )
        # Without workers, no queue is needed.
        assert world.send().code == 0
        assert len(sandbox.texts()) == 2


def test_a_rehearsal_has_no_workers(world: World) -> None:
    world.write(customers(2))
    refused = world.send("--sandbox", "--detach")
    assert refused.code == 2
    assert "leave --detach or --sandbox out" in refused.err


def test_jobs_are_chunks_that_alternate_with_those_of_other_runs(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    upgrade_queue(ledger)
    run = a_run(ledger, rows=450)
    with ledger.write() as connection:
        # Only open rows count.
        connection.execute(update(messages).where(messages.c.row.between(100, 149)).values(status="accepted"))
        assert defer_chunks(connection, run.run_id, run.start_id, BASE_URL) == 2
        # A second call replaces the jobs of the first.
        assert defer_chunks(connection, run.run_id, run.start_id, BASE_URL) == 2
        jobs = text("SELECT args->'first', args->'last', priority FROM procrastinate_jobs ORDER BY id")
        assert connection.execute(jobs).all() == [(2, 251, 0), (252, 451, -1)]
    close_run(ledger, run)
    forget_chunks(ledger, run.run_id)
    with ledger.read() as connection:
        assert connection.execute(jobs).all() == []
    ledger.close()
