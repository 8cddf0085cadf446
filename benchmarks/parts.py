"""Single parts of batchsend, for the suite: `python benchmarks/parts.py results LEDGER`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import select

from batchsend.ledger.opening import open_ledger
from batchsend.ledger.runs import run_rows
from batchsend.ledger.schema import runs
from batchsend.mykaarma.protocol import (
    SendingAttributes,
    request_body,
    request_of,
    request_path,
    run_identity,
)
from batchsend.reports.results_file import write_results
from batchsend.reports.run_results import RunResults
from batchsend.reports.table import column_headers, values


def posts(ledger_file: str, base_url: str, out: str) -> None:
    """Writes the requests of a ledger's first run to the file `out`: a JSON object with `url` and `body` per line."""
    ledger = open_ledger(f"sqlite:///{ledger_file}")
    identity = run_identity(ledger.ledger_id(), "1")
    with Path(out).open("w", encoding="utf-8") as lines:
        for row in run_rows(ledger, 1):
            request = request_of(row, identity)
            body: Mapping[str, object] = request_body(request, SendingAttributes())
            lines.write(json.dumps({"url": base_url + request_path(request), "body": body}) + "\n")
    ledger.close()


def results(ledger_file: str) -> None:
    """Prints the seconds to write the results of a ledger's first run, and the seconds of XlsxWriter for the same.

    The first number includes reading the ledger. XlsxWriter gets the rows from memory.
    """
    import xlsxwriter

    ledger = open_ledger(f"sqlite:///{ledger_file}")
    with ledger.read() as connection:
        run = connection.execute(select(runs).where(runs.c.id == 1)).mappings().one()
    headers, zone = json.loads(run["headers"]), ZoneInfo(run["zone"])
    source = RunResults(ledger, 1, headers, zone, [], 1)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        began = time.perf_counter()
        write_results(Path(folder) / "ours.xlsx", source)
        ours = time.perf_counter() - began
        rows = [values(result, len(headers)) for result in source.rows()]
        began = time.perf_counter()
        with xlsxwriter.Workbook(f"{folder}/bare.xlsx", {"constant_memory": True}) as book:
            sheet = book.add_worksheet("Results")
            sheet.write_row(0, 0, column_headers(headers))
            for number, row in enumerate(rows, start=1):
                sheet.write_row(number, 0, row)
        print(ours, time.perf_counter() - began)
    ledger.close()


if __name__ == "__main__":
    {"posts": posts, "results": results}[sys.argv[1]](*sys.argv[2:])
