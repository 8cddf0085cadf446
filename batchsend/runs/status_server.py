"""The status port of a service: `/health` for a service manager, `/metrics` for Prometheus.

The server runs in threads of its own and only reads, so that it cannot delay or break the service.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, TypeVar

from batchsend.errors import BatchsendError
from batchsend.ledger.figures import FigureReader, LedgerFigures, merged
from batchsend.ledger.opening import open_for_reading
from batchsend.runs.status_metrics import Sample, exposition, ledger_samples, service_samples
from batchsend.utils.net import cannot_listen

#: A loop that has not run for so many seconds hangs. It can wait up to 60 s for a locked ledger.
_HANGING_AFTER = 90.0
#: How often an event loop beats.
_BEAT_SECONDS = 1.0
#: Answers from the ledger are kept for so many seconds.
_KEEP_SECONDS = 5.0
#: How many seconds a request waits for the ledger.
_PATIENCE = 4.0
#: Requests at the same time, and how many seconds a client may take to send one.
_MOST_REQUESTS = 8
_REQUEST_SECONDS = 5.0
#: A ledger that takes long is left alone for so many times as long.
_REST = 20.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PLAIN_TYPE = "text/plain; charset=utf-8"

T = TypeVar("T")


@dataclass(frozen=True)
class StatusAddress:
    """The values of `--status-host` and `--status-port`."""

    host: str
    port: int


class Heartbeat:
    """When a service's loop last ran. `clock` counts seconds evenly; `wall` is the time since 1970."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self.wall = wall
        self.beat()

    def beat(self) -> None:
        """Says that the loop runs."""
        self._last, self.at = self.clock(), self.wall()

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return self.clock() - self._last


@dataclass
class ServiceStatus:
    """What a service tells about itself.

    `ledgers`: the URLs of its ledgers. `problem`: why it cannot work, or `None`; `samples`: more metrics. Both are
    called from other threads.
    """

    service: str
    ledgers: Callable[[], Iterable[str]]
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    problem: Callable[[], str | None] = lambda: None
    samples: Callable[[], Sequence[Sample]] = lambda: ()


class _Status:
    """Answers from the service and its ledgers, for all threads."""

    def __init__(self, status: ServiceStatus) -> None:
        self._status = status
        self._readers: dict[str, FigureReader] = {}
        self._known: dict[str, str] = {}
        clock = status.heartbeat.clock
        self._ledger_problem = _Kept(self._check_ledgers, clock)
        self._figures = _Kept(self._read_figures, clock)

    def problem(self) -> str | None:
        """Why the service is not healthy. Names no path."""
        age = self._status.heartbeat.age
        if age > _HANGING_AFTER:
            return f"the service's loop has not run for {age:.0f} seconds"
        try:
            return self._status.problem() or self._ledger_problem.get()
        except TimeoutError:
            return f"the ledger did not answer within {_PATIENCE:.0f} seconds"

    def health(self) -> tuple[int, bytes]:
        """The HTTP status and the body of `/health`."""
        problem = self.problem()
        facts: dict[str, object] = {
            "service": self._status.service,
            "status": "ok" if problem is None else "failing",
            "heartbeat_age_seconds": round(self._status.heartbeat.age, 1),
        }
        if problem is not None:
            facts["reason"] = problem
        return (200 if problem is None else 503), json.dumps(facts).encode() + b"\n"

    def metrics(self) -> bytes:
        """The body of `/metrics`: without ledgers that cannot be read, with older figures of those that take long."""
        status = self._status
        samples = service_samples(status.service, status.heartbeat.at, healthy=self.problem() is None)
        samples += status.samples()
        try:
            figures = self._figures.get()
        except TimeoutError:
            figures = self._figures.latest or merged([])
        return exposition(samples + ledger_samples(figures, status.heartbeat.wall()))

    def _check_ledgers(self) -> str | None:
        try:
            problems = [self._check(url) for url in self._status.ledgers()]
        except BatchsendError:
            return "the ledger cannot be read"
        return next((problem for problem in problems if problem is not None), None)

    def _check(self, url: str) -> str | None:
        """Raises `BatchsendError`."""
        ledger = open_for_reading(url)
        if ledger is None:
            return "the ledger is gone" if url in self._known else None
        with closing(ledger):
            ledger_id = ledger.ledger_id()
        if self._known.setdefault(url, ledger_id) != ledger_id:
            return "the ledger was replaced by another one"
        return None

    def _read_figures(self) -> LedgerFigures:
        found = []
        with suppress(BatchsendError):
            for url in self._status.ledgers():
                reader = self._readers.setdefault(url, FigureReader(self._status.heartbeat.clock))
                ledger = open_for_reading(url)
                if ledger is not None:
                    with closing(ledger):
                        found.append(reader.read(ledger))
        return merged(found)


