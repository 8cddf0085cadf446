"""`batchsend callbacks` as a process, for tests that post updates to it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values
from world import Running, World

SECRET_SETTING = "BATCHSEND_CALLBACK_SECRET"
LEDGER = ("--ledger", ".batchsend/ledger.db")


@dataclass
class Listening:
    """A running listener. `url` receives the updates; `greeting`: the first lines that it printed."""

    process: Running
    greeting: str
    url: str
    file: Path

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def secret(self) -> str:
        return self.path.rpartition("/")[2]

    def request(
        self,
        method: str = "POST",
        path: str | None = None,
        body: bytes = b"{}",
        headers: dict[str, str] | None = None,
    ) -> int:
        """The HTTP status of one request."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, self.path if path is None else path, body, headers or {})
            response = connection.getresponse()
            response.read()
            return response.status

    def tell(self, **body: Any) -> int:
        return self.request(body=json.dumps(body).encode())

    def query(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as ledger:
            return ledger.execute(statement).fetchall()

    def statuses(self) -> Counter[str]:
        return Counter(status for (status,) in self.query("SELECT status FROM messages"))

    def end(self) -> tuple[str, str]:
        """Ends it as a service manager does. Returns its output and its errors."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return out, err


def _secret(folder: Path, environment: dict[str, str]) -> str:
    kept = folder / ".batchsend" / "callback-secret"
    set_there = dotenv_values(folder / ".env").get(SECRET_SETTING)
    return environment.get(SECRET_SETTING) or set_there or kept.read_text()


@contextmanager
def listening(folder: Path, *options: str, **environment: str) -> Iterator[Listening]:
    """`batchsend callbacks` in a process, with `options` (default: the ledger of `folder`)."""
    world = World(folder, environment={"PYTHONUNBUFFERED": "1", **environment})
    process = world.start("callbacks", "--port", "0", *(options or LEDGER))
    try:
        assert process.stdout is not None
        greeting = "".join(process.stdout.readline() for _ in range(3))
        url = re.search(r"http://\S+(?=THE-SECRET)", greeting)
        assert url, (greeting, process.communicate())
        secret = _secret(folder, environment)
        yield Listening(process, greeting, url[0] + secret, folder / ".batchsend" / "ledger.db")
    finally:
        process.kill()
        process.communicate()
