"""How connections to PostgreSQL are made: one that is cut off without a word must not hold anybody up for minutes."""

from __future__ import annotations

from sqlalchemy.engine import URL

#: As libpq names them; `tcp_user_timeout` in milliseconds, the others in seconds.
_KEEP_ALIVE = {
    "connect_timeout": "10",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}


def server_options(url: URL, **more: str) -> dict[str, str]:
    """What a connection is made with beside its URL, which has the last word."""
    return {name: value for name, value in (_KEEP_ALIVE | more).items() if name not in url.query}
