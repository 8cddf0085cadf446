"""Rows that are stored column by column come back as they were."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from batchsend.ledger.bulk import insert_columns
from batchsend.ledger.opening import scratch_ledger
from batchsend.ledger.schema import messages

#: Few values, so that columns have one value in all rows as often as not.
TEXTS = st.sampled_from(["", "a", "it's", "50 % ? :of %s", 'a "quoted"; --', "é😀\n"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)


def test_rows_come_back_as_they_were_stored(tmp_path: Path) -> None:
    ledger = scratch_ledger(tmp_path)

    @given(
        st.lists(st.tuples(TEXTS, st.none() | TEXTS, st.none() | st.integers(0, 3)), min_size=1, max_size=5)
    )
    def check(rows: list[tuple[str, str | None, int | None]]) -> None:
        columns = {
            "run_id": [0] * len(rows),
            "row": list(range(2, len(rows) + 2)),
            "campaign_id": [0] * len(rows),
            "cells": [cells for cells, _, _ in rows],
            "body": [body for _, body, _ in rows],
            "segments": [segments for _, _, segments in rows],
            "status": ["pending"] * len(rows),
            "codes": [""] * len(rows),
            "descriptions": [""] * len(rows),
            "attempts": [0] * len(rows),
            "generation": [0] * len(rows),
        }
        with ledger.write() as connection:
            connection.execute(delete(messages))
            insert_columns(connection, messages, columns)
        with ledger.read() as connection:
            query = select(messages.c.row, messages.c.cells, messages.c.body, messages.c.segments)
            stored = [tuple(row) for row in connection.execute(query.order_by(messages.c.row))]
        assert stored == [(row, *values) for row, values in enumerate(rows, 2)]

    check()
    ledger.close()
