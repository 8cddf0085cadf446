"""INSERTs of whichever database a ledger is kept in: with ON CONFLICT; and statements for many rows at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Table,
    Update,
    bindparam,
    column,
    insert,
    table,
)
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

#: From the name of a value to what stands for it in the statement.
Given = Callable[[str], ColumnElement[Any]]
#: Rows of one statement; SQLite takes 32,766 values.
_ROWS = 512


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Both databases' INSERTs have the same methods here; PostgreSQL's is loaded only where it is needed."""
    if connection.dialect.name == "sqlite":
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


class RowUpdate:
    """An UPDATE that is made for rows which each give the values called `names`; `build` says how it reads.

    Values that are the same for all rows are `bindparam`s of `build`'s own.
    """

    def __init__(self, names: Sequence[str], build: Callable[[Given], Update]) -> None:
        self._names = tuple(names)
        self._build = build

    def execute(
        self, connection: Connection, rows: Sequence[Sequence[Any]], common: Mapping[str, Any]
    ) -> None:
        """Updates each of `rows`, which hold the values in the order of `names`; `common`: those for all rows."""
        if connection.dialect.name != "sqlite":
            # This driver sends all of them before it waits for the first answer.
            names = [_parameter(name) for name in self._names]
            each = [{**common, **dict(zip(names, row, strict=True))} for row in rows]
            connection.execute(self._for_each, each)
            return
        for start in range(0, len(rows), _ROWS):
            self._at_once(connection, rows[start : start + _ROWS], common)

    def _at_once(
        self, connection: Connection, rows: Sequence[Sequence[Any]], common: Mapping[str, Any]
    ) -> None:
        # Few different statements, which the driver keeps prepared: no row has the number NULL.
        padded = 1 << (len(rows) - 1).bit_length()
        nobody = (None,) * (len(self._names) * (padded - len(rows)))
        sql, order, fixed = self._from_table
        values = ", ".join([f"({', '.join('?' * len(self._names))})"] * padded)
        with_values = f"WITH given ({', '.join(self._names)}) AS (VALUES {values}) {sql}"
        given = {**fixed, **common}
        parameters = (*chain.from_iterable(rows), *nobody, *(given[name] for name in order))
        connection.exec_driver_sql(with_values, parameters)

    @cached_property
    def _for_each(self) -> Update:
        return self._build(lambda name: bindparam(_parameter(name)))

    @cached_property
    def _from_table(self) -> tuple[str, Sequence[str], Mapping[str, Any]]:
        """The SQL, the names of its parameters in their order, and the values of those that it brings."""
        given = table("given", *(column(name) for name in self._names))
        compiled = self._build(given.c.__getitem__).compile(dialect=sqlite.dialect())
        return str(compiled), compiled.positiontup or (), compiled.params


def _parameter(name: str) -> str:
    # SQLAlchemy keeps the columns' own names for itself.
    return f"given_{name}"
