"""Writes the files of a preview and of a run: workbooks, pages and lists, and decides where they go."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.types import is_pattern
from batchsend.campaigns.zones import zone_with_newest_rules
from batchsend.errors import ResultsError
from batchsend.ledger.ledger import Ledger, NewRun, RunRecord, StartRecord
from batchsend.ledger.opening import SCRATCH_RUN
from batchsend.ledger.purge import purged
from batchsend.ledger.runs import RecordedFiles, recorded_files
from batchsend.planning.summary import department_of, user_of
from batchsend.reports.results_file import check_writable, write_results
from batchsend.reports.run_results import PlanResults, RunResults, SummaryLines
from batchsend.settings import os_user
from batchsend.utils.files import current_folder
from batchsend.utils.timestamps import for_people, from_text, now, to_text

if TYPE_CHECKING:
    from batchsend.planning.plan import Plan
    from batchsend.reports.pages.report import RunHeading

#: A text in quotes, as in TOML and in templates.
_quoted = re.compile(r"\"([^\"\n]+)\"|'([^'\n]+)'")
#: The size in bytes up to which a file is searched for names of other files.
_LARGEST_TEXT = 200_000


def write_preview(plan: Plan, path: Path) -> Path:
    """Writes the preview's workbook; returns the path written. Raises `ResultsError`."""
    run_id = plan.run.id if plan.run else None
    campaign = plan.request.campaign
    heading = [("Preview: nothing was sent", None), *plan_heading(plan, run_id, api=plan.request.base_url)]
    heading += [("Look at this", finding.words) for finding in plan.remarks.lint]
    return write_results(
        path,
        PlanResults(
            plan.scratch, SCRATCH_RUN, plan.sources.customers.headers, campaign.zone, heading, run_id
        ),
    )


def write_preview_page(plan: Plan, path: Path, workbook: Path, refusals: Sequence[str]) -> Path:
    """Writes the preview's page, which names `workbook`; returns the path written. Raises `ResultsError`.

    `refusals`: sentences that say why `send` would be refused.
    """
    from batchsend.reports.pages.html import write_page
    from batchsend.reports.pages.preview import gather, page

    return write_page(path, page(gather(plan, str(workbook), refusals)))


def write_send_page(
    ledger: Ledger,
    run_id: int,
    plan: Plan,
    start: StartRecord,
    path: Path,
    workbook: Path,
    ending: str | None,
) -> Path:
    """Writes the report page of a start that has just ended; returns the path written.

    `run_id`: `SCRATCH_RUN` for a rehearsal; `ending`: why it stopped early. Raises `BatchsendError`.
    """
    sources = plan.sources
    is_rehearsal = run_id == SCRATCH_RUN
    heading = replace(
        _run_heading(plan.new_run(), None if is_rehearsal else run_id, workbook),
        customer=sources.roles.shown_customer,
        phone=sources.roles.phone,
        ending=ending,
        callback=plan.request.campaign.message.callback_url is not None,
        starts=[_rehearsed(start, plan, ending)] if is_rehearsal else [],
    )
    return _write_report(ledger, run_id, heading, path)


def write_run_page(ledger: Ledger, run: RunRecord, path: Path, workbook: Path) -> Path:
    """Writes the report page of any run again; returns the path written. Raises `BatchsendError`."""
    return _write_report(ledger, run.id, _run_heading(run, run.id, workbook), path)


def _write_report(ledger: Ledger, run_id: int, heading: RunHeading, path: Path) -> Path:
    from batchsend.reports.pages.html import write_page
    from batchsend.reports.pages.report import gather, page

    return write_page(path, page(gather(ledger, run_id, heading)))


def _run_heading(run: NewRun, number: int | None, workbook: Path) -> RunHeading:
    from batchsend.reports.pages.report import RunHeading

    zone = zone_with_newest_rules(run.zone)
    return RunHeading(
        campaign=run.about.get("campaign", ""),
        number=number,
        department=run.about.get("department", ""),
        user=run.about.get("user", ""),
        base_url=run.about.get("base_url", ""),
        list_file=run.list_file,
        list_saved=for_people(from_text(run.list_saved_at), zone),
        template=run.about.get("template", ""),
        zone=zone,
        headers=run.headers,
        workbook=str(workbook),
    )


def _rehearsed(start: StartRecord, plan: Plan, ending: str | None) -> dict[str, Any]:
    """The start of a rehearsal, in the form in which the ledger records starts."""
    return {
        **vars(start),
        "id": 0,
        "started_at": to_text(plan.request.now),
        "ended_at": to_text(now()),
        "ending": ending or "done",
    }


def write_run(ledger: Ledger, run: RunRecord, path: Path, only: Sequence[str] | None) -> Path:
    """Writes the results of any run again, all or with `only` these statuses; returns the path written.

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
    refuse_inputs(path, inputs_of_run(run))
    check_writable(path)
    return write_results(
        path, RunResults(ledger, run.id, run.headers, zone_with_newest_rules(run.zone), heading, run.id, only)
    )


def write_run_as_list(ledger: Ledger, run: RunRecord, path: Path, only: Sequence[str] | None) -> Path:
    """Writes rows of a run as a list with only the list's columns. Raises `ResultsError`."""
    from batchsend.reports.list_file import write_list

    results = RunResults(ledger, run.id, run.headers, zone_with_newest_rules(run.zone), [], run.id, only)
    if not results.row_count:
        raise ResultsError(
            f"Run {run.id} has no row that is {' or '.join(only or ['anything'])}. Nothing was written."
        )
    if purged(ledger, run.id) is not None:
        raise ResultsError(
            f"Run {run.id} was purged: the list's columns are gone, so it cannot be written as a list. Nothing was "
            f"written. Leave --as-list out to write what is left of its results.",
            on_page=f"The list’s columns of run {run.id} were deleted, so it cannot be written as a list.",
        )
    refuse_inputs(path, inputs_of_run(run))
    check_writable(path)
    return write_list(path, run.headers, (row.cells for row in results.rows()))


