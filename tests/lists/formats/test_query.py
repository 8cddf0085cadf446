"""A query as a list, on real databases."""

from __future__ import annotations

import re
import sqlite3
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from lists import problems_of, rows_of
from sqlalchemy.engine import make_url
from world import World, customers

from batchsend import load_campaign, preview
from batchsend.errors import ListError
from batchsend.lists.customer_list import open_list
from batchsend.lists.formats import query
from batchsend.lists.source import ListOptions
from batchsend.planning.suppression import load_suppression
from batchsend.web.jobs.list_preview import read_list

PEOPLE = [("a-1", "0123", 2**60, 'O\'Brien; "Ann"'), ("b-2", "NA", None, "100%"), ("c-3", None, 7, "=1+1")]
SELECT = 'SELECT id AS "Customer ID", code, big, note FROM people ORDER BY id'
FOUND = {
    2: ["a-1", "0123", str(2**60), 'O\'Brien; "Ann"'],
    3: ["b-2", "NA", "", "100%"],
    4: ["c-3", "", "7", "=1+1"],
}


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    file = tmp_path / "dms data.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE people (id TEXT, code TEXT, big INTEGER, note TEXT)")
    connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", PEOPLE)
    connection.commit()
    connection.close()
    return f"sqlite:///{file}"


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[psycopg.Connection]:
    url = make_url(postgres_url)
    connection = psycopg.connect(
        host=url.host, port=url.port, user=url.username, dbname=url.database, autocommit=True
    )
    connection.execute("CREATE TABLE people (id TEXT, code TEXT, big BIGINT, note TEXT)")
    connection.cursor().executemany("INSERT INTO people VALUES (%s, %s, %s, %s)", PEOPLE)
    yield connection
    connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """A database with three people; the test runs once on each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    request.getfixturevalue("postgres")
    return str(request.getfixturevalue("postgres_url"))


def written(folder: Path, text: str) -> Path:
    path = folder / "due.sql"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_query_is_a_list(tmp_path: Path, database: str) -> None:
    before = datetime.now(UTC)
    path = written(tmp_path, f"-- who is due; today\n{SELECT};\n")
    customers = open_list(path, ListOptions(database=database))
    assert customers.headers == ("Customer ID", "code", "big", "note")
    assert rows_of(customers) == FOUND
    assert before <= customers.saved_at <= datetime.now(UTC)


def test_a_list_is_another_one_if_its_query_finds_other_rows(tmp_path: Path, sqlite_url: str) -> None:
    path, options = written(tmp_path, SELECT), ListOptions(database=sqlite_url)
    first = open_list(path, options)
    assert open_list(path, options).sha256 == first.sha256
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    connection.execute("DELETE FROM people WHERE id = 'a-1'")
    connection.commit()
    connection.close()
    assert rows_of(first) == FOUND  # rows are read once
    assert open_list(path, options).sha256 != first.sha256


def test_percent_signs_colons_and_semicolons_in_text(tmp_path: Path, database: str) -> None:
    text = "WITH found AS (SELECT ':x; %s' AS a FROM people WHERE id LIKE 'a%') SELECT a, 'b' AS \"b;c\" FROM found"
    customers = open_list(written(tmp_path, text), ListOptions(database=database))
    assert (customers.headers, rows_of(customers)) == (("a", "b;c"), {2: [":x; %s", "b"]})


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM people RETURNING id",
        "UPDATE people SET code = '' RETURNING id",
        "WITH gone AS (DELETE FROM people RETURNING id) SELECT id FROM gone",
        "DROP TABLE people",
        "CREATE TABLE other AS SELECT 1 AS a",
        "COMMIT",
        "VACUUM INTO 'copy.db'",
        "ATTACH 'other.db' AS other",
        "COPY people TO 'copy.csv'",
    ],
)
def test_nothing_is_changed(
    tmp_path: Path, database: str, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = set(tmp_path.iterdir())
    options = ListOptions(database=database)
    (problem,) = problems_of(path := written(tmp_path, statement), options)
    assert problem.startswith("The database did not run the query (")
    assert rows_of(open_list(written(tmp_path, SELECT), options)) == FOUND
    assert set(tmp_path.iterdir()) == {*files, path}


def test_a_function_cannot_change_anything(
    tmp_path: Path, postgres: psycopg.Connection, postgres_url: str
) -> None:
    postgres.execute("CREATE FUNCTION forget() RETURNS int LANGUAGE sql AS 'DELETE FROM people; SELECT 1'")
    (problem,) = problems_of(written(tmp_path, "SELECT forget() AS a"), ListOptions(database=postgres_url))
    assert "cannot execute DELETE in a read-only transaction" in problem
    assert postgres.execute("SELECT count(*) FROM people").fetchone() == (3,)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 AS a; DROP TABLE people",
        "SELECT 1 AS a; SELECT 2 AS a",
        "SELECT ';' AS a /* ; */; -- ;\n COMMIT",
        "SELECT 1 AS a;\n;\nDELETE FROM people;",
    ],
)
def test_one_statement_only(
    tmp_path: Path, database: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ListOptions(database=database)
    assert problems_of(written(tmp_path, text), options) == (
        "It has more than one statement. Write one SELECT in it; WITH can name the steps before.",
    )
    # Where the check misses one, the database refuses it.
    monkeypatch.setattr(query, "_TOKEN", re.compile(".+", re.DOTALL))
    assert problems_of(written(tmp_path, text), options)
    assert rows_of(open_list(written(tmp_path, SELECT), options)) == FOUND


def test_a_query_that_takes_too_long_is_stopped(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "QUERY_TIMEOUT", 1)
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) AS n FROM r"
    (problem,) = problems_of(written(tmp_path, endless), ListOptions(database=database))
    assert problem.startswith("The query took more than")


def test_a_long_list_is_read_in_pieces(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "_ROWS_AT_A_TIME", 1000)
    peaks = []
    for rows in (4_000, 16_000):
        path = written(
            tmp_path, f"SELECT n AS id, repeat('x', 200) || n AS text FROM generate_series(1, {rows}) n"
        )
        tracemalloc.start()
        assert open_list(path, ListOptions(database=postgres_url)).rows == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 12_000 * 50


def test_values_of_postgresql(tmp_path: Path, postgres_url: str) -> None:
    text = """SELECT 12.50::numeric AS price, 0.1::real AS short, 1e15::float8 AS inexact, true AS yes,
        '2026-03-01'::date AS day, '2026-03-01 09:30'::timestamp AS moment, '09:30'::time AS hour,
        'c5b1f0a4-0000-4000-8000-000000000000'::uuid AS id, NULL AS nothing, 'NaN'::numeric AS nan"""
    customers = open_list(written(tmp_path, text), ListOptions(database=postgres_url))
    assert rows_of(customers) == {
        2: [
            *("12.50", "0.1", "1E+15", "TRUE", "2026-03-01", "2026-03-01 09:30:00", "09:30:00"),
            *("c5b1f0a4-0000-4000-8000-000000000000", "", ""),
        ]
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("now()", 'Its column "a" has times with a time zone'),
        ("'{1,2}'::int[]", 'Its column "a" has values of the type list'),
        ("'x'::bytea", 'Its column "a" has values of the type bytes'),
        ("'{}'::jsonb", 'Its column "a" has values of the type dict'),
    ],
)
def test_values_that_cannot_be_cells(tmp_path: Path, postgres_url: str, value: str, problem: str) -> None:
    path = written(tmp_path, f"SELECT 'x' AS id, {value} AS a")
    (found,) = problems_of(path, ListOptions(database=postgres_url))
    assert found.startswith(problem)


def test_messages_have_no_values_and_no_password(
    tmp_path: Path, postgres: psycopg.Connection, postgres_url: str
) -> None:
    path = written(tmp_path, "SELECT note::int AS a FROM people")
    (problem,) = problems_of(path, ListOptions(database=postgres_url))
    assert "SQLSTATE 22P02" in problem
    assert "Brien" not in problem
    for address in (
        "postgresql://user:s3cret@127.0.0.1:1/dms",
        "mysql://user:s3cret@127.0.0.1:1/dms",
        "nonsense://user:s3cret@127.0.0.1/dms",
        "postgresql://user:s3cret@127.0.0.1:port/dms",
    ):
        (problem,) = problems_of(path, ListOptions(database=address))
        assert "BATCHSEND_LIST_DATABASE" in problem
        assert "s3cret" not in problem


@pytest.mark.parametrize(
    ("module", "address", "extra"),
    [
        ("psycopg", "postgresql://user:s3cret@host/dms", "postgres"),
        ("pymysql", "mysql://user:s3cret@host/dms", "mysql"),
        ("pyodbc", "mssql://user:s3cret@host/dms", "mssql"),
    ],
)
def test_a_missing_driver_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, address: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (problem,) = problems_of(written(tmp_path, SELECT), ListOptions(database=address))
    assert f'`pip install "batchsend[{extra}]"`' in problem
    assert "s3cret" not in problem


@pytest.mark.parametrize(
    ("text", "address", "problem"),
    [
        ("-- nothing yet", "sqlite:////x.db", "It has no query."),
        (SELECT, "sqlite:///dms.db", "BATCHSEND_LIST_DATABASE needs the full path of an SQLite file"),
        (SELECT, "sqlite://", "BATCHSEND_LIST_DATABASE needs the full path of an SQLite file"),
        (
            SELECT,
            "sqlite:////nowhere/dms.db",
            "The database cannot be reached (unable to open database file).",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, address: str, problem: str) -> None:
    (found,) = problems_of(written(tmp_path, text), ListOptions(database=address))
    assert found.startswith(problem)


def test_a_query_is_no_file_of_opt_outs(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="which can only be a campaign's list"):
        load_suppression([written(tmp_path, SELECT)], "US")


def test_a_campaign_texts_who_its_query_finds(tmp_path: Path, world: World) -> None:
    world.write(customers(3), campaign="")
    toml = world.folder / "campaign.toml"
    toml.write_text(toml.read_text().replace("customers.csv", "due.sql"), encoding="utf-8")
    file = tmp_path / "dms.db"
    connection = sqlite3.connect(file)
    connection.execute('CREATE TABLE people ("Customer UUID" TEXT, "First Name" TEXT)')
    connection.executemany("INSERT INTO people VALUES (?, ?)", [("c-1", "Ann"), ("c-2", "Bob")])
    connection.commit()
    written(world.folder, "SELECT * FROM people ORDER BY 1")
    not_set = "BATCHSEND_LIST_DATABASE, the database to run it on, is not set"
    with pytest.raises(ListError, match=not_set), preview(load_campaign(toml)):
        pass
    assert not_set in read_list(toml, toml.read_bytes()).problems[0]
    (world.folder / ".env").write_text(f"BATCHSEND_LIST_DATABASE=sqlite:///{file}\n", encoding="utf-8")
    for _ in range(2):  # the second start finds the same rows: it is the same run
        done = world.run("send", "campaign.toml", "--yes")
        assert done.code == 0, done.err
        assert "2 rows = 2 accepted by myKaarma" in done.out
    connection.execute("INSERT INTO people VALUES ('c-3', 'Cleo')")
    connection.commit()
    connection.close()
    done = world.run("send", "campaign.toml", "--yes")
    assert "3 rows = 1 accepted by myKaarma + 2 skipped" in done.out, done.err
