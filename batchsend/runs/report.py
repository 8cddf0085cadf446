"""The report of a start: how it ended, with which counts, and where its results are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from batchsend.campaigns.zones import zone_with_newest_rules
from batchsend.errors import LedgerError
from batchsend.exits import Exit
from batchsend.ledger.opening import open_for_reading
from batchsend.planning.remarks import left_out_words
from batchsend.reports.run_results import RunResults
from batchsend.statuses import Code, Status, Tally
from batchsend.utils.timestamps import to_text
from batchsend.utils.wording import row_count

if TYPE_CHECKING:
    import pandas as pd

    from batchsend.runs.settle import Settlement


def summary_of(report: Report) -> dict[str, Any]:
    """The report as one JSON object."""
    return {
        "run": report.run_id,
        "message": report.ending,
        **{name: count for name, count in asdict(report.tally).items() if name != "ready"},
        "statuses": dict(_by_status(report.codes)),
        "codes": [{"status": status, "codes": codes, "rows": count} for status, codes, count in report.codes],
        "list": str(report.list_file) if report.list_file is not None else None,
        "list_saved_at": to_text(report.list_saved_at) if report.list_saved_at is not None else None,
        "planned": report.planned,
        "unusual": report.unusual,
        "comes_back": to_text(report.waiting_until) if report.waiting_until is not None else None,
        "closed": {str(run): rows for run, rows in report.closed.items()},
        "left_to": list(report.workers) if report.workers is not None else None,
        "results": str(report.results) if report.results is not None else None,
        "report": str(report.page) if report.page is not None else None,
        "undelivered_notices": list(report.undelivered_notices),
        "settled": report.settlement.as_json() if report.settlement is not None else None,
    }


@dataclass(frozen=True)
class Report:
    """How a start ended.

    `codes`: (status, codes, rows) of the whole run; `ending`: why it stopped early; `results`: where the workbook is,
    if it could be written; `page`: where the report page is, else `page_problem` says why there is none; `planned`:
    texts that this start was to send; `dismissed`: rows that it did not send again because a person dismissed them;
    `waiting_until`: when the first waiting row may be sent; `unusual`: a sentence if the run is far larger or smaller
    than any before it; `closed`: earlier run -> rows closed for this
    one; `workers`: the workers that were there when the run was handed over to them; `list_file`, `list_saved_at`:
    the list, and when it was saved; `ledger_url`: the run's ledger; `undelivered_notices`: a sentence for each notice
    of `[notify]` that was not delivered; `settlement`: what `settle` found at its end.
    """

    exit: Exit
    run_id: int | None
    tally: Tally
    codes: Sequence[tuple[str, str, int]]
    ending: str | None = None
    results: Path | None = None
    page: Path | None = None
    page_problem: str | None = None
    planned: int = 0
    dismissed: int = 0
    waiting_until: datetime | None = None
    zone: ZoneInfo | None = None
    unusual: str | None = None
    closed: Mapping[int, int] = field(default_factory=dict)
    workers: tuple[str, ...] | None = None
    list_file: Path | None = None
    list_saved_at: datetime | None = None
    ledger_url: str | None = field(default=None, repr=False)
    undelivered_notices: tuple[str, ...] = ()
    settlement: Settlement | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row for each row of the list, with the columns of the results as the ledger has them now.

        The index has the row numbers. Raises `BatchsendError` if the ledger cannot be read.
        """
        ledger = open_for_reading(self.ledger_url) if self.ledger_url is not None else None
        run = ledger.run(self.run_id) if ledger is not None and self.run_id is not None else None
        if ledger is None or run is None:
            raise LedgerError("The ledger does not have this run, so its rows cannot be read.")
        with closing(ledger):
            return RunResults(
                ledger, run.id, run.headers, zone_with_newest_rules(run.zone), [], run.id
            ).to_frame()


def tally_of(codes: Sequence[tuple[str, str, int]]) -> Tally:
    """The tally of rows by status and codes."""
    return Tally.of(_by_status(codes))


def _by_status(codes: Sequence[tuple[str, str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for status, _, rows in codes:
        counts[status] += rows
    return counts


def what_next(report: Report) -> Iterator[str]:
    """What to do after this start, in sentences."""
    if report.workers is not None:
        yield _handed_over(report.workers, report.run_id)
        return
    if report.exit is Exit.INTERRUPTED:
        yield "Interrupted: texts in flight were finished and recorded. Run the same command again to continue."
    elif report.exit is Exit.STOPPED:
        yield f"Stopped: {report.ending}"
        yield "Run the same command again to continue; nobody is texted twice."
    elif report.planned == 0 and not any(status == Status.PENDING for status, _, _ in report.codes):
        yield "Nothing was left to send."
        if report.dismissed:
            yield left_out_words(report.dismissed)
    if report.waiting_until is not None:
        local = report.waiting_until.astimezone(report.zone)
        zone = f" ({report.zone.key})" if report.zone is not None else ""
        yield f"Some rows are waiting: run the same command again from {local:%Y-%m-%d %H:%M}{zone}."
    held_back = sum(count for _, codes, count in report.codes if codes == Code.HELD_BACK)
    if held_back:
        yield f"{row_count(held_back)} held back by --limit: run it again without --limit to send them."


def _handed_over(workers: Sequence[str], run_id: int | None) -> str:
    if workers:
        named = f"{'a worker' if len(workers) == 1 else f'{len(workers)} workers'} ({', '.join(workers)})"
        handed_over = f"Run {run_id} was handed over to {named}."
    else:
        handed_over = (
            f"Run {run_id} was handed over to workers, but none is running: nothing is sent until you start one with "
            f"`batchsend worker`."
        )
    return (
        f"{handed_over} `batchsend results {run_id}` writes the results so far; `batchsend stop {run_id}` stops the "
        f"run."
    )
