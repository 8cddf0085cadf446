"""Runs that several processes send together, with real workers, a real database and the server's record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from clusters import Shared, a_run
from ledgers import BASE_URL
from notices import running_hook
from procrastinate.exceptions import ConnectorException
from procrastinate.tasks import Task
from sqlalchemy import select
from world import PASSWORD, USERNAME, Sandbox, World, customers, running_sandbox

from batchsend.exits import Exit
from batchsend.ledger.cluster_schema import SERVER_CLOCK, handovers, leases
from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.ledger.schema import messages, starts
from batchsend.runs.handover import stop_handed_over
from batchsend.sending.cluster import worker
from batchsend.sending.cluster.open_runs import EndedRun, open_run_ids
from batchsend.sending.cluster.worker import SCHEMA, Worker, create_queue
from batchsend.sending.dispatch import SendLoop
from batchsend.sending.run_settings import RunSettings
from batchsend.settings import Credentials

CREDENTIALS = Credentials(USERNAME, PASSWORD)
SLOW = "[sending]\nrate = 40\nconcurrency = 10\n"


@pytest.fixture
def shared(world: World, postgres_url: str) -> Shared:
    return Shared(world, postgres_url)


@pytest.mark.system
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
            f"SELECT count(*) = 0 FROM {SCHEMA}.procrastinate_jobs WHERE task_name = 'batchsend.send_run'"
        )
        shared.wait_until("SELECT count(*) = 0 FROM leases WHERE run_id IS NOT NULL")
        for worker in workers:
            worker.terminate()
        assert [worker.wait(60) for worker in workers] == [0, 0]
    assert shared.ask("SELECT * FROM leases") == []


@pytest.mark.system
def test_the_worker_that_ends_a_run_tells_people(shared: Shared, sandbox: Sandbox) -> None:
    rows = customers(4)
    rows[0]["Customer UUID"] = "sandbox-locked-1"
    with running_hook() as hook, shared.workers(1):
        shared.world.write(rows, campaign=f'[notify]\nurl = "{hook.url}"\n')
        assert shared.world.send("--detach").code == 0
        body = hook.received.get(timeout=60)
    assert body["text"].startswith("Spring, run 1: done, and some rows need attention\n4 rows = 3 accepted")
    assert (body["run"], body["exit"]) == (1, 1)
    assert hook.bodies() == []
    assert len(sandbox.requests()) == 4


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


def test_send_needs_no_queue_and_the_first_worker_creates_it(
    world: World, postgres_url: str, sandbox: Sandbox
) -> None:
    url = postgres_url.replace("+psycopg", "")
    world.environment["BATCHSEND_LEDGER"] = url
    world.write(customers(2))
    assert world.send().code == 0
    assert len(sandbox.texts()) == 2
    with psycopg.connect(url) as connection:
        query = "SELECT to_regnamespace(%s) IS NOT NULL"
        assert connection.execute(query, [SCHEMA]).fetchone() == (False,)
        connection.commit()
        started = world.start("worker")
        while connection.execute(query, [SCHEMA]).fetchone() != (True,):
            connection.commit()
        started.terminate()
        started.communicate()
        assert started.returncode == 0
    assert "Queue for workers: up to date" in world.run("ledger", "upgrade").out


def test_a_rehearsal_has_no_workers(world: World) -> None:
    world.write(customers(2))
    refused = world.send("--sandbox", "--detach")
    assert refused.code == 2
    assert "leave --detach or --sandbox out" in refused.err


def test_a_job_sends_for_a_turn_where_another_run_waits(
    postgres_url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_TURN_SECONDS", 0.2)
    ledger = open_ledger(postgres_url)
    run = a_run(ledger, rows=12, rate=20, base_url=sandbox.base_url)

    async def work() -> list[int]:
        left = []
        async with Worker(ledger, CREDENTIALS, sandbox.base_url, "w", lambda _words: None) as one:
            one._stops[run.run_id + 1] = None
            while ledger.counts(run.run_id).get("pending"):
                await one.send(run.run_id)
                left.append(ledger.counts(run.run_id).get("pending", 0))
        return left

    left = asyncio.run(work())
    assert len(left) > 1
    assert left == sorted(left, reverse=True)
    assert ledger.counts(run.run_id) == {"accepted": 12}
    assert set(sandbox.texts().values()) == {1}
    with ledger.read() as connection:
        assert connection.execute(select(leases)).all() == []
    ledger.close()


async def work_until_one_run_ends(ledger: Ledger, sandbox: Sandbox) -> None:
    """Works as a worker until it is told that a run is over."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()

    def ended(_run: EndedRun) -> None:
        loop.call_soon_threadsafe(stopping.set)

    named = Worker(ledger, CREDENTIALS, sandbox.base_url, "w", lambda _words: None, ended=ended)
    async with named as one:
        await one.work(2, stopping)


