"""Opens the campaign that a page's address names."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import parse_campaign
from batchsend.errors import BatchsendError
from batchsend.web.folder import CampaignFile
from batchsend.web.queries import RunRef
from batchsend.web.views.campaigns import FOLDER


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
            f"{file.path.name}: cannot be read ({error.strerror}). Fix its permissions and reload the page."
        ) from error
    try:
        return OpenCampaign(file, content, parse_campaign(file.path, content), ())
    except BatchsendError as error:
        return OpenCampaign(file, content, None, getattr(error, "problems", (error.on_page,)))


def usable_campaign(request: web.Request) -> tuple[CampaignFile, Campaign]:
    """Reads a campaign that the page cannot do without. Raises `BatchsendError` if it cannot be used."""
    file = campaign_file_of(request)
    campaign = file.load()
    request.app[FOLDER].check(campaign)
    return file, campaign


def run_ref(request: web.Request) -> RunRef:
    """Returns the run that the address names. Raises `BatchsendError` if its campaign cannot be used."""
    file, campaign = usable_campaign(request)
    return RunRef(request.app[FOLDER], file, campaign, int(request.match_info["number"]))
