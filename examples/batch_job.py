"""Runs one campaign as a step of a pipeline (Airflow, Prefect, Dagster, your own) with the Python API."""

from __future__ import annotations

from typing import Any

from batchsend import load_campaign, send
from batchsend.exits import Exit


def run_campaign(path: str) -> dict[str, Any]:
    """Sends the campaign, or continues an interrupted run. The step fails if sending stops or a row needs attention.

    Running a failed step again texts no one twice, because the ledger knows what was sent. If the list does not meet
    the `[guards]` in the campaign file, this raises `BatchsendError` and nothing is sent.
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
        raise RuntimeError(f"{campaign.name} needs attention: {result['summary']}. See {result['results']}")
    return result
