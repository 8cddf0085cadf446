"""The files that the page of a check offers: the rows that cannot be sent, and the list as it was read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError
from batchsend.ledger.opening import SCRATCH_RUN
from batchsend.ledger.runs import run_rows
from batchsend.planning.plan import Plan
from batchsend.planning.sources import open_campaign_list
from batchsend.reports.advice import advise
from batchsend.reports.list_file import write_list
from batchsend.statuses import Status
from batchsend.web.jobs.confirmation import CheckedPlan
from batchsend.web.jobs.problem_rows import in_place

#: The ends of their names.
PROBLEMS_FILE, LIST_FILE = "problems.xlsx", "list.xlsx"
#: The columns that follow those of the list.
_ADDED = ("Row in the list", "Problem", "What to do")


def write_problem_rows(plan: Plan, path: Path) -> None:
    """Writes the rows that cannot be sent, each with its problem. The file can be corrected and used as a list."""
    headers = plan.sources.customers.headers
    added = [name if name not in headers else f"{name} (check)" for name in _ADDED]
    write_list(path, [*headers, *added], _problems(plan))


def _problems(plan: Plan) -> Iterator[list[str]]:
    columns = ("row", "codes", "descriptions", "cells")
    for row in run_rows(plan.scratch, SCRATCH_RUN, [Status.INVALID], columns):
        advice = advise(Status.INVALID, row["codes"])
        problem = row["descriptions"] or advice.meaning
        yield [*orjson.loads(row["cells"]), str(row["row"]), problem, advice.what_to_do]


def write_as_read(campaign_file: Path, checked: CheckedPlan, path: Path) -> None:
    """Writes a checked list as batchsend reads it, with the same row numbers.

    Raises `BatchsendError`, also if the list or the campaign is another one now.
    """
    campaign = load_campaign(campaign_file)
    customers = open_campaign_list(campaign, Path(checked.list_file))
    if (campaign.sha256, customers.sha256) != (checked.campaign_sha256, checked.list_sha256):
        raise BatchsendError("The list or the campaign has changed since this check. Check again.")
    write_list(path, customers.headers, in_place(customers, {}))
