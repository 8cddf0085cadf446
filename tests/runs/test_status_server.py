"""The status port: what it answers, to whom, and that it cannot disturb its service."""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port
from ledgers import planned, send_all, sqlite_url, store_plan
from status_port import StatusAnswer, ask, ask_until

from batchsend.errors import BatchsendError
from batchsend.ledger.opening import open_ledger
from batchsend.runs import status_server
from batchsend.runs.status_server import Heartbeat, ServiceStatus, StatusAddress, serving_status
from batchsend.sending.rows import Outcome
from batchsend.statuses import Status

#: 2026-11-23 10:00 UTC.
MORNING = 1795428000.0


@dataclass
class Service:
    """A service whose clock is moved by hand, and its status port."""

    url: str
    seconds: float = 0.0
    port: int = field(default_factory=free_port)
    trouble: str | None = None
    heartbeat: Heartbeat = field(init=False)

    def __post_init__(self) -> None:
        self.heartbeat = Heartbeat(lambda: self.seconds, lambda: MORNING + self.seconds)

    def ask(self, path: str, method: str = "GET") -> StatusAnswer:
        return ask(self.port, path, method)

    def ask_until_healthy(self) -> None:
        ask_until(self.port, "/health", lambda answer: answer.status == 200)

    def passes(self, seconds: float) -> None:
        """Time goes on, and the loop runs."""
        self.seconds += seconds
        self.heartbeat.beat()


@contextmanager
def serving(url: str, **values: Any) -> Iterator[Service]:
    service = Service(url)
    status = ServiceStatus(
        "callbacks", lambda: [url], service.heartbeat, problem=lambda: service.trouble, **values
    )
    with serving_status(StatusAddress("127.0.0.1", service.port), status):
        yield service


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    url = sqlite_url(tmp_path / ".batchsend" / "ledger.db")
    ledger = open_ledger(url)
    stored_plan = store_plan(ledger, [planned(row) for row in range(2, 7)])
    send_all(ledger, stored_plan, Outcome(3, Status.FAILED, "INVALID_CUSTOMER"))
    ledger.close()
    return url


def test_health_is_a_small_json(ledger_url: str) -> None:
    with serving(ledger_url) as service:
        service.seconds += 2.04
        answer = service.ask("/health")
        assert answer.status == 200
        assert answer.json == {"service": "callbacks", "status": "ok", "heartbeat_age_seconds": 2.0}
        assert answer.headers["Content-Type"] == "application/json"


def test_a_loop_that_hangs_is_not_healthy_and_recovers(ledger_url: str) -> None:
    with serving(ledger_url) as service:
        service.seconds += 90
        assert service.ask("/health").status == 200
        service.seconds += 1
        answer = service.ask("/health")
        assert (answer.status, answer.json["reason"]) == (
            503,
            "the service's loop has not run for 91 seconds",
        )
        metrics = service.ask("/metrics")
        assert metrics.value("healthy") == 0
        assert metrics.value("heartbeat_timestamp_seconds", service="callbacks") == MORNING
        service.heartbeat.beat()
        assert service.ask("/health").status == 200


def test_a_ledger_that_is_gone_or_damaged_is_not_healthy(ledger_url: str, tmp_path: Path) -> None:
    file = tmp_path / ".batchsend" / "ledger.db"
    with serving(ledger_url) as service:
        assert service.ask("/health").status == 200
        file.rename(tmp_path / "elsewhere.db")
        service.passes(6)
        assert service.ask("/health").json["reason"] == "the ledger is gone"
        assert service.ask("/metrics").value("healthy") == 0
        file.write_bytes(b"not a database" * 200)
        service.passes(6)
        assert service.ask("/health").json["reason"] == "the ledger cannot be read"
        assert service.ask("/metrics").status == 200
        (tmp_path / "elsewhere.db").replace(file)
        service.passes(6)
        assert service.ask("/health").status == 200
        assert service.ask("/metrics").value("healthy") == 1


def test_another_ledger_in_its_place_is_not_healthy(ledger_url: str, tmp_path: Path) -> None:
    file = tmp_path / ".batchsend" / "ledger.db"
    with serving(ledger_url) as service:
        assert service.ask("/health").status == 200
        file.rename(tmp_path / "elsewhere.db")
        open_ledger(ledger_url).close()
        service.passes(6)
        assert service.ask("/health").json["reason"] == "the ledger was replaced by another one"
        (tmp_path / "elsewhere.db").replace(file)
        service.passes(6)
        assert service.ask("/health").status == 200


def test_a_ledger_that_does_not_exist_yet_is_no_problem(tmp_path: Path) -> None:
    with serving(sqlite_url(tmp_path / "none.db")) as service:
        assert service.ask("/health").status == 200
        assert service.ask("/metrics").value("texts", status="accepted") is None
    assert not (tmp_path / "none.db").exists()


