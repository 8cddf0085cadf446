"""Fixtures for all tests: a new ledger on either database, a sandbox, a user's folder."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from postgres_server import PostgresServer, running_postgres
from warm_start import hash_passwords_fast, warm_start
from world import STARTER, Sandbox, World, running_sandbox

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.opening import open_ledger
from batchsend.settings import VARIABLES

#: The same examples on every machine. `pytest --hypothesis-profile=default` tries new ones.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")

#: Python ignores these signals itself, and restores them in the processes that it starts.
_IGNORED_BY_PYTHON = {"SIGPIPE", "SIGXFZ", "SIGXFSZ"}


#: A file system in memory, and how much room it needs to have for the tests' files and databases.
_MEMORY, _ROOM = Path("/dev/shm"), 4 * 1024**3


def pytest_configure(config: pytest.Config) -> None:
    """Keeps files of `make test` in memory where there is enough: each commit of a ledger would wait for the disk.

    A `TMPDIR` of the environment is used instead. Some services of `make test-system` have a `/dev` of their own.
    """
    if config.option.markexpr != "not system" or "TMPDIR" in os.environ:
        return
    if sys.platform != "linux" or not _MEMORY.is_dir():
        return
    memory = os.statvfs(_MEMORY)
    if memory.f_bavail * memory.f_frsize >= _ROOM and not memory.f_flag & os.ST_NOEXEC:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


#: Tests of whole commands and services. On PostgreSQL they are left to `make test-system`.
_WHOLE_COMMANDS = tuple(Path(__file__).parent / name for name in ("acceptance", "services", "web"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of whole commands on PostgreSQL, so that `make test` stays short."""
    for item in items:
        uses_postgresql = "postgres_url" in getattr(item, "fixturenames", ()) or "postgresql" in item.name
        if uses_postgresql and any(item.path.is_relative_to(folder) for folder in _WHOLE_COMMANDS):
            item.add_marker(pytest.mark.system)


def _stay_unaffected(_number: int, _frame: FrameType | None) -> None:
    """Ignores a signal."""


@pytest.fixture(scope="session", autouse=True)
def _signals_reach_commands() -> None:
    """Keeps commands from inheriting ignored signals: SIGHUP under `nohup`, SIGINT after a shell's `&`.

    The tests still ignore these signals, but with a handler, which processes do not inherit.
    """
    for number in signal.valid_signals():
        ignored = signal.getsignal(number) is signal.SIG_IGN
        if ignored and getattr(number, "name", "") not in _IGNORED_BY_PYTHON:
            signal.signal(number, _stay_unaffected)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """Removes the environment's settings for batchsend and for the terminal (width, colors)."""
    display = ("TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTHON_COLORS", "TTY_COMPATIBLE")
    for name in (*display, *VARIABLES):
        os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _quick_starts(_signals_reach_commands: None, _no_settings_from_outside: None) -> Iterator[None]:
    """A process per pytest worker that has loaded the libraries, so that commands start fast."""
    with warm_start() as starter:
        token = STARTER.set(starter)
        if starter is not None:
            hash_passwords_fast()
        yield
        STARTER.reset(token)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server per pytest worker; it starts when a test first needs it."""
    with running_postgres() as server:
        yield server


@contextmanager
def _administrator(server: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def ledger_template(postgres_server: PostgresServer) -> str:
    """The name of a database that has the tables of a new ledger: copying it is faster than creating them."""
    name = "a_new_ledger"
    with _administrator(postgres_server) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    open_ledger(postgres_server.url(name)).close()
    return name


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of a new database. It is empty, except for tests that use `ledger` or `any_place`."""
    database, template = f"test_{uuid4().hex}", "template1"
    if {"ledger", "any_place"}.intersection(request.fixturenames):
        template = request.getfixturevalue("ledger_template")
    with _administrator(postgres_server) as admin:
        # The usual strategy writes the copy to the log as well.
        admin.execute(f"CREATE DATABASE {database} TEMPLATE {template} STRATEGY file_copy")
    yield postgres_server.url(database)
    with _administrator(postgres_server) as admin:
        # FORCE, because tests of crashes leave connections open.
        admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that does not exist yet; the test runs once on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An open, new ledger; the test runs once on each database."""
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """The API's stand-in, in its own process."""
    with running_sandbox(tmp_path) as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, sandbox: Sandbox) -> World:
    """A user's folder whose commands talk to the sandbox."""
    folder = tmp_path / "dealership"
    folder.mkdir()
    return World(folder, sandbox.base_url)
