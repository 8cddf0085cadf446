"""Every attempt to text a customer, over all campaigns of a ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, or_, select

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.purged_phones import spellings
from batchsend.ledger.schema import campaigns, messages, runs, starts, superseded
from batchsend.statuses import IN_FLIGHT, TRIED

#: Rows that a search for a name looks at, and cells that stand for a name.
_MOST_ROWS, _CELLS_SHOWN = 20_000, 3


@dataclass(frozen=True)
class Attempt:
    """One attempt to text a customer: the text, its outcome, who sent it and with which files."""

    sent_at: str | None
    campaign: str
    base_url: str
    run_id: int
    row: int
    customer_uuid: str
    phone: str | None
    status: str
    codes: str
    message_uuid: str | None
    body: str | None
    os_user: str | None
    host: str | None
    list_file: str | None
    list_sha256: str | None
    template_file: str | None
    template_sha256: str | None
    purged_at: str | None


def of_customer(ledger: Ledger, customer_uuid: str) -> list[Attempt]:
    """All attempts to text a customer, latest first."""
    return _find(ledger, lambda table: table.c.customer_uuid == customer_uuid)


def of_phone(ledger: Ledger, phone: str) -> list[Attempt]:
    """All attempts to text a phone (E.164) that a list named, latest first; purged ones too."""
    with ledger.read() as connection:
        phones = spellings(connection, phone)
    return _find(ledger, lambda table: or_(table.c.phone == phone, table.c.phone_hash.in_(phones)))


@dataclass(frozen=True)
class NamedCustomer:
    """A customer in a list that was sent. `name`: from the list; `campaign` and `run_id`: of the latest such run."""

    customer_uuid: str | None
    phone: str | None
    name: str
    campaign: str
    run_id: int


def of_name(ledger: Ledger, name: str, most: int) -> list[NamedCustomer]:
    """The customers whose name has these words, in any order, each once; at most `most`, of the latest runs first.

    The ledger keeps names only in the rows of the lists, until they are purged. They are looked for in the columns
    whose header says "name", or in all columns if there is none.
    """
    words = name.casefold().split()
    found: dict[tuple[str | None, str | None], NamedCustomer] = {}
    query = (
        select(
            messages.c.customer_uuid,
            messages.c.phone,
            messages.c.cells,
            messages.c.run_id,
            runs.c.headers,
            campaigns.c.name.label("campaign"),
        )
        .join(runs, runs.c.id == messages.c.run_id)
        .join(campaigns, campaigns.c.id == messages.c.campaign_id)
        .where(*map(_in_cells, name.split()))
        .order_by(messages.c.run_id.desc(), messages.c.row)
        .limit(_MOST_ROWS)
    )
    with (
        ledger.read() as connection,
        connection.execution_options(yield_per=500).execute(query) as rows,
    ):
        for row in rows:
            shown = _name_in(json.loads(row.headers), json.loads(row.cells), words)
            who = (row.customer_uuid, row.phone)
            if shown is not None and any(who):
                found.setdefault(who, NamedCustomer(*who, shown, row.campaign, row.run_id))
            if len(found) == most:
                break
    return list(found.values())


def _in_cells(word: str) -> ColumnElement[bool]:
    """A quick condition: the row may have this word. SQLite ignores the case of ASCII letters only."""
    spellings_of_word = {
        json.dumps(one, ensure_ascii=False)[1:-1] for one in (word, word.lower(), word.upper())
    }
    return or_(*(messages.c.cells.icontains(one, autoescape=True) for one in spellings_of_word))


def _name_in(headers: Sequence[str], cells: Sequence[str], words: Sequence[str]) -> str | None:
    """The customer's name, or the first cells of a list without names; `None` if the words are not in it."""
    names = [cell for header, cell in zip(headers, cells, strict=False) if "name" in header.casefold()]
    text = " ".join(names or cells).casefold()
    if not all(word in text for word in words):
        return None
    return " ".join(filter(None, names)) or ", ".join(list(filter(None, cells))[:_CELLS_SHOWN])


def _find(ledger: Ledger, wanted: Callable[[Table], ColumnElement[bool]]) -> list[Attempt]:
    found: list[Attempt] = []
    with ledger.read() as connection:
        for table in (messages, superseded):
            query = (
                select(
                    table.c.sent_at,
                    campaigns.c.name.label("campaign"),
                    campaigns.c.base_url,
                    table.c.run_id,
                    table.c.row,
                    table.c.customer_uuid,
                    table.c.phone,
                    table.c.status,
                    table.c.codes,
                    table.c.message_uuid,
                    table.c.body,
                    starts.c.os_user,
                    starts.c.host,
                    starts.c.list_file,
                    starts.c.list_sha256,
                    starts.c.template_file,
                    starts.c.template_sha256,
                    table.c.purged_at,
                )
                .join(campaigns, campaigns.c.id == table.c.campaign_id)
                .outerjoin(starts, starts.c.id == table.c.start_id)
                .where(wanted(table), table.c.status.in_([*TRIED, IN_FLIGHT]))
            )
            found += [Attempt(**row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda one: (one.sent_at or "", one.run_id, one.row), reverse=True)