def test_the_jobs_of_a_worker_share_the_connections_that_its_event_loop_can_wait_for(
    postgres_url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows, those are few."""
    monkeypatch.setattr(worker, "_MOST_REQUESTS", 10)
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 0.1)
    used: set[int] = set()

    def send_loop(settings: RunSettings, listener: Callable[[object], None]) -> SendLoop:
        used.add(settings.concurrency)
        return SendLoop(settings, listener)

    monkeypatch.setattr(worker, "SendLoop", send_loop)
    ledger = open_ledger(postgres_url)
    run = a_run(ledger, rows=2, base_url=sandbox.base_url)
    assert run.settings.concurrency == 20
    create_queue(ledger)

    asyncio.run(work_until_one_run_ends(ledger, sandbox))
    assert used == {5}
    assert ledger.counts(run.run_id) == {"accepted": 2}
    ledger.close()


def test_a_job_that_could_not_be_made_is_made_at_the_next_look(
    postgres_url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LOOK_SECONDS", 0.1)
    defer_async, refusals = Task.defer_async, [ConnectorException("the disk is full")]

    async def defer(job: Task[Any, Any, Any], **kwargs: Any) -> int:
        if refusals:
            raise refusals.pop()
        return await defer_async(job, **kwargs)

    monkeypatch.setattr(Task, "defer_async", defer)
    ledger = open_ledger(postgres_url)
    run = a_run(ledger, rows=2, base_url=sandbox.base_url)
    create_queue(ledger)

    asyncio.run(asyncio.wait_for(work_until_one_run_ends(ledger, sandbox), 30))
    assert refusals == []
    assert ledger.counts(run.run_id) == {"accepted": 2}
    ledger.close()


def test_one_worker_for_all_ends_runs_that_are_over(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)
    run = a_run(ledger)
    ledger.request_stop(run.run_id, "ann")
    told: list[EndedRun] = []
    both = [
        Worker(ledger, CREDENTIALS, BASE_URL, name, lambda _words: None, ended=told.append) for name in "ab"
    ]
    ended = select(starts.c.ended_at.is_not(None))

    async def sweep() -> list[bool | None]:
        found = []
        async with both[0], both[1]:
            # The one whose presence comes later in the table does nothing.
            for worker in sorted(both, key=lambda one: one._presence.owner, reverse=True):  # type: ignore[union-attr]
                await asyncio.to_thread(worker.sweep)
                with ledger.read() as connection:
                    found.append(connection.scalar(ended))
        return found

    assert asyncio.run(sweep()) == [False, True]
    assert told == [EndedRun(run.run_id, Exit.INTERRUPTED, "a stop was requested")]
    ledger.close()


@pytest.mark.system
def test_a_worker_that_starts_later_joins_at_once(postgres_url: str, sandbox: Sandbox) -> None:
    ledger = open_ledger(postgres_url)
    create_queue(ledger)
    run = a_run(ledger, base_url=sandbox.base_url)
    with ledger.write() as connection:
        # The first worker, which sweeps for all, does nothing at present.
        lease = {"owner": "0", "holder": "first", "base_url": sandbox.base_url, "worker": True}
        connection.execute(leases.insert().values(**lease, lease_until=SERVER_CLOCK + 600))

    async def work_until_it_is_sent() -> None:
        stopping = asyncio.Event()
        async with Worker(ledger, CREDENTIALS, sandbox.base_url, "w", lambda _words: None) as one:
            working = asyncio.create_task(one.work(1, stopping))
            while await asyncio.to_thread(ledger.counts, run.run_id) != {"accepted": 4}:
                pass
            stopping.set()
            await working

    asyncio.run(work_until_it_is_sent())
    assert set(sandbox.texts().values()) == {1}
    ledger.close()


@pytest.mark.system
def test_a_run_of_another_version_does_not_keep_workers_from_others(
    postgres_url: str, sandbox: Sandbox
) -> None:
    ledger = open_ledger(postgres_url)
    other = a_run(ledger, rows=1, base_url=sandbox.base_url)
    with ledger.write() as connection:
        settings = '{"what only a later version knows": true}'
        connection.execute(handovers.update().values(settings=settings))
    run = a_run(ledger, rows=5, base_url=sandbox.base_url)
    with ledger.write() as connection:
        # As a run of another campaign.
        again = messages.update().where(messages.c.run_id == other.run_id)
        connection.execute(again.values(status="pending", codes="STOPPED"))
    said: list[str] = []

    async def work() -> None:
        async with Worker(ledger, CREDENTIALS, sandbox.base_url, "w", said.append) as one:
            for run_id in one.runs_to_send():
                await one.send(run_id)
            await asyncio.to_thread(one.sweep)

    asyncio.run(work())
    assert ledger.counts(run.run_id) == {"accepted": 5}
    assert ledger.counts(other.run_id) == {"pending": 1}
    assert said[0].startswith(f"Run {other.run_id}: Another version of batchsend planned this run. Install")
    # It is still theirs, and can be stopped from here.
    assert stop_handed_over(ledger, other.run_id, "ann")
    assert open_run_ids(ledger) == []
    ledger.close()
