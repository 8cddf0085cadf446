"""Options of connections to PostgreSQL, which limit how long a silently lost connection can block a command."""

from __future__ import annotations

from sqlalchemy.engine import URL

#: By their libpq names; `tcp_user_timeout` is in milliseconds, the others in seconds.
_KEEP_ALIVE = {
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}


def server_options(url: URL, **more: str) -> dict[str, str]:
    """The connection options that the URL does not set itself."""
    return {name: value for name, value in (_KEEP_ALIVE | more).items() if name not in url.query}
