"""Asks a service's status port, and reads the metrics as Prometheus does."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class StatusAnswer(NamedTuple):
    """The answer to one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def metrics(self) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
        """Name -> labels -> value."""
        found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for family in text_string_to_metric_families(self.body.decode()):
            assert family.documentation, family.name
            assert family.type == "gauge"
            for sample in family.samples:
                labels = frozenset(sample.labels.items())
                assert labels not in found.setdefault(sample.name, {}), sample
                found[sample.name][labels] = sample.value
        return found

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the only sample with these labels; `None` if there is none."""
        found = [
            value
            for given, value in self.metrics.get(f"batchsend_{name}", {}).items()
            if labels.items() <= dict(given).items()
        ]
        assert len(found) < 2, found
        return found[0] if found else None


def ask(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> StatusAnswer:
    with closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return StatusAnswer(response.status, dict(response.getheaders()), response.read())


def ask_until(port: int, path: str, wanted: Callable[[StatusAnswer], bool]) -> StatusAnswer:
    """Asks until the port is open and the answer is as wanted."""
    deadline = time.monotonic() + 60
    answer: StatusAnswer | None = None
    while True:
        try:
            answer = ask(port, path)
        except ConnectionError:
            answer = None
        if answer is not None and wanted(answer):
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
