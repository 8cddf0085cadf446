"""The status ports of the services, as processes."""

from __future__ import annotations

import re
import signal
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from clusters import Shared
from free_ports import free_port
from ledgers import planned, send_all, store_plan
from schedules import Place, scheduled
from status_port import StatusAnswer, ask, ask_until
from update_listener import LEDGER, listening
from world import USERNAME, Running, Sandbox, World, customers

from batchsend.ledger.opening import open_ledger
from batchsend.runs.status_server import Heartbeat, StatusAddress, serving_status
from batchsend.services.schedule_loop import status_of


@contextmanager
def process(world: World, *arguments: str) -> Iterator[Running]:
    started = world.start(*arguments)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def healthy(answer: StatusAnswer) -> bool:
    return answer.status == 200


def test_callbacks_count_their_updates(tmp_path: Path) -> None:
    port = free_port()
    with listening(tmp_path, *LEDGER, "--status-port", str(port)) as listener:
        assert ask(port, "/health").json["service"] == "callbacks"
        assert listener.tell(messageUUID="m", status="SENT") == 200
        metrics = ask(port, "/metrics")
        assert metrics.value("updates_recorded") == 1
        assert metrics.value("updates_waiting") == 0
        listener.end()


def test_callbacks_that_cannot_record_are_not_healthy(tmp_path: Path) -> None:
    port = free_port()
    with listening(tmp_path, *LEDGER, "--status-port", str(port)) as listener:
        with closing(sqlite3.connect(listener.file)) as ledger:
            ledger.execute("ALTER TABLE updates RENAME TO elsewhere")
        assert listener.tell(messageUUID="m", status="SENT") == 503
        answer = ask_until(port, "/health", lambda found: found.status == 503)
        assert answer.json["reason"] == "the ledger does not record updates"
        with closing(sqlite3.connect(listener.file)) as ledger:
            ledger.execute("ALTER TABLE elsewhere RENAME TO updates")
        ask_until(port, "/health", healthy)
        listener.end()


def test_a_service_that_is_stopped_in_its_tracks_answers_nothing(tmp_path: Path) -> None:
    port = free_port()
    with listening(tmp_path, *LEDGER, "--status-port", str(port)) as listener:
        assert ask(port, "/health").status == 200
        listener.process.kill()
        listener.process.wait()
        with pytest.raises(ConnectionError):
            ask(port, "/health")


def test_the_console_answers_without_a_sign_in_and_shows_every_campaign(
    world: World, sandbox: Sandbox
) -> None:
    world.write(customers(3))
    assert world.send().code == 0
    port = free_port()
    with process(world, "web", "--no-open", "--port", "0", "--status-port", str(port)):
        ask_until(port, "/health", healthy)
        metrics = ask(port, "/metrics")
    api = sandbox.base_url.removeprefix("http://")
    assert metrics.value("texts", campaign="Spring", api=api, status="accepted") == 3
    assert metrics.value("last_start_exit_code", campaign="Spring") == 0
    assert metrics.value("last_start_running", campaign="Spring") == 0
    said = metrics.body.decode()
    people = [value for person in customers(3) for value in person.values() if len(value) > 3]
    hidden = [*people, str(world.folder), "time for your service", USERNAME, str(Path.home())]
    assert not [secret for secret in hidden if secret in said]


@pytest.mark.system
def test_the_scheduler_shows_its_starts(world: World) -> None:
    scheduled(world)
    at = tomllib.loads((world.folder / "campaign.toml").read_text())["schedule"]["at"].isoformat()
    port = free_port()
    with process(world, "schedule", "--status-port", str(port)):
        ask_until(port, "/health", healthy)
        metrics = ask_until(port, "/metrics", lambda found: found.value("last_start_exit_code") is not None)
    assert metrics.value("last_start_exit_code", campaign="Spring") == 0
    assert metrics.value("texts", campaign="Spring", status="accepted") == 3
    assert metrics.value("planned_starts", campaign="Spring", outcome="started") == 1
    assert metrics.value("campaign_needs_attention", campaign="Spring") == 0
    assert metrics.value("schedule_problems") == 0
    started = metrics.value("planned_start_timestamp_seconds", campaign="Spring", outcome="started")
    assert started == datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()


