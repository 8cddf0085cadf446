"""Phones that another customer of the list shares, whom an earlier run texted already."""

from __future__ import annotations

from sqlalchemy import bindparam, select, update

from batchsend.ledger.ledger import Ledger
from batchsend.ledger.schema import messages
from batchsend.statuses import Code, Status


def skip_texted_phones(plan: Ledger, run_id: int) -> None:
    """Rows whose phone is that of an `ALREADY_SENT` or `ALREADY_TRIED` row become `DUPLICATE_PHONE`.

    That row may stand below them, so this is asked once the whole list is planned. The same customer may have
    several messages on one phone.
    """
    texted = messages.alias("texted")
    query = select(messages.c.row, texted.c.row).where(
        messages.c.run_id == run_id,
        messages.c.status == Status.PENDING,
        texted.c.run_id == run_id,
        texted.c.status == Status.SKIPPED,
        texted.c.codes.in_([Code.ALREADY_SENT, Code.ALREADY_TRIED]),
        texted.c.phone == messages.c.phone,
        texted.c.customer_uuid != messages.c.customer_uuid,
    )
    with plan.read() as connection:
        shared = {
            row: {"of_row": row, "said": f"row {other} has the same phone, and the text already"}
            for row, other in connection.execute(query)
        }
    if not shared:
        return
    skip = (
        update(messages)
        .where(messages.c.run_id == run_id, messages.c.row == bindparam("of_row"))
        .values(
            status=Status.SKIPPED, codes=Code.DUPLICATE_PHONE, descriptions=bindparam("said"), resend=None
        )
    )
    with plan.write() as connection:
        connection.execute(skip, list(shared.values()))