class _Kept(Generic[T]):
    """The answer of `ask`, kept for some seconds, and longer where it took long.

    One thread at a time asks. Others wait for it, but not for long: a ledger that hangs must not hold them up.
    """

    def __init__(self, ask: Callable[[], T], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None
        self._due = 0.0
        #: The latest answer.
        self.latest: T | None = None

    def get(self) -> T:
        """Raises `TimeoutError` where the answer takes long, and the errors of `ask`."""
        with self._lock:
            if self._asked is None or (self._asked.done() and self._clock() >= self._due):
                self._asked = Future()
                threading.Thread(target=self._answer, args=(self._asked,), daemon=True).start()
            asked = self._asked
        return asked.result(_PATIENCE)

    def _answer(self, asked: Future[T]) -> None:
        began = self._due = self._clock()
        try:
            self.latest = answer = self._ask()
        except Exception as error:  # noqa: BLE001 - raised where the answer is wanted
            asked.set_exception(error)
            return
        ended = self._clock()
        self._due = ended + max(_KEEP_SECONDS, _REST * (ended - began))
        asked.set_result(answer)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of two paths, and nothing else. Writes no log."""

    server: _Server
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        try:
            self._answer(*self._response())
        except OSError:
            raise
        except Exception:  # noqa: BLE001 - the service must not notice
            self._answer(500)

    do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

    def _response(self) -> tuple[int, bytes, str]:
        path = self.path.partition("?")[0]
        if path == "/health":
            return *self.server.status.health(), "application/json"
        if path == "/metrics":
            return 200, self.server.status.metrics(), _METRICS_TYPE
        return 404, b"", _PLAIN_TYPE

    def _answer(self, status: int, body: bytes = b"", content_type: str = _PLAIN_TYPE) -> None:
        # `send_response` would add the versions of Python and of its server.
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, _message: str | None = None, _explain: str | None = None) -> None:
        # The base class calls a method that it does not know "not implemented".
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else code)

    def log_message(self, *_arguments: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, status: _Status) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.status = status
        self._free = threading.BoundedSemaphore(_MOST_REQUESTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client that goes away is no error, and others got an answer."""


@contextmanager
def serving_status(address: StatusAddress | None, status: ServiceStatus) -> Iterator[None]:
    """Answers at this address while the block runs; `None`: nowhere. Raises `BatchsendError` if it cannot listen."""
    if address is None:
        yield
        return
    server = _Server(_listen(address), _Status(status))
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@asynccontextmanager
async def serving_loop_status(address: StatusAddress | None, status: ServiceStatus) -> AsyncIterator[None]:
    """As `serving_status`, with this event loop as the service's loop."""

    async def beat() -> None:
        while True:
            status.heartbeat.beat()
            await asyncio.sleep(_BEAT_SECONDS)

    with serving_status(address, status):
        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()


def _listen(address: StatusAddress) -> socket.socket:
    host, port = address.host, address.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        suspect = "perhaps another service of batchsend"
        raise BatchsendError(
            cannot_listen(host, port, error, suspect, program="The status server", option="--status-port")
        ) from error
