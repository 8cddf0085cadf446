"""What a database's own complaint means for whoever sends, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from batchsend.errors import LedgerError


@contextmanager
def own_errors(where: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        # PostgreSQL's further lines may quote the row, with its phone and text.
        raise LedgerError(f"{where}: {_sentence(_first_line(error.orig))}") from error
    except SQLAlchemyError as error:
        raise LedgerError(f"{where}: the ledger cannot be used: {error}") from error


def not_sound(problem: str) -> str:
    """What to do about a ledger file that is damaged."""
    return (
        f"this file is not a sound ledger ({problem}). Nothing more is sent. Keep the file, put back a backup if "
        f"there is one, and ask for help before you start with a new ledger: a new one knows nothing of what was "
        f"sent."
    )


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0]


def _sentence(problem: str) -> str:
    """What to do about the database's own words."""
    said = problem.lower()
    if "disk is full" in said or "disk i/o" in said or "no space left" in said:
        return (
            f"the ledger could not be written: the disk is full or failing ({problem}). Make room and run it "
            f"again."
        )
    if "locked" in said:
        return "the ledger is locked by another program. Close what else has it open and run it again."
    if "malformed" in said or "not a database" in said or "corrupt" in said:
        return not_sound(problem)
    if "readonly" in said or "read-only" in said:
        return "the ledger is read-only for this user. Make it writable, or name another with --ledger."
    return f"the ledger cannot be used ({problem.strip()})."
