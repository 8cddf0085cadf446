"""Every attempt to text a customer, over all campaigns of a ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, or_, select

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.purged_phones import spellings
from batchsend.ledger.schema import campaigns, messages, starts, superseded
from batchsend.statuses import IN_FLIGHT, TRIED


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