def refuse_inputs(path: Path, inputs: Iterable[Path], reader: str = "the campaign") -> None:
    """Raises `ResultsError` if the results or their page would overwrite a file that `reader` reads."""
    for file in inputs:
        for written in (path, path.with_suffix(".html")):
            if is_same(written, file):
                raise ResultsError(
                    f"{path}: {written.name} is a file that {reader} reads, so it is not overwritten. Nothing was "
                    f"written. Choose another name."
                )


def check_output(path: Path, ledger: Ledger | None = None) -> None:
    """Raises `ResultsError` if a file that a user named for output is the ledger, or is read by any campaign.

    Those are the campaigns in `ledger` and in the usual folders, with the files that they name now and that they read
    before.
    """
    if not path.exists() and not path.with_suffix(".html").exists():
        return
    used = recorded_files(ledger) if ledger is not None else RecordedFiles(frozenset(), frozenset())
    ledger_file = [ledger.file] if ledger is not None and ledger.file is not None else []
    refuse_inputs(path, [*ledger_file, *map(Path, used.inputs)], "batchsend")
    for campaign in {*map(Path, used.campaigns), *_campaigns_around(path)}:
        refuse_inputs(path, [campaign, *files_named_in(campaign)], campaign.name)


def _campaigns_around(path: Path) -> Iterator[Path]:
    """The campaign files in the usual folders: here, and where the output goes."""
    for folder in (current_folder(path.parent), path.parent, path.parent.parent):
        yield from folder.glob("*.toml")
        yield from folder.glob("campaigns/*.toml")


def files_named_in(file: Path, home: Path | None = None) -> Iterator[Path]:
    """Files that a campaign file names, and those that its templates include. Any text in quotes can be such a name.

    It does not matter whether the file has an error at the moment. A pattern stands for the files that match it.
    `home`: the path at which the file would be used, if that is another one.
    """
    return _named_in(file, (home or file).parent, set())


def _named_in(file: Path, folder: Path, seen: set[Path]) -> Iterator[Path]:
    for match in _quoted.finditer(_text_of(file)):
        name = match[1] or match[2]
        with suppress(OSError, ValueError, RuntimeError, NotImplementedError):
            named = folder / Path(name).expanduser()
            # As in a campaign's `list`, brackets do not count.
            pattern = named.name.replace("[", "[[]")
            for one in named.parent.glob(pattern) if is_pattern(named.name) else [named]:
                if one not in seen and one.is_file():
                    seen.add(one)
                    yield one
                    yield from _named_in(one, one.parent, seen)


def _text_of(file: Path) -> str:
    """The text of a small file; empty for other files."""
    try:
        return file.read_text(encoding="utf-8") if file.stat().st_size <= _LARGEST_TEXT else ""
    except (OSError, UnicodeDecodeError):
        return ""


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, also by links and on a file system that ignores letter case."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return one.resolve() == other.resolve()


def inputs_of(campaign: Campaign) -> list[Path]:
    """The files that a campaign reads."""
    return [campaign.path, campaign.list, *campaign.templates, *campaign.recipients.suppress]


def inputs_of_run(run: RunRecord) -> list[Path]:
    """The files that a run has read, as far as the ledger names them."""
    return [
        Path(run.list_file),
        *(Path(run.about[name]) for name in ("file", "template") if name in run.about),
    ]


def results_path(campaign: Campaign, run_id: int | None) -> Path:
    """Returns the path for the results of a run; `run_id` is `None` for a rehearsal."""
    suffix = "rehearsal" if run_id is None else str(run_id)
    return campaign.directory / "results" / f"{campaign.stem}-{suffix}.xlsx"


def reported_runs(campaign: Campaign) -> list[int]:
    """The numbers of the runs whose report pages are in the campaign's results folder, in order."""
    pages = results_path(campaign, None).parent.glob(f"{glob.escape(campaign.stem)}-*.html")
    numbers = (page.stem.removeprefix(f"{campaign.stem}-") for page in pages)
    return sorted(int(number) for number in numbers if number.isdecimal())


def preview_path(campaign: Campaign, folder: Path | None) -> Path:
    """Returns the path for the preview's workbook."""
    return (folder or campaign.directory / "previews") / f"{campaign.stem}.xlsx"


def plan_heading(plan: Plan, run_id: int | None, *, api: str) -> SummaryLines:
    """The lines of the summary sheet above the counts. `api`: where the texts go, in words."""
    campaign, customers = plan.request.campaign, plan.sources.customers
    return [
        ("Campaign", campaign.name),
        *([("Run", run_id)] if run_id is not None else []),
        ("List", str(customers.path)),
        ("List saved", for_people(customers.saved_at, campaign.zone)),
        *(("Template", file) for file in plan.sources.template.described_files()),
        ("Department", department_of(campaign)),
        ("User", campaign.user_uuid or user_of(campaign)),
        ("myKaarma", api),
        ("Started by", f"{os_user()} on {plan.request.host}"),
        ("Started", for_people(plan.request.now, campaign.zone)),
        ("Time zone", campaign.zone.key),
    ]
