"""SQL for both databases: INSERTs with ON CONFLICT, and statements for many rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Integer,
    Table,
    TableValuedAlias,
    Update,
    bindparam,
    column,
    func,
    literal,
    table,
)
from sqlalchemy.dialects import sqlite

from batchsend.ledger.schema import messages

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

T = TypeVar("T")
#: The parameter for the run of all rows that a statement changes.
OF_RUN = "of_run"
#: From the name of a value, or `OF_RUN`, to its expression in the statement.
Given = Callable[[str], ColumnElement[Any]]
#: Rows of one statement; SQLite allows 32,766 values.
_ROWS = 512


def in_chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`values` in sequences of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT with `on_conflict_...` methods. PostgreSQL's is imported only for a PostgreSQL ledger."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def execute_for_all(
    connection: Connection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Executes a statement once for each row, which has every column of an INSERT or `bindparam` of an UPDATE."""
    if connection.dialect.name != "sqlite":
        connection.execute(statement, rows)
        return
    # SQLAlchemy processes each value; the driver takes tuples as they are (`make bench`: preview, send).
    sql, order, fixed = _for_driver(statement, connection.dialect, tuple(rows[0]))
    if fixed:
        connection.exec_driver_sql(sql, [tuple(map({**fixed, **row}.__getitem__, order)) for row in rows])
    else:
        connection.exec_driver_sql(sql, list(map(itemgetter(*order), rows)))


def insert_columns(connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
    """Adds rows to a SQLite database. `columns`: the values of each column, one for each row; at least one row."""
    # The driver needs longer for a value than SQLite, so a value that all rows have is part of the statement
    # (`make bench`: preview).
    varying = {name: values for name, values in columns.items() if values.count(values[0]) < len(values)}
    varying = varying or dict(list(columns.items())[:1])
    places = (
        "?" if name in varying else _literal(values[0], connection.dialect)
        for name, values in columns.items()
    )
    names = ", ".join(map(connection.dialect.identifier_preparer.quote, columns))
    sql = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join(places)})"  # noqa: S608 - values are quoted
    connection.exec_driver_sql(sql, list(zip(*varying.values(), strict=True)))


def _literal(value: str | int | None, dialect: Dialect) -> str:
    if value is None:
        return "NULL"
    return str(literal(value).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


@lru_cache(maxsize=32)
def _for_driver(
    statement: Insert | Update, dialect: Dialect, given: tuple[str, ...]
) -> tuple[str, Sequence[str], dict[str, Any]]:
    """The SQL, its parameters' names in order, and the values of those that the statement contains."""
    # An INSERT gets a column for each given name; an UPDATE has its own `bindparam`s.
    columns = list(given) if isinstance(statement, Insert) else None
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    order = compiled.positiontup
    assert order is not None  # noqa: S101 - SQLite's parameters are positional
    names = set(given)
    return str(compiled), order, {name: compiled.params[name] for name in order if name not in names}


class RowUpdate:
    """An UPDATE of many rows of `messages` or `superseded`, each with its own values for the columns `names`.

    `build` makes the statement. Values that all rows share are `bindparam`s in it.
    """

    def __init__(self, names: Sequence[str], build: Callable[[Given], Update]) -> None:
        self._names = tuple(names)
        self._build = build

    def execute(
        self, connection: Connection, rows: Sequence[Sequence[Any]], common: Mapping[str, Any]
    ) -> None:
        """Updates rows. Each of `rows` has its values in the order of `names`; `common`: the shared values."""
        if connection.dialect.name != "sqlite":
            if rows:
                connection.execute(self._from_arrays, {**common, **as_arrays(self._names, rows)})
            return
        for chunk in in_chunks(rows, _ROWS):
            self._execute_as_one(connection, chunk, common)

    def _execute_as_one(
        self, connection: Connection, rows: Sequence[Sequence[Any]], common: Mapping[str, Any]
    ) -> None:
        # Padding with NULL, which matches no row, keeps the number of different prepared statements small.
        padded = 1 << (len(rows) - 1).bit_length()
        padding = (None,) * (len(self._names) * (padded - len(rows)))
        sql, order, fixed = self._from_table
        values = ", ".join([f"({', '.join('?' * len(self._names))})"] * padded)
        with_values = f"WITH given ({', '.join(self._names)}) AS (VALUES {values}) {sql}"
        given = {**fixed, **common}
        parameters = (*chain.from_iterable(rows), *padding, *(given[name] for name in order))
        connection.exec_driver_sql(with_values, parameters)

    @cached_property
    def _from_arrays(self) -> Update:
        return self._build(values_of(given_arrays(self._names)))

    @cached_property
    def _from_table(self) -> tuple[str, Sequence[str], Mapping[str, Any]]:
        """The SQL, its parameters' names in order, and the values of those that the statement contains."""
        given = table("given", *(column(name) for name in self._names))
        values = {OF_RUN: bindparam(OF_RUN), **given.c}
        compiled = self._build(values.__getitem__).compile(dialect=sqlite.dialect())
        return str(compiled), compiled.positiontup or (), compiled.params


def given_arrays(names: Sequence[str]) -> TableValuedAlias:
    """PostgreSQL only: rows that a statement gets as one array for each of these columns of `messages`."""
    arrays = (bindparam(_parameter(name), type_=ARRAY(messages.c[name].type)) for name in names)
    return func.unnest(*arrays).table_valued(*names, name="given").render_derived()


def values_of(given: TableValuedAlias) -> Given:
    """PostgreSQL only: the values of `given_arrays`."""
    # As a value of each row, the run makes PostgreSQL look up each row by its whole key. Without statistics, which a
    # new run does not have, it would rather read the whole run, whatever its size.
    return {OF_RUN: bindparam(OF_RUN, type_=Integer) + 0 * given.c.row, **given.c}.__getitem__


def as_arrays(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """The parameters of `given_arrays`. Each of `rows` has its values in the order of `names`."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {_parameter(name): list(values) for name, values in zip(names, columns, strict=True)}


def _parameter(name: str) -> str:
    # SQLAlchemy reserves the columns' names.
    return f"given_{name}"
