"""The folder that the server was started in: its campaigns, and the files that the web console keeps."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path, PurePath
from typing import TypeVar
from urllib.parse import quote

from batchsend.campaigns.campaign import Campaign
from batchsend.campaigns.file import load_campaign, parse_campaign
from batchsend.campaigns.types import is_pattern
from batchsend.errors import BatchsendError, unreadable
from batchsend.reports.output_files import files_named_in, inputs_of, is_same
from batchsend.settings import load_settings
from batchsend.utils.protected_files import OUTSIDE, is_in

F = TypeVar("F", bound="CampaignFile")

#: The names of the folders that have campaigns, in a page's address: the folder itself and its `campaigns`.
HERE, CAMPAIGNS = "here", "campaigns"
#: The name of their folders with archived campaigns.
ARCHIVE = "archive"
#: Every campaign file has one of these keys; other programs' TOML files do not.
_CAMPAIGN_KEY = re.compile(
    rb"^\s*(\[\s*)?(list|template|template_by|department_uuid|user_uuid)\s*[=\].]", re.MULTILINE
)
#: Bytes of a file that are searched for one.
_SEARCHED = 200_000


@dataclass(frozen=True)
class CampaignFile:
    """A campaign file. `folder` and `stem` name it in its page's address."""

    path: Path
    folder: str

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def home(self) -> Path:
        """The path at which the campaign is used. Its relative paths begin there."""
        return self.path

    @property
    def url(self) -> str:
        return f"/campaign/{self.folder}/{quote(self.stem, safe='')}"

    def load(self) -> Campaign:
        """Reads and checks the file. Raises `CampaignError`."""
        return load_campaign(self.path)


@dataclass(frozen=True)
class Uses:
    """The campaigns that use a file: as a text or a part of one, and in any other way, such as a list.

    What a campaign file with errors uses a file for is not known, so it is among the others.
    """

    as_text: tuple[CampaignFile, ...]
    otherwise: tuple[CampaignFile, ...]


class ArchivedFile(CampaignFile):
    """A campaign file in the archive. `home`: where it was."""

    @property
    def home(self) -> Path:
        return self.path.parent.parent / self.path.name

    @property
    def url(self) -> str:
        return f"/archive/{self.folder}/{quote(self.stem, safe='')}"

    def load(self) -> Campaign:
        """Reads and checks the file as if it was back. Raises `BatchsendError`."""
        try:
            return parse_campaign(self.home, self.path.read_bytes())
        except OSError as error:
            raise BatchsendError(f"{self.path.name}: {unreadable(error)}") from error


