"""The files that a plan and a run leave: the preview's workbook, the results, and where they go."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from batchsend.campaign import Campaign
from batchsend.errors import ResultsError
from batchsend.ledger import Ledger, RunRecord
from batchsend.planning import SCRATCH_RUN, Plan
from batchsend.results import check_writable, write_results
from batchsend.results_list import write_list
from batchsend.run_results import PlanResults, RunResults, SummaryLines
from batchsend.timestamps import for_people


def write_preview(plan: Plan, path: Path) -> Path:
    """Writes the preview's workbook and returns where it really is. Raises `ResultsError`."""
    run_id = plan.run.id if plan.run else None
    campaign = plan.request.campaign
    heading = [("Preview: nothing was sent", None), *plan_heading(plan, run_id)]
    return write_results(
        path,
        PlanResults(
            plan.scratch, SCRATCH_RUN, plan.sources.customers.headers, campaign.zone, heading, run_id
        ),
    )


def write_run(ledger: Ledger, run: RunRecord, path: Path, only: Sequence[str] | None) -> Path:
    """Writes the results of any run again, or those of some statuses `only`; returns where they really are.

    Raises `ResultsError`.
    """
    heading: SummaryLines = [
        ("Campaign", run.about.get("campaign")),
        ("Run", run.id),
        ("List", run.list_file),
        ("Department", run.about.get("department")),
        ("Template", run.about.get("template")),
        ("myKaarma", run.about.get("base_url")),
        *([("Only", ", ".join(only))] if only is not None else []),
    ]
    check_writable(path)
    return write_results(
        path, RunResults(ledger, run.id, run.headers, ZoneInfo(run.zone), heading, run.id, only)
    )


def write_run_as_list(ledger: Ledger, run: RunRecord, path: Path, only: Sequence[str] | None) -> Path:
    """Writes rows of a run as a list again, the list's own columns alone. Raises `ResultsError`."""
    results = RunResults(ledger, run.id, run.headers, ZoneInfo(run.zone), [], run.id, only)
    if not results.row_count:
        raise ResultsError(
            f"Run {run.id} has no row that is {' or '.join(only or ['anything'])}. Nothing was written."
        )
    check_writable(path)
    return write_list(path, run.headers, (row.cells for row in results.rows()))


def results_path(campaign: Campaign, run_id: int | None) -> Path:
    """Where the results of a run go; `None`: of a rehearsal."""
    suffix = "rehearsal" if run_id is None else str(run_id)
    return campaign.directory / "results" / f"{campaign.stem}-{suffix}.xlsx"


def preview_path(campaign: Campaign, folder: Path | None) -> Path:
    """Where the preview goes."""
    return (folder or campaign.directory / "previews") / f"{campaign.stem}.xlsx"


def plan_heading(plan: Plan, run_id: int | None) -> SummaryLines:
    """What the summary sheet says of a plan, above the counts."""
    campaign, customers = plan.request.campaign, plan.sources.customers
    return [
        ("Campaign", campaign.name),
        *([("Run", run_id)] if run_id is not None else []),
        ("List", str(customers.path)),
        ("List saved", for_people(customers.saved_at, campaign.zone)),
        ("Template", str(plan.sources.template.path)),
        ("Department", campaign.department_label or campaign.department_uuid or "from the list"),
        ("User", campaign.user_uuid or "from the list"),
        ("myKaarma", plan.request.base_url),
        ("Started by", f"{os_user()} on {plan.request.host}"),
        ("Started", for_people(plan.request.now, campaign.zone)),
        ("Time zone", campaign.zone.key),
    ]


def os_user() -> str:
    """Who runs this, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
