"""Turns errors of the database into `LedgerError`s that say what to do, and retries what may succeed later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from batchsend.errors import LedgerError

T = TypeVar("T")

#: While texts are sent, a database that says no is retried for this many seconds ...
RETRY_SECONDS = 120.0
#: ... with this pause between attempts.
_PAUSE_SECONDS = 0.25

_POOLER = (
    "a pooler such as PgBouncer passes each transaction to another connection ({}). Set its pool mode to `session`, "
    "or connect to the database without it."
)

#: SQLSTATEs of PostgreSQL, or their first two characters, after which the same statement may succeed later, and what
#: to do if it does not.
_PASSING = {
    "08": "the database cannot be reached ({}). Check that its server runs and that this computer reaches it.",
    "25006": "the database is read-only at present ({}). Make it writable, or after a failover name the new primary "
    "server in BATCHSEND_LEDGER.",
    "25P03": "the database ended a connection that was silent for too long ({}). Run this again.",
    "40": "another process changed the same rows ({}). Run this again.",
    "53100": "the disk of the database's server is full ({}). Make room there and run this again.",
    "53200": "the database's server is out of memory ({}). Make memory free there and run this again.",
    "53300": "the database has no free connection ({}). Stop processes that you do not need, or raise the "
    'database\'s `max_connections`: see "Connections to the database" in the manual.',
    "53": "the database's server lacks resources ({}). Ask the person who runs it.",
    "55P03": "another process has locked rows for too long ({}). Let it finish, or raise `lock_timeout` of the "
    "database's user, and run this again.",
    "57014": "the database ended a statement that took too long ({}). Raise `statement_timeout` of the database's "
    "user and run this again.",
    "57": "the database is starting, stopping or restarting ({}). Run this again once it is up.",
    "58": "the disk of the database's server is failing ({}). Ask the person who runs it.",
}
#: The same for errors that stay until someone does something about them.
_LASTING = {
    "26000": _POOLER,
    "28": "the database refuses this user ({}). Correct the user or the password in BATCHSEND_LEDGER or pgpass.",
    "3D000": "the database or its user does not exist ({}). Create it, or correct BATCHSEND_LEDGER.",
    "42P05": _POOLER,
    "42501": "the database's user lacks a permission ({}). Ask the person who runs the database.",
}
#: Words of errors that come without a SQLSTATE, because there was no connection yet.
_WORDS = {
    "too many clients": "53300",
    "too many connections": "53300",
    "connection slots are reserved": "53300",
    "starting up": "57P03",
    "shutting down": "57P03",
    "recovery mode": "57P03",
    "not yet accepting connections": "57P03",
    "not accepting connections": "57P03",
    "password": "28P01",
    "authentication": "28000",
    "pg_hba.conf": "28000",
    "does not exist": "3D000",
}


@contextmanager
def ledger_errors(where: str) -> Iterator[None]:
    """Raises database errors of the block as `LedgerError`; `where` names the ledger."""
    try:
        yield
    except DBAPIError as error:
        # Further lines from PostgreSQL can quote the row, with its phone and text.
        problem = str(error.orig).partition("\n")[0].strip()
        advice = _advice(_LASTING | _PASSING, error)
        sentence = _sentence(problem) if advice is None else advice.format(problem)
        raise LedgerError(f"{where}: {sentence}") from error
    except PoolTimeoutError as error:
        raise LedgerError(
            f"{where}: all connections of this process were in use for 30 seconds. Run this again."
        ) from error
    except SQLAlchemyError as error:
        raise LedgerError(f"{where}: the ledger cannot be used: {error}") from error


def is_passing(error: LedgerError) -> bool:
    """Whether the database could not be reached or said no for a reason that may pass."""
    cause = error.__cause__
    if isinstance(cause, PoolTimeoutError):
        return True
    return isinstance(cause, DBAPIError) and _advice(_PASSING, cause) is not None


def is_refused_for_now(error: LedgerError) -> bool:
    """Whether the server could be reached, but takes no connection at this moment."""
    return isinstance(error.__cause__, DBAPIError) and _state(error.__cause__) in ("53300", "57P03")


def retry(
    action: Callable[[], T],
    give_up: Callable[[], bool] = lambda: False,
    seconds: float = RETRY_SECONDS,
    may_pass: Callable[[LedgerError], bool] = is_passing,
) -> T:
    """Calls `action` again while its error may pass, for `seconds` at most, unless it is to give up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except LedgerError as error:
            if not may_pass(error) or give_up() or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def damaged(problem: str) -> str:
    """The sentence about a damaged ledger file."""
    return (
        f"this file is damaged or not a ledger ({problem}). Nothing more is sent. Keep the file, restore a backup if "
        f"there is one, and ask for help before you start with a new ledger: a new one does not know what was sent."
    )


def _state(error: DBAPIError) -> str | None:
    """The SQLSTATE of an error of PostgreSQL; `None` for one of SQLite."""
    if not hasattr(error.orig, "sqlstate"):
        return None
    if (state := getattr(error.orig, "sqlstate", None)) is not None:
        return str(state)
    words = str(error.orig).lower()
    found = (state for phrase, state in _WORDS.items() if phrase in words)
    lost = error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
    return next(found, "08000") if lost else None


def _advice(advice: Mapping[str, str], error: DBAPIError) -> str | None:
    """What to do about an error, if the table has it."""
    state = _state(error)
    return None if state is None else advice.get(state, advice.get(state[:2]))


def _sentence(problem: str) -> str:
    """The sentence about a problem that the database reports."""
    words = problem.lower()
    if "disk is full" in words or "disk i/o" in words or "no space left" in words:
        return (
            f"the ledger could not be written: the disk is full or failing ({problem}). Make room and run this "
            f"again."
        )
    if "locked" in words:
        return "the ledger is locked by another program. Close that program and run this again."
    if "malformed" in words or "not a database" in words or "corrupt" in words:
        return damaged(problem)
    if "readonly" in words or "read-only" in words:
        return "the ledger is read-only for this user. Make it writable, or name another with --ledger."
    return f"the ledger cannot be used ({problem.strip()})."
