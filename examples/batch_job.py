"""Runs one campaign as a step of a pipeline (Airflow, Prefect, Dagster, your own) with the Python API."""

from __future__ import annotations

from typing import Any

from batchsend import load_campaign, send
from batchsend.errors import BatchsendError
from batchsend.exits import Exit

#: Exit codes of a step that failed, and that can be expected to succeed later.
_AGAIN_LATER = (Exit.STOPPED, Exit.BUSY, Exit.INTERRUPTED)


class StepFailedError(Exception):
    """The campaign needs attention. `again_later`: whether running the step again can help."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.again_later = exit_code in _AGAIN_LATER


def run_campaign(path: str) -> dict[str, Any]:
    """Sends the campaign, or continues an interrupted run. Raises `StepFailedError`.

    Running a failed step again texts no one twice, because the ledger knows what was sent. Rows that wait for quiet
    hours to end are no failure: `exit` is 5, and the next run of the step sends them.
    """
    try:
        campaign = load_campaign(path)
        report = send(campaign, confirm=lambda _plan: True)
    except BatchsendError as error:
        raise StepFailedError(str(error), error.exit_code) from error
    result = {
        "campaign": campaign.name,
        "run": report.run_id,
        "exit": int(report.exit),
        "summary": report.tally.sentence(),
        "results": str(report.results),
    }
    if report.exit not in (Exit.DONE, Exit.LATER):
        message = f"{campaign.name} needs attention: {result['summary']}. See {result['results']}"
        raise StepFailedError(message, report.exit)
    return result
