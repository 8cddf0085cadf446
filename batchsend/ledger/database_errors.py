"""Turns errors of the database into `LedgerError`s that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from batchsend.errors import LedgerError


@contextmanager
def ledger_errors(where: str) -> Iterator[None]:
    """Raises database errors of the block as `LedgerError`; `where` names the ledger."""
    try:
        yield
    except DBAPIError as error:
        # Further lines from PostgreSQL can quote the row, with its phone and text.
        raise LedgerError(f"{where}: {_sentence(_first_line(error.orig))}") from error
    except SQLAlchemyError as error:
        raise LedgerError(f"{where}: the ledger cannot be used: {error}") from error


def damaged(problem: str) -> str:
    """The sentence about a damaged ledger file."""
    return (
        f"this file is damaged or not a ledger ({problem}). Nothing more is sent. Keep the file, restore a backup if "
        f"there is one, and ask for help before you start with a new ledger: a new one does not know what was sent."
    )


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0]


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
