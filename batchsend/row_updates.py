"""UPDATEs of many rows, each with values of its own, in one step of the database.

SQLite's driver lets other threads run at each step and then waits until it is let in again. With a step for each
row, the thread that sends and the one that records wait for each other longer than they work (`make bench`: sending
phase).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, bindparam, column, table
from sqlalchemy.dialects import sqlite

#: From the name of a value to what stands for it in the statement.
Given = Callable[[str], ColumnElement[Any]]

#: Rows of one statement; SQLite takes 32,766 values.
_ROWS = 512


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
