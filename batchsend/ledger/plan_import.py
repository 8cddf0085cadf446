"""Imports the rows of a plan into the ledger with SQL statements.

Inserting them one by one from Python took as long as planning them. SQLite attaches the plan's file. PostgreSQL
copies the rows of a new run into its table, and those of a run that continues into a temporary table first.

Rows that a plan opens again leave their outcome in `superseded`, and get it back if they are not sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    TableClause,
    and_,
    column,
    delete,
    exists,
    insert,
    literal,
    or_,
    select,
    table,
    update,
)
from sqlalchemy.exc import DBAPIError

from batchsend.ledger.bulk import insert_into
from batchsend.ledger.schema import messages, superseded
from batchsend.statuses import IN_FLIGHT, RESENDABLE, TRIED

#: How many rows are read at a time while copying.
_COPY_ROWS = 1000
#: Columns of a row that a plan or an earlier outcome never replaces.
KEPT = frozenset({"run_id", "row", "attempts"})
#: No request was made for the row. Not an `IN`, because that does not work with `executemany`.
UNTRIED = and_(*(messages.c.status != status for status in (*TRIED, IN_FLIGHT)))

#: Joins a row that was opened again with the outcome that it had before.
REPLACED = and_(
    superseded.c.run_id == messages.c.run_id,
    superseded.c.row == messages.c.row,
    superseded.c.generation + 1 == messages.c.generation,
)


@dataclass(frozen=True)
class AttachedPlan:
    """The rows of a plan, beside a transaction of the ledger.

    `table`: the rows as a table in the transaction; `None`: they are not there yet, and `plan` has them.
    """

    connection: Connection
    plan: Engine
    table: TableClause | None


@contextmanager
def attached_plan(engine: Engine, plan: Engine, file: Path, *, continues: bool) -> Iterator[AttachedPlan]:
    """A transaction of the ledger, durable after the block, with the rows of a plan.

    `plan` is open on `file`, a SQLite database; `continues`: the run has rows already.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # SQLite attaches no file within a transaction.
            _by_driver(connection, "ATTACH DATABASE ? AS plan", (str(file),))
            try:
                with connection.begin():
                    yield AttachedPlan(connection, plan, _plan_table(messages.name, schema="plan"))
            finally:
                _by_driver(connection, "DETACH DATABASE plan")
            return
        with connection.begin():
            attached = AttachedPlan(connection, plan, _plan_table("plan_messages") if continues else None)
            if attached.table is not None:
                connection.exec_driver_sql(
                    "CREATE TEMPORARY TABLE plan_messages (LIKE messages) ON COMMIT DROP"
                )
                _copy(attached, attached.table.name, select(messages))
            yield attached


def _plan_table(name: str, schema: str | None = None) -> TableClause:
    return table(name, *(column(c.name, c.type) for c in messages.columns), schema=schema)


def _by_driver(connection: Connection, statement: str, values: tuple[str, ...] = ()) -> None:
    """Executes a statement outside of a transaction, which SQLAlchemy would begin."""
    driver: Any = connection.connection.driver_connection
    try:
        driver.execute(statement, values)
    except driver.Error as error:
        raise DBAPIError(statement, None, error) from error


def _copy(attached: AttachedPlan, target: str, rows: Select[Any]) -> None:
    """Copies `rows` of the plan, with all columns of `messages`, into a table of PostgreSQL."""
    connection = attached.connection
    names = ", ".join(f'"{c.name}"' for c in messages.columns)
    driver: Any = connection.connection.driver_connection
    statement = f"COPY {target} ({names}) FROM STDIN"
    driver_error = connection.dialect.loaded_dbapi.Error
    with attached.plan.connect() as reading:
        found = reading.execution_options(yield_per=_COPY_ROWS).execute(rows)
        try:
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                for row in found:
                    copy.write_row(row)
        except driver_error as error:
            raise DBAPIError.instance(statement, None, error, driver_error) from error


def store_rows(attached: AttachedPlan, run_id: int, campaign_id: int) -> None:
    """Writes planned rows over the run's untried rows; outcomes are not overwritten.

    The exception is a row that the plan opened again (a higher `generation`): its outcome must be in `superseded`.
    """
    connection, names = attached.connection, messages.columns.keys()
    ids = {"run_id": literal(run_id), "campaign_id": literal(campaign_id)}
    plan = messages if attached.table is None else attached.table
    planned = select(*(ids.get(name, plan.c[name]) for name in names)).where(plan.c.status.not_in(TRIED))
    if attached.table is None:
        _copy(attached, messages.name, planned)
        return
    upsert = insert_into(connection, messages).from_select(names, planned)
    opened_again = and_(
        or_(*(messages.c.status == status for status in RESENDABLE)),
        upsert.excluded.generation > messages.c.generation,
    )
    connection.execute(
        upsert.on_conflict_do_update(
            index_elements=["run_id", "row"],
            set_={name: upsert.excluded[name] for name in names if name not in KEPT},
            where=or_(UNTRIED, opened_again),
        )
    )


def supersede(attached: AttachedPlan, run_id: int, moment: str) -> None:
    """Copies outcomes to `superseded` for the rows that the plan opens again; `moment` is UTC text."""
    connection, plan = attached.connection, attached.table
    assert plan is not None  # noqa: S101 - the run continues
    opened_again = (
        messages.c.run_id == run_id,
        messages.c.status.in_(RESENDABLE),
        plan.c.row == messages.c.row,
        plan.c.generation > messages.c.generation,
    )
    # No update may change an outcome between the copy and the write over it.
    connection.execute(select(messages.c.row).where(*opened_again).with_for_update(of=messages))
    outcomes = select(*messages.columns, literal(moment)).where(*opened_again)
    connection.execute(insert(superseded).from_select([*messages.columns.keys(), "superseded_at"], outcomes))


def restore_opened(connection: Connection, rows: ColumnElement[bool]) -> None:
    """Gives rows that were opened again and not sent since their earlier outcome back."""
    outcome = {c.name: superseded.c[c.name] for c in messages.columns if c.name not in KEPT}
    connection.execute(update(messages).where(rows, UNTRIED, REPLACED).values(outcome))
    restored = exists().where(
        rows,
        messages.c.run_id == superseded.c.run_id,
        messages.c.row == superseded.c.row,
        messages.c.generation == superseded.c.generation,
    )
    connection.execute(delete(superseded).where(restored))
