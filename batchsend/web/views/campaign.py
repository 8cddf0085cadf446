"""The page of a campaign: its list, its text, its sender, its runs and its file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.campaigns.types import SAMPLE_ID, is_pattern
from batchsend.errors import BatchsendError
from batchsend.settings import load_settings
from batchsend.web.folder import CampaignFile, NotFoundError, WebFolder
from batchsend.web.jobs.list_preview import ListView, read_list
from batchsend.web.jobs.list_process import LIST_READER
from batchsend.web.queries import ActiveRuns, campaign_ledger
from batchsend.web.rendering import page
from batchsend.web.uploads import fingerprint
from batchsend.web.views.campaigns import ACTIVE_RUNS, FOLDER, LatestRun, run_overview

#: Runs that the page shows, the latest ones.
_RUNS = 8
#: Digits of a template's number. Python refuses to read very long ones.
_MOST_DIGITS = 9
#: Bytes of a text in the editor.
LARGEST_TEXT = 1_000_000


@dataclass(frozen=True)
class OpenCampaign:
    """A campaign file as it is now. `campaign` is `None` if it cannot be used; `problems` say why."""

    file: CampaignFile
    content: bytes
    campaign: Campaign | None
    problems: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.content.decode("utf-8-sig", "replace").replace("\r\n", "\n")


@dataclass(frozen=True)
class Editor:
    """A file in an editor. `loaded`: the fingerprint of the file on disk; `problem`: why it was not saved."""

    name: str
    text: str
    loaded: str
    problem: str | None = None


def campaign_file_of(request: web.Request) -> CampaignFile:
    """Returns the campaign file that the address names. Raises `NotFoundError`."""
    return request.app[FOLDER].campaign(request.match_info["folder"], request.match_info["stem"])


def open_campaign(request: web.Request) -> OpenCampaign:
    """Reads the campaign file that the address names. Raises `NotFoundError`."""
    return open_file(campaign_file_of(request))


def open_file(file: CampaignFile) -> OpenCampaign:
    """Reads a campaign file, even one with errors. Raises `BatchsendError` if the file cannot be read."""
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise BatchsendError(
            f"{file.path}: cannot be read ({error.strerror}). Fix its permissions and reload the page."
        ) from error
    try:
        return OpenCampaign(file, content, parse_campaign(file.path, content), ())
    except BatchsendError as error:
        return OpenCampaign(file, content, None, getattr(error, "problems", (str(error),)))


def usable_campaign(request: web.Request) -> tuple[CampaignFile, Campaign]:
    """Reads a campaign that the page cannot do without. Raises `BatchsendError` if it cannot be used."""
    file = campaign_file_of(request)
    campaign = file.load()
    request.app[FOLDER].check(campaign)
    return file, campaign


def templates_of(campaign: Campaign) -> list[Path]:
    """Returns the campaign's template files, the default first."""
    if campaign.template_by is not None:
        return list(dict.fromkeys([campaign.template_by.default, *campaign.template_by.cases]))
    return [campaign.template] if campaign.template is not None else []


def template_of(campaign: Campaign, number: str) -> Path:
    """Returns a template file by its number on the page. Raises `NotFoundError`."""
    files = templates_of(campaign)
    if not number.isdecimal() or len(number) > _MOST_DIGITS or int(number) >= len(files):
        raise NotFoundError("The campaign now has another text. Reload its page.")
    return files[int(number)]


async def show(request: web.Request) -> web.Response:
    return await campaign_page(request)


async def campaign_page(
    request: web.Request,
    *,
    status: int = 200,
    template_draft: Editor | None = None,
    file_draft: Editor | None = None,
) -> web.Response:
    """Shows the page. A draft is a text that could not be saved."""
    folder = request.app[FOLDER]
    found = await asyncio.to_thread(open_campaign, request)
    campaign = found.campaign
    view: ListView | None = None
    outside: str | None = None
    if campaign is not None:
        try:
            folder.check(campaign)
            view = await request.app[LIST_READER].run(read_list, found.file.path, found.content)
        except BatchsendError as error:
            outside = str(error)
    number = request.query.get("text", "0")
    text = await asyncio.to_thread(_template, campaign, number) if campaign and outside is None else None
    runs, ledger_problem = await asyncio.to_thread(_runs, folder, request.app[ACTIVE_RUNS], campaign)
    return page(
        request,
        "campaign.html.j2",
        status=status,
        file=found.file,
        campaign=campaign,
        name=campaign.name if campaign else found.file.stem,
        problems=found.problems,
        outside=outside,
        view=view,
        is_pattern=campaign is not None and is_pattern(campaign.list),
        runs=runs,
        ledger_problem=ledger_problem,
        sample_ids=_sample_ids(campaign),
        settings=_settings_summary(campaign),
        template=template_draft or text,
        number=number,
        templates=[file.name for file in templates_of(campaign)] if campaign else [],
        editor=file_draft or Editor(found.file.path.name, found.text, fingerprint(found.content)),
    )


def _template(campaign: Campaign, number: str) -> Editor:
    try:
        file = template_of(campaign, number)
        if file.stat().st_size > LARGEST_TEXT:
            return Editor(file.name, "", "", f"{file.name}: is too large to edit here.")
        content = file.read_bytes()
        return Editor(file.name, content.decode("utf-8-sig").replace("\r\n", "\n"), fingerprint(content))
    except (OSError, UnicodeDecodeError, NotFoundError) as error:
        return Editor("", "", "", f"The text cannot be shown: {error}")


def _runs(
    folder: WebFolder, active: ActiveRuns, campaign: Campaign | None
) -> tuple[Sequence[LatestRun], str | None]:
    if campaign is None:
        return [], None
    found: list[LatestRun] = []
    try:
        with campaign_ledger(folder, campaign) as opened:
            if opened is None:
                return [], None
            for run in opened.runs()[:_RUNS]:
                # Only the latest run can be under way.
                sending = not found and active.is_sending(opened, run)
                found.append(run_overview(opened, run, sending=sending))
    except BatchsendError as error:
        return found, str(error)
    return found, None


def _sample_ids(campaign: Campaign | None) -> bool:
    values = (campaign.department_uuid, campaign.user_uuid) if campaign is not None else ()
    return any(value is not None and value.startswith(SAMPLE_ID) for value in values)


@dataclass(frozen=True)
class SettingsSummary:
    """Where texts are sent, and whether this computer has credentials. Never the credentials themselves."""

    base_url: str
    has_credentials: bool
    env_file: Path


def _settings_summary(campaign: Campaign | None) -> SettingsSummary | None:
    if campaign is None:
        return None
    try:
        settings = load_settings(campaign.directory, Path.cwd(), os.environ)
    except BatchsendError:
        return None
    return SettingsSummary(
        settings.base_url, bool(settings.username and settings.password), settings.folders[0] / ".env"
    )
