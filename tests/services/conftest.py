"""Fixtures of the services: folders in which schedulers run with a clock of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from schedules import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("MYKAARMA_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("BATCHSEND_LEDGER", raising=False)
    monkeypatch.chdir(tmp_path)
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture
def any_place(place: Place, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """On SQLite and on PostgreSQL."""
    monkeypatch.setenv("BATCHSEND_LEDGER", ledger_url)
    yield place
    # Locks that outlive their database warn in a later test.
    place.close()
