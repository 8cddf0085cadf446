"""The engine of a ledger on PostgreSQL. Its options limit how long a silently lost connection can block a command."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine import URL

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


def server_engine(url: URL, connections: int, overflow: int = 0) -> Engine:
    """An engine that keeps at most so many connections, and opens `overflow` more while all of them are in use."""
    engine = create_engine(
        url,
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
