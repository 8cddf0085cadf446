"""The files that a plan and a run leave: the preview's workbook, the results, and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from batchsend.campaigns.campaign import Campaign
from batchsend.errors import ResultsError
from batchsend.ledger.ledger import Ledger, RunRecord, StartRecord
from batchsend.ledger.purge import purged
from batchsend.planning.plan import SCRATCH_RUN, Plan
from batchsend.reports.list_file import write_list
from batchsend.reports.pages import preview as preview_page
from batchsend.reports.pages import report as report_page
from batchsend.reports.pages.html import write_page
from batchsend.reports.results_file import check_writable, write_results
from batchsend.reports.run_results import PlanResults, RunResults, SummaryLines
from batchsend.settings import os_user
from batchsend.utils.timestamps import for_people, from_text, now, to_text


def write_preview(plan: Plan, path: Path) -> Path:
    """Writes the preview's workbook and returns where it really is. Raises `ResultsError`."""
    run_id = plan.run.id if plan.run else None
    campaign = plan.request.campaign
    heading = [("Preview: nothing was sent", None), *plan_heading(plan, run_id, api=plan.request.base_url)]
    return write_results(
        path,
        PlanResults(
            plan.scratch, SCRATCH_RUN, plan.sources.customers.headers, campaign.zone, heading, run_id
        ),
    )


def write_preview_page(plan: Plan, path: Path, workbook: Path, refusals: Sequence[str]) -> Path:
    """Writes the preview's page, which names `workbook`; returns where it really is. Raises `ResultsError`.

    `refusals`: sentences that say why `send` would be refused.
    """
    facts = preview_page.gather(plan, str(workbook), refusals)
    return write_page(path, preview_page.page(facts))


def write_send_page(
    ledger: Ledger,
    run_id: int,
    plan: Plan,
    start: StartRecord,
    path: Path,
    workbook: Path,
    ending: str | None,
) -> Path:
    """Writes the report page of a start that has just ended; returns where it really is.

    `ending`: why it stopped early. A start whose `run_id` is the plan's own was a rehearsal. Raises `BatchsendError`.
    """
    campaign, sources = plan.request.campaign, plan.sources
    rehearsal = run_id == SCRATCH_RUN
    about = plan.new_run().about
    heading = report_page.RunHeading(
        campaign=campaign.name,
        number=None if rehearsal else run_id,
        department=about["department"],
        user=about["user"],
        base_url=plan.request.base_url,
        list_file=str(sources.customers.path),
        list_saved=for_people(sources.customers.saved_at, campaign.zone),
        template=about["template"],
        zone=campaign.zone,
        headers=sources.customers.headers,
        customer=sources.roles.customer_uuid,
        phone=sources.roles.phone,
        workbook=str(workbook),
        ending=ending,
        callback=campaign.message.callback_url is not None,
        starts=[_rehearsed(start, plan, ending)] if rehearsal else [],
    )
    return write_page(path, report_page.page(report_page.gather(ledger, run_id, heading)))


def write_run_page(ledger: Ledger, run: RunRecord, path: Path, workbook: Path) -> Path:
    """Writes the report page of any run again; returns where it really is. Raises `BatchsendError`."""
    zone = ZoneInfo(run.zone)
    heading = report_page.RunHeading(
        campaign=run.about.get("campaign", ""),
        number=run.id,
        department=run.about.get("department", ""),
        user=run.about.get("user", ""),
        base_url=run.about.get("base_url", ""),
        list_file=run.list_file,
        list_saved=for_people(from_text(run.list_saved_at), zone),
        template=run.about.get("template", ""),
        zone=zone,
        headers=run.headers,
        customer=None,
        phone=None,
        workbook=str(workbook),
    )
    return write_page(path, report_page.page(report_page.gather(ledger, run.id, heading)))


def _rehearsed(start: StartRecord, plan: Plan, ending: str | None) -> dict[str, Any]:
    """A rehearsal as the ledger would have recorded it."""
    return {
        **vars(start),
        "id": 0,
        "started_at": to_text(plan.request.now),
        "ended_at": to_text(now()),
        "ending": ending or "done",
    }


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
    refuse_inputs(path, _inputs_of_run(run))
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
    if purged(ledger, run.id) is not None:
        raise ResultsError(
            f"Run {run.id} was purged: the list's columns are gone, so that it cannot be a list again. Nothing was "
            f"written. Without --as-list its results can be written, with what is left."
        )
    refuse_inputs(path, _inputs_of_run(run))
    check_writable(path)
    return write_list(path, run.headers, (row.cells for row in results.rows()))


def refuse_inputs(path: Path, inputs: Iterable[Path]) -> None:
    """Raises `ResultsError` where results, or the page beside them, would be written over what a campaign reads."""
    for written in (path, path.with_suffix(".html")):
        for file in inputs:
            if written.resolve() == file.resolve():
                raise ResultsError(
                    f"{path}: {written.name} is a file that the campaign reads, and the results would be written "
                    f"over it. Nothing was written. Choose another name."
                )


def inputs_of(campaign: Campaign) -> list[Path]:
    """The files that a campaign reads."""
    templates = [campaign.template] if campaign.template is not None else []
    if campaign.template_by is not None:
        templates += [campaign.template_by.default, *campaign.template_by.cases]
    return [campaign.path, campaign.list, *templates, *campaign.recipients.suppress]


def _inputs_of_run(run: RunRecord) -> list[Path]:
    return [
        Path(run.list_file),
        *(Path(run.about[name]) for name in ("file", "template") if name in run.about),
    ]


def results_path(campaign: Campaign, run_id: int | None) -> Path:
    """Where the results of a run go; `None`: of a rehearsal."""
    suffix = "rehearsal" if run_id is None else str(run_id)
    return campaign.directory / "results" / f"{campaign.stem}-{suffix}.xlsx"


def preview_path(campaign: Campaign, folder: Path | None) -> Path:
    """Where the preview goes."""
    return (folder or campaign.directory / "previews") / f"{campaign.stem}.xlsx"


def plan_heading(plan: Plan, run_id: int | None, *, api: str) -> SummaryLines:
    """What the summary sheet says of a plan, above the counts. `api`: who takes the texts, in words."""
    campaign, customers = plan.request.campaign, plan.sources.customers
    return [
        ("Campaign", campaign.name),
        *([("Run", run_id)] if run_id is not None else []),
        ("List", str(customers.path)),
        ("List saved", for_people(customers.saved_at, campaign.zone)),
        *(("Template", said) for said in plan.sources.template.described_files()),
        ("Department", campaign.department_label or campaign.department_uuid or "from the list"),
        ("User", campaign.user_uuid or "from the list"),
        ("myKaarma", api),
        ("Started by", f"{os_user()} on {plan.request.host}"),
        ("Started", for_people(plan.request.now, campaign.zone)),
        ("Time zone", campaign.zone.key),
    ]
