"""INSERTs of whichever database a ledger is kept in: with ON CONFLICT; and statements for many rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Dialect, Insert, Table, Update, insert

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Both databases' INSERTs have the same methods here; only the one that is needed is loaded."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def execute_for_all(
    connection: Connection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Executes a statement once for each row: an INSERT's has every column, an UPDATE's every `bindparam`."""
    if connection.dialect.name != "sqlite":
        connection.execute(statement, rows)
        return
    # SQLAlchemy looks at every value of every row; the driver takes tuples as they are (`make bench`: preview, send).
    sql, order, fixed = _for_driver(statement, connection.dialect, tuple(rows[0]))
    if fixed:
        connection.exec_driver_sql(sql, [tuple(map({**fixed, **row}.__getitem__, order)) for row in rows])
    else:
        connection.exec_driver_sql(sql, list(map(itemgetter(*order), rows)))


def insert_tuples(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Adds rows to a SQLite database: tuples of values for these columns, which are in the table's order."""
    statement = insert(table).compile(dialect=connection.dialect, column_keys=list(columns))
    if statement.positiontup != list(columns):
        raise AssertionError("the columns are in the table's order")
    connection.exec_driver_sql(str(statement), rows)


@lru_cache(maxsize=32)
def _for_driver(
    statement: Insert | Update, dialect: Dialect, given: tuple[str, ...]
) -> tuple[str, Sequence[str], dict[str, Any]]:
    """The SQL, the names of its parameters in their order, and the values of those that the statement brings."""
    # An UPDATE's own `bindparam`s are known already; an INSERT takes a column for each name that is given.
    columns = list(given) if isinstance(statement, Insert) else None
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    order = compiled.positiontup
    assert order is not None  # noqa: S101 - SQLite's parameters are positional
    names = set(given)
    return str(compiled), order, {name: compiled.params[name] for name in order if name not in names}