@dataclass(frozen=True)
class WebFolder:
    """The folder of a server.

    `root`: an absolute path. `ledger`: as `--ledger`. `shared`: people sign in from other computers.
    """

    root: Path
    ledger: str | None = None
    shared: bool = False

    @property
    def state(self) -> Path:
        """The folder of the jobs' files."""
        return self.root / ".batchsend" / "web"

    @property
    def new_folder(self) -> Path:
        """The folder for a new campaign."""
        campaigns = self.root / CAMPAIGNS
        return campaigns if campaigns.is_dir() else self.root

    def campaigns(self) -> list[CampaignFile]:
        """Returns the campaign files of the folder and of its subfolder `campaigns`, by name."""
        return sorted(self._files(CampaignFile, "."), key=_by_name)

    def archived(self) -> list[ArchivedFile]:
        """Returns the campaigns in the archive, by name."""
        return sorted(self._files(ArchivedFile, ARCHIVE), key=_by_name)

    def _files(self, kind: type[F], below: str) -> Iterator[F]:
        for name, folder in ((HERE, self.root), (CAMPAIGNS, self.root / CAMPAIGNS)):
            for path in (folder / below).glob("*.toml"):
                if not path.name.startswith(".") and _is_campaign(path):
                    yield kind(path, name)

    def campaign(self, folder: str, stem: str) -> CampaignFile:
        """Returns one of the campaign files, so an address never becomes a path. Raises `NotFoundError`."""
        for file in self.campaigns():
            if (file.folder, file.stem) == (folder, stem):
                return file
        raise NotFoundError(
            f'There is no campaign "{stem}" here. The page "Campaigns" lists the ones that exist.'
        )

    def uses_of(self, path: Path) -> Uses:
        """Returns the campaigns that use this file, or will use it when they are brought back from the archive."""
        as_text, otherwise = [], []
        for file in (*self.campaigns(), *self.archived()):
            if _reads_rows_from(file, path):
                otherwise.append(file)
            elif _names(file, path):
                as_text.append(file)
        return Uses(tuple(as_text), tuple(otherwise))

    def refuse_list_of_others(self, path: Path, own: CampaignFile | None) -> None:
        """Raises `BatchsendError` if a new file would be the newest list of a campaign other than `own`."""
        for file in self.campaigns():
            if own is not None and file.path == own.path:
                continue
            with suppress(BatchsendError):
                pattern = file.load().list
                if is_pattern(pattern) and _matches(path, pattern):
                    break
        else:
            return
        raise BatchsendError(
            f"{path.name} was not saved: the campaign {file.stem} uses the newest file with a name like "
            f"{pattern.name} as its list, so it would text the people in this file. Use another name for the file."
        )

    def archived_campaign(self, folder: str, stem: str) -> ArchivedFile:
        """Returns one of the campaigns in the archive. Raises `NotFoundError`."""
        for file in self.archived():
            if (file.folder, file.stem) == (folder, stem):
                return file
        raise NotFoundError(f'There is no campaign "{stem}" in the archive. It may have been brought back.')

    def check(self, campaign: Campaign) -> None:
        """Raises `BatchsendError` if the campaign reads files that the console may not show.

        Users who sign in from elsewhere may not see files outside the folder; the user of this computer may.
        """
        root = self.root.resolve()
        readable = readable_below(self.root) if self.shared else None
        for file in inputs_of(campaign):
            whole = file.resolve()
            inside = whole.is_relative_to(root)
            if inside and any(part.startswith(".") for part in whole.relative_to(root).parts):
                raise BatchsendError(
                    f"{file.name}: this file is hidden, and hidden files are not shown here. Name another file."
                )
            if readable is not None and not is_in(whole, readable):
                raise BatchsendError(f"{file.name}: {OUTSIDE}.")

    @property
    def only_below(self) -> Path | None:
        """The only folder in which jobs may read files, see `readable_below`; `None`: no limit."""
        return self.root if self.shared else None


def relative(path: Path, file: CampaignFile) -> str:
    """Returns a path as a campaign file writes it."""
    return PurePath(relpath(path, file.path.parent)).as_posix()


def readable_below(root: Path) -> tuple[Path, ...]:
    """Returns the folders whose files a shared console of `root` may read. Raises `SettingsError`."""
    return (root, *load_settings(root, root, os.environ).file_folders)


class NotFoundError(BatchsendError):
    """The page's address names something that does not exist."""


def users_file(root: Path) -> Path:
    """Returns the file with the users of a folder's web console."""
    return root / ".batchsend" / "web-users.json"


def _reads_rows_from(file: CampaignFile, path: Path) -> bool:
    """Whether a campaign reads rows from this file, now or once it is the newest that matches."""
    try:
        campaign = file.load()
    except BatchsendError:
        return _names(file, path)
    return _matches(path, campaign.list) or any(
        is_same(path, one) for one in (campaign.list, *campaign.recipients.suppress)
    )


def _names(file: CampaignFile, path: Path) -> bool:
    return any(is_same(path, named) for named in files_named_in(file.path, file.home))


def _matches(path: Path, pattern: Path) -> bool:
    # Only `*` and `?` are wildcards.
    return path.match(str(pattern).replace("[", "[[]"))


def _by_name(file: CampaignFile) -> tuple[str, str]:
    return file.stem.casefold(), file.folder


def looks_like_a_campaign(content: bytes) -> bool:
    """Whether a TOML file with this content is listed as a campaign."""
    return _CAMPAIGN_KEY.search(content[:_SEARCHED]) is not None


def _is_campaign(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return looks_like_a_campaign(file.read(_SEARCHED))
    except OSError:
        return False
