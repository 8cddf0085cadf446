"""How a start went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from batchsend.exits import Exit
from batchsend.statuses import Tally
from batchsend.utils.timestamps import to_text


def summary_of(report: Report) -> dict[str, Any]:
    """How a start went, as one JSON object."""
    counts: Counter[str] = Counter()
    for status, _, count in report.codes:
        counts[status] += count
    return {
        "run": report.run_id,
        "message": report.ending,
        **{name: count for name, count in asdict(report.tally).items() if name != "ready"},
        "statuses": dict(counts),
        "codes": [{"status": status, "codes": codes, "rows": count} for status, codes, count in report.codes],
        "planned": report.planned,
        "unusual": report.unusual,
        "comes_back": to_text(report.comes_back) if report.comes_back is not None else None,
        "closed": {str(run): rows for run, rows in report.closed.items()},
        "left_to": list(report.workers) if report.workers is not None else None,
        "results": str(report.results) if report.results is not None else None,
        "report": str(report.page) if report.page is not None else None,
    }


@dataclass(frozen=True)
class Report:
    """How a start went.

    `codes`: (status, codes, rows) of the whole run; `planned`: texts that this start was to send; `results`:
    where the workbook really is; `page`: where the report page is, else `page_problem` says why it is not there;
    `comes_back`: when the first row that waits for a time may be sent; `unusual`: a
    sentence, where the run is far larger or smaller than any before it; `closed`: earlier run -> rows that were given
    up for this one; `workers`: where the run was left to workers, those that are there.
    """

    exit: Exit
    run_id: int | None
    tally: Tally
    codes: Sequence[tuple[str, str, int]]
    ending: str | None
    results: Path | None
    page: Path | None = None
    page_problem: str | None = None
    planned: int = 0
    comes_back: datetime | None = None
    zone: ZoneInfo | None = None
    unusual: str | None = None
    closed: Mapping[int, int] = field(default_factory=dict)
    workers: tuple[str, ...] | None = None
