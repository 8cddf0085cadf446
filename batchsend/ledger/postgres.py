"""The engine of a ledger on PostgreSQL. Its options limit how long a silently lost connection can block a command."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url

#: By their libpq names; `tcp_user_timeout` is in milliseconds, the others in seconds.
_KEEP_ALIVE = {
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
    """An engine that keeps at most so many connections.

    It opens `overflow` more while all of them are in use, unless the URL limits the connections of the process.
    """
    if connection_limit(url) is not None:
        overflow = 0
    engine = create_engine(
        url.difference_update_query([CONNECTIONS]),
        pool_pre_ping=True,
        pool_size=connections,
        max_overflow=overflow,
        hide_parameters=True,
        connect_args=server_options(url),
    )
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
    return {name: value for name, value in (_KEEP_ALIVE | more).items() if name not in url.query}


def notify(connection: Connection, channel: str, words: str = "") -> None:
    """Wakes the processes that listen to this channel, once the transaction is committed."""
    connection.execute(select(func.pg_notify(channel, words)))
