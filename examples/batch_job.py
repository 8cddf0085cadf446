"""One campaign as a step of a pipeline (Airflow, Prefect, Dagster, your own), on batchsend's Python API."""

from __future__ import annotations

from typing import Any

from batchsend import load_campaign, send
from batchsend.exits import Exit


def run_campaign(path: str) -> dict[str, Any]:
    """Sends the campaign, or goes on with what was interrupted; what went wrong fails the step.

    Starting a failed step again texts nobody twice: what has left is in the ledger. `[guards]` in the campaign file
    say what a list must look like; a list that does not raises `BatchsendError`, and nothing is sent.
    """
    campaign = load_campaign(path)
    report = send(campaign, confirm=lambda _plan: True)
    result = {
        "campaign": campaign.name,
        "run": report.run_id,
        "exit": int(report.exit),
        "summary": report.tally.sentence(),
        "results": str(report.results),
    }
    if report.exit not in (Exit.DONE, Exit.LATER):
        raise RuntimeError(f"{campaign.name} needs somebody: {result['summary']}. See {result['results']}")
    return result
