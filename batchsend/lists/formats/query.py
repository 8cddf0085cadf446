"""Runs a query (.sql) on the database of `BATCHSEND_LIST_DATABASE` and reads its rows, some at a time.

The database is only read: PostgreSQL and SQLite refuse changes, and no transaction is ever committed.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from batchsend.errors import ListError
from batchsend.lists.formats.frames import rows_of
from batchsend.lists.source import FileSnapshot, ListOptions
from batchsend.settings import LIST_DATABASE
from batchsend.utils.files import sqlite_uri
from batchsend.utils.wording import install_command

#: Seconds, from connecting to the last row.
QUERY_TIMEOUT = 600
#: Bytes of a query.
_MAX_LENGTH = 1024 * 1024
_ROWS_AT_A_TIME = 10_000
#: SQLite's virtual machine checks the time after so many instructions.
_INSTRUCTIONS = 100_000
_CONNECT_TIMEOUT = 10
#: The class of SQLSTATE whose messages quote values.
_DATA_ERROR = "22"
# Comments and quoted text, in which a semicolon does not end a statement.
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|\$(\w*)\$.*?\$\1\$|;|\S""",
    re.DOTALL,
)
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mssql": "mssql+pyodbc"}
_EXTRAS = {"postgresql+psycopg": "postgres", "mysql+pymysql": "mysql", "mssql+pyodbc": "mssql"}


@dataclass(frozen=True)
class QuerySource:
    """A query and the database that it is for. Every call of `rows` runs it."""

    path: Path
    query: str = field(repr=False)
    engine: Engine = field(repr=False)
    notes: tuple[str, ...] = ()
    hidden: frozenset[int] = frozenset()
    short_rows_are_malformed: bool = False

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """See `Source.rows`. Raises ListError if the database cannot be reached or refuses the query."""
        try:
            connection = self.engine.connect()
        except SQLAlchemyError as error:
            problem = _problem(error, self.engine.url)
            raise ListError(
                self.path, f"The database cannot be reached ({problem}). Check {LIST_DATABASE}."
            ) from None
        with connection:  # at its end, everything is rolled back
            try:
                yield from rows_of(self._frames(connection), self.path)
            except SQLAlchemyError as error:
                raise ListError(self.path, _refused(_problem(error, self.engine.url))) from None

    def _frames(self, connection: Connection) -> Iterator[pd.DataFrame]:
        deadline = time.monotonic() + QUERY_TIMEOUT
        _restrict(connection)
        # Without parameters, a % in the query stays what it is.
        options = connection.execution_options(stream_results=True, no_parameters=True)
        found = options.exec_driver_sql(self.query)
        columns = pd.Index(list(found.keys()), dtype=object)
        yield pd.DataFrame(columns=columns, dtype=object)
        while rows := found.fetchmany(_ROWS_AT_A_TIME):
            if time.monotonic() > deadline:
                raise ListError(self.path, _TOO_SLOW)
            # As objects, the values are what the database gave: no whole number becomes a fraction.
            yield pd.DataFrame(list(map(tuple, rows)), columns=columns, dtype=object)


def open_query(path: Path, _snapshot: FileSnapshot, options: ListOptions) -> QuerySource:
    """Reads the query and checks the address of the database. Connects only when the rows are read.

    Raises ListError if there is more than one statement, no database or no driver.
    """
    if options.database is None:
        raise ListError(
            path,
            "It is a query, which can only be a campaign's list. Save its rows as .csv and name that file.",
        )
    query = _one_statement(path)
    return QuerySource(path, query, _engine(path, options.database))


def _one_statement(path: Path) -> str:
    try:
        query = path.read_bytes()[:_MAX_LENGTH].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ListError(path, "It is not UTF-8 text. Save the query again with the encoding UTF-8.") from None
    tokens = [token for token in _TOKEN.finditer(query) if not token[0].startswith(("--", "/*"))]
    ends = [token for token in tokens if token[0] == ";"]
    while tokens and tokens[-1][0] == ";":
        tokens.pop()
    if not tokens:
        raise ListError(path, "It has no query. Write a SELECT in it.")
    last = tokens[-1]
    if any(end.start() < last.start() for end in ends):
        raise ListError(
            path, "It has more than one statement. Write one SELECT in it; WITH can name the steps before."
        )
    return query[: last.end()]