def test_a_problem_of_the_service_is_not_healthy(ledger_url: str) -> None:
    with serving(ledger_url) as service:
        service.trouble = "the ledger does not record updates"
        assert service.ask("/health").json["reason"] == "the ledger does not record updates"


def test_metrics_are_what_prometheus_reads(ledger_url: str) -> None:
    with serving(ledger_url) as service:
        answer = service.ask("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        spring = {"campaign": "Spring", "api": "api.example.com"}
        assert answer.value("texts", **spring, status="accepted") == 4
        assert answer.value("texts", **spring, status="failed") == 1
        assert answer.value("build_info", service="callbacks") == 1
        assert answer.value("last_start_running", **spring) == 1


def test_only_two_paths_and_two_methods_are_answered(ledger_url: str) -> None:
    with serving(ledger_url) as service:
        for path in (
            "/",
            "/health/",
            "/healthy",
            "/metrics/x",
            "/..",
            "/campaign.toml",
            "/%2e%2e",
        ):
            assert service.ask(path).status == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get"):
            answer = service.ask("/metrics", method)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        for path in ("/health", "/metrics?name=x"):
            assert service.ask(path, "HEAD").body == b""
            assert service.ask(path, "HEAD").headers["Content-Length"] == str(len(service.ask(path).body))
        for path in ("/health", "/", "/metrics"):
            assert "Server" not in service.ask(path).headers


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01", b"GET\r\n\r\n", b"GET " + b"x" * 70_000, b"GET / HTTP/9\r\n\r\n"]
)
def test_garbage_does_not_disturb_it(ledger_url: str, sent: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(ledger_url) as service:
        with closing(socket.create_connection(("127.0.0.1", service.port), timeout=30)) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert b"Python" not in connection.recv(4096)
        socket.create_connection(("127.0.0.1", service.port)).close()
        assert service.ask("/health").status == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.system
def test_clients_that_send_nothing_do_not_keep_others_out_for_long(ledger_url: str) -> None:
    with serving(ledger_url) as service:
        idle = [socket.create_connection(("127.0.0.1", service.port), timeout=30) for _ in range(8)]
        # Each one is told to go after some seconds, and then others are answered again.
        assert [connection.recv(4096) for connection in idle] == [b""] * 8
        assert service.ask("/health").status == 200
        for connection in idle:
            connection.close()


def test_a_mistake_in_a_service_is_a_500_and_no_more(
    ledger_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def mistaken() -> list[Any]:
        raise ZeroDivisionError("secret")

    with serving(ledger_url, samples=mistaken) as service:
        answer = service.ask("/metrics")
        assert (answer.status, answer.body) == (500, b"")
        assert service.ask("/health").status == 200
    assert capfd.readouterr() == ("", "")


def test_answers_of_the_ledger_are_kept_for_some_seconds(ledger_url: str, tmp_path: Path) -> None:
    with serving(ledger_url) as service:
        assert service.ask("/metrics").value("texts", status="failed") == 1
        with closing(sqlite3.connect(tmp_path / ".batchsend" / "ledger.db")) as other, other:
            other.execute("UPDATE messages SET status = 'failed'")
        service.passes(4)
        assert service.ask("/metrics").value("texts", status="failed") == 1
        service.passes(2)
        assert service.ask("/metrics").value("texts", status="failed") == 5


def test_a_ledger_that_hangs_does_not_hold_up_the_answers(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    free.set()

    def ledgers() -> list[str]:
        assert free.wait(60)
        return [ledger_url]

    service = Service(ledger_url)
    status = ServiceStatus("callbacks", ledgers, service.heartbeat)
    with serving_status(StatusAddress("127.0.0.1", service.port), status):
        service.ask_until_healthy()
        assert service.ask("/metrics").value("texts", status="failed") == 1
        free.clear()
        monkeypatch.setattr(status_server, "_PATIENCE", 0.2)
        service.passes(6)
        for _ in range(2):
            answer = service.ask("/health")
            assert (answer.status, answer.json["reason"][:26]) == (503, "the ledger did not answer ")
            # Older figures are better than none.
            assert service.ask("/metrics").value("texts", status="failed") == 1
        free.set()
        service.ask_until_healthy()


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        status = ServiceStatus("callbacks", list)
        with (
            pytest.raises(BatchsendError, match=rf"status server cannot listen .*{port}.*--status-port"),
            serving_status(StatusAddress("127.0.0.1", port), status),
        ):
            raise AssertionError


def test_without_an_address_nothing_is_opened() -> None:
    before = threading.active_count()
    with serving_status(None, ServiceStatus("callbacks", list)):
        assert threading.active_count() == before