def test_a_scheduler_that_cannot_open_its_ledger_is_not_healthy(world: World) -> None:
    scheduled(world)
    ledger = world.folder / ".batchsend" / "ledger.db"
    ledger.parent.mkdir(exist_ok=True)
    ledger.write_bytes(b"not a ledger" * 1000)
    port = free_port()
    with process(world, "schedule", "--status-port", str(port)):
        found = ask_until(port, "/health", lambda found: found.status == 503)
    assert found.json["reason"] == "the ledger cannot be read"


def test_a_scheduler_that_hangs_is_not_healthy(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write('cron = "0 10 * * *"')
    seconds = 0.0
    heartbeat = Heartbeat(lambda: seconds)
    service = place.scheduler()
    service.beat = heartbeat.beat
    port = free_port()
    with serving_status(StatusAddress("127.0.0.1", port), status_of(service, heartbeat)):
        for _ in range(3):
            seconds += 80
            service.turn()
            assert ask(port, "/health").status == 200
        seconds += 91
        assert ask(port, "/health").json["reason"] == "the service's loop has not run for 91 seconds"
        metrics = ask(port, "/metrics")
        assert metrics.value("healthy") == 0
        tomorrow = datetime.fromisoformat("2026-11-23T10:00-06:00").timestamp()
        assert metrics.value("next_start_timestamp_seconds", campaign="Spring") == tomorrow
        service.turn()
        assert ask(port, "/health").status == 200


@pytest.mark.system
def test_a_worker_knows_rates_and_loses_its_ledger(world: World, postgres_url: str) -> None:
    shared = Shared(world, postgres_url)
    ledger = open_ledger(postgres_url)
    send_all(ledger, store_plan(ledger, [planned(2)]))
    ledger.close()
    port = free_port()
    with process(world, "worker", "--status-port", str(port)):
        ask_until(port, "/health", healthy)
        assert ask(port, "/metrics").value("texts", campaign="Spring", status="accepted") == 1
        with psycopg.connect(shared.url, autocommit=True) as connection:
            connection.execute("ALTER TABLE meta RENAME TO elsewhere")
            lost = ask_until(port, "/health", lambda found: found.status == 503)
            assert lost.json["reason"] == "the ledger is gone"
            connection.execute("ALTER TABLE elsewhere RENAME TO meta")
        ask_until(port, "/health", healthy)
        answer = ask(port, "/metrics")
        assert re.search(rb'batchsend_build_info\{service="worker",version="[0-9.]+"\} 1', answer.body)


@pytest.mark.parametrize("command", ["callbacks", "schedule", "web", "worker"])
def test_a_status_port_in_use_is_exit_2_at_the_start(tmp_path: Path, postgres_url: str, command: str) -> None:
    world = World(tmp_path).write(campaign='[schedule]\ncron = "0 10 * * *"\n')
    if command == "worker":
        Shared(world, postgres_url)
    more = {"callbacks": LEDGER, "web": ("--no-open", "--port", "0")}.get(command, ())
    port = free_port()
    with listening(tmp_path, *LEDGER, "--status-port", str(port)):
        taken = world.run(command, "--status-port", str(port), *more)
    assert taken.code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: another program uses it" in taken.err
    assert "choose another --status-port" in taken.err


def test_the_status_port_ends_with_its_service(tmp_path: Path) -> None:
    port = free_port()
    with listening(tmp_path, *LEDGER, "--status-port", str(port)) as listener:
        assert ask(port, "/health").status == 200
        listener.process.send_signal(signal.SIGTERM)
        assert listener.process.wait(60) == 0
        with pytest.raises(ConnectionError):
            ask(port, "/health")