def _engine(path: Path, address: str) -> Engine:
    """An engine for the database. Messages do not quote the address, which may contain a password."""
    try:
        url = make_url(address.replace("postgres://", "postgresql://", 1))
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        if url.get_backend_name() == "sqlite":
            return _sqlite(path, url)
        return create_engine(url, poolclass=NullPool, connect_args=_limits(url), hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ListError(
            path,
            f"{LIST_DATABASE} is not the address of a database. Write it like postgresql://user@host/database or "
            "sqlite:////folder/file.db",
        ) from None
    except ImportError as error:
        raise ListError(path, _no_driver(url, error)) from None


def _sqlite(path: Path, url: URL) -> Engine:
    file = Path(url.database or "")
    if not file.is_absolute():
        raise ListError(
            path,
            f"{LIST_DATABASE} needs the full path of an SQLite file, because a relative one depends on the folder in "
            "which a command is started. Write it like sqlite:////folder/file.db",
        )

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{sqlite_uri(file)}?mode=ro", uri=True)
        # Text that is not UTF-8 makes a damaged cell instead of an error that quotes it.
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def _limits(url: URL) -> dict[str, Any]:
    """Connection options, in seconds."""
    match url.drivername:
        case "postgresql+psycopg":
            # Otherwise text of a database with the encoding SQL_ASCII comes as bytes.
            return {"connect_timeout": _CONNECT_TIMEOUT, "client_encoding": "utf8"}
        case "mysql+pymysql":
            return {"connect_timeout": _CONNECT_TIMEOUT, "read_timeout": QUERY_TIMEOUT}
        case "mssql+pyodbc":
            return {"timeout": _CONNECT_TIMEOUT}
    return {}


def _restrict(connection: Connection) -> None:
    """Makes the transaction read-only and limits its time, as far as the database can."""
    driver: Any = connection.connection.driver_connection
    match connection.dialect.name:
        case "sqlite":
            deadline = time.monotonic() + QUERY_TIMEOUT
            driver.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)
            # The file is open for reading, but VACUUM INTO and ATTACH could write others.
            driver.set_authorizer(
                lambda action, *_: (
                    sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
                )
            )
        case "postgresql":
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {QUERY_TIMEOUT * 1000}")
        case "mysql" | "mariadb":
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        case "mssql":
            driver.timeout = QUERY_TIMEOUT


def _no_driver(url: URL, error: ImportError) -> str:
    extra = _EXTRAS.get(url.drivername)
    if extra is None:
        return f"The driver for {LIST_DATABASE} is not installed ({error}). Install it with pip."
    if isinstance(error, ModuleNotFoundError):
        return (
            f"The driver for {LIST_DATABASE} ({url.get_driver_name()}) is not installed. Install it: "
            f"{install_command(extra)}."
        )
    return (
        f"The driver for {LIST_DATABASE} ({url.get_driver_name()}) cannot be loaded: {error}. Install that."
    )


_TOO_SLOW = (
    f"The query took more than {QUERY_TIMEOUT / 60:.0f} minutes and was stopped. Let it find fewer rows, or "
    "add an index to the database."
)


def _problem(error: SQLAlchemyError, url: URL) -> str:
    """What the database says, without the password and without values that it holds."""
    original = getattr(error, "orig", None) or error
    problem = str(original).partition("\n")[0].strip().rstrip(".")
    if url.password:
        problem = problem.replace(str(url.password), "***")
    state = str(getattr(original, "sqlstate", None) or next(iter(original.args), ""))
    return f"a value could not be converted, SQLSTATE {state}" if state.startswith(_DATA_ERROR) else problem


def _refused(problem: str) -> str:
    if "statement timeout" in problem or problem == "interrupted":
        return _TOO_SLOW
    return f"The database did not run the query ({problem}). Correct the query; it can only read."
