"""Where the pages look: the folder that the server was started in, its campaigns, and what is kept for the pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign
from batchsend.errors import BatchsendError
from batchsend.reports.output_files import inputs_of
from batchsend.utils.protected_files import outside

#: How a page's address calls the folders in which campaigns are looked for.
HERE, CAMPAIGNS = "here", "campaigns"
#: Any campaign has one of these; other TOML files (of other programs) do not.
_OF_A_CAMPAIGN = re.compile(
    rb"^\s*(\[\s*)?(list|template|template_by|department_uuid|user_uuid)\s*[=\].]", re.MULTILINE
)
_LOOKED_AT = 200_000


@dataclass(frozen=True)
class CampaignFile:
    """A campaign file that the pages show. `folder` and `stem` are what its address has of it."""

    path: Path
    folder: str

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def url(self) -> str:
        return f"/campaign/{self.folder}/{quote(self.stem, safe='')}"

    def load(self) -> Campaign:
        """Reads and checks it. Raises `CampaignError`."""
        return load_campaign(self.path)


@dataclass(frozen=True)
class WebFolder:
    """`root`: absolute; `ledger`: as `--ledger`; `shared`: others than this computer's user may come in."""

    root: Path
    ledger: str | None = None
    shared: bool = False

    @property
    def state(self) -> Path:
        """What the pages keep: readable by its owner only."""
        return self.root / ".batchsend" / "web"

    @property
    def users_file(self) -> Path:
        return users_file(self.root)

    @property
    def new_folder(self) -> Path:
        """Where a new campaign goes."""
        campaigns = self.root / CAMPAIGNS
        return campaigns if campaigns.is_dir() else self.root

    def campaigns(self) -> list[CampaignFile]:
        """The campaign files of the folder and of its subfolder `campaigns`, by name."""
        found = [
            CampaignFile(path, name)
            for name, folder in ((HERE, self.root), (CAMPAIGNS, self.root / CAMPAIGNS))
            for path in folder.glob("*.toml")
            if not path.name.startswith(".") and _is_campaign(path)
        ]
        return sorted(found, key=lambda file: (file.stem.casefold(), file.folder))

    def campaign(self, folder: str, stem: str) -> CampaignFile:
        """One of them: nothing that an address says becomes a path. Raises `NotFoundError`."""
        for file in self.campaigns():
            if (file.folder, file.stem) == (folder, stem):
                return file
        raise NotFoundError(
            f'There is no campaign "{stem}" here (any more). The list of campaigns has those there are.'
        )

    def check(self, campaign: Campaign) -> None:
        """Raises `BatchsendError` where a campaign reads files that these pages may not show.

        Users who sign in from elsewhere have no right to this computer's other files; a user who sits at it has.
        """
        root = self.root.resolve()
        for file in inputs_of(campaign):
            whole = file.resolve()
            inside = whole.is_relative_to(root)
            if inside and any(part.startswith(".") for part in whole.relative_to(root).parts):
                raise BatchsendError(
                    f"{file}: is hidden, and hidden files are not shown here. Name another file."
                )
            if self.shared and (why := outside(whole, root)) is not None:
                raise BatchsendError(f"{file}: {why}.")

    @property
    def only_below(self) -> Path | None:
        """The folder that the processes of these pages are confined to; `None`: they are not."""
        return self.root if self.shared else None


class NotFoundError(BatchsendError):
    """What an address names is not there."""


def users_file(root: Path) -> Path:
    """Where the named users of a folder's pages are kept."""
    return root / ".batchsend" / "web-users.json"


def _is_campaign(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _OF_A_CAMPAIGN.search(file.read(_LOOKED_AT)) is not None
    except OSError:
        return False
