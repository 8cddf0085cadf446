"""Connections to a ledger on PostgreSQL. Options limit how long a silently lost connection can block a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Executable, create_engine, event, func, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from batchsend.errors import LedgerError
from batchsend.ledger.database_errors import ledger_errors
from batchsend.utils.wording import install_command

if TYPE_CHECKING:
    from batchsend.ledger.ledger import Ledger

#: By their libpq names; `tcp_user_timeout` is in milliseconds, the others in seconds.
_OPTIONS = {
    # Otherwise text of a database with the encoding SQL_ASCII, which some installations choose, comes as bytes.
    "client_encoding": "utf8",
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
#: The same for the server, so that a host that vanished within a transaction does not keep its rows locked.
_SERVER_SETTINGS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
    # A process that is suspended within a transaction.
    "idle_in_transaction_session_timeout": "20000",
}


#: The parameter of a ledger's URL that limits the connections of a process, and the least that it may be.
CONNECTIONS = "connections"
FEWEST_CONNECTIONS = 8
#: A worker's connections beside one for each run that it sends: two for transactions, one each for leases, slots and
#: jobs, and two that listen. Other processes use fewer.
_WORKER_CONNECTIONS = 7


def connection_limit(url: URL) -> int | None:
    """How many connections the URL allows a process; `None`: it does not say. Raises `ValueError`."""
    given = url.query.get(CONNECTIONS)
    if given is None:
        return None
    if not isinstance(given, str) or not given.isdecimal() or int(given) < FEWEST_CONNECTIONS:
        raise ValueError(given)
    return int(given)


def most_runs(url: str, most: int) -> int:
    """How many runs a worker may send at a time so that it keeps to the URL's limit; `most` where there is none."""
    limit = connection_limit(make_url(url))
    return most if limit is None else min(most, limit - _WORKER_CONNECTIONS)


def server_engine(url: URL, connections: int, overflow: int = 0) -> Engine:
    """An engine that keeps at most so many connections. Raises `LedgerError` if its driver is not installed.

    It opens `overflow` more while all of them are in use, unless the URL limits the connections of the process.
    """
    if connection_limit(url) is not None:
        overflow = 0
    try:
        engine = create_engine(
            url.difference_update_query([CONNECTIONS]),
            pool_pre_ping=True,
            pool_size=connections,
            max_overflow=overflow,
            hide_parameters=True,
            connect_args=server_options(url),
        )
    except ImportError as error:
        raise LedgerError(
            f"A ledger on PostgreSQL needs the library psycopg, which cannot be loaded ({error}). Install it: "
            f"{install_command('postgres')}."
        ) from error
    settings = ", ".join(
        f"set_config('{name}', '{value}', false)" for name, value in _SERVER_SETTINGS.items()
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # A server, database or role can be configured to commit before the data is on disk.
        connection.execute(
            f"SELECT {settings}, CASE current_setting('synchronous_commit') "
            f"WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END"
        )
        connection.commit()

    return engine


def server_options(url: URL, **more: str) -> dict[str, str]:
    """The connection options that the URL does not set itself."""
    return {name: value for name, value in (_OPTIONS | more).items() if name not in url.query}


def run_channel(run_id: int) -> str:
    """The channel of a run: a process that sent it ended its part."""
    return f"batchsend_run_{run_id}"


def notify(connection: Connection, channel: str, words: str = "") -> None:
    """Wakes the processes that listen to this channel, once the transaction is committed."""
    connection.execute(select(func.pg_notify(channel, words)))


class KeptConnection:
    """A connection of its own for statements that are each a transaction. It is opened when one is executed.

    `settings`: of PostgreSQL, for this connection. May be used from one thread at a time.
    """

    def __init__(self, ledger: Ledger, **settings: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._connection: Connection | None = None

    def execute(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Any]:
        """Returns the statement's rows. After a `LedgerError`, the next statement opens a new connection."""
        with ledger_errors(self._ledger.where):
            try:
                self._connection = self._connection or self._ledger.autocommit(**self._settings)
                result = self._connection.execute(statement, values)
                return result.all() if result.returns_rows else ()
            except SQLAlchemyError:
                self.close()
                raise

    def wait(self, channel: str, seconds: float) -> None:
        """Waits until a channel is notified. Returns at once where it begins to listen, or does so again."""
        if self._connection is not None:
            driver: Any = self._connection.connection.dbapi_connection
            # A lost connection is noticed by the next statement.
            with suppress(self._connection.dialect.loaded_dbapi.Error):
                list(driver.notifies(timeout=seconds, stop_after=1))
        self.execute(text(f"LISTEN {channel}"), {})

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()
